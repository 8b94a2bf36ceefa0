"""Text to ids and back.

- A tokenizer here is a plain `tokenizers` JSON: the saved folder loads by `AutoTokenizer.from_pretrained(folder)` on a
  machine that has only transformers, with no code of ours and no `trust_remote_code`.
- Ids are the same for every unit: `<pad>` 0, `<bos>` 1, `<eos>` 2, `<unk>` 3, then the symbols, so that the order of
  the texts does not matter.
- Characters and subwords are lossless: a text made of known symbols comes back as its NFC form, whatever the script,
  spaces and newlines included. Words and phonemes come back with single spaces between.
- Case and white space are the caller's: nothing is folded.

    tokenizer = train_tokenizer(["zero one", "two"])
    ids = tokenizer("one two").input_ids  # symbols, then <eos>
    tokenizer.decode(ids, skip_special_tokens=True)  # "one two"
    train_tokenizer(texts, "subword", vocab_size=500, kind="unigram")
    train_tokenizer(phonemize(texts, "en-us"), "phoneme", language="en-us")  # processing/phonemes.py
"""

from collections.abc import Callable, Iterable
from typing import Any

from tokenizers import Tokenizer, processors
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from .processing_tokenizer_units import BOS, EOS, KINDS, PAD, SPECIAL_TOKENS, UNK, characters, phonemes, subwords, words

UNITS: dict[str, Callable[..., Tokenizer]] = {
    "character": characters,
    "word": words,
    "subword": subwords,
    "phoneme": phonemes,
}
OPTIONS: dict[str, tuple[str, ...]] = {  # of each unit
    "character": (),
    "word": ("vocab_size", "min_count"),
    "subword": ("vocab_size", "kind"),
    "phoneme": ("language",),
}
UNIT, LANGUAGE = "unit", "phoneme_language"  # what a tokenizer's settings keep of its making


def train_tokenizer(
    texts: Iterable[str],
    unit: str = "character",
    *,
    vocab_size: int | None = None,
    min_count: int | None = None,
    kind: str | None = None,
    language: str | None = None,
) -> TokenizersBackend:
    """Collect the symbols of `texts` and return a tokenizer over them.

    `tokenizer(text)` gives the symbols' ids followed by `<eos>` (no `<bos>`: the models make their decoder inputs).
    What `texts` did not hold becomes `<unk>`. Special tokens typed as text, such as "<pad>", are read as text
    (`split_special_tokens=True`); `decode(ids, skip_special_tokens=True)` drops the real ones.

    Args:
        texts: transcripts of the training split; composed (NFC) before they are split, as later texts are.
        unit: what one id stands for; one of `UNITS`. Of phonemes, `texts` are phonemes already.
        vocab_size: of words and subwords, most symbols, the special ones included. None: all words, 1,000 subwords.
        min_count: of words, how often one must occur in `texts`; None: once.
        kind: of subwords, "bpe" or "unigram"; None: "bpe".
        language: of phonemes, that in which `phonemize` made them; kept with the tokenizer.

    Raises:
        TypeError: `texts` is one string, or holds something that is not a string.
        ValueError: unknown `unit`, an option that the unit does not have or a wrong value of one, or no symbol in
            `texts`.
    """
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r}; allowed: {', '.join(sorted(UNITS))}")
    if isinstance(texts, str):
        raise TypeError("texts is one string; give an iterable of texts, such as a list")
    told = {"vocab_size": vocab_size, "min_count": min_count, "kind": kind, "language": language}
    options = {name: value for name, value in told.items() if value is not None}
    check_options(unit, options)
    options.pop("language", None)
    return wrap(UNITS[unit](texts, **options), unit, language)


def check_options(unit: str, options: Iterable[str]) -> None:
    """Refuse, by its name, an option that a unit does not have.

    Args:
        unit: one of `UNITS`.
        options: names of arguments of `train_tokenizer`.

    Raises:
        ValueError: says which units have it.
    """
    for name in options:
        if name not in OPTIONS[unit]:
            takers = " and ".join(other for other, taken in OPTIONS.items() if name in taken)
            raise ValueError(f"{name} is for the unit {takers}, and unit is {unit!r}")


def wrap(
    backend: Tokenizer,
    unit: str = "character",
    language: str | None = None,
    tokenizer_class: type[TokenizersBackend] = TokenizersBackend,
) -> Any:
    """Give `backend` the special tokens and the ending `<eos>`, as transformers' tokenizer.

    Args:
        backend: a `tokenizers.Tokenizer` whose vocabulary opens with `SPECIAL_TOKENS` at ids 0 to 3.
        unit: what its ids stand for.
        language: of phonemes, if known.
        tokenizer_class: what is made of it.

    Raises:
        ValueError: a special token does not have its id.
    """
    for index, token in enumerate(SPECIAL_TOKENS):
        if backend.token_to_id(token) != index:
            raise ValueError(f"{token} has id {backend.token_to_id(token)} in the vocabulary; it must have {index}")
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, SPECIAL_TOKENS.index(EOS))]
    )
    return tokenizer_class(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="right",
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **{UNIT: unit},
        **({} if language is None else {LANGUAGE: language}),
    )


def unit_of(tokenizer: Any) -> str:
    """What a tokenizer's ids stand for: what it was trained for, else "character", as older folders have it.

    Args:
        tokenizer: such as `train_tokenizer` returns, or one that was saved and loaded.
    """
    return str(tokenizer.init_kwargs.get(UNIT, "character"))


def language_of(tokenizer: Any) -> str | None:
    """The language in which a tokenizer's phonemes were made, as `phonemize` takes it; None: not told.

    Args:
        tokenizer: as for `unit_of`.
    """
    return tokenizer.init_kwargs.get(LANGUAGE)


def kind_of(tokenizer: Any) -> str | None:
    """The kind of subwords, "bpe" or "unigram"; None of other units.

    Args:
        tokenizer: as for `unit_of`.
    """
    kind = type(tokenizer.backend_tokenizer.model).__name__.lower()
    return kind if kind in KINDS else None


def unknown_share(tokenizer: Any, texts: Iterable[str]) -> tuple[int, int]:
    """How much of texts a tokenizer cannot write.

    Args:
        tokenizer: such as `train_tokenizer` returns.
        texts: any number of strings.

    Returns:
        Tokens of all texts that are `<unk>`, and tokens in all, `<eos>` not counted.
    """
    rows = tokenizer(list(texts), add_special_tokens=False).input_ids
    return sum(row.count(tokenizer.unk_token_id) for row in rows), sum(map(len, rows))


__all__ = [
    "SPECIAL_TOKENS",
    "UNITS",
    "check_options",
    "kind_of",
    "language_of",
    "train_tokenizer",
    "unit_of",
    "unknown_share",
    "wrap",
]
