"""Results of models that caption, and what a card says of them: every score is counted again from the captions.

A result of *captions* (kind "captions") is `score_captions` with what it was counted from:

    clips, bleu_1 to bleu_4, exact, exact_interval
    predictions   [{name, references: [text], caption}], one per clip
    slots         only of mixes (`mix_grammar.py`): `score_slots` of the same captions
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from .caption_metrics import BLEU, corpus_bleu
from .card_results import best_and_worst, best_and_worst_tables, result_name
from .markdown import escape, table
from .mix_grammar import parse
from .report_record import Measure, Record, Result, read_head, read_measure
from .slot_scores import SLOTS, score_slots

CAPTIONS_NOTE = (
    "Exact: the caption is, word by word, one of the clip's references. BLEU is sacrebleu's, of the corpus, against "
    "all references. Intervals are a bootstrap over clips."
)


@dataclass(frozen=True)
class Captioned:
    """One clip: its name, what was to be said, and what was."""

    name: str
    references: tuple[str, ...]
    caption: str

    @property
    def right(self) -> bool:
        """Whether the caption is one of the references."""
        return self.caption in self.references


@dataclass(frozen=True, eq=False)
class CaptionResult(Result):
    """What was said of clips: `bleu_1` to `bleu_4`, and `exact`.

    Attributes:
        captions: every clip, in order.
        slots: of mixes, the share and interval of each slot; empty of other clips.
    """

    kind: ClassVar[str] = "captions"
    captions: tuple[Captioned, ...]
    slots: dict[str, Measure]


def read_captions(record: Record) -> CaptionResult:
    """A result of captions.

    Raises:
        ValueError: a field is missing or ill-typed, or a score does not follow from the captions.
        ImportError: sacrebleu, which BLEU is counted with, is not installed.
    """
    captions = tuple(
        Captioned(each.text("name"), each.texts("references"), each.text("caption", empty=True))
        for each in record.records("predictions")
    )
    if record.whole("clips", least=1) != len(captions):
        record.fail("clips", f"the number of predictions, which is {len(captions)}: all are needed")
    counted = corpus_bleu([each.references for each in captions], [each.caption for each in captions])
    measures = {
        name: read_measure(record, name, value, "captions", interval=False)
        for name, value in zip(BLEU, counted, strict=True)
    }
    share = sum(each.right for each in captions) / len(captions)
    measures["exact"] = read_measure(record, "exact", share, "captions")
    slots = {} if record.values.get("slots") is None else _read_slots(record.record("slots"), captions)
    return CaptionResult(**read_head(record), clips=len(captions), measures=measures, captions=captions, slots=slots)


def _read_slots(record: Record, captions: tuple[Captioned, ...]) -> dict[str, Measure]:
    told = [parse(each.references[0]) for each in captions]
    described = [each for each in told if each is not None]
    if len(described) < len(told):
        record.fail(SLOTS[0], "left out: a reference is none that the grammar of mixes writes")
    counted: dict[str, Any] = score_slots(described, [each.caption for each in captions])
    return {name: read_measure(record, name, counted[name], "captions") for name in SLOTS if name in counted}


def caption_slots(result: CaptionResult) -> str:
    """How often each slot is right; empty of clips that are no mixes."""
    if not result.slots:
        return ""
    rows = []
    for name, measure in result.slots.items():
        low, high = measure.interval or (0.0, 1.0)
        rows.append((name, f"{measure.value:.1%} ({low:.1%} to {high:.1%})"))
    return f"Slots of {result_name(result)}.\n\n{table(('Slot', 'Right (95% interval)'), rows)}"


def caption_clips(result: CaptionResult) -> str:
    """Captions that are right and that are not, the longest first."""
    best, worst = best_and_worst(
        result.captions,
        lambda each: (not each.right, -len(each.references[0].split())),
        lambda each: (each.right, -len(each.references[0].split())),
    )
    return best_and_worst_tables(result, best, worst, "longest", _captions_table)


def _captions_table(clips: Iterable[Captioned]) -> str:
    rows = ((escape(each.references[0]), escape(each.caption) or "–", "yes" if each.right else "no") for each in clips)
    return table(("First reference", "Caption", "One of the references"), rows)
