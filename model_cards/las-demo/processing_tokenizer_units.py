"""What an id can stand for: the backends of `train_tokenizer`, one function each.

- Every vocabulary opens with `SPECIAL_TOKENS`, whose places are their ids. Of its other symbols none is one of them:
  special tokens typed as text are split, and read as the text that they are.
- No id depends on the order of the texts, and texts are composed (NFC) before they are split, as later texts are.
- Subwords carry their spaces as sentencepiece's do, as `▁`, one before every text: a word has the same symbols at the
  beginning of a text and amid it, and spaces come back as they were, however many and wherever. `▁` itself is read as
  a space.
- Of unigram subwords the trainer's own last digits hang on the order of a hash table; here they are rounded away.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PAD, BOS, EOS, UNK = SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")  # their places are their ids

# One match per code point: `.` would leave newlines out, and grapheme clusters depend on the Unicode version.
ANY_CHARACTER = r"[\s\S]"
# The bracket of a special token that was typed: split from the rest, no symbol can be the token itself.
TYPED = r"<(?=(?:pad|bos|eos|unk)>)"
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # sentencepiece's sign for one
BORDER = "|"  # between words of phonemes
KINDS = ("bpe", "unigram")
SUBWORDS = 1000  # symbols, unless told
REPEATED = 2  # times that two symbols have to stand side by side in all texts, to become one
DIGITS = 6  # of a log probability that are kept
FLOOR_STEP = 1e-4  # by which the trainer parts the log probabilities of characters that no piece of its own is


def characters(texts: Iterable[str]) -> Tokenizer:
    """Backend whose ids are code points of the composed (NFC) text, a combining mark without composed form being one.

    Args:
        texts: any number of strings; white space and newlines count as symbols.

    Raises:
        TypeError: an entry is not a string.
        ValueError: no entry holds a character.
    """
    backend = _closed({symbol for text in composed(texts) for symbol in text}, "texts is empty: no symbol")
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(ANY_CHARACTER), behavior="isolated")
    backend.decoder = decoders.Fuse()  # the default decoder would put a space between the symbols
    return backend


def words(texts: Iterable[str], vocab_size: int | None = None, min_count: int = 1) -> Tokenizer:
    """Backend whose ids are words: what white space separates. Texts come back with single spaces between.

    Args:
        texts: any number of strings.
        vocab_size: most symbols, the special ones included; the more frequent words are taken, of equally frequent
            ones the first by code point. None: all.
        min_count: how often a word must occur in `texts`.

    Raises:
        TypeError: an entry is not a string.
        ValueError: no word is left, `vocab_size` has no room for one, or `min_count` is below 1.
    """
    if vocab_size is not None and vocab_size <= len(SPECIAL_TOKENS):
        raise ValueError(f"vocab_size is {vocab_size}; it must be above {len(SPECIAL_TOKENS)}, the special tokens")
    if min_count < 1:
        raise ValueError(f"min_count is {min_count}; it must be at least 1")
    counts = Counter(word for text in composed(texts) for word in _split(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    room = None if vocab_size is None else vocab_size - len(SPECIAL_TOKENS)
    known = {word for word in ranked[:room] if counts[word] >= min_count}
    return _separated(known, f"texts is empty: no word that occurs {min_count} times or more")


def phonemes(texts: Iterable[str]) -> Tokenizer:
    """Backend whose ids are phoneme symbols of one or more characters, separated by spaces: `tʃ ɜː tʃ | ɔɪ l`.

    Args:
        texts: any number of strings, such as `phonemize` returns; a border between words is a symbol like others.

    Raises:
        TypeError: an entry is not a string.
        ValueError: no entry holds a symbol.
    """
    return _separated({symbol for text in composed(texts) for symbol in _split(text)}, "texts is empty: no symbol")


def subwords(texts: Iterable[str], vocab_size: int = SUBWORDS, kind: str = "bpe") -> Tokenizer:
    """Backend whose ids are parts of words, learned from `texts` by the trainers of `tokenizers`.

    Args:
        texts: any number of strings.
        vocab_size: symbols, the special ones and every character of `texts` included; fewer where the texts do not
            hold so many parts that repeat.
        kind: "bpe" (byte-pair encoding over characters, arXiv:1508.07909) or "unigram" (a unigram language model of
            parts, arXiv:1804.10959).

    Raises:
        TypeError: an entry is not a string.
        ValueError: no entry holds a character, `vocab_size` has no room for all characters, or an unknown `kind`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; allowed: {', '.join(KINDS)}")
    rows = sorted(composed(texts))
    alphabet = {SPACE, *(symbol for row in rows for symbol in row.replace(" ", SPACE))}
    if not any(rows):
        raise ValueError("texts is empty: no symbol to make a vocabulary of")
    if vocab_size < len(SPECIAL_TOKENS) + len(alphabet):
        raise ValueError(
            f"vocab_size is {vocab_size}; texts hold {len(alphabet)} characters, the space before each among them, "
            f"and there are {len(SPECIAL_TOKENS)} special tokens: it must be at least their sum"
        )
    backend = Tokenizer(models.BPE(unk_token=UNK) if kind == "bpe" else models.Unigram())
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(SPACE, "merged_with_next"), pre_tokenizers.Split(Regex(TYPED), "isolated")]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.Fuse(), decoders.Strip(" ", left=1, right=0)]
    )
    if kind == "bpe":
        backend.train_from_iterator(rows, _bpe_trainer(vocab_size))
    else:
        backend.train_from_iterator(rows, _unigram_trainer(vocab_size))
        backend.model = _rounded(backend, alphabet, vocab_size)
    return backend


def composed(texts: Iterable[str]) -> Iterator[str]:
    """The texts in NFC, one by one.

    Args:
        texts: any number of strings.

    Raises:
        TypeError: an entry is not a string.
    """
    normalizer = normalizers.NFC()
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}] is a {type(text).__name__}, not a string")
        yield normalizer.normalize_str(text)


def _closed(symbols: set[str], missing: str) -> Tokenizer:
    """Backend with these symbols and no other, by code point; what stands between them is left to the caller."""
    if not symbols:
        raise ValueError(f"{missing} to make a vocabulary of")
    known = [*SPECIAL_TOKENS, *sorted(symbols - set(SPECIAL_TOKENS))]
    backend = Tokenizer(models.WordLevel({symbol: index for index, symbol in enumerate(known)}, unk_token=UNK))
    backend.normalizer = normalizers.NFC()
    return backend


def _split(text: str) -> list[str]:
    """What white space separates, as the backend sees it: Python counts some control characters as white space."""
    return [word for word, _ in pre_tokenizers.WhitespaceSplit().pre_tokenize_str(text)]


def _separated(symbols: set[str], missing: str) -> Tokenizer:
    """Backend of symbols that white space separates; without a decoder, they come back with a space between."""
    backend = _closed(symbols, missing)
    typed = pre_tokenizers.Split(Regex(f"^{TYPED}(?=[a-z]+>$)"), "isolated")  # of a symbol that is nothing else
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), typed])
    return backend


def _bpe_trainer(vocab_size: int) -> trainers.BpeTrainer:
    return trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=REPEATED, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )


def _unigram_trainer(vocab_size: int) -> trainers.UnigramTrainer:
    return trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), unk_token=UNK, show_progress=False
    )


def _rounded(backend: Tokenizer, alphabet: set[str], vocab_size: int) -> models.Unigram:
    """The trained unigram model without what hangs on the order of a hash table.

    The parts are the same from run to run; their log probabilities differ in the last digits of a double, and those of
    rare characters, which the trainer adds at the end with the lowest probability and a step between each two, change
    places.
    """
    learned = dict(json.loads(backend.to_str())["model"]["vocab"][len(SPECIAL_TOKENS) :])
    floor = min(learned.values())
    rare = floor + FLOOR_STEP * (len(alphabet) + 1)
    scores = {
        part: round(floor if part in alphabet and score < rare else score, DIGITS) for part, score in learned.items()
    }
    ranked = sorted(scores, key=lambda part: (part not in alphabet, -scores[part], part))
    kept = sorted(ranked[: vocab_size - len(SPECIAL_TOKENS)], key=lambda part: (-scores[part], part))
    vocabulary = [(token, 0.0) for token in SPECIAL_TOKENS] + [(part, scores[part]) for part in kept]
    return models.Unigram(vocabulary, unk_id=SPECIAL_TOKENS.index(UNK))
