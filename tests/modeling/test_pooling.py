"""Pooling of states, of columns, and of scores, against formulas."""

import pytest
import torch

from aural.modeling.pooling import ClipPooling, pool_columns, pool_scores
from tests.tiny_spectrogram import tiny_spectrogram_config


def pooled(kind: str, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    torch.manual_seed(0)
    module = ClipPooling(tiny_spectrogram_config(pooling=kind, num_class_tokens=2))
    for parameter in module.parameters():
        parameter.data.normal_()
    return module(states, mask)


STATES = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 1, 0]]).bool()


def test_class_tokens_are_pooled_as_they_stand():
    assert torch.equal(pooled("cls", STATES, MASK), STATES[:, 0])
    torch.testing.assert_close(pooled("cls_distillation", STATES, MASK), STATES[:, :2].mean(1))


def test_mean_is_over_the_real_patches_whatever_the_others_hold():
    states = STATES.masked_fill(~MASK[..., None], float("nan"))
    got = pooled("mean", states, MASK)
    torch.testing.assert_close(got[0], STATES[0, 2:].mean(0))
    torch.testing.assert_close(got[1], STATES[1, [2, 4]].mean(0))
    torch.testing.assert_close(pooled("mean", STATES, None), STATES[:, 2:].mean(1))


def test_attention_pooling_weighs_the_real_patches_by_a_learned_query():
    torch.manual_seed(0)
    module = ClipPooling(tiny_spectrogram_config(pooling="attention"))
    for parameter in module.parameters():
        parameter.data.normal_()
    got = module(STATES, MASK)
    for clip, real in enumerate(([0, 1, 2, 3, 4, 5], [0, 1, 2, 4])):
        values = STATES[clip, real]
        weights = (module.key_proj(values) @ module.query[0] / 4).softmax(0)  # √16
        torch.testing.assert_close(got[clip], weights @ values)


def test_columns_are_means_over_frequency_also_where_patches_are_missing():
    states = torch.randn(1, 6, 4)  # two rows of three columns
    whole, real = pool_columns(states, None, None, 2, 3)
    torch.testing.assert_close(whole[0], (states[0, :3] + states[0, 3:]) / 2)
    assert real.all()
    index = torch.tensor([[0, 2, 5, 1]])  # row 0: columns 0 and 2; row 1: column 2; and one that is not real
    mask = torch.tensor([[True, True, True, False]])
    some, real = pool_columns(states[:, :4], mask, index, 2, 3)
    assert real.tolist() == [[True, False, True]]
    torch.testing.assert_close(some[0, 0], states[0, 0])
    torch.testing.assert_close(some[0, 2], (states[0, 1] + states[0, 2]) / 2)
    assert (some[0, 1] == 0).all()


LOGITS = torch.tensor([[[0.3, -2.0], [1.7, 4.0], [9.0, 9.0]]])
REAL = torch.tensor([[True, True, False]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("mean", torch.tensor([1.0, 1.0])), ("max", torch.tensor([1.7, 4.0]))],
)
def test_clip_scores_are_pooled_over_real_columns(kind, expected):
    torch.testing.assert_close(pool_scores(LOGITS, REAL, kind)[0], expected)


def test_linear_softmax_is_the_mean_of_probabilities_weighted_by_themselves():
    chances = LOGITS[0, :2].sigmoid()
    expected = (chances**2).sum(0) / chances.sum(0)
    torch.testing.assert_close(pool_scores(LOGITS, REAL, "linear_softmax").sigmoid()[0], expected)


@pytest.mark.parametrize("extreme", [-80.0, 80.0])
def test_linear_softmax_stays_finite_at_the_ends(extreme):
    logits = torch.full((1, 4, 1), extreme, requires_grad=True)
    score = pool_scores(logits, torch.ones(1, 4, dtype=torch.bool), "linear_softmax")
    assert score.item() == pytest.approx(extreme, rel=1e-4)
    score.sum().backward()
    assert torch.isfinite(logits.grad).all()
