"""Scores of tags: scikit-learn's numbers, classes without a clip left out, intervals that a seed repeats."""

import json

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as sk

from aural.training.tag_scores import (
    MULTI,
    SINGLE,
    average_precisions,
    d_prime,
    measure_tags,
    positives,
    probabilities,
    recalls,
    resampled_weights,
    roc_areas,
    score_tags,
    tag_intervals,
)

NAMES = ["kick", "snare", "hihat", "ride"]


def random_tags(clips: int = 60, seed: int = 0, problem_type: str = SINGLE) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of one decimal, so that ties abound; no clip has the last class."""
    generator = np.random.default_rng(seed)
    if problem_type == SINGLE:
        labels = generator.integers(3, size=clips)
        truth = labels[:, None] == np.arange(4)
    else:
        truth = generator.random((clips, 4)) < (0.5, 0.3, 0.1, 0)
        labels = truth.astype(float)
    return labels, np.round(generator.random((clips, 4)) * 0.7 + 0.3 * truth, 1)


def test_single_label_scores_are_scikit_learns():
    labels, scores = random_tags()
    found = score_tags(labels, scores, NAMES)
    chosen = scores.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, chosen))
    assert found["macro_recall"] == pytest.approx(sk.recall_score(labels, chosen, labels=[0, 1, 2], average="macro"))
    each = [sk.average_precision_score(labels == index, scores[:, index]) for index in range(3)]
    assert found["map"] == pytest.approx(np.mean(each))
    assert (found["clips"], found["scored_classes"], found["classes"]) == (60, 3, NAMES)
    assert found == score_tags(np.eye(4)[labels], scores, NAMES)  # one-hot rows are the same labels


def test_multi_label_scores_are_scikit_learns():
    labels, scores = random_tags(problem_type=MULTI)
    found = score_tags(labels, scores, NAMES, MULTI)
    assert found["map"] == pytest.approx(sk.average_precision_score(labels[:, :3], scores[:, :3], average="macro"))
    area = sk.roc_auc_score(labels[:, :3], scores[:, :3], average="macro")
    assert found["auc"] == pytest.approx(area)
    assert found["d_prime"] == pytest.approx(np.sqrt(2) * norm.ppf(area))
    assert found["scored_classes"] == 3
    assert "accuracy" not in found and "auc_interval" not in found


def test_d_prime_of_the_literature():
    # Cnn14 on AudioSet is printed with an AUC of 0.973 and a d' of 2.732 (Kong et al. 2020, arXiv:1912.10211)
    assert d_prime(0.973) == pytest.approx(2.732, abs=0.02)
    assert d_prime(0.5) == 0
    assert d_prime(1.0) == np.inf


def test_worked_average_precision():
    # ranked: hit, miss, hit: precision 1 at recall 1/2, 2/3 at recall 1
    present = np.array([[1, 0], [0, 0], [1, 0]], dtype=bool)
    values = average_precisions(present, np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]))
    assert values[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert np.isnan(values[1])
    assert np.isnan(roc_areas(present, np.zeros((3, 2)))[1])
    assert np.isnan(recalls(present, present)[1])
    assert recalls(present[:, :1], np.array([[True], [True], [False]])).tolist() == [0.5]


def test_perfect_tags_are_json():
    text = json.dumps(score_tags([[1, 0], [0, 1]], [[0.9, 0.1], [0.1, 0.9]], ["a", "b"], MULTI), allow_nan=False)
    assert json.loads(text)["d_prime"] is None
    assert json.loads(text)["auc"] == 1
    scores = score_tags([[1], [1]], [[0.9], [0.1]], ["a"], MULTI)  # no clip without the class: no curve
    assert (scores["map"], scores["auc"], scores["d_prime"]) == (1, None, None)


def test_intervals_are_those_of_resampled_clips():
    """The same resamples, drawn out clip by clip and scored by scikit-learn."""
    labels, scores = random_tags(30)
    present = labels[:, None] == np.arange(4)
    expected: dict[str, list[float]] = {"accuracy": [], "macro_recall": [], "map": []}
    for weights in resampled_weights(30, seed=5, samples=120):
        for row in weights.astype(int):
            chosen = np.repeat(np.arange(30), row)
            assert len(chosen) == 30
            for name, value in measure_tags(present[chosen], scores[chosen], SINGLE).items():
                expected[name].append(value)
    found = tag_intervals(present, scores, SINGLE, seed=5, samples=120)
    for name, values in expected.items():
        assert found[name] == pytest.approx(np.percentile(values, [2.5, 97.5]))
    assert tag_intervals(present, scores, SINGLE, seed=6, samples=120) != found
    assert tag_intervals(present, scores, MULTI, seed=5, samples=120) == {"map": found["map"]}


def test_interval_of_accuracy_is_the_binomials():
    labels = np.zeros(400, dtype=int)
    scores = np.zeros((400, 2))
    scores[:80, 1] = 1  # 80% right
    low, high = score_tags(labels, scores, ["a", "b"])["accuracy_interval"]
    width = 2 * 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert high - low == pytest.approx(width, rel=0.15)
    assert low < 0.8 < high


def test_resamples_without_a_label_are_left_out():
    labels = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    low, high = tag_intervals(labels.astype(bool), np.array([[0.5, 0], [0.9, 0], [0.1, 0]]), MULTI, seed=0)["map"]
    assert 0 < low < high <= 1


def test_resampled_scores_agree_with_scikit_learns_weights():
    labels, scores = random_tags(2000, problem_type=MULTI)
    weights = next(resampled_weights(2000, seed=1))[:2]
    expected = [
        np.mean([sk.average_precision_score(labels[:, c], scores[:, c], sample_weight=row) for c in range(3)])
        for row in weights
    ]
    found = tag_intervals(labels.astype(bool), scores, MULTI, seed=1, samples=2)["map"]
    # two values: the percentiles lie between them
    assert found == pytest.approx(np.percentile(expected, [2.5, 97.5]), abs=1e-3)


def test_probabilities_are_softmax_or_sigmoid():
    logits = np.array([[0.0, np.log(3)], [1000.0, -1000.0]], dtype=np.float32)
    assert probabilities(logits, SINGLE) == pytest.approx(np.array([[0.25, 0.75], [1, 0]]))
    assert probabilities(logits, MULTI) == pytest.approx(np.array([[0.5, 0.75], [1, 0]]))


@pytest.mark.parametrize(
    ("labels", "scores", "problem_type", "message"),
    [
        ([0, 1], [[1, 2], [3, 4]], "regression", "problem_type is 'regression'; allowed: single_label"),
        ([0, 2], [[1, 2], [3, 4]], SINGLE, "whole numbers from 0 to 1"),
        ([-100, 1], [[1, 2], [3, 4]], SINGLE, "whole numbers from 0 to 1"),
        ([0.5, 1], [[1, 2], [3, 4]], SINGLE, "whole numbers from 0 to 1"),
        ([[0.4, 0.6]], [[1, 2]], SINGLE, "soft labels are for training"),
        ([[1, 1]], [[1, 2]], SINGLE, "one 1 per clip"),
        ([[1, 0, 0]], [[1, 2]], MULTI, r"labels have shape \(1, 3\); expected \(clips, 2\)"),
        ([0, 1], [[1, 2], [3, 4]], MULTI, r"labels have shape \(2,\); expected \(clips, 2\)"),
        ([[0, 0]], [[1, 2]], MULTI, "no clip has a label"),
        ([0], [[1, 2], [3, 4]], SINGLE, "labels of 1 clips and scores of 2"),
        ([0], [1, 2], SINGLE, r"scores have shape \(2,\); expected \(clips, classes\)"),
        ([0], [[1, np.nan]], SINGLE, "scores must be finite"),
        ([], np.zeros((0, 2)), SINGLE, r"scores have shape \(0, 2\)"),
    ],
)
def test_what_cannot_be_scored_is_said(labels, scores, problem_type, message):
    with pytest.raises(ValueError, match=message):
        score_tags(labels, scores, ["a", "b"], problem_type)


def test_every_class_has_its_own_name():
    for names in (["a"], ["a", "a"]):
        with pytest.raises(ValueError, match="names must be 2 different texts"):
            score_tags([0], [[1, 2]], names)


def test_positives_of_classes_one_by_one():
    assert positives([2, 0], 3, SINGLE).tolist() == [[False, False, True], [True, False, False]]
    assert positives([[1.0, 0.0, 1.0]], 3, MULTI).tolist() == [[True, False, True]]
