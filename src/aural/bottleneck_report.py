"""What `aural demo bottleneck` writes down: the report of its runs, and table and figure that are made of it alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .processing.plot_studies import plot_lengths
from .processing.plots import save_figure
from .training.markdown import table
from .training.metrics import score_texts

FULL, NONE = "full attention", "no attention"
MEASURES = {"wer": ("word error rate in %", 100), "right_from_start": ("words right before the first wrong one", 1)}
ABOUT = (
    "One voice. Strings of two and more recordings are arrangements that training never had; single recordings it "
    "knew all of, spoken here with other pauses, gain, speed and noise. Up to six recordings is what training had."
)
LIMITS = (
    "Rates above 100% come of texts that do not end but repeat themselves until their length limit, 30 characters a "
    "second; how many words were right before tells more of the memory.",
    "Few updates, the same number for all, of which the one model with slots spends some on every k; what more of "
    "them would bring was not measured.",
    "The models that attend learn with a guided attention loss, without which full attention had not aligned after "
    "500 updates; without attention there is nothing to guide.",
    "A small vocabulary of clear words, so that memory and not hearing decides.",
)


def memory_name(memory: str, slots: int | None) -> str:
    """What table and figure call a model: `"4 slots"`, `"no attention"`, `"full attention"`."""
    if slots is None:
        return NONE if memory == "none" else FULL
    return f"{slots} slot" if slots == 1 else f"{slots} slots"


def make_report(
    parts: Sequence[Mapping[str, Any]], slots: Sequence[int], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The report of finished runs: scores per model and length over all seeds, and each seed's own.

    Args:
        parts: What each run wrote.
        slots: The k that were measured.
        settings: What the runs had in common, with the measured `lengths`.
    """
    texts: dict[tuple[str, int], dict[int, list[dict[str, str]]]] = {}
    for part in parts:
        for result in part["results"]:
            texts.setdefault((result["memory"], result["length"]), {})[part["settings"]["seed"]] = result["texts"]
    names = (NONE, *(memory_name("slots", k) for k in slots), FULL)
    runs = {f"{part['settings']['memory']}, seed {part['settings']['seed']}": part for part in parts}
    return {
        "title": "A dial on the bottleneck",
        "about": ABOUT,
        "limits": LIMITS,
        "settings": settings,
        "seeds": sorted({part["settings"]["seed"] for part in parts}),
        "parameters": {part["settings"]["memory"]: part["parameters"] for part in parts},
        "results": [_scored(name, length, texts[name, length]) for name in names for length in settings["lengths"]],
        "seconds": {name: part["seconds"] for name, part in runs.items()},
        "machine": {**parts[0]["machine"], "peak_memory_gb": None},  # nobody kept it
    }


def _scored(name: str, length: int, texts: Mapping[int, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    """Scores of one model at one length: over the strings of all seeds, and per seed."""

    def score(pairs: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        scores = score_texts([pair["spoken"] for pair in pairs], [pair["written"] for pair in pairs])
        starts = [right_from_start(pair["spoken"], pair["written"]) for pair in pairs]
        words = {key: value for key, value in scores.items() if not key.startswith(("cer", "character"))}
        return {**words, "right_from_start": sum(starts) / len(starts)}

    pooled = [pair for pairs in texts.values() for pair in pairs]
    return {
        "memory": name,
        "length": length,
        **score(pooled),
        "by_seed": [{"seed": seed, **score(pairs)} for seed, pairs in sorted(texts.items())],
    }


def right_from_start(spoken: str, written: str) -> int:
    """Words that are right before the first that is not: what a memory holds, however the text goes on."""
    same = [one == other for one, other in zip(spoken.split(), written.split(), strict=False)]
    return same.index(False) if False in same else len(same)


def rates_of(report: Mapping[str, Any], measure: str = "wer") -> dict[str, np.ndarray]:
    """Word error rates of a report, or another of its measures: per model `(seeds, lengths)`."""
    rates: dict[str, list[list[float]]] = {}
    for result in report["results"]:
        rates.setdefault(result["memory"], []).append([each[measure] for each in result["by_seed"]])
    return {name: np.array(each).T for name, each in rates.items()}


def report_table(report: Mapping[str, Any], lengths: Sequence[int] | None = None, measure: str = "wer") -> str:
    """Mean over the seeds, per model and length, in Markdown.

    Args:
        report: As `bottleneck.json` has it.
        lengths: Of the columns; default: all.
        measure: Of `MEASURES`: "wer", or "right_from_start".
    """
    known = report["settings"]["lengths"]
    columns = [known.index(length) for length in lengths or known]
    unit, factor = MEASURES[measure]
    rows = [
        [name, *(f"{factor * rate:.1f}" for rate in each.mean(0)[columns])]
        for name, each in rates_of(report, measure).items()
    ]
    return table([f"recordings in the string ({unit})", *(str(known[column]) for column in columns)], rows)


def told(report: Mapping[str, Any]) -> str:
    """What the command prints: both tables, and what they do and do not show."""
    tables = [report_table(report, measure=measure) for measure in MEASURES]
    return "\n\n".join([*tables, " ".join([report["about"], *report["limits"]])])


def draw_report(report: Path, picture: Path) -> None:
    """The figure of a report file."""
    read = json.loads(report.read_text(encoding="utf-8"))
    updates, seeds = read["settings"]["training"]["updates"], len(read["seeds"])
    figure = plot_lengths(
        rates_of(read),
        read["settings"]["lengths"],
        max(stage["most"] for stage in read["settings"]["training"]["stages"]),
        apart=(NONE, FULL),
        title=f"How much of an utterance the speller can see: mean and range of {seeds} seeds, {updates} updates each",
    )
    save_figure(figure, picture)
