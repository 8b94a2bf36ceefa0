"""Configuration of the patch transformer that writes: an encoder of spectrograms, and a decoder of text."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from .spectrogram_transformer import SpectrogramTransformerConfig
from .text_decoder import TextDecoderConfig
from .travel import TravelsWithCode
from .validation import AURAL_FORMAT, CTC_MAX_REDUCTION, check_format, check_shares, check_special_ids


@strict
class SpectrogramTransformerSeq2SeqConfig(TravelsWithCode, PreTrainedConfig):
    r"""Configuration of a spectrogram-patch transformer with a decoder that writes: recognition and captioning.

    A model type of its own, since transformers' speech pipeline loads the first of a type's classes that loads.

    Args:
        encoder (`SpectrogramTransformerConfig` or `dict`, *optional*): What hears; default: its defaults.
        decoder (`TextDecoderConfig`, another config or `dict`, *optional*): What writes; default: its defaults.
            Another is the config of a decoder of transformers that takes cross-attention, such as `GPT2Config`;
            `add_cross_attention` is set.
        ctc_weight (`float`): Weight of a CTC loss on the encoder's columns beside the decoder's cross entropy
            (arXiv:1609.06773). 0: no CTC; 1: CTC alone, the decoder does not learn.
        label_smoothing (`float`): Share of the target's probability spread over the vocabulary.
        tie_word_embeddings (`bool`, *optional*): The output layer's weights are the embeddings'; by default as the
            decoder's config says.
        pad_token_id, bos_token_id, eos_token_id, unk_token_id (`int`): 0, 1, 2, 3 in every vocabulary of aural; pad is
            also the CTC blank.
        decoder_start_token_id (`int`, *optional*): What every text begins with; by default `bos_token_id`.
        aural_format (`int`): Format of the saved folder; one newer than this aural knows is refused.

    Raises:
        TypeError: The encoder or the decoder is no config of a kind that fits.
        ValueError: A value is impossible; the message names the field, its value and what is allowed.

    Example:
        >>> from aural import SpectrogramTransformerSeq2SeqConfig
        >>> SpectrogramTransformerSeq2SeqConfig(encoder={"num_mel_bins": 80}).num_mel_bins
        80
    """

    model_type = "spectrogram_transformer_seq2seq"
    sub_configs = {"encoder": SpectrogramTransformerConfig, "decoder": AutoConfig}  # noqa: RUF012
    keys_to_ignore_at_inference = ["cache", "past_key_values", "encoder_last_hidden_state"]  # noqa: RUF012

    encoder: Any = None
    decoder: Any = None
    ctc_weight: float | int = 0.0
    label_smoothing: float | int = 0.0
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    unk_token_id: int | None = 3
    decoder_start_token_id: int | None = None
    is_encoder_decoder: bool = True
    use_cache: bool = True
    tie_word_embeddings: bool | None = None
    aural_format: int = AURAL_FORMAT

    def __post_init__(self, **kwargs: Any) -> None:
        self.encoder = _encoder_config(self.encoder)
        self.decoder = _decoder_config(self.decoder)
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = self.bos_token_id
        if self.tie_word_embeddings is None:
            self.tie_word_embeddings = bool(getattr(self.decoder, "tie_word_embeddings", False))
        super().__post_init__(**kwargs)

    @property
    def vocab_size(self) -> int:
        """Size of the output vocabulary: the decoder's."""
        return self.decoder.vocab_size

    @property
    def num_mel_bins(self) -> int:
        """Mels per input frame: the encoder's."""
        return self.encoder.num_mel_bins

    @property
    def frame_shift_ms(self) -> float:
        """Milliseconds from one input frame to the next: the encoder's."""
        return self.encoder.frame_shift_ms

    @property
    def hidden_size(self) -> int:
        """Width of the decoder."""
        return self.decoder.hidden_size

    @property
    def num_hidden_layers(self) -> int:
        """Layers of the decoder."""
        return self.decoder.num_hidden_layers

    @property
    def num_attention_heads(self) -> int:
        """Heads per layer of the decoder."""
        return self.decoder.num_attention_heads

    @property
    def initializer_range(self) -> float:
        """Standard deviation of the initial weights of what joins encoder and decoder, and of the heads."""
        return self.encoder.initializer_range

    @property
    def text_limit(self) -> int | None:
        """Most tokens that the decoder can read, or None where there is no limit."""
        ours = self.decoder.model_type == TextDecoderConfig.model_type
        return self.decoder.text_limit if ours else getattr(self.decoder, "max_position_embeddings", None)

    @property
    def blank_id(self) -> int:
        """The CTC blank, and what decoder inputs are padded with: `pad_token_id`, 0 where that is None."""
        return self.pad_token_id or 0

    @property
    def end_ids(self) -> list[int]:
        """The ids that end a text."""
        ids = self.eos_token_id
        return [] if ids is None else list(ids) if isinstance(ids, list) else [ids]

    def validate_format(self) -> None:
        """The folder is not from the future."""
        check_format(self.aural_format)

    def validate_shares(self) -> None:
        """Weights lie between 0 and 1."""
        check_shares(self, ("ctc_weight",), one=True)
        check_shares(self, ("label_smoothing",), one=False)

    def validate_special_ids(self) -> None:
        """Special ids lie inside the vocabulary, no end is also padding, and a text has a start."""
        if self.decoder_start_token_id is None:
            raise ValueError("decoder_start_token_id=None and bos_token_id=None: one must say how a text begins")
        ids = ("pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id", "decoder_start_token_id")
        check_special_ids(self, ids)

    def validate_ctc(self) -> None:
        """With CTC there is a column for every character, and none is left out."""
        if self.ctc_weight == 0:
            return
        for name in ("patchout_time", "patchout_unstructured"):
            if share := getattr(self.encoder, name):
                raise ValueError(
                    f"encoder.{name}={share} must be 0 with a CTC head (ctc_weight={self.ctc_weight}), which needs "
                    "every moment"
                )
        stride = self.encoder.patch_stride[1]
        if stride > CTC_MAX_REDUCTION:
            raise ValueError(
                f"encoder.patch_stride={stride} along time; a CTC head (ctc_weight={self.ctc_weight}) needs a column "
                f"every {CTC_MAX_REDUCTION} frames at most"
            )


def _encoder_config(given: Any) -> SpectrogramTransformerConfig:
    if given is None:
        return SpectrogramTransformerConfig()
    if isinstance(given, dict):
        return SpectrogramTransformerConfig(**given)
    if not isinstance(given, SpectrogramTransformerConfig):
        raise TypeError(f"encoder is a {type(given).__name__}; allowed: SpectrogramTransformerConfig or a dict")
    return given


def _decoder_config(given: Any) -> PreTrainedConfig:
    if given is None:
        return TextDecoderConfig()
    if isinstance(given, dict):
        kind = given.get("model_type", TextDecoderConfig.model_type)
        settings = {name: value for name, value in given.items() if name != "model_type"}
        ours = kind == TextDecoderConfig.model_type
        given = TextDecoderConfig(**settings) if ours else AutoConfig.for_model(kind, **settings)
    if not isinstance(given, PreTrainedConfig):
        raise TypeError(f"decoder is a {type(given).__name__}; allowed: TextDecoderConfig, another config, or a dict")
    if given.is_encoder_decoder or not hasattr(given, "add_cross_attention"):
        raise ValueError(
            f"decoder={given.model_type!r} takes no cross-attention; allowed: {TextDecoderConfig.model_type!r}, or a "
            "decoder of transformers that does, such as 'gpt2'"
        )
    given.add_cross_attention, given.is_decoder = True, True
    return given


__all__ = ["SpectrogramTransformerSeq2SeqConfig"]
