"""What masked pre-training asks of a config: its objectives, its kinds of masks, and the checks of its fields."""

from typing import Any

from .configuration_validation import check_amounts, check_counts

OBJECTIVES = ("masked_autoencoder", "discriminative_generative")
MASK_KINDS = ("random", "time", "frequency", "inverse_block")


def check_pretraining(config: Any) -> None:
    """Objective and masks exist, something is masked and something kept, and the decoder has a size.

    Args:
        config: Has the fields `pretraining_*`, `mask_kind`, `mask_ratio` and `masks_per_clip`.

    Raises:
        ValueError: Otherwise; names the field, its value and what is allowed.
    """
    for name, allowed in (("pretraining_objective", OBJECTIVES), ("mask_kind", MASK_KINDS)):
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name}={getattr(config, name)!r} must be one of {', '.join(allowed)}")
    if not 0 < config.mask_ratio < 1:
        raise ValueError(f"mask_ratio={config.mask_ratio} must be above 0 and below 1")
    if config.mask_kind == "frequency" and config.frequency_patches < 2:
        raise ValueError("mask_kind='frequency' masks whole rows, and the patches of this model make one row only")
    check_counts(config, ("masks_per_clip", "pretraining_decoder_layers"))
    chosen = ("pretraining_decoder_hidden_size", "pretraining_decoder_heads")
    check_counts(config, [name for name in chosen if getattr(config, name) is not None])
    check_amounts(config, ("pretraining_generative_weight",))
