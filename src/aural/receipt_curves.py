"""Deletion and insertion curves: what a model's certainty loses as more and more of a clip is muted, in the order of
its attention and in random orders.

    from aural.receipt_curves import deletion_curve

    curve = deletion_curve(["a.wav", ("b.wav", "seven nine")], "models/las")
    curve.area_between  # nats per word by which attention's order costs more than chance
    write_deletion("models/las", curve.told())  # into its report and card

After Samek et al. 2017 (arXiv:1509.06321) and Petsiuk et al. 2018 (arXiv:1806.07421), whose order is of pixels.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from .looking import load_looker
from .processing import AuralProcessor, LogMelFeatureExtractor
from .processing.evidence import AMOUNTS, check_amounts, first_of, mean_height
from .processing.files import write_whole
from .receipt_readers import BATCH_SIZE, Reader, reader_of
from .receipting import check_asked
from .training.cards import write_card
from .training.report_reader import read_report
from .training.reports import REPORT_NAME, write_report

DRAWS = 4  # random orders per clip
RESAMPLES = 1000  # of the clips, for an interval


@dataclass(frozen=True, eq=False)
class DeletionCurve:
    """What is lost along the amount that is muted, in nats per word, tag or event.

    Attributes:
        amounts: `(points,)`, shares of the cells.
        attended: `(clips, points)`, lost when the most attended cells are muted first.
        at_random: `(clips, points)`, in random orders, mean over the draws.
        attended_last: `(clips, points)`, when the least attended cells are muted first: an insertion curve, read from
            its end.
        claims: `(clips,)`, words, tags or events of each clip.
        draws, seed, fill: As they were asked for.
    """

    amounts: tuple[float, ...]
    attended: np.ndarray
    at_random: np.ndarray
    attended_last: np.ndarray
    claims: np.ndarray
    draws: int
    seed: int
    fill: str

    @property
    def areas(self) -> np.ndarray:
        """Of each clip, the mean height by which muting in the order of attention costs more than at random."""
        return np.array([mean_height(self.amounts, row) for row in self.attended - self.at_random])

    @property
    def area_between(self) -> float:
        """Mean of the areas over clips, in nats."""
        return float(self.areas.mean())

    @property
    def area_interval(self) -> tuple[float, float]:
        """95% interval of `area_between`, by a bootstrap over clips."""
        generator = np.random.default_rng(self.seed)
        chosen = generator.integers(len(self.areas), size=(RESAMPLES, len(self.areas)))
        low, high = np.percentile(self.areas[chosen].mean(axis=1), [2.5, 97.5])
        return float(low), float(high)

    def told(self) -> dict[str, Any]:
        """Means over clips and the area with its interval, ready for JSON: a section of a report."""
        curves = {"attended": self.attended, "at_random": self.at_random, "attended_last": self.attended_last}
        return {
            "unit": "nats lost per word, tag or event",
            "clips": len(self.attended),
            "claims": int(self.claims.sum()),
            "draws": self.draws,
            "seed": self.seed,
            "fill": self.fill,
            "amounts": list(self.amounts),
            **{name: [round(float(value), 4) for value in rows.mean(axis=0)] for name, rows in curves.items()},
            "area_between": round(self.area_between, 4),
            "area_interval": [round(edge, 4) for edge in self.area_interval],
        }


def write_deletion(folder: str | Path, deletion: Mapping[str, Any]) -> Path:
    """Put a curve into a model folder's report, and write its card anew.

    Args:
        folder: With config.json and report.json.
        deletion: What `DeletionCurve.told` gave.

    Returns:
        The card.

    Raises:
        OSError: There is no report, or a file cannot be written.
        ValueError: The report, or the curve, does not hold what it must; both files are then as they were.
    """
    folder = Path(folder)
    path = folder / REPORT_NAME
    read_report(path)
    before = path.read_bytes()
    write_report(folder, {**json.loads(before), "deletion": dict(deletion)})
    try:
        return write_card(folder)
    except ValueError:
        write_whole(path, before.decode("utf-8"))
        raise


def deletion_curve(
    clips: Sequence[Any],
    model: str | Path | PreTrainedModel,
    processor: AuralProcessor | LogMelFeatureExtractor | None = None,
    *,
    amounts: Sequence[float] = AMOUNTS,
    draws: int = DRAWS,
    seed: int = 0,
    fill: str = "mean",
    batch_size: int = BATCH_SIZE,
) -> DeletionCurve:
    """Mute more and more of clips in the order of attention, and as much in random orders.

    The attention of a clip is the mean over its words, tags or events; clips of which the model says nothing are left
    out.

    Args:
        clips: Each what `load_audio` reads, or a pair of that and the text to score in place of the model's own.
        model: A model folder or Hub id, or a model that is loaded already, in eval mode.
        processor: Needed with a loaded model; of a tagger its feature extractor.
        amounts: Shares of the cells that are muted, rising.
        draws: Random orders per clip.
        seed: What the orders follow from.
        fill: What muted features hold: "mean" or "silence".
        batch_size: Muted copies that are scored together.

    Raises:
        OSError: A file or the model folder cannot be read.
        ValueError: As `receipts`; amounts that do not rise; nothing is said of any clip.
    """
    check_amounts(amounts)
    check_asked(1.0, draws, batch_size)
    if draws < 1:
        raise ValueError(f"draws={draws}: a curve is compared with one random order at least")
    if not isinstance(model, PreTrainedModel):
        model, processor = load_looker(model)
    if processor is None:
        raise ValueError("processor=None: a loaded model needs its processor, or its feature extractor")
    rows, claims = [], []
    for place, (audio, text) in enumerate(_pairs(clips)):
        reader = reader_of(audio, model, processor, text, fill)
        if reader.claims:
            generator = np.random.default_rng((seed, place))
            rows.append(_lost(reader, amounts, draws, generator, batch_size))
            claims.append(len(reader.claims))
    if not rows:
        raise ValueError(f"of {len(clips)} clips the model says nothing: there is nothing to mute")
    attended, at_random, attended_last = np.stack(rows, axis=1)
    points = tuple(float(amount) for amount in amounts)
    return DeletionCurve(points, attended, at_random, attended_last, np.array(claims), draws, seed, fill)


def _pairs(clips: Sequence[Any]) -> Iterator[tuple[Any, str | None]]:
    for clip in clips:
        yield clip if isinstance(clip, tuple) else (clip, None)


def _lost(
    reader: Reader, amounts: Sequence[float], draws: int, generator: np.random.Generator, batch_size: int
) -> np.ndarray:
    """Nats lost per claim, `(3, amounts)`: the most attended first, at random, the least attended first."""
    attention = np.mean([claim.attention for claim in reader.claims], axis=0)
    shape = (attention.shape[0], attention.shape[1])
    own = np.flatnonzero(np.broadcast_to(reader.own, shape).ravel())
    order = own[np.argsort(-attention.ravel()[own], kind="stable")]
    orders = [order, *(generator.permutation(order) for _ in range(draws)), order[::-1]]
    nothing = np.zeros((1, *shape), dtype=bool)
    sets = np.concatenate([nothing, *(first_of(one, amounts, shape) for one in orders)])
    scores = reader.scores_muted(sets, batch_size).mean(axis=1)  # (sets,)
    lost = (scores[0] - scores[1:]).reshape(len(orders), len(amounts))
    return np.stack([lost[0], lost[1:-1].mean(axis=0), lost[-1]])
