"""Audio and text in one object: what a model's folder holds beside its weights.

    inputs = processor(audio=waveforms, sampling_rate=16000, text=texts, return_tensors="pt")
    loss = model(**inputs).loss  # input_features, attention_mask, labels
    texts = processor.batch_decode(model.generate(inputs.input_features, attention_mask=inputs.attention_mask))

What is notable: text becomes `labels`, never `input_ids`, so that its mask cannot overwrite the audio's; padded labels
are -100, as the loss wants them; decoding leaves out special tokens and -100 unless told otherwise.
"""

from collections.abc import Sequence
from typing import Any

from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .configuration_travel import TravelsWithCode

IGNORED_LABEL = -100  # the loss and `decode` leave it out


class AuralProcessor(TravelsWithCode, ProcessorMixin):
    """A feature extractor for the sound and a tokenizer for the text, saved and loaded as one.

    Args:
        feature_extractor: waveforms to `input_features` (batch, frames, mels), such as `LogMelFeatureExtractor`.
        tokenizer: text to ids ending in `<eos>`, such as `train_tokenizer` returns.
    """

    audio_kwargs = {"padding": True, "return_attention_mask": True}  # type: ignore[assignment]  # noqa: RUF012
    text_kwargs = {"padding": False}  # type: ignore[assignment]  # noqa: RUF012

    def __init__(self, feature_extractor: Any, tokenizer: Any) -> None:
        super().__init__(feature_extractor, tokenizer)

    def __call__(  # type: ignore[override]
        self, audio: Any = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Features of `audio` and labels of `text`; either may be left out.

        Args:
            audio: one waveform (samples,) or several; arrays, tensors or lists, not file names.
            text: one text, or as many as there are waveforms.
            kwargs: for the feature extractor and the tokenizer, as transformers sorts them: `sampling_rate` in Hz,
                `return_tensors` ("pt", "np"), `padding`; `audio_kwargs={…}` and `text_kwargs={…}` reach one alone.

        Returns:
            `input_features` (batch, frames, mels) and `attention_mask` (batch, frames) from audio; `labels` from text:
            (batch, targets) padded with -100 if `return_tensors` is given or padding asked for, else lists of
            different lengths, and for a single text one list.

        Raises:
            ValueError: neither audio nor text is given, or their numbers differ.
        """
        if audio is None and text is None:
            raise ValueError("audio and text are both None; give at least one")
        merged = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        data: dict[str, Any] = {}
        if audio is not None:
            data.update(self.feature_extractor(audio, **merged["audio_kwargs"]))
        if text is not None:
            labels = self._labels(text, **merged["text_kwargs"])
            texts = 1 if isinstance(text, str) else len(text)
            if data and len(data["input_features"]) != texts:
                raise ValueError(f"audio holds {len(data['input_features'])} waveforms, text {texts} texts")
            data["labels"] = labels
        return BatchFeature(data, tensor_type=merged["text_kwargs"].get("return_tensors"))

    def _labels(self, text: str | Sequence[str], **kwargs: Any) -> list[Any]:
        """Ids of one text, or of several; nested lists, padding being -100."""
        tensors = kwargs.pop("return_tensors", None) is not None
        if tensors and kwargs.get("padding") in (False, None, "do_not_pad"):
            kwargs["padding"] = True
        kwargs["return_attention_mask"] = True  # says which ids are padding; `<pad>` itself is a legal id
        rows = [text] if isinstance(text, str) else list(text)
        if not rows:
            raise ValueError("text is an empty list; give at least one text")
        encoded = self.tokenizer(rows, **kwargs)
        labels = [
            [token if real else IGNORED_LABEL for token, real in zip(ids, mask, strict=True)]
            for ids, mask in zip(encoded["input_ids"], encoded["attention_mask"], strict=True)
        ]
        return labels[0] if isinstance(text, str) and not tensors else labels

    def decode(self, token_ids: Any, skip_special_tokens: bool = True, **kwargs: Any) -> Any:
        """Text of one sequence of ids, or a list of texts for a batch.

        Args:
            token_ids: (targets,) or (batch, targets); list, array or tensor. Entries of -100 are left out.
            skip_special_tokens: leave out `<pad>`, `<bos>`, `<eos>` and `<unk>`.
            kwargs: passed to the tokenizer's `decode`, such as `clean_up_tokenization_spaces`.
        """
        return self.tokenizer.decode(_without_ignored(token_ids), skip_special_tokens=skip_special_tokens, **kwargs)

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = True, **kwargs: Any) -> list[str]:
        """Texts of several sequences of ids; arguments as in `decode`.

        Args:
            sequences: (batch, targets); list, array or tensor, rows of any length.
            skip_special_tokens: as in `decode`.
            kwargs: as in `decode`.
        """
        return [self.decode(row, skip_special_tokens, **kwargs) for row in sequences]

    @property
    def pad_token_id(self) -> int:
        """The tokenizer's padding id; `Seq2SeqTrainer` fills generated tokens up with it."""
        return self.tokenizer.pad_token_id

    @property
    def model_input_names(self) -> list[str]:
        """What a call returns; the first is the model's main input."""
        return [*self.feature_extractor.model_input_names, "labels"]


def _without_ignored(token_ids: Any) -> Any:
    """`token_ids` as plain integers, at any depth, without the ignored ones."""
    if hasattr(token_ids, "tolist"):
        token_ids = token_ids.tolist()
    if isinstance(token_ids, int):
        return token_ids
    entries = [_without_ignored(entry) for entry in token_ids]
    return [entry for entry in entries if entry != IGNORED_LABEL]
