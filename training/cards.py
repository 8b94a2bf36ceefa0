"""Model cards: README.md of a model folder, generated from the run's `report.json`, never typed.

    from aural.training.cards import write_card
    write_card("las-demo")  # the folder holds config.json, report.json and, if there is a picture, alignment.png

What is notable here:

- every number is the report's or counted from its predictions (`report_reader.py` checks one against the other);
- `KINDS` has what is said of every kind of result: texts, tags, events, captions; a section of which nothing is said
  is left out;
- text from outside is escaped: whatever a title, a transcript or a folder's name holds, it is shown as text, in the
  body as in the YAML front matter;
- the same folder gives the same bytes, on any machine: nothing of the day, the path or the installed versions enters;
- the card is checked before it takes the place of an earlier one.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.utils import validate_repo_id

from ..processing.files import write_whole
from .adapters import refuse_adapter_folder
from .caption_results import CAPTIONS_NOTE, CaptionResult, caption_clips, caption_slots
from .card_results import eval_results, results_notes, results_table
from .card_sounds import TAGS_NOTE, confusions, event_classes, event_clips, events_note, tag_classes, tag_clips
from .card_texts import NOTE, transcripts
from .card_texts import caption as text_caption
from .card_usage import PIPELINES, task_of, usage
from .citations import bibtex
from .deletion_results import deletion_section
from .markdown import bullets, escape, label, table
from .masked_results import MASKED_NOTE
from .report_reader import Conversion, Report, Result, read_report
from .reports import REPORT_NAME

CARD = "README.md"
UNMEASURED = "Nothing was measured after the conversion."


@dataclass(frozen=True)
class _Kind:
    """What a card says of a kind of result, beside its row in the table: each of the first result of the kind.

    Attributes:
        note: how it was measured.
        picture: file name, and what it shows.
        sections: of the template, by name.
    """

    note: Callable[[Any], str]
    picture: tuple[str, str]
    sections: dict[str, Callable[[Any], str]]


KINDS = {
    "texts": _Kind(
        lambda _: NOTE, ("alignment.png", "Where the model listens as it writes"), {"transcripts": transcripts}
    ),
    "tags": _Kind(
        lambda _: TAGS_NOTE,
        ("tags.png", "What the model hears"),
        {"classes": tag_classes, "confusions": confusions, "clips": tag_clips},
    ),
    "events": _Kind(
        events_note, ("events.png", "What the model hears, and when"), {"classes": event_classes, "clips": event_clips}
    ),
    "captions": _Kind(
        lambda _: CAPTIONS_NOTE,
        ("captions.png", "Where each word of a caption looked"),
        {"classes": caption_slots, "clips": caption_clips},
    ),
    "masked": _Kind(lambda _: MASKED_NOTE, ("masked.png", "What was masked, and what the model makes of it"), {}),
}
SECTIONS = sorted({name for kind in KINDS.values() for name in kind.sections})


def render_card(folder: str | Path, repo_id: str | None = None) -> ModelCard:
    """The card of the model in a folder; `str` of it is the text.

    Args:
        folder: holds `config.json`, `report.json` and, if there is a picture, the file that `KINDS` names, such as
            `alignment.png`.
        repo_id: what the code in the card loads; default: the folder's name, which works beside the folder.

    Raises:
        FileNotFoundError: `config.json` or `report.json` is missing.
        ValueError: one of them does not hold what it must, the model type has no card, or the folder holds an adapter.
    """
    folder = Path(folder)
    refuse_adapter_folder(folder)
    report = read_report(folder / REPORT_NAME)
    config = _read_config(folder / "config.json")
    name = repo_id or folder.resolve().name
    dialect = report.converted.dialect if report.converted else ""
    text = _template().substitute(
        title=escape(report.title),
        about=escape(report.about),
        base_model=_base_model(report),
        picture=_picture(report, folder),
        results=_results(report),
        usage=usage(name, config, any(result.kind == CaptionResult.kind for result in report.results)),
        data=_data_table(report),
        license=report.license,
        conversion=_conversion(report.converted) if report.converted else "",
        recipe=_settings_table(report.recipe if report.seed is None else {**report.recipe, "seed": report.seed}),
        machine=_machine_table(report),
        **_sections(report),
        deletion=deletion_section(report.deletion) if report.deletion else "",
        limits=bullets(map(escape, report.limits)),
        citation=f"```bibtex\n{bibtex(config, report.versions['aural'], dialect)}\n```",
    )
    body = re.sub(r"\n{3,}", "\n\n", text)  # where a part is empty
    body = re.sub(r"^## .+\n\n(?=## )", "", body, flags=re.MULTILINE)  # and a section
    return ModelCard(f"---\n{_metadata(report, config).to_yaml()}\n---\n\n{body}")


def check_card(text: str, folder: str | Path) -> None:
    """Check a card's text against the report in a folder, offline.

    Raises:
        ValueError: the front matter does not parse, the licence is missing or another, or the metrics are not the
            report's.
        OSError: the report or `config.json` cannot be read.
    """
    report = read_report(Path(folder) / REPORT_NAME)
    config = _read_config(Path(folder) / "config.json")
    try:
        data = ModelCard(text).data
    except Exception as error:  # YAML raises its own
        raise ValueError(f"the card's front matter cannot be read: {error}") from error
    if not data.get("license"):
        raise ValueError("the card's front matter has no license: licence field required")
    results = eval_results(report.results, task_of(config)) or None
    expected = {"license": report.license, "language": report.language, "eval_results": results}
    for name, value in expected.items():
        if data.get(name) != value:
            shown = "model-index" if name == "eval_results" else name
            raise ValueError(f"the card's {shown} is not that of {Path(folder) / REPORT_NAME}")


def write_card(folder: str | Path, repo_id: str | None = None) -> Path:
    """Render, check and write `README.md` into a model folder, whole or not at all.

    Args:
        folder: as for `render_card`.
        repo_id: as for `render_card`.

    Returns:
        The file written; an earlier one is replaced.

    Raises:
        OSError, ValueError: as `render_card`; an earlier card is then left as it was.
    """
    folder = Path(folder)
    text = str(render_card(folder, repo_id))
    check_card(text, folder)
    return write_whole(folder / CARD, text)


def _template() -> Template:
    return Template(files("aural.model_cards").joinpath("template.md").read_text(encoding="utf-8"))


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: a card belongs in a folder that `save_pretrained` wrote")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in PIPELINES:
        raise ValueError(f"{path}: model_type is {kind!r}; there are cards for {', '.join(PIPELINES)}")
    return config


def _metadata(report: Report, config: dict[str, Any]) -> ModelCardData:
    task = task_of(config)
    results = eval_results(report.results, task)
    return ModelCardData(
        language=report.language,
        license=report.license,
        library_name="transformers",
        pipeline_tag=task,
        tags=["aural", config["model_type"], task],
        base_model=report.base_model if _is_repo_id(report.base_model) else None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=label(report.title) if results else None,
        eval_results=results or None,
    )


def _is_repo_id(name: str | None) -> bool:
    """The Hub refuses a card whose base is no id, and takes a bare name for another's; a folder is for the body."""
    try:
        validate_repo_id(name)
    except ValueError:
        return False
    return name is not None and "/" in name


def _shown(value: Any) -> str:
    """A setting as text: lists with commas, yes and no, a dash for nothing."""
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "–"
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "–"}[value]
    return escape(str(value)) if isinstance(value, str) else str(value)


def _settings_table(settings: dict[str, Any]) -> str:
    if not settings:
        return ""
    return table(("Setting", "Value"), ((escape(name), _shown(value)) for name, value in settings.items()))


def _base_model(report: Report) -> str:
    if report.converted:
        return f"Converted from {escape(report.base_model or report.converted.file)}."
    base = report.base_model
    return f"Fine-tuned from {escape(base)}." if base else "Trained from scratch: it has no base model."


def _picture(report: Report, folder: Path) -> str:
    """The picture of the first result's kind, if the folder has it."""
    if not report.results:
        return ""
    name, shows = KINDS[report.results[0].kind].picture
    if not (folder / name).is_file():
        return ""
    example = report.example or {"caption": ""}
    caption = escape(example["caption"]) if "caption" in example else text_caption(example)
    return f"![{shows}]({name})\n\n{caption}"


def _first_of_kinds(report: Report) -> list[Result]:
    """The first result of each kind that is there, the model's own if there is one."""
    first: dict[str, Result] = {}
    for result in report.results:
        if result.kind not in first or (first[result.kind].system and not result.system):
            first[result.kind] = result
    return list(first.values())


def _results(report: Report) -> str:
    if not report.results:
        return UNMEASURED
    notes = dict.fromkeys(KINDS[result.kind].note(result) for result in _first_of_kinds(report))
    return "\n\n".join([results_table(report.results), *notes, results_notes(report.results)])


def _sections(report: Report) -> dict[str, str]:
    """What each kind has to say in the sections of the template; empty where none has anything."""
    said: dict[str, list[str]] = {name: [] for name in SECTIONS}
    for result in _first_of_kinds(report):
        for name, write in KINDS[result.kind].sections.items():
            said[name].append(write(result))
    return {name: "\n\n".join(filter(None, texts)) for name, texts in said.items()}


def _conversion(source: Conversion) -> str:
    facts = {
        "source": source.file,
        "SHA-256": source.sha256,
        "format": source.dialect,
        "licence of the source, as told": source.license,
        "tensors not used": list(source.unused),
    }
    note = f"\n\n{escape(source.note)}" if source.note else ""
    return f"The weights were trained elsewhere and converted.\n\n{_settings_table(facts)}{note}"


def _data_table(report: Report) -> str:
    if not report.data:
        return ""
    rows = (
        (
            escape(source.name),
            ", ".join(map(escape, source.licenses)),
            "–" if source.hours is None else f"{source.hours:.3g}",
            escape(source.source),
        )
        for source in report.data
    )
    return table(("Data", "Licence", "Hours", "Source"), rows)


def _machine_table(report: Report) -> str:
    times = {
        f"{part}, h:mm:ss": None if s is None else str(timedelta(seconds=round(s)))
        for part, s in report.seconds.items()
    }
    facts = {name.replace("_", " "): value for name, value in report.machine.items()}
    return _settings_table({**facts, **times, **report.versions})
