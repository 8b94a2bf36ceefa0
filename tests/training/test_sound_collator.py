"""The collator of sounds: padding, the forms of labels, mixing by what items carry, errors that name the item."""

import pickle

import numpy as np
import pytest
import torch

from aural import SpectrogramTransformerConfig
from aural.training.sound_collator import SoundCollator

CONFIG = SpectrogramTransformerConfig(num_mel_bins=16, patch_size=[16, 4], patch_stride=[16, 3])


def item(frames, labels, mels=3, **more):
    return {"input_features": np.full((frames, mels), frames, dtype=np.float32), "labels": labels, **more}


def test_features_are_padded_with_the_padding_value_and_masked():
    batch = SoundCollator(padding_value=0.5, pad_to_multiple_of=3)([item(2, 1), item(4, 0)])
    assert batch["input_features"][:, :, 0].tolist() == [[2, 2, 0.5, 0.5, 0.5, 0.5], [4, 4, 4, 4, 0.5, 0.5]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
    assert batch["input_features"].dtype == torch.float32
    assert batch["attention_mask"].dtype == torch.int64


@pytest.mark.parametrize("label", [2, np.int32(2), np.array(2), torch.tensor(2)])
def test_ids_become_one_vector(label):
    labels = SoundCollator(num_labels=3)([item(2, label), item(2, 0)])["labels"]
    assert labels.dtype == torch.int64
    assert labels.tolist() == [2, 0]


@pytest.mark.parametrize("form", [list, np.array, torch.tensor])
def test_soft_and_several_labels_become_one_matrix(form):
    labels = SoundCollator(num_labels=3)([item(2, form([0.5, 0.0, 1.0])), item(2, form([0.0, 0.0, 0.0]))])["labels"]
    assert labels.dtype == torch.float32
    assert labels.tolist() == [[0.5, 0, 1], [0, 0, 0]]


def test_labels_of_moments_are_padded_with_minus_100():
    items = [item(2, [[1.0, 0.0]]), item(4, [[0.0, 0.5], [-100.0, -100.0], [1.0, 1.0]])]
    labels = SoundCollator(num_labels=2)(items)["labels"]
    assert labels.dtype == torch.float32
    assert labels.tolist() == [[[1, 0], [-100, -100], [-100, -100]], [[0, 0.5], [-100, -100], [1, 1]]]


def test_labels_of_moments_are_as_long_as_the_model_sees_the_batch():
    collator = SoundCollator(time_patches=CONFIG.time_patches, pad_to_multiple_of=16)
    batch = collator([item(3, np.ones((1, 2), np.float32)), item(10, np.ones((3, 2), np.float32))])
    assert batch["input_features"].shape[1] == 16
    assert batch["labels"].shape == (2, CONFIG.time_patches(16), 2) == (2, 5, 2)
    assert (batch["labels"] == 1).all(-1).sum(-1).tolist() == [1, 3]
    assert (batch["labels"] == -100).all(-1).sum(-1).tolist() == [4, 2]
    with pytest.raises(ValueError, match="item 0: labels are 2 time patches long; 10 frames have 3 time patches"):
        collator([item(10, np.ones((2, 2), np.float32))])


def test_labels_may_be_absent_from_all_items_only():
    bare = {"input_features": np.zeros((2, 3)), "other": 1}
    assert set(SoundCollator()([bare, bare])) == {"input_features", "attention_mask"}
    with pytest.raises(ValueError, match="item 1 has no labels while item 0 has"):
        SoundCollator()([item(2, 0), bare])


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        (0, item(2, 0, mels=4), "item 1: input_features has 4 mels; expected 3"),
        (0, item(0, 0), "item 1: input_features has no frames"),
        (0, {"input_features": np.array([[0.0, np.nan, 0.0]]), "labels": 0}, "item 1: input_features hold NaN"),
        (0, item(2, 3), "item 1: label 3; labels must be at least 0 and below 3, the number of labels"),
        (0, item(2, -1), "item 1: label -1; labels must be at least 0"),
        (0, item(2, 1.0), "item 1: label 1.0 is no integer"),
        (0, item(2, True), "item 1: label True is no integer"),
        (0, item(2, [1.0, 0.0, 0.0]), r"item 1: labels are \(labels,\); item 0 has \(\)"),
        ([0.0, 0.0, 0.0], item(2, [1.0, 0.0]), "item 1: labels are 2 wide; expected 3"),
        ([0.0, 0.0, 0.0], item(2, [0, 1, 0]), "item 1: labels are torch.int64; expected floats from 0 to 1"),
        ([0.0, 0.0, 0.0], item(2, [0.0, 1.5, 0.0]), "item 1: label 1.5; labels must be from 0 to 1"),
        ([0.0, 0.0, 0.0], item(2, [0.0, float("nan"), 0.0]), "item 1: label nan; labels must be from 0 to 1"),
        ([0.0, 0.0, 0.0], item(2, [0.0, -100.0, 0.0]), "item 1: label -100.0; labels must be from 0 to 1"),
        ([[0.0, 0.0, 0.0]], item(2, [[0.0, -1.0, 0.0]]), "item 1: label -1.0; labels must be from 0 to 1"),
        ([0.0, 0.0, 0.0], item(2, []), r"item 1: labels have shape \(0,\); expected one of \(\), \(labels,\), "),
        ([0.0, 0.0, 0.0], item(2, [[[0.0]]]), r"item 1: labels have shape \(1, 1, 1\)"),
    ],
)
def test_errors_name_the_item(good, bad, message):
    with pytest.raises(ValueError, match=message):
        SoundCollator(num_labels=3)([item(3, good), bad])


def test_widths_are_compared_without_a_number_of_labels_too():
    with pytest.raises(ValueError, match="item 1: labels are 2 wide; item 0 has 3"):
        SoundCollator()([item(3, [0.0, 0.0, 0.0]), item(3, [0.0, 0.0])])


def test_items_that_ask_for_it_are_mixed():
    one, two = [1.0, 0.0, 0.0], [0.0, 1.0, 1.0]
    batch = SoundCollator()([item(2, one, mixup=(0.75, 0.0)), item(4, two, mixup=(0.5, 0.0))])
    assert set(batch) == {"input_features", "attention_mask", "labels"}
    # The shorter clip goes on with the padding value, here 0, and becomes as long as the one in it.
    assert batch["input_features"][:, :, 0].tolist() == [[2.5, 2.5, 1, 1], [3, 3, 2, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[0.75, 0.25, 0.25], [0.5, 0.5, 0.5]]


def test_items_that_ask_for_none_stay_as_they_are():
    plain = [item(2, [1.0, 0.0]), item(4, [0.0, 1.0])]
    alone = [{**one, "mixup": (1.0, 0.3)} for one in plain]
    for name, value in SoundCollator()(plain).items():
        assert torch.equal(SoundCollator()(alone)[name], value)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([item(2, [1.0], mixup=(1.0, 0.0)), item(2, [1.0])], "item 1 has no mixup while others have"),
        ([item(2, 1, mixup=(1.0, 0.0))], "items with mixup need soft labels"),
        ([item(2, None, mixup=(1.0, 0.0))], "items with mixup need soft labels"),
        ([item(2, [1.0], 3, mixup=(0.5, 0.0)), item(2, [1.0], 4, mixup=(0.5, 0.0))], "have 3 to 4 mels"),
    ],
)
def test_what_cannot_be_mixed_is_an_error(items, message):
    with pytest.raises(ValueError, match=message):
        SoundCollator()(items)


def test_mixing_leaves_the_global_generators_alone():
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    SoundCollator()([item(2, [1.0, 0.0], mixup=(0.4, 0.0)), item(4, [0.0, 1.0], mixup=(0.5, 0.0))])
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])


def test_empty_batch_and_bad_options_are_errors():
    with pytest.raises(ValueError, match="no items"):
        SoundCollator()([])
    with pytest.raises(ValueError, match="num_labels is 0"):
        SoundCollator(num_labels=0)


def test_collator_pickles():
    collator = SoundCollator(num_labels=2, mels=3, time_patches=CONFIG.time_patches)
    batch = pickle.loads(pickle.dumps(collator))([item(10, np.ones((3, 2), np.float32))])
    assert batch["labels"].shape == (1, 3, 2)
