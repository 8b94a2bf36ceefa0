"""What a card says of results whatever their kind: the metrics by name, one table of all, and the front matter's."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from huggingface_hub import EvalResult

from .markdown import bullets, escape, label, table
from .report_record import Measure, Result

METRICS = {  # the metric's title and how its value is shown
    "wer": ("Word error rate", ".1%"),
    "cer": ("Character error rate", ".1%"),
    "accuracy": ("Accuracy", ".1%"),
    "macro_recall": ("Macro recall", ".1%"),
    "map": ("Mean average precision", ".3f"),
    "auc": ("Mean ROC area", ".3f"),
    "d_prime": ("d′", ".2f"),
    "event_f1_macro": ("Event F1, macro", ".3f"),
    "event_f1_micro": ("Event F1, micro", ".3f"),
    "exact": ("Exactly right", ".1%"),
    "bleu_1": ("BLEU-1", ".3f"),
    "bleu_2": ("BLEU-2", ".3f"),
    "bleu_3": ("BLEU-3", ".3f"),
    "bleu_4": ("BLEU-4", ".3f"),
    "masked_loss": ("Loss on masked patches", ".4f"),
}
SHOWN = 5  # best clips, and as many worst

_Item = TypeVar("_Item")


def eval_results(results: Iterable[Result], task: str) -> list[EvalResult]:
    """The model's own results for the front matter; those of other systems are for the body.

    Args:
        results: of the report.
        task: the Hub's identifier, such as "audio-classification".
    """
    entries = []
    taken: set[tuple[str, str]] = set()
    name = task.replace("-", " ").title()  # as the Hub spells its tasks
    for result in results:
        if result.system is not None:
            continue
        split, kind = label(result.split), _dataset_id(result, taken)
        for metric, measure in result.measures.items():
            if measure.value is None:
                continue
            args = {"clips": result.clips}
            entries.append(
                EvalResult(
                    task_type=task,
                    task_name=name,
                    dataset_type=kind,
                    dataset_name=label(result.dataset),
                    dataset_split=split,
                    metric_type=metric,
                    metric_name=METRICS[metric][0],
                    metric_value=measure.value,
                    metric_args=args if measure.interval is None else args | {"interval_95": list(measure.interval)},
                )
            )
    return entries


def _dataset_id(result: Result, taken: set[tuple[str, str]]) -> str:
    """The data set's name as an identifier; numbered where two results would be merged under one."""
    stem = re.sub(r"[^a-z0-9]+", "-", result.dataset.lower()).strip("-") or "dataset"
    name, number = stem, 1
    while (name, label(result.split)) in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add((name, label(result.split)))
    return name


def result_name(result: Result) -> str:
    """Data set and split, escaped."""
    return f"{escape(result.dataset)} ({escape(result.split)})"


def results_table(results: Sequence[Result]) -> str:
    """All results, a row for each data set and system; tags and events of the same clips stand in one."""
    rows: list[tuple[Result, dict[str, Measure]]] = []
    for result in results:
        for first, measures in rows:
            same = all(
                getattr(first, name) == getattr(result, name) for name in ("dataset", "split", "system", "clips")
            )
            if same and not measures.keys() & result.measures.keys():
                measures.update(result.measures)
                break
        else:
            rows.append((result, dict(result.measures)))
    metrics = [name for name in METRICS if any(name in measures for _, measures in rows)]
    systems = any(result.system for result in results)
    header = ["Data", *(["System"] if systems else []), "Clips", *(_title(name, rows) for name in metrics)]
    lines = []
    for result, measures in rows:
        system = [escape(result.system) if result.system else "this model"] if systems else []
        values = [_shown(name, measures.get(name)) for name in metrics]
        lines.append([result_name(result), *system, str(result.clips), *values])
    return table(header, lines)


def _title(name: str, rows: Iterable[tuple[Result, dict[str, Measure]]]) -> str:
    interval = any(name in measures and measures[name].interval for _, measures in rows)
    return f"{METRICS[name][0]} (95% interval)" if interval else METRICS[name][0]


def _shown(name: str, measure: Measure | None) -> str:
    if measure is None or measure.value is None:
        return "–"
    form = METRICS[name][1]
    if measure.interval is None:
        return format(measure.value, form)
    low, high = measure.interval
    return f"{measure.value:{form}} ({low:{form}} to {high:{form}})"


def results_notes(results: Iterable[Result]) -> str:
    """What each result shows, as a list; said once where two say the same."""
    return bullets(dict.fromkeys(f"{result_name(result)}: {escape(result.about)}" for result in results))


def best_and_worst(
    items: Sequence[_Item], best: Callable[[_Item], tuple[float, ...]], worst: Callable[[_Item], tuple[float, ...]]
) -> tuple[list[_Item], list[_Item]]:
    """Five that come first by `best` and five by `worst`, lowest first, none twice; ties keep their order.

    Of fewer than ten, all are the best, in that order.
    """
    ranked = sorted(items, key=best)
    if len(ranked) < 2 * SHOWN:
        return ranked, []
    chosen = {id(each) for each in ranked[:SHOWN]}
    rest = [each for each in items if id(each) not in chosen]
    return ranked[:SHOWN], sorted(rest, key=worst)[:SHOWN]


def best_and_worst_tables(
    result: Result, best: Sequence[_Item], worst: Sequence[_Item], ties: str, rows: Callable[[Sequence[_Item]], str]
) -> str:
    """Best and worst clips of a result as tables.

    Args:
        result: theirs.
        best, worst: as `best_and_worst` gives them.
        ties: which come first of equally good ones, such as "longest".
        rows: makes a table of some.
    """
    if not worst:
        return f"All of {result_name(result)}, best first.\n\n{rows(best)}"
    return (
        f"Of the {result.clips} clips of {result_name(result)}, the {SHOWN} best, {ties} first where equally "
        f"good:\n\n{rows(best)}\n\nThe {SHOWN} worst:\n\n{rows(worst)}"
    )
