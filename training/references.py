"""Several captions of one clip: from rows as corpora have them to items and to references for the metrics.

    rows = gather_references(rows, "caption_*")  # Clotho: five columns become one column `text` of lists
    train = CaptionDataset(rows, processor)  # one caption of each clip, drawn anew in each epoch
    scores = score_captions(references_in(rows), written)  # all of them

What is notable here:

- A cell of `text` is a text or a list of texts; empty ones are no captions.
- A recipe's `target_column: "caption_*"` names several columns at once (`sources.py`); a list column needs nothing.
- What training draws follows from (seed, epoch, index); an evaluation set has each clip's first caption as its label,
  and its metrics take all.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from datasets import Dataset, Features, IterableDataset, List, Value

from .data import SpeechDataset, prepare_item

PATTERN = "*"  # in the name of a column


def is_pattern(column: str | None) -> bool:
    """Whether a column's name stands for several."""
    return column is not None and PATTERN in column


def matching_columns(columns: Sequence[str], pattern: str) -> list[str]:
    """The columns that a pattern such as "caption_*" stands for, in their order.

    Args:
        columns: all there are.
        pattern: with `*`.

    Raises:
        ValueError: there is none.
    """
    found = [name for name in columns if fnmatchcase(name, pattern)]
    if not found:
        raise ValueError(f"no column is like {pattern!r}; the columns are {', '.join(columns)}")
    return found


def gather_references(
    rows: Dataset | IterableDataset, pattern: str | Sequence[str], target: str = "text"
) -> Dataset | IterableDataset:
    """Rows whose captions stand in one column of lists, in place of several columns.

    Args:
        rows: with one caption in each of some columns.
        pattern: of the columns' names, such as "caption_*"; or the names.
        target: name of the new column; it may be one of those that it takes the place of.

    Raises:
        ValueError: no column is like the pattern, or a stream does not know its columns.
    """
    if rows.column_names is None or rows.features is None:
        raise ValueError(f"the stream does not know its columns, and {pattern!r} are several")
    names = list(rows.column_names)
    columns = matching_columns(names, pattern) if isinstance(pattern, str) else list(pattern)
    if isinstance(rows, Dataset):
        values = [_captions(cells) for cells in zip(*(rows[name][:] for name in columns), strict=True)]
        return rows.remove_columns(columns).add_column(target, values, feature=List(Value("string")))
    kept = {name: kind for name, kind in rows.features.items() if name not in columns}
    features = Features({**kept, target: List(Value("string"))})
    gone = [name for name in columns if name != target]
    return rows.map(
        _gathered, fn_kwargs={"columns": columns, "target": target}, remove_columns=gone, features=features
    )


def _gathered(row: dict[str, Any], columns: list[str], target: str) -> dict[str, Any]:
    return {target: _captions([row[name] for name in columns])}


def _captions(cells: Sequence[Any]) -> list[str]:
    """The texts of some cells, without those that are missing or empty."""
    return [text for cell in cells if cell is not None for text in references_of(cell) if text.strip()]


def references_of(value: Any) -> list[str]:
    """The captions in one cell: a text, or a list of texts.

    Raises:
        ValueError: it is something else, or an empty list.
    """
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"text is {value!r}; expected a text, or a list of texts, at least one")
    return texts


def first_reference(value: Any) -> Any:
    """The first caption in a cell of texts; what is no list stays as it is."""
    return value[0] if isinstance(value, list | tuple) and value else value


def has_references(rows: Any) -> bool:
    """Whether the column `text` of rows holds lists.

    Args:
        rows: a `Dataset` or `IterableDataset`.
    """
    feature = (rows.features or {}).get("text")
    return isinstance(feature, list) or hasattr(feature, "feature")


def references_in(rows: Any) -> list[list[str]]:
    """All captions, clip by clip, for metrics.

    Args:
        rows: with a column `text`.
    """
    return [references_of(value) for value in rows["text"]]


def all_texts(rows: Any) -> Iterator[str]:
    """Every caption of all clips, one after the other, for a tokenizer.

    Args:
        rows: with a column `text`.
    """
    for value in rows["text"]:
        yield from references_of(value)


class CaptionDataset(SpeechDataset):
    """Items for `SpeechCollator` from clips with one or several captions each.

    Args:
        dataset: rows with `audio` and `text`, a text or a list of texts.
        processor: an `AuralProcessor`.
        first: take each clip's first caption (an evaluation set) in place of one that is drawn by (seed, epoch,
            index).
        options: as for `SpeechDataset`.
    """

    def __init__(self, dataset: Any, processor: Any, first: bool = False, **options: Any) -> None:
        super().__init__(dataset, processor, **options)
        self.first = first

    @property
    def references(self) -> list[list[str]]:
        """All captions, clip by clip."""
        return references_in(self.dataset)

    def make_item(self, index: int, generator: np.random.Generator) -> dict[str, Any]:
        """As `prepare_item` makes it, of one caption."""
        row = self.dataset[index]
        texts = references_of(row["text"])
        place = 0 if self.first else int(generator.integers(len(texts)))
        row = {**row, "text": texts[place]}
        if self.respell is not None:
            row = self.respell(row)
        return prepare_item(row, self.processor, self.augment_audio, self.augment_features, generator, self.cache)
