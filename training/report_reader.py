"""The report of a run: what `report.json` must hold, read and checked before anything is said from it.

    from aural.training.report_reader import read_report
    read_report("demo/report.json").results[0].wer.value

What is notable here:

- a field that is missing or of another type is a `ValueError` that names the file and the field;
- every error rate is counted again from the transcripts beside it: a number that was typed, or that belongs to other
  transcripts, does not pass;
- fields that this version does not know are left alone, a later format is refused by name.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .metrics import count_edits
from .reports import REPORT_FORMAT

LARGEST = 1e9  # hours, seconds, rates: beyond it nothing was measured
TOLERANCE = 1e-9  # of an error rate, between the report and its transcripts: what JSON and summation may lose

LICENSE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")  # the Hub's identifiers, such as cc-by-sa-3.0
LANGUAGE = re.compile(r"[a-z]{2,3}|multilingual")

Plain = str | int | float | bool | None


@dataclass(frozen=True)
class Rate:
    """An error rate of a corpus.

    Attributes:
        value: edits over reference units, a share.
        interval: 95% interval, low and high.
        units: reference words or characters.
    """

    value: float
    interval: tuple[float, float]
    units: int


@dataclass(frozen=True)
class Utterance:
    """One clip's text as spoken and as written, with its word errors and its number of spoken words."""

    spoken: str
    written: str
    errors: int
    words: int

    @property
    def error_rate(self) -> float:
        """Word errors over spoken words; each error counts whole where nothing was spoken."""
        return self.errors / max(self.words, 1)


@dataclass(frozen=True)
class Result:
    """What a model did with one data set.

    Attributes:
        dataset, split, about: which recordings, and what they show.
        wer, cer: word and character error rate.
        utterances: every clip, in order.
    """

    dataset: str
    split: str
    about: str
    wer: Rate
    cer: Rate
    utterances: tuple[Utterance, ...]


@dataclass(frozen=True)
class Source:
    """Training data: its name, licence, hours of audio if they are known, and where it comes from."""

    name: str
    license: str
    hours: float | None
    source: str


@dataclass(frozen=True)
class Report:
    """A run's report; texts are as the run wrote them, to be escaped where they are shown.

    Attributes:
        title, about: name of the model, and one sentence on it.
        language: ISO 639 code, or `"multilingual"`.
        license: the Hub's identifier of the model's licence.
        base_model: what was fine-tuned, or None.
        data: what the model was trained on.
        recipe: settings by name.
        seed: what the run followed from.
        seconds: wall time of `training` and in `total`; None where it was not measured.
        machine: `processor`, `cores`, `threads`, `device`, `peak_memory_gb`.
        versions: of the libraries, by name.
        limits: what the model cannot do.
        results: one per data set measured on.
        example: `spoken` and `written` of the clip in the picture.
    """

    title: str
    about: str
    language: str
    license: str
    base_model: str | None
    data: tuple[Source, ...]
    recipe: dict[str, Any]
    seed: int
    seconds: dict[str, float | None]
    machine: dict[str, Plain]
    versions: dict[str, str]
    limits: tuple[str, ...]
    results: tuple[Result, ...]
    example: dict[str, str]


def read_report(path: str | Path) -> Report:
    """Read and check a report.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON object, a later aural wrote it, a field is missing or ill-typed, or an error rate
            does not follow from its transcripts.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: a card says only what it holds. `aural demo` writes it, and AuralTrainer's "
            f"create_model_card(license=…, language=…, dataset=…) does so for a training of your own"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}; a report is a JSON object")
    record = _Record(values, path)
    version = record.whole("format", least=1)
    if version > REPORT_FORMAT:
        raise ValueError(
            f"{path} has format {version}, written by a newer aural; this one reads format {REPORT_FORMAT}"
        )
    return _read(record)


@dataclass(frozen=True)
class _Record:
    """A JSON object that knows its place, so that an error can name file and field."""

    values: dict[str, Any]
    file: Path
    place: str = ""

    def fail(self, name: str, wanted: str) -> NoReturn:
        if name not in self.values:
            raise ValueError(f"{self.file}: {self.place}{name} is missing; it must be {wanted}")
        shown = repr(self.values[name])
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        raise ValueError(f"{self.file}: {self.place}{name} is {shown}; it must be {wanted}")

    def text(self, name: str, empty: bool = False) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not (empty or value.strip()):
            self.fail(name, "a text" if empty else "a text that is not empty")
        return value

    def code(self, name: str, pattern: re.Pattern[str], wanted: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.fail(name, wanted)
        return value

    def number(self, name: str) -> float:
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
            self.fail(name, f"a number from 0 to {LARGEST:g}")
        return value

    def number_or_null(self, name: str) -> float | None:
        return None if name in self.values and self.values[name] is None else self.number(name)

    def whole(self, name: str, least: int = 0) -> int:
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.fail(name, f"a whole number of at least {least}")
        return value

    def interval(self, name: str) -> tuple[float, float]:
        ends = self.values.get(name)
        if not isinstance(ends, list) or len(ends) != 2:
            self.fail(name, "[low, high]")
        low, high = (_Record({name: end}, self.file, self.place).number(name) for end in ends)
        if low > high:
            self.fail(name, "[low, high], low first")
        return low, high

    def texts(self, name: str) -> tuple[str, ...]:
        values = self.values.get(name)
        if not isinstance(values, list) or not values or not all(isinstance(v, str) and v.strip() for v in values):
            self.fail(name, "a list of texts, at least one, none of them empty")
        return tuple(values)

    def record(self, name: str) -> "_Record":
        value = self.values.get(name)
        if not isinstance(value, dict):
            self.fail(name, "an object")
        return _Record(value, self.file, f"{self.place}{name}.")

    def records(self, name: str) -> "list[_Record]":
        values = self.values.get(name)
        if not isinstance(values, list) or not values or not all(isinstance(value, dict) for value in values):
            self.fail(name, "a list of objects, at least one")
        return [_Record(value, self.file, f"{self.place}{name}[{i}].") for i, value in enumerate(values)]

    def plain(self, name: str) -> Plain:
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


def _read(record: _Record) -> Report:
    machine, seconds, example = (record.record(name) for name in ("machine", "seconds", "example"))
    versions = machine.record("versions")
    if "base_model" not in record.values or record.values["base_model"] is not None:
        record.text("base_model")
    return Report(
        title=record.text("title"),
        about=record.text("about"),
        language=record.code("language", LANGUAGE, "an ISO 639 code such as 'en', or 'multilingual'"),
        license=record.code("license", LICENSE, "an identifier such as 'cc-by-sa-3.0' (licence field required)"),
        base_model=record.values["base_model"],
        data=tuple(
            Source(entry.text("name"), entry.text("license"), entry.number_or_null("hours"), entry.text("source"))
            for entry in record.records("data")
        ),
        recipe=record.flat("recipe"),
        seed=record.whole("seed"),
        seconds={name: seconds.number_or_null(name) for name in ("training", "total")},
        machine={name: machine.plain(name) for name in ("processor", "cores", "threads", "device", "peak_memory_gb")},
        versions={name: versions.text(name) for name in ("aural", *versions.values)},
        limits=record.texts("limits"),
        results=tuple(_read_result(entry) for entry in record.records("results")),
        example={name: example.text(name, empty=True) for name in ("spoken", "written")},
    )


def _read_result(record: _Record) -> Result:
    pairs = record.records("transcripts")
    spoken, written = ([pair.text(name, empty=True) for pair in pairs] for name in ("spoken", "written"))
    if record.whole("utterances", least=1) != len(pairs):
        record.fail("utterances", f"the number of transcripts, which is {len(pairs)}: all are needed")
    errors, words = _check_rate(record, "wer", "word", spoken, written)
    _check_rate(record, "cer", "character", spoken, written)
    return Result(
        dataset=record.text("dataset"),
        split=record.text("split"),
        about=record.text("about"),
        wer=Rate(record.number("wer"), record.interval("wer_interval"), record.whole("words")),
        cer=Rate(record.number("cer"), record.interval("cer_interval"), record.whole("characters")),
        utterances=tuple(map(Utterance, spoken, written, errors, words)),
    )


def _check_rate(
    record: _Record, name: str, unit: str, spoken: list[str], written: list[str]
) -> tuple[list[int], list[int]]:
    """Count again from the transcripts; gives each clip's edits and reference units."""
    kinds, units = count_edits(spoken, written, unit)  # (utterances, 3), (utterances,)
    edits, total = kinds.sum(axis=1), int(units.sum())
    if record.whole(f"{unit}s", least=1) != total:
        record.fail(f"{unit}s", f"what its transcripts hold, {total}")
    if abs(record.number(name) - edits.sum() / total) > TOLERANCE:
        record.fail(name, f"what its transcripts give, {edits.sum() / total!r}")
    return edits.tolist(), units.tolist()
