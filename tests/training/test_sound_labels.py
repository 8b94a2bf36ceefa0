"""Labels: names in a fixed order, matched by name, and errors that name the label and the row."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, IterableDataset, Sequence, Value

from aural import SpectrogramTransformerConfig
from aural.training.sound_labels import class_names, find_ids, is_multi_label, label_ids, label_names, label_options

CLASSES = ClassLabel(names=["snare", "clap", "kick"])  # not sorted


def rows(labels, feature=None):
    return Dataset.from_dict({"label": labels}, features=Features({"label": feature}) if feature else None)


@pytest.mark.parametrize(
    ("dataset", "names", "multi_label"),
    [
        (rows(["kick", "clap", "kick"]), ["clap", "kick"], False),
        (rows([["kick", "clap"], [], ["snare"]]), ["clap", "kick", "snare"], True),
        (rows([2, 2], CLASSES), ["snare", "clap", "kick"], False),
        (rows([[2], [0, 1]], Sequence(CLASSES)), ["snare", "clap", "kick"], True),
        (rows([10, 9, 10]), ["9", "10"], False),
        (rows([[10, 9]], Sequence(Value("int64"))), ["9", "10"], True),
        ([{"label": "b"}, {"label": "a"}], ["a", "b"], False),
        ([{"label": ("b", "a")}], ["a", "b"], True),
        (IterableDataset.from_generator(list, features=Features({"label": CLASSES})), CLASSES.names, False),
    ],
)
def test_names_and_kind_of_a_dataset(dataset, names, multi_label):
    assert label_names(dataset) == names
    assert is_multi_label(dataset) is multi_label


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (rows(["a", None]), "item 1: label is None; expected a name"),
        (rows(["a", ""]), "item 1: label is ''"),
        (rows([0.5]), "item 0: label is 0.5"),
        (rows([True]), "item 0: label is True"),
        (rows([[], []], Sequence(Value("string"))), "has no label"),
        (rows(["a"]).to_iterable_dataset(), "stream without a ClassLabel"),
    ],
)
def test_what_is_no_label_is_named_with_its_item(dataset, message):
    with pytest.raises(ValueError, match=message):
        label_names(dataset)


@pytest.mark.parametrize("multi_label", [False, True])
def test_options_fill_a_config(multi_label):
    config = SpectrogramTransformerConfig(**label_options(["b", "a", "c"], multi_label))
    assert config.id2label == {0: "b", 1: "a", 2: "c"}
    assert config.label2id == {"b": 0, "a": 1, "c": 2}
    assert config.num_labels == 3
    kind = "multi_label_classification" if multi_label else "single_label_classification"
    assert config.problem_type == kind
    assert label_ids(config.id2label) == config.label2id


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], r"labels is \[\]; expected at least one name"),
        ("kick", "labels is 'kick'"),
        (["a", "b", "a"], r"labels\[2\] is 'a', as labels\[0\] is"),
        (["a", 1], r"labels\[1\] is 1; expected a name"),
        ({1: "a", 2: "b"}, r"labels have the ids \[1, 2\]; expected 0 to 1"),
    ],
)
def test_bad_lists_of_labels_are_errors(labels, message):
    with pytest.raises(ValueError, match=message):
        label_ids(labels)


def test_rows_are_matched_by_name():
    ids = label_ids(["clap", "kick", "snare"])
    assert find_ids("snare", ids, multi_label=False) == [2]
    assert find_ids(["snare", "clap", "snare"], ids, multi_label=True) == [0, 2]
    assert find_ids([], ids, multi_label=True) == []
    assert find_ids(["kick"], ids, multi_label=False) == [1]
    assert find_ids(0, ids, multi_label=False, classes=CLASSES.names) == [2]
    assert find_ids(np.array([0, 2]), ids, multi_label=True, classes=CLASSES.names) == [1, 2]
    assert find_ids(7, {"7": 0}, multi_label=False) == [0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tuba", "label 'tuba' is unknown; the 3 labels are clap, kick, snare"),
        (0, "label '0' is unknown"),
        ([], r"label is \[\], 0 labels; expected one, or multi_label=True"),
        (["kick", "clap"], "2 labels; expected one"),
    ],
)
def test_labels_that_do_not_fit_are_errors(value, message):
    with pytest.raises(ValueError, match=message):
        find_ids(value, label_ids(["clap", "kick", "snare"]), multi_label=False)


def test_classes_out_of_range_are_errors():
    with pytest.raises(ValueError, match="label is -1; expected a class from 0 to 2"):
        find_ids(-1, {"clap": 0}, multi_label=False, classes=CLASSES.names)


def test_long_lists_of_labels_are_shortened():
    with pytest.raises(ValueError, match=r"the 40 labels are 0, 1, .*, 9, …$"):
        find_ids("x", label_ids([str(i) for i in range(40)]), multi_label=False)


def test_class_names_come_from_class_labels_only():
    assert class_names(rows([0], CLASSES)) == class_names(rows([[0]], Sequence(CLASSES))) == CLASSES.names
    assert class_names(rows(["a"])) is class_names([{"label": "a"}]) is None
