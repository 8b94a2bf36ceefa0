"""Pictures from arrays. matplotlib is imported when a picture is drawn, never on `import aural`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import replaced_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
) -> "Figure":
    """The spectrogram, and under it where each written token attended, over the same seconds.

    Args:
        features: `(frames, mels)` log-mel features.
        alignment: `(tokens, listener frames)` attention weights.
        tokens: One label per row of `alignment`.
        seconds_per_feature: Seconds per frame of `features`.
        seconds_per_frame: Seconds per frame of `alignment`.
        title: Written above.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: `tokens` and `alignment` differ in number.
    """
    if len(tokens) != len(alignment):
        raise ValueError(f"{len(tokens)} tokens for {len(alignment)} rows of alignment")
    from matplotlib.figure import Figure  # no pyplot: nothing global, no backend chosen for the caller

    end = features.shape[0] * seconds_per_feature
    height = 2.2 + max(1.6, 0.17 * len(tokens))
    figure = Figure(figsize=(9, height), layout="constrained")
    sound, attention = figure.subplots(2, 1, sharex=True, height_ratios=(1.8, height - 2.2))
    _draw_spectrogram(sound, features, seconds_per_feature, title)
    rows = len(tokens)
    image = attention.imshow(
        alignment,
        aspect="auto",
        cmap="cividis",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(0, alignment.shape[1] * seconds_per_frame, rows - 0.5, -0.5),
    )
    attention.set_xlim(0, end)
    attention.set_yticks(range(rows), [SHOWN.get(token, token) for token in tokens], fontsize=8, family="monospace")
    attention.set_xlabel("time in seconds")
    attention.set_ylabel("written, top to bottom")
    figure.colorbar(image, ax=attention, label="attention", fraction=0.03, pad=0.01)
    return figure


def plot_events(
    features: np.ndarray,
    scores: np.ndarray,
    edges: np.ndarray,
    labels: Sequence[str],
    seconds_per_feature: float,
    events: Sequence[Any] = (),
    title: str = "",
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

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: `scores` do not fit `labels` or `edges`, or an event's label is none of them.
    """
    if scores.shape != (len(edges) - 1, len(labels)):
        raise ValueError(f"scores {scores.shape} must be (steps, labels) = {(len(edges) - 1, len(labels))}")
    if unknown := sorted({event.label for event in events} - set(labels)):
        raise ValueError(f"events have the label {unknown[0]!r}; allowed are {', '.join(labels)}")
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(9, 2.2 + 0.28 * len(labels) + 0.6), layout="constrained")
    sound, table = figure.subplots(2, 1, sharex=True, height_ratios=(1.8, 0.28 * len(labels)))
    _draw_spectrogram(sound, features, seconds_per_feature, title)
    image = table.pcolormesh(edges, np.arange(len(labels) + 1), scores.T, cmap="cividis", vmin=0, vmax=1)
    for event in events:
        row = list(labels).index(event.label)
        length = event.offset - event.onset
        table.add_patch(Rectangle((event.onset, row), length, 1, fill=False, edgecolor="#ff8c42", linewidth=1.6))
    table.set_yticks(np.arange(len(labels)) + 0.5, labels, fontsize=8)
    table.invert_yaxis()
    table.set_xlabel("time in seconds" + (" (outlined: what really sounded)" if events else ""))
    figure.colorbar(image, ax=table, label="score", fraction=0.03, pad=0.01)
    return figure


def plot_training(losses: Mapping[int, float], scores: Mapping[str, Mapping[int, float]], title: str = "") -> "Figure":
    """The loss of training, and under it what evaluations gave, over the same updates.

    Args:
        losses: By update, mean over the updates since the one before.
        scores: By name, such as "WER", and update.
        title: Written above.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5 if scores else 3), layout="constrained")
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
    return figure


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


def _draw_spectrogram(axes: Any, features: np.ndarray, seconds_per_feature: float, title: str) -> None:
    low, high = np.percentile(features, [2, 99.5])
    extent = (0, features.shape[0] * seconds_per_feature, 0, features.shape[1])
    axes.imshow(features.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, extent=extent)
    axes.set_ylabel("mel band")
    if title:
        axes.set_title(title, loc="left", fontsize=11)


def save_figure(figure: "Figure", path: str | Path, dpi: int = 150) -> None:
    """Write a figure as png, svg or pdf, by the ending of `path`: whole or not at all.

    Raises:
        ValueError: The ending is none of these.
        OSError: The file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "svg", "pdf"):
        raise ValueError(f"{path}: a picture's name ends in .png, .svg or .pdf")
    with replaced_whole(path) as part:
        figure.savefig(part, format=kind, dpi=dpi)
