"""Metrics of models that hear sounds, for `evaluate` and for the Trainer; they work offline, as `WordErrorRate` does.

    MeanAveragePrecision().compute(predictions=scores, references=labels)  # {"map": …, "scored_classes": …}
    AuralTrainer(…, compute_metrics=compute_tagging_metrics("multi_label_classification"))

What they count is explained in `tag_scores.py` and `event_scores.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from .event_scores import COLLAR, Event, count_events, event_f1
from .metrics import OfflineMetric
from .tag_scores import (
    MULTI,
    PROBLEM_TYPES,
    SINGLE,
    average_precisions,
    check_scored,
    checked_scores,
    d_prime,
    measure_tags,
    positives,
    probabilities,
    roc_areas,
)


class Accuracy(OfflineMetric):
    """`Accuracy().compute(predictions=[…], references=[…])`, indices of classes, gives `{"accuracy": …}`, a share.

    Args:
        kwargs: for `evaluate.Metric`, such as `keep_in_memory` and `cache_dir`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return _info("Share of clips whose class was found.", datasets.Value("int64"))

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        from sklearn.metrics import accuracy_score

        return {"accuracy": float(accuracy_score(references, predictions))}


class MacroRecall(OfflineMetric):
    """`MacroRecall().compute(predictions=[…], references=[…])`, indices of classes, gives `{"macro_recall": …}`.

    Over the classes that the references hold.

    Args:
        kwargs: for `evaluate.Metric`, such as `keep_in_memory` and `cache_dir`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return _info("Mean recall of the classes that the references hold.", datasets.Value("int64"))

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        from sklearn.metrics import recall_score

        there = sorted(set(references))
        return {
            "macro_recall": float(
                recall_score(references, predictions, labels=there, average="macro", zero_division=0)
            )
        }


class MeanAveragePrecision(OfflineMetric):
    """`MeanAveragePrecision().compute(predictions=scores, references=labels)`, rows of classes, gives `{"map": …}`.

    Over the classes that have a positive; their number is `scored_classes`.

    Args:
        kwargs: for `evaluate.Metric`, such as `keep_in_memory` and `cache_dir`.

    Raises:
        ValueError: no clip has a label, a label is not 0 or 1, or a score is not finite.
    """

    def _info(self) -> evaluate.MetricInfo:
        return _info("Mean average precision, over classes.", datasets.List(datasets.Value("float64")))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        scores = checked_scores(predictions)
        present = positives(references, scores.shape[1], MULTI)
        scored = int(check_scored(present).sum())
        return {"map": float(np.nanmean(average_precisions(present, scores))), "scored_classes": scored}


class DPrime(OfflineMetric):
    """`DPrime().compute(predictions=scores, references=labels)`, rows of classes, gives `{"d_prime": …, "auc": …}`.

    Over the classes that have clips with and without it; infinite where the ranking is perfect.

    Args:
        kwargs: for `evaluate.Metric`, such as `keep_in_memory` and `cache_dir`.

    Raises:
        ValueError: no class has both, a label is not 0 or 1, or a score is not finite.
    """

    def _info(self) -> evaluate.MetricInfo:
        return _info("d' of the mean area under the ROC curve.", datasets.List(datasets.Value("float64")))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        scores = checked_scores(predictions)
        areas = roc_areas(positives(references, scores.shape[1], MULTI), scores)
        if not np.isfinite(areas).any():
            raise ValueError("no class has clips with and without it: d' is not defined")
        area = float(np.nanmean(areas))
        return {"d_prime": d_prime(area), "auc": area}


class EventF1(OfflineMetric):
    """`EventF1().compute(predictions=[…], references=[…])` gives `{"event_f1_macro": …, "event_f1_micro": …}`.

    An entry is the list of a clip's events, `{"label": "kick", "onset": 0.12, "offset": 0.3}` in seconds; the offset
    may be None where only onsets count. `compute(…, collar=0.2, offset_share=0.5)` sets the condition of
    `match_events`. Macro is over the classes that the references hold.

    Args:
        kwargs: for `evaluate.Metric`, such as `keep_in_memory` and `cache_dir`.

    Raises:
        ValueError: the references hold no event, or an event is impossible.
    """

    def _info(self) -> evaluate.MetricInfo:
        time = datasets.Value("float64")
        event = {"label": datasets.Value("string"), "onset": time, "offset": time}
        return _info("Event-based F1, onsets within a collar.", datasets.List(event))

    def _compute(
        self, predictions: Any, references: Any, collar: float = COLLAR, offset_share: float | None = None
    ) -> dict[str, float]:
        heard, there = ([[Event(**event) for event in clip] for clip in clips] for clips in (predictions, references))
        names = sorted({event.label for clip in [*heard, *there] for event in clip})
        return event_f1(count_events(there, heard, names, collar, offset_share))


def _info(description: str, feature: Any) -> evaluate.MetricInfo:
    return evaluate.MetricInfo(
        description=description,
        citation="",
        inputs_description="predictions, references: one entry per clip, in the same order.",
        features=datasets.Features({"predictions": feature, "references": feature}),
    )


def compute_tagging_metrics(problem_type: str = SINGLE) -> Callable[[Any], dict[str, float]]:
    """A function for `Trainer(compute_metrics=…)`.

    Args:
        problem_type: the model's, as for `positives`.

    Returns:
        A function of an `EvalPrediction` that gives what `measure_tags` gives. Its `predictions` are logits
        (clips, classes), or a tuple whose first array of that shape they are (the frame head answers with the scores
        of time patches, too); its `label_ids` as for `positives`, or (clips, time patches, classes), where a clip has
        what any patch has. It raises ValueError for anything else.

    Raises:
        ValueError: unknown problem type.
    """
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(f"problem_type is {problem_type!r}; allowed: {', '.join(PROBLEM_TYPES)}")

    def compute(prediction: Any) -> dict[str, float]:
        scores = probabilities(clip_logits(prediction.predictions), problem_type)
        present = positives(clip_labels(prediction.label_ids), scores.shape[1], problem_type)
        return measure_tags(present, scores, problem_type)

    return compute


def clip_logits(outputs: Any) -> np.ndarray:
    """The scores of clips, (clips, classes), among a model's outputs.

    Raises:
        ValueError: there are none.
    """
    arrays = outputs if isinstance(outputs, tuple | list) else (outputs,)
    for array in arrays:
        if getattr(array, "ndim", None) == 2 and array.dtype.kind == "f":
            return array
    shapes = ", ".join(str(getattr(array, "shape", type(array).__name__)) for array in arrays)
    raise ValueError(f"predictions hold no logits (clips, classes); got {shapes}")


def clip_labels(labels: np.ndarray) -> np.ndarray:
    """Labels of clips: of labels per time patch (clips, time patches, classes), what any patch has."""
    return np.asarray((labels > 0.5).any(axis=1)) if labels.ndim == 3 else labels
