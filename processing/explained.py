"""What the figures of `aural explain` are drawn from: arrays of one run of a model, named and shaped.

Notable here:
- nothing but numpy: `aural.explain` fills these from a live model, `plot_explain*.py` draws them;
- what a figure needs and a model does not hold (which rows to enlarge, how far a sum reaches) is derived here, so that
  it can be tested without a picture.

Boxes say where something lies on the spectrogram: `(…, 4)` seconds from and to, mel bands from and to; NaN where it
has no place, such as a class token.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np


@dataclass(frozen=True, eq=False)
class Sound:
    """What was heard.

    Attributes:
        features: `(frames, mels)` log-mel features.
        seconds_per_feature: Seconds from one frame to the next.
        hertz: `(mels,)`, the middle of every mel band.
    """

    features: np.ndarray
    seconds_per_feature: float
    hertz: np.ndarray

    @property
    def seconds(self) -> float:
        """Length of the features."""
        return len(self.features) * self.seconds_per_feature


@dataclass(frozen=True, eq=False)
class AttentionSteps:
    """One attention of one layer, step by step; all heads, the clip's own queries, all keys.

    Attributes:
        name: By which `attention_maps` gives the weights, such as "layers.3"; "alignment" of a speller.
        kind: What attends to what, in words.
        sound: What was heard.
        queries, keys: What each is, in words.
        query_boxes, key_boxes: Where they lie.
        q, k, v: `(heads, queries or keys, size)`; q and k as they meet, turned by their place where that is rotary.
        mask: Boolean `(queries, keys)`, True where a query may look.
        weights: `(heads, queries, keys)`, the model's own.
        context: `(heads, queries, size of v)`.
        output: `(queries, hidden)`, what the module gave.
        projection: `(hidden, heads * size of v)`, which makes the output of the joined contexts; None where nothing
            does.
        bias: `(hidden,)` of the projection, or None.
        masked: Why keys are masked, in words; empty where none is.
        rotary: q and k were turned by their place.
    """

    name: str
    kind: str
    sound: Sound
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    query_boxes: np.ndarray
    key_boxes: np.ndarray
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    mask: np.ndarray
    weights: np.ndarray
    context: np.ndarray
    output: np.ndarray
    projection: np.ndarray | None = None
    bias: np.ndarray | None = None
    masked: str = ""
    rotary: bool = False

    @property
    def scores(self) -> np.ndarray:
        """Q Kᵀ: `(heads, queries, keys)`."""
        return self.q @ self.k.swapaxes(1, 2)

    @property
    def scaled(self) -> np.ndarray:
        """Q Kᵀ / √d: `(heads, queries, keys)`."""
        return self.scores / sqrt(self.q.shape[-1])

    @property
    def masked_scores(self) -> np.ndarray:
        """The same, minus infinity where a query may not look."""
        return np.where(self.mask, self.scaled, -np.inf)

    @property
    def joined(self) -> np.ndarray:
        """The contexts of all heads side by side: `(queries, heads * size of v)`."""
        return self.context.swapaxes(0, 1).reshape(self.context.shape[1], -1)


@dataclass(frozen=True)
class Enlarged:
    """What of an attention is shown large enough to read.

    Attributes:
        head: Whose numbers.
        queries: Places of the shown queries.
        keys: Places of the shown keys, in their order.
    """

    head: int
    queries: tuple[int, ...]
    keys: tuple[int, ...]


def enlarged(
    steps: AttentionSteps, head: int, query: int, queries: int = 4, keys: int = 8, masked_keys: int = 1
) -> Enlarged:
    """Rows and columns worth reading: a query and others unlike it, and the keys that they look at most.

    Args:
        steps: Of which.
        head: Whose numbers.
        query: The place of a query, which is shown; of texts its neighbours are, so that it reads on.
        queries, keys: How many at most.
        masked_keys: How many of the keys at most are padding, where there is some.
    """
    rows = (
        _read_on(steps, query, queries) if np.isnan(steps.query_boxes).all() else _unlike(steps, head, query, queries)
    )
    seen, weights = steps.mask[rows], steps.weights[head][rows]
    if (seen.any(0) != seen.all(0)).any():  # causal: a text up to where the last of the queries stands
        end = min(max(rows) + 1, len(steps.keys))
        return Enlarged(head, tuple(rows), tuple(range(max(0, end - keys), end)))
    padding = np.flatnonzero(~seen.any(0))[:masked_keys]
    liked = np.argsort(
        -np.where(seen, weights, -1), axis=1, kind="stable"
    ).T  # each query's best keys, then its second
    best = list(dict.fromkeys(liked[: seen[0].sum()].ravel().tolist()))[: keys - len(padding)]
    return Enlarged(head, tuple(rows), tuple(sorted([*best, *padding.tolist()])))


def _read_on(steps: AttentionSteps, query: int, count: int) -> list[int]:
    first = max(0, min(query, len(steps.queries) - count))
    return list(range(first, min(first + count, len(steps.queries))))


def _unlike(steps: AttentionSteps, head: int, query: int, count: int) -> list[int]:
    """The query, and again and again the one whose weights differ most from all that are chosen."""
    weights, rows = steps.weights[head], [query]
    nearest = np.full(len(weights), np.inf)
    while len(rows) < min(count, len(weights)):
        nearest = np.minimum(nearest, np.abs(weights - weights[rows[-1]]).sum(-1))
        nearest[rows] = -1
        rows.append(int(nearest.argmax()))
    return rows


@dataclass(frozen=True, eq=False)
class ListenerLayer:
    """What one layer of a listener heard.

    Attributes:
        states: `(states, features)`.
        reduction: How many states of the layer below one of these reads.
        seconds: From one state to the next.
    """

    states: np.ndarray
    reduction: int
    seconds: float


@dataclass(frozen=True, eq=False)
class LasSteps:
    """Listen, Attend and Spell over one clip.

    Attributes:
        sound: What was heard.
        layers: Of the listener, the lowest first.
        kind: Of attention, by the config's names.
        alignment: `(tokens, states of the last layer)`, mean over heads; one column without attention.
        contexts: `(tokens, features of a listener state)`.
        speller: `(tokens, hidden)`, the states of its last layer.
        probabilities: `(tokens, symbols)`.
        tokens: What was written, the end last, by its symbols' names.
        symbols: Names of the vocabulary.
        text: As it reads.
        query: The place of the token that is followed through the layers.
    """

    sound: Sound
    layers: tuple[ListenerLayer, ...]
    kind: str
    alignment: np.ndarray
    contexts: np.ndarray
    speller: np.ndarray
    probabilities: np.ndarray
    tokens: tuple[str, ...]
    symbols: tuple[str, ...]
    text: str
    query: int

    @property
    def heard(self) -> int:
        """The listener state that the followed token looked at most."""
        return int(self.alignment[self.query].argmax())

    @property
    def path(self) -> tuple[tuple[int, int], ...]:
        """What that state was joined of: of the frames, then of every layer, from which state up to which."""
        spans, span = [], (self.heard, self.heard + 1)
        below = [len(self.sound.features), *(len(layer.states) for layer in self.layers[:-1])]
        for layer, count in zip(reversed(self.layers), reversed(below), strict=True):
            spans.append(span)
            span = (span[0] * layer.reduction, min(span[1] * layer.reduction, count))
        return (span, *reversed(spans))


@dataclass(frozen=True, eq=False)
class PatchSteps:
    """A clip's way through a patch transformer.

    Patches are in the model's order: place `row * columns + column`, low mels first.

    Attributes:
        sound: What was heard.
        rows, columns: Of the grid.
        boxes: `(patches, 4)`, where each lies.
        patches: `(patches, mels, frames)`, as cut.
        embeddings: `(patches, hidden)`, as projected.
        position_kind: By the config's names.
        positions: `(patches, hidden)`, what is added; None where nothing is.
        alike: `(patches,)`, how alike each place is to the followed patch's, from -1 to 1: the cosine of what is
            added, or what the turning of queries and keys leaves of a product of two that are equal.
        norms: `(layers + 1, patches)`, the length of every patch's state before the first layer and after each.
        maps: `(layers, patches)`, where the followed patch looks, mean over heads.
        class_tokens: How many tokens stand before the patches.
        pooling: How a clip's vector or score comes of the patches, in words.
        pooled: `(patches,)`, what share each has in it, where attention decides; else None.
        labels: Names of what is scored.
        scores: `(columns, labels)` of each moment, or None.
        clip_scores: `(labels,)` of the clip, or None.
        text: What was written, or empty.
        query: The place of the patch that is followed.
        shown: Places of the patches that are enlarged, the followed one first.
    """

    sound: Sound
    rows: int
    columns: int
    boxes: np.ndarray
    patches: np.ndarray
    embeddings: np.ndarray
    position_kind: str
    positions: np.ndarray | None
    alike: np.ndarray
    norms: np.ndarray
    maps: np.ndarray
    class_tokens: int
    pooling: str
    pooled: np.ndarray | None
    labels: tuple[str, ...]
    scores: np.ndarray | None
    clip_scores: np.ndarray | None
    text: str
    query: int
    shown: tuple[int, ...]

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """Values of patches `(patches,)` as `(rows, columns)`."""
        return values.reshape(self.rows, self.columns)
