"""Model cards: README.md of a model folder, generated from the run's `report.json`, never typed.

    from aural.training.cards import write_card
    write_card("las-demo")  # the folder holds config.json, report.json and, if there is a picture, alignment.png

What is notable here:

- every number is the report's or counted from its transcripts (`report_reader.py` checks one against the other);
- text from outside is escaped: whatever a title, a transcript or a folder's name holds, it is shown as text, in the
  body as in the YAML front matter;
- the same folder gives the same bytes, on any machine: nothing of the day, the path or the installed versions enters;
- the card is checked before it takes the place of an earlier one.
"""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.utils import validate_repo_id

from ..processing.files import write_whole
from .citations import bibtex
from .markdown import bullets, escape, label, table
from .report_reader import Rate, Report, Result, Utterance, read_report
from .reports import REPORT_NAME

PICTURE, CARD = "alignment.png", "README.md"
PIPELINES = {"las": "automatic-speech-recognition"}  # by model type
METRICS = {"wer": "Word error rate", "cer": "Character error rate"}
SHOWN = 5  # best transcripts, and as many worst

WITH_AURAL = """\
With aural installed:

```python
import aural

print(aural.transcribe("speech.wav", {model})[0].text)
```
"""
WITH_TRANSFORMERS = """\
{heading}

```python
import soundfile
from transformers import pipeline
{imports}
recognizer = pipeline("automatic-speech-recognition", model={model}, trust_remote_code=True)
audio, rate = soundfile.read("speech.wav", dtype="float32")  # mono, at recognizer.feature_extractor.sampling_rate
print(recognizer({{"raw": audio, "sampling_rate": rate}})["text"])
```
"""


def render_card(folder: str | Path, repo_id: str | None = None) -> ModelCard:
    """The card of the model in a folder; `str` of it is the text.

    Args:
        folder: holds `config.json`, `report.json` and, if there is a picture, `alignment.png`.
        repo_id: what the code in the card loads; default: the folder's name, which works beside the folder.

    Raises:
        FileNotFoundError: `config.json` or `report.json` is missing.
        ValueError: one of them does not hold what it must, or the model type has no card.
    """
    folder = Path(folder)
    report = read_report(folder / REPORT_NAME)
    config = _read_config(folder / "config.json")
    name = repo_id or folder.resolve().name
    text = _template().substitute(
        title=escape(report.title),
        about=escape(report.about),
        base_model=_base_model(report.base_model),
        picture=_picture(report) if (folder / PICTURE).is_file() else "",
        results=_results_table(report.results),
        results_notes=bullets(f"{_name(result)}: {escape(result.about)}" for result in report.results),
        usage=_usage(name, travels="auto_map" in config),
        data=_data_table(report),
        license=report.license,
        recipe=_settings_table({**report.recipe, "seed": report.seed}),
        machine=_machine_table(report),
        transcripts=_transcripts(report.results[0]),
        limits=bullets(map(escape, report.limits)),
        citation=f"```bibtex\n{bibtex(config, report.versions['aural'])}\n```",
    )
    body = re.sub(r"\n{3,}", "\n\n", text)  # where a part is empty
    return ModelCard(f"---\n{_metadata(report, config).to_yaml()}\n---\n\n{body}")


def check_card(text: str, folder: str | Path) -> None:
    """Check a card's text against the report in a folder, offline.

    Raises:
        ValueError: the front matter does not parse, the licence is missing or another, or the metrics are not the
            report's.
        OSError: the report cannot be read.
    """
    report = read_report(Path(folder) / REPORT_NAME)
    try:
        data = ModelCard(text).data
    except Exception as error:  # YAML raises its own
        raise ValueError(f"the card's front matter cannot be read: {error}") from error
    if not data.get("license"):
        raise ValueError("the card's front matter has no license: licence field required")
    expected = {"license": report.license, "language": report.language, "eval_results": _eval_results(report)}
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
    task = PIPELINES[config["model_type"]]
    return ModelCardData(
        language=report.language,
        license=report.license,
        library_name="transformers",
        pipeline_tag=task,
        tags=["aural", config["model_type"], task],
        base_model=report.base_model if _is_repo_id(report.base_model) else None,
        metrics=list(METRICS),
        model_name=label(report.title),
        eval_results=_eval_results(report),
    )


def _is_repo_id(name: str | None) -> bool:
    """The Hub refuses a card whose base is no id, and takes a bare name for another's; a folder is for the body."""
    try:
        validate_repo_id(name)
    except ValueError:
        return False
    return name is not None and "/" in name


def _eval_results(report: Report) -> list[EvalResult]:
    results = []
    taken: set[tuple[str, str]] = set()
    for result in report.results:
        split, kind = label(result.split), _dataset_id(result, taken)
        for metric, rate in (("wer", result.wer), ("cer", result.cer)):
            args = {"clips": len(result.utterances), "interval_95": list(rate.interval)}
            results.append(
                EvalResult(
                    task_type="automatic-speech-recognition",
                    task_name="Automatic Speech Recognition",
                    dataset_type=kind,
                    dataset_name=label(result.dataset),
                    dataset_split=split,
                    metric_type=metric,
                    metric_name=METRICS[metric],
                    metric_value=rate.value,
                    metric_args=args,
                )
            )
    return results


def _dataset_id(result: Result, taken: set[tuple[str, str]]) -> str:
    """The data set's name as an identifier; numbered where two results would be merged under one."""
    stem = re.sub(r"[^a-z0-9]+", "-", result.dataset.lower()).strip("-") or "dataset"
    name, number = stem, 1
    while (name, label(result.split)) in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add((name, label(result.split)))
    return name


def _shown(value: Any) -> str:
    """A setting as text: lists with commas, yes and no, a dash for nothing."""
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "–"
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "–"}[value]
    return escape(str(value)) if isinstance(value, str) else str(value)


def _settings_table(settings: dict[str, Any]) -> str:
    return table(("Setting", "Value"), ((escape(name), _shown(value)) for name, value in settings.items()))


def _base_model(base: str | None) -> str:
    return f"Fine-tuned from {escape(base)}." if base else "Trained from scratch: it has no base model."


def _picture(report: Report) -> str:
    example = report.example
    return (
        f"![Where the model listens as it writes]({PICTURE})\n\n"
        f"Where the model listened. Spoken: “{escape(example['spoken'])}”; written: “{escape(example['written'])}”."
    )


def _name(result: Result) -> str:
    return f"{escape(result.dataset)} ({escape(result.split)})"


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.value:.1%} ({low:.1%} to {high:.1%})"


def _results_table(results: Iterable[Result]) -> str:
    header = ("Data", "Clips", *(f"{name} (95% interval)" for name in METRICS.values()))
    rows = ((_name(each), str(len(each.utterances)), _rate(each.wer), _rate(each.cer)) for each in results)
    return table(header, rows)


def _usage(name: str, travels: bool) -> str:
    """Code that loads the model; without aural it runs only where the folder brings its own code."""
    model = json.dumps(name, ensure_ascii=False)
    heading = "With transformers alone:" if travels else "As a pipeline of transformers, in which aural enters it:"
    imports = "" if travels else "\nimport aural  # registers the model type\n"
    return "\n".join(
        [WITH_AURAL.format(model=model), WITH_TRANSFORMERS.format(heading=heading, imports=imports, model=model)]
    )


def _data_table(report: Report) -> str:
    rows = (
        (escape(s.name), escape(s.license), "–" if s.hours is None else f"{s.hours:.3g}", escape(s.source))
        for s in report.data
    )
    return table(("Data", "Licence", "Hours", "Source"), rows)


def _machine_table(report: Report) -> str:
    times = {
        f"{part}, h:mm:ss": None if s is None else str(timedelta(seconds=round(s)))
        for part, s in report.seconds.items()
    }
    facts = {name.replace("_", " "): value for name, value in report.machine.items()}
    return _settings_table({**facts, **times, **report.versions})


def choose_transcripts(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """The best and the worst by word errors over spoken words, five of each and none twice.

    Of equally good ones the longest come first, since a perfect word says little; other ties keep their order. Of
    fewer than ten, all are the best, in that order.
    """
    best = sorted(utterances, key=lambda each: (each.error_rate, -each.words))
    if len(best) < 2 * SHOWN:
        return best, []
    chosen = {id(each) for each in best[:SHOWN]}
    rest = [each for each in utterances if id(each) not in chosen]
    return best[:SHOWN], sorted(rest, key=lambda each: -each.error_rate)[:SHOWN]


def _transcripts(result: Result) -> str:
    best, worst = choose_transcripts(result.utterances)
    if not worst:
        return f"All of {_name(result)}, best first.\n\n{_pairs_table(best)}"
    return (
        f"Of the {len(result.utterances)} clips of {_name(result)}, the {SHOWN} best, longest first where equally "
        f"good:\n\n{_pairs_table(best)}\n\nThe {SHOWN} worst:\n\n{_pairs_table(worst)}"
    )


def _pairs_table(utterances: Iterable[Utterance]) -> str:
    rows = (
        (escape(each.spoken) or "–", escape(each.written) or "–", f"{each.errors} of {each.words}")
        for each in utterances
    )
    return table(("Spoken", "Written", "Word errors"), rows)
