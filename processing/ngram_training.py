"""An n-gram from texts, without SRILM or KenLM: interpolated Kneser-Ney smoothing.

Kneser and Ney 1995, in the interpolated form of Chen and Goodman 1998 (An Empirical Study of Smoothing Techniques for
Language Modeling, TR-10-98, Harvard), with one discount per order:

    P(w | h) = (a(h w) - D) / a(h ·) + D N(h ·) / a(h ·) · P(w | h without its first word)

- a(h w) counts occurrences for the longest n-grams and for those that begin with `<s>`; for shorter ones it counts the
  *different* words seen before `h w`. N(h ·) is the number of different words after `h`.
- D = n1 / (n1 + 2 n2) from the n-grams of that length that have a = 1 and a = 2; 0.5 where a text is too small or too
  regular to have both.
- Under the 1-grams lies the same probability for every word, `</s>` and `<unk>` included; so every word of the
  vocabulary has some in every context, and each context sums to 1.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from .arpa import LOG_ZERO, Grams
from .ngram import BEGIN, END, UNKNOWN, NGram

FALLBACK_DISCOUNT = 0.5  # as KenLM's --discount_fallback for n-grams that were seen once

_Counts = dict[tuple[str, ...], int]


def train_ngram(sentences: Iterable[Sequence[str]], order: int = 3, vocabulary: Iterable[str] = ()) -> NGram:
    """The n-gram of some texts.

        train_ngram((line.split() for line in lines), order=3)  # of words
        train_ngram(map(list, lines), order=5, vocabulary=characters)  # of characters

    Args:
        sentences: tokens of each text, without `<s>` and `</s>`. `<unk>` among them counts as a word.
        order: length of the longest n-grams.
        vocabulary: words that get a probability although no text may hold them, such as a tokenizer's symbols. Any
            other is `<unk>`.

    Raises:
        TypeError: a sentence is one string, or a token is not a string.
        ValueError: `order` is below 1, there is no sentence, or a token is `<s>`, `</s>` or empty.
    """
    if order < 1:
        raise ValueError(f"order={order} must be at least 1")
    counts = _count(sentences, order)
    words = {gram[0] for gram in counts[0]} - {BEGIN} | set(_checked(list(vocabulary), "vocabulary")) | {END, UNKNOWN}
    probabilities: dict[tuple[str, ...], float] = {}
    backoffs: dict[tuple[str, ...], float] = {}
    for length, adjusted in enumerate(_adjusted(counts), 1):
        discount = _discount(adjusted)
        totals, kinds = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        for gram, count in adjusted.items():
            totals[gram[:-1]] += count
            kinds[gram[:-1]] += 1
        backoffs.update({context: discount * kinds[context] / totals[context] for context in totals})
        if length == 1:
            probabilities.update({(word,): backoffs[()] / len(words) for word in words})
        for gram, count in adjusted.items():
            lower = probabilities[gram] if length == 1 else backoffs[gram[:-1]] * probabilities[gram[1:]]
            probabilities[gram] = (count - discount) / totals[gram[:-1]] + lower
    return NGram(_as_grams(probabilities, backoffs))


def _checked(tokens: Sequence[str], name: str) -> Sequence[str]:
    """`tokens` that can be words of an n-gram."""
    if isinstance(tokens, str):
        raise TypeError(f"{name} is one string; give its tokens, such as text.split() or list(text)")
    for token in tokens:
        if not isinstance(token, str):
            raise TypeError(f"{name} holds a {type(token).__name__}, {token!r}; tokens are strings")
        if token in (BEGIN, END, ""):
            raise ValueError(f"{name} holds {token!r}, which cannot be a token; {BEGIN} and {END} are added here")
    return tokens


def _count(sentences: Iterable[Sequence[str]], order: int) -> list[_Counts]:
    """Occurrences of the n-grams of each length from 1 to `order`, or to the longest that there is."""
    counts: list[_Counts] = [Counter() for _ in range(order)]
    for index, sentence in enumerate(sentences):
        tokens = (BEGIN, *_checked(sentence, f"sentences[{index}]"), END)
        for length, grams in enumerate(counts, 1):
            for first in range(len(tokens) - length + 1):
                gram = tokens[first : first + length]
                grams[gram] = grams.get(gram, 0) + 1
    if not counts[0]:
        raise ValueError("sentences is empty: no text to count")
    return [grams for grams in counts if grams]


def _adjusted(counts: list[_Counts]) -> list[_Counts]:
    """a(n-gram) of each length; without the 1-gram `<s>`, which is never predicted."""
    adjusted = []
    for shorter, longer in pairwise(counts):
        before = Counter(gram[1:] for gram in longer)
        adjusted.append({gram: count if gram[0] == BEGIN else before[gram] for gram, count in shorter.items()})
    adjusted.append(dict(counts[-1]))
    adjusted[0].pop((BEGIN,))
    return adjusted


def _discount(adjusted: _Counts) -> float:
    """What is taken from each n-gram of one length."""
    times = Counter(adjusted.values())
    return times[1] / (times[1] + 2 * times[2]) if times[1] and times[2] else FALLBACK_DISCOUNT


def _as_grams(probabilities: dict[tuple[str, ...], float], backoffs: dict[tuple[str, ...], float]) -> Grams:
    """Logarithms of base 10, as in a file."""
    grams: Grams = {(BEGIN,): (LOG_ZERO, math.log10(backoffs.get((BEGIN,), 1.0)))}
    for gram, probability in probabilities.items():
        # Rounding may lift a certainty above 1.
        grams[gram] = (min(0.0, math.log10(probability)), math.log10(backoffs.get(gram, 1.0)))
    return grams
