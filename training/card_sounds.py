"""What a card says of a model that hears sounds: scores by class, what is taken for what, best and worst clips."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .card_results import best_and_worst, best_and_worst_tables, result_name
from .event_scores import Event
from .markdown import escape, table
from .sound_results import EventResult, TagResult
from .tag_scores import SINGLE, average_precisions, choose

ROWS = 50  # classes in a table; of more, the best and the worst
WIDEST = 16  # classes of a confusion table; of more, the most frequent confusions
THRESHOLD = 0.5  # from which a label counts as given, where there can be several

TAGS_NOTE = (
    "Averages are over the classes that a clip has, each counting the same. The interval is a bootstrap over clips."
)


def events_note(result: EventResult) -> str:
    """When an event counts as heard."""
    ends = ""
    if result.offset_share is not None:
        ends = f", and ends at most {result.collar:g} s or {result.offset_share:.0%} of its length off"
    return (
        f"An event is heard if one of its class begins at most {result.collar:g} s off{ends}; each counts once. Macro "
        "is the mean over the classes that are there, micro is of all events. The interval is a bootstrap over clips."
    )


def tag_classes(result: TagResult) -> str:
    """Recall, precision, average precision and clips of every class."""
    single = result.problem_type == SINGLE
    given = choose(result.scores) if single else result.scores >= THRESHOLD  # (clips, classes)
    found, there, all_given = (given & result.present).sum(axis=0), result.present.sum(axis=0), given.sum(axis=0)
    precisions = average_precisions(result.present, result.scores)
    rows = [
        (
            escape(name),
            str(there[i]),
            _share(found[i], there[i]),
            _share(found[i], all_given[i]),
            _number(precisions[i]),
        )
        for i, name in enumerate(result.classes)
    ]
    how = "the surest class is given" if single else f"a label is given from a score of {THRESHOLD:g}"
    header = ("Class", "Clips", "Recall", "Precision", "Average precision")
    return f"Of {result_name(result)}; for recall and precision {how}.\n\n{_classes_table(header, rows, precisions)}"


def event_classes(result: EventResult) -> str:
    """Recall, precision, F1 and events of every class."""
    matched, there, predicted = result.counts.sum(axis=0).T  # (classes,) each
    with np.errstate(invalid="ignore"):
        scores = np.where(there > 0, 2 * matched / (there + predicted), np.nan)
    rows = [
        (
            escape(name),
            str(there[i]),
            _share(matched[i], there[i]),
            _share(matched[i], predicted[i]),
            _number(scores[i]),
        )
        for i, name in enumerate(result.classes)
    ]
    header = ("Class", "Events", "Recall", "Precision", "F1")
    return f"Events of {result_name(result)}.\n\n{_classes_table(header, rows, scores)}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"


def _classes_table(header: Sequence[str], rows: Sequence[Sequence[str]], scores: np.ndarray) -> str:
    """All classes in their order; of many, the best and the worst by the last column."""
    if len(rows) <= ROWS:
        return table(header, rows)
    scored = [int(index) for index in np.argsort(-scores, kind="stable") if np.isfinite(scores[index])]
    half = ROWS // 2
    best, worst = scored[:half], scored[half:][-half:]
    return (
        f"The {len(best)} best of {len(rows)} classes:\n\n{table(header, (rows[index] for index in best))}\n\n"
        f"The {len(worst)} worst:\n\n{table(header, (rows[index] for index in worst))}"
    )


def confusions(result: TagResult) -> str:
    """How often each class is taken for each; of many classes, the most frequent confusions. Empty for several labels
    at once."""
    if result.problem_type != SINGLE:
        return ""
    counts = result.present.T.astype(int) @ choose(result.scores).astype(int)  # (true, heard)
    names = [escape(name) for name in result.classes]
    if len(names) <= WIDEST:
        rows = ([name, *map(str, row)] for name, row in zip(names, counts, strict=True))
        head = f"Of {result_name(result)}: rows are what it is, columns what it was taken for."
        return f"{head}\n\n{table(('', *names), rows)}"
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:WIDEST]
    pairs = [(int(place) // len(names), int(place) % len(names)) for place in order]
    rows = ([names[true], names[heard], str(counts[true, heard])] for true, heard in pairs if counts[true, heard])
    head = f"The most frequent of {result_name(result)}."
    return f"{head}\n\n{table(('What it is', 'What it was taken for', 'Clips'), rows)}"


@dataclass(frozen=True)
class _Tagged:
    """A clip: its name, labels and what was heard, as text, and how far its labels stand above all others."""

    name: str
    labels: str
    heard: str
    margin: float


def tag_clips(result: TagResult) -> str:
    """The best and the worst clips, by the score of the least sure label above the surest other class."""
    clips = [_tagged(result, index) for index in range(result.clips)]
    best, worst = best_and_worst(clips, lambda each: (-each.margin,), lambda each: (each.margin,))
    text = best_and_worst_tables(result, best, worst, "earliest", _tagged_table)
    return f"Margin: the score of a clip's least sure label less that of the surest other class.\n\n{text}"


def _tagged(result: TagResult, index: int) -> _Tagged:
    present, scores = result.present[index], result.scores[index]
    heard = np.argsort(-scores, kind="stable")[: max(1, present.sum())]
    right = scores[present].min() if present.any() else 0.0
    wrong = scores[~present].max() if not present.all() else 0.0
    return _Tagged(
        escape(result.names[index]),
        ", ".join(escape(result.classes[i]) for i in np.flatnonzero(present)) or "–",
        ", ".join(f"{escape(result.classes[i])} {scores[i]:.2f}" for i in heard),
        float(right - wrong),
    )


def _tagged_table(clips: Iterable[_Tagged]) -> str:
    rows = ((each.name, each.labels, each.heard, f"{each.margin:.2f}") for each in clips)
    return table(("Clip", "Labels", "Heard", "Margin"), rows)


def event_clips(result: EventResult) -> str:
    """The best and the worst clips, by their own F1."""
    totals = result.counts.sum(axis=1)  # (clips, 3): matched, there, predicted
    f1 = np.where(totals[:, 1:].sum(axis=1) > 0, 2 * totals[:, 0] / np.maximum(totals[:, 1:].sum(axis=1), 1), 1.0)
    indices = list(range(result.clips))
    best, worst = best_and_worst(indices, lambda i: (-f1[i], -totals[i, 1]), lambda i: (f1[i], -totals[i, 1]))

    def rows(chosen: Sequence[int]) -> str:
        cells = (
            (
                escape(result.names[i]),
                _times(result.references[i]),
                _times(result.predictions[i]),
                f"{totals[i, 0]} of {totals[i, 1]}",
            )
            for i in chosen
        )
        return table(("Clip", "Events, begin in s", "Heard", "Matched"), cells)

    return best_and_worst_tables(result, best, worst, "most events", rows)


def _times(events: Sequence[Event]) -> str:
    ordered = sorted(events, key=lambda event: event.onset)
    return ", ".join(f"{escape(event.label)} {event.onset:.2f}" for event in ordered) or "–"
