"""Hot words in a search that asks a language model: what a text gains by them is added to what an n-gram gives it.

    model = HotWordModel(hot_symbols(tokenizer, {"tango": 5.0}), NGram.read("strings.arpa"), 0.3)
    ctc_prefix_search(log_probs, symbols=tokens, ngram=model, ngram_weight=1.0)

What a word gains, and when, is said in `hot_words.py`; here it is told token by token, without a list of sequences.
"""

from typing import Any, cast

from .hot_words import HotTree
from .ngram import END, LanguageModel, State
from .tokenizer_units import BOS, EOS


class HotWordModel:
    """A `LanguageModel` of hot words and, weighted, of another.

    Args:
        tree: Of the hot words, in what the search calls tokens.
        ngram: The other, or None.
        weight: Of the other.

    Attributes:
        start: The state before the first token.
        most: What one token can gain at most.
    """

    def __init__(self, tree: HotTree[str], ngram: LanguageModel | None = None, weight: float = 1.0) -> None:
        self._tree, self._ngram, self._weight = tree, ngram, weight
        self._beginnings = {path[:length] for path in tree.promised for length in range(1, len(path) + 1)}
        # A state is that of the other model and the tokens that may begin a hot word.
        self.start: State = cast(Any, (() if ngram is None else ngram.start, self._kept((BOS,))))
        self.most = sum(map(abs, tree.whole.values()))

    def score(self, history: State, word: str) -> float:
        """What `word` is worth after `history`; the empty state knows nothing of what was before."""
        other, recent = cast(Any, history or ((), ()))
        token = EOS if word == END else word
        gain, promised = 0.0, self._tree.promised
        for first in range(len(recent) + 1):
            beginning = recent[first:]
            if (path := (*beginning, token)) in promised:
                gain += self._tree.entered(path)
            elif beginning in promised:
                gain += self._tree.left(beginning, token)
        return gain if self._ngram is None else gain + self._weight * self._ngram.score(other, word)

    def advance(self, state: State, word: str) -> State:
        """The state after `word`."""
        other, recent = cast(Any, state or ((), ()))
        after = () if self._ngram is None else self._ngram.advance(other, word)
        return cast(Any, (after, self._kept((*recent, word))))

    def _kept(self, recent: tuple[str, ...]) -> tuple[str, ...]:
        """The longest end of `recent` that a hot word may begin with."""
        return next((end for first in range(len(recent)) if (end := recent[first:]) in self._beginnings), ())
