"""What `aural demo heads` writes down: the report of its runs, and a table that is made of it alone."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .string_models import STRING_MODELS
from .training.markdown import table

if TYPE_CHECKING:
    from .string_study import StringPlan

ABOUT = (
    "One voice. Held-out strings are new arrangements of two to six recordings that training used; all models learn "
    "from the same recordings by the same curriculum, on one thread."
)
LIMITS = (
    "Recordings and words are known to every model: this compares how fast heads learn to write, not how they would "
    "do on other voices, rooms or words.",
    "One seed each; the interval is of the strings, not of the training.",
)


def make_report(
    parts: Mapping[str, Mapping[str, Any]], costs: Mapping[str, float], plan: "StringPlan", seed: int
) -> dict[str, Any]:
    """The report of finished runs.

    Args:
        parts: What each run wrote, by kind of model.
        costs: Processor seconds of an update of each kind, taken in turns.
        plan: What was asked for.
        seed: Of the runs.
    """
    whole = costs["las"] * plan.models["las"].updates
    return {
        "title": "Three ways to write the demo's strings",
        "about": ABOUT,
        "limits": LIMITS,
        "plan": asdict(plan),
        "seed": seed,
        "models": {
            name: {
                "title": STRING_MODELS[name].title,
                **part,
                "seconds_per_update": round(costs[name], 4),
                "share_of_budget": round(costs[name] * part["settings"]["updates"] / whole, 3),
            }
            for name, part in parts.items()
        },
    }


def told(report: Mapping[str, Any]) -> str:
    """The table, in Markdown, and how to read it."""
    rows = []
    for one in report["models"].values():
        result, (low, high) = one["result"], one["result"]["wer_interval"]
        rows.append(
            (
                one["title"],
                f"{one['parameters'] / 1e6:.1f} M",
                str(one["settings"]["updates"]),
                f"{one['share_of_budget']:.0%}",
                f"{result['wer']:.1%} ({low:.1%} to {high:.1%})",
                f"{result['cer']:.1%}",
                _spent(one["seconds"]),
            )
        )
    names = ("Model", "Weights", "Updates", "Budget", "WER (95% interval)", "CER", "Training (processor)")
    strings = next(iter(report["models"].values()))["result"]["utterances"]
    return (
        f"{table(names, rows)}\n\n{strings} held-out strings, looked at once. The budget is the processor time of all "
        "updates beside LAS's, an update of each measured in turns. Training is by the clock, whatever else the "
        f"machine did, and in brackets the processor time of it.\n{report['about']}"
    )


def _spent(seconds: Mapping[str, float | None]) -> str:
    processor = seconds["training_processor"]
    return f"{seconds['training']:.0f} s" + ("" if processor is None else f" ({processor:.0f} s)")
