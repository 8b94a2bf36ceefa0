"""One form for the targets of several sources: normalised texts, and labels by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Features, List, Value

from .data import UNDECODED
from .normalization import normalize_text
from .row_rules import normalized_texts
from .sound_labels import class_names


@dataclass(frozen=True)
class TargetForm:
    """How the targets of all sources are written.

    Attributes:
        target: "text", "label" or "audio".
        normalization: of texts.
        several: whether there is more than one source.
        as_names: labels become names, whatever numbers a source has for them.
        as_lists: labels, or texts, become lists.
    """

    target: str
    normalization: str
    several: bool
    as_names: bool
    as_lists: bool

    @property
    def changes(self) -> bool:
        """Whether any target may be written in another way."""
        rewritten = self.normalization != "none" if self.target == "text" else self.as_names
        return rewritten or self.as_lists

    def applied(self, rows: Any) -> Any:
        """Rows whose targets, and whose audio in a stream, have this form.

        Args:
            rows: a `Dataset` or an `IterableDataset` with `audio` and the target.
        """
        features = rows.features or {}
        rewrite = _Rewrite(self, class_names(rows) if self.target == "label" else None)
        if isinstance(rows, Dataset):
            if not (self.changes or (self.target == "text" and features["text"] != Value("string"))):
                return rows
            values = [rewrite.value(value) for value in rows[self.target][:]]
            kind = List(Value("string")) if self.target == "text" and self.as_lists else None
            return rows.remove_columns(self.target).add_column(self.target, values, feature=kind)
        known = {**features, "audio": features["audio"] if _is_array(features["audio"]) else UNDECODED}
        if self.target == "text":
            known["text"] = List(Value("string")) if self.as_lists else Value("string")
        elif self.changes:
            known["label"] = [Value("string")] if self.as_lists else Value("string")
        return rows.map(rewrite, features=Features(known))


def common_form(parts: Sequence[Any], target: str, normalization: str) -> TargetForm:
    """The form for these sources' rows; a single source's labels stay as they are."""
    if target == "audio":
        return TargetForm(target, "none", len(parts) > 1, False, False)
    kinds = [(part.features or {}).get(target) for part in parts]
    lists = [_is_list(kind) for kind in kinds]
    if target == "text":  # of several captions to a clip, all clips have lists
        return TargetForm(target, normalization, len(parts) > 1, False, any(lists))
    known = [
        (class_names(part), getattr(_inner(kind), "dtype", None)) for part, kind in zip(parts, kinds, strict=True)
    ]
    differ = len(set(lists)) > 1 or any(one != known[0] for one in known)
    return TargetForm(target, normalization, len(parts) > 1, differ, differ and any(lists))


@dataclass(frozen=True)
class _Rewrite:
    """One row in the form that is asked for; picklable, for `IterableDataset.map`."""

    form: TargetForm
    classes: list[str] | None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        audio = row["audio"]
        if isinstance(audio, str):
            audio = {"bytes": None, "path": audio}
        elif isinstance(audio, bytes):
            audio = {"bytes": audio, "path": None}
        target = {} if self.form.target == "audio" else {self.form.target: self.value(row[self.form.target])}
        return {"audio": audio, **target}

    def value(self, value: Any) -> Any:
        """A text or a label as it is to be written; another type of text stays, to be told when the clip is read."""
        if self.form.target == "text":
            if self.form.as_lists and isinstance(value, str | list):
                texts = normalized_texts([value] if isinstance(value, str) else value, self.form.normalization)
                return [text for text in texts if text.strip()]
            return normalize_text(value, self.form.normalization) if isinstance(value, str) else value
        if not self.form.as_names:
            return value
        names = [self._name(one) for one in (value if isinstance(value, (list, tuple)) else [value])]
        return names if self.form.as_lists else names[0]

    def _name(self, label: Any) -> str:
        known = self.classes is not None and isinstance(label, int) and 0 <= label < len(self.classes)
        return self.classes[label] if self.classes is not None and known else str(label)


def _is_list(feature: Any) -> bool:
    return isinstance(feature, list) or hasattr(feature, "feature")


def _inner(feature: Any) -> Any:
    return feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)


def _is_array(feature: Any) -> bool:
    """Whether a column's audio is decoded already: `{"array", "sampling_rate"}`."""
    return isinstance(feature, dict) and "array" in feature
