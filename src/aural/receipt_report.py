"""What `aural demo receipts` writes down: the report, a table and a picture that are made of it alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .processing.evidence import dividing_line, ranks_above
from .processing.plot_receipts import plot_study
from .receipt_curves import DeletionCurve
from .receipting import MOST, SHARE
from .training.markdown import table
from .training.metrics import error_interval
from .training.reports import machine_facts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .receipt_study import AskedWord

    Words = Sequence[Sequence[AskedWord]]  # of each string

PICTURE = "study.png"
SIGNALS = {  # fields of a word that are low where nobody said it, and what tables call them
    "worth": "evidence: worth",
    "confidence": "confidence",
    "drop": "evidence: nats lost",
    "faithfulness": "evidence: nats beyond chance",
}
TROUBLED = "marks of trouble"
VARIANTS = {"removed": "cut out", "noise": "noise in its place"}
ABOUT = (
    "One voice. Strings are held-out arrangements of recordings that the model was trained on; one recording is taken "
    "out of each, and the model is made to say the whole text."
)
LIMITS = (
    "A made-up word of a real model comes with attention and a text of its own choice; here the text is forced, and "
    "the word is one that was said once in this place.",
    "Recordings, voice and words are those of the training; of other models the threshold is a guess.",
    "A word beside the cut loses sound that it leaned on: some of the false alarms are of such words.",
)
ROUNDED = 4


def make_report(
    tuning: "Mapping[str, Words]",
    cases: "Mapping[str, Words]",
    curve: DeletionCurve,
    plan: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """The report of what was asked.

    Args:
        tuning: Words of each string by variant, to choose thresholds on.
        cases: Words of each string by variant, "whole" among them, to measure on.
        curve: Of muting whole strings.
        plan: What was asked for.
        seed: Of the study.
    """
    pooled = [word for variant in VARIANTS for words in tuning[variant] for word in words]
    lines = {
        signal: round(dividing_line(_values(pooled, signal, said=True), _values(pooled, signal, said=False)), 2)
        for signal in SIGNALS
    }
    found = {name: _measured(cases[name], cases["whole"], lines, seed) for name in VARIANTS}
    return {
        "title": "Words that nobody said, found by their evidence",
        "about": ABOUT,
        "limits": list(LIMITS),
        "plan": dict(plan),
        "seed": seed,
        "share": SHARE,
        "most": round(MOST, ROUNDED),
        "thresholds": lines,
        "tuning": {name: _counts(tuning[name]) for name in VARIANTS},
        "results": found,
        "deletion": curve.told(),
        "curves": {
            name: [[round(float(value), ROUNDED) for value in row] for row in rows]
            for name, rows in (("attended", curve.attended), ("at_random", curve.at_random))
        },
        "words": {name: [[_rounded(word) for word in words] for words in strings] for name, strings in cases.items()},
        "machine": machine_facts(),
    }


def _values(words: "Sequence[AskedWord]", signal: str, said: bool) -> list[float]:
    return [getattr(word, signal) for word in words if word.said is said]


def _counts(strings: "Words") -> dict[str, int]:
    words = [word for one in strings for word in one]
    missing = sum(not word.said for word in words)
    return {"strings": len(strings), "cut_words": missing, "said_words": len(words) - missing}


def _measured(cut: "Words", whole: "Words", lines: Mapping[str, float], seed: int) -> dict[str, Any]:
    """Of every signal the share of cut words that it finds, and of words that are there, beside the cut or in whole
    strings, that it marks too; with 95% intervals over strings."""
    signals: dict[str, dict[str, Any]] = {}
    for name in (*lines, TROUBLED):

        def marked(word: "AskedWord", name: str = name) -> bool:
            return word.troubled if name == TROUBLED else getattr(word, name) < lines[name]

        signals[name] = {
            "found": _rate(cut, False, marked, seed),
            "false_alarms": _rate(cut, True, marked, seed),
            "false_alarms_whole": _rate(whole, True, marked, seed),
        }
        if name != TROUBLED:
            words = [word for one in cut for word in one]
            ranks = ranks_above(_values(words, name, said=True), _values(words, name, said=False))
            signals[name]["ranks_said_above"] = round(ranks, ROUNDED)
    sure = [[word for word in one if word.confidence >= lines["confidence"]] for one in cut]
    by_worth = _rate(sure, False, lambda word: word.worth < lines["worth"], seed)
    return {**_counts(cut), "signals": signals, "sure_and_found_by_worth": by_worth}


def _rate(strings: "Words", said: bool, marked: Any, seed: int) -> dict[str, Any]:
    counts = [[marked(word) for word in one if word.said is said] for one in strings]
    hits, words = np.array([sum(one) for one in counts]), np.array([len(one) for one in counts])
    told: dict[str, Any] = {"marked": int(hits.sum()), "words": int(words.sum()), "rate": None, "interval": None}
    if words.sum():
        interval = error_interval(hits, words, seed)
        told |= {
            "rate": round(float(hits.sum() / words.sum()), ROUNDED),
            "interval": [round(edge, ROUNDED) for edge in interval],
        }
    return told


def _rounded(word: "AskedWord") -> dict[str, Any]:
    return {key: round(value, ROUNDED) if isinstance(value, float) else value for key, value in asdict(word).items()}


def told(report: Mapping[str, Any]) -> str:
    """The table, in Markdown, and how to read it."""
    rows = []
    for variant, title in VARIANTS.items():
        for name, one in report["results"][variant]["signals"].items():
            ranks = one.get("ranks_said_above")
            rows.append(
                (
                    title,
                    SIGNALS.get(name, name),
                    *(_said(one[key]) for key in ("found", "false_alarms", "false_alarms_whole")),
                    "–" if ranks is None else f"{ranks:.2f}",
                )
            )
    names = ("The word", "Told by", "Found", "False alarms beside it", "In whole strings", "Ranking")
    counts = report["results"]["removed"]
    deletion = report["deletion"]
    low, high = deletion["area_interval"]
    sure = {name: report["results"][name]["sure_and_found_by_worth"] for name in VARIANTS}
    return (
        f"{table(names, rows)}\n\n{counts['strings']} strings, {counts['cut_words']} words cut and "
        f"{counts['said_words']} that are there; 95% intervals over strings. Thresholds were chosen on "
        f"{report['tuning']['removed']['strings']} other strings. Ranking: how often a word that is there stands "
        "above one that is not, 0.5 by chance.\n"
        f"Of the words that are not there and that the model is sure of, evidence finds "
        f"{_of(sure['removed'])} where the sound is cut out and {_of(sure['noise'])} under noise.\n"
        f"Muting in the order of attention costs {deletion['area_between']:.2f} nats a word more than at random "
        f"({low:.2f} to {high:.2f}), over {deletion['clips']} strings.\n{report['about']}"
    )


def _said(rate: Mapping[str, Any]) -> str:
    if rate["rate"] is None:
        return "–"
    low, high = rate["interval"]
    return f"{rate['rate']:.0%} ({low:.0%} to {high:.0%})"


def _of(rate: Mapping[str, Any]) -> str:
    return f"{rate['marked']} of {rate['words']}"


def draw_study(report: Mapping[str, Any], dark: bool = False) -> "Figure":
    """The picture of a report."""
    words = {title: [word for one in report["words"][name] for word in one] for name, title in VARIANTS.items()}
    curves = {
        "in the order of attention": np.array(report["curves"]["attended"]),
        "in random order": np.array(report["curves"]["at_random"]),
    }
    return plot_study(
        {title: _pairs(some, "worth") for title, some in words.items()},
        {title: _pairs(some, "confidence") for title, some in words.items()},
        report["thresholds"]["worth"],
        report["deletion"]["amounts"],
        curves,
        dark,
    )


def _pairs(words: Sequence[Mapping[str, Any]], signal: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of words that were said, and of those that were not."""
    said, missing = (np.array([word[signal] for word in words if word["said"] is kind]) for kind in (True, False))
    return said, missing
