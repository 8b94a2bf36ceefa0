"""Pictures from arrays. matplotlib is imported when a picture is drawn, never on `import aural`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import replaced_whole
from .plot_sound import draw_spans, draw_spectrogram, strip_height
from .plot_theme import ATTENTION, MARKED, dress, new_figure, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")  # how names of pictures end
SHOWN = {" ": "␣", "<eos>": "end", "<unk>": "?"}  # how tokens that cannot be seen are written


def token_times(alignment: np.ndarray, seconds_per_frame: float) -> np.ndarray:
    """Where each token attended on average, in seconds.

    Args:
        alignment: `(tokens, frames)`, rows that sum to 1.
        seconds_per_frame: Seconds per frame of `alignment`.

    Returns:
        `(tokens,)`, the weighted mean of the frames' middles.
    """
    middles = (np.arange(alignment.shape[1]) + 0.5) * seconds_per_frame
    return alignment @ middles


def plot_alignment(
    features: np.ndarray,
    alignment: np.ndarray,
    tokens: Sequence[str],
    seconds_per_feature: float,
    seconds_per_frame: float,
    title: str = "",
    *,
    words: Sequence[Any] = (),
    times: Sequence[Any] = (),
    hertz: tuple[float, float] | None = None,
    starts: tuple[float, float] = (0.0, 0.0),
    dark: bool = False,
) -> "Figure":
    """The spectrogram, and under it where each written token attended, over the same seconds.

    Args:
        features: `(frames, mels)` log-mel features.
        alignment: `(tokens, listener frames)` attention weights.
        tokens: One label per row of `alignment`.
        seconds_per_feature: Seconds per frame of `features`.
        seconds_per_frame: Seconds per frame of `alignment`.
        title: Written above.
        words: With `text`, `start` and `end` in seconds: written over the spectrogram.
        times: Of each token, with `start` and `end` in seconds: written beside its row, and outlined in it.
        hertz: Lowest and highest frequency of the features, whose axis is then in kHz, not in mel bands.
        starts: Seconds at which the first frames of features and of alignment begin.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: `tokens` or `times` and `alignment` differ in number.
    """
    if len(tokens) != len(alignment):
        raise ValueError(f"{len(tokens)} tokens for {len(alignment)} rows of alignment")
    if len(times) not in (0, len(tokens)):
        raise ValueError(f"{len(times)} times for {len(tokens)} tokens")
    end, rows, wide = starts[0] + features.shape[0] * seconds_per_feature, len(tokens), 9.0
    height = max(1.6, 0.17 * rows)
    over = strip_height(words, end, wide - 1.6) if words else 0.0
    figure = new_figure((wide, 2.2 + over + height), dark)
    ratios = ([over] if words else []) + [1.8, height]
    *strip, sound, attention = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios)
    draw_spectrogram(sound, features, (starts[0], end), "" if words else title, hertz)
    last = starts[1] + alignment.shape[1] * seconds_per_frame
    image = attention.imshow(
        alignment,
        aspect="auto",
        cmap=ATTENTION,
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(starts[1], last, rows - 0.5, -0.5),
    )
    attention.set_xlim(0, end)
    attention.set_yticks(range(rows), [SHOWN.get(token, token) for token in tokens], fontsize=8, family="monospace")
    attention.set_xlabel("time in seconds")
    attention.set_ylabel("written, top to bottom")
    if words:
        draw_spans(strip[0], words, end, wide - 1.6, theme(dark))
        strip[0].set_title(title, loc="left", fontsize=11)
    if times:
        _mark_times(attention, times)
    figure.colorbar(image, ax=attention, label="attention", fraction=0.03, pad=0.01)
    return dress(figure, dark)


def _mark_times(axes: Any, times: Sequence[Any]) -> None:
    """At the right of each row the second at which its token was first heard, and in the row an outline of it."""
    from matplotlib.patches import Rectangle

    for row, time in enumerate(times):
        length = time.end - time.start
        axes.add_patch(Rectangle((time.start, row - 0.5), length, 1, fill=False, edgecolor=MARKED, linewidth=0.9))
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(range(len(times)), [f"{time.start:.2f}" for time in times], fontsize=8)
    beside.set_ylabel("heard from second")
    beside.tick_params(length=2)


def plot_events(
    features: np.ndarray,
    scores: np.ndarray,
    edges: np.ndarray,
    labels: Sequence[str],
    seconds_per_feature: float,
    events: Sequence[Any] = (),
    title: str = "",
    dark: bool = False,
) -> "Figure":
    """The spectrogram, and under it how sure a model is of each sound at each moment, over the same seconds.

    Args:
        features: `(frames, mels)` log-mel features.
        scores: `(steps, labels)` from 0 to 1.
        edges: `(steps + 1,)` seconds at which the steps begin, and the last ends.
        labels: One name per column of `scores`.
        seconds_per_feature: Seconds per frame of `features`.
        events: What really sounded, with `label`, `onset` and `offset` in seconds: drawn as outlines.
        title: Written above.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: `scores` do not fit `labels` or `edges`, or an event's label is none of them.
    """
    if scores.shape != (len(edges) - 1, len(labels)):
        raise ValueError(f"scores {scores.shape} must be (steps, labels) = {(len(edges) - 1, len(labels))}")
    if unknown := sorted({event.label for event in events} - set(labels)):
        raise ValueError(f"events have the label {unknown[0]!r}; allowed are {', '.join(labels)}")
    from matplotlib.patches import Rectangle

    figure = new_figure((9, 2.2 + 0.28 * len(labels) + 0.6), dark)
    sound, table = figure.subplots(2, 1, sharex=True, height_ratios=(1.8, 0.28 * len(labels)))
    draw_spectrogram(sound, features, (0.0, features.shape[0] * seconds_per_feature), title)
    image = table.pcolormesh(edges, np.arange(len(labels) + 1), scores.T, cmap=ATTENTION, vmin=0, vmax=1)
    for event in events:
        row = list(labels).index(event.label)
        length = event.offset - event.onset
        table.add_patch(Rectangle((event.onset, row), length, 1, fill=False, edgecolor=MARKED, linewidth=1.6))
    table.set_yticks(np.arange(len(labels)) + 0.5, labels, fontsize=8)
    table.invert_yaxis()
    table.set_xlabel("time in seconds" + (" (outlined: what really sounded)" if events else ""))
    figure.colorbar(image, ax=table, label="score", fraction=0.03, pad=0.01)
    return dress(figure, dark)


def plot_training(
    losses: Mapping[int, float], scores: Mapping[str, Mapping[int, float]], title: str = "", dark: bool = False
) -> "Figure":
    """The loss of training, and under it what evaluations gave, over the same updates.

    Args:
        losses: By update, mean over the updates since the one before.
        scores: By name, such as "WER", and update.
        title: Written above.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.
    """
    figure = new_figure((8, 5 if scores else 3), dark)
    rows = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False)[:, 0]
    rows[0].plot(list(losses), list(losses.values()), color="tab:gray")
    rows[0].set_ylabel("training loss")
    rows[0].set_title(title)
    for name, values in scores.items():
        rows[1].plot(list(values), list(values.values()), marker="o", markersize=3, label=name)
    if scores:
        rows[1].set_ylabel("on the evaluation set")
        rows[1].set_ylim(bottom=0)
        rows[1].legend()
    for axes in rows:
        axes.grid(alpha=0.3)
    rows[-1].set_xlabel("updates")
    return dress(figure, dark)


def plot_pages(pages: Sequence[str | Path], columns: int = 4) -> "Figure":
    """Pictures side by side, row after row, such as an alignment before, amid and after training.

    Args:
        pages: PNG files.
        columns: Of the grid.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        OSError: A picture cannot be read.
        ValueError: There is none.
    """
    if not pages:
        raise ValueError("pages is empty; give at least one picture")
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    images = [imread(page) for page in pages]
    rows = -(-len(images) // columns)
    height = max(image.shape[0] / image.shape[1] for image in images)
    figure = Figure(figsize=(4 * columns, 4 * height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, image in zip(grid, images, strict=False):
        axes.imshow(image)
        axes.set_anchor("N")  # their heights differ with what was written
    for axes in grid:
        axes.axis("off")
    return figure


def check_picture(path: Path) -> None:
    """Refuse a name that `save_figure` would refuse, before the work that comes before it.

    Raises:
        ValueError: Its ending is none of `PICTURES`.
    """
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"{path}: a picture's name ends in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}")


def save_figure(figure: "Figure", path: str | Path, dpi: int = 150) -> None:
    """Write a figure as png, svg or pdf, by the ending of `path`: whole or not at all.

    Raises:
        ValueError: The ending is none of these.
        OSError: The file cannot be written.
    """
    path = Path(path)
    check_picture(path)
    with replaced_whole(path) as part:
        figure.savefig(part, format=path.suffix.lower().lstrip("."), dpi=dpi)
