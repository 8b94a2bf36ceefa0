"""SpecAugment: where spans fall and how much they cover."""

import pytest
import torch

from aural import LasConfig
from aural.modeling.spec_augment import draw_spans, spec_augment


def test_spans_cover_about_the_share_asked_for():
    torch.manual_seed(0)
    spans = draw_spans(torch.full((400,), 500), 500, prob=0.1, length=10, min_masks=0)
    # k spans of 10 at random starts leave (1 - 10/491)^k of the axis; k is 5 on average
    assert spans.float().mean().item() == pytest.approx(1 - (1 - 10 / 491) ** 5, abs=0.005)


def test_spans_stay_inside_the_real_part_and_keep_their_length():
    torch.manual_seed(0)
    lengths = torch.tensor([30, 12, 10, 5])
    for _ in range(50):
        spans = draw_spans(lengths, 30, prob=0.0, length=10, min_masks=1)
        assert spans.sum(-1).tolist() == [10, 10, 10, 0]
        assert not (spans & (torch.arange(30) >= lengths[:, None])).any()


def test_every_clip_gets_its_own_spans():
    torch.manual_seed(0)
    spans = draw_spans(torch.full((8,), 100), 100, prob=0.0, length=5, min_masks=1)
    assert len({tuple(row.tolist()) for row in spans}) > 4


def test_masked_entries_are_zero_and_the_input_is_left_alone():
    torch.manual_seed(0)
    config = LasConfig(mask_time_prob=1e-9, mask_time_min_masks=1, mask_time_length=4, mask_feature_prob=1e-9,
                       mask_feature_min_masks=1, mask_feature_length=3)  # fmt: skip
    features = torch.ones(2, 20, 8)
    masked = spec_augment(features, torch.ones(2, 20, dtype=torch.bool), config)
    assert (features == 1).all()
    for row in masked:
        times, mels = (row == 0).all(1), (row == 0).all(0)
        assert (times.sum(), mels.sum()) == (4, 3)
        assert ((row == 0) == (times[:, None] | mels[None])).all()


def test_a_probability_of_zero_switches_an_axis_off():
    features = torch.ones(2, 40, 8)
    off = LasConfig(mask_time_prob=0.0, mask_feature_prob=0.0, mask_time_min_masks=2, mask_feature_min_masks=2)
    assert (spec_augment(features, torch.ones(2, 40, dtype=torch.bool), off) == 1).all()


def test_a_seed_repeats_the_spans():
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        draws.append(draw_spans(torch.full((4,), 50), 50, 0.2, 5, 0))
    assert torch.equal(*draws)


def test_spans_reach_both_ends():
    torch.manual_seed(0)
    spans = draw_spans(torch.full((200,), 5), 5, prob=0.0, length=4, min_masks=1)
    first, last = spans[:, 0], spans[:, -1]
    assert (first ^ last).all()  # four of five: it starts at the first frame or ends at the last
    assert 60 < first.sum() < 140
