"""Configuration of the transformer decoder that writes."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .validation import check_amounts, check_counts, check_shares

TEXT_POSITION_KINDS = ("sinusoidal", "learned")


@strict
class TextDecoderConfig(PreTrainedConfig):
    r"""Configuration of the decoder of [Attention Is All You Need](https://arxiv.org/abs/1706.03762) (Vaswani et al.
    2017), with the LayerNorms before each part ([Xiong et al. 2020](https://arxiv.org/abs/2002.04745)).

    Args:
        vocab_size (`int`): Size of the output vocabulary, special ids included.
        hidden_size, num_hidden_layers, num_attention_heads (`int`): Width, layers, heads per layer.
        intermediate_size (`int`, *optional*): Width inside the MLP; by default four times `hidden_size`.
        hidden_act (`str`): Activation of the MLP, by transformers' names.
        position_kind (`str`): `"sinusoidal"` (fixed, for texts of any length) or `"learned"` (for texts up to
            `max_positions`).
        max_positions (`int`): Tokens that learned positions are made for.
        hidden_dropout, attention_dropout (`float`): Dropout on embeddings and on the outputs of every part, and on
            attention weights.
        layer_norm_eps (`float`): Epsilon of the LayerNorms.
        initializer_range (`float`): Standard deviation of initial weights and learned positions; embeddings start at
            `hidden_size ** -0.5`, which the square root of the width that they are multiplied by makes 1.
        pad_token_id, bos_token_id, eos_token_id (`int`): 0, 1, 2 in every vocabulary of aural.

    Raises:
        ValueError: A value is impossible; the message names the field, its value and what is allowed.

    Example:
        >>> from aural import TextDecoderConfig
        >>> TextDecoderConfig(vocab_size=32, hidden_size=128, num_attention_heads=4).intermediate_size
        512
    """

    model_type = "text_decoder"
    keys_to_ignore_at_inference = ["cache", "past_key_values"]  # noqa: RUF012

    vocab_size: int = 32
    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int | None = None
    hidden_act: str = "gelu"
    position_kind: str = "sinusoidal"
    max_positions: int = 1024
    hidden_dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    layer_norm_eps: float | int = 1e-6
    initializer_range: float | int = 0.02
    use_cache: bool = True
    is_decoder: bool = True
    add_cross_attention: bool = True
    tie_word_embeddings: bool = False
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2

    def __post_init__(self, **kwargs: Any) -> None:
        if self.intermediate_size is None:
            self.intermediate_size = 4 * self.hidden_size
        super().__post_init__(**kwargs)

    @property
    def text_limit(self) -> int | None:
        """Most tokens that can be read, or None where there is no limit."""
        return self.max_positions if self.position_kind == "learned" else None

    def validate_sizes(self) -> None:
        """Sizes and counts are at least 1, and heads divide the width."""
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        check_counts(self, (*sizes, "max_positions"))
        check_amounts(self, ("layer_norm_eps",), zero=False)
        check_amounts(self, ("initializer_range",))
        check_shares(self, ("hidden_dropout", "attention_dropout"), one=False)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be divisible by num_attention_heads={self.num_attention_heads}"
            )

    def validate_positions(self) -> None:
        """The kind of positions exists and fits the width."""
        if self.position_kind not in TEXT_POSITION_KINDS:
            raise ValueError(f"position_kind={self.position_kind!r} must be one of {', '.join(TEXT_POSITION_KINDS)}")
        if self.position_kind == "sinusoidal" and self.hidden_size % 2:
            raise ValueError(f"hidden_size={self.hidden_size} must be even for sinusoidal positions")


__all__ = ["TEXT_POSITION_KINDS", "TextDecoderConfig"]
