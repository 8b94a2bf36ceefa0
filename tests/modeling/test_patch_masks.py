"""Masks of pre-training: what each kind hides, how much, by brute force over every clip, and what repeats."""

import pytest
import torch

from aural.modeling.patch_masks import block_columns, block_rows, draw_masks, fixed_scores, kept_of, most_kept
from tests.tiny_spectrogram import tiny_spectrogram_config

KINDS = ["random", "time", "frequency", "inverse_block"]
ROWS = 7  # 16 mels, patches of 4 every 2
OWN = [23, 12, 5, 2, 1, 0]  # columns of the clips of a batch; the last row is all padding
REAL = torch.arange(23) < torch.tensor(OWN)[:, None]


def config(kind, ratio=0.7, masks=3):
    return tiny_spectrogram_config(num_mel_bins=16, mask_kind=kind, mask_ratio=ratio, masks_per_clip=masks)


def drawn(kind, seed=0, ratio=0.7):
    """Masked and kept `(batch, masks, rows, columns)`."""
    torch.manual_seed(seed)
    masked = draw_masks(config(kind, ratio), REAL).unflatten(2, (ROWS, 23))
    return masked, REAL[:, None, None] & ~masked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_padding_is_never_masked_and_every_clip_keeps_a_patch(kind, seed):
    masked, kept = drawn(kind, seed)
    for row, own in enumerate(OWN):
        assert not masked[row, ..., own:].any()
        assert kept[row].flatten(1).any(1).all() == (own > 0)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8, 0.99])
def test_random_masks_hide_their_share_of_each_clips_own_patches(ratio):
    masked, kept = drawn("random", ratio=ratio)
    for row, own in enumerate(OWN):
        patches = ROWS * own
        expected = min(max(int((1 - ratio) * patches + 0.5), 1), max(patches - 1, 0))
        assert kept[row].flatten(1).sum(1).tolist() == [expected] * 3
        assert masked[row].flatten(1).sum(1).tolist() == [patches - expected] * 3


def test_time_masks_hide_whole_columns():
    masked, _ = drawn("time")
    for row, own in enumerate(OWN):
        for mask in masked[row]:
            hidden = mask[:, :own].any(0)
            assert (mask[:, :own] == hidden).all()
            assert own - int(hidden.sum()) == min(max(int(0.3 * own + 0.5), 1), max(own - 1, 1), own)


def test_frequency_masks_hide_whole_rows_of_the_clip():
    masked, _ = drawn("frequency")
    for row, own in enumerate(OWN):
        for mask in masked[row]:
            if own:
                hidden = mask[:, :own].any(1)
                assert (mask[:, :own] == hidden[:, None]).all()
                assert int(hidden.sum()) == ROWS - 2  # 0.3 of 7 rows, rounded, are kept


@pytest.mark.parametrize("seed", range(5))
def test_inverse_block_masks_keep_one_block_inside_the_clip(seed):
    _, kept = drawn("inverse_block", seed)
    for row, own in enumerate(OWN):
        for mask in kept[row]:
            rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
            if not own:
                assert not mask.any()
                continue
            high, wide = len(rows), len(columns)
            assert rows.tolist() == list(range(rows[0], rows[0] + high))
            assert columns.tolist() == list(range(columns[0], columns[0] + wide))
            assert int(mask.sum()) == high * wide
            assert high == 4 == round(ROWS * 0.3**0.5)
            assert abs(high * wide - 0.3 * ROWS * own) <= high  # the nearest that whole columns reach


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.5, 0.75, 0.8, 0.95])
def test_the_bound_from_shapes_is_what_the_longest_clip_keeps_and_no_clip_keeps_more(kind, ratio):
    options = config(kind, ratio, masks=1)
    before = 0
    for columns in range(1, 40):
        kept = ROWS * columns - int(draw_masks(options, torch.ones(1, columns, dtype=torch.bool)).sum())
        assert kept == most_kept(options, columns) >= before
        before = kept


@pytest.mark.parametrize("ratio", [0.1, 1 / 3, 0.5, 0.7, 0.8, 0.9])
def test_the_host_counts_as_the_device_does(ratio):
    numbers = torch.arange(0, 2000)
    assert kept_of(numbers, ratio).tolist() == [kept_of(int(number), ratio) for number in numbers]
    options = config("inverse_block", ratio)
    assert block_columns(options, numbers).tolist() == [block_columns(options, int(number)) for number in numbers]


def test_a_single_row_of_patches_is_masked_too():
    options = tiny_spectrogram_config(
        patch_size=[8, 6], patch_stride=[8, 3], mask_kind="inverse_block", mask_ratio=0.5
    )
    assert block_rows(options) == 1
    masked = draw_masks(options, torch.ones(1, 10, dtype=torch.bool))
    assert int(masked.sum()) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_a_clip_and_clips_of_a_batch_differ(kind):
    torch.manual_seed(0)
    masks = draw_masks(config(kind), torch.ones(4, 23, dtype=torch.bool))
    assert len({tuple(mask.tolist()) for mask in masks.flatten(0, 1)}) > 6


@pytest.mark.parametrize("kind", KINDS)
def test_every_patch_is_masked_about_as_often(kind):
    torch.manual_seed(0)
    masks = draw_masks(config(kind, 0.8, masks=500), torch.ones(4, 23, dtype=torch.bool)).flatten(0, 1)
    often = masks.float().mean(0)
    if kind == "inverse_block":  # a block lies in the middle more often than at a border
        assert 0 < often.min() < often.max() < 1
    else:
        assert (often - often.mean()).abs().max() < 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_repeats_its_masks_and_leaves_torchs_own_alone(kind):
    before = torch.get_rng_state()
    first, second, other = (draw_masks(config(kind), REAL, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_masks_are_the_same_in_every_batch_and_differ_between_masks(kind):
    before = torch.get_rng_state()
    together = draw_masks(config(kind), REAL, fixed=True).unflatten(2, (ROWS, 23))
    assert torch.equal(torch.get_rng_state(), before)
    for row, own in enumerate(OWN[:-1]):
        alone = draw_masks(config(kind), torch.ones(1, own, dtype=torch.bool), fixed=True)
        assert torch.equal(alone[0].unflatten(1, (ROWS, own)), together[row, ..., :own])
    assert len({tuple(mask.flatten().tolist()) for mask in together[0]}) > 1


def test_fixed_scores_look_uniform_and_stay_below_one():
    scores = fixed_scores(8, 16, 500, device=torch.device("cpu"))
    assert scores.dtype == torch.float32
    assert 0 <= scores.min() < 0.001 and 0.999 < scores.max() < 1
    counts = torch.histc(scores, 20, 0, 1) / scores.numel()
    assert (counts - 0.05).abs().max() < 0.003
    for axis in range(3):  # neighbours along no axis resemble each other
        pairs = torch.stack([scores.flatten(), scores.roll(1, axis).flatten()])
        assert torch.corrcoef(pairs)[0, 1].abs() < 0.02
