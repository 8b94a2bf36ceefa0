"""What decodes beside a recogniser, by name: a language model's folder, an n-gram's file, hot words.

    transcribe(files, "demo/model", num_beams=8, ngram="strings.arpa", ngram_weight=0.3, hot_words=["tango"])

Everything that `generate` takes may be said as it is; what is said by its name is loaded here, and has to fit the
recogniser's ids.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from .loading import no_conversion
from .modeling.ngram_table import NGramTable
from .processing.folders import said_of
from .processing.hot_words import BIAS, hot_words
from .processing.lexicon import Lexicon
from .processing.ngram import NGram, table_arrays
from .processing.ngram_training import train_ngram


def decoding_options(options: Mapping[str, Any], tokenizer: Any, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Options for `generate`, with what was said by name loaded.

    Args:
        options: For `generate`, and beside them: `lm` may be the folder or Hub id of a causal language model, `ngram`
            the file of an n-gram (ARPA) over the recogniser's tokens, and `hot_words` words to prefer, with a bias
            each or all with `hot_word_bias` (5 by default).
        tokenizer: The recogniser's.
        device: Where the recogniser is.

    Raises:
        OSError: There is no such folder or file.
        ValueError: It does not fit the recogniser's ids; a word that it cannot write.
    """
    found = dict(options)
    if isinstance(name := found.get("lm"), str | Path):
        found["lm"] = load_language_model(name, tokenizer, device)
    if isinstance(name := found.get("ngram"), str | Path):
        found["ngram"] = load_ngram(name, tokenizer).to(device)
    words, bias = found.pop("hot_words", None), found.pop("hot_word_bias", BIAS)
    if words:
        found["sequence_bias"] = hot_words(tokenizer, words, bias)
    return found


def load_language_model(folder: str | Path, tokenizer: Any, device: str | torch.device = "cpu") -> PreTrainedModel:
    """A causal language model that scores what a recogniser writes.

    Args:
        folder: A folder or Hub id of a causal language model, with a tokenizer.
        tokenizer: The recogniser's; both must have the same tokens with the same ids.
        device: Where it goes.

    Raises:
        OSError: There is no such model.
        ValueError: Its tokens are others; the first that differs is named.
    """
    with said_of(folder):
        theirs = AutoTokenizer.from_pretrained(folder).get_vocab()
    ours = tokenizer.get_vocab()
    if different := sorted(token for token in {*ours, *theirs} if ours.get(token) != theirs.get(token)):
        token = different[0]
        raise ValueError(
            f"lm {folder}: {token!r} has id {theirs.get(token)}, in the recogniser {ours.get(token)} "
            f"({len(different)} tokens differ); train it with the recogniser's tokenizer"
        )
    with said_of(folder), no_conversion():
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.to(device).eval()


def load_ngram(path: str | Path, tokenizer: Any) -> NGramTable:
    """An n-gram over a recogniser's tokens, from an ARPA file.

    Args:
        path: Plain or ending in .gz.
        tokenizer: The recogniser's.

    Raises:
        OSError: There is no such file.
        ValueError: It is no ARPA file, is too large for a table, or knows none of the recogniser's tokens.
    """
    symbols = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return NGramTable.from_arrays(*table_arrays(read_ngram(path, tokenizer), symbols))


def read_ngram(path: str | Path, tokenizer: Any, lexicon: Lexicon | None = None) -> NGram:
    """An n-gram over a recogniser's tokens, or over the words of a lexicon, from an ARPA file.

    Args:
        path: Plain or ending in .gz.
        tokenizer: The recogniser's.
        lexicon: Of words.

    Raises:
        OSError: There is no such file.
        ValueError: It is no ARPA file, or knows none of the tokens or words.
    """
    ngram = NGram.read(path)
    if lexicon is None:
        usual = set(tokenizer.convert_ids_to_tokens(range(len(tokenizer)))) - set(tokenizer.all_special_tokens)
        wanted = "recogniser's tokens; `aural ngram` makes one over them"
    else:
        usual, wanted = set(lexicon.pronunciations), "lexicon's words"
    if not any(symbol in ngram for symbol in usual):
        raise ValueError(
            f"ngram {path} is over {', '.join(map(repr, ngram.words[:5]))} …, none of which is among the {wanted}"
        )
    return ngram


def ngram_of_texts(texts: Iterable[str], tokenizer: Any, order: int = 5) -> NGram:
    """The n-gram of texts over a recogniser's tokens (`train_ngram` says how it is smoothed).

    Args:
        texts: As the recogniser is to write them.
        tokenizer: The recogniser's.
        order: Tokens of the longest n-grams.

    Raises:
        ValueError: No text, or an order below 1.
    """
    ids = (tokenizer(text, add_special_tokens=False).input_ids for text in texts)
    symbols = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    usual = [symbol for symbol in symbols if symbol not in tokenizer.all_special_tokens]
    return train_ngram(([symbols[token] for token in row] for row in ids if row), order, usual)
