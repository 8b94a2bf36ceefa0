"""Words and how they are pronounced, as a tree of symbols.

- A word may have several pronunciations, and words that sound alike stay apart.
- Symbols are those of the model: phonemes, letters, whatever its ids stand for.
- Read from text: `word p1 p2 …`, one pronunciation a line, as Kaldi's `lexicon.txt` and CMUdict are (`word(2)` is
  another pronunciation of `word`; lines from `;;;` and what follows a lone `#` are comments).

    lexicon = Lexicon.read("lexicon.txt")
    lexicon = Lexicon.spelled(["one", "two"])  # a model of characters that may write these words only
"""

import codecs
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from .files import write_whole

ROOT = 0  # the place in the tree before the first symbol of a word
_NUMBERED = re.compile(r"(.+)\(\d+\)")


class Lexicon:
    """Pronunciations of words.

    Args:
        pronunciations: of each word, one or several sequences of symbols.

    Attributes:
        pronunciations: of each word, those that differ.
        symbols: all symbols.

    Raises:
        TypeError: a word or a pronunciation is not what it should be.
        ValueError: no word, a word without a pronunciation, or an empty word, pronunciation or symbol.
    """

    def __init__(self, pronunciations: Mapping[str, Iterable[Sequence[str]]]) -> None:
        self.pronunciations: dict[str, tuple[tuple[str, ...], ...]] = {}
        self._next: dict[tuple[int, str], int] = {}  # place and symbol: the place after it
        self._words: dict[int, list[str]] = {}
        self._places = ROOT + 1
        for word, several in pronunciations.items():
            distinct = tuple(dict.fromkeys(_checked(word, pronunciation) for pronunciation in several))
            if not word or not distinct:
                raise ValueError(f"word {word!r} has pronunciations {distinct}; allowed: a word with at least one")
            self.pronunciations[word] = distinct
            for pronunciation in distinct:
                self._add(word, pronunciation)
        if not self.pronunciations:
            raise ValueError("pronunciations is empty: a lexicon needs a word")
        self.symbols = frozenset(symbol for _, symbol in self._next)
        self._inner = frozenset(place for place, _ in self._next)

    def _add(self, word: str, pronunciation: tuple[str, ...]) -> None:
        place = ROOT
        for symbol in pronunciation:
            if (place, symbol) not in self._next:
                self._next[place, symbol] = self._places
                self._places += 1
            place = self._next[place, symbol]
        self._words.setdefault(place, []).append(word)

    @classmethod
    def read(cls, path: str | Path) -> "Lexicon":
        """The lexicon in a text file.

        Raises:
            OSError: the file is missing or cannot be read.
            ValueError: a word without a pronunciation, or no UTF-8; the message names file and line.
        """
        pronunciations: dict[str, list[tuple[str, ...]]] = {}
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                    fields = [field.decode("utf-8") for field in line.split()]  # bytes part at ASCII white space only
                except UnicodeDecodeError:
                    raise ValueError(f"{path}:{number}: not UTF-8") from None
                if not fields or fields[0].startswith(";;;") or fields[0] == "#":
                    continue
                word, *symbols = fields[: fields.index("#")] if "#" in fields else fields
                if not symbols:
                    raise ValueError(f"{path}:{number}: {word!r} has no pronunciation; a line is: word p1 p2 …")
                numbered = _NUMBERED.fullmatch(word)
                pronunciations.setdefault(numbered[1] if numbered else word, []).append(tuple(symbols))
        if not pronunciations:
            raise ValueError(f"{path}: no word in it; a line is: word p1 p2 …")
        return cls(pronunciations)

    @classmethod
    def spelled(cls, words: Iterable[str]) -> "Lexicon":
        """Words whose symbols are their characters (code points).

        Raises:
            TypeError: `words` is one string.
            ValueError: no word, or an empty one.
        """
        if isinstance(words, str):
            raise TypeError("words is one string; give an iterable of words, such as a list")
        return cls({word: [tuple(word)] for word in words})

    def write(self, path: str | Path) -> Path:
        """Write a text file that `read` takes, whole or not at all; returns the path.

        Raises:
            OSError: the file cannot be written.
            ValueError: a word or symbol that such a file cannot hold, as it would be read as another.
        """
        lines = []
        for word, several in self.pronunciations.items():
            if word.startswith(";;;") or _NUMBERED.fullmatch(word):
                raise ValueError(f"word {word!r} cannot be written: it would be read as a comment or another word")
            for pronunciation in several:
                for field in (word, *pronunciation):
                    if field == "#" or field.encode().split() != [field.encode()]:
                        raise ValueError(f"{field!r} cannot be written: it is a comment's mark or holds white space")
                lines.append(f"{word}\t{' '.join(pronunciation)}\n")
        return write_whole(path, "".join(lines))

    def __len__(self) -> int:
        return len(self.pronunciations)

    def __contains__(self, word: object) -> bool:
        return word in self.pronunciations

    def follow(self, place: int, symbol: str) -> int | None:
        """The place after `symbol`, or None where no word goes on so. `ROOT` is the place before a word."""
        return self._next.get((place, symbol))

    def goes_on(self, place: int) -> bool:
        """Whether a word has a symbol after `place`."""
        return place in self._inner

    def best_ahead(self, value: Callable[[str], float]) -> list[float]:
        """Of each place, the highest `value` of the words that end there or later."""
        best = [-math.inf] * self._places
        for place, words in self._words.items():
            best[place] = max(map(value, words))
        for (place, _), after in reversed(self._next.items()):  # what lies after a place was added after it
            best[place] = max(best[place], best[after])
        return best

    def words_at(self, place: int) -> Sequence[str]:
        """The words whose pronunciation ends at `place`."""
        return self._words.get(place, ())


def _checked(word: object, pronunciation: object) -> tuple[str, ...]:
    """One pronunciation as a tuple."""
    if not isinstance(word, str):
        raise TypeError(f"word {word!r} is a {type(word).__name__}, not a string")
    if isinstance(pronunciation, str) or not isinstance(pronunciation, Sequence):
        raise TypeError(f"{word!r} has the pronunciation {pronunciation!r}; give its symbols, such as ('k', 'æ', 't')")
    if not all(isinstance(symbol, str) and symbol for symbol in pronunciation) or not pronunciation:
        raise ValueError(f"{word!r} has the pronunciation {pronunciation!r}; its symbols must be strings, not empty")
    return tuple(pronunciation)
