"""What `aural demo drums` writes down: a report over all folds, and one with a card for the model that is kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .drum_folds import BASELINE, CLIPS, MOMENTS, PRESENTED, DrumPlan, Heard, plan_facts
from .training.cards import write_card
from .training.drum_labels import KITS, LABELS
from .training.mix_scores import join_heard, results_by_sounds
from .training.report_reader import read_report
from .training.reports import machine_facts, write_report
from .training.sound_results import tag_result
from .training.tag_scores import SINGLE

ABOUT_HITS = "Single hits of kits that the model never heard; the surest class counts."
ABOUT_MIXES = "Hits of different classes that really overlap, of kits that the model never heard; composed anew."
DEPENDENT = "Intervals are over clips; hits of one kit resemble each other, so between kits the spread is larger."
CHOSEN = (
    "One recipe and one seed. The moment classifier's settings were chosen by listening on fold 4 after learning from "
    "folds 1 to 3. The clip classifier's were chosen after an earlier recipe's answers on all folds had been seen "
    "(0.50 accuracy, 0.54 macro recall): by listening on folds 2 and 4 after learning from 1 and 3, and the other way "
    "round, mostly with a smaller model; fold 5 took no part. Its answers on the five folds were looked at once, and "
    "nothing was changed after that."
)
SAME_SOUND = (
    "The linear model hears recordings as they are, and in a row of its own at one level after 50 ms of silence, as "
    "the classifiers hear them; that row was added once the classifiers' answers were known."
)

Splits = dict[str, tuple[dict[str, Heard], dict[str, Any]]]  # by name: what each system heard, and facts of the run


def _results(heard: dict[str, Heard], seed: int, model: str | None = None) -> list[dict[str, Any]]:
    """Hits, then mixes by number of sounds, of each system; `model` is the one that the report is of."""
    results = []
    for system, each in heard.items():
        named = {} if system == model else {"system": system}
        head = {"dataset": "drum hits", "split": "kits held out", "about": ABOUT_HITS, **named}
        results.append(head | tag_result(each.hits, each.labels, each.scores, LABELS, SINGLE, seed))
        if each.mixes is not None:
            results += results_by_sounds(each.mixes, LABELS, ABOUT_MIXES, named.get("system"), seed)
    return results


def _joined(splits: Splits) -> dict[str, Heard]:
    """Each system's answers for all folds together; mixes are named by their fold."""
    joined = {}
    for system in (CLIPS, MOMENTS, BASELINE, PRESENTED):
        parts = {name: heard[system] for name, (heard, _) in splits.items() if system in heard}
        mixes = [
            replace(part.mixes, names=tuple(f"{name}, {clip}" for clip in part.mixes.names))
            for name, part in parts.items()
            if part.mixes is not None
        ]
        joined[system] = Heard(
            hits=tuple(name for part in parts.values() for name in part.hits),
            labels=np.concatenate([part.labels for part in parts.values()]),
            scores=np.concatenate([part.scores for part in parts.values()]),
            mixes=join_heard(mixes) if mixes else None,
        )
    return joined


def _data(kits: Sequence[str], hours: float) -> list[dict[str, Any]]:
    return [
        {
            "name": f"drum hits of {len(kits)} kits: {', '.join(kits)}",
            "license": sorted({KITS[kit].licence for kit in kits}),
            "hours": round(hours, 4),
            "source": "Debian's hydrogen-drumkits and hydrogen-data, by `aural corpora drums`",
        }
    ]


def _report(plan: DrumPlan, seed: int, facts: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    """What both reports have."""
    return {
        "language": None,
        "license": "gpl-2.0",
        "base_model": None,
        "recipe": {**plan_facts(plan), "parameters": facts["parameters"], "threshold": facts["threshold"]},
        "seed": seed,
        "results": results,
        # Of the processes that trained nobody kept the memory, and the one that writes may have resumed their run.
        "machine": {**machine_facts(threads=1), "device": "cpu", "peak_memory_gb": None},
    }


def write_folds(out: Path, parts: Splits, plan: DrumPlan, seed: int, seconds: float | None) -> None:
    """Write `report.json` over all folds into `out`; `seconds` is the wall time, None of a run taken up again."""
    facts = [fact for _, fact in parts.values()]
    kits = sorted({kit for fact in facts for kit in fact["kits"]})
    thresholds = [fact["threshold"] for fact in facts if "threshold" in fact]
    report = {
        "title": "Drums, five folds by kit",
        "about": "Per fold, models that never heard its kits; what they make of them, all folds together.",
        **_report(plan, seed, {**facts[0], "threshold": thresholds}, _results(_joined(parts), seed)),
        "data": _data(kits, max(fact["hours"] for fact in facts)),
        "limits": [DEPENDENT, CHOSEN, SAME_SOUND],
        "seconds": {"training": sum(fact["seconds"] for fact in facts), "total": seconds},
    }
    write_report(out, report)


def write_kept(folder: Path, heard: dict[str, Heard], facts: dict[str, Any], plan: DrumPlan, seed: int) -> None:
    """Write `report.json` and the card into the folder of the model that is kept."""
    held_out = sorted(KITS.keys() - set(facts["kits"]))
    report: dict[str, Any] = {
        "title": "Drums, alone and together",
        "about": "A tiny spectrogram-patch transformer that hears ten classes of drums, and when each begins.",
        **_report(plan, seed, facts, _results(heard, seed, MOMENTS)),
        "data": _data(facts["kits"], facts["hours"]),
        "example": {"caption": facts["caption"]},
        "limits": [
            f"Ten classes of single hits and mixes of them; measured on the kits {', '.join(held_out)}.",
            DEPENDENT,
            "A demonstration that attention over patches tells overlapping sounds apart, not a transcriber of music.",
        ],
        "seconds": {"training": facts["seconds"], "total": facts["seconds"]},
    }
    del report["recipe"]["strokes"]  # the clip classifiers' alone
    write_report(folder, report)
    write_card(folder)


def summary(path: Path) -> str:
    """The scores of a report in lines, the model's beside the baseline's."""
    lines = []
    for result in read_report(path).results:
        known = {name: measure.value for name, measure in result.measures.items() if measure.value is not None}
        scores = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
        system = "" if result.system is None else f" ({result.system})"
        lines.append(f"{result.dataset}, {result.clips} clips{system}: {scores}")
    return "\n".join(lines)
