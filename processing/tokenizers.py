"""Text to ids and back.

- A tokenizer here is a plain `tokenizers` JSON: the saved folder loads by `AutoTokenizer.from_pretrained(folder)` on a
  machine that has only transformers, with no code of ours and no `trust_remote_code`.
- Ids are the same for every unit: `<pad>` 0, `<bos>` 1, `<eos>` 2, `<unk>` 3, then the symbols by code point, so the
  order of the texts does not matter.
- Lossless: a text made of known symbols comes back as its NFC form, whatever the script, spaces and newlines included.
  Case and white space are the caller's: nothing is folded, stripped or joined.

    tokenizer = train_tokenizer(["zero one", "two"])
    ids = tokenizer("one two").input_ids  # symbols, then <eos>
    tokenizer.decode(ids, skip_special_tokens=True)  # "one two"
"""

from collections.abc import Callable, Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers.tokenization_utils_tokenizers import TokenizersBackend

PAD, BOS, EOS, UNK = SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")  # their places are their ids

# One match per code point: `.` would leave newlines out, and grapheme clusters depend on the Unicode version.
ANY_CHARACTER = r"[\s\S]"


def train_tokenizer(texts: Iterable[str], unit: str = "character") -> TokenizersBackend:
    """Collect the symbols of `texts` and return a tokenizer over them.

    `tokenizer(text)` gives the symbols' ids followed by `<eos>` (no `<bos>`: the models make their decoder inputs).
    A symbol that `texts` did not hold becomes `<unk>`. Special tokens typed as text, such as "<pad>", are read as
    characters (`split_special_tokens=True`); `decode(ids, skip_special_tokens=True)` drops the real ones.

    Args:
        texts: transcripts of the training split; composed (NFC) before they are split, as later texts are.
        unit: what one id stands for; one of `UNITS`.

    Raises:
        TypeError: `texts` is one string, or holds something that is not a string.
        ValueError: unknown `unit`, or no symbol in `texts`.
    """
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r}; allowed: {', '.join(sorted(UNITS))}")
    if isinstance(texts, str):
        raise TypeError("texts is one string; give an iterable of texts, such as a list")
    return wrap(UNITS[unit](texts))


def characters(texts: Iterable[str]) -> Tokenizer:
    """Backend whose ids are code points of the composed (NFC) text, a combining mark without composed form being one.

    Args:
        texts: any number of strings; white space and newlines count as symbols.

    Raises:
        TypeError: an entry is not a string.
        ValueError: no entry holds a character.
    """
    normalizer = normalizers.NFC()
    symbols: set[str] = set()
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}] is a {type(text).__name__}, not a string")
        symbols.update(normalizer.normalize_str(text))
    if not symbols:
        raise ValueError("texts is empty: no symbol to make a vocabulary of")
    vocabulary = {symbol: index for index, symbol in enumerate([*SPECIAL_TOKENS, *sorted(symbols)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(ANY_CHARACTER), behavior="isolated")
    backend.decoder = decoders.Fuse()  # the default decoder would put a space between the symbols
    return backend


def wrap(backend: Tokenizer) -> TokenizersBackend:
    """Give `backend` the special tokens and the ending `<eos>`, as transformers' tokenizer.

    Args:
        backend: a `tokenizers.Tokenizer` whose vocabulary opens with `SPECIAL_TOKENS` at ids 0 to 3.

    Raises:
        ValueError: a special token does not have its id.
    """
    for index, token in enumerate(SPECIAL_TOKENS):
        if backend.token_to_id(token) != index:
            raise ValueError(f"{token} has id {backend.token_to_id(token)} in the vocabulary; it must have {index}")
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, SPECIAL_TOKENS.index(EOS))]
    )
    return TokenizersBackend(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="right",
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


UNITS: dict[str, Callable[[Iterable[str]], Tokenizer]] = {"character": characters}
