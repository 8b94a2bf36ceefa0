"""Results as a notebook shows them: the text, its words with times or scores, in a table that any page can hold.

Plain and light: `look` gives the page with sound and maps. Everything that came from a file or a model is escaped.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .captioning import Caption
    from .tagging import Tagging
    from .transcript import Transcript

ROWS = 60  # of a table; more are counted


def transcript_html(told: "Transcript") -> str:
    """A `Transcript`: source, text, words with times and confidence, and stretches in doubt."""
    words = [(word.text, _span(word.start, word.end), f"{word.confidence:.2f}") for word in told.words]
    doubts = [(trouble.kind, _span(trouble.start, trouble.end)) for trouble in told.troubles]
    return _box(
        _head(told.source, told.seconds, told.text, told.confidence),
        _table(("word", "seconds", "confidence"), words),
        _table(("in doubt", "seconds"), doubts),
    )


def caption_html(told: "Caption") -> str:
    """A `Caption`: source, text, words with confidence and where each looked most."""
    words = []
    for word in told.words:
        row, column = divmod(int(word.attention.argmax()), word.attention.shape[1])
        (start, end), (low, high) = told.grid.seconds[column], told.grid.hertz[row]
        words.append((word.text, f"{word.confidence:.2f}", f"{_span(start, end)} s, {low:.0f}–{high:.0f} Hz"))
    return _box(
        _head(told.source, told.seconds, told.text, told.confidence),
        _table(("word", "confidence", "looked most at"), words),
    )


def tagging_html(told: "Tagging") -> str:
    """A `Tagging`: source, the highest scores, and events from onset to offset."""
    scores = [(label, f"{score:.2f}") for label, score in told.top(10)]
    events = [(event.label, _span(event.onset, event.offset), f"{event.score:.2f}") for event in told.events()]
    return _box(
        _head(told.source, told.seconds, "", None),
        _table(("sound", "score"), scores),
        _table(("event", "seconds", "score"), events),
    )


def _span(start: float, end: float) -> str:
    return f"{start:.2f}–{end:.2f}"


def _head(source: str, seconds: float, text: str, confidence: float | None) -> str:
    sure = "" if confidence is None else f", confidence {confidence:.2f}"
    said = f"<p><b>{escape(text)}</b></p>" if text else ""
    return f"<p>{escape(source)}, {seconds:.2f} s{sure}</p>{said}"


def _table(names: Sequence[str], rows: Sequence[Iterable[str]]) -> str:
    """Nothing where there are no rows."""
    if not rows:
        return ""
    head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in names)
    cells = ("".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row) for row in rows[:ROWS])
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    more = f"<p>and {len(rows) - ROWS} more</p>" if len(rows) > ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _box(*parts: str) -> str:
    return f"<div>{''.join(parts)}</div>"
