"""Which rows of a source are used, and as what: values of columns, lengths, and how texts and labels are written."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import ClassLabel

from ..processing.audio import audio_duration, load_audio
from .normalization import check_normalization, normalize_text
from .shared_counts import SharedCounts

SHOWN = 6  # values that a reason lists


class RowRules:
    """Whether a row is used, and the reason if not. Picklable, and a predicate for `IterableDataset.filter`.

    Args:
        where: allowed values by column; compared as text, since a folder's metadata.csv knows nothing else, and of
            a ClassLabel by name or number.
        target: "text" or "label".
        normalization: of texts, by name.
        min_seconds, max_seconds: shortest and longest clip, both kept; None is no limit.
        features: of the rows, where they are known.

    Raises:
        ValueError: an unknown normalization, limits that leave nothing, values that are not listed.
    """

    def __init__(
        self,
        where: Mapping[str, Sequence[Any]],
        target: str,
        normalization: str | None,
        min_seconds: float | None,
        max_seconds: float | None,
        features: Mapping[str, Any] | None,
    ) -> None:
        _check_limits(min_seconds, max_seconds)
        self.target = target
        self.normalization = check_normalization(normalization)
        self.min_seconds, self.max_seconds = min_seconds, max_seconds
        self.where: dict[str, set[str]] = {}
        for column, values in where.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
                raise ValueError(f"where[{column!r}] is {values!r}; expected a list of the values to keep")
            if features is not None and column not in features:
                raise ValueError(f"where has {column!r}; the columns are {', '.join(features)}")
            self.where[column] = {str(value) for value in values}
        self.classes = {column: _classes((features or {}).get(column)) for column in self.where}
        self.dropped = SharedCounts(self._reasons())

    def _reasons(self) -> list[str]:
        target = [f"{self.target} is missing", "text is empty", f"text has no spelling by {self.normalization!r}"]
        return [*map(self._other_value, self.where), *target, self._too_short, self._too_long]

    @property
    def _too_short(self) -> str:
        return f"shorter than {self.min_seconds} s"

    @property
    def _too_long(self) -> str:
        return f"longer than {self.max_seconds} s"

    def _other_value(self, column: str) -> str:
        values = sorted(self.where[column])
        return f"{column} is not {', '.join(values[:SHOWN])}{', …' if len(values) > SHOWN else ''}"

    @property
    def need_seconds(self) -> bool:
        """Whether lengths are looked at."""
        return self.min_seconds is not None or self.max_seconds is not None

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of a stream is used; counted if not."""
        reason = self.fault(row)
        if reason is None and self.need_seconds:
            reason = self.wrong_length(seconds_of(row))
        return self.counted(reason)

    def counted(self, reason: str | None) -> bool:
        """Count a reason; True if there is none."""
        if reason is not None:
            self.dropped.add(reason)
        return reason is None

    def fault(self, row: Mapping[str, Any]) -> str | None:
        """Why a row is not used, whatever its length; None if it is. Looks at `where` and `target` alone."""
        for column, allowed in self.where.items():
            value, classes = row[column], self.classes[column]
            names = {str(value)}
            if classes is not None and isinstance(value, int) and 0 <= value < len(classes):
                names.add(classes[value])
            if not names & allowed:
                return self._other_value(column)
        value = row[self.target]
        if value is None or (self.target == "label" and value == ""):
            return f"{self.target} is missing"
        if self.target == "text" and isinstance(value, str | list):  # another type is told when the clip is read
            texts = normalized_texts([value] if isinstance(value, str) else value, self.normalization)
            if not texts:
                return f"text has no spelling by {self.normalization!r}" if value else "text is empty"
            if not any(text.strip() for text in texts):
                return "text is empty"
        return None

    def wrong_length(self, seconds: float | None) -> str | None:
        """Why a clip of this length is not used; None if it is, or if its length cannot be told."""
        if seconds is None:
            return None
        if self.min_seconds is not None and seconds < self.min_seconds:
            return self._too_short
        return self._too_long if self.max_seconds is not None and seconds > self.max_seconds else None


def normalized_texts(texts: Sequence[Any], normalization: str | None) -> list[str]:
    """The spellings of a clip's texts, without those that have none."""
    spelt = (normalize_text(text, normalization) for text in texts if isinstance(text, str))
    return [text for text in spelt if text is not None]


def seconds_of(row: Mapping[str, Any]) -> float | None:
    """Length in seconds by the row's `duration`, else by the audio's header, else decoded; None if it is damaged."""
    if row.get("duration") is not None:
        return float(row["duration"])
    try:
        return audio_duration(row["audio"])
    except ValueError:  # a header without a length, perhaps
        pass
    except (OSError, TypeError):
        return None
    try:
        return len(load_audio(row["audio"], sampling_rate=16_000)) / 16_000
    except (OSError, ValueError, TypeError):
        return None


def _check_limits(shortest: float | None, longest: float | None) -> None:
    for name, value in (("min_seconds", shortest), ("max_seconds", longest)):
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value}; it must be above 0, or None")
    if shortest is not None and longest is not None and shortest > longest:
        raise ValueError(f"min_seconds is {shortest} and max_seconds {longest}; no clip is between them")


def _classes(feature: Any) -> list[str] | None:
    return list(feature.names) if isinstance(feature, ClassLabel) else None
