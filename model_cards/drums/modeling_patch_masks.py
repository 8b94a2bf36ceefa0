"""Which patches masked pre-training hides: random ones, columns, rows, or all but a block.

Notable here:
- all masks of a batch are drawn at once, on the device; how many patches a clip keeps follows from its own columns,
  and how many the batch keeps at most from shapes alone, so nothing waits for the host;
- padding is neither kept nor masked;
- counts are exact integers (`kept_of`), so that the host and the device never disagree by a rounding;
- where nothing is to be left to chance, `fixed` scores every place by itself: a clip is then masked alike on every
  call, alone and in any batch.
"""

from math import sqrt
from typing import TypeVar

import torch

from .configuration_spectrogram_transformer import SpectrogramTransformerConfig

PARTS = 1_000_000  # in which shares are counted
Count = TypeVar("Count", int, torch.Tensor)


def _share_of(count: Count, share: float) -> Count:
    """`count * share`, rounded."""
    return (count * round(share * PARTS) + PARTS // 2) // PARTS


def kept_of(count: Count, ratio: float) -> Count:
    """How many of `count` patches (or columns, or rows) stay when the share `ratio` is masked.

    At least one stays, and of two or more at least one is masked; of none, none. It never falls as `count` grows.

    Args:
        count: A number, or a tensor of them.
        ratio: `config.mask_ratio`.
    """
    kept = _share_of(count, 1 - ratio)
    if isinstance(count, int):
        return min(max(kept, 1), max(count - 1, 1), count)
    return kept.clamp(min=1).minimum((count - 1).clamp(min=1)).minimum(count)


def block_rows(config: SpectrogramTransformerConfig) -> int:
    """Rows of the block that an inverse block mask keeps: the same share of rows as of columns, but not all."""
    rows = config.frequency_patches
    return min(max(round(rows * sqrt(1 - config.mask_ratio)), 1), max(rows - 1, 1))


def block_columns(config: SpectrogramTransformerConfig, columns: Count) -> Count:
    """Columns of that block, for a clip of so many: with `block_rows`, about the kept share of its patches."""
    if config.frequency_patches == 1:
        return kept_of(columns, config.mask_ratio)
    share = min(1.0, config.frequency_patches * (1 - config.mask_ratio) / block_rows(config))
    wide = _share_of(columns, share)
    if isinstance(columns, int):
        return min(max(wide, 1), columns)
    return wide.clamp(min=1).minimum(columns)


def most_kept(config: SpectrogramTransformerConfig, columns: int) -> int:
    """The most patches that a mask keeps of any clip in a batch of `columns`: those of the longest."""
    rows = config.frequency_patches
    if config.mask_kind == "random":
        return kept_of(rows * columns, config.mask_ratio)
    if config.mask_kind == "time":
        return rows * kept_of(columns, config.mask_ratio)
    if config.mask_kind == "frequency":
        return kept_of(rows, config.mask_ratio) * columns
    return block_rows(config) * block_columns(config, columns)


def draw_masks(
    config: SpectrogramTransformerConfig,
    real: torch.Tensor,
    generator: torch.Generator | None = None,
    fixed: bool = False,
    masks: int | None = None,
) -> torch.Tensor:
    """Masks of every clip of a batch, by `config.mask_kind` and `config.mask_ratio`.

    Args:
        config: Of the model.
        real: Boolean `(batch, columns)`, True on a clip's own columns, which come first.
        generator: To draw from; default: torch's own.
        fixed: Draw nothing: scores follow from the place in the grid and the number of the mask.
        masks: Of each clip; default: `config.masks_per_clip`.

    Returns:
        Boolean `(batch, masks, rows * columns)`, True on masked patches; False on kept ones and on padding.
    """
    masks, rows = masks or config.masks_per_clip, config.frequency_patches
    batch, columns = real.shape
    grid = real[:, None, None].expand(batch, masks, rows, columns)

    def scores(*sizes: int) -> torch.Tensor:
        """`(batch, masks, *sizes)` in [0, 1)."""
        if fixed and generator is None:
            return fixed_scores(masks, *sizes, device=real.device).expand(batch, masks, *sizes)
        device = real.device if generator is None else generator.device
        return torch.rand(batch, masks, *sizes, generator=generator, device=device).to(real.device)

    own = real.sum(-1)[:, None]  # (batch, 1)
    if config.mask_kind == "random":
        chosen = scores(rows, columns).flatten(2).masked_fill(~grid.flatten(2), 2.0)
        return grid.flatten(2) & ~_lowest(chosen, kept_of(rows * own, config.mask_ratio))
    if config.mask_kind == "time":
        chosen = scores(columns).masked_fill(~real[:, None], 2.0)
        kept = _lowest(chosen, kept_of(own, config.mask_ratio))[:, :, None]  # (batch, masks, 1, columns)
    elif config.mask_kind == "frequency":
        few = torch.full_like(own, kept_of(rows, config.mask_ratio))
        kept = _lowest(scores(rows), few)[..., None]  # (batch, masks, rows, 1)
    else:
        kept = _blocks(config, scores(2), own, columns)
    return (grid & ~kept).flatten(2)


def _lowest(scores: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """True on the `count` `(batch, 1)` lowest of the scores `(batch, masks, entries)`."""
    rank = scores.argsort(dim=-1, stable=True).argsort(dim=-1)
    return rank < count[..., None]


def _blocks(
    config: SpectrogramTransformerConfig, scores: torch.Tensor, own: torch.Tensor, columns: int
) -> torch.Tensor:
    """True in a block inside each clip's own grid: `(batch, masks, rows, columns)`.

    It covers the middle more often than the borders, and always where it is wider and higher than half of the grid, so
    a `mask_ratio` of 0.75 or more suits it.

    Args:
        config: Gives the block's size.
        scores: `(batch, masks, 2)` in [0, 1): where it lies, of all places that it can have.
        own: `(batch, 1)`, each clip's columns.
        columns: Of the grid.
    """
    rows, high, wide = config.frequency_patches, block_rows(config), block_columns(config, own)
    top = (scores[..., 0] * (rows - high + 1)).long().clamp(max=rows - high)  # (batch, masks)
    left = (scores[..., 1] * (own - wide + 1)).long().minimum(own - wide)
    row = torch.arange(rows, device=scores.device)[:, None] - top[..., None, None]
    column = torch.arange(columns, device=scores.device) - left[..., None, None]
    return (row >= 0) & (row < high) & (column >= 0) & (column < wide[..., None, None])


def fixed_scores(*sizes: int, device: torch.device) -> torch.Tensor:
    """Scores in [0, 1) that look drawn, each of its own place alone: `sizes`, float32.

    An integer hash of the coordinates, so that it is the same on every device and in a grid of any size.
    """
    code = torch.zeros((), dtype=torch.int64, device=device)
    for axis, size in enumerate(sizes):
        places = torch.arange(1, size + 1, device=device)
        code = _mixed(code + places.view(-1, *[1] * (len(sizes) - 1 - axis)))
    return (code >> 8) / 2**24  # as many bits as a float32 holds


def _mixed(code: torch.Tensor) -> torch.Tensor:
    """Every bit of a 32-bit number changes about half of the others (the multipliers are Wellons's `lowbias32`)."""
    code = ((code ^ (code >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    code = ((code ^ (code >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return code ^ (code >> 16)
