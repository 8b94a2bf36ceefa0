"""Configuration of the spectrogram-patch transformer."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .pretraining import check_pretraining
from .travel import TravelsWithCode
from .validation import (
    AURAL_FORMAT,
    CTC_MAX_REDUCTION,
    check_amounts,
    check_counts,
    check_format,
    check_shares,
    check_special_ids,
)

POSITION_KINDS = ("joint", "factorized", "sinusoidal", "rotary")
POSITION_FITS = ("cut", "interpolate")
POOLINGS = {"cls": 1, "cls_distillation": 2, "mean": 0, "attention": 0}  # and the class tokens that each needs
FRAME_POOLINGS = ("mean", "max", "linear_softmax")
PRESETS: dict[str, dict[str, int]] = {  # the widths of DeiT, which AST and SSAST took over
    "tiny": {"hidden_size": 192, "num_attention_heads": 3},
    "small": {"hidden_size": 384, "num_attention_heads": 6},
    "base": {"hidden_size": 768, "num_attention_heads": 12},
}


@strict
class SpectrogramTransformerConfig(TravelsWithCode, PreTrainedConfig):
    r"""Configuration of the spectrogram-patch transformer, after [AST](https://arxiv.org/abs/2104.01778) (Gong et al.
    2021).

    The defaults are AST's own layout: patches of 16 mels by 16 frames every 10, a joint table of positions for 1,024
    frames, a class and a distillation token, twelve layers of base size. Pairs are (frequency, time).

    Args:
        num_mel_bins (`int`): Mels per input frame.
        frame_shift_ms (`float`): Milliseconds from one input frame to the next.
        patch_size (`list[int]`): Mels and frames that a patch covers.
        patch_stride (`list[int]`): Mels and frames from one patch to the next; smaller than the size, patches overlap.
        hidden_size, num_hidden_layers, num_attention_heads (`int`): Width, layers, heads per layer.
        intermediate_size (`int`, *optional*): Width inside the MLP; by default four times `hidden_size`.
        hidden_act (`str`): Activation of the MLP, by transformers' names.
        qkv_bias (`bool`): Queries, keys and values have a bias.
        position_kind (`str`): `"joint"` (one learned vector per place of the grid, as AST), `"factorized"` (one per
            row plus one per column, as [PaSST](https://arxiv.org/abs/2110.05069)), `"sinusoidal"` (fixed, half of the
            features for each axis) or `"rotary"` (queries and keys are turned by the place on both axes,
            [RoFormer](https://arxiv.org/abs/2104.09864)).
        position_frames (`int`): Frames that the learned positions are made for.
        position_fit (`str`): How a clip of another length gets its positions. `"cut"`: a shorter clip uses the first
            columns, and a longer one stretches learned positions over its length. `"interpolate"`: every clip
            stretches the positions over its own length.
        num_class_tokens (`int`, *optional*): Learned tokens before the patches, 0 to 2; by default what `pooling`
            needs.
        pooling (`str`): One vector for a clip: `"cls"`, `"cls_distillation"` (mean of two tokens), `"mean"` over the
            real patches, or `"attention"` (weighted by a learned query).
        final_norm (`bool`): A LayerNorm follows the last layer.
        layer_norm_eps, final_norm_eps, head_norm_eps (`float`): Epsilon of the LayerNorms in the layers, after the
            last layer, and in the head.
        hidden_dropout, attention_dropout, head_dropout (`float`): Dropout on the outputs of embeddings and layers, on
            attention weights, and before the output layer.
        drop_path (`float`): Probability, in training, that a clip skips the last layer's branches
            ([stochastic depth](https://arxiv.org/abs/1603.09382)); it grows linearly from 0 at the first layer.
        patchout_time, patchout_frequency, patchout_unstructured (`float`): Shares of the columns, of the rows and then
            of the single patches that are left out in training ([PaSST](https://arxiv.org/abs/2110.05069)).
        apply_spec_augment (`bool`): SpecAugment (arXiv:1904.08779) on the features in training; `mask_time_*` and
            `mask_feature_*` mean what they mean in transformers' speech models.
        frame_pooling (`str`): How the frame head's clip score follows from the scores of its time patches: `"mean"` or
            `"max"` of the logits, or `"linear_softmax"` (probabilities weighted by themselves, Wang et al. 2019,
            arXiv:1810.09050).
        vocab_size (`int`, *optional*): Symbols of the CTC head, special ids included; None where there is none.
        pad_token_id, bos_token_id, eos_token_id (`int`): 0, 1, 2 in every vocabulary of aural; pad is the CTC blank.
        sampling_rate (`int`): Hz of the sound that the features are made of; transformers' recognition pipeline counts
            in samples.
        pretraining_objective (`str`): What masked pre-training learns: `"masked_autoencoder"`
            ([AudioMAE](https://arxiv.org/abs/2207.06405): the encoder sees kept patches alone, a small decoder fills
            in the others) or `"discriminative_generative"` ([SSAST](https://arxiv.org/abs/2110.09784): which content
            belongs to which masked patch, and what it is).
        mask_kind (`str`): What it masks: `"random"` patches, whole columns (`"time"`), whole rows (`"frequency"`), or
            all but a block (`"inverse_block"`, [EAT](https://arxiv.org/abs/2401.03497)).
        mask_ratio (`float`): Share of a clip's own patches that are masked; at least one is kept.
        masks_per_clip (`int`): Masks of a clip, each an input of its own to the layers; the clip is cut and projected
            once.
        pretraining_normalize_patches (`bool`): Contents to predict have mean 0 and variance 1 in each patch, as
            AudioMAE's; False leaves them as they are, as SSAST's.
        pretraining_generative_weight (`float`): Of the squared error beside the contrastive loss.
        pretraining_decoder_layers (`int`): Of the masked autoencoder.
        pretraining_decoder_hidden_size, pretraining_decoder_heads (`int`, *optional*): Its width and heads; by default
            half of `hidden_size`, and as many heads as the encoder.
        initializer_range (`float`): Standard deviation of initial weights, positions and tokens. The default is
            AST's; a narrow model that starts from scratch may learn much sooner from `hidden_size**-0.5`, as that of
            `aural demo captions` did.
        aural_format (`int`): Format of the saved folder; one newer than this aural knows is refused.

    Raises:
        ValueError: A value is impossible; the message names the field, its value and what is allowed.

    Example:
        >>> from aural import SpectrogramTransformerConfig
        >>> SpectrogramTransformerConfig.from_preset("tiny").time_patches(1024)
        101
    """

    model_type = "spectrogram_transformer"
    keys_to_ignore_at_inference = ["frame_mask", "patch_mask", "patch_index"]  # noqa: RUF012

    num_mel_bins: int = 128
    frame_shift_ms: float | int = 10.0
    patch_size: list[int] | tuple[int, ...] = (16, 16)
    patch_stride: list[int] | tuple[int, ...] = (10, 10)
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int | None = None
    hidden_act: str = "gelu"
    qkv_bias: bool = True
    position_kind: str = "joint"
    position_frames: int = 1024
    position_fit: str = "cut"
    num_class_tokens: int | None = None
    pooling: str = "cls_distillation"
    final_norm: bool = True
    layer_norm_eps: float | int = 1e-6
    final_norm_eps: float | int = 1e-6
    head_norm_eps: float | int = 1e-5
    hidden_dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    head_dropout: float | int = 0.0
    drop_path: float | int = 0.0
    patchout_time: float | int = 0.0
    patchout_frequency: float | int = 0.0
    patchout_unstructured: float | int = 0.0
    apply_spec_augment: bool = False
    mask_time_prob: float | int = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float | int = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0
    frame_pooling: str = "linear_softmax"
    vocab_size: int | None = None
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    sampling_rate: int = 16_000
    pretraining_objective: str = "masked_autoencoder"
    mask_kind: str = "random"
    mask_ratio: float | int = 0.8
    masks_per_clip: int = 1
    pretraining_normalize_patches: bool = True
    pretraining_generative_weight: float | int = 10.0
    pretraining_decoder_layers: int = 2
    pretraining_decoder_hidden_size: int | None = None
    pretraining_decoder_heads: int | None = None
    initializer_range: float | int = 0.02
    aural_format: int = AURAL_FORMAT

    def __post_init__(self, **kwargs: Any) -> None:
        self.patch_size = list(self.patch_size)
        self.patch_stride = list(self.patch_stride)
        if self.intermediate_size is None:
            self.intermediate_size = 4 * self.hidden_size
        if self.num_class_tokens is None:
            self.num_class_tokens = POOLINGS.get(self.pooling, 0)
        super().__post_init__(**kwargs)

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> "SpectrogramTransformerConfig":
        """A config of a customary size: "tiny" (192 wide), "small" (384) or "base" (768), all of twelve layers.

        Args:
            name: The size.
            overrides: Further fields, or others than the preset's.

        Raises:
            ValueError: There is no such preset.
        """
        if name not in PRESETS:
            raise ValueError(f"preset={name!r} must be one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})

    @property
    def frequency_patches(self) -> int:
        """Rows of the grid: patches along frequency."""
        return (self.num_mel_bins - self.patch_size[0]) // self.patch_stride[0] + 1

    def time_patches(self, frames: int) -> int:
        """Columns of the grid for a clip of `frames`: whole patches along time, at least one."""
        return max(1, (frames - self.patch_size[1]) // self.patch_stride[1] + 1)

    @property
    def seconds_per_patch(self) -> float:
        """Seconds from one column of the grid to the next."""
        return self.patch_stride[1] * self.frame_shift_ms / 1000

    @property
    def inputs_to_logits_ratio(self) -> float | int:
        """Samples from one column of the grid to the next, as transformers' recognition pipeline asks for them."""
        samples = self.patch_stride[1] * self.frame_shift_ms * self.sampling_rate / 1000
        return int(samples) if float(samples).is_integer() else samples

    @property
    def blank_id(self) -> int:
        """The CTC blank: `pad_token_id`, 0 where that is None."""
        return self.pad_token_id or 0

    @property
    def end_ids(self) -> list[int]:
        """The ids that end a text."""
        ids = self.eos_token_id
        return [] if ids is None else list(ids) if isinstance(ids, list) else [ids]

    def patch_centers(self, frames: int) -> list[float]:
        """Middle of every column in seconds, for a clip of `frames`."""
        half = self.patch_size[1] * self.frame_shift_ms / 2000
        return [t * self.seconds_per_patch + half for t in range(self.time_patches(frames))]

    def validate_format(self) -> None:
        """The folder is not from the future."""
        check_format(self.aural_format)

    def validate_sizes(self) -> None:
        """Sizes and counts are at least 1, and heads divide the width."""
        sizes = ("num_mel_bins", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        check_counts(self, (*sizes, "position_frames", "mask_time_length", "mask_feature_length", "sampling_rate"))
        check_amounts(self, ("frame_shift_ms", "layer_norm_eps", "final_norm_eps", "head_norm_eps"), zero=False)
        check_amounts(self, ("initializer_range", "mask_time_min_masks", "mask_feature_min_masks"))
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be divisible by num_attention_heads={self.num_attention_heads}"
            )

    def validate_grid(self) -> None:
        """At least one patch fits, and no mel or frame falls between two patches."""
        for name in ("patch_size", "patch_stride"):
            pair = getattr(self, name)
            if len(pair) != 2 or min(pair) < 1:
                raise ValueError(f"{name}={pair} must be two integers of at least 1: (frequency, time)")
        for axis, size, stride in zip(("frequency", "time"), self.patch_size, self.patch_stride, strict=True):
            if stride > size:
                raise ValueError(f"patch_stride={stride} along {axis} skips over what patch_size={size} covers")
        if self.patch_size[0] > self.num_mel_bins:
            raise ValueError(
                f"patch_size={self.patch_size[0]} along frequency exceeds num_mel_bins={self.num_mel_bins}"
            )
        if self.patch_size[1] > self.position_frames:
            raise ValueError(
                f"patch_size={self.patch_size[1]} along time exceeds position_frames={self.position_frames}"
            )

    def validate_positions(self) -> None:
        """The kind of positions exists and fits the width."""
        if self.position_kind not in POSITION_KINDS:
            raise ValueError(f"position_kind={self.position_kind!r} must be one of {', '.join(POSITION_KINDS)}")
        if self.position_fit not in POSITION_FITS:
            raise ValueError(f"position_fit={self.position_fit!r} must be one of {', '.join(POSITION_FITS)}")
        if self.position_kind == "sinusoidal" and self.hidden_size % 4:
            raise ValueError(f"hidden_size={self.hidden_size} must be divisible by 4 for sinusoidal positions")
        head = self.hidden_size // self.num_attention_heads
        if self.position_kind == "rotary" and head % 4:
            raise ValueError(f"hidden_size / num_attention_heads = {head} must be divisible by 4 for rotary positions")

    def validate_pooling(self) -> None:
        """The pooling exists and has its tokens."""
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling={self.pooling!r} must be one of {', '.join(POOLINGS)}")
        tokens = self.num_class_tokens or 0
        if not POOLINGS[self.pooling] <= tokens <= 2:
            allowed = f"{POOLINGS[self.pooling]} to 2 for pooling={self.pooling!r}"
            raise ValueError(f"num_class_tokens={self.num_class_tokens} must be {allowed}")
        if self.frame_pooling not in FRAME_POOLINGS:
            raise ValueError(f"frame_pooling={self.frame_pooling!r} must be one of {', '.join(FRAME_POOLINGS)}")

    def validate_ctc(self) -> None:
        """Where there is a vocabulary it holds the special ids, and there is a column for every character."""
        if self.vocab_size is None:
            return
        check_counts(self, ("vocab_size",))
        check_special_ids(self, ("pad_token_id", "bos_token_id", "eos_token_id"))
        if self.patch_stride[1] > CTC_MAX_REDUCTION:
            raise ValueError(
                f"patch_stride={self.patch_stride[1]} along time; a CTC head (vocab_size={self.vocab_size}) needs a "
                f"column every {CTC_MAX_REDUCTION} frames at most"
            )

    def validate_pretraining(self) -> None:
        """Objective, masks and decoder of the pre-training exist."""
        check_pretraining(self)

    def validate_shares(self) -> None:
        """Probabilities lie between 0 and 1."""
        dropouts = ("hidden_dropout", "attention_dropout", "head_dropout", "drop_path")
        patchouts = ("patchout_time", "patchout_frequency", "patchout_unstructured")
        check_shares(self, (*dropouts, *patchouts), one=False)
        check_shares(self, ("mask_time_prob", "mask_feature_prob"), one=True)


__all__ = ["POSITION_KINDS", "PRESETS", "SpectrogramTransformerConfig"]
