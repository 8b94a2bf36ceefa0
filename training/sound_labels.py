"""Labels of sounds: from what a dataset holds to names, and from names to what a model is trained on.

- A row's label is a name, a class of a `ClassLabel`, an integer, or a list of these (several sounds at once).
- Everything is matched by name: the ids are those of the model, whatever order another dataset has.

    names = label_names(train)  # ["clap", "kick", "snare"]
    config = SpectrogramTransformerConfig(**label_options(names))
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import ClassLabel, IterableDataset

SHOWN = 10  # labels that an error lists


def label_names(dataset: Any) -> list[str]:
    """Every label of a dataset: a ClassLabel's names in its own order, else those that occur, sorted.

    Args:
        dataset: rows with `label`, as `load_sounds` gives them. Integers without a ClassLabel are named "0", "1", …

    Raises:
        ValueError: no label at all, one that is no label, or a stream, whose labels are not known before its end.
    """
    if classes := class_names(dataset):
        return classes
    if isinstance(dataset, IterableDataset):
        raise ValueError("dataset is a stream without a ClassLabel: its labels are not known before its end")
    values: set[str | int] = set()
    for index, value in enumerate(label_column(dataset)):
        try:
            values.update(_listed(value))
        except ValueError as error:
            raise ValueError(f"item {index}: {error}") from error
    if not values:
        raise ValueError("the dataset has no label")
    if all(isinstance(value, int) for value in values):
        return [str(value) for value in sorted(values)]
    return sorted(str(value) for value in values)


def is_multi_label(dataset: Any) -> bool:
    """Whether the rows' `label` is a list, told by the column's type, or else by the first row."""
    feature = (getattr(dataset, "features", None) or {}).get("label")
    if feature is not None:
        return hasattr(feature, "feature") or isinstance(feature, list)
    return isinstance(next(iter(dataset))["label"], (list, tuple, np.ndarray))


def label_options(labels: Sequence[str], multi_label: bool = False) -> dict[str, Any]:
    """Config options for labels: `id2label`, `label2id` and `problem_type`.

    They go into a config, or into `from_pretrained` beside `ignore_mismatched_sizes=True` for a new head.

    Args:
        labels: names by id, as from `label_names`.
        multi_label: whether a clip can have several at once.

    Raises:
        ValueError: no labels, one that is no name, or one twice.
    """
    ids = label_ids(labels)
    problem = "multi_label_classification" if multi_label else "single_label_classification"
    return {"id2label": {index: name for name, index in ids.items()}, "label2id": ids, "problem_type": problem}


def label_ids(labels: Sequence[str] | Mapping[int, str]) -> dict[str, int]:
    """Names to ids.

    Args:
        labels: names by id: a list, or a config's `id2label`.

    Raises:
        ValueError: no labels, one that is no name, one twice, or ids other than 0, 1, …
    """
    if isinstance(labels, Mapping):
        if sorted(labels) != list(range(len(labels))):
            raise ValueError(f"labels have the ids {sorted(labels)[:SHOWN]}; expected 0 to {len(labels) - 1}")
        labels = [labels[index] for index in range(len(labels))]
    if isinstance(labels, str) or not len(labels):
        raise ValueError(f"labels is {labels!r}; expected at least one name")
    ids: dict[str, int] = {}
    for index, name in enumerate(labels):
        if not isinstance(name, str) or not name:
            raise ValueError(f"labels[{index}] is {name!r}; expected a name")
        if name in ids:
            raise ValueError(f"labels[{index}] is {name!r}, as labels[{ids[name]}] is; each name stands once")
        ids[name] = index
    return ids


def class_names(dataset: Any) -> list[str] | None:
    """The names of the ClassLabel in the column `label`, in a list or not; None for another column."""
    feature = (getattr(dataset, "features", None) or {}).get("label")
    feature = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
    return list(feature.names) if isinstance(feature, ClassLabel) else None


def label_column(dataset: Any) -> list[Any]:
    """The labels of all rows; audio beside them is not read where the dataset has columns."""
    if getattr(dataset, "column_names", None):
        return dataset["label"][:]
    return [row["label"] for row in dataset]


def find_ids(value: Any, ids: Mapping[str, int], multi_label: bool, classes: Sequence[str] | None = None) -> list[int]:
    """The ids of one row's label, sorted, none twice.

    Args:
        value: a name, an integer or a list of them.
        ids: of the names, from `label_ids`.
        multi_label: whether there may be any number of labels; otherwise there is one.
        classes: names of the integers, from `class_names`; without them 3 is named "3".

    Raises:
        ValueError: an unknown label, or not one where one is needed.
    """
    found = set()
    for one in _listed(value):
        if isinstance(one, int) and classes is not None:
            if not 0 <= one < len(classes):
                raise ValueError(f"label is {one}; expected a class from 0 to {len(classes) - 1}")
            one = classes[one]
        if str(one) not in ids:
            known = ", ".join(list(ids)[:SHOWN]) + (", …" if len(ids) > SHOWN else "")
            raise ValueError(f"label {str(one)!r} is unknown; the {len(ids)} labels are {known}")
        found.add(ids[str(one)])
    if not multi_label and len(found) != 1:
        raise ValueError(f"label is {value!r}, {len(found)} labels; expected one, or multi_label=True")
    return sorted(found)


def label_vector(ids: Sequence[int], labels: int) -> np.ndarray:
    """float32 `(labels,)`, 1 at the ids."""
    vector = np.zeros(labels, dtype=np.float32)
    vector[list(ids)] = 1
    return vector


def _listed(value: Any) -> list[str | int]:
    """One row's labels as a list of names and integers."""
    listed = value if isinstance(value, (list, tuple, np.ndarray)) else [value]
    labels: list[str | int] = []
    for one in listed:
        if isinstance(one, (int, np.integer)) and not isinstance(one, bool):
            labels.append(int(one))
        elif isinstance(one, str) and one:
            labels.append(one)
        else:
            raise ValueError(f"label is {value!r}; expected a name, an integer, or a list of them")
    return labels
