"""Every head's attention, read layer by layer, of clips as they are or with their patches shuffled.

What is notable here:
- maps are handed over as a layer makes them and are then let go: one layer's are held at a time, where
  `attention_maps` holds all (850 MB for ten seconds and AST's 144 heads);
- shuffled is what lies at the places of a clip's grid, not the places: positions stay where they are. A head that
  follows content then looks where the content went, one that follows position looks where it looked before.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn

from .head_knockout import encoder_of

Read = Callable[[int, torch.Tensor], None]


class _ReadLayers(dict[int, torch.Tensor | None]):
    """Takes every layer's weights where a dict would keep them."""

    def __init__(self, read: Read) -> None:
        super().__init__()
        self._read = read

    def __contains__(self, index: object) -> bool:
        return True

    def __setitem__(self, index: int, weights: torch.Tensor | None) -> None:
        self._read(index, cast(torch.Tensor, weights))


@torch.no_grad()
def read_maps(
    model: nn.Module,
    input_features: torch.Tensor,
    attention_mask: torch.Tensor | None,
    read: Read,
    places: torch.Tensor | None = None,
) -> None:
    """Run the encoder and hand over each layer's attention, under any attention implementation.

    Args:
        model: A spectrogram transformer with any head, or its encoder alone, in eval mode.
        input_features: `(batch, frames, mels)`.
        attention_mask: `(batch, frames)`, 1 on real frames, or None.
        read: Called with each layer's number and weights `(batch, heads, tokens, tokens)`, the first layer first;
            class tokens come before the patches, and patch `row * columns + column`.
        places: `(batch, patches)`, for each place of the grid where its content goes: a permutation of each row, that
            leaves padding where it is. None: all stay.

    Raises:
        TypeError: The model has no encoder of patches.
        ValueError: `places` are of another shape; bad input as in the model's `forward`.
    """
    encoder = encoder_of(model)
    cut = encoder.embeddings.cut(*encoder.prepare(input_features, attention_mask))
    if places is not None:
        if places.shape != cut.states.shape[:2]:
            raise ValueError(f"places {tuple(places.shape)} must be (batch, patches) = {tuple(cut.states.shape[:2])}")
        cut.states = shuffled(cut.states, places)
    real = cut.real
    mask = None if real is None else real[:, None].expand(-1, encoder.config.frequency_patches, -1).flatten(1)
    patches = encoder.embeddings.tokens(cut.placed(), mask, None, cut.time)
    encoder._encode(patches, eager=True, attention_maps=_ReadLayers(read))


def shuffled(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """States `(batch, patches, hidden)` with that of patch `j` at `places[:, j]`, `(batch, patches)`."""
    return torch.empty_like(states).scatter_(1, places[..., None].expand_as(states), states)


def padded_places(goes: Sequence[torch.Tensor], rows: int, width: int) -> torch.Tensor:
    """Places for `read_maps` of clips of different lengths.

    Args:
        goes: Of each clip, `(rows * columns,)` with its own columns: for each of its patches where its content goes.
        rows: Of the grid.
        width: Columns of the padded grid.

    Returns:
        `(batch, rows * width)`; padding stays where it is.
    """
    places = torch.arange(rows * width).repeat(len(goes), 1)
    for row, own in zip(places, goes, strict=True):
        at = own_patches(rows, len(own) // rows, width)
        row[at] = at[own]
    return places


def own_patches(rows: int, columns: int, width: int) -> torch.Tensor:
    """Where a clip's patches lie in a grid that is padded to `width` columns: `(rows * columns,)`."""
    return (torch.arange(rows)[:, None] * width + torch.arange(columns)).flatten()
