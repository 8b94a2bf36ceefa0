r"""Where a patch lies: positions on the grid of a spectrogram, for clips of any length.

A patch has a row (frequency) and a column (time). The number of rows follows from the config; columns follow from the
clip. So every kind answers for *time coordinates*: column `t` of a clip, or a place between two columns where learned
positions are stretched over a clip of another length.

- `JointPositions`: one learned vector per place, as AST's table;
- `FactorizedPositions`: a learned vector per row plus one per column, as PaSST;
- `SinusoidalPositions`: fixed waves, half of the features for each axis; any length at no cost;
- `rotary_factors` and `rotate`: nothing is added, but queries and keys are turned by their place, so that their
  product depends on the distance along both axes.

Shapes: positions `(batch or 1, rows, columns, hidden)`; a batch of 1 where they are the same for all clips.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .configuration_spectrogram_transformer import SpectrogramTransformerConfig

WAVELENGTH = 10_000.0  # of the slowest wave, over 2π (arXiv:1706.03762)


@dataclass
class TimeCoordinates:
    """Where columns lie along time: `at` `(batch or 1, columns)`, in columns of the learned grid.

    `stretched` False says that column `t` of every clip lies at `t`, which a shape tells and no value has to.
    """

    at: torch.Tensor
    stretched: bool


def time_coordinates(
    config: SpectrogramTransformerConfig, columns: int, own_columns: torch.Tensor | None, device: torch.device
) -> TimeCoordinates:
    """The time coordinate of every column, by `config.position_fit`.

    Args:
        config: Says how clips of another length than `position_frames` get their positions.
        columns: Of the padded grid.
        own_columns: `(batch,)`, the real columns of each clip; None: all of them, for all clips alike.
        device: Where they go.

    Returns:
        Coordinates, those beyond a clip's own columns having no meaning.
    """
    at = torch.arange(columns, device=device, dtype=torch.float32)[None]  # (1, columns)
    learned = config.time_patches(config.position_frames)
    cut = config.position_fit == "cut"
    if cut and (columns <= learned or config.position_kind in ("sinusoidal", "rotary")):
        return TimeCoordinates(at, stretched=False)
    own = torch.full((1,), columns, device=device) if own_columns is None else own_columns
    stretched = ((at + 0.5) * (learned / own[:, None]) - 0.5).clamp(0, learned - 1)  # middles of columns meet
    return TimeCoordinates(torch.where(own[:, None] <= learned, at, stretched) if cut else stretched, stretched=True)


def at_coordinates(table: torch.Tensor, time: TimeCoordinates) -> torch.Tensor:
    """Vectors of a table at places along its columns, linear between two of them.

    Args:
        table: `(…, columns of the table, hidden)`.
        time: The places.

    Returns:
        `(…, batch or 1, columns, hidden)`; at a whole coordinate exactly the table's vector.
    """
    if not time.stretched:
        return table[..., None, : time.at.shape[1], :]
    last = table.shape[-2] - 1
    low = time.at.floor().clamp(0, last)
    share = (time.at - low).clamp(0, 1).to(table.dtype)[..., None]  # (batch, columns, 1)
    below, above = table[..., low.long(), :], table[..., (low + 1).clamp(max=last).long(), :]
    return below + (above - below) * share


class JointPositions(nn.Module):
    """One learned vector per place of the grid (Dosovitskiy et al. 2020, arXiv:2010.11929)."""

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        columns = config.time_patches(config.position_frames)
        self.table = nn.Parameter(torch.empty(config.frequency_patches, columns, config.hidden_size))

    def forward(self, time: TimeCoordinates) -> torch.Tensor:
        """Coordinates of the columns → positions `(batch or 1, rows, columns, hidden)`."""
        return at_coordinates(self.table, time).transpose(0, 1)


class FactorizedPositions(nn.Module):
    """A learned vector per row plus a learned vector per column (Koutini et al. 2021, arXiv:2110.05069)."""

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        columns = config.time_patches(config.position_frames)
        self.frequency_table = nn.Parameter(torch.empty(config.frequency_patches, config.hidden_size))
        self.time_table = nn.Parameter(torch.empty(columns, config.hidden_size))

    def forward(self, time: TimeCoordinates) -> torch.Tensor:
        """Coordinates of the columns → positions `(batch or 1, rows, columns, hidden)`."""
        return self.frequency_table[None, :, None] + at_coordinates(self.time_table, time)[:, None]


def grid_places(rows: int, time: TimeCoordinates) -> torch.Tensor:
    """Row and time coordinate of every place of the grid: `(batch or 1, rows, columns, 2)`, float32."""
    row = torch.arange(rows, device=time.at.device, dtype=torch.float32)[None, :, None]
    return torch.stack(torch.broadcast_tensors(row, time.at[:, None]), dim=-1)


def _angles(coordinates: torch.Tensor, count: int) -> torch.Tensor:
    """`count` angles per coordinate, from one radian per step down to 1 / `WAVELENGTH`; `(…, count)`."""
    exponents = torch.arange(count, device=coordinates.device, dtype=torch.float32) / count
    return coordinates[..., None] * WAVELENGTH**-exponents


class SinusoidalPositions(nn.Module):
    """Sines and cosines: of the row in one half of the features, of the column in the other (as MAE,
    arXiv:2111.06377)."""

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        self.rows, self.hidden = config.frequency_patches, config.hidden_size

    def forward(self, time: TimeCoordinates) -> torch.Tensor:
        """Coordinates of the columns → positions `(batch or 1, rows, columns, hidden)`, float32."""
        angles = _angles(grid_places(self.rows, time), self.hidden // 4)  # (batch, rows, columns, 2, hidden / 4)
        return torch.stack([angles.sin(), angles.cos()], dim=-2).flatten(-3)


POSITIONS: dict[str, type[nn.Module]] = {  # the kinds that are added to the patches
    "joint": JointPositions,
    "factorized": FactorizedPositions,
    "sinusoidal": SinusoidalPositions,
}


def rotary_factors(places: torch.Tensor, head_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines that turn queries and keys by their place, half of the head by each axis.

    After RoFormer (arXiv:2104.09864), on two axes as in Lu et al. 2023 (arXiv:2312.17172).

    Args:
        places: `(batch or 1, tokens, 2)`, row and time coordinate; a token at (0, 0) is not turned.
        head_dim: Features per head, divisible by 4.

    Returns:
        Two tensors `(batch or 1, 1, tokens, head_dim)`.
    """
    angles = _angles(places, head_dim // 4).flatten(-2)  # (batch, tokens, head_dim / 2)
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos(), angles.sin()


def rotate(states: torch.Tensor, factors: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turn queries or keys `(batch, heads, tokens, head_dim)` by `rotary_factors`."""
    cosines, sines = (factor.to(states.dtype) for factor in factors)
    first, second = states.chunk(2, dim=-1)
    return states * cosines + torch.cat([-second, first], dim=-1) * sines


def resample_positions(table: torch.Tensor, rows: int, columns: int, fit: str = "interpolate") -> torch.Tensor:
    """A table of positions for another grid; of its own size it comes back bit by bit.

    Each axis is treated as the AST authors treat theirs: to fewer places `fit="cut"` takes the middle ones, in every
    other case positions are interpolated linearly.

    Args:
        table: `(rows, columns, hidden)`.
        rows, columns: Of the new grid.
        fit: `"interpolate"`, or `"cut"` for axes that become shorter.

    Raises:
        ValueError: `fit` is neither, or a number is below 1.
    """
    if fit not in ("interpolate", "cut"):
        raise ValueError(f"fit={fit!r} must be 'interpolate' or 'cut'")
    if min(rows, columns) < 1:
        raise ValueError(f"rows={rows}, columns={columns} must be at least 1")
    for axis, wanted in ((0, rows), (1, columns)):
        there = table.shape[axis]
        if fit == "cut" and wanted < there:
            table = table.narrow(axis, there // 2 - wanted // 2, wanted)
        elif wanted != there:
            moved = table.movedim(axis, -1)  # (other axis, hidden, there)
            moved = nn.functional.interpolate(moved, size=wanted, mode="linear", align_corners=False)
            table = moved.movedim(-1, axis)
    return table.contiguous()
