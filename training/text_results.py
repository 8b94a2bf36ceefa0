"""Results of models that write text: transcripts, from which word and character error rates are counted again."""

from dataclasses import dataclass
from typing import ClassVar

from .metrics import count_edits
from .report_record import Measure, Record, Result, read_head, read_measure


@dataclass(frozen=True)
class Utterance:
    """One clip's text as spoken and as written, with its word errors and its number of spoken words."""

    spoken: str
    written: str
    errors: int
    words: int

    @property
    def error_rate(self) -> float:
        """Word errors over spoken words; each error counts whole where nothing was spoken."""
        return self.errors / max(self.words, 1)


@dataclass(frozen=True, eq=False)
class TextResult(Result):
    """What was written: `wer` and `cer`.

    Attributes:
        utterances: every clip, in order.
    """

    kind: ClassVar[str] = "texts"
    utterances: tuple[Utterance, ...]


def read_texts(record: Record) -> TextResult:
    """A result of texts, as `score_texts` and its transcripts give it.

    Raises:
        ValueError: a field is missing or ill-typed, or a rate does not follow from the transcripts.
    """
    pairs = record.records("transcripts")
    spoken, written = ([pair.text(name, empty=True) for pair in pairs] for name in ("spoken", "written"))
    if record.whole("utterances", least=1) != len(pairs):
        record.fail("utterances", f"the number of transcripts, which is {len(pairs)}: all are needed")
    wer, errors, words = _read_rate(record, "wer", "word", spoken, written)
    cer, _, _ = _read_rate(record, "cer", "character", spoken, written)
    return TextResult(
        **read_head(record),
        clips=len(pairs),
        measures={"wer": wer, "cer": cer},
        utterances=tuple(map(Utterance, spoken, written, errors, words)),
    )


def _read_rate(
    record: Record, name: str, unit: str, spoken: list[str], written: list[str]
) -> tuple[Measure, list[int], list[int]]:
    """Count again from the transcripts; gives the rate, and each clip's edits and reference units."""
    kinds, units = count_edits(spoken, written, unit)  # (utterances, 3), (utterances,)
    edits, total = kinds.sum(axis=1), int(units.sum())
    if record.whole(f"{unit}s", least=1) != total:
        record.fail(f"{unit}s", f"what its transcripts hold, {total}")
    return read_measure(record, name, edits.sum() / total, "transcripts"), edits.tolist(), units.tolist()
