"""The collator: padding, masks, and errors that name the item."""

import pickle

import numpy as np
import pytest
import torch

from aural.training.collator import SpeechCollator


def item(frames, labels=(5, 2), mels=3):
    return {"input_features": np.full((frames, mels), frames, dtype=np.float32), "labels": list(labels)}


def test_features_are_padded_with_zeros_and_labels_with_minus_100():
    batch = SpeechCollator()([item(2, [4, 5, 2]), item(4, [2])])
    expected = np.zeros((2, 4, 3), dtype=np.float32)
    expected[0, :2], expected[1] = 2, 4
    np.testing.assert_array_equal(batch["input_features"], expected)
    assert batch["input_features"].dtype == torch.float32
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[4, 5, 2], [2, -100, -100]]
    assert batch["attention_mask"].dtype == batch["labels"].dtype == torch.int64


def test_lists_arrays_and_tensors_give_the_same_batch():
    features = np.arange(6.0).reshape(2, 3)
    forms = [features, features.tolist(), torch.tensor(features)]
    labels = [[4, 2], np.array([4, 2], dtype=np.int32), torch.tensor([4, 2])]
    batch = SpeechCollator()([{"input_features": f, "labels": y} for f, y in zip(forms, labels, strict=True)])
    for name in batch:
        assert torch.equal(batch[name][0], batch[name][1])
        assert torch.equal(batch[name][0], batch[name][2])


@pytest.mark.parametrize(("frames", "padded"), [(1, 8), (8, 8), (9, 16)])
def test_frames_are_rounded_up_to_a_multiple(frames, padded):
    batch = SpeechCollator(pad_to_multiple_of=8)([item(frames)])
    assert batch["input_features"].shape == (1, padded, 3)
    assert batch["attention_mask"].sum() == frames


def test_labels_may_be_absent_from_all_items_only():
    bare = {"input_features": np.zeros((2, 3))}
    assert set(SpeechCollator()([bare, bare])) == {"input_features", "attention_mask"}
    with pytest.raises(ValueError, match="item 1 has no labels while item 0 has"):
        SpeechCollator()([item(2), bare])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (item(2, mels=4), "item 1: input_features has 4 mels; expected 3"),
        (item(0), "item 1: input_features has no frames"),
        (
            {"input_features": np.zeros(5), "labels": [2]},
            r"item 1: input_features is \(5,\); expected \(frames, mels\)",
        ),
        ({"labels": [2]}, "item 1 has no input_features; it has labels"),
        (item(2, []), "item 1: labels have shape"),
        (item(2, [[4, 2]]), "item 1: labels have shape"),
        (item(2, [4.5, 2.0]), "item 1: labels are torch.float"),
        (item(2, [-1, 2]), "item 1: label -1; labels must be at least 0"),
        (item(2, [9, 2]), "item 1: label 9; .* below 9, the size of the vocabulary"),
    ],
)
def test_errors_name_the_item(bad, message):
    with pytest.raises(ValueError, match=message):
        SpeechCollator(vocab_size=9)([item(3, [8, 2]), bad])


def test_expected_mels_count_for_the_first_item_too():
    with pytest.raises(ValueError, match="item 0: input_features has 3 mels; expected 80"):
        SpeechCollator(mels=80)([item(2)])


def test_empty_batch_and_bad_options_are_errors():
    with pytest.raises(ValueError, match="no items"):
        SpeechCollator()([])
    with pytest.raises(ValueError, match="pad_to_multiple_of is 0"):
        SpeechCollator(pad_to_multiple_of=0)


def test_collator_pickles():
    collator = SpeechCollator(mels=3, vocab_size=9, pad_to_multiple_of=4)
    assert pickle.loads(pickle.dumps(collator)) == collator


def test_phonemes_are_padded_like_labels_and_by_themselves():
    batch = SpeechCollator(vocab_size=9, phoneme_vocab_size=20)(
        [{**item(2, [4, 2]), "phoneme_targets": [15, 5, 6, 2]}, {**item(4, [4, 5, 2]), "phoneme_targets": [19]}]
    )
    assert batch["labels"].tolist() == [[4, 2, -100], [4, 5, 2]]
    assert batch["phoneme_targets"].tolist() == [[15, 5, 6, 2], [19, -100, -100, -100]]
    assert batch["phoneme_targets"].dtype == torch.int64
    assert "phoneme_targets" not in SpeechCollator()([item(2), item(3)])


def test_texts_for_ctc_are_padded_by_themselves_and_lie_in_the_vocabulary_of_the_labels():
    batch = SpeechCollator(vocab_size=9)(
        [{**item(2, [4, 2]), "ctc_targets": [7, 7, 2]}, {**item(4, [4, 5, 2]), "ctc_targets": [8]}]
    )
    assert batch["ctc_targets"].tolist() == [[7, 7, 2], [8, -100, -100]]
    with pytest.raises(ValueError, match=r"item 0: ctc_target 9; ctc_targets must be .* below 9"):
        SpeechCollator(vocab_size=9)([{**item(2), "ctc_targets": [9]}])


def test_phonemes_of_some_items_or_outside_their_vocabulary_are_refused():
    heard = {**item(2), "phoneme_targets": [5, 2]}
    with pytest.raises(ValueError, match="item 1 has no phoneme_targets while item 0 has"):
        SpeechCollator()([heard, item(2)])
    with pytest.raises(ValueError, match=r"item 0: phoneme_target 5; phoneme_targets must be .* below 5"):
        SpeechCollator(phoneme_vocab_size=5)([heard])
    with pytest.raises(ValueError, match="phoneme_vocab_size is 0"):
        SpeechCollator(phoneme_vocab_size=0)
