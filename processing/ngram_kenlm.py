"""KenLM as a `LanguageModel`, for n-grams that are too large for Python: binary files, memory-mapped.

`kenlm` is optional and is imported when a model is read: `pip install kenlm`.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arpa import arpa_word
from .ngram import BEGIN, LN10, State, sentence_score


class KenLM:
    """An n-gram that KenLM holds (Heafield 2011, KenLM: Faster and Smaller Language Model Queries).

    A state is the last `order - 1` words. KenLM decides what an unknown word costs: its `<unk>`, else 1e-100.

    Args:
        model: a `kenlm.Model`.

    Attributes:
        order: length of the longest n-gram.
        start: the state before the first word.
    """

    def __init__(self, model: Any) -> None:
        import kenlm  # type: ignore[import-not-found]

        self._model, self._state = model, kenlm.State
        self.order: int = model.order
        self.start: State = (BEGIN,) if self.order > 1 else ()

    def score(self, history: State, word: str) -> float:
        """ln P(word | history); -inf for `<s>`, which is never predicted.

        Args:
            history: the words before; the last `order - 1` count.
            word: the next one; `</s>` for the end.
        """
        if word == BEGIN:
            return -math.inf
        before, after = self._state(), self._state()
        kept = tuple(history[max(0, len(history) - self.order + 1) :])
        if kept[:1] == (BEGIN,):
            self._model.BeginSentenceWrite(before)
        else:
            self._model.NullContextWrite(before)
        for past in kept[kept[:1] == (BEGIN,) :]:
            self._model.BaseScore(before, arpa_word(past), after)
            before, after = after, before
        return self._model.BaseScore(before, arpa_word(word), after) * LN10

    def advance(self, state: State, word: str) -> State:
        """The state after `word`."""
        return (*state, word)[max(0, len(state) + 2 - self.order) :]

    def sentence(self, words: Sequence[str], end: bool = True) -> float:
        """ln P of `words` from `<s>`, with `</s>` after them unless `end` is False."""
        return sentence_score(self, words, end)


def read_kenlm(path: str | Path) -> KenLM:
    """The model in an ARPA file, or in one that KenLM's `build_binary` made.

    Raises:
        ImportError: `kenlm` is not installed.
        OSError: the file is missing, or KenLM cannot read it.
    """
    try:
        import kenlm
    except ImportError as error:
        raise ImportError(
            "read_kenlm needs the package kenlm: pip install kenlm; NGram.read reads ARPA files without it"
        ) from error
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return KenLM(kenlm.Model(str(path)))
