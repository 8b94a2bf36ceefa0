"""Which grid a table of positions is for, where only its length is known; and tables for another grid.

A checkpoint holds the patches' size and the number of positions, not the stride or the number of frames. The grids
that people publish settle it: strides alike on both axes, clips of a few customary lengths. Where they do not, the
error names what would fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .convert_shared import BODY, Conversion
from .positions import resample_positions

MELS = 128  # of every published checkpoint
STRIDES = (10, 12, 14, 16)  # of published checkpoints with patches of 16 by 16
FRAMES = (1024, 512, 128)  # of AudioSet, ESC-50 and Speech Commands as AST, SSAST and AudioMAE cut them
SHOWN = 6  # grids in an error


@dataclass(frozen=True)
class Grid:
    """Patches `rows` by `columns` of a spectrogram: mels, frames, and pairs (frequency, time)."""

    mels: int
    frames: int
    size: tuple[int, int]
    stride: tuple[int, int]

    @property
    def rows(self) -> int:
        """Along frequency."""
        return (self.mels - self.size[0]) // self.stride[0] + 1

    @property
    def columns(self) -> int:
        """Along time."""
        return (self.frames - self.size[1]) // self.stride[1] + 1

    def __str__(self) -> str:
        stride = f"{self.stride[0]},{self.stride[1]}"
        return f"{self.rows} x {self.columns} (frames={self.frames}, stride={stride})"

    def settings(self) -> dict[str, Any]:
        """Fields of the config."""
        return {
            "num_mel_bins": self.mels,
            "position_frames": self.frames,
            "patch_size": list(self.size),
            "patch_stride": list(self.stride),
        }


def least_frames(columns: int, size: int, stride: int) -> int:
    """The fewest frames that give so many columns."""
    return (columns - 1) * stride + size


def infer_grid(
    positions: int,
    size: tuple[int, int],
    frames: int | None = None,
    stride: tuple[int, int] | None = None,
    mels: int = MELS,
) -> Grid:
    """The grid that has `positions` places.

    Args:
        positions: Without those of class tokens.
        size: Of a patch, mels and frames.
        frames: If they are known; else customary ones are preferred.
        stride: If it is known; else customary ones are tried, with `frames` then all.
        mels: Of the spectrogram.

    Raises:
        ValueError: No grid fits, or several do; they are named.
    """
    wanted = f"{positions} positions of patches of {size[0]} mels by {size[1]} frames, on {mels} mels"
    if size[0] > mels:
        raise ValueError(f"{wanted}: a patch is higher than the spectrogram")
    if stride is not None:
        found = _grids(positions, size, [stride], frames, mels)
    else:
        found = _grids(positions, size, _customary(size), frames, mels)
        found = [grid for grid in found if grid.frames in FRAMES] or found
        if not found and frames is not None:
            every = [(f, t) for f in range(1, size[0] + 1) for t in range(1, size[1] + 1)]
            found = _grids(positions, size, every, frames, mels)
    if len(found) == 1:
        return found[0]
    given = f" with frames={frames}, stride={stride}" if frames or stride else ""
    if found:
        names = "; ".join(map(str, found[:SHOWN])) + ("; …" if len(found) > SHOWN else "")
        raise ValueError(f"{wanted}{given}: several grids fit, {names}: say which frames and stride are the source's")
    raise ValueError(f"{wanted}{given}: no grid fits; say which frames and stride are the source's")


def _customary(size: tuple[int, int]) -> list[tuple[int, int]]:
    if size[0] == size[1]:
        return [(each, each) for each in sorted({*STRIDES, size[0]}) if each <= size[0]]
    steps = sorted({*STRIDES, size[1]}) if size[1] >= min(STRIDES) else range(1, size[1] + 1)
    return [(size[0], each) for each in steps if each <= size[1]]


def _grids(
    positions: int, size: tuple[int, int], strides: Sequence[tuple[int, int]], frames: int | None, mels: int
) -> list[Grid]:
    found = []
    for stride in strides:
        rows = (mels - size[0]) // stride[0] + 1
        columns, rest = divmod(positions, rows)
        if rest or not columns:
            continue
        lengths = FRAMES if frames is None else (frames,)
        grids = [Grid(mels, length, size, stride) for length in lengths if length >= size[1]]
        fitting = [grid for grid in grids if grid.columns == columns]
        if not fitting and frames is None:
            fitting = [Grid(mels, least_frames(columns, size[1], stride[1]), size, stride)]
        found += fitting
    return found


def resampled(conversion: Conversion, frames: int | None = None, stride: tuple[int, int] | None = None) -> Conversion:
    """The same model with positions for clips of another length, or for patches at another stride.

    A new stride stretches the positions over the same clip. Fewer frames keep the middle of the table, more stretch
    it, as the AST authors do. A table of the same size stays as it is, bit by bit.

    Args:
        conversion: What to change.
        frames: That positions are made for; None: as they are.
        stride: Mels and frames from one patch to the next; None: as it is.

    Raises:
        ValueError: No patch fits, or the stride exceeds the patch.
    """
    old = conversion.config
    new = SpectrogramTransformerConfig.from_dict(
        {
            **old.to_dict(),
            "position_frames": old.position_frames if frames is None else frames,
            "patch_stride": list(old.patch_stride if stride is None else stride),
        }
    )
    rows, columns = new.frequency_patches, new.time_patches(new.position_frames)
    stretched = new.time_patches(old.position_frames)  # the new stride on the old clip
    state = dict(conversion.state_dict)
    body = BODY if any(name.startswith(BODY) for name in state) else ""
    # Each table laid out as (rows, columns, hidden), and which of the axes are its own.
    layouts = {"table": (True, True), "frequency_table": (True, False), "time_table": (False, True)}
    for kind, (has_rows, has_columns) in layouts.items():
        name = f"{body}embeddings.positions.{kind}"
        if name not in state:
            continue
        table = state[name]
        table = table if has_rows and has_columns else table[:, None] if has_rows else table[None]
        table = resample_positions(table, rows if has_rows else 1, stretched if has_columns else 1)
        table = resample_positions(table, table.shape[0], columns if has_columns else 1, fit="cut")
        state[name] = table if has_rows and has_columns else table[:, 0] if has_rows else table[0]
    features = dict(conversion.features)
    if frames is not None and features.get("max_length") is not None:
        features["max_length"] = frames
    before = f"{old.frequency_patches} x {old.time_patches(old.position_frames)}"
    notes = conversion.notes
    if before != f"{rows} x {columns}":
        notes = (*notes, f"Positions were resampled from {before} to {rows} x {columns} (frequency x time).")
    return replace(conversion, config=new, state_dict=state, features=features, notes=notes)
