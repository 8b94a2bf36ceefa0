"""Configuration of Listen, Attend and Spell."""

from math import prod
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .configuration_travel import TravelsWithCode
from .configuration_validation import (
    AURAL_FORMAT,
    CTC_MAX_REDUCTION,
    check_amounts,
    check_counts,
    check_format,
    check_shares,
    check_special_ids,
)

ATTENTION_KINDS = ("dot", "additive", "location", "multihead", "none")
QUERY_LAYERS = ("last", "first")


@strict
class LasConfig(TravelsWithCode, PreTrainedConfig):
    r"""Configuration of [Listen, Attend and Spell](https://arxiv.org/abs/1508.01211) (Chan et al. 2015).

    The defaults are the paper's layout: a BLSTM and three pyramid layers (8 frames per listener state), two speller
    layers, dot attention between MLP projections.

    Args:
        vocab_size (`int`): Size of the output vocabulary, special ids included.
        num_mel_bins (`int`): Mels per input frame.
        frame_shift_ms (`float`): Milliseconds from one input frame to the next.
        listener_hidden_size (`int`): LSTM size *per direction*; listener states have twice as many features.
        listener_time_reductions (`list[int]`): One entry per listener layer: how many consecutive states are
            concatenated before the layer's BLSTM. `[1, 2, 2, 2]` is a BLSTM and three pyramid layers.
        listener_dropout (`float`): Dropout on the output of every listener layer.
        attention_kind (`str`): `"dot"` (Chan et al.), `"additive"` ([Bahdanau et al.
            2015](https://arxiv.org/abs/1409.0473)), `"location"` (additive plus convolved previous weights,
            [Chorowski et al. 2015](https://arxiv.org/abs/1506.07503)), `"multihead"` (a scaled dot product per head)
            or `"none"` (one fixed-length context: the bottleneck that attention removed).
        attention_size (`int`): Size of the space in which query and keys meet.
        attention_heads (`int`): Heads of `"multihead"`; they divide `attention_size` and the listener states' size.
            The other kinds have one.
        location_channels, location_kernel_size (`int`): Filters over the previous weights, and their (odd) width in
            listener states.
        query_layer (`str`): The speller layer whose output asks: `"last"`, as in the paper, or `"first"`, with which
            the layers above run over all steps in one call.
        memory_slots (`int`, *optional*): Pool the listener's states into so many learned slots, of which the speller
            sees no more; 1 is a fixed-length vector, None all states. Trained nested, with a random number of slots
            per batch, every doubling about as often, so that the model runs at each number up to this one.
        speller_layers, speller_hidden_size, speller_embedding_size (`int`): The LSTM that spells.
        speller_output_size (`int`): Hidden size of the MLP from LSTM state and context to logits.
        speller_dropout (`float`): Dropout on embeddings and on the output of every speller layer.
        apply_spec_augment (`bool`): SpecAugment (arXiv:1904.08779) on the features in training; `mask_time_*` and
            `mask_feature_*` mean what they mean in transformers' speech models.
        label_smoothing (`float`): Share of the target's probability spread over the vocabulary.
        scheduled_sampling (`float`): Probability, in training, that an input token of the speller is drawn from its
            own output instead of taken from the text (arXiv:1506.03099).
        ctc_weight (`float`): Weight of a CTC loss on the listener beside the speller's (arXiv:1609.06773). 0: no CTC;
            1: CTC alone, the speller does not learn.
        ctc_layer (`int`, *optional*): Listener layer, counted from 0, that carries the CTC head; by default the
            deepest that is reduced at most 4x.
        phoneme_vocab_size (`int`): Phonemes, special ids included, of a second CTC head on the same layer; 0: none.
        phoneme_ctc_weight (`float`): Weight of its loss, added to the others (multi-objective training,
            arXiv:2111.10208).
        guided_attention_weight (`float`): Weight of a loss on attention far from the diagonal of clip and text
            (arXiv:1710.08969). aural's Trainer lets it fall to 0 over `guided_attention_updates`.
        guided_attention_sigma (`float`): How far is far, as a share of the clip.
        guided_attention_updates (`int`): Updates until it is gone.
        pad_token_id, bos_token_id, eos_token_id, unk_token_id (`int`): 0, 1, 2, 3 in every vocabulary of aural;
            pad is also the CTC blank.
        initializer_range (`float`): Standard deviation of linear and embedding weights.
        aural_format (`int`): Format of the saved folder; one newer than this aural knows is refused.

    Raises:
        ValueError: A value is impossible; the message names the field, its value and what is allowed.

    Example:
        >>> from aural import LasConfig
        >>> LasConfig(listener_time_reductions=[2, 2]).time_reduction
        4
    """

    model_type = "las"
    keys_to_ignore_at_inference = ["cache", "past_key_values", "encoder_last_hidden_state"]  # noqa: RUF012
    attribute_map = {  # noqa: RUF012
        "hidden_size": "speller_hidden_size",
        "num_hidden_layers": "speller_layers",
        "num_attention_heads": "attention_heads",
    }

    vocab_size: int = 32
    num_mel_bins: int = 80
    frame_shift_ms: float | int = 10.0
    listener_hidden_size: int = 256
    listener_time_reductions: list[int] | tuple[int, ...] = (1, 2, 2, 2)
    listener_dropout: float | int = 0.0
    attention_kind: str = "dot"
    attention_size: int = 256
    attention_heads: int = 1
    location_channels: int = 10
    location_kernel_size: int = 31
    query_layer: str = "last"
    memory_slots: int | None = None
    speller_layers: int = 2
    speller_hidden_size: int = 512
    speller_embedding_size: int = 256
    speller_output_size: int = 512
    speller_dropout: float | int = 0.0
    apply_spec_augment: bool = False
    mask_time_prob: float | int = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float | int = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0
    label_smoothing: float | int = 0.0
    scheduled_sampling: float | int = 0.0
    ctc_weight: float | int = 0.0
    ctc_layer: int | None = None
    phoneme_vocab_size: int = 0
    phoneme_ctc_weight: float | int = 0.0
    guided_attention_weight: float | int = 0.0
    guided_attention_sigma: float | int = 0.2
    guided_attention_updates: int = 2000
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    unk_token_id: int | None = 3
    decoder_start_token_id: int = 1
    is_encoder_decoder: bool = True
    use_cache: bool = True
    tie_word_embeddings: bool = False
    initializer_range: float | int = 0.06
    aural_format: int = AURAL_FORMAT

    def __post_init__(self, **kwargs: Any) -> None:
        self.listener_time_reductions = list(self.listener_time_reductions)
        super().__post_init__(**kwargs)

    @property
    def listener_layers(self) -> int:
        """Number of listener layers."""
        return len(self.listener_time_reductions)

    @property
    def time_reduction(self) -> int:
        """Input frames per listener state."""
        return prod(self.listener_time_reductions)

    @property
    def seconds_per_listener_frame(self) -> float:
        """Seconds from one listener state to the next; state `j` covers `[j, j + 1)` times this."""
        return self.time_reduction * self.frame_shift_ms / 1000

    @property
    def memory_size(self) -> int:
        """Features of a listener state: both directions."""
        return 2 * self.listener_hidden_size

    @property
    def blank_id(self) -> int:
        """The CTC blank, and what decoder inputs are padded with: `pad_token_id`, 0 where that is None."""
        return self.pad_token_id or 0

    @property
    def has_ctc(self) -> bool:
        """Whether the listener carries a CTC head, of tokens or of phonemes."""
        return self.ctc_weight > 0 or self.phoneme_vocab_size > 0

    @property
    def end_ids(self) -> list[int]:
        """The ids that end a text."""
        ids = self.eos_token_id
        return [] if ids is None else list(ids) if isinstance(ids, list) else [ids]

    def reduction_at(self, layer: int) -> int:
        """Input frames per state of listener layer `layer`."""
        return prod(self.listener_time_reductions[: layer + 1])

    @property
    def resolved_ctc_layer(self) -> int:
        """The listener layer under the CTC head: `ctc_layer`, or the deepest that is reduced at most 4x."""
        if self.ctc_layer is not None:
            return self.ctc_layer
        allowed = [i for i in range(self.listener_layers) if self.reduction_at(i) <= CTC_MAX_REDUCTION]
        return allowed[-1] if allowed else 0

    def validate_format(self) -> None:
        """The folder is not from the future."""
        check_format(self.aural_format)

    def validate_sizes(self) -> None:
        """Sizes and counts are at least 1."""
        check_counts(
            self,
            (
                "vocab_size",
                "num_mel_bins",
                "listener_hidden_size",
                "attention_size",
                "attention_heads",
                "location_channels",
                "location_kernel_size",
                "speller_layers",
                "speller_hidden_size",
                "speller_embedding_size",
                "speller_output_size",
                "mask_time_length",
                "mask_feature_length",
                "guided_attention_updates",
                *(["memory_slots"] if self.memory_slots is not None else []),
            ),
        )
        check_amounts(self, ("frame_shift_ms", "guided_attention_sigma"), zero=False)
        amounts = ("initializer_range", "mask_time_min_masks", "mask_feature_min_masks")
        check_amounts(self, (*amounts, "phoneme_vocab_size", "phoneme_ctc_weight", "guided_attention_weight"))
        reductions = self.listener_time_reductions
        if not reductions or min(reductions) < 1:
            raise ValueError(f"listener_time_reductions={reductions} must be one integer of at least 1 per layer")

    def validate_shares(self) -> None:
        """Probabilities and weights lie between 0 and 1."""
        check_shares(self, ("listener_dropout", "speller_dropout", "label_smoothing"), one=False)
        check_shares(self, ("scheduled_sampling", "ctc_weight", "mask_time_prob", "mask_feature_prob"), one=True)

    def validate_attention(self) -> None:
        """The attention kind exists and its parts fit together."""
        if self.attention_kind not in ATTENTION_KINDS:
            raise ValueError(f"attention_kind={self.attention_kind!r} must be one of {', '.join(ATTENTION_KINDS)}")
        heads = self.attention_heads
        if self.attention_kind != "multihead" and heads != 1:
            raise ValueError(f"attention_heads={heads}: attention_kind={self.attention_kind!r} has one head")
        if self.attention_size % heads or self.memory_size % heads:
            raise ValueError(
                f"attention_heads={heads} must divide attention_size={self.attention_size} and twice "
                f"listener_hidden_size={self.listener_hidden_size}"
            )
        if self.query_layer not in QUERY_LAYERS:
            raise ValueError(f"query_layer={self.query_layer!r} must be one of {', '.join(QUERY_LAYERS)}")
        if self.memory_slots is not None and self.attention_kind == "none":
            raise ValueError(f"memory_slots={self.memory_slots}: attention_kind='none' has one slot of its own")
        if self.location_kernel_size % 2 == 0:
            raise ValueError(f"location_kernel_size={self.location_kernel_size} must be odd, to look both ways alike")

    def validate_ctc(self) -> None:
        """The CTC head sits on a listener layer that has a state for every character."""
        layer = self.ctc_layer
        if layer is not None and not 0 <= layer < self.listener_layers:
            raise ValueError(f"ctc_layer={layer} must be a listener layer, 0 to {self.listener_layers - 1}")
        if self.phoneme_ctc_weight > 0 and self.phoneme_vocab_size <= self.blank_id:
            raise ValueError(
                f"phoneme_vocab_size={self.phoneme_vocab_size} must be above the blank, {self.blank_id}, "
                f"for phoneme_ctc_weight={self.phoneme_ctc_weight}"
            )
        if self.has_ctc and self.reduction_at(self.resolved_ctc_layer) > CTC_MAX_REDUCTION:
            raise ValueError(
                f"ctc_layer={self.resolved_ctc_layer} is reduced {self.reduction_at(self.resolved_ctc_layer)}x; "
                f"a CTC head needs a listener layer reduced at most {CTC_MAX_REDUCTION}x"
            )

    def validate_special_ids(self) -> None:
        """Special ids lie inside the vocabulary, and no end is also padding."""
        ids = ("pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id", "decoder_start_token_id")
        check_special_ids(self, ids)


__all__ = ["ATTENTION_KINDS", "LasConfig"]
