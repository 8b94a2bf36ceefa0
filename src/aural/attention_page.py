"""A page to look and listen: one HTML file with the sound, where the model looks, and everything said about a cell.

    Path("seven.html").write_text(attention_page(look("seven.wav", "models/las")), encoding="utf-8")

Notable here:
- One file, no network: the audio is WAV, the spectrogram a PNG, the weights bytes; a content
  security policy forbids the page to load anything, and to run any script but its own.
- Weights are kept in 8 bits: of each head and query the highest is kept in float32, and each weight is within 1/510 of
  it (`decode_map` gives them back).
- Self-attention has a query for each patch, more than a page can hold: the clip's is always there, and as many
  moments, evenly spread, as `BUDGET` allows.
- Names of files, tokens and labels are data: they reach the page as JSON in which no markup can begin, and are shown
  as text.
"""

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import soundfile

from .look_maps import Map, Query
from .looking import Look
from .processing.plot_theme import ATTENTION, SOUND
from .processing.plots import SHOWN

BUDGET = 1_200_000  # bytes of weights in a page, before base64
FULL_SCALE = 32767  # of 16 bits
FRAME = 620  # pixels of a page in a notebook, and more for each token's row
ROW = 15
LARGEST_FRAME = 1200


def attention_page(
    look: Look,
    other: Look | None = None,
    *,
    layer: int | str | None = None,
    head: int | str | None = None,
    word: int | str | None = None,
    query: Any = None,
    title: str = "",
    dark: bool | None = None,
) -> str:
    """One HTML document that shows where a model looks in a clip, and plays it.

    Args:
        look: What to show.
        other: Of another model or checkpoint on the same clip: shown below.
        layer, head, word, query: What is chosen when the page opens, as of `aural.plots`; the page lets choose others.
        title: Default: the clip's name.
        dark: Light or dark ground; default: what the reader's system says. The page has a button for it.

    Raises:
        ValueError: The model has no such layer, head, word or place, or the two looks are of clips of other lengths.
    """
    looks = [look] if other is None else [look, other]
    if abs(looks[-1].seconds - look.seconds) > 0.05:
        raise ValueError(f"look and other must be of one clip: {look.seconds:.2f} s and {looks[-1].seconds:.2f} s")
    opened = {"layer": layer, "head": head, "word": word, "query": query}
    data = {
        "seconds": round(look.seconds, 4),
        "end": round(max(max(each.seconds, each.end) for each in looks), 4),
        "palette": _base64(_palette()),
        "looks": [_look_data(each, BUDGET // len(looks), opened) for each in looks],
    }
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    values = {
        "theme": "" if dark is None else f' data-theme="{"dark" if dark else "light"}"',
        "title": html.escape(title or _short(look.source)),
        "style": _part("page.css"),
        "audio": audio_uri(look.audio, look.sampling_rate),
        "digest": f"sha256-{digest}",
        "data": script_json(data),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], _part("page.html"))


def framed_page(look: Look) -> str:
    """The page in a frame of its own, for notebooks: it can neither read nor change what is around it."""
    rows = len(look.tokens) if "alignment" in look.maps else 0
    height = min(FRAME + ROW * rows, LARGEST_FRAME)
    return (
        f'<iframe sandbox="allow-scripts" title="{html.escape(look.source)}" '
        f'style="width:100%;height:{height}px;border:0" srcdoc="{html.escape(attention_page(look))}"></iframe>'
    )


def decode_map(content: Mapping[str, Any]) -> np.ndarray:
    """The weights `(heads, queries, rows, columns)` of a map as it stands in a page's JSON."""
    shape = (content["heads"], len(content["queries"]), len(content["rows"]), len(content["columns"]))
    weights = np.frombuffer(base64.b64decode(content["weights"]), np.uint8).reshape(shape)
    scales = np.frombuffer(base64.b64decode(content["scales"]), np.float32).reshape(*shape[:2], 1, 1)
    return weights * scales / np.float32(255)


def script_json(content: Any) -> str:
    """JSON for the inside of a script element: nothing in it can end the element, or begin another."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def audio_uri(wave: np.ndarray, sampling_rate: int) -> str:
    """Audio `(samples,)` as the data URI of a WAV of 16 bits.

    FLAC would be half as large, but a browser that has played one may not find back into it (seen in Chromium).
    """
    samples = np.round(np.clip(wave, -1, 1) * FULL_SCALE).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, sampling_rate, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{_base64(file.getvalue())}"


def _look_data(look: Look, budget: int, opened: Mapping[str, Any]) -> dict[str, Any]:
    """What the page is told of one look."""
    chosen = _opened(look, opened)
    return {
        "model": look.model,
        "heading": f"{look.model}: “{look.text}”" if look.text else look.model,
        "note": _note(look),
        "items": _items(look),
        "spectrogram": {
            "image": _spectrogram(look.features),
            "span": [round(look.feature_start, 4), round(look.end, 4)],
            "hertz": [round(float(look.hertz.min()), 1), round(float(look.hertz.max()), 1)],
        },
        "maps": _maps(look, budget, chosen),
        "open": chosen,
    }


def _note(look: Look) -> str:
    if look.tagging is not None:
        told = ", ".join(f"{label} {score:.2f}" for label, score in look.tagging.top())
        return f"Scores of the clip: {told}"
    return look.blind.capitalize() if look.blind else ""


def _items(look: Look) -> list[dict[str, Any]]:
    """Words, or events: what has a button."""
    if look.tagging is not None:
        times = [(event.label, event.onset, event.offset, event.score, 0, 0) for event in look.events]
    else:
        times = [(word.text, word.start, word.end, word.confidence, word.first, word.last) for word in look.words]  # type: ignore[misc]
    names = ("text", "start", "end", "confidence", "first", "last")
    return [
        {name: round(value, 4) if isinstance(value, float) else value for name, value in zip(names, each, strict=True)}
        for each in times
    ]


def _opened(look: Look, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is chosen at first: the number of a map, a head, and a word or a query."""
    names = list(look.maps)
    if not names:
        return {"map": 0, "head": "mean", "query": None}
    layer = asked["layer"]
    if layer is None:
        cross = [name for name in names if name.endswith("cross")]
        layer = cross[-1] if cross and look.caption is not None else names[0] if names[0] == "alignment" else "rollout"
    found = look.map(layer)
    found.of_head(asked["head"])
    chosen: dict[str, Any] = {
        "map": names.index(found.name),
        "head": "mean" if asked["head"] is None else asked["head"],
    }
    if asked["word"] is not None:
        chosen["word"] = look.words.index(look.word(asked["word"]))
    query = asked["query"]
    chosen["query"] = None if query is None else int(found.query_at(query)[0])
    return chosen


def _maps(look: Look, budget: int, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    """All maps, each with the queries that there is room for; the one chosen at first is among them."""
    maps = [_encoded(look.maps[name], None) for name in look.maps if _of_tokens(name)]
    patches = [name for name in look.maps if not _of_tokens(name)]
    if not patches:
        return maps
    first = look.maps[patches[-1]]  # the rollout: of one head
    rows, columns = len(first.hertz), len(first.seconds)
    layers = len(patches) - 1
    heads = look.maps[patches[0]].heads if layers else 1
    used = sum(3 * len(each["weights"]) // 4 for each in maps)
    room = max(0, budget - used) // ((heads * layers + 1) * rows * columns) - 1  # queries beside the clip's
    step = max(1, -(-rows * columns // max(1, room)))  # every so many columns
    kept = [0] if room < rows else [0, *_spread(rows, columns, step)]
    if chosen["query"]:
        kept = sorted({*kept, chosen["query"]})
        chosen["query"] = kept.index(chosen["query"])
    encoded = {name: _encoded(look.maps[name], kept) for name in patches}
    others = iter(maps)
    return [encoded[name] if name in encoded else next(others) for name in look.maps]


def _of_tokens(name: str) -> bool:
    return name == "alignment" or name.endswith("cross")


def _spread(rows: int, columns: int, step: int) -> list[int]:
    """Numbers of the queries of every `step`-th column, all its rows."""
    return [1 + row * columns + column for row in range(rows) for column in range(step // 2, columns, step)]


def _encoded(found: Map, kept: list[int] | None) -> dict[str, Any]:
    """A map in 8 bits, with all its queries or those of these numbers."""
    queries = found.queries if kept is None else [found.queries[each] for each in kept]
    weights = found.weights if kept is None else found.weights[:, kept]
    scales = np.maximum(weights.max(axis=(2, 3), initial=0), 1e-12).astype(np.float32)
    steps = np.round(weights / scales[..., None, None] * 255).astype(np.uint8)
    return {
        "name": found.name,
        "heads": found.heads,
        "queries": [_query(each) for each in queries],
        "columns": np.round(found.seconds, 4).tolist(),
        "rows": np.round(found.hertz, 1).tolist(),
        "scales": _base64(scales.tobytes()),
        "weights": _base64(steps.tobytes()),
    }


def _query(query: Query) -> dict[str, Any]:
    told: dict[str, Any] = {"label": SHOWN.get(query.label, query.label), "kind": query.kind}
    if query.seconds is not None:
        told["seconds"] = [round(edge, 4) for edge in query.seconds]
    if query.hertz is not None:
        told["hertz"] = [round(edge, 1) for edge in query.hertz]
    return told


def _spectrogram(features: np.ndarray) -> str:
    """Features `(frames, mels)` as the data URI of a PNG, low frequencies below."""
    from matplotlib import colormaps
    from matplotlib.image import imsave

    low, high = np.percentile(features, [2, 99.5])
    shares = np.clip((features.T - low) / max(float(high - low), 1e-9), 0, 1)
    file = io.BytesIO()
    imsave(file, np.asarray(colormaps[SOUND](shares, bytes=True))[..., :3].copy(), format="png", origin="lower")
    return f"data:image/png;base64,{_base64(file.getvalue())}"


def _palette() -> bytes:
    """256 colours of three bytes."""
    from matplotlib import colormaps

    return np.asarray(colormaps[ATTENTION](np.arange(256), bytes=True))[:, :3].tobytes()


def _part(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8").rstrip("\n")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _short(source: str) -> str:
    return source.rsplit("/", 1)[-1]
