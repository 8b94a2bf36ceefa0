"""The tokenizer of a model that says a symbol or a blank at each moment (CTC): ids and JSON as ever, other decoding.

    tokenizer = CtcTokenizer.of(train_tokenizer(texts))
    tokenizer.decode(logits.argmax(-1)[0])  # a path: repeats are joined, then blanks dropped
    tokenizer.decode(tokenizer("seen").input_ids)  # a text's own ids, which end in <eos>: "seen"

What is notable:

- a doubled letter has a blank between in a path, and none in a text's own ids; so what ends in `<eos>`, as no path
  does that a trained model gives, is not joined. `group_tokens` says it outright;
- repeats are joined *before* special tokens are left out, else `skip_special_tokens=True` would join doubled letters;
- offsets are places in the path, for symbols and for words, as transformers' recognition pipeline asks for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tokenizers import Tokenizer
from transformers.tokenization_utils_tokenizers import TokenizersBackend
from transformers.utils import ModelOutput

from ..configuration.travel import TravelsWithCode
from .tokenizer_units import BORDER, SPACE
from .tokenizers import language_of, unit_of, wrap

Offset = dict[str, Any]  # "char" or "word": text; "start_offset": first place; "end_offset": the place after the last


@dataclass
class CtcText(ModelOutput):
    """A decoded path.

    Attributes:
        text: What it says.
        char_offsets: Of each symbol `char`, `start_offset` and `end_offset` in the path; together the text, with the
            spaces before and after it.
        word_offsets: Of each word `word`; None where it was not asked for.
    """

    text: str = ""
    char_offsets: list[Offset] | None = None
    word_offsets: list[Offset] | None = None


class CtcTokenizer(TravelsWithCode, TokenizersBackend):
    """A tokenizer whose `decode` reads paths; whatever else it does is `TokenizersBackend`'s.

    Attributes:
        replace_word_delimiter_char: What stands between words of a text.
    """

    @classmethod
    def of(cls, tokenizer: TokenizersBackend) -> "CtcTokenizer":
        """The same tokens with the same ids, for CTC.

        Args:
            tokenizer: Such as `train_tokenizer` returns.

        Raises:
            ValueError: A special token does not have the id that it has in every vocabulary of aural.
        """
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        return wrap(backend, unit_of(tokenizer), language_of(tokenizer), cls)

    @property  # type: ignore[override]
    def auto_map(self) -> dict[str, Any]:
        """Which class loads this, as tokenizer_config.json tells it."""
        return getattr(self, "_auto_map", None) or {}

    @auto_map.setter
    def auto_map(self, value: dict[str, str]) -> None:
        # transformers asks for two classes, without and with the library tokenizers
        self._auto_map = {name: [None, reference] for name, reference in value.items()}

    @property
    def replace_word_delimiter_char(self) -> str:
        """What stands between words of a text; of phonemes, the border that `phonemize` writes."""
        return BORDER if unit_of(self) == "phoneme" else " "

    def _decode(  # type: ignore[override]
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        group_tokens: bool | None = None,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
        **kwargs: Any,
    ) -> str | CtcText:
        """Text of one path, or of a text's own ids; `decode` and `batch_decode` end here.

        Args:
            token_ids: `(places,)`.
            skip_special_tokens: As in transformers. Of a path, special tokens are never text, whatever is said here:
                the pipeline says False.
            clean_up_tokenization_spaces: As in transformers.
            group_tokens: Join repeats and drop blanks, and white space at both ends, as transformers' CTC tokenizers
                do. Default: unless the last of the ids is `<eos>`.
            output_char_offsets, output_word_offsets: Return a `CtcText`.
            kwargs: As in transformers.
        """
        ids = [token_ids] if isinstance(token_ids, int) else [int(token) for token in token_ids]
        if group_tokens is None:
            group_tokens = not ids or ids[-1] != self.eos_token_id
        left_out = set(self.all_special_ids) if group_tokens or skip_special_tokens else set()
        said = [run for run in _runs(ids, group_tokens) if run[0] not in left_out]
        kept = [token for token, _, _ in said]
        text = super()._decode(kept, False, clean_up_tokenization_spaces, **kwargs)
        if group_tokens:
            text = text.strip()  # silence before and after is heard as spaces
        if not (output_char_offsets or output_word_offsets):
            return text
        characters = [
            {"char": symbol, "start_offset": start, "end_offset": end}
            for symbol, (_, start, end) in zip(self._symbols(kept), said, strict=True)
        ]
        words = self._get_word_offsets(characters, self.replace_word_delimiter_char) if output_word_offsets else None
        return CtcText(text=text, char_offsets=characters if output_char_offsets else None, word_offsets=words)

    def _symbols(self, ids: Sequence[int]) -> list[str]:
        """What each of the ids adds to their text."""
        symbols = list(self.convert_ids_to_tokens(list(ids)))
        unit = unit_of(self)
        if unit == "subword":
            symbols = [symbol.replace(SPACE, " ") for symbol in symbols]
            return [symbols[0].removeprefix(" "), *symbols[1:]] if symbols else []
        between = "" if unit == "character" else " "
        return [(between if place else "") + symbol for place, symbol in enumerate(symbols)]

    @staticmethod
    def _get_word_offsets(offsets: Sequence[Offset], word_delimiter_char: str = " ") -> list[Offset]:
        """Words of symbols; the pipeline calls this by its name.

        Args:
            offsets: Of symbols, each of which may hold delimiters.
            word_delimiter_char: What stands between words.
        """
        words: list[Offset] = []
        open_word = False
        for offset in offsets:
            for place, piece in enumerate(offset["char"].split(word_delimiter_char)):
                open_word = open_word and not place
                if not open_word and piece.strip():
                    words.append({"word": "", **{name: offset[name] for name in ("start_offset", "end_offset")}})
                    open_word = True
                if open_word and piece:
                    words[-1] |= {"word": words[-1]["word"] + piece, "end_offset": offset["end_offset"]}
        return [{**word, "word": word["word"].strip()} for word in words]


def _runs(ids: Sequence[int], joined: bool) -> list[tuple[int, int, int]]:
    """Ids with their first place and the place after their last; equal neighbours are one if `joined`."""
    if not joined:
        return [(token, place, place + 1) for place, token in enumerate(ids)]
    runs, start = [], 0
    for token, same in groupby(ids):
        end = start + len(list(same))
        runs.append((token, start, end))
        start = end
    return runs


__all__ = ["CtcText", "CtcTokenizer"]
