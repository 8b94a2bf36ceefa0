"""What `aural demo drums` writes down: a report over all folds, and one with a card for the model that is kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .drum_folds import DrumPlan, Heard, plan_facts
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
    "One recipe and one seed. Its settings were chosen by listening on fold 4 after learning from folds 1 to 3; all "
    "folds were measured once, afterwards."
)

Splits = dict[str, tuple[dict[str, Heard], dict[str, Any]]]  # by name: what each system heard, and facts of the run


def _results(heard: dict[str, Heard], seed: int) -> list[dict[str, Any]]:
    """Hits, then mixes by number of sounds; of the model, then of the baseline."""
    results = []
    for system, each in heard.items():
        named = {} if system == "model" else {"system": system}
        head = {"dataset": "drum hits", "split": "kits held out", "about": ABOUT_HITS, **named}
        results.append(head | tag_result(each.hits, each.labels, each.scores, LABELS, SINGLE, seed))
        results += results_by_sounds(each.mixes, LABELS, ABOUT_MIXES, named.get("system"), seed)
    return results


def _joined(parts: Splits) -> dict[str, Heard]:
    """Each system's answers for all folds together; mixes are named by their fold."""
    joined = {}
    for system in next(iter(parts.values()))[0]:
        each = [heard[system] for heard, _ in parts.values()]
        mixes = [
            replace(heard[system].mixes, names=tuple(f"{fold}, {name}" for name in heard[system].mixes.names))
            for fold, (heard, _) in parts.items()
        ]
        joined[system] = Heard(
            hits=tuple(name for one in each for name in one.hits),
            labels=np.concatenate([one.labels for one in each]),
            scores=np.concatenate([one.scores for one in each]),
            mixes=join_heard(mixes),
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
        "machine": {**machine_facts(threads=1), "device": "cpu"},
    }


def write_folds(out: Path, parts: Splits, plan: DrumPlan, seed: int, seconds: float) -> None:
    """Write `report.json` over all folds into `out`."""
    facts = [fact for _, fact in parts.values()]
    kits = sorted({kit for fact in facts for kit in fact["kits"]})
    report = {
        "title": "Drums, five folds by kit",
        "about": "Five models, each measured on the kits of one fold, which it never heard; their answers together.",
        **_report(plan, seed, {**facts[0], "threshold": [fact["threshold"] for fact in facts]}, []),
        "results": _results(_joined(parts), seed),
        "data": _data(kits, max(fact["hours"] for fact in facts)),
        "limits": [DEPENDENT, CHOSEN],
        "seconds": {"training": sum(fact["seconds"] for fact in facts), "total": seconds},
    }
    write_report(out, report)


def write_kept(folder: Path, heard: dict[str, Heard], facts: dict[str, Any], plan: DrumPlan, seed: int) -> None:
    """Write `report.json` and the card into the folder of the model that is kept."""
    held_out = sorted(KITS.keys() - set(facts["kits"]))
    report = {
        "title": "Drums, alone and together",
        "about": "A tiny spectrogram-patch transformer that hears ten classes of drums, and when each begins.",
        **_report(plan, seed, facts, _results(heard, seed)),
        "data": _data(facts["kits"], facts["hours"]),
        "example": {"caption": facts["caption"]},
        "limits": [
            f"Ten classes of single hits and mixes of them; measured on the kits {', '.join(held_out)}.",
            DEPENDENT,
            "A demonstration that attention over patches tells overlapping sounds apart, not a transcriber of music.",
        ],
        "seconds": {"training": facts["seconds"], "total": facts["seconds"]},
    }
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
