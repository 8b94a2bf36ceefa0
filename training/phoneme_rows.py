"""Rows whose texts are spoken: their phonemes beside the text, or in its place, made once for each text.

    spoken = PhonemeRows("en-us", "phonemes")
    spoken.learn(rows)
    spoken({"text": "one"})  # {"text": "one", "phonemes": "w ʌ n"}

A row's own column `phonemes`, symbols separated by spaces, counts before what eSpeak NG says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..processing.phonemes import phonemize

COLUMN = "phonemes"  # of rows that bring their own


@dataclass
class PhonemeRows:
    """Called with a row, the row with its phonemes; picklable.

    Args:
        language: as `phonemize` takes it. None: where a row has no phonemes of its own, its text is them if they take
            its place, and it has none if they stand beside it.
        place: the column that they are written to: "phonemes" beside the text, "text" in its place.
        known: what each text is in phonemes, as far as it was asked.
    """

    language: str | None
    place: Literal["phonemes", "text"] = "phonemes"
    known: dict[str, str] = field(default_factory=dict)

    def learn(self, rows: Any) -> None:
        """Make the phonemes of all texts that have none, each once.

        Args:
            rows: of a `datasets.Dataset`, with `text`.

        Raises:
            ImportError, OSError, ValueError: as `phonemize`.
        """
        if self.language is None:
            return
        asked = (text for text, own in zip(rows["text"], _own_of(rows), strict=True) if own is None)
        texts = [text for text in dict.fromkeys(asked) if isinstance(text, str) and text not in self.known]
        if texts:
            self.known.update(zip(texts, phonemize(texts, self.language), strict=True))

    def spoken(self, rows: Any) -> list[str | None]:
        """The phonemes of every row; `learn` came before. None where there are none.

        Args:
            rows: as for `learn`.
        """
        return [self._phonemes(text, own) for text, own in zip(rows["text"], _own_of(rows), strict=True)]

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with its phonemes.

        Args:
            row: with `text`, and `phonemes` if it has its own.
        """
        spoken = self._phonemes(row["text"], _own(row.get(COLUMN)))
        return dict(row) if spoken is None else {**row, self.place: spoken}

    def _phonemes(self, text: Any, own: str | None) -> str | None:
        if own is not None:
            return own
        if self.language is None:
            return text if self.place == "text" else None
        return self.known.get(text)


def _own_of(rows: Any) -> list[str | None]:
    """The column of all rows; None where a row has no phonemes of its own."""
    if COLUMN not in rows.column_names:
        return [None] * len(rows)
    return [_own(value) for value in rows[COLUMN]]


def _own(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
