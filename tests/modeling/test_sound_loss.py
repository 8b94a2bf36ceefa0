"""Losses of tags: each against torch's own, items as the Trainer counts them, labels that are refused."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from aural.modeling.sound_loss import clip_loss, frame_loss

LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
SOFT = torch.tensor([[0.2, 0.8, 0.0], [1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
MANY = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.3, 1.0, 0.0], [1.0, 1.0, 1.0]])


def config(problem_type: str | None = None, num_labels: int = 3) -> SimpleNamespace:
    return SimpleNamespace(problem_type=problem_type, num_labels=num_labels)


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        (None, torch.tensor([2, 0, 1, 1]), cross_entropy(LOGITS, torch.tensor([2, 0, 1, 1]))),
        ("single_label_classification", SOFT, cross_entropy(LOGITS, SOFT)),
        (None, MANY, binary_cross_entropy_with_logits(LOGITS, MANY)),
        ("regression", MANY, ((LOGITS - MANY) ** 2).mean()),
    ],
)
def test_the_loss_is_torchs_mean_and_accumulates(kind, labels, expected):
    torch.testing.assert_close(clip_loss(LOGITS, labels, config(kind)), expected)
    items = (labels != -100).sum()  # as transformers' Trainer counts them over the accumulated batch
    halves = [clip_loss(LOGITS[i : i + 2], labels[i : i + 2], config(kind), items) for i in (0, 2)]
    torch.testing.assert_close(sum(halves), expected)


def test_ignored_clips_do_not_count():
    labels = torch.tensor([2, -100, 1, -100])
    expected = cross_entropy(LOGITS[[0, 2]], labels[[0, 2]])
    torch.testing.assert_close(clip_loss(LOGITS, labels, config()), expected)
    assert clip_loss(LOGITS, torch.full((4,), -100), config()).item() == 0


def test_one_label_is_a_regression_as_in_transformers():
    loss = clip_loss(LOGITS[:, :1], torch.tensor([0.1, 0.2, 0.3, 0.4]), config(num_labels=1))
    torch.testing.assert_close(loss, ((LOGITS[:, 0] - torch.tensor([0.1, 0.2, 0.3, 0.4])) ** 2).mean())


def test_frame_loss_counts_known_labels_of_real_columns():
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.randint(0, 2, (2, 4, 3)).float()
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    labels[0, 0, 1] = -100
    labels[1, 2:] = -100
    counted = (labels != -100) & mask[..., None]
    expected = binary_cross_entropy_with_logits(logits[counted], labels[counted])
    torch.testing.assert_close(frame_loss(logits, labels, mask), expected)
    items = (labels != -100).sum()
    parts = [frame_loss(logits[i : i + 1], labels[i : i + 1], mask[i : i + 1], items) for i in (0, 1)]
    torch.testing.assert_close(sum(parts), expected)
    assert frame_loss(logits, torch.full_like(labels, -100), mask).item() == 0


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        (None, torch.tensor([0, 1]), r"labels \(2,\) must be \(batch=4,\)"),
        (None, torch.tensor([0, 1, 3, 2]), r"labels\[2\]=3 is outside what is allowed, 0 to 2"),
        (None, torch.tensor([0, -1, 2, 2]), r"labels\[1\]=-1 is outside"),
        (None, torch.zeros(4, 2), r"labels \(4, 2\) must be \(batch=4, num_labels=3\) for multi_label"),
        (None, MANY * 2, r"labels\[0, 0\]=2 is outside what is allowed, 0 to 1"),
        (None, MANY.masked_fill(MANY == 0.3, float("nan")), r"labels\[2, 0\]=nan is outside"),
        ("single_label_classification", torch.zeros(4, 4), r"must be \(batch=4, num_labels=3\)"),
        ("regression", torch.zeros(4, 2), "must hold batch=4 times num_labels=3 numbers"),
    ],
)
def test_labels_that_do_not_fit_are_named(kind, labels, message):
    with pytest.raises(ValueError, match=message):
        clip_loss(LOGITS, labels, config(kind))


def test_frame_labels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"must be \(batch, time patches, labels\) = \(1, 4, 3\)"):
        frame_loss(torch.zeros(1, 4, 3), torch.zeros(1, 5, 3), torch.ones(1, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"labels\[0, 1, 2\]=7 is outside"):
        labels = torch.zeros(1, 4, 3)
        labels[0, 1, 2] = 7
        frame_loss(torch.zeros(1, 4, 3), labels, torch.ones(1, 4, dtype=torch.bool))
