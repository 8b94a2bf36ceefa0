"""What a card says of a model that writes text: its best and worst transcripts."""

from collections.abc import Iterable, Sequence

from .card_results import best_and_worst, best_and_worst_tables
from .markdown import escape, table
from .text_results import TextResult, Utterance

NOTE = (
    "Rates are of the corpus: all errors over all spoken words or characters. The interval is a bootstrap over clips."
)


def choose_transcripts(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """The best and the worst by word errors over spoken words, five of each and none twice.

    Of equally good ones the longest come first, since a perfect word says little; other ties keep their order. Of
    fewer than ten, all are the best, in that order.
    """
    return best_and_worst(utterances, lambda each: (each.error_rate, -each.words), lambda each: (-each.error_rate,))


def transcripts(result: TextResult) -> str:
    """Tables of the best and the worst."""
    best, worst = choose_transcripts(result.utterances)
    return best_and_worst_tables(result, best, worst, "longest", _pairs)


def caption(example: dict[str, str]) -> str:
    """What stands under the picture of the example."""
    return f"Where the model listened. Spoken: “{escape(example['spoken'])}”; written: “{escape(example['written'])}”."


def _pairs(utterances: Iterable[Utterance]) -> str:
    rows = (
        (escape(each.spoken) or "–", escape(each.written) or "–", f"{each.errors} of {each.words}")
        for each in utterances
    )
    return table(("Spoken", "Written", "Word errors"), rows)
