"""What reports are read with: JSON objects that know their place, and what every kind of result has in common."""

import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeGuard

LARGEST = 1e9  # hours, seconds, rates: beyond it nothing was measured
TOLERANCE = 1e-9  # of a score, between the report and its predictions: what JSON and summation may lose

Plain = str | int | float | bool | None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


@dataclass(frozen=True)
class Record:
    """A JSON object that knows its place, so that an error can name file and field.

    Every method reads one field, by its name, and raises ValueError where it is not what the method is called.

    Attributes:
        values: the object.
        file: the report.
        place: where the object is in it, such as `results[0].`.
    """

    values: dict[str, Any]
    file: Path
    place: str = ""

    def fail(self, name: str, wanted: str) -> NoReturn:
        """Raise ValueError that names file, field, its value and what is wanted."""
        if name not in self.values:
            raise ValueError(f"{self.file}: {self.place}{name} is missing; it must be {wanted}")
        shown = repr(self.values[name])
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        raise ValueError(f"{self.file}: {self.place}{name} is {shown}; it must be {wanted}")

    def text(self, name: str, empty: bool = False) -> str:
        """A text, which may only be empty if told so."""
        value = self.values.get(name)
        if not isinstance(value, str) or not (empty or value.strip()):
            self.fail(name, "a text" if empty else "a text that is not empty")
        return value

    def code(self, name: str, pattern: re.Pattern[str], wanted: str) -> str:
        """A text that the pattern matches; `wanted` says it in words."""
        value = self.values.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.fail(name, wanted)
        return value

    def number(self, name: str) -> float:
        """A number that is not negative."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
            self.fail(name, f"a number from 0 to {LARGEST:g}")
        return value

    def finite(self, name: str) -> float:
        """A finite number of either sign."""
        value = self.values.get(name)
        if not _is_finite(value):
            self.fail(name, "a number")
        return value

    def number_or_null(self, name: str) -> float | None:
        """A number that is not negative, or null; not left out."""
        return None if name in self.values and self.values[name] is None else self.number(name)

    def numbers(self, name: str, amount: int) -> list[float]:
        """A list of so many finite numbers, of either sign."""
        values = self.values.get(name)
        if not isinstance(values, list) or len(values) != amount or not all(map(_is_finite, values)):
            self.fail(name, f"a list of {amount} numbers")
        return values

    def whole(self, name: str, least: int = 0) -> int:
        """A whole number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.fail(name, f"a whole number of at least {least}")
        return value

    def interval(self, name: str) -> tuple[float, float]:
        """A pair of numbers, low and high."""
        ends = self.values.get(name)
        if not isinstance(ends, list) or len(ends) != 2:
            self.fail(name, "[low, high]")
        low, high = (Record({name: end}, self.file, self.place).number(name) for end in ends)
        if low > high:
            self.fail(name, "[low, high], low first")
        return low, high

    def texts(self, name: str, empty: bool = False) -> tuple[str, ...]:
        """A list of texts, none of them empty; the list may be if told so."""
        values = self.values.get(name)
        least = 0 if empty else 1
        if not isinstance(values, list) or len(values) < least or not all(map(_is_text, values)):
            self.fail(name, f"a list of texts,{'' if empty else ' at least one,'} none of them empty")
        return tuple(values)

    def record(self, name: str) -> "Record":
        """An object."""
        value = self.values.get(name)
        if not isinstance(value, dict):
            self.fail(name, "an object")
        return Record(value, self.file, f"{self.place}{name}.")

    def records(self, name: str, empty: bool = False) -> "list[Record]":
        """A list of objects, which may only be empty if told so."""
        values = self.values.get(name)
        least = 0 if empty else 1
        if not isinstance(values, list) or len(values) < least or not all(isinstance(each, dict) for each in values):
            self.fail(name, f"a list of objects{'' if empty else ', at least one'}")
        return [Record(value, self.file, f"{self.place}{name}[{i}].") for i, value in enumerate(values)]

    def plain(self, name: str) -> Plain:
        """A text, a number, true, false or null; not left out."""
        value = self.values.get(name)
        if name not in self.values or not (value is None or isinstance(value, str | int | float)):
            self.fail(name, "a text, a number or null")
        return value

    def flat(self, name: str) -> dict[str, Any]:
        """Settings by name: texts, numbers, booleans, null, or lists of these."""
        record = self.record(name)
        for key, value in record.values.items():
            if any(isinstance(item, dict | list) for item in (value if isinstance(value, list) else [value])):
                record.fail(key, "flat: a text, a number, true, false, null, or a list of these")
        return record.values


@dataclass(frozen=True)
class Measure:
    """A number that a model is judged by.

    Attributes:
        value: None where it is not defined, or infinite.
        interval: 95% interval, low and high; None where there is none.
    """

    value: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Result:
    """What a model did with one data set; a subclass for each kind.

    Attributes:
        kind: as the report calls it.
        dataset, split, about: which recordings, and what they show.
        system: what did it, if it was not the report's model.
        clips: their number.
        measures: by the metric's name.
    """

    kind: ClassVar[str]
    dataset: str
    split: str
    about: str
    system: str | None
    clips: int
    measures: dict[str, Measure]


def read_head(record: Record) -> dict[str, Any]:
    """The fields of a result that no predictions are needed for: `dataset`, `split`, `about` and `system`."""
    system = record.text("system") if record.values.get("system") is not None else None
    return {**{name: record.text(name) for name in ("dataset", "split", "about")}, "system": system}


def read_measure(record: Record, name: str, counted: float, source: str, interval: bool = True) -> Measure:
    """A metric, refused if it is not what was counted again.

    Args:
        record: the result.
        name: of the metric.
        counted: what its predictions give; not finite where the report must have null.
        source: what these are called, such as "transcripts".
        interval: whether it has one.

    Raises:
        ValueError: the report says otherwise, or lacks the interval.
    """
    if not isfinite(counted):
        if name not in record.values or record.values[name] is not None:
            record.fail(name, f"null: its {source} do not define it")
        return Measure(None, None)
    value = record.finite(name)
    if abs(value - counted) > TOLERANCE:
        record.fail(name, f"what its {source} give, {counted!r}")
    return Measure(value, record.interval(f"{name}_interval") if interval else None)
