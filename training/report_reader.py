"""The report of a run: what `report.json` must hold, read and checked before anything is said from it.

    from aural.training.report_reader import read_report
    read_report("demo/report.json").results[0].measures["wer"].value

What is notable here:

- a field that is missing or of another type is a `ValueError` that names the file and the field;
- every score is counted again from the predictions beside it: a number that was typed, or that belongs to other
  predictions, does not pass;
- `KINDS` has the reader of every kind of result: texts, tags, events, captions, masked patches;
- fields that this version does not know are left alone, a later format is refused by name.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .caption_results import CaptionResult, read_captions
from .deletion_results import Deletion, read_deletion
from .masked_results import MaskedResult, read_masked
from .report_record import Plain, Record, Result
from .reports import REPORT_FORMAT
from .sound_results import EventResult, TagResult, read_events, read_tags
from .text_results import TextResult, read_texts

LICENSE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")  # the Hub's identifiers, such as cc-by-sa-3.0
LANGUAGE = re.compile(r"[a-z]{2,3}|multilingual")
SHA256 = re.compile(r"[0-9a-f]{64}")

KINDS: dict[str, Callable[[Record], Result]] = {
    TextResult.kind: read_texts,
    TagResult.kind: read_tags,
    EventResult.kind: read_events,
    CaptionResult.kind: read_captions,
    MaskedResult.kind: read_masked,
}


@dataclass(frozen=True)
class Source:
    """Training data: its name, licences, hours of audio if they are known, and where it comes from."""

    name: str
    licenses: tuple[str, ...]
    hours: float | None
    source: str


@dataclass(frozen=True)
class Conversion:
    """Where a converted model's weights come from.

    Attributes:
        file, sha256: the source's name and checksum.
        dialect: whose format it is.
        license: the source's, as whoever converted it told.
        unused: names of the source's tensors that have no place in the model.
        note: one more sentence, or None.
    """

    file: str
    sha256: str
    dialect: str
    license: str
    unused: tuple[str, ...]
    note: str | None


@dataclass(frozen=True)
class Report:
    """A run's report; texts are as the run wrote them, to be escaped where they are shown.

    Attributes:
        title, about: name of the model, and one sentence on it.
        language: ISO 639 code, or `"multilingual"`; None only where nothing is written.
        license: the Hub's identifier of the model's licence.
        base_model: what was fine-tuned or converted, or None.
        data: what the model was trained on.
        recipe: settings by name.
        seed: what the run followed from; None only of a conversion.
        seconds: wall time of `training` and in `total`; None where it was not measured.
        machine: `processor`, `cores`, `threads`, `device`, `peak_memory_gb`.
        versions: of the libraries, by name.
        limits: what the model cannot do.
        results: one per data set, kind and system measured; of a conversion there may be none.
        example: of the picture: `spoken` and `written`, or `caption`; None where the report has none.
        converted: where the weights come from, if they were converted.
        deletion: what muting costs, if that was measured.
    """

    title: str
    about: str
    language: str | None
    license: str
    base_model: str | None
    data: tuple[Source, ...]
    recipe: dict[str, Any]
    seed: int | None
    seconds: dict[str, float | None]
    machine: dict[str, Plain]
    versions: dict[str, str]
    limits: tuple[str, ...]
    results: tuple[Result, ...]
    example: dict[str, str] | None
    converted: Conversion | None
    deletion: Deletion | None


def read_report(path: str | Path) -> Report:
    """Read and check a report.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON object, a later aural wrote it, a field is missing or ill-typed, or a score does
            not follow from its predictions.
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
    record = Record(values, path)
    version = record.whole("format", least=1)
    if version > REPORT_FORMAT:
        raise ValueError(
            f"{path} has format {version}, written by a newer aural; this one reads format {REPORT_FORMAT}"
        )
    return _read(record)


def _read(record: Record) -> Report:
    converted = _read_conversion(record.record("converted")) if record.values.get("converted") is not None else None
    results = tuple(map(_read_result, record.records("results", empty=converted is not None)))
    machine, seconds = record.record("machine"), record.record("seconds")
    versions = machine.record("versions")
    if "base_model" not in record.values or record.values["base_model"] is not None:
        record.text("base_model")
    return Report(
        title=record.text("title"),
        about=record.text("about"),
        language=_read_language(record, any(isinstance(result, TextResult | CaptionResult) for result in results)),
        license=record.code("license", LICENSE, "an identifier such as 'cc-by-sa-3.0' (licence field required)"),
        base_model=record.values["base_model"],
        data=tuple(map(_read_source, record.records("data", empty=converted is not None))),
        recipe=record.flat("recipe"),
        seed=None if converted is not None and record.values.get("seed") is None else record.whole("seed"),
        seconds={name: seconds.number_or_null(name) for name in ("training", "total")},
        machine={name: machine.plain(name) for name in ("processor", "cores", "threads", "device", "peak_memory_gb")},
        versions={name: versions.text(name) for name in ("aural", *versions.values)},
        limits=record.texts("limits"),
        results=results,
        example=_read_example(record, bool(results) and isinstance(results[0], TextResult)),
        converted=converted,
        deletion=None if record.values.get("deletion") is None else read_deletion(record.record("deletion")),
    )


def _read_result(record: Record) -> Result:
    kind = record.text("kind") if "kind" in record.values else TextResult.kind
    if kind not in KINDS:
        record.fail("kind", f"one of {', '.join(KINDS)}")
    return KINDS[kind](record)


def _read_language(record: Record, written: bool) -> str | None:
    """Of what is written; sounds have none."""
    if record.values.get("language") is None and not written:
        return None
    return record.code("language", LANGUAGE, "an ISO 639 code such as 'en', or 'multilingual'")


def _read_source(record: Record) -> Source:
    several = isinstance(record.values.get("license"), list)
    licenses = record.texts("license") if several else (record.text("license"),)
    return Source(record.text("name"), licenses, record.number_or_null("hours"), record.text("source"))


def _read_example(record: Record, written: bool) -> dict[str, str] | None:
    if written:
        example = record.record("example")
        return {name: example.text(name, empty=True) for name in ("spoken", "written")}
    if record.values.get("example") is None:
        return None
    return {"caption": record.record("example").text("caption")}


def _read_conversion(record: Record) -> Conversion:
    return Conversion(
        file=record.text("file"),
        sha256=record.code("sha256", SHA256, "64 hexadecimal digits"),
        dialect=record.text("dialect"),
        license=record.text("license"),
        unused=record.texts("unused", empty=True),
        note=None if record.values.get("note") is None else record.text("note"),
    )
