"""What a model that tags sounds got right: averages over classes, with intervals and counts.

1. Averages are over classes, each counting the same (macro), and only over those that a clip of the references has: a
   class without one has neither recall nor precision. `scored_classes` says how many are left.
2. d' = sqrt(2) Φ⁻¹(mean area under the ROC curve), as for AudioSet (Hershey et al. 2017, arXiv:1609.09430; Kong et al.
   2020, arXiv:1912.10211).
3. `score_tags` adds 95% bootstrap intervals over clips, from weights instead of copies of the clips, so that a
   thousand resamples of a thousand clips take about a second.

Positives are `(clips, classes)` bool, scores `(clips, classes)` with the higher the surer; a single label is a class's
index. scikit-learn counts average precision and ROC areas. Events with times are in `event_scores.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
PROBLEM_TYPES = (SINGLE, MULTI)
RESAMPLES = 1000
BLOCK = 50  # resamples at a time: (block, clips) numbers are held for each class


def positives(labels: Any, classes: int, problem_type: str) -> np.ndarray:
    """Which classes each clip has, (clips, classes) bool.

    Args:
        labels: single-label: indices of classes (clips,), or one-hot rows (clips, classes); multi-label: 0 or 1
            (clips, classes).
        classes: their number.
        problem_type: `"single_label_classification"` or `"multi_label_classification"`.

    Raises:
        ValueError: unknown problem type, no clips, labels of another shape, or values that are no such labels.
    """
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(f"problem_type is {problem_type!r}; allowed: {', '.join(PROBLEM_TYPES)}")
    values = np.asarray(labels)
    if problem_type == SINGLE and values.ndim == 1 and len(values):
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= classes:
            raise ValueError(f"labels must be whole numbers from 0 to {classes - 1}, one per clip; got {values}")
        return values[:, None] == np.arange(classes)
    if values.ndim != 2 or values.shape[1] != classes or not len(values):
        wanted = f"(clips,) or (clips, {classes})" if problem_type == SINGLE else f"(clips, {classes})"
        raise ValueError(f"labels have shape {values.shape}; expected {wanted}, of at least one clip")
    if not np.isin(values, (0, 1)).all():
        raise ValueError("labels must be 0 or 1: soft labels are for training, not for measuring")
    if problem_type == SINGLE and not (values.sum(axis=1) == 1).all():
        raise ValueError("labels must have one 1 per clip for single_label_classification")
    return values.astype(bool)


def checked_scores(scores: Any) -> np.ndarray:
    """Scores as float64 (clips, classes).

    Raises:
        ValueError: another shape, no clips or classes, or a score that is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"scores have shape {values.shape}; expected (clips, classes), at least one of each")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite; got NaN or infinity")
    return values


def check_scored(present: np.ndarray) -> np.ndarray:
    """Which classes a clip has, (classes,) bool: those that averages go over.

    Raises:
        ValueError: none.
    """
    scored = np.asarray(present.any(axis=0))
    if not scored.any():
        raise ValueError("no clip has a label: an average over classes is not defined")
    return scored


def average_precisions(present: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of each class (classes,), by scikit-learn's `average_precision_score`; NaN without a positive.

    Args:
        present: which classes each clip has (clips, classes).
        scores: (clips, classes); equal scores are one threshold.
    """
    from sklearn.metrics import average_precision_score

    pairs = zip(present.T, scores.T, strict=True)
    return np.array([average_precision_score(has, score) if has.any() else np.nan for has, score in pairs])


def roc_areas(present: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under each class's ROC curve (classes,), by scikit-learn; NaN where not both kinds of clips are there."""
    from sklearn.metrics import roc_auc_score

    pairs = zip(present.T, scores.T, strict=True)
    return np.array([roc_auc_score(has, s) if has.any() and not has.all() else np.nan for has, s in pairs])


def recalls(present: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Recall of each class (classes,): found over present clips; NaN without a positive.

    Args:
        present: which classes each clip has (clips, classes).
        predicted: which classes were found in it (clips, classes).
    """
    with np.errstate(invalid="ignore"):
        return (present & predicted).sum(axis=0) / present.sum(axis=0)


def d_prime(area: float) -> float:
    """d' of a mean area under the ROC curve: sqrt(2) Φ⁻¹(area), infinite at 1."""
    from scipy.special import ndtri

    return float(np.sqrt(2) * ndtri(area))


def choose(scores: np.ndarray) -> np.ndarray:
    """The surest class of each clip, (clips, classes) bool with one True per row."""
    return scores.argmax(axis=1)[:, None] == np.arange(scores.shape[1])


def measure_tags(present: np.ndarray, scores: np.ndarray, problem_type: str) -> dict[str, float]:
    """The metrics that fit the problem type.

    Args:
        present: which classes each clip has (clips, classes).
        scores: (clips, classes).
        problem_type: as for `positives`.

    Returns:
        Single-label: `accuracy`, `macro_recall`, `map`. Multi-label: `map`, `auc` and `d_prime`, the last two NaN
        where no class has clips with and without it.

    Raises:
        ValueError: no clip has a label.
    """
    check_scored(present)
    mean_precision = float(np.nanmean(average_precisions(present, scores)))
    if problem_type == SINGLE:
        predicted = choose(scores)
        accuracy = float((predicted & present).any(axis=1).mean())
        macro_recall = float(np.nanmean(recalls(present, predicted)))
        return {"accuracy": accuracy, "macro_recall": macro_recall, "map": mean_precision}
    areas = roc_areas(present, scores)
    area = float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")
    return {"map": mean_precision, "auc": area, "d_prime": d_prime(area)}


def tag_intervals(
    present: np.ndarray, scores: np.ndarray, problem_type: str, seed: int, samples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """95% intervals of accuracy, macro recall and mAP: percentiles over resamples of the clips.

    In each resample, classes without a positive are left out; resamples that hold none at all are left out whole.

    Args:
        present, scores, problem_type: as for `measure_tags`.
        seed: of the generator; the same seed gives the same intervals.
        samples: number of resamples.

    Returns:
        Low and high by the metric's name: `accuracy` and `macro_recall` (single-label), and `map`.

    Raises:
        ValueError: no clip has a label.
    """
    scored = check_scored(present)
    hits = present & choose(scores)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in ("accuracy", "macro_recall", "map")}
    for weights in resampled_weights(len(present), seed, samples):
        counts = weights @ present[:, scored]  # (block, classes): how often each class is in the resample
        precisions = weighted_precisions(present[:, scored], scores[:, scored], weights)
        drawn["map"].append(mean_where(precisions, counts))
        if problem_type == SINGLE:
            drawn["accuracy"].append(weights @ hits.any(axis=1) / len(present))
            found = weights @ hits[:, scored]
            drawn["macro_recall"].append(mean_where(found / np.maximum(counts, 1), counts))
    return {name: percentiles(np.concatenate(blocks)) for name, blocks in drawn.items() if blocks}


def resampled_weights(clips: int, seed: int, samples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each clip is drawn, with replacement, in each resample: blocks of (at most 50, clips) float64."""
    generator = np.random.default_rng(seed)
    for start in range(0, samples, BLOCK):
        size = min(BLOCK, samples - start)
        yield generator.multinomial(clips, np.full(clips, 1 / clips), size=size).astype(np.float64)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of resampled values, those that are not defined left out."""
    low, high = np.percentile(values[np.isfinite(values)], [2.5, 97.5])
    return float(low), float(high)


def mean_where(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means over the classes (block, classes) that are there; NaN where none is."""
    there = counts > 0
    amount = there.sum(axis=1)
    return np.where(amount > 0, (values * there).sum(axis=1) / np.maximum(amount, 1), np.nan)


def weighted_precisions(present: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision (block, classes) where clip i counts `weights[:, i]` times: precision at each distinct score,
    weighted by the share of positives that it adds."""
    columns = []
    for has, score in zip(present.T, scores.T, strict=True):
        order = np.argsort(-score, kind="stable")
        last = np.append(np.diff(score[order]) != 0, True)  # of the clips with one score
        drawn = weights[:, order]
        found = np.cumsum(drawn * has[order], axis=1)[:, last]  # (block, distinct scores)
        taken = np.cumsum(drawn, axis=1)[:, last]
        added = np.diff(found, axis=1, prepend=0)
        total = np.maximum(found[:, -1], 1)
        columns.append((added * found / np.maximum(taken, 1)).sum(axis=1) / total)
    return np.stack(columns, axis=1)


def score_tags(
    labels: Any, scores: Any, names: Sequence[str], problem_type: str = SINGLE, seed: int = 0
) -> dict[str, Any]:
    """Metrics of tags with intervals and counts, ready for JSON.

    Args:
        labels: as for `positives`.
        scores: (clips, classes), such as probabilities.
        names: of the classes, in the order of the scores.
        problem_type: as for `positives`.
        seed: of the bootstrap.

    Returns:
        `problem_type`, `classes`, `clips`, `scored_classes` (classes with a positive), then the metrics of
        `measure_tags`, each as `map` and `map_interval` (95%, low and high) but for `auc` and `d_prime`, which have no
        interval and are null where they are not defined or infinite.

    Raises:
        ValueError: as `positives` and `checked_scores`; another number of labels, scores or names; or no clip has a
            label.
    """
    values = checked_scores(scores)
    present = positives(labels, values.shape[1], problem_type)
    if len(present) != len(values):
        raise ValueError(f"there are labels of {len(present)} clips and scores of {len(values)}; give as many")
    check_names(names, values.shape[1])
    result: dict[str, Any] = {
        "problem_type": problem_type,
        "classes": list(names),
        "clips": len(values),
        "scored_classes": int(check_scored(present).sum()),
    }
    intervals = tag_intervals(present, values, problem_type, seed)
    for name, value in measure_tags(present, values, problem_type).items():
        result[name] = value if np.isfinite(value) else None
        if name in intervals:
            result[f"{name}_interval"] = list(intervals[name])
    return result


def check_names(names: Sequence[str], classes: int) -> None:
    """One name per class, and none twice.

    Raises:
        ValueError: it is not so.
    """
    if len(names) != classes or len(set(names)) != len(names):
        raise ValueError(f"names must be {classes} different texts, one per class; got {list(names)}")


def probabilities(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """Probabilities (clips, classes) float64 of logits: softmax for a single label, else sigmoid."""
    from scipy.special import expit, softmax

    logits = checked_scores(logits)
    return softmax(logits, axis=1) if problem_type == SINGLE else expit(logits)
