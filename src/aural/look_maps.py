"""Where a model looks, as maps over seconds and Hz: what a `Look` holds, computed when it is asked for.

Notable here:
- A map is `(heads, queries, rows, columns)`: rows from low to high frequency, one where a model attends to moments
  alone; columns along time. What attends is told by a `Query`: a token, the whole clip, or a patch.
- Weights are those of `attention_maps`, unchanged. What class tokens receive has no place in seconds and Hz: it is
  `elsewhere`, and with it every query's weights sum to 1.
- Self-attention of a clip of ten seconds is some 1,200 x 1,200 weights per head and layer of an AST: maps are computed
  one at a time when they are asked for, and only the last ones asked for are kept. Where all are `SMALL`, one pass
  makes them all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from .modeling.maps import as_grid, attention_rollout
from .processing.alignment import TimedToken
from .processing.grid import PatchGrid

KEPT = 256 << 20  # bytes of maps that a Look keeps; the one asked for last is kept whatever its size
SMALL = 64 << 20  # bytes of self-attention of all layers up to which they are computed together, and kept
AT_ONCE = 512 << 20  # bytes of maps of all heads that a rollout holds at a time
MEAN = "mean"  # in place of a head: the mean over heads


@dataclass(frozen=True)
class Query:
    """What attends.

    Attributes:
        label: What it is called: a token, "clip", or a patch's place.
        kind: "token", "clip" or "patch".
        seconds: Start and end of a patch, or of a token where its time is known; else None.
        hertz: Lowest and highest frequency of a patch, else None.
    """

    label: str
    kind: str
    seconds: tuple[float, float] | None = None
    hertz: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Map:
    """Where one layer looks.

    Attributes:
        name: Such as "alignment", "layers.3", "rollout" or "decoder.1.cross".
        weights: float32 `(heads, queries, rows, columns)`, low frequencies first.
        queries: What each of the queries is.
        seconds: `(columns, 2)`, start and end of each column; neighbours overlap where patches do.
        hertz: `(rows, 2)`, lowest and highest frequency of each row.
        elsewhere: float32 `(heads, queries)`: the share that class tokens receive.
    """

    name: str
    weights: np.ndarray
    queries: tuple[Query, ...]
    seconds: np.ndarray
    hertz: np.ndarray
    elsewhere: np.ndarray

    @property
    def heads(self) -> int:
        """How many there are."""
        return len(self.weights)

    def of_head(self, head: int | str | None = None) -> np.ndarray:
        """Weights `(queries, rows, columns)` of one head, or the mean over heads.

        Args:
            head: From 0; None or "mean" for the mean.

        Raises:
            ValueError: There is no such head.
        """
        if head is None or head == MEAN:
            return self.weights.mean(axis=0)
        if not isinstance(head, int) or isinstance(head, bool) or not 0 <= head < self.heads:
            allowed = "0" if self.heads == 1 else f"0 to {self.heads - 1}"
            raise ValueError(f"head={head!r}: {self.name} has the heads {allowed}, or {MEAN!r}")
        return self.weights[head]

    def query_at(self, place: Any = None) -> np.ndarray:
        """Numbers of the queries that `place` stands for; a map of several is their mean.

        Args:
            place: None or "clip" for the clip; (seconds, Hz) for the patch there; seconds alone for the moment: all
                patches of that column.

        Raises:
            ValueError: The map's queries are tokens, or the place lies outside of the clip.
        """
        if self.queries and self.queries[0].kind != "clip":
            raise ValueError(f"query={place!r}: what attends in {self.name} are tokens; choose one by word")
        if place is None or place == "clip":
            return np.array([0])
        rows, columns = len(self.hertz), len(self.seconds)
        moment, pitch = (place, None) if isinstance(place, int | float) else _pair(place)
        column = _nearest(self.seconds, moment, "s", place)
        of_rows = np.arange(rows) if pitch is None else np.array([_nearest(self.hertz, pitch, "Hz", place)])
        return 1 + of_rows * columns + column


class LazyMaps(Mapping[str, Map]):
    """Maps by name, each computed when it is asked for; `KEPT` bytes of them stay.

    Args:
        makers: What computes each.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Map]]) -> None:
        self._makers = dict(makers)
        self._kept: dict[str, Map] = {}

    def __getitem__(self, name: str) -> Map:
        if name not in self._makers:
            raise KeyError(name)
        found = self._kept.pop(name, None) or self._makers[name]()
        self._kept[name] = found  # last in order
        while sum(each.weights.nbytes for each in self._kept.values()) > KEPT and len(self._kept) > 1:
            self._kept.pop(next(iter(self._kept)))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def alignment_map(weights: np.ndarray, queries: Sequence[Query], step: float, hertz: tuple[float, float]) -> Map:
    """Where each token attended in time.

    Args:
        weights: `(heads, tokens, frames)`.
        queries: One per token.
        step: Seconds per frame.
        hertz: Lowest and highest frequency of the features.
    """
    starts = np.arange(weights.shape[-1]) * step
    seconds = np.stack([starts, starts + step], axis=1)
    elsewhere = np.zeros(weights.shape[:2], dtype=np.float32)
    return Map("alignment", weights[:, :, None, :], tuple(queries), seconds, np.array([hertz]), elsewhere)


def token_queries(tokens: Sequence[str], times: Sequence[TimedToken]) -> tuple[Query, ...]:
    """A query for each token, with its time where times are known."""
    spans: list[Any] = [(time.start, time.end) for time in times] or [None] * len(tokens)
    return tuple(Query(token, "token", span) for token, span in zip(tokens, spans, strict=True))


def patch_queries(grid: PatchGrid) -> tuple[Query, ...]:
    """The clip, then every patch, row after row from low to high frequency."""
    queries = [Query("clip", "clip")]
    for low, high in grid.hertz.tolist():
        for start, end in grid.seconds.tolist():
            label = f"{start:.2f}–{end:.2f} s, {say_hertz(low, high)}"
            queries.append(Query(label, "patch", (start, end), (low, high)))
    return tuple(queries)


def say_hertz(low: float, high: float) -> str:
    """A range of frequencies in words: "20–900 Hz", "0.9–2.4 kHz"."""
    if high < 1000:
        return f"{low:.0f}–{high:.0f} Hz"
    return f"{low / 1000:.1f}–{high / 1000:.1f} kHz"


def spectrogram_makers(
    encoder: Any, config: Any, features: torch.Tensor, grid: PatchGrid
) -> dict[str, Callable[[], Map]]:
    """What computes self-attention of each layer, and the rollout over all.

    Args:
        encoder: With `attention_maps`: a spectrogram transformer with any head.
        config: The encoder's.
        features: `(1, frames, mels)`, all real.
        grid: Of the patches.
    """
    names = [f"layers.{i}" for i in range(config.num_hidden_layers)]
    queries, classes = patch_queries(grid), config.num_class_tokens or 0

    def over_patches(name: str, weights: torch.Tensor) -> Map:
        """Of weights `(heads, tokens, tokens)`."""
        own = weights[:, : classes or None].mean(dim=1, keepdim=True)  # the clip's: class tokens, or all patches
        asked = torch.cat([own, weights[:, classes:]], dim=1).float()
        laid = as_grid(asked, config).cpu().numpy()
        elsewhere = asked[..., :classes].sum(-1).cpu().numpy()
        return Map(name, laid, queries, grid.seconds, grid.hertz, elsewhere)

    tokens = classes + len(grid.hertz) * len(grid.seconds)
    size = 4 * config.num_attention_heads * tokens**2  # bytes of a layer

    @cache
    def several(*asked: str) -> dict[str, Map]:
        found = encoder.attention_maps(features, layers=asked)
        return {name: over_patches(name, weights[0]) for name, weights in found.items()}

    def layer(name: str) -> Map:
        if size * len(names) <= SMALL:  # one pass of the encoder gives all
            return several(*names)[name]
        return over_patches(name, encoder.attention_maps(features, layers=[name])[name][0])

    def rollout() -> Map:
        step = max(1, AT_ONCE // size)  # layers of one pass
        passes = (names[first : first + step] for first in range(0, len(names), step))
        weights = (each for some in passes for each in encoder.attention_maps(features, layers=some).values())
        return over_patches("rollout", attention_rollout(weights))

    makers: dict[str, Callable[[], Map]] = {name: lambda name=name: layer(name) for name in names}  # type: ignore[misc]
    return {**makers, "rollout": rollout}


def crossed_makers(
    model: Any, features: torch.Tensor, labels: torch.Tensor, queries: Sequence[Query], grid: PatchGrid
) -> dict[str, Callable[[], Map]]:
    """What computes where each layer of a text decoder looks, as `decoder.0.cross` and on.

    Args:
        model: A spectrogram transformer that writes.
        features: `(1, frames, mels)`, all real.
        labels: `(1, targets)`, the text.
        queries: One per target.
        grid: Of the patches.
    """
    encoder = model.config.encoder
    classes = encoder.num_class_tokens or 0

    def layer(name: str) -> Map:
        weights = model.attention_maps(features, layers=[name], labels=labels)[name][0].float()  # (heads, targets, …)
        elsewhere = weights[..., :classes].sum(-1).cpu().numpy()
        laid = as_grid(weights, encoder).cpu().numpy()
        return Map(name, laid, tuple(queries), grid.seconds, grid.hertz, elsewhere)

    names = [f"decoder.{i}.cross" for i in range(model.config.decoder.num_hidden_layers)]
    return {name: lambda name=name: layer(name) for name in names}  # type: ignore[misc]


def _pair(place: Any) -> tuple[float, float]:
    try:
        moment, pitch = place
        return float(moment), float(pitch)
    except (TypeError, ValueError):
        raise ValueError(f"query={place!r}: allowed are 'clip', seconds, or (seconds, Hz)") from None


def _nearest(ranges: np.ndarray, value: float, unit: str, place: Any) -> int:
    """The range of `(steps, 2)` that a value lies in, by its middle; up to a range's width outside, the outermost."""
    low, high = float(ranges.min()), float(ranges.max())
    margin = float(np.diff(ranges, axis=1).max())
    if not low - margin <= value <= high + margin:
        raise ValueError(
            f"query={place!r}: {value:g} {unit} lies outside of the patches, {low:.4g} to {high:.4g} {unit}"
        )
    value = min(max(value, low), high)
    inside = (ranges[:, 0] <= value) & (value <= ranges[:, 1])
    return int(np.where(inside, np.abs(ranges.mean(axis=1) - value), np.inf).argmin())
