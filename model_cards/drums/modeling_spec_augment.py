"""SpecAugment (Park et al. 2019, arXiv:1904.08779) on the device, for every model of aural.

The options are those of transformers' speech models. Theirs draws on the host with numpy's global generator, one clip
after the other; this draws a whole batch at once from torch's generator, without a host synchronisation.
"""

from typing import Protocol

import torch


class SpecAugmentConfig(Protocol):
    """The config fields that SpecAugment reads, named as in transformers."""

    apply_spec_augment: bool
    mask_time_prob: float | int
    mask_time_length: int
    mask_time_min_masks: int
    mask_feature_prob: float | int
    mask_feature_length: int
    mask_feature_min_masks: int


def draw_spans(lengths: torch.Tensor, size: int, prob: float, length: int, min_masks: int) -> torch.Tensor:
    """Random spans of `length` that cover about `prob` of each row's axis.

    Args:
        lengths: `(batch,)`, the real part of each row.
        size: Length of the axis.
        prob: Expected share of the real part under spans, before overlaps.
        length: Entries per span; a row shorter than a span gets none.
        min_masks: Fewest spans per row.

    Returns:
        Boolean `(batch, size)`, True inside a span.
    """
    device = lengths.device
    most = max(int(prob * size / length) + 1, min_masks)
    count = (prob * lengths / length + torch.rand(len(lengths), device=device)).floor().clamp(min=min_masks)
    count = torch.where(lengths >= length, count, 0)  # (batch,)
    starts = (torch.rand(len(lengths), most, device=device) * (lengths - length + 1)[:, None]).floor()  # (batch, most)
    used = torch.arange(most, device=device) < count[:, None]
    at = torch.arange(size, device=device)
    inside = (at >= starts[..., None]) & (at < starts[..., None] + length) & used[..., None]  # (batch, most, size)
    return inside.any(dim=1)


def spec_augment(features: torch.Tensor, mask: torch.Tensor, config: SpecAugmentConfig) -> torch.Tensor:
    """Set random spans of time and of mels to 0, the mean of normalised features.

    Args:
        features: `(batch, frames, mels)`.
        mask: Boolean `(batch, frames)`, True on real frames.
        config: The spans' number and length; as in transformers, a probability of 0 switches its axis off.

    Returns:
        A new tensor like `features`.
    """
    batch, frames, mels = features.shape
    if config.mask_time_prob > 0:
        spans = draw_spans(
            mask.sum(-1), frames, config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks
        )
        features = features.masked_fill(spans[..., None], 0.0)
    if config.mask_feature_prob > 0:
        whole = torch.full((batch,), mels, device=features.device)
        spans = draw_spans(
            whole, mels, config.mask_feature_prob, config.mask_feature_length, config.mask_feature_min_masks
        )
        features = features.masked_fill(spans[:, None], 0.0)
    return features
