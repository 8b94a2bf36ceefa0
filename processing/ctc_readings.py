"""What the symbols that a CTC search has written so far may mean, and what that is worth.

- The search sees prefixes of symbols; the probability of a prefix under CTC does not depend on how it is read.
- A prefix has one reading without a lexicon. With one it has several: "a b" may be two words, the start of a longer
  one, or one of two words that sound alike. Each reading has its words, its state in the n-gram and its worth.
- Readings that stand at the same place with the same state have the same future: only the best few of them are kept.
- A word under way is ranked with the best 1-gram that it can still become (look-ahead, Ortmanns et al. 1996), else a
  beam would prefer to begin words and shun to end them. The scores of texts do not hold it.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from .lexicon import ROOT, Lexicon
from .ngram import END, LanguageModel, State

BETWEEN = -1  # the place after a word, where only a separator can follow
READINGS = 16  # enough for all places in a word under way

_AHEAD: WeakKeyDictionary[Lexicon, WeakKeyDictionary[LanguageModel, list[float]]] = WeakKeyDictionary()


class Reading(NamedTuple):
    """One way to read a prefix.

    Attributes:
        place: in the lexicon.
        words: written so far, without the one under way; empty without a lexicon, as the symbols say it all.
        state: of the n-gram.
        worth: weighted n-gram and insertions so far.
        ahead: what the word under way may add, by 1-grams; for ranking alone.
    """

    place: int
    words: tuple[str, ...]
    state: State
    worth: float
    ahead: float = 0.0


class TextWorth:
    """What texts are worth beside CTC: `weight` times ln P of the n-gram, plus `insertion` for each token.

    Args:
        ngram: over the tokens; not asked when `weight` is 0.
        weight: of the n-gram, at least 0.
        insertion: for each token of the text; above 0 makes texts longer.

    Attributes:
        start: the state of the n-gram before the first token.
        most: what one symbol more can add at most.

    Raises:
        ValueError: a weight without an n-gram, or one that is negative; either not finite.
    """

    def __init__(self, ngram: LanguageModel | None, weight: float, insertion: float) -> None:
        if not 0 <= weight < float("inf") or abs(insertion) == float("inf") or insertion != insertion:
            raise ValueError(
                f"ngram_weight={weight}, token_insertion={insertion}; allowed: at least 0, any number; both finite"
            )
        if weight and ngram is None:
            raise ValueError(f"ngram_weight={weight} weights an n-gram, but ngram is None")
        self._ngram = ngram if weight else None
        self._weight, self._insertion = weight, insertion
        self.start: State = self._ngram.start if self._ngram is not None else ()
        gain = getattr(self._ngram, "most", 0.0)  # a probability adds nothing, hot words do
        self.most = max(0.0, insertion + weight * gain)
        self._known: dict[tuple[State, str], tuple[State, float]] = {}  # many prefixes ask the same

    def after(self, state: State, token: str) -> tuple[State, float]:
        """The state after `token`, and what it is worth there; -inf where the n-gram rules it out."""
        if self._ngram is None:
            return (), self._insertion
        known = self._known.get((state, token))
        if known is None:
            worth = self._weight * self._ngram.score(state, token) + self._insertion
            known = self._known[state, token] = self._ngram.advance(state, token), worth
        return known

    def ahead(self, lexicon: Lexicon) -> list[float]:
        """Of each place in the lexicon, what the best 1-gram from there on is worth; kept for the next clip."""
        if self._ngram is None:
            return lexicon.best_ahead(lambda word: self._insertion)
        known = _AHEAD.setdefault(lexicon, WeakKeyDictionary())
        if self._ngram not in known:
            known[self._ngram] = lexicon.best_ahead(functools.partial(self._ngram.score, ()))
        return [self._weight * best + self._insertion for best in known[self._ngram]]

    def parts(self, tokens: Sequence[str], count: int) -> tuple[float, float]:
        """Weighted n-gram with `</s>`, and insertion, of a whole text of `count` tokens."""
        total, state = 0.0, self.start
        if self._ngram is not None:
            for token in tokens:
                total += self._ngram.score(state, token)
                state = self._ngram.advance(state, token)
            total = self._weight * (total + self._ngram.score(state, END))
        return total, self._insertion * count


class SymbolReader:
    """Every symbol is a token of the text.

    Args:
        worth: of texts.
        symbols: of the ids; None where nothing asks for them.
    """

    def __init__(self, worth: TextWorth, symbols: Sequence[str] | None) -> None:
        self._worth, self._symbols = worth, symbols

    def begin(self) -> list[Reading]:
        """The readings of the empty prefix."""
        return [Reading(ROOT, (), self._worth.start, 0.0)]

    def extend(self, readings: Sequence[Reading], token: int) -> list[Reading]:
        """The readings of a prefix with `token` after it; none where it cannot follow."""
        (before,) = readings
        state, worth = self._worth.after(before.state, self._symbols[token] if self._symbols else "")
        return [Reading(ROOT, (), state, before.worth + worth)] if worth > -float("inf") else []

    def texts(self, readings: Sequence[Reading], ids: Sequence[int]) -> Iterator[tuple[str, ...]]:
        """The texts that a prefix is when it ends here: one."""
        yield tuple(self._symbols[token] for token in ids) if self._symbols else ()


class WordReader:
    """Symbols make words of a lexicon.

    Args:
        worth: of texts of words.
        symbols: of the ids.
        lexicon: whose words may be written.
        separator: symbol that stands once between words; None where they follow each other directly.
        alike: readings kept of those whose future is the same.
        most: readings kept of a prefix, at least `READINGS`.

    Raises:
        ValueError: a pronunciation with a symbol that is not among `symbols`, or a separator that is not there or is
            in a pronunciation.
    """

    def __init__(
        self,
        worth: TextWorth,
        symbols: Sequence[str],
        lexicon: Lexicon,
        separator: str | None,
        alike: int,
        most: int,
    ) -> None:
        if missing := sorted(lexicon.symbols.difference(symbols)):
            raise ValueError(f"the lexicon has symbols that are not among symbols: {', '.join(map(repr, missing))}")
        if separator is not None and (separator not in symbols or separator in lexicon.symbols):
            raise ValueError(f"word_separator={separator!r} must be among symbols, and in no pronunciation")
        self._worth, self._symbols, self._lexicon, self._separator = worth, symbols, lexicon, separator
        self._alike, self._most = alike, max(READINGS, most)
        self._ahead = worth.ahead(lexicon)
        self._ended = ROOT if separator is None else BETWEEN

    def begin(self) -> list[Reading]:
        """The readings of the empty prefix."""
        return [Reading(ROOT, (), self._worth.start, 0.0)]

    def extend(self, readings: Sequence[Reading], token: int) -> list[Reading]:
        """The readings of a prefix with `token` after it, best first; none where it cannot follow.

        A word is scored where its last symbol is; the same symbols stay as the start of longer words beside it.
        """
        symbol = self._symbols[token]
        found: dict[tuple[int, tuple[str, ...]], Reading] = {}  # one for each place and words: the worth follows
        for before in readings:
            if before.place == BETWEEN:
                place = ROOT if symbol == self._separator else None
            else:
                place = self._lexicon.follow(before.place, symbol)
            if place is None:
                continue
            ahead = 0.0 if place == ROOT else self._ahead[place]
            if self._lexicon.goes_on(place) and ahead > -float("inf"):
                found[place, before.words] = before._replace(place=place, ahead=ahead)
            for word in self._lexicon.words_at(place):
                state, worth = self._worth.after(before.state, word)
                if worth > -float("inf"):
                    words = (*before.words, word)
                    found[self._ended, words] = Reading(self._ended, words, state, before.worth + worth)
        return self._best(found.values())

    def _best(self, found: Iterable[Reading]) -> list[Reading]:
        kept: list[Reading] = []
        same: dict[tuple[int, State], int] = {}
        for reading in sorted(found, key=lambda reading: -reading.worth - reading.ahead):
            if same.setdefault((reading.place, reading.state), 0) < self._alike and len(kept) < self._most:
                same[reading.place, reading.state] += 1
                kept.append(reading)
        return kept

    def texts(self, readings: Sequence[Reading], ids: Sequence[int]) -> Iterator[tuple[str, ...]]:
        """The texts that a prefix is when it ends here: those whose last word is whole."""
        for reading in readings:
            if reading.place == self._ended or not ids:
                yield reading.words
