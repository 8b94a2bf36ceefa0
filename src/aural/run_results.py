"""What a run came to, in lines and in a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .examples import FOLDER as EXAMPLES
from .processing.plots import plot_pages, plot_training
from .training.pace import pace_sentence
from .training.skipping import describe

CURVE, LISTENING = "training.png", "listening.png"
PAGES = 4  # evaluations whose alignment is shown
SCORES = {  # of evaluations and tests, and how they are called
    "wer": "WER",
    "cer": "CER",
    "accuracy": "accuracy",
    "macro_recall": "macro recall",
    "map": "mAP",
    "auc": "AUC",
    "exact": "exactly right",
    "bleu_4": "BLEU-4",
    "masked_loss": "loss on masked patches",
}
NUMBERS = ("bleu_4", "masked_loss")  # scores that are no shares


def learning_curve(history: list[dict[str, float]], title: str) -> Any:
    """The picture of a run's losses and of the scores of its evaluations, as a matplotlib figure.

    Args:
        history: `trainer.state.log_history`.
        title: Written above.
    """
    losses = {int(entry["step"]): entry["loss"] for entry in history if "loss" in entry}
    scores: dict[str, dict[int, float]] = {}
    for entry in history:
        for name, value in entry.items():
            short = name.removeprefix("eval_")
            if short != name and short in SCORES:
                scores.setdefault(SCORES[short], {})[int(entry["step"])] = value
    return plot_training(losses, scores, title)


def listening(out: Path) -> Any:
    """The first example's alignment, from the first evaluation to the last, as a matplotlib figure; None without."""
    pages = sorted((out / EXAMPLES).glob("*.png"))
    if not pages:
        return None
    # Attention finds the diagonal early: each is as many times later as the one before.
    places = {round(len(pages) ** (place / (PAGES - 1))) - 1 for place in range(PAGES)}
    return plot_pages([pages[place] for place in sorted(places)])


def said(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line per set: its scores, with their intervals."""
    return [
        f"{name}: {', '.join(_score(result, key) for key in SCORES if key in result)}"
        for name, result in results.items()
    ]


def closing(facts: Mapping[str, Any], out: Path) -> str:
    """Results, corrupt clips, pace, and where everything lies.

    Args:
        facts: The content of `run.json`.
        out: The run's folder.
    """
    lines = said(facts.get("results", {}))
    if facts.get("skipped", {}).get("corrupt"):
        lines.append(describe(facts["skipped"]))
    if "pace" in facts:
        lines.append(pace_sentence(facts["pace"]))
    return "\n".join([*lines, f"{out} loads with from_pretrained; {out / CURVE} shows how it learnt."])


def _score(result: Mapping[str, Any], key: str) -> str:
    text = f"{SCORES[key]} {result[key]:{'.3f' if key in NUMBERS else '.1%'}}"
    if (interval := result.get(f"{key}_interval")) is not None:
        text += f" (95% interval {interval[0]:.1%} to {interval[1]:.1%})"
    return text
