"""The report of a run: the one file that every number in a card or README comes from.

A report is plain JSON, `report.json`, written whole or not at all, and read by `report_reader.py`:

    format        1 for texts alone, 2 for what came later; a reader refuses a newer one by name
    title, about  what was trained, and what the results do and do not show
    language      an ISO 639 code or "multilingual"; null or left out for models of sounds
    license       of the model, by the Hub's identifier
    base_model    what was fine-tuned or converted; null for none
    data          [{name, license, hours, source}]; license is a text or a list of texts, hours may be null
    recipe        {name: value}; seed
    results       [{kind, dataset, split, about, …}], by kind as below; `system` names what did it, if not the model
    example       of the clip in the picture beside the report: {spoken, written} for texts, {caption} for sounds,
                  which may leave it out
    limits        [sentence]
    seconds       {training, total}, null where not measured
    machine       what it ran on, with versions
    converted     only of a model that was converted from another program's checkpoint

Results of *texts* (kind "texts", or none) are `score_texts` with all its transcripts:

    utterances, wer, wer_interval, words, …; transcripts: [{spoken, written}]

Results of *tags* are `sound_results.tag_result`:

    problem_type  "single_label_classification" or "multi_label_classification"
    classes       [name], in the order of the scores
    clips         their number; scored_classes: how many of the classes a clip has, over which the averages go
    accuracy, macro_recall, map (single-label), or map, auc, d_prime (multi-label), with accuracy_interval and so on
    predictions   [{name, labels: [class], scores: [number]}], one per clip

Results of *events* are `sound_results.event_result`:

    classes       [name]
    collar        seconds that an onset may be off
    offset_share  share of the event's length that its end may be off, if more than the collar; null: only onsets count
    clips, scored_classes, event_f1_macro, event_f1_micro, both with …_interval
    reference_events, predicted_events, matched_events
    predictions   [{name, reference: [[class, onset, offset]], predicted: [[class, onset, offset]]}], one per clip, in
                  seconds; offset may be null where only onsets count

Results of *captions* are told in `caption_results.py`.

Every score is counted again from the predictions beside it when the report is read. A *converted* model was measured
by nobody here: its results may be [], its data [], its seed null, and `conversion_report` makes the report with

    converted     {file, sha256, dialect, license, unused, note}: name and checksum of the source's file, whose format
                  it is, its licence as told, the names of its tensors that were not used, a sentence or null
"""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from ..processing.files import write_whole

REPORT_FORMAT = 2  # texts alone are still written as format 1, which they are
REPORT_NAME = "report.json"
_PREDICTIONS = re.compile(r'^      "predictions": \[\n.*?^      \]', re.DOTALL | re.MULTILINE)  # of a result
_CLIP = re.compile(r"^        \{\n.*?^        \}", re.DOTALL | re.MULTILINE)


def machine_facts(threads: int | None = None) -> dict[str, Any]:
    """Processor, cores, threads, device, peak memory in GB and versions, as they are now.

    Args:
        threads: Threads that the run computed on; default: torch's setting now.
    """
    from importlib.metadata import version

    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if threads is None else threads,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "peak_memory_gb": peak_memory(),
        "versions": {
            "aural": version("aural"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def peak_memory() -> float | None:
    """GB that this process and its largest finished child held at most; None on Windows, which does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1e9 if sys.platform == "darwin" else 1e9 / 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    held = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(held / unit, 2)


def conversion_report(
    title: str,
    license: str,
    file: str,
    sha256: str,
    dialect: str,
    source_license: str,
    unused: Sequence[str] = (),
    note: str | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """The report of a model that was converted from another program's checkpoint and not measured.

    Args:
        title: Of the card.
        license: Of the converted model: the Hub's identifier, such as "bsd-3-clause".
        file: Name of the source's file, without its folder; or a repository's name.
        sha256: Of that file, 64 hexadecimal digits.
        dialect: Whose format it is, such as "original AST".
        source_license: Of the source, as whoever converts it tells.
        unused: Names of the source's tensors that have no place in the model.
        note: One more sentence, such as how positions were resampled.
        facts: Other fields of a report, in place of the defaults: `about`, `language`, `base_model`, `data`,
            `recipe`, `limits`.

    Returns:
        The report, ready for `write_report`.
    """
    return {
        "title": title,
        "about": f"Converted from {file}, a checkpoint in the format of {dialect}.",
        "language": None,
        "license": license,
        "base_model": None,
        "data": [],
        "recipe": {},
        "seed": None,
        "results": [],
        "limits": ["Nothing was measured after the conversion: what the source says of itself is not repeated here."],
        **facts,
        "seconds": {"training": None, "total": None},
        "machine": machine_facts(),
        "converted": {
            "file": file,
            "sha256": sha256,
            "dialect": dialect,
            "license": source_license,
            "unused": list(unused),
            "note": note,
        },
    }


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write `report` as `report.json` in `folder`, whole or not at all; returns its path.

    Each clip of a sound's predictions takes one line.

    Raises:
        TypeError: The report holds something that JSON cannot.
        ValueError: It holds a number that JSON cannot: not a number, or infinite.
        OSError: The file cannot be written.
    """
    later = report.get("converted") is not None or any(
        each.get("kind", "texts") != "texts" or "system" in each for each in report.get("results", [])
    )
    values = {"format": REPORT_FORMAT if later else 1, **report}
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    return write_whole(folder / REPORT_NAME, _PREDICTIONS.sub(_one_line_each, text) + "\n")


def _one_line_each(predictions: re.Match[str]) -> str:
    """JSON holds no line break within a text, so that joining lines changes only its layout."""
    return _CLIP.sub(lambda clip: re.sub(r"\n *", "", re.sub(r",\n *", ", ", clip[0])), predictions[0])
