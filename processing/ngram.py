"""Back-off n-grams (Katz 1987): the probability of a word after those before it.

- Read from ARPA files in Python, any order, plain or gzipped; made from texts by `ngram_training.py`.
- Whatever scores words offers `LanguageModel`: a start, a score, a next state. KenLM does too (`ngram_kenlm.py`).
- A state is the longest end of the history that can still matter, so hypotheses whose futures are equal have equal
  states, and one dictionary of n-grams is all that scoring needs.
- `table_arrays` lays a small model out over a tokenizer's ids, for beam search on the device.

Logarithms are natural here, and of base 10 in files and in `grams`.

    ngram = NGram.read("words.arpa.gz")
    ngram.sentence(["one", "two"])  # ln P(one | <s>) + ln P(two | <s> one) + ln P(</s> | …)
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from .arpa import Grams, read_arpa, write_arpa
from .tokenizers import BOS, EOS, PAD, UNK

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
LN10 = math.log(10)
MAX_CELLS = 2**26  # of a dense table: half a gigabyte at eight bytes a cell

State = tuple[str, ...]


class LanguageModel(Protocol):
    """Scores words from left to right.

    Attributes:
        start: the state before the first word.
    """

    start: State

    def score(self, history: State, word: str) -> float:
        """ln P(word | history)."""

    def advance(self, state: State, word: str) -> State:
        """The state after `word`."""


def sentence_score(model: LanguageModel, words: Sequence[str], end: bool = True) -> float:
    """ln P of all of `words`, and of the end after them.

    Args:
        model: any `LanguageModel`.
        words: without `<s>` and `</s>`.
        end: count `</s>` too; False for an unfinished text.
    """
    state, total = model.start, 0.0
    for word in words:
        total += model.score(state, word)
        state = model.advance(state, word)
    return total + model.score(state, END) if end else total


class NGram:
    """A back-off n-gram model.

    P(w | h) is the listed probability of `h w` where there is one, else the back-off weight of `h` (1 where none is
    listed) times P(w | h without its first word).

    Args:
        grams: n-grams with log10 of probability and back-off weight, as `arpa.read_arpa` gives them.
        unknown: ln P of a word that the model lacks, where it has no `<unk>` either.

    Attributes:
        grams: as given.
        order: length of the longest n-gram.
        contexts: all states: what an n-gram continues, or what has a back-off weight that is not 1.
        start: the state before the first word.

    Raises:
        ValueError: `<s>` or `</s>` is not among the words, or `unknown` is above 0.
    """

    def __init__(self, grams: Grams, unknown: float = -math.inf) -> None:
        for marker in (BEGIN, END):
            if (marker,) not in grams:
                raise ValueError(f"the n-gram has no {marker}: sentences must begin with {BEGIN} and end with {END}")
        if not unknown <= 0:
            raise ValueError(f"unknown={unknown} is ln of a probability: it must be at most 0")
        self.grams, self.unknown = grams, unknown
        self.order = max(map(len, grams))
        self.contexts = {gram[:-1] for gram in grams}
        self.contexts.update(gram for gram, (_, backoff) in grams.items() if backoff != 0)
        self._other = UNKNOWN if (UNKNOWN,) in grams else None
        self.start: State = self.state((BEGIN,))

    @classmethod
    def read(cls, path: str | Path, unknown: float = -math.inf) -> "NGram":
        """The model in an ARPA file, plain or gzipped.

        Args:
            path: the file.
            unknown: ln P of a word that the model lacks, where it has no `<unk>` either.

        Raises:
            OSError: the file is missing, cannot be read or is damaged.
            ValueError: it is no whole ARPA file of sentences; the message names file and line.
        """
        grams = read_arpa(path)
        try:
            return cls(grams, unknown)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def write(self, path: str | Path) -> Path:
        """Write an ARPA file whole or not at all, gzipped where the name ends in `.gz`; returns the path.

        Raises:
            OSError: the file cannot be written; what stood there is untouched.
            ValueError: a word that the format cannot hold.
        """
        return write_arpa(path, self.grams)

    def __contains__(self, word: object) -> bool:
        return (word,) in self.grams

    @property
    def words(self) -> list[str]:
        """All words, with `<s>`, `</s>` and, where the model has it, `<unk>`."""
        return [gram[0] for gram in self.grams if len(gram) == 1]

    def known(self, word: str) -> str:
        """`word`, or `<unk>` for one that the model lacks, where it has an `<unk>`."""
        return word if self._other is None or (word,) in self.grams else self._other

    def state(self, history: Sequence[str]) -> State:
        """The longest end of `history` that can matter for what follows.

        Args:
            history: words from `<s>`, or from anywhere later.
        """
        kept = tuple(map(self.known, history[max(0, len(history) - self.order + 1) :]))
        for first in range(len(kept)):
            if kept[first:] in self.contexts:
                return kept[first:]
        return ()

    def score(self, history: State, word: str) -> float:
        """ln P(word | history); -inf for `<s>`, which is never predicted.

        Args:
            history: the words before, or the state after them.
            word: the next one; `</s>` for the end.
        """
        word = self.known(word)
        if word == BEGIN or (word,) not in self.grams:
            return -math.inf if word == BEGIN else self.unknown
        history = tuple(map(self.known, history[max(0, len(history) - self.order + 1) :]))
        total = 0.0
        for first in range(len(history) + 1):
            context = history[first:]
            if (listed := self.grams.get((*context, word))) is not None:
                return (total + listed[0]) * LN10
            total += self.grams.get(context, (0.0, 0.0))[1]
        raise AssertionError("every word is a listed 1-gram")

    def advance(self, state: State, word: str) -> State:
        """The state after `word`."""
        return self.state((*state, word))

    def sentence(self, words: Sequence[str], end: bool = True) -> float:
        """ln P of `words` from `<s>`, with `</s>` after them unless `end` is False."""
        return sentence_score(self, words, end)


class TableArrays(NamedTuple):
    """An n-gram over token ids, as `modeling.NGramTable.from_arrays` takes it.

    Attributes:
        next_state: int32 `(states, vocabulary)`.
        log_probs: float32 `(states, vocabulary)`, natural logarithms.
        start: the state before the first token.
    """

    next_state: np.ndarray
    log_probs: np.ndarray
    start: int


def table_arrays(
    ngram: NGram,
    symbols: Sequence[str],
    pad: str = PAD,
    bos: str = BOS,
    eos: str = EOS,
    unk: str = UNK,
    max_cells: int = MAX_CELLS,
) -> TableArrays:
    """The n-gram as dense tables over a tokenizer's ids.

    A row is the row of the shorter state plus the back-off weight, with the listed n-grams written over it. `pad` and
    `bos` have no probability; `bos` leads to the start and `pad` nowhere, so that either may be advanced over.

    Args:
        ngram: over the tokenizer's symbols.
        symbols: the tokens in the order of their ids, `tokenizer.convert_ids_to_tokens(range(len(tokenizer)))`. One
            that the n-gram lacks is its `<unk>`, or has `ngram.unknown`.
        pad, bos, eos, unk: the special ones among them; `eos` is `</s>`, `unk` is `<unk>`.
        max_cells: most states times symbols.

    Raises:
        ValueError: the tables would have more cells than `max_cells`.
    """
    columns: dict[str, list[int]] = {}
    for index, symbol in enumerate(symbols):
        if symbol not in (pad, bos):
            columns.setdefault({eos: END, unk: UNKNOWN}.get(symbol) or ngram.known(symbol), []).append(index)
    states = _states(ngram, columns)
    if len(states) * len(symbols) > max_cells:
        raise ValueError(
            f"the n-gram has {len(states)} states over {len(symbols)} symbols, {len(states) * len(symbols)} cells; "
            f"allowed: {max_cells}. Take a lower order, or an n-gram of fewer entries"
        )
    numbers = {state: number for number, state in enumerate(states)}
    followers: dict[State, list[str]] = {}
    for gram in ngram.grams:
        if gram[-1] in columns:
            followers.setdefault(gram[:-1], []).append(gram[-1])
    log_probs = np.zeros((len(states), len(symbols)))
    next_state = np.zeros((len(states), len(symbols)), dtype=np.int32)
    for number, state in enumerate(states):
        if state:  # the shorter state stands before it
            shorter = numbers[ngram.state(state[1:])]
            log_probs[number] = log_probs[shorter] + ngram.grams[state][1] * LN10
            next_state[number] = next_state[shorter]
        for word in followers.get(state, []):
            longer = (*state, word)
            log_probs[number, columns[word]] = ngram.grams[longer][0] * LN10
            next_state[number, columns[word]] = 0 if word == END else numbers[ngram.state(longer)]
    start = numbers[ngram.start]
    log_probs[:, [place for word, places in columns.items() if word not in ngram for place in places]] = ngram.unknown
    for index, symbol in enumerate(symbols):
        if symbol in (pad, bos):
            log_probs[:, index] = -math.inf
            next_state[:, index] = start if symbol == bos else np.arange(len(states))
    return TableArrays(next_state, log_probs.astype(np.float32), start)


def _states(ngram: NGram, words: Mapping[str, object]) -> list[State]:
    """All states that texts of `words` can lead to, the shorter ones first."""
    followed = set(words) - {BEGIN, END}
    reached = {()} | {state for state in ngram.contexts if followed.issuperset(state[state[:1] == (BEGIN,) :])}
    return sorted(reached, key=lambda state: (len(state), state))
