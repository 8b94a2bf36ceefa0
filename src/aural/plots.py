"""Pictures of where a model looks, from a `Look`: over its spectrogram, in seconds and kHz, light or dark.

    from aural import look, plots

    seen = look("seven.wav", "models/las")
    plots.save_figure(plots.figure(seen), "seven.png")  # or .svg, .pdf
    plots.alignment(seen, word="seven", dark=True)
    plots.compare(seen, look("seven.wav", "models/las-later"))

Every function returns a matplotlib figure that belongs to no window; notebooks show it, `save_figure` writes it.
Arguments are alike in all: `layer` is a name of `Look.maps` or a number, `head` a number from 0 or "mean", `query`
what looks ("clip", seconds, or seconds and Hz), `word` a word's text or its number from 0.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .look_maps import MEAN, Map, Query
from .looking import Look
from .processing.grid import PatchGrid
from .processing.plot_attention import Shown, Sound, plot_comparison, plot_map
from .processing.plot_captions import plot_caption
from .processing.plots import plot_alignment, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE, NAME = 100, 60  # characters of a title, and of a text beside a model's name; longer ones end in "…"
SAME = 0.05  # seconds by which the lengths of one clip may differ

__all__ = ["alignment", "compare", "cross_attention", "figure", "rollout", "save_figure", "self_attention"]


def figure(
    look: Look,
    layer: int | str | None = None,
    head: int | str | None = None,
    word: int | str | None = None,
    query: Any = None,
    dark: bool = False,
) -> "Figure":
    """The picture that is natural for this model: the alignment of what was said, where each word of a caption looked,
    else the rollout of self-attention over all layers; or the layer, head, word or query that is asked for.

    Args:
        look: What to show.
        layer, head, word, query: As of the functions below.
        dark: On dark ground.

    Raises:
        ValueError: The model has no such layer, head, word or place, or what is asked for does not go together.
    """
    said = _choose(look, layer, word, query)
    if said == "alignment":
        return alignment(look, head, word, dark)
    if said == "cross":
        return cross_attention(look, word, layer, head, dark)
    if said == "rollout":
        if head not in (None, MEAN):
            raise ValueError(f"head={head!r}: a rollout joins all heads; choose a layer too")
        return rollout(look, query, dark)
    return self_attention(look, 0 if layer is None else layer, head, query, dark)


def alignment(
    look: Look, head: int | str | None = None, word: int | str | None = None, dark: bool = False
) -> "Figure":
    """Where each token attended in time, under the spectrogram, with words and times.

    Args:
        look: Of a model that attends to write.
        head: Of a LAS with several; default: their mean.
        word: Show the tokens of one word alone.
        dark: On dark ground.

    Raises:
        ValueError: The model does not align text with sound, or has no such head or word.
    """
    found = _alignment(look)
    weights = found.of_head(head)[:, 0]
    chosen = slice(None) if word is None else _tokens_of(look, word)
    middles = found.seconds.mean(axis=1)
    step = float(middles[1] - middles[0]) if len(middles) > 1 else float(np.ptp(found.seconds[0]))
    return plot_alignment(
        look.features,
        weights[chosen],
        look.tokens[chosen],
        look.seconds_per_feature,
        step,
        _title(look, _head(found, head)),
        words=[each for each in look.words if each.start is not None],
        times=look.token_times[chosen],
        hertz=(float(look.hertz.min()), float(look.hertz.max())),
        starts=(look.feature_start, float(middles[0]) - step / 2),
        dark=dark,
    )


def self_attention(
    look: Look, layer: int | str = 0, head: int | str | None = None, query: Any = None, dark: bool = False
) -> "Figure":
    """Where one layer's heads look from the clip, a moment or a patch.

    Args:
        look: Of a patch transformer.
        layer: Its number from 0, or its name.
        head: One alone, or "mean"; default: a panel for each.
        query: "clip" (the class token, or the mean of all patches), seconds (the patches of that moment) or (seconds,
            Hz); default: "clip".
        dark: On dark ground.

    Raises:
        ValueError: The model has no such layer or head, or the query lies outside of the clip.
    """
    found = look.map(layer)
    chosen = found.query_at(query)
    title, place = _title(look, f"{found.name}, from {_asked(found, chosen, query)}"), _place(found, chosen)
    if head is not None or found.heads == 1:
        weights = found.of_head(head)[chosen].mean(axis=0)
        return _one(look, found, weights, f"{title} · {_head(found, head)}".rstrip(" ·"), place, dark)
    panels = [found.of_head(each)[chosen].mean(axis=0) for each in range(found.heads)]
    names = [f"head {each}" for each in range(found.heads)]
    return _panels(look, found, panels, names, title, dark, place)


def rollout(look: Look, query: Any = None, dark: bool = False) -> "Figure":
    """What the clip, a moment or a patch draws from each patch over all layers together (Abnar and Zuidema 2020).

    Args:
        look: Of a patch transformer.
        query: As of `self_attention`.
        dark: On dark ground.

    Raises:
        ValueError: The model has no self-attention, or the query lies outside of the clip.
    """
    return self_attention(look, "rollout", MEAN, query, dark)


def cross_attention(
    look: Look,
    word: int | str | None = None,
    layer: int | str | None = None,
    head: int | str | None = None,
    dark: bool = False,
) -> "Figure":
    """Where a text decoder's words look: a panel for each word, or of one word a panel for each head.

    Args:
        look: Of a model with a text decoder.
        word: One alone; default: all.
        layer: Of the decoder, from 0, or its map's name; default: the last.
        head: One, or "mean"; default: the mean for all words, and each head for one.
        dark: On dark ground.

    Raises:
        ValueError: The model has no text decoder, or no such layer, head or word; nothing was written.
    """
    found = look.map(_cross_name(look, layer))
    if word is None:
        if not look.words:
            raise ValueError(f"{look.model} wrote no words about {look.source}: there is nothing that looked")
        weights = found.of_head(head)
        panels = [weights[each.first : each.last].mean(axis=0) for each in look.words]
        title = _title(look, f"{found.name}, {_head(found, MEAN if head is None else head)}")
        return _panels(look, found, panels, [each.text for each in look.words], title, dark)
    chosen = look.word(word)
    rows = _tokens_of(look, word)
    title = _title(look, f"“{chosen.text}” in {found.name}")
    if head is not None or found.heads == 1:
        return _one(look, found, found.of_head(head)[rows].mean(axis=0), f"{title}, {_head(found, head)}", None, dark)
    panels = [found.of_head(each)[rows].mean(axis=0) for each in range(found.heads)]
    return _panels(look, found, panels, [f"head {each}" for each in range(found.heads)], title, dark)


def compare(
    look: Look,
    other: Look,
    layer: int | str | None = None,
    head: int | str | None = None,
    word: int | str | None = None,
    query: Any = None,
    dark: bool = False,
) -> "Figure":
    """Two models, or checkpoints of one, on the same clip: both maps over the same axes, and what differs.

    Args:
        look, other: Of the same audio.
        layer: Of both; default: the alignment where both align, else the rollout.
        head: Of both; default: the mean.
        word: Of a text decoder's layer: the word of both that looks; it is looked for by text, or by number.
            Of alignments: its tokens alone.
        query: What looks in self-attention; default: "clip".
        dark: On dark ground.

    Raises:
        ValueError: The clips differ, or a model lacks what is asked for.
    """
    if abs(look.seconds - other.seconds) > SAME:
        raise ValueError(f"look and other must be of one clip: {look.seconds:.2f} s and {other.seconds:.2f} s")
    if layer is None:
        shared = [name for name in ("alignment", "rollout") if name in look.maps and name in other.maps]
        if not shared:
            names = f"{look.model} has {look.map_names}; {other.model} has {other.map_names}"
            raise ValueError(f"the models have neither alignment nor rollout in common: {names}")
        layer = shared[0]
    one, two = (_shown(each, layer, head, word, query) for each in (look, other))
    if look.model == other.model:  # as checkpoints' folders may be called alike
        one, two = replace(one, name=f"first {one.name}"), replace(two, name=f"second {two.name}")
    found = look.map(layer)
    parts = [found.name, f"“{look.word(word).text}”" if word is not None else ""]
    if found.queries and found.queries[0].kind == "clip":
        parts.append(f"from {_asked(found, found.query_at(query), query)}")
    parts.append("" if head in (None, MEAN) else f"head {head}")
    title = _cut(f"{_short(look)} · {', '.join(part for part in parts if part)}")
    return plot_comparison(_sound(look), one, two, title, dark)


def _choose(look: Look, layer: int | str | None, word: int | str | None, query: Any) -> str:
    """Which of the pictures is meant."""
    if word is not None and query is not None:
        raise ValueError(f"word={word!r} and query={query!r} exclude each other: one of them looks")
    if layer is None and query is None:
        if "alignment" in look.maps and look.caption is None:
            return "alignment"
        if look.caption is not None:
            return "cross"
        if word is not None:
            raise ValueError(f"word={word!r}: no word of {look.model} attends; choose query={_of_word(look, word)}")
        return "rollout"
    name = look.map(layer).name if layer is not None else "rollout"
    if word is not None and "layers" in name:
        raise ValueError(f"word={word!r}: in {name} patches attend, not words; choose a decoder's layer, or a query")
    return {"alignment": "alignment", "rollout": "rollout"}.get(name, "cross" if name.endswith("cross") else "self")


def _tokens_of(look: Look, word: int | str) -> slice:
    found = look.word(word)
    return slice(found.first, found.last)


def _of_word(look: Look, word: int | str) -> str:
    found = look.word(word)
    return "SECONDS" if found.start is None or found.end is None else f"{(found.start + found.end) / 2:.2f}"


def _alignment(look: Look) -> Map:
    if look.maps and "alignment" not in look.maps:
        others = "self_attention and rollout"
        raise ValueError(f"{look.model} attends to no text: it has no alignment; {others} show where it looks")
    return look.map("alignment")


def _cross_name(look: Look, layer: int | str | None) -> str:
    names = [name for name in look.maps if name.endswith(".cross")]
    wanted = names[-1:] if layer is None else [f"decoder.{layer}.cross" if isinstance(layer, int) else layer]
    if not names:
        raise ValueError(f"{look.model} has no text decoder that attends, but {look.map_names}")
    if wanted[0] not in names:
        raise ValueError(f"layer={layer!r}: the text decoder of {look.model} has {', '.join(names)}")
    return wanted[0]


def _shown(look: Look, layer: int | str, head: int | str | None, word: int | str | None, query: Any) -> Shown:
    """One model's map for a comparison, named by model and text."""
    found, name = look.map(layer), look.model + (f": “{_cut(look.text, NAME)}”" if look.text else "")
    weights = found.of_head(head)  # (queries, rows, columns)
    if found.name == "alignment":
        chosen = slice(None) if word is None else _tokens_of(look, word)
        return Shown(name, weights[chosen, 0], found.seconds, None, look.tokens[chosen])
    if found.name.endswith("cross"):
        if word is None:
            raise ValueError(f"layer={layer!r}: words look there; choose one by word")
        return Shown(name, weights[_tokens_of(look, word)].mean(axis=0), found.seconds, found.hertz)
    return Shown(name, weights[found.query_at(query)].mean(axis=0), found.seconds, found.hertz)


def _one(look: Look, found: Map, weights: np.ndarray, title: str, place: Any, dark: bool) -> "Figure":
    return plot_map(_sound(look), Shown(look.model, weights, found.seconds, found.hertz), title, place, dark)


def _panels(
    look: Look, found: Map, weights: list[np.ndarray], names: list[str], title: str, dark: bool, place: Any = None
) -> "Figure":
    grid = PatchGrid(found.seconds, found.hertz)
    features, step, start = look.features, look.seconds_per_feature, look.feature_start
    return plot_caption(features, weights, names, grid, step, title=title, start=start, place=place, dark=dark)


def _sound(look: Look) -> Sound:
    items: Any = [word for word in look.words if word.start is not None] or look.events
    band = (float(look.hertz.min()), float(look.hertz.max()))
    return Sound(look.features, (look.feature_start, look.end), band, items)


def _place(found: Map, chosen: np.ndarray) -> Any:
    """Seconds and Hz of what looks; None of a clip."""
    places: list[Query] = [found.queries[each] for each in chosen]
    if places[0].kind == "clip":
        return None
    hertz: Any = [each.hertz for each in places]
    return places[0].seconds, (min(low for low, _ in hertz), max(high for _, high in hertz))


def _asked(found: Map, chosen: np.ndarray, query: Any) -> str:
    """What looks, in words."""
    if len(chosen) == 1 and found.queries[chosen[0]].kind == "clip":
        return "the whole clip"
    return f"the moment {query:.2f} s" if len(chosen) > 1 else f"the patch {found.queries[chosen[0]].label}"


def _head(found: Map, head: int | str | None) -> str:
    if found.heads == 1:
        return ""
    return f"mean of {found.heads} heads" if head in (None, MEAN) else f"head {head}"


def _title(look: Look, what: str) -> str:
    said = f"“{look.text}”" if look.text else _short(look)
    return _cut(" · ".join(part for part in (said, what) if part))


def _short(look: Look) -> str:
    return look.source.rsplit("/", 1)[-1]


def _cut(title: str, longest: int = TITLE) -> str:
    return title if len(title) <= longest else f"{title[: longest - 1]}…"
