"""The page in the browser as text: what was heard as HTML, its colours, and the script that follows the audio.

Notable here:
- Words and events are marked with their seconds (`data-start`, `data-end`); one short script marks those that sound
  while the audio plays, moves the cursor, and jumps to what is clicked.
- Nothing comes from another place: no font, script or picture is fetched, and the view of attention stands in a frame
  that may run its own script and touch nothing else.
- All that models write and files are called is escaped.
"""

from collections.abc import Iterable, Sequence
from html import escape
from math import ceil, log10

import numpy as np

from .app_hearing import Heard
from .processing.alignment import TimedWord
from .processing.events import Event
from .tagging import Tagging
from .transcript import Transcript

MOST_LANES = 12  # labels shown over time
MOST_ROWS = 200  # of a table
MOST_TAGS = 5
CURVE_POINTS = 240  # of a score over time
DOUBTFUL = 0.5  # confidence below which a word is marked
TICKS = 8  # at most, on the axis of seconds

STYLE = """
footer {display: none !important}
.gradio-container {max-width: 1100px !important; margin: 0 auto !important}
:focus-visible {outline: 3px solid #0072b2 !important; outline-offset: 2px}
.dark :focus-visible {outline-color: #56b4e9 !important}
#clip button:not(.selected), #clip time {color: var(--body-text-color) !important}
#answer audio {width: 100%; margin: 0 0 .6rem}
.dark #answer audio {color-scheme: dark}
#answer .text {font-size: 1.4rem; line-height: 1.6; overflow-wrap: anywhere; margin: .2rem 0 .6rem}
#answer [data-start] {cursor: pointer; border-radius: .2em}
#answer .doubtful {text-decoration: underline dotted 2px; text-underline-offset: .25em}
#answer .word.now {background: #ffd166; color: #1a1a1a; box-shadow: 0 0 0 .15em #ffd166}
#answer .facts {opacity: .8; margin: .2rem 0}
#answer table {border-collapse: collapse; width: 100%; margin: .4rem 0; font-variant-numeric: tabular-nums}
#answer caption, #answer summary {text-align: left; font-weight: 600; padding: .3rem 0; cursor: default}
#answer table, #answer thead, #answer tbody, #answer tr {border: 0}
#answer th, #answer td {text-align: left; padding: .2rem .8rem .2rem .3rem; border: 0; border-bottom: 1px solid #8884}
#answer td {font-weight: 400}
#answer tr.now td, #answer tr.now th {background: #ffd16655}
#answer .tables {display: flex; flex-wrap: wrap; gap: 0 2rem}
#answer .tables > div {flex: 1 1 17rem}
#answer .lanes {position: relative; margin: .6rem 0 1.6rem}
#answer .lane {display: grid; grid-template-columns: 6.5rem 1fr; align-items: center; margin: 2px 0}
#answer .lane > span {overflow: hidden; text-overflow: ellipsis; white-space: nowrap; padding-right: .5rem}
#answer .track {position: relative; height: 1.7rem; background: #8882}
#answer .track svg {position: absolute; inset: 0; width: 100%; height: 100%; fill: #0072b266}
.dark #answer .track svg {fill: #56b4e988}
#answer .event {position: absolute; bottom: 0; height: 5px; min-width: 3px; background: #d55e00}
.dark #answer .event {background: #ff8c42}
#answer .event.now {height: 100%; opacity: .75}
#answer .axis {margin-left: 6.5rem; position: relative; height: 1.2rem; font-size: .8rem; opacity: .85}
#answer .axis span {position: absolute; transform: translateX(-50%); white-space: nowrap}
#answer .axis span:first-child {transform: none}
#answer .cursor {position: absolute; top: 0; bottom: 1.2rem; width: 2px; background: #e69f00; pointer-events: none;
  opacity: 0; left: calc(6.5rem + (100% - 6.5rem) * var(--at))}
#look iframe {border: 1px solid #8884 !important; border-radius: 6px; resize: vertical}
.problem {border-left: 4px solid #d55e00; padding: .4rem .8rem; font-size: 1.05rem}
#answer .lanes.playing .cursor {opacity: 1}
@media (max-width: 640px) {
  #answer .lane {grid-template-columns: 4.5rem 1fr}
  #answer .axis {margin-left: 4.5rem}
  #answer .axis span:nth-child(even) {display: none}
  #answer .cursor {left: calc(4.5rem + (100% - 4.5rem) * var(--at))}
}
"""
# Runs when the place of the answer is there; it listens on the place, since what is in it comes and goes.
FOLLOW = """
const audio = () => element.querySelector('audio');
const follow = () => {
  const sound = audio();
  if (!sound) return;
  const at = sound.currentTime;
  for (const part of element.querySelectorAll('[data-start]'))
    part.classList.toggle('now', at >= +part.dataset.start && at < +part.dataset.end);
  const lanes = element.querySelector('.lanes');
  if (lanes) {
    lanes.classList.add('playing');
    lanes.style.setProperty('--at', Math.min(1, at / +lanes.dataset.seconds));
  }
  if (!sound.paused && !sound.ended) requestAnimationFrame(follow);
};
for (const name of ['play', 'seeked', 'pause', 'ended']) element.addEventListener(name, follow, true);
element.addEventListener('click', event => {
  const part = event.target.closest('[data-start]');
  if (!part || !audio()) return;
  audio().currentTime = +part.dataset.start;
  audio().play();
});
"""
# Runs when the page is there: Enter in a field of the settings does what the button does.
ENTER_RUNS = """
() => document.addEventListener('keydown', event => {
  const field = event.target.closest && event.target.closest('#beams input, #slots input, #threshold input');
  if (event.key === 'Enter' && field) {
    field.dispatchEvent(new Event('change', {bubbles: true}));
    setTimeout(() => document.querySelector('#run').click(), 150);
  }
})
"""


def problem_html(words: str) -> str:
    """What went wrong, so that it is seen and read out."""
    return f'<div class="problem" role="alert">{escape(words)}</div>'


def answer_html(heard: Heard, playback: str) -> str:
    """What was heard.

    Args:
        heard: What a model said.
        playback: Address of the audio, as the browser asks this server for it.
    """
    player = (
        f'<audio controls preload="auto" src="{escape(playback)}" aria-label="The recording as it was heard"></audio>'
    )
    if heard.transcript is not None:
        return player + _transcript(heard.transcript, heard.seconds)
    if heard.captions:
        return player + "".join(
            (f'<p class="facts">{one.start:.2f} to {one.end:.2f} s</p>' if len(heard.captions) > 1 else "")
            + f'<p class="text" role="status">{escape(one.text)}</p>'
            + f'<p class="facts">{_sure(one.confidence)}</p>'
            for one in heard.captions
        )
    assert heard.tagging is not None, "a model speaks, captions or tags"
    lanes = lanes_html(heard.tagging, heard.events)
    tables = f'<div class="tables"><div>{tags_table(heard.tagging)}</div><div>{events_table(heard.events)}</div></div>'
    return player + lanes + tables


def look_html(frame: str, said: str) -> str:
    """The view of attention.

    Args:
        frame: Of `framed_page`.
        said: What part of the recording it shows.
    """
    return f'<p class="facts">{escape(said)}</p>{frame}'


def words_html(text: str, words: Sequence[TimedWord]) -> str:
    """A text with its words marked by their seconds; what stands between words is kept as it is."""
    parts, at = [], 0
    for word in words:
        place = text.find(word.text, at)
        if place < 0:  # a word of another spelling than the text's
            continue
        doubtful = " doubtful" if word.confidence < DOUBTFUL else ""
        parts.append(
            f'{escape(text[at:place])}<span class="word{doubtful}" data-start="{word.start:.3f}" '
            f'data-end="{word.end:.3f}" title="{word.start:.2f} to {word.end:.2f} s, {_sure(word.confidence)}">'
            f"{escape(word.text)}</span>"
        )
        at = place + len(word.text)
    return "".join(parts) + escape(text[at:])


def _transcript(told: Transcript, seconds: float) -> str:
    if not told.text.strip():
        return '<p class="text"></p><p class="facts">The model wrote nothing: it heard no words.</p>'
    facts = [f"{seconds:.2f} s of sound", _sure(told.confidence)]
    if told.coverage is not None:
        facts.append(f"attended to {told.coverage:.0%} of the speech")
    doubts = "".join(
        f'<p class="facts">In doubt: {escape(one.kind)} at {one.start:.2f} to {one.end:.2f} s</p>'
        for one in told.troubles
    )
    rows = ((word.text, f"{word.start:.2f}", f"{word.end:.2f}", f"{word.confidence:.2f}") for word in told.words)
    times = [(word.start, word.end) for word in told.words]
    table = _table("words", "Words", ("word", "from (s)", "to (s)", "how sure"), rows, times)
    text = f'<p class="text" role="status">{words_html(told.text, told.words)}</p>'
    more = f"<details><summary>Times of words</summary>{table}</details>"
    return f'{text}<p class="facts">{", ".join(facts)}</p>{doubts}{more}'


def tags_table(tagging: Tagging) -> str:
    """The labels with the highest scores of the whole recording."""
    rows = ((label, f"{score:.2f}") for label, score in tagging.top(min(MOST_TAGS, len(tagging.labels))))
    return _table("tags", "Sounds in the whole recording", ("sound", "score"), rows)


def events_table(events: Sequence[Event]) -> str:
    """The sounds from onset to offset."""
    if not events:
        return '<p class="facts">No sound reached the score from which on it counts as heard.</p>'
    rows = ((one.label, f"{one.onset:.2f}", f"{one.offset:.2f}", f"{one.score:.2f}") for one in events)
    times = [(one.onset, one.offset) for one in events]
    return _table("events", "Sounds and when", ("sound", "from (s)", "to (s)", "score"), rows, times)


def _table(
    name: str,
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    times: Sequence[tuple[float, float]] | None = None,
) -> str:
    """A table whose rows, where they have times, are marked as the audio plays."""
    lines = []
    for at, row in enumerate(rows):
        if at == MOST_ROWS:
            more = len(times or ()) - at
            lines.append(f'<tr><td colspan="{len(row)}">and {more} more</td></tr>')
            break
        marks = f' data-start="{times[at][0]:.3f}" data-end="{times[at][1]:.3f}"' if times else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        lines.append(f'<tr{marks}><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    top = f"<caption>{caption}</caption><thead><tr>{head}</tr></thead>"
    return f'<table class="{name}">{top}<tbody>{"".join(lines)}</tbody></table>'


def lanes_html(tagging: Tagging, events: Sequence[Event]) -> str:
    """Each label's score over time, its events, and a cursor: the labels that peak highest, most first.

    Args:
        tagging: Scores of the recording.
        events: In it.
    """
    peaks = tagging.scores.max(axis=0)
    order = np.argsort(-peaks, kind="stable")[:MOST_LANES]
    lanes = []
    for index in order:
        label = tagging.labels[index]
        marks = "".join(
            f'<div class="event" data-start="{one.onset:.3f}" data-end="{one.offset:.3f}" '
            f'title="{escape(label)}: {one.onset:.2f} to {one.offset:.2f} s ({one.score:.2f})" '
            f'style="left:{100 * one.onset / tagging.seconds:.3f}%;'
            f'width:{100 * (one.offset - one.onset) / tagging.seconds:.3f}%"></div>'
            for one in events
            if one.label == label
        )
        curve = _curve(tagging.scores[:, index], tagging.edges)
        name = escape(label)
        lanes.append(
            f'<div class="lane"><span title="{name}">{name}</span><div class="track">{curve}{marks}</div></div>'
        )
    left = len(tagging.labels) - len(order)
    rest = f'<p class="facts">{left} further sounds peak lower and are not drawn.</p>' if left else ""
    return (
        f'<div class="lanes" data-seconds="{tagging.seconds:.3f}" role="img" aria-label="Scores of '
        f'{len(order)} sounds over {tagging.seconds:.2f} seconds; the table of sounds tells the same in numbers">'
        f'{"".join(lanes)}{_axis(tagging.seconds)}<div class="cursor"></div></div>{rest}'
    )


def _curve(scores: np.ndarray, edges: np.ndarray) -> str:
    """A score `(steps,)` over time as steps between 0 and 1; of long recordings the highest of several steps each."""
    group = ceil(len(scores) / CURVE_POINTS)
    starts = np.arange(0, len(scores), group)
    heights = np.maximum.reduceat(scores, starts)
    borders = np.append(edges[starts], edges[-1]) / edges[-1]
    path = "".join(f"V{1 - height:.3f}H{border:.4f}" for height, border in zip(heights, borders[1:], strict=True))
    return f'<svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true"><path d="M0 1{path}V1Z"/></svg>'


def _axis(seconds: float) -> str:
    step = tick_step(seconds)
    ticks = np.arange(0, seconds + 1e-9, step)
    spans = "".join(f'<span style="left:{100 * tick / seconds:.2f}%">{tick:g} s</span>' for tick in ticks)
    return f'<div class="axis">{spans}</div>'


def tick_step(seconds: float) -> float:
    """Seconds between the ticks of an axis: 1, 2 or 5 times a power of ten, for `TICKS` ticks at most."""
    power = 10.0 ** np.floor(log10(seconds / TICKS))
    return float(next(step * power for step in (1, 2, 5, 10) if seconds / (step * power) <= TICKS))


def _sure(confidence: float) -> str:
    return f"{confidence:.0%} sure"
