"""Hot words: names and terms that a recogniser should prefer, as `sequence_bias` of transformers' `generate`.

    model.generate(features, num_beams=8, sequence_bias=hot_words(tokenizer, {"Ambrogio": 6.0, "Köln": 4.0}))

`sequence_bias` adds a number wherever a sequence of tokens is about to be completed. Used as it is, it comes with the
last letter of a word, too late for beams that have lost the word by then; it finds "one" in "phone" and in "onerous";
and what is given for a beginning stays with words that only begin alike. So here
- a word's bias comes in equal shares with its tokens, so that beams are led into it;
- a share is taken back as soon as the text goes on otherwise (what is given is a potential: it telescopes);
- a word counts as a whole, from the start of the text or a space to a space or the end.
An ended text has gained exactly the bias of every hot word in it, once per occurrence.
"""

import math
from collections.abc import Container, Iterable, Mapping
from typing import Any, Generic, TypeVar

BIAS = 5.0  # natural logarithms: a word becomes about 150 times as likely
MAX_SEQUENCES = 500_000  # beyond, each step of `generate` would spend longer on them than on the model

Token = TypeVar("Token")
SequenceBias = list[list[list[int] | float]]


def hot_words(tokenizer: Any, words: Mapping[str, float] | Iterable[str], bias: float | None = None) -> SequenceBias:
    """What `generate(sequence_bias=…)` takes to prefer words.

    Args:
        tokenizer: the recogniser's, of any unit.
        words: words or phrases, as the recogniser writes them; with a bias each, or all with `bias`.
        bias: what a word gains, in natural logarithms of probability; 5 makes it about 150 times as likely.

    Raises:
        TypeError: `words` is one string.
        ValueError: no word, a word that is empty or holds what the tokenizer does not know, a bias that is no number,
            or more words than `generate` can look for.
    """
    biases = _biases(words, bias)
    ends = _word_ends(tokenizer)
    tree: HotTree[int] = HotTree(ends)
    for word, gain in biases.items():
        for anchor, ids in _forms(tokenizer, word):
            tree.add(anchor, ids, gain)
    return tree.sequences(len(tokenizer))


def hot_symbols(
    tokenizer: Any, words: Mapping[str, float] | Iterable[str], bias: float | None = None
) -> "HotTree[str]":
    """The same for a search that scores texts symbol by symbol (`hot_word_model.py`); arguments as of `hot_words`.

    Raises:
        TypeError, ValueError: as `hot_words`.
    """
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    ends = _word_ends(tokenizer)
    tree: HotTree[str] = HotTree(None if ends is None else {names[token] for token in ends})
    for word, gain in _biases(words, bias).items():
        for anchor, ids in _forms(tokenizer, word):
            tree.add(tuple(names[token] for token in anchor), tuple(names[token] for token in ids), gain)
    return tree


def hot_phrases(
    words: Mapping[str, float] | Iterable[str], known: Container[str], bias: float | None = None
) -> "HotTree[str]":
    """The same for a search that scores texts word by word.

    Args:
        words: as of `hot_words`; a phrase is words separated by spaces.
        known: what can be written, such as a `Lexicon`.
        bias: as of `hot_words`.

    Raises:
        TypeError, ValueError: as `hot_words`.
    """
    tree: HotTree[str] = HotTree(None)
    for phrase, gain in _biases(words, bias).items():
        if unknown := [word for word in phrase.split() if word not in known]:
            raise ValueError(f"words hold {phrase!r}, and {unknown[0]!r} is not in the lexicon")
        tree.add((), tuple(phrase.split()), gain)
    return tree


class HotTree(Generic[Token]):
    """The beginnings of hot words, in tokens, and what a text has gained when it stands there.

    Args:
        ends: tokens before which a word has ended; None where every token is a word.
    """

    def __init__(self, ends: set[Token] | None) -> None:
        self.ends = ends
        self.promised: dict[tuple[Token, ...], float] = {}  # shares of what may become a hot word
        self.whole: dict[tuple[Token, ...], float] = {}  # what a hot word gains that ends here

    def add(self, anchor: tuple[Token, ...], ids: tuple[Token, ...], gain: float) -> None:
        """A word of tokens `ids` after `anchor`, in shares: one for each token, and one for the end that follows."""
        shares = len(ids) + (self.ends is not None)
        for k in range(1, len(ids) + 1):
            share = gain * k / shares if k < shares else 0.0
            path = anchor + ids[:k]
            self.promised[path] = max(self.promised.get(path, share), share)
        self.whole[anchor + ids] = gain

    def _banked(self, path: tuple[Token, ...]) -> float:
        """What hot words have gained that are whole on the way to `path`."""
        if path[:-1] not in self.promised:
            return self.whole.get(path, 0.0) if self.ends is None else 0.0
        return self._banked(path[:-1]) + self._gained(path)

    def _gained(self, path: tuple[Token, ...]) -> float:
        """What the last token of `path` makes whole."""
        if self.ends is None:
            return self.whole.get(path, 0.0)
        return self.whole.get(path[:-1], 0.0) if path[-1] in self.ends else 0.0

    def entered(self, path: tuple[Token, ...]) -> float:
        """What the last token of `path`, a beginning, gains."""
        before = path[:-1]
        had = self._banked(before) + self.promised[before] if before in self.promised else 0.0
        return self._banked(path) + self.promised[path] - had

    def left(self, path: tuple[Token, ...], token: Token) -> float:
        """What `token` gains, or loses, that leaves `path`, a beginning."""
        return (self._gained((*path, token)) if self.ends is not None else 0.0) - self.promised[path]

    def sequences(self: "HotTree[int]", tokens: int) -> SequenceBias:
        """Every beginning, and every beginning with a token that leaves it: what is gained, or taken back."""
        if (count := len(self.promised) * tokens) > MAX_SEQUENCES:
            raise ValueError(
                f"{len(self.promised)} beginnings of hot words before {tokens} tokens are {count} sequences; "
                f"allowed: {MAX_SEQUENCES}. Take fewer words"
            )
        biases: dict[tuple[int, ...], float] = {}
        for path in self.promised:
            biases[path] = self.entered(path)
            for token in range(tokens):
                if (after := (*path, token)) not in self.promised:
                    biases[after] = self.left(path, token)
        return [[list(path), gain] for path, gain in biases.items() if gain]


def _biases(words: Mapping[str, float] | Iterable[str], bias: float | None) -> dict[str, float]:
    if isinstance(words, str):
        raise TypeError(f"words is one string, {words!r}; give a list of words, or a dict of words and biases")
    biases: dict[str, Any] = dict(words) if isinstance(words, Mapping) else dict.fromkeys(words, bias)
    if not biases:
        raise ValueError("words is empty: no hot word to look for")
    for word, gain in biases.items():
        if isinstance(gain, bool) or not isinstance(gain, int | float) or not math.isfinite(gain):
            raise ValueError(f"the bias of {word!r} is {gain!r}; it must be a number (bias=…, or one for each word)")
        if not word.strip():
            raise ValueError(f"words hold {word!r}, which is no word")
    return {word.strip(): float(gain) for word, gain in biases.items()}


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False).input_ids)


def _forms(tokenizer: Any, word: str) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """How the word stands in a text: what must be before it, and its own tokens."""
    first, later = _ids(tokenizer, word), _ids(tokenizer, f" {word}")
    if not first or tokenizer.unk_token_id in first:
        raise ValueError(f"words hold {word!r}, which has symbols that the tokenizer does not know")
    if later == first:  # the tokens themselves say where a word begins
        return [((), first)]
    if later[1:] != first:  # the first token holds the space
        return [((tokenizer.bos_token_id,), first), ((), later)]
    return [((tokenizer.bos_token_id,), first), (later[:1], first)]


def _word_ends(tokenizer: Any) -> set[int] | None:
    """Tokens before which a word has ended, or None where every token is a word."""
    special = set(tokenizer.all_special_ids)
    usual = [token for token in range(len(tokenizer)) if token not in special]
    alone = len(tokenizer.decode([usual[-1]]))
    # With a symbol after it, since a CTC tokenizer leaves out white space at the ends.
    joined = {token: tokenizer.decode([usual[-1], token, usual[-1]]) for token in usual}
    ends = {token for token, text in joined.items() if text[alone : alone + 1].isspace()}
    return None if len(ends) == len(usual) else ends | {tokenizer.eos_token_id}
