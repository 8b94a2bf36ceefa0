"""Patches: order, masks, short clips; patchout by its shares, by row and column, per clip."""

import pytest
import torch

from aural.modeling.patches import PatchProjection, SpectrogramEmbeddings, own_columns, patchout
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram_config

ROWS = 3


def embeddings(**options: object) -> SpectrogramEmbeddings:
    torch.manual_seed(0)
    module = SpectrogramEmbeddings(tiny_spectrogram_config(**options)).eval()
    for parameter in module.parameters():
        parameter.data.normal_()
    return module


def test_patch_row_times_columns_plus_column_is_the_projected_piece_of_that_place():
    module = embeddings(num_class_tokens=2)
    features, _ = spectrograms([17])
    patches = module(features, None)
    columns = 4  # (17 - 6) // 3 + 1
    assert patches.states.shape == (1, 2 + ROWS * columns, 16)
    assert torch.equal(patches.states[0, :2], module.class_tokens)
    kernel, bias = module.patch_projection.weight[:, 0], module.patch_projection.bias  # (hidden, mels, frames)
    for row in range(ROWS):
        for column in range(columns):
            piece = features[0, 3 * column : 3 * column + 6, 2 * row : 2 * row + 4].T  # (mels, frames)
            expected = (kernel * piece).sum((1, 2)) + bias + module.positions.table[row, column]
            torch.testing.assert_close(patches.states[0, 2 + row * columns + column], expected)


def test_the_projection_is_torchs_convolution_in_value_and_gradient():
    torch.manual_seed(0)
    ours = PatchProjection(1, 5, (4, 3), (2, 2))
    plain = torch.nn.Conv2d(1, 5, (4, 3), (2, 2))
    plain.load_state_dict(ours.state_dict())
    image = torch.randn(2, 1, 9, 8, requires_grad=True)
    copy = image.detach().clone().requires_grad_()
    found, expected = ours(image), plain(copy)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for one, other in ((image, copy), (ours.weight, plain.weight), (ours.bias, plain.bias)):
        torch.testing.assert_close(one.grad, other.grad)


def test_real_patches_lie_within_a_clips_own_frames():
    module = embeddings()
    lengths = [17, 14, 12, 5, 0]
    features, mask = spectrograms(lengths)
    patches = module(features, mask.bool())
    own = [4, 3, 3, 1, 1]
    assert own_columns(module.config, torch.tensor(lengths)).tolist() == own
    grid = patches.mask[:, 2:].unflatten(1, (ROWS, 4))
    for row, columns in enumerate(own):
        assert grid[row].sum(-1).tolist() == [columns] * ROWS
        assert grid[row, :, :columns].all()
    assert patches.mask[:, :2].all()  # class tokens are always real


def test_a_clip_shorter_than_a_patch_is_filled_up_with_zeros():
    module = embeddings()
    features, _ = spectrograms([4])
    filled = torch.nn.functional.pad(features, (0, 0, 0, 2))
    assert torch.equal(module(features, None).states, module(filled, None).states)


@pytest.mark.parametrize(
    "fields", [{}, {"patchout_time": 0.5, "patchout_frequency": 0.4, "patchout_unstructured": 0.3}]
)
def test_without_patchout_or_in_eval_every_patch_stays(fields):
    plain, other = embeddings(), embeddings(**fields)
    other.load_state_dict(plain.state_dict())
    features, mask = spectrograms([20, 11])
    expected = plain(features, mask.bool())
    for module in [other] + ([] if fields else [other.train()]):
        got = module(features, mask.bool())
        assert torch.equal(got.states, expected.states)
        assert got.index is None


def drawn(lengths: list[int], columns: int, **shares: float) -> tuple[torch.Tensor, torch.Tensor]:
    config = tiny_spectrogram_config(num_mel_bins=24, patch_size=[4, 6], patch_stride=[2, 3], **shares)  # 11 rows
    return patchout(config, torch.arange(columns) < torch.tensor(lengths)[:, None])


def test_structured_patchout_drops_whole_columns_and_rows():
    torch.manual_seed(0)
    index, real = drawn([20, 10], 20, patchout_time=0.5, patchout_frequency=0.3)
    assert index.shape == (2, 80)  # 8 of 11 rows, 10 of 20 columns
    for clip, own in enumerate((10, 5)):
        places = index[clip][real[clip]]
        rows, columns = (places // 20).unique(), (places % 20).unique()
        assert (len(rows), len(columns), len(places)) == (8, own, 8 * own)
        assert len(places.unique()) == len(places)
        assert columns.max() < (20, 10)[clip]
        assert (places.diff() > 0).all()


def test_unstructured_patchout_drops_single_patches():
    torch.manual_seed(0)
    index, real = drawn([20, 10], 20, patchout_unstructured=0.25)
    assert index.shape == (2, 165)
    assert real.sum(-1).tolist() == [165, round(110 * 0.75)]
    kept = index[0]
    assert len((kept % 20).unique()) == 20
    assert not all((kept // 20 == row).sum() in (0, 20) for row in range(11))


def test_every_clip_of_a_batch_is_drawn_for_itself_from_torchs_generator():
    torch.manual_seed(3)
    first = drawn([20] * 6, 20, patchout_time=0.5)
    assert len({tuple(row.tolist()) for row in first[0]}) > 1
    torch.manual_seed(3)
    assert torch.equal(first[0], drawn([20] * 6, 20, patchout_time=0.5)[0])


def test_over_many_draws_every_column_is_kept_equally_often():
    torch.manual_seed(0)
    index, _ = drawn([20] * 2000, 20, patchout_time=0.5)
    counts = torch.stack([(index % 20 == column).any(-1).float().mean() for column in range(20)])
    assert ((counts - 0.5).abs() < 0.05).all()


def test_a_kept_patch_is_the_one_of_its_place():
    module = embeddings(patchout_time=0.5, patchout_unstructured=0.2)
    features, mask = spectrograms([20, 14])
    whole = module(features, mask.bool())
    torch.manual_seed(1)
    thinned = module.train()(features, mask.bool())
    for clip in range(2):
        for place, index in enumerate(thinned.index[clip]):
            if thinned.mask[clip, 2 + place]:
                assert torch.equal(thinned.states[clip, 2 + place], whole.states[clip, 2 + index])
                assert whole.mask[clip, 2 + index]


def test_rotary_factors_follow_the_kept_patches():
    module = embeddings(position_kind="rotary", patchout_time=0.5)
    features, mask = spectrograms([20, 14])
    whole = module(features, mask.bool())
    thinned = module.train()(features, mask.bool())
    for clip in range(2):
        expected = whole.rotary[0][0][:, 2:][:, thinned.index[clip]]
        assert torch.equal(thinned.rotary[0][clip][:, 2:], expected)
