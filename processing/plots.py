"""Pictures from arrays. matplotlib is imported when a picture is drawn, never on `import aural`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    low, high = np.percentile(features, [2, 99.5])
    extent = (0, end, 0, features.shape[1])
    sound.imshow(features.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, extent=extent)
    sound.set_ylabel("mel band")
    if title:
        sound.set_title(title, loc="left", fontsize=11)
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
