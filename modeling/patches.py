r"""From a spectrogram to patches: cut, projected, placed, and in training partly left out.

Notable here:
- a clip has as many columns as whole patches fit into its *own* frames, whatever it is batched with: what lies beyond
  them is masked, and a clip shorter than a patch is filled up to one with zeros;
- the order is AST's: class tokens first, then row by row (low mels first), each row along time, so that patch
  `row * columns + column` lies at that place of the grid;
- patchout (Koutini et al. 2021, arXiv:2110.05069) drops whole columns and rows and then single patches, drawn per clip
  on the device; how many are kept follows from shapes alone, so nothing waits for the host;
- cutting and placing are steps of their own, so that masked pre-training chooses between them what the layers see.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .positions import POSITIONS, TimeCoordinates, grid_places, rotary_factors, time_coordinates


@dataclass
class Patches:
    """What the layers take.

    Shapes: `states` `(batch, tokens, hidden)`, class tokens first; `mask` `(batch, tokens)` boolean, True on real
    tokens, or None where all are; `index` `(batch, patches)`, the place `row * columns + column` of every patch that
    patchout kept, or None where it dropped none; `rotary`, the tokens' `rotary_factors` or None.
    """

    states: torch.Tensor
    mask: torch.Tensor | None
    index: torch.Tensor | None
    rotary: tuple[torch.Tensor, torch.Tensor] | None


@dataclass
class CutPatches:
    """Every patch of a grid, projected, before some are chosen.

    Shapes: `states` `(batch, places, hidden)`, place `row * columns + column`; `positions` `(batch or 1, places,
    hidden)`, what is to be added, or None; `time`, the columns' coordinates; `real` `(batch, columns)` boolean, True
    on a clip's own columns, or None where all are.
    """

    states: torch.Tensor
    positions: torch.Tensor | None
    time: TimeCoordinates
    real: torch.Tensor | None

    def placed(self) -> torch.Tensor:
        """Patches that know their place: `(batch, places, hidden)`."""
        return self.states if self.positions is None else self.states + self.positions


def filled_up(config: SpectrogramTransformerConfig, features: torch.Tensor) -> torch.Tensor:
    """Features `(batch, frames, mels)`, of which at least one patch can be cut: zeros after what is shorter."""
    short = config.patch_size[1] - features.shape[1]
    return nn.functional.pad(features, (0, 0, 0, short)) if short > 0 else features


def own_columns(config: SpectrogramTransformerConfig, lengths: torch.Tensor) -> torch.Tensor:
    """Columns of clips of `lengths` frames `(batch,)`: `config.time_patches` on the device."""
    whole = torch.div(lengths - config.patch_size[1], config.patch_stride[1], rounding_mode="floor") + 1
    return whole.clamp(min=1)


def _draw(real: torch.Tensor, dropped: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep a share `1 - dropped` of each row's real entries, at least one, drawn anew for every row.

    Args:
        real: Boolean `(batch, entries)`.
        dropped: Share of the entries to leave out.

    Returns:
        Indices of what is kept, ascending, and whether they are real; both `(batch, kept)`.
    """
    kept = max(1, round(real.shape[1] * (1 - dropped)))
    own = (real.sum(-1, keepdim=True) * (1 - dropped)).round().clamp(min=1, max=kept)  # of every row
    scores = torch.rand(real.shape, device=real.device).masked_fill(~real, 2.0)  # what is not real comes last
    chosen = scores.argsort(dim=-1)[:, :kept]
    used = (torch.arange(kept, device=real.device) < own) & real.gather(1, chosen)
    order = chosen.masked_fill(~used, real.shape[1]).argsort(dim=-1)
    return chosen.gather(1, order), used.gather(1, order)


def patchout(config: SpectrogramTransformerConfig, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which patches stay: some columns and some rows are dropped whole, then single patches of the rest.

    Args:
        config: The three shares.
        real: Boolean `(batch, columns)`, True on a clip's own columns.

    Returns:
        Places `row * columns + column`, ascending but for what is not real, and whether each is real; both
        `(batch, kept)`.
    """
    batch, columns = real.shape
    column_at, column_real = _draw(real, config.patchout_time)
    all_rows = torch.ones(batch, config.frequency_patches, dtype=torch.bool, device=real.device)
    row_at, row_real = _draw(all_rows, config.patchout_frequency)
    places = (row_at[:, :, None] * columns + column_at[:, None]).flatten(1)  # (batch, kept rows * kept columns)
    is_real = (row_real[:, :, None] & column_real[:, None]).flatten(1)
    if config.patchout_unstructured > 0:
        chosen, used = _draw(is_real, config.patchout_unstructured)
        places, is_real = places.gather(1, chosen), used
    return places, is_real


class PatchProjection(nn.Conv2d):
    """A convolution without padding, by one matrix product over its patches: on a CPU a training step of it takes a
    quarter to three quarters of the time."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """`(batch, 1, mels, frames)` → `(batch, hidden, rows, columns)`, a view whose hidden numbers lie together."""
        (high, wide), (down, along) = self.kernel_size, self.stride
        patches = image[:, 0].unfold(1, high, down).unfold(2, wide, along)  # (batch, rows, columns, high, wide)
        return nn.functional.linear(patches.flatten(3), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class SpectrogramEmbeddings(nn.Module):
    """Features `(batch, frames, mels)` to `Patches`.

    Args:
        config: Patches, positions, class tokens, patchout.
    """

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        self.config = config
        (high, wide), (down, along) = config.patch_size, config.patch_stride
        self.patch_projection: nn.Conv2d = PatchProjection(1, config.hidden_size, (high, wide), (down, along))
        kind = POSITIONS.get(config.position_kind)  # None: rotary, where nothing is added
        self.positions = None if kind is None else kind(config)
        tokens = config.num_class_tokens or 0
        self.class_tokens = nn.Parameter(torch.empty(tokens, config.hidden_size)) if tokens else None
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, features: torch.Tensor, mask: torch.Tensor | None) -> Patches:
        """Cut, project and place.

        Args:
            features: `(batch, frames, mels)`, 0 on padding.
            mask: Boolean `(batch, frames)`, or None.
        """
        cut = self.cut(features, mask)
        states = cut.placed()  # (batch, rows * columns, hidden)
        index, patch_mask = self._kept(cut.real, states.shape[0], states.shape[1] // self.config.frequency_patches)
        if index is not None:
            states = states.gather(1, index[..., None].expand(-1, -1, states.shape[-1]))
        return self.tokens(states, patch_mask, index, cut.time)

    def cut(self, features: torch.Tensor, mask: torch.Tensor | None) -> CutPatches:
        """Every patch of the grid, projected, its position beside it; arguments as above."""
        config = self.config
        features = filled_up(config, features)
        grid = self.patch_projection(features.transpose(1, 2)[:, None])  # (batch, hidden, rows, columns)
        columns = grid.shape[3]
        own = None if mask is None else own_columns(config, mask.sum(-1))
        time = time_coordinates(config, columns, own, grid.device)
        positions = None if self.positions is None else self.positions(time).to(grid.dtype).flatten(1, 2)
        real = None if own is None else torch.arange(columns, device=grid.device) < own[:, None]
        return CutPatches(grid.flatten(2).transpose(1, 2), positions, time, real)

    def tokens(
        self, states: torch.Tensor, mask: torch.Tensor | None, index: torch.Tensor | None, time: TimeCoordinates
    ) -> Patches:
        """What the layers take, from the patches that they are to see.

        Args:
            states: `(batch, patches, hidden)`, with their positions.
            mask: Boolean `(batch, patches)`, True on real patches, or None.
            index: `(batch, patches)`, the place of each, or None where all are there.
            time: The columns' coordinates.
        """
        rotary = self._rotary(time, index) if self.config.position_kind == "rotary" else None
        states, mask = self._with_class_tokens(states, mask)
        return Patches(self.dropout(states), mask, index, rotary)

    def _kept(
        self, real: torch.Tensor | None, batch: int, columns: int
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Places that patchout keeps, or None for all, and which patches are real, or None for all."""
        config = self.config
        if self.training and (config.patchout_time or config.patchout_frequency or config.patchout_unstructured):
            everywhere = torch.ones(batch, columns, dtype=torch.bool, device=self.patch_projection.weight.device)
            index, patch_mask = patchout(config, everywhere if real is None else real)
            return index, None if real is None else patch_mask
        return None, None if real is None else real[:, None].expand(-1, config.frequency_patches, -1).flatten(1)

    def _with_class_tokens(
        self, states: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.class_tokens is None:
            return states, mask
        tokens = self.class_tokens.to(states.dtype).expand(states.shape[0], -1, -1)
        if mask is not None:
            mask = nn.functional.pad(mask, (tokens.shape[1], 0), value=True)
        return torch.cat([tokens, states], dim=1), mask

    def _rotary(self, time: TimeCoordinates, index: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors of all tokens; class tokens stand at (0, 0) and are not turned."""
        places = grid_places(self.config.frequency_patches, time).flatten(1, 2)  # (batch or 1, patches, 2)
        if index is not None:
            places = places.expand(len(index), -1, -1).gather(1, index[..., None].expand(-1, -1, 2))
        places = nn.functional.pad(places, (0, 0, self.config.num_class_tokens or 0, 0))
        return rotary_factors(places, self.config.hidden_size // self.config.num_attention_heads)
