"""The atlas of heads: what every attention head of a model does, over a set of clips, and what it is worth.

    result = atlas("models/sounds", ["yard.wav", "park.flac"])
    result["layers.3", 2].name  # "previous"
    result.grid("seconds")  # mean distance of attention, (layers, heads)

What is notable here:
- the measures and the names of heads are those of `processing/head_measures.py` and `processing/head_names.py`, which
  define them;
- whatever is known of the clips is made use of: with events in them, attention to a patch's own source; with labelled
  tests, what is lost when a head is silenced. What could not be measured is NaN, and `notes` say why;
- numbers are kept to six digits, and what is kept is what is named, drawn and written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .loading import load_config, load_writer
from .modeling.head_knockout import encoder_of
from .processing import LogMelFeatureExtractor
from .processing.head_measures import content_share
from .processing.head_names import NAMES, name_head
from .tagging import HEADS, load_tagger

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES: dict[str, str] = {  # in the order of the table; what each is
    "seconds": "mean distance of attention along time, in seconds",
    "mels": "along frequency, in mel bands",
    "kilohertz": "along frequency, in kHz",
    "entropy": "of the attention of a patch, in nats",
    "relative_entropy": "the same, over that of attention to all keys alike",
    "spread": "part of the keys that it is spread over: e to the power of the entropy, over their number",
    "class_token": "share of attention on class tokens",
    "itself": "on the same patch",
    "itself_chance": "share of such keys",
    "previous": "on the column before",
    "previous_chance": "share of such keys",
    "next": "on the column after",
    "next_chance": "share of such keys",
    "same_time": "on other rows of the same column",
    "same_time_chance": "share of such keys",
    "same_frequency": "on the same row of other columns",
    "same_frequency_chance": "share of such keys",
    "nearby": "on what lies within 0.25 s",
    "nearby_chance": "share of such keys",
    "content": "how far it follows content rather than position, 0 to 1",
    "position_kept": "share of its maps' variance that stays in place when patches are shuffled",
    "content_kept": "share that goes with the patches",
    "own": "of its attention to patches of one known source, the share on its own source",
    "chance": "what chance would give",
    "by_distance": "what its own mean over distances would give",
    "own_low": "95% interval of own - by_distance",
    "own_high": "95% interval of own - by_distance",
    "silence": "share of attention on patches at which nothing sounds",
    "silence_chance": "share of such patches",
    "tags": "drop of accuracy or mAP without it",
    "tags_low": "95% interval of tags",
    "tags_high": "95% interval of tags",
    "onsets": "drop of the onsets' micro F1 without it",
    "onsets_low": "95% interval of onsets",
    "onsets_high": "95% interval of onsets",
}
DIGITS = 6
Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


@dataclass(frozen=True, eq=False)
class Head:
    """One head.

    Attributes:
        layer: `"layers.3"`, as `attention_maps` names it.
        head: Its number in the layer, from 0.
        name: One of `NAMES`.
        measures: Those of `MEASURES`, then `own:SOURCE`, `chance:SOURCE` and `by_distance:SOURCE` of each source; NaN
            where not measured.
    """

    layer: str
    head: int
    name: str
    measures: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Atlas:
    """The heads of a model, and what they were measured on.

    Attributes:
        heads: Layer by layer.
        sources: What sounds in the clips, as far as is known.
        clips: How many were heard; `pieces`: into how many they were cut.
        source_clips: Pieces in which two sources have moments of their own.
        tests: Clips that worth was measured on.
        threshold: From which an event counted.
        seed: Of shuffles and intervals.
        scores: Of the whole model on the tests.
        notes: What was not measured, and why.
    """

    heads: tuple[Head, ...]
    sources: tuple[str, ...] = ()
    clips: int = 0
    pieces: int = 0
    source_clips: int = 0
    tests: int = 0
    threshold: float = 0.5
    seed: int = 0
    scores: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, key: tuple[str, int]) -> Head:
        """The head of a layer's name and a number.

        Raises:
            KeyError: There is none.
        """
        for head in self.heads:
            if (head.layer, head.head) == key:
                return head
        raise KeyError(key)

    def __iter__(self) -> Iterator[Head]:
        return iter(self.heads)

    @property
    def shape(self) -> tuple[int, int]:
        """Layers, and heads of each."""
        layers = len({head.layer for head in self.heads})
        return layers, len(self.heads) // layers

    @property
    def names(self) -> list[list[str]]:
        """Names of the heads, a list per layer."""
        return np.array([head.name for head in self.heads], dtype=object).reshape(self.shape).tolist()

    def grid(self, measure: str) -> np.ndarray:
        """One measure of all heads, `(layers, heads)`.

        Raises:
            ValueError: There is no such measure.
        """
        known = self.heads[0].measures
        if measure not in known:
            raise ValueError(f"measure={measure!r} must be one of {', '.join(known)}")
        return np.array([head.measures[measure] for head in self.heads]).reshape(self.shape)

    def plot(self, dark: bool = False, title: str = "") -> "Figure":
        """The map of layers and heads: names, and a panel for each thing that was measured."""
        from .processing.plot_atlas import plot_atlas

        measures = {name: self.grid(name) for name in self.heads[0].measures}
        return plot_atlas(self.names, measures, title=title, dark=dark)

    def _repr_png_(self) -> bytes:
        """How a notebook shows it."""
        picture = BytesIO()
        self.plot().savefig(picture, format="png", dpi=110)
        return picture.getvalue()


def load_listener(folder: str | Path, device: str = "cpu") -> tuple[Any, LogMelFeatureExtractor]:
    """Load a model with an encoder of patches, and its feature extractor, from a folder or a Hub id.

    Raises:
        OSError: There is no such folder, or it holds no whole model.
        ValueError: The model is of another family, or its parts do not fit each other.
    """
    config = load_config(folder, "atlas")
    if set(config.architectures or ()) & set(HEADS):
        return load_tagger(folder, device)
    model, processor = load_writer(folder, "atlas", device)
    return model, processor.feature_extractor


def atlas(
    model: Any,
    clips: Any,
    feature_extractor: LogMelFeatureExtractor | None = None,
    tests: Sequence[Any] = (),
    threshold: float = 0.5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Atlas:
    """Measure and name every self-attention head of a model of patches.

    Args:
        model: A model folder or Hub id, or a spectrogram transformer with any head that is loaded already.
        clips: What `load_audio` reads, a `KnownClip` (`atlas_clips.py`), or a list of either. Where clips know what
            sounds in them, attention to a patch's own source is measured.
        feature_extractor: Needed with a loaded model.
        tests: `KnownClip`s whose events have the model's labels, to measure what heads are worth; of a model that
            names one label of several, one event each.
        threshold: From which an event counts, of a model of moments.
        seed: Of shuffles and intervals.
        progress: Called with "clips" or "heads", how many are done, and how many there are.

    Raises:
        OSError: A file or the model folder cannot be read.
        TypeError: The model has no encoder of patches.
        ValueError: No clips, audio that is none, a model that does not fit its feature extractor, or tests that are
            not the model's.

    Example:
        >>> from aural import atlas
        >>> atlas("models/sounds", "yard.wav").names[0]  # doctest: +SKIP
        ['everywhere', 'previous', 'content']
    """
    from .atlas_clips import known_clips  # here: a Trainer's libraries come with them
    from .atlas_listening import cut_pieces, measure_heads

    if isinstance(model, str | Path):
        model, feature_extractor = load_listener(model)
    config = encoder_of(model).config
    if feature_extractor is None:
        raise ValueError("feature_extractor=None: a loaded model needs its feature extractor")
    if not (known := known_clips(clips)):
        raise ValueError("clips is empty; give at least one")
    say: Progress = progress or (lambda what, done, total: None)
    training = model.training
    model.eval()
    try:
        pieces = [
            piece
            for clip in known
            for piece in cut_pieces(clip.name, clip.audio, clip.events, model, feature_extractor)
        ]
        sources = tuple(sorted({event.label for piece in pieces for event in piece.events or ()}))
        found = measure_heads(
            model, feature_extractor, pieces, sources, seed, lambda done, total: say("clips", done, total)
        )
        worth, notes = _worth(model, feature_extractor, tests, threshold, seed, say)
    finally:
        model.train(training)
    asked = int(np.isfinite(found["own"]).any((1, 2)).sum()) if "own" in found else 0
    if not asked:
        notes.insert(0, "own source: no clip is known to have two sources at moments of their own")
    return Atlas(
        heads=_heads(found, sources, worth, config, seed),
        sources=sources,
        clips=len(known),
        pieces=len(pieces),
        source_clips=asked,
        tests=len(tests) if worth.scores else 0,
        threshold=threshold,
        seed=seed,
        scores=worth.scores,
        notes=tuple(notes),
    )


def _worth(
    model: Any, extractor: LogMelFeatureExtractor, tests: Sequence[Any], threshold: float, seed: int, say: Progress
) -> tuple[Any, list[str]]:
    """What heads are worth, and notes on what of it was not measured."""
    from .atlas_worth import Worth, is_framewise, measure_worth

    if type(model).__name__ not in HEADS:
        return Worth(), [f"worth: {type(model).__name__} scores no sounds"]
    if not tests:
        return Worth(), ["worth: no clips with the model's own labels were given"]
    worth = measure_worth(model, extractor, tests, threshold, seed, lambda done, total: say("heads", done, total))
    return worth, [] if is_framewise(model) else ["onsets: the model scores whole clips, not moments"]


def _heads(
    found: Mapping[str, np.ndarray], sources: Sequence[str], worth: Any, config: Any, seed: int
) -> tuple[Head, ...]:
    """Heads from measures `(pieces, layers, heads)`: means over the pieces, all counting alike."""
    heads = []
    parts = ("own", "chance", "by_distance")
    wanted = [*MEASURES, *(f"{part}:{source}" for source in sources for part in parts)]
    for layer in range(config.num_hidden_layers):
        for number in range(config.num_attention_heads):
            own = {name: values[:, layer, number] for name, values in found.items()}
            measures = {name: _mean(values) for name, values in own.items()}
            measures["content"] = content_share(measures["position_kept"], measures["content_kept"])
            key = (f"layers.{layer}", number)
            for kind, drops in (("tags", worth.tags), ("onsets", worth.onsets)):
                if key in drops:
                    names = (kind, f"{kind}_low", f"{kind}_high")
                    measures.update(zip(names, drops[key], strict=True))
            measures.update(_own_interval(own, seed))
            kept = {name: float(f"{measures.get(name, np.nan):.{DIGITS}g}") for name in wanted}
            heads.append(Head(*key, name_head(kept), kept))
    return tuple(heads)


def _mean(values: np.ndarray) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


def _own_interval(measured: Mapping[str, np.ndarray], seed: int) -> dict[str, float]:
    """95% interval, over pieces, of what a head's own source gets beyond what distance gives it."""
    from .training.knockout_scores import mean_interval

    if "own" not in measured:
        return {}
    more = measured["own"] - measured["by_distance"]
    return dict(zip(("own_low", "own_high"), mean_interval(more[np.isfinite(more)], seed), strict=True))


__all__ = ["MEASURES", "NAMES", "Atlas", "Head", "atlas", "load_listener"]
