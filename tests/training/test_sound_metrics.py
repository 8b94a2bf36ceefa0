"""Metrics of sounds for evaluate and the Trainer: scikit-learn's numbers, offline, nothing left behind."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as sk

from aural.training.sound_metrics import (
    Accuracy,
    DPrime,
    EventF1,
    MacroRecall,
    MeanAveragePrecision,
    compute_tagging_metrics,
)
from aural.training.tag_scores import MULTI, SINGLE

LABELS = [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]]
SCORES = [[0.9, 0.2, 0.1], [0.5, 0.6, 0.1], [0.4, 0.1, 0.1], [0.3, 0.3, 0.9]]


def test_accuracy_and_macro_recall_are_of_the_classes_in_the_references():
    references, predictions = [0, 0, 0, 2, 2], [0, 0, 1, 2, 0]
    assert Accuracy().compute(predictions=predictions, references=references) == {"accuracy": 3 / 5}
    found = MacroRecall().compute(predictions=predictions, references=references)
    assert found == {"macro_recall": pytest.approx((2 / 3 + 1 / 2) / 2)}


def test_mean_average_precision_counts_the_classes_that_it_is_over():
    found = MeanAveragePrecision().compute(predictions=SCORES, references=LABELS)
    labels, scores = np.array(LABELS), np.array(SCORES)
    each = [sk.average_precision_score(labels[:, index], scores[:, index]) for index in (0, 1)]
    assert found == {"map": pytest.approx(np.mean(each)), "scored_classes": 2}


def test_d_prime_goes_with_the_mean_area_under_the_curve():
    # Cnn14 of Kong et al. 2020 (arXiv:1912.10211) is printed with an AUC of 0.973 and a d' of 2.732
    generator = np.random.default_rng(0)
    references = (np.arange(4000) % 2)[:, None].astype(float)
    scores = generator.normal(size=(4000, 1)) + 2.732 * references
    found = DPrime().compute(predictions=scores.tolist(), references=references.tolist())
    assert found["auc"] == pytest.approx(sk.roc_auc_score(references[:, 0], scores[:, 0]))
    assert found["auc"] == pytest.approx(0.973, abs=0.005)
    assert found["d_prime"] == pytest.approx(2.732, abs=0.1)
    with pytest.raises(ValueError, match="no class has clips with and without it"):
        DPrime().compute(predictions=[[0.5]], references=[[1.0]])


def test_event_f1_takes_clips_of_events():
    reference = [{"label": "kick", "onset": 0.1, "offset": 0.3}, {"label": "snare", "onset": 0.5, "offset": 2.5}]
    heard = [{"label": "kick", "onset": 0.2, "offset": 0.3}, {"label": "snare", "onset": 0.5, "offset": 1.0}]
    metric = EventF1()
    found = metric.compute(predictions=[heard, []], references=[reference, []])
    assert found == {"event_f1_macro": 1.0, "event_f1_micro": 1.0}
    found = metric.compute(predictions=[heard, []], references=[reference, []], offset_share=0.5)
    assert found == {"event_f1_macro": 0.5, "event_f1_micro": 0.5}
    found = metric.compute(predictions=[heard, []], references=[reference, []], collar=0.05)
    assert found["event_f1_macro"] == 0.5
    bare = [[{"label": "kick", "onset": 0.1, "offset": None}]]
    assert metric.compute(predictions=bare, references=bare)["event_f1_micro"] == 1


def test_metrics_can_be_fed_batch_by_batch():
    metric = MeanAveragePrecision()
    for start in (0, 2):
        metric.add_batch(predictions=SCORES[start : start + 2], references=LABELS[start : start + 2])
    assert metric.compute() == MeanAveragePrecision().compute(predictions=SCORES, references=LABELS)


def test_what_cannot_be_measured_is_said():
    with pytest.raises(ValueError, match="no clip has a label"):
        MeanAveragePrecision().compute(predictions=[[0.1]], references=[[0]])
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        MeanAveragePrecision().compute(predictions=[[0.1]], references=[[0.4]])


def prediction(predictions, labels) -> SimpleNamespace:
    return SimpleNamespace(predictions=predictions, label_ids=labels)


def test_trainer_metrics_of_a_single_label():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3]], dtype=np.float32))
    found = compute_tagging_metrics(SINGLE)(prediction(logits, np.array([0, 1, 1])))
    expected = np.mean(
        [sk.average_precision_score([1, 0, 0], logits[:, 0]), sk.average_precision_score([0, 1, 1], logits[:, 1])]
    )
    assert found == {"accuracy": pytest.approx(2 / 3), "macro_recall": 0.75, "map": pytest.approx(expected)}
    assert compute_tagging_metrics()(prediction(logits, np.eye(3)[[0, 1, 1]])) == found
    assert all(type(value) is float for value in found.values())


def test_trainer_metrics_of_several_labels_at_once():
    logits, labels = np.array(SCORES, dtype=np.float32) * 8 - 4, np.array(LABELS, dtype=np.float32)
    found = compute_tagging_metrics(MULTI)(prediction(logits, labels))
    assert found["map"] == pytest.approx(MeanAveragePrecision().compute(predictions=SCORES, references=LABELS)["map"])
    assert found["auc"] == pytest.approx(sk.roc_auc_score(labels[:, :2], logits[:, :2]))
    patches = np.zeros((4, 5, 3), dtype=np.float32)
    outputs = (patches, logits, np.ones((4, 5), dtype=bool))  # as the frame head answers
    assert compute_tagging_metrics(MULTI)(prediction(outputs, labels)) == found
    by_patch = np.full((4, 5, 3), -100, dtype=np.float32)  # padded, and unknown but for two patches
    by_patch[:, 1], by_patch[:, 3] = 0, labels
    assert compute_tagging_metrics(MULTI)(prediction(outputs, by_patch)) == found


def test_trainer_metrics_refuse_what_are_no_logits():
    with pytest.raises(ValueError, match=r"no logits \(clips, classes\); got \(2, 3, 4\)"):
        compute_tagging_metrics(MULTI)(prediction(np.zeros((2, 3, 4)), np.zeros((2, 4))))
    with pytest.raises(ValueError, match="problem_type is 'regression'"):
        compute_tagging_metrics("regression")


def test_metrics_work_offline_and_weigh_nothing_until_asked(tmp_path):
    script = (
        "import socket, sys\n"
        "def refuse(*args): raise OSError('network')\n"
        "socket.socket.connect = refuse\n"
        "from aural.training.sound_metrics import Accuracy, MeanAveragePrecision\n"
        "assert 'sklearn' not in sys.modules\n"
        "print(Accuracy().compute(predictions=[0], references=[0]))\n"
        "print(MeanAveragePrecision().compute(predictions=[[0.5, 1.0]], references=[[0, 1]])['map'])\n"
    )
    environment = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "PATH": "", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = ":".join(sys.path)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["{'accuracy':", "1.0}", "1.0"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or "metrics" in path.parts]
