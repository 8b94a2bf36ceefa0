"""Audio and text in one object: what a model's folder holds beside its weights.

    inputs = processor(audio=waveforms, sampling_rate=16000, text=texts, return_tensors="pt")
    loss = model(**inputs).loss  # input_features, attention_mask, labels
    texts = processor.batch_decode(model.generate(inputs.input_features, attention_mask=inputs.attention_mask))

What is notable:

- text becomes `labels`, never `input_ids`, so that its mask cannot overwrite the audio's; padded labels are -100, as
  the loss wants them; decoding leaves out special tokens and -100 unless told otherwise;
- a second tokenizer, of phonemes, is for a second objective beside the text (arXiv:2111.10208). transformers would
  keep it in a folder of its own, and a folder on the Hub that carries code is flat: so processor_config.json holds it
  whole, as the JSON of `tokenizers`.
"""

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from .configuration_travel import TravelsWithCode
from .processing_tokenizers import language_of, wrap

IGNORED_LABEL = -100  # the loss and `decode` leave it out
PHONEMES = "phoneme_tokenizer"  # in processor_config.json: {"json": …, "language": …}


class AuralProcessor(TravelsWithCode, ProcessorMixin):
    """A feature extractor for the sound and a tokenizer for the text, saved and loaded as one.

    Args:
        feature_extractor: waveforms to `input_features` (batch, frames, mels), such as `LogMelFeatureExtractor`.
        tokenizer: text to ids ending in `<eos>`, such as `train_tokenizer` returns.
        phoneme_tokenizer: of phonemes beside the text, such as `train_tokenizer(…, unit="phoneme")` returns; None: no
            phonemes are heard.

    Raises:
        TypeError: a part is something else.
    """

    audio_kwargs = {"padding": True, "return_attention_mask": True}  # type: ignore[assignment]  # noqa: RUF012
    text_kwargs = {"padding": False}  # type: ignore[assignment]  # noqa: RUF012

    def __init__(self, feature_extractor: Any, tokenizer: Any, phoneme_tokenizer: Any = None) -> None:
        super().__init__(feature_extractor, tokenizer)
        if phoneme_tokenizer is not None and not isinstance(phoneme_tokenizer, PreTrainedTokenizerBase):
            raise TypeError(f"phoneme_tokenizer is a {type(phoneme_tokenizer).__name__}, not a tokenizer")
        self._phoneme_tokenizer = phoneme_tokenizer

    @property
    def phoneme_tokenizer(self) -> Any:
        """The tokenizer of phonemes; None where no phonemes are heard."""
        return self._phoneme_tokenizer

    @classmethod
    def get_attributes(cls) -> list[str]:
        """What transformers saves and loads, each by its own Auto class; the second tokenizer is not among it."""
        return ["feature_extractor", "tokenizer"]

    def to_dict(self) -> dict[str, Any]:
        """What processor_config.json holds."""
        content = super().to_dict()
        if self.phoneme_tokenizer is not None:
            backend = json.loads(self.phoneme_tokenizer.backend_tokenizer.to_str())
            backend |= {"padding": None, "truncation": None}  # those of the last call
            content[PHONEMES] = {"json": backend, "language": language_of(self.phoneme_tokenizer)}
        return content

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers, which calls it when it loads a processor.

        Args:
            args: feature extractor and tokenizer.
            processor_dict: content of processor_config.json.
            kwargs: in place of what it says.
        """
        content = dict(processor_dict)
        if (kept := content.pop(PHONEMES, None)) is not None:
            backend = Tokenizer.from_str(json.dumps(kept["json"]))
            kwargs = {PHONEMES: wrap(backend, "phoneme", kept.get("language")), **kwargs}
        return super().from_args_and_dict(args, content, **kwargs)

    def __call__(  # type: ignore[override]
        self,
        audio: Any = None,
        text: str | Sequence[str] | None = None,
        phonemes: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Features of `audio`, labels of `text` and of `phonemes`; any of them may be left out.

        Args:
            audio: one waveform (samples,) or several; arrays, tensors or lists, not file names.
            text: one text, or as many as there are waveforms.
            phonemes: as many, symbols separated by spaces as `phonemize` writes them; for a `phoneme_tokenizer`.
            kwargs: for the feature extractor and the tokenizer, as transformers sorts them: `sampling_rate` in Hz,
                `return_tensors` ("pt", "np"), `padding`; `audio_kwargs={…}` and `text_kwargs={…}` reach one alone.

        Returns:
            `input_features` (batch, frames, mels) and `attention_mask` (batch, frames) from audio; `labels` from text:
            (batch, targets) padded with -100 if `return_tensors` is given or padding asked for, else lists of
            different lengths, and for a single text one list; `phoneme_targets` from phonemes, of the same form.

        Raises:
            ValueError: nothing is given, numbers differ, or phonemes are given without a tokenizer for them.
        """
        if audio is None and text is None and phonemes is None:
            raise ValueError("audio and text are both None; give at least one")
        if phonemes is not None and self.phoneme_tokenizer is None:
            raise ValueError("phonemes are given, and the processor has no phoneme_tokenizer")
        merged = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        data: dict[str, Any] = {}
        if audio is not None:
            data.update(self.feature_extractor(audio, **merged["audio_kwargs"]))
        waveforms = len(data["input_features"]) if data else None
        for name, argument, rows, tokenizer in (
            ("labels", "text", text, self.tokenizer),
            ("phoneme_targets", "phonemes", phonemes, self.phoneme_tokenizer),
        ):
            if rows is None:
                continue
            labels = _labels(tokenizer, rows, argument, **merged["text_kwargs"])
            texts = 1 if isinstance(rows, str) else len(rows)
            if waveforms is not None and waveforms != texts:
                raise ValueError(f"audio holds {waveforms} waveforms, {argument} {texts} texts")
            data[name] = labels
        return BatchFeature(data, tensor_type=merged["text_kwargs"].get("return_tensors"))

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
        labels = ["labels"] if self.phoneme_tokenizer is None else ["labels", "phoneme_targets"]
        return [*self.feature_extractor.model_input_names, *labels]


def _labels(tokenizer: Any, text: str | Sequence[str], argument: str, **kwargs: Any) -> list[Any]:
    """Ids of one text, or of several; nested lists, padding being -100."""
    tensors = kwargs.pop("return_tensors", None) is not None
    if tensors and kwargs.get("padding") in (False, None, "do_not_pad"):
        kwargs["padding"] = True
    kwargs["return_attention_mask"] = True  # says which ids are padding; `<pad>` itself is a legal id
    rows = [text] if isinstance(text, str) else list(text)
    if not rows:
        raise ValueError(f"{argument} is an empty list; give at least one text")
    encoded = tokenizer(rows, **kwargs)
    labels = [
        [token if real else IGNORED_LABEL for token, real in zip(ids, mask, strict=True)]
        for ids, mask in zip(encoded["input_ids"], encoded["attention_mask"], strict=True)
    ]
    return labels[0] if isinstance(text, str) and not tensors else labels


def _without_ignored(token_ids: Any) -> Any:
    """`token_ids` as plain integers, at any depth, without the ignored ones."""
    if hasattr(token_ids, "tolist"):
        token_ids = token_ids.tolist()
    if isinstance(token_ids, int):
        return token_ids
    entries = [_without_ignored(entry) for entry in token_ids]
    return [entry for entry in entries if entry != IGNORED_LABEL]
