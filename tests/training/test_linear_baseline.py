"""The linear baseline on made-up features, against its formula and scikit-learn's own pieces."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aural.training.drums import DrumHit
from aural.training.linear_baseline import (
    LinearBaseline,
    LinearFrameBaseline,
    baseline_features,
    hit_features,
    statistics,
)

LABELS = ("a", "b", "c")


def make_clips(count: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips `(frames, 4)` of three classes that differ in the level of a band; class 2 in how much one varies."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, size=count)
    clips = []
    for label in ids:
        clip = rng.normal(size=(int(rng.integers(10, 30)), 4))
        clip[:, 0] += 3 * (label == 1)
        clip[:, 3] *= 1 + 4 * (label == 2)
        clips.append(clip)
    return clips, ids


def test_statistics_are_mean_and_standard_deviation_over_time():
    clip = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])
    np.testing.assert_allclose(statistics(clip), [3.0, 4.0, np.sqrt(8 / 3), np.sqrt(8)])


def test_clips_of_any_length_are_classified():
    model = LinearBaseline(LABELS).fit(*make_clips(200))
    clips, ids = make_clips(100, seed=1)
    scores = model.scores(clips)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert (scores.argmax(axis=1) == ids).mean() > 0.9


def test_scores_are_those_of_logistic_regression_on_standardised_statistics():
    clips, ids = make_clips(60)
    rows = np.stack([np.concatenate([clip.mean(0), clip.std(0)]) for clip in clips])
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    reference = LogisticRegression(C=0.3, max_iter=2_000).fit((rows - mean) / std, ids)
    scores = LinearBaseline(LABELS, regularization=0.3).fit(clips, ids).scores(clips)
    np.testing.assert_allclose(scores, reference.predict_proba((rows - mean) / std), atol=1e-6)


def test_each_of_several_labels_has_its_own_classifier():
    clips, ids = make_clips(200)
    targets = np.stack([ids == 1, ids == 2, np.zeros(200)], axis=1)  # the last label is never there
    scores = LinearBaseline(LABELS, multi_label=True).fit(clips, targets).scores(clips)
    assert ((scores[:, 0] > 0.5) == (ids == 1)).mean() > 0.9
    assert ((scores[:, 1] > 0.5) == (ids == 2)).mean() > 0.9
    assert (scores[:, 2] == 0).all()


def test_a_label_that_was_never_seen_has_no_chance():
    clips, ids = make_clips(90)
    kept = [i for i in range(90) if ids[i] != 1]
    scores = LinearBaseline(LABELS).fit([clips[i] for i in kept], ids[kept]).scores(clips)
    assert (scores[:, 1] == 0).all() and (scores[:, 2] > 0).all()


def test_classes_that_never_vary_are_known_for_sure():
    clips, _ = make_clips(10)
    assert LinearBaseline(LABELS).fit(clips, np.full(10, 2)).scores(clips).tolist() == [[0.0, 0.0, 1.0]] * 10
    ones = LinearBaseline(("a",), multi_label=True).fit(clips, np.ones((10, 1))).scores(clips)
    assert ones.tolist() == [[1.0]] * 10


def test_time_steps_are_scored_by_a_window_around_them():
    rng = np.random.default_rng(0)
    times, edges = (np.arange(100) + 0.5) / 100, np.arange(11) / 10
    clips, targets = [], []
    for _ in range(80):
        clip, step = rng.normal(size=(100, 4)), int(rng.integers(10))
        clip[step * 10 : step * 10 + 10, 0] += 8
        clips.append(clip)
        targets.append(np.eye(10)[:, [step]].astype(np.float32))
    model = LinearFrameBaseline(("a",), times, edges, window=0.1).fit(clips[:60], targets[:60])
    scores = model.scores(clips[60:])
    assert scores.shape == (20, 10, 1)
    assert (scores[..., 0].argmax(axis=1) == np.array(targets[60:])[..., 0].argmax(axis=1)).all()
    reference = LinearBaseline(("a",), multi_label=True)
    pieces = [clip[step * 10 : step * 10 + 10] for clip in clips[:60] for step in range(10)]
    reference.fit(pieces, np.concatenate(targets[:60]))
    np.testing.assert_allclose(scores[0], reference.scores([clips[60][i : i + 10] for i in range(0, 100, 10)]), 1e-4)


def test_a_window_narrower_than_the_frames_looks_at_the_nearest_one():
    model = LinearFrameBaseline(("a",), np.array([0.1, 0.3]), np.array([0.0, 0.2, 0.4]), window=0.001)
    windows = model._windows(np.array([[1.0], [2.0]]))
    np.testing.assert_allclose(windows, [[1.0, 0.0], [2.0, 0.0]])


def test_misuse_is_one_error():
    clips, ids = make_clips(6)
    with pytest.raises(ValueError, match="call fit first"):
        LinearBaseline(LABELS).scores(clips)
    with pytest.raises(ValueError, match=r"targets of shape \(5,\) for 6 clips; expected \(6,\)"):
        LinearBaseline(LABELS).fit(clips, ids[:5])
    with pytest.raises(ValueError, match=r"expected \(6, 3\)"):
        LinearBaseline(LABELS, multi_label=True).fit(clips, ids)
    with pytest.raises(ValueError, match="not empty"):
        LinearBaseline(LABELS).fit([], [])
    with pytest.raises(ValueError, match="not empty"):
        LinearFrameBaseline(LABELS, np.array([0.1]), np.array([0.0, 0.2])).fit([], [])
    with pytest.raises(ValueError, match="2 frames; expected 1"):
        LinearFrameBaseline(LABELS, np.array([0.1]), np.array([0.0, 0.2])).fit([np.zeros((2, 4))], [np.zeros((1, 3))])


def make_hits(per_fold: int = 12) -> list[DrumHit]:
    """Low, middle and high tones in noise, of two folds."""
    rng = np.random.default_rng(0)
    hits = []
    for index in range(2 * per_fold):
        label = LABELS[index % 3]
        time = np.arange(4_000) / 16_000
        tone = np.sin(2 * np.pi * {"a": 200, "b": 1_000, "c": 4_000}[label] * time) + 0.1 * rng.normal(size=4_000)
        hits.append(DrumHit(str(index), label, "k", 1 + index // per_fold, tone.astype(np.float32)))
    return hits


def test_features_are_80_bands_with_their_level():
    hits = make_hits(3)
    features = hit_features(hits)
    assert features[0].shape == (baseline_features().frame_count(4_000), 80)
    louder = hit_features([DrumHit("", "a", "k", 1, hits[0].audio * 10)])
    np.testing.assert_allclose(louder[0] - features[0], np.log(100), atol=1e-3)
