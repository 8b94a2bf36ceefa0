"""CTC prefix beam search (Hannun et al. 2014, arXiv:1408.2873), with an n-gram and a lexicon where they are wanted.

What is notable here:
- A hypothesis is a text with a labeling; its score is ln P of the labeling under CTC over *all* its paths, plus the
  weighted n-gram of the text with `</s>`, plus an insertion for each token of it. Tokens of a text are symbols, or
  words with a lexicon.
- The search only finds hypotheses. Those that it ends with are scored anew, exactly, by the forward algorithm: what a
  beam dropped on the way is not missing in a score, and a score is the sum of its parts whatever was pruned.
- Without pruning this equals the enumeration of all labelings. A new prefix that could not stay in the beam is not
  even made, which changes nothing and, as most frames have one likely token, saves most of the work.
- A text with several pronunciations is listed once, with its best one. When no hypothesis of the last beam ends with a
  whole word, the word under way is left out.

It runs on the host, in Python: one clip after the other.

    ctc_prefix_search(log_probs, symbols=tokens, ngram=NGram.read("words.arpa"), ngram_weight=0.5, lexicon=lexicon)
"""

import heapq
import math
import operator
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from .ctc import BLANK, as_log_probs, check_blank, ctc_log_probs
from .ctc_readings import Reading, SymbolReader, TextWorth, WordReader
from .lexicon import Lexicon
from .ngram import LanguageModel

BEAMS = 16
TOP_TOKENS = 16
SWEEP = 128  # frames between two clearings of the prefix tree, so that memory does not grow with the clip

_NEVER = -math.inf


@dataclass(frozen=True)
class CtcHypothesis:
    """A text with its score, `ctc + ngram + insertion`, ready for rescoring.

    Attributes:
        tokens: the words with a lexicon, else the symbols; empty where no symbols were given.
        ids: the labeling, without blanks.
        score: the sum of the three parts.
        ctc: ln P of `ids` under CTC.
        ngram: weight times ln P of `tokens` and `</s>`.
        insertion: insertion times the number of tokens.
    """

    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    score: float
    ctc: float
    ngram: float
    insertion: float


def ctc_prefix_search(
    log_probs: np.ndarray | torch.Tensor,
    blank: int = BLANK,
    beams: int = BEAMS,
    ngram: LanguageModel | None = None,
    ngram_weight: float = 0.0,
    token_insertion: float = 0.0,
    lexicon: Lexicon | None = None,
    symbols: Sequence[str] | None = None,
    top_tokens: int | None = TOP_TOKENS,
    nbest: int = 1,
    word_separator: str | None = None,
    excluded: Collection[int] = (),
) -> list[CtcHypothesis]:
    """The best texts of one clip.

    Args:
        log_probs: natural logarithms `(frames, vocabulary)` of the clip's real frames, on any device.
        blank: id of the blank.
        beams: prefixes kept after each frame.
        ngram: over words with a lexicon, else over symbols.
        ngram_weight: of ln P of the n-gram, at least 0.
        token_insertion: added for each token of the text; an n-gram makes texts shorter, this makes up for it.
        lexicon: the only words that may be written, in symbols; None for any symbols.
        symbols: of all ids in their order, such as a tokenizer's tokens; needed with `ngram` or `lexicon`.
        top_tokens: tokens of a frame that may be appended, the likeliest; None for all.
        nbest: texts to return, at most `beams`.
        word_separator: symbol that stands once between words, such as "|"; None where they follow each other directly.
        excluded: ids that no text holds, such as those of `<bos>`, `<eos>` and `<unk>`.

    Returns:
        Different texts, best first; fewer than `nbest` where the beam holds fewer, none where no text can be.

    Raises:
        ValueError: a shape, size, weight or symbol that does not fit; the message names it.
    """
    scores = as_log_probs(log_probs, "(frames, vocabulary)").double().cpu().numpy().copy()
    check_blank(blank, scores.shape[1])
    _check_sizes(beams, top_tokens, nbest)
    if symbols is not None and len(symbols) != scores.shape[1]:
        raise ValueError(f"symbols has {len(symbols)} entries, log_probs a vocabulary of {scores.shape[1]}")
    worth = TextWorth(ngram, ngram_weight, token_insertion)
    if symbols is None and (ngram_weight or lexicon is not None):
        raise ValueError("symbols is None; an n-gram and a lexicon need the symbols of the ids")
    if lexicon is None and word_separator is not None:
        raise ValueError(f"word_separator={word_separator!r} is for a lexicon, but lexicon is None")
    reader: SymbolReader | WordReader = SymbolReader(worth, symbols)
    if lexicon is not None and symbols is not None:
        reader = WordReader(worth, symbols, lexicon, word_separator, nbest, beams)
    if not set(excluded) <= set(range(scores.shape[1])) - {blank}:
        raise ValueError(f"excluded={sorted(excluded)} must be ids from 0 to {scores.shape[1] - 1}, without the blank")
    scores[:, list(excluded)] = _NEVER
    found = _whole_texts(_search(scores, blank, beams, top_tokens, reader, worth.most), reader)
    return _score(found, scores, blank, worth)[:nbest]


def _check_sizes(beams: int, top_tokens: int | None, nbest: int) -> None:
    if beams < 1 or (top_tokens is not None and top_tokens < 1):
        raise ValueError(f"beams={beams}, top_tokens={top_tokens}; allowed: at least 1")
    if not 1 <= nbest <= beams:
        raise ValueError(f"nbest={nbest} must be 1 to beams={beams}")


class _Prefix:
    """A node of the tree of prefixes: a labeling so far; ln P of its paths that end in blank, in its id, in either.

    Probabilities count while the prefix is `kept`, in the beam.
    """

    __slots__ = ("blank", "children", "kept", "label", "parent", "reach", "readings", "token", "total", "worth")

    def __init__(self, parent: "_Prefix | None", token: int, readings: list[Reading]) -> None:
        self.parent, self.token, self.readings = parent, token, readings
        self.children: dict[int, _Prefix | None] = {}  # None for what cannot follow
        self.worth = max(reading.worth + reading.ahead for reading in readings)  # ranks it
        self.reach = max(reading.worth for reading in readings)  # that of its children is no more, but for `most`
        self.blank = self.label = self.total = _NEVER
        self.kept = False

    def keep(self, blank: float, label: float) -> "_Prefix":
        self.blank, self.label, self.total, self.kept = blank, label, _add(blank, label), True
        return self

    def before(self, token: int) -> float:
        """ln P of the paths that `token` may follow: a blank parts it from its repetition."""
        return self.blank if token == self.token else self.total

    def child(self, token: int, reader: SymbolReader | WordReader) -> "_Prefix | None":
        """The prefix with `token` after it, or None where that cannot be."""
        try:
            return self.children[token]
        except KeyError:
            readings = reader.extend(self.readings, token)
            self.children[token] = _Prefix(self, token, readings) if readings else None
            return self.children[token]

    def ids(self) -> tuple[int, ...]:
        ids: list[int] = []
        prefix = self
        while prefix.parent is not None:
            ids.append(prefix.token)
            prefix = prefix.parent
        return tuple(reversed(ids))


class _Reached(NamedTuple):
    """A prefix after one frame more: what ranks it, and ln P of its paths that end in blank and in its id."""

    score: float
    prefix: _Prefix
    blank: float
    label: float


def _add(a: float, b: float) -> float:
    """ln(e^a + e^b)."""
    if a < b:
        a, b = b, a
    return a if b == _NEVER else a + math.log1p(math.exp(b - a))


def _search(
    scores: np.ndarray,
    blank: int,
    beams: int,
    top_tokens: int | None,
    reader: SymbolReader | WordReader,
    most: float,
) -> list[_Prefix]:
    """The prefixes of the last beam; `most` is what one symbol more can add to a text's worth."""
    beam = [_Prefix(None, -1, reader.begin()).keep(0.0, _NEVER)]
    for frame, (row, tokens) in enumerate(_frames(scores, blank, top_tokens)):
        reached = _stay(beam, row, blank)
        # A prefix that is new has one parent, hence one gain, which must reach what the beam has without it.
        floor = min(each.score for each in reached) if len(beam) == beams else _NEVER
        for prefix in beam:
            reached += _new(prefix, row, tokens, reader, floor - prefix.reach - most)
        best = heapq.nlargest(beams, reached, key=operator.attrgetter("score"))
        for prefix in beam:
            prefix.kept = False
        beam = [each.prefix.keep(each.blank, each.label) for each in best if each.score > _NEVER]
        if frame % SWEEP == SWEEP - 1:
            _sweep(beam)
    return beam


def _frames(scores: np.ndarray, blank: int, top_tokens: int | None) -> Iterator[tuple[list[float], list[int]]]:
    """Of each frame its row, and the ids that may be appended there, likeliest first."""
    for row in scores:
        order = np.argsort(-row, kind="stable").tolist()
        yield row.tolist(), [token for token in order if token != blank and row[token] > _NEVER][:top_tokens]


def _stay(beam: list[_Prefix], row: list[float], blank: int) -> list[_Reached]:
    """The prefixes of the beam after one frame more: a blank, their last id again, or that id after their parent."""
    reached = []
    for prefix in beam:
        in_blank, in_label = prefix.total + row[blank], prefix.label + row[prefix.token]
        if prefix.parent is not None and prefix.parent.kept:
            in_label = _add(in_label, prefix.parent.before(prefix.token) + row[prefix.token])
        reached.append(_Reached(_add(in_blank, in_label) + prefix.worth, prefix, in_blank, in_label))
    return reached


def _new(
    prefix: _Prefix, row: list[float], tokens: list[int], reader: SymbolReader | WordReader, least: float
) -> Iterator[_Reached]:
    """The prefixes that are not in the beam and have one token more, likeliest first, from a gain of `least`."""
    for token in tokens:
        if prefix.total + row[token] < least:
            return
        gain = prefix.before(token) + row[token]
        child = prefix.child(token, reader) if gain > _NEVER and gain >= least else None
        if child is not None and not child.kept:
            yield _Reached(gain + child.worth, child, _NEVER, gain)


def _sweep(beam: list[_Prefix]) -> None:
    """Drop from the tree whatever does not lead to the beam."""
    alive: set[_Prefix] = set()
    for leaf in beam:
        prefix: _Prefix | None = leaf
        while prefix is not None and prefix not in alive:
            alive.add(prefix)
            prefix = prefix.parent
    for prefix in alive:
        prefix.children = {token: child for token, child in prefix.children.items() if child in alive}


def _whole_texts(
    beam: list[_Prefix], reader: SymbolReader | WordReader
) -> dict[tuple[int, ...], list[tuple[str, ...]]]:
    """The texts of each labeling of the beam, cut back to its last whole word."""
    found: dict[tuple[int, ...], list[tuple[str, ...]]] = {}
    for prefix in beam:
        whole = prefix
        while not (texts := list(reader.texts(whole.readings, whole.ids()))):
            assert whole.parent is not None  # the empty labeling is the empty text
            whole = whole.parent
        found[whole.ids()] = texts
    return found


def _score(
    found: dict[tuple[int, ...], list[tuple[str, ...]]], scores: np.ndarray, blank: int, worth: TextWorth
) -> list[CtcHypothesis]:
    """All hypotheses that can be, each text once, best first."""
    best: dict[tuple[object, ...], CtcHypothesis] = {}
    for (ids, texts), ctc in zip(found.items(), ctc_log_probs(scores, list(found), blank).tolist(), strict=True):
        for tokens in texts:
            ngram, insertion = worth.parts(tokens, len(tokens) or len(ids))
            hypothesis = CtcHypothesis(tokens, ids, ctc + ngram + insertion, ctc, ngram, insertion)
            key = tokens or ids
            if hypothesis.score > _NEVER and (key not in best or hypothesis.score > best[key].score):
                best[key] = hypothesis
    return sorted(best.values(), key=lambda hypothesis: -hypothesis.score)
