r"""What an attention head does, in numbers: from its maps over a spectrogram whose sounds may be known.

With weights w_ij from query i to key j, rows that sum to 1, over the patches of one clip:

- *distance*, Σ w_ij |x_i - x_j| / Σ w_ij, x being the middles of patches in seconds, mels or kHz;
- *entropy* H_i = -Σ_j w_ij log w_ij in nats, its share of the logarithm of the number of keys (1 is attention to all
  alike, 0 to one), and *spread*, e^H_i over that number: to how large a part of the clip a head attends; means over
  queries;
- *shares* of the attention that fall on class tokens, the same patch, the column before or after, other rows of the
  same column, the same row elsewhere, what lies within 0.25 s: means over the queries that have such keys and others;
  beside each the share of such keys, which is its *chance*;
- *content*: the clip is heard again with the contents of its patches shuffled over its places, content of i going to
  π(i), which gives weights v. With r the correlation of two maps over all pairs of different patches, and r² that of a
  positive one, else 0,

      position kept = r²(w, v)
      content kept  = r²(w, v^π),    v^π_ij = v_π(i)π(j)
      content       = content kept / (content kept + position kept)

  A head that goes where the content went has v^π = w, which gives 1; one that stays with the positions has v = w,
  which gives 0; one that keeps as much of both ½. One that keeps neither (less than 0.02 of its variance), such as one
  that looks everywhere alike, has none: NaN. What a head of a deeper layer is given is changed by the shuffling
  itself, since nothing lasts as long as it did: what is kept says how much of its map lives through that. A patch's
  attention to itself is left out: it stays both with its position and its content;
- *own source*: of the attention of a patch of one known source that falls on such patches in other columns, the share
  that falls on its own source. Beside it *chance*, the share of such keys that are of its source; and *by distance*,
  what the head would give its own source if all that it knew were how far away keys are: w_ij replaced by the mean of
  the clip's weights over all pairs that lie alike (rows apart, columns apart). A sound's patches are near each other,
  so a head that looks nearby is above chance; only one above `by distance` knows more. Moments at which several
  sources sound, or none, are left out.

Notable here: one clip at a time and without padding, so that no measure depends on a batch; float64 throughout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from .grid import PatchGrid

SILENT, SEVERAL = -1, -2  # of a column: nothing sounds; several sources do, or one for less than half of it
NEAR = 0.25  # seconds
LEAST_KEPT = 0.02  # of a map's variance, from which on there is a `content`
LEAST_MASS = 1e-9  # of attention that shares can be taken of


class Sound(Protocol):
    """What must be told of a sound: its source, and seconds from the clip's beginning."""

    @property
    def label(self) -> str: ...
    @property
    def onset(self) -> float: ...
    @property
    def offset(self) -> float | None: ...


@dataclass(frozen=True, eq=False)
class PatchPlaces:
    """Where the patches of a clip lie, patch `row * columns + column`.

    Attributes:
        row, column: `(patches,)` integers.
        seconds, mels, kilohertz: `(patches,)`, their middles.
        classes: Class tokens before the patches.
    """

    row: torch.Tensor
    column: torch.Tensor
    seconds: torch.Tensor
    mels: torch.Tensor
    kilohertz: torch.Tensor
    classes: int

    @classmethod
    def of(cls, grid: PatchGrid, mels_per_row: float, classes: int) -> "PatchPlaces":
        """The places of a grid.

        Args:
            grid: Of the clip.
            mels_per_row: Mels from one row to the next.
            classes: Class tokens.
        """
        rows, columns = len(grid.hertz), len(grid.seconds)
        row = torch.arange(rows).repeat_interleave(columns)
        column = torch.arange(columns).repeat(rows)
        seconds = torch.from_numpy(grid.seconds.mean(axis=1)).double()
        kilohertz = torch.from_numpy(grid.hertz.mean(axis=1) / 1000).double()
        return cls(row, column, seconds[column], row.double() * mels_per_row, kilohertz[row], classes)


def column_sources(seconds: np.ndarray, sounds: Sequence[Sound], sources: Sequence[str]) -> np.ndarray:
    """Which source sounds in each column, `(columns,)`: its index, or `SILENT` or `SEVERAL`.

    Args:
        seconds: `(columns, 2)`, where each begins and ends.
        sounds: What sounds in the clip, with offsets. A column is a source's if no other sounds in it at all, and that
            one for half of it or longer.
        sources: Names by index.

    Raises:
        ValueError: A sound without an offset, or of a source that is not among `sources`.
    """
    share = np.zeros((len(sources), len(seconds)))
    for sound in sounds:
        if sound.label not in sources or sound.offset is None:
            raise ValueError(f"{sound} needs an offset, and a label among {', '.join(sources)}")
        shared = np.minimum(sound.offset, seconds[:, 1]) - np.maximum(sound.onset, seconds[:, 0])
        share[list(sources).index(sound.label)] += np.maximum(shared, 0) / (seconds[:, 1] - seconds[:, 0])
    there = share > 1e-9
    alone = (there.sum(axis=0) == 1) & (share.max(axis=0, initial=0.0) >= 0.5 - 1e-9)
    best = share.argmax(axis=0) if len(sources) else np.zeros(len(seconds), dtype=np.int64)
    return np.where(alone, best, np.where(there.any(axis=0), SEVERAL, SILENT))


def measure_maps(weights: torch.Tensor, places: PatchPlaces) -> dict[str, torch.Tensor]:
    """Distances, entropy and shares of every head of a layer, each `(heads,)` float64.

    Args:
        weights: Of one clip, `(heads, tokens, tokens)`, class tokens first, without padding.
        places: Of its patches.
    """
    rows = weights.double()[:, places.classes :]  # attention of patches, to everything
    inner = rows[..., places.classes :]  # to patches
    whole = inner.sum((-2, -1)).clamp(min=LEAST_MASS)
    apart = {name: (at[:, None] - at).abs() for name, at in _axes(places).items()}
    measures = {name: (inner * distance).sum((-2, -1)) / whole for name, distance in apart.items()}
    entropy, keys = -torch.special.xlogy(rows, rows).sum(-1), rows.shape[-1]  # (heads, queries)
    measures["entropy"] = entropy.mean(-1)
    measures["relative_entropy"] = entropy.mean(-1) / max(np.log(keys), 1e-12)
    measures["spread"] = entropy.exp().mean(-1) / keys
    measures["class_token"] = rows[..., : places.classes].sum(-1).mean(-1)
    relations = _relations(places)
    for name, there in relations.items():
        # Of the patches that have such keys, and others beside themselves: else it is no choice.
        asked = (there.any(-1) & (~there & ~relations["itself"]).any(-1)).expand(inner.shape[:-1])
        measures[name] = _mean_where((inner * there).sum(-1), asked)
        measures[f"{name}_chance"] = _mean_where(
            (there.double().sum(-1) / rows.shape[-1]).expand(inner.shape[:-1]), asked
        )
    return measures


def measure_shuffle(
    weights: torch.Tensor, shuffled: torch.Tensor, goes: torch.Tensor, places: PatchPlaces
) -> dict[str, torch.Tensor]:
    """What of the maps stayed where it was and what went with the contents: `position_kept` and `content_kept`.

    Args:
        weights, shuffled: Of one clip as it is and with its contents shuffled, `(heads, tokens, tokens)`.
        goes: `(patches,)`, the place where the content of each went.
        places: Of its patches.

    Returns:
        Each `(heads,)`, from 0 to 1.
    """
    before, after = (each.double()[:, places.classes :, places.classes :] for each in (weights, shuffled))
    others = ~torch.eye(len(goes), dtype=torch.bool)
    return {
        "position_kept": _explained(before[:, others], after[:, others]),
        "content_kept": _explained(before[:, others], after[:, goes][:, :, goes][:, others]),
    }


def content_share(position_kept: float, content_kept: float) -> float:
    """`content` of a head, from 0 (position) to 1 (content); NaN where less than `LEAST_KEPT` is kept of both."""
    kept = position_kept + content_kept
    return content_kept / kept if kept >= LEAST_KEPT else float("nan")


def measure_sources(
    weights: torch.Tensor, labels: np.ndarray, places: PatchPlaces, sources: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Attention to a patch's own source, what chance and distance would give, and attention to silence.

    Args:
        weights: Of one clip, `(heads, tokens, tokens)`.
        labels: Of its columns, as `column_sources` gives them.
        places: Of its patches.
        sources: Names by index.

    Returns:
        `own`, `chance` and `by_distance`, and the same of the queries of each source as `own:kick` and so on, each
        `(heads,)`, NaN where a clip has no two sources at moments of their own; `silence` and `silence_chance`, the
        share of attention on patches at which nothing sounds and the share of such patches.
    """
    inner = weights.double()[:, places.classes :, places.classes :]
    label = torch.from_numpy(labels)[places.column]
    silent = (label == SILENT).double()
    measures = {
        "silence": (inner @ silent).mean(-1) / inner.sum(-1).mean(-1).clamp(min=LEAST_MASS),
        "silence_chance": silent.mean().expand(len(inner)),
    }
    known = label >= 0
    allowed = known[:, None] & known & (places.column[:, None] != places.column)
    own = allowed & (label[:, None] == label)
    asked = own.any(-1) & (allowed & ~own).any(-1)  # queries that have a choice
    amount = (inner * allowed).sum(-1)  # (heads, patches)
    counted = asked & (amount > LEAST_MASS)
    by_distance = _by_distance(inner, places)
    shares = {
        "own": (inner * own).sum(-1) / amount.clamp(min=LEAST_MASS),
        "chance": (own.sum(-1) / allowed.sum(-1).clamp(min=1)).expand(amount.shape),
        "by_distance": (by_distance * own).sum(-1) / (by_distance * allowed).sum(-1).clamp(min=LEAST_MASS),
    }
    for name, share in shares.items():
        measures[name] = _mean_where(share, counted)
        for index, source in enumerate(sources):
            measures[f"{name}:{source}"] = _mean_where(share, counted & (label == index))
    return measures


def _axes(places: PatchPlaces) -> Mapping[str, torch.Tensor]:
    return {"seconds": places.seconds, "mels": places.mels, "kilohertz": places.kilohertz}


def _relations(places: PatchPlaces) -> dict[str, torch.Tensor]:
    """Which keys stand how to each query: booleans `(queries, keys)`."""
    later = places.column - places.column[:, None]
    higher = places.row - places.row[:, None]
    return {
        "itself": (later == 0) & (higher == 0),
        "previous": later == -1,
        "next": later == 1,
        "same_time": (later == 0) & (higher != 0),
        "same_frequency": (later != 0) & (higher == 0),
        "nearby": (places.seconds - places.seconds[:, None]).abs() <= NEAR + 1e-9,
    }


def _explained(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Squared correlation over the last axis, 0 where it is negative or one of the two does not vary: `(heads,)`."""
    if one.shape[-1] < 2:
        return torch.zeros(len(one), dtype=torch.float64)
    one, other = (each - each.mean(-1, keepdim=True) for each in (one, other))
    varies = one.pow(2).mean(-1).minimum(other.pow(2).mean(-1)).sqrt() > LEAST_MASS
    correlation = (one * other).sum(-1) / (one.norm(dim=-1) * other.norm(dim=-1)).clamp(min=1e-300)
    return torch.where(varies, correlation.clamp(0, 1).pow(2), 0.0)


def _mean_where(values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Mean over the last axis of values `(heads, queries)` where `there` is True; NaN where it is nowhere."""
    counts = there.sum(-1)
    sums = values.masked_fill(~there, 0.0).sum(-1)
    return torch.where(counts > 0, sums / counts.clamp(min=1), torch.nan)


def _by_distance(inner: torch.Tensor, places: PatchPlaces) -> torch.Tensor:
    """Weights `(heads, queries, keys)` with each pair's replaced by the mean over the pairs that lie alike."""
    rows, columns = int(places.row[-1]) + 1, int(places.column[-1]) + 1
    higher = places.row - places.row[:, None] + rows - 1
    later = places.column - places.column[:, None] + columns - 1
    offset = (higher * (2 * columns - 1) + later).flatten()  # (queries * keys,)
    counts = torch.bincount(offset, minlength=(2 * rows - 1) * (2 * columns - 1))
    sums = inner.new_zeros(len(inner), len(counts)).index_add_(1, offset, inner.flatten(1))
    return (sums / counts.clamp(min=1))[:, offset].view_as(inner)
