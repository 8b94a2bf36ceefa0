"""Maps read layer by layer, of clips as they are and with the contents of their patches at other places."""

import pytest
import torch

from aural import SpectrogramTransformerForAudioFrameClassification
from aural.modeling.head_maps import own_patches, padded_places, read_maps, shuffled
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram

MOMENTS = SpectrogramTransformerForAudioFrameClassification
ROWS = 3  # of the tiny model
FEATURES, MASK = spectrograms([20, 14])  # 5 and 3 columns


def read(model, features, mask, places=None):
    maps = {}
    read_maps(model, features, mask, lambda layer, weights: maps.update({f"layers.{layer}": weights}), places)
    return maps


@pytest.mark.parametrize("kind", ["joint", "rotary"])
def test_maps_are_those_of_attention_maps_first_layer_first(kind):
    model = tiny_spectrogram(MOMENTS, position_kind=kind)
    expected = model.attention_maps(FEATURES, MASK)
    found = read(model, FEATURES, MASK)
    assert list(found) == list(expected)
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, atol=1e-6, rtol=0)


def test_contents_go_where_they_are_sent_and_padding_stays():
    goes = [torch.tensor([2, 0, 1, 5, 3, 4]), torch.tensor([1, 2, 0])]  # 3 rows of 2 columns, and of 1
    places = padded_places(goes, ROWS, 2)
    assert places.tolist() == [[2, 0, 1, 5, 3, 4], [2, 1, 4, 3, 0, 5]]  # columns 0 of rows 0, 1, 2 are 0, 2, 4
    assert own_patches(ROWS, 1, 2).tolist() == [0, 2, 4]
    states = torch.arange(6.0)[None, :, None].repeat(2, 1, 1)
    assert shuffled(states, places)[..., 0].tolist() == [[1, 2, 0, 4, 5, 3], [4, 1, 0, 3, 2, 5]]


def test_shuffling_patches_is_shuffling_what_the_spectrogram_holds():
    # Patches side by side: their contents can be moved on the spectrogram itself.
    model = tiny_spectrogram(MOMENTS, patch_size=[4, 5], patch_stride=[4, 5], position_kind="factorized")
    features, _ = spectrograms([20])
    goes = torch.tensor([3, 0, 7, 1, 2, 6, 5, 4])  # 2 rows of 4 columns
    moved = torch.empty_like(features)
    for patch, place in enumerate(goes.tolist()):
        (row, column), (to_row, to_column) = divmod(patch, 4), divmod(place, 4)
        content = features[:, 5 * column : 5 * column + 5, 4 * row : 4 * row + 4]
        moved[:, 5 * to_column : 5 * to_column + 5, 4 * to_row : 4 * to_row + 4] = content
    expected = model.attention_maps(moved)
    found = read(model, features, None, padded_places([goes], 2, 4))
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, atol=1e-6, rtol=0)


def test_a_clip_shuffled_in_a_padded_batch_attends_as_alone():
    model = tiny_spectrogram(MOMENTS)
    goes = [torch.randperm(15, generator=torch.Generator().manual_seed(0)), torch.randperm(9)]
    garbage = FEATURES.masked_fill(~MASK.bool()[..., None], 1e4)
    together = read(model, garbage, MASK, padded_places(goes, ROWS, 5))
    alone = read(model, FEATURES[1:, :14], None, padded_places(goes[1:], ROWS, 3))
    own = torch.cat([torch.arange(2), own_patches(ROWS, 3, 5) + 2])  # behind two class tokens
    for name, weights in alone.items():
        torch.testing.assert_close(together[name][1][:, own][:, :, own], weights[0], atol=1e-5, rtol=0)


def test_places_of_another_grid_are_refused():
    with pytest.raises(ValueError, match=r"places \(1, 9\) must be \(batch, patches\) = \(2, 15\)"):
        read(tiny_spectrogram(MOMENTS), FEATURES, MASK, padded_places([torch.arange(9)], ROWS, 3))
