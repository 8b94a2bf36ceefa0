"""What everyone who opens a model folder says and checks: one line for what is wrong, parts that fit together."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from .features import LogMelFeatureExtractor


@contextmanager
def said_of(folder: str | Path) -> Iterator[None]:
    """Whatever reading a folder raises becomes one line that names the folder and keeps the reason.

    Args:
        folder: A model folder or Hub id.
    """
    try:
        yield
    except Exception as error:  # damaged weights and JSON raise whatever their reader raises
        reason: BaseException = error
        if isinstance(error, StrictDataclassError) and error.__cause__ is not None:
            reason = error.__cause__  # the config's own words
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"cannot load a model from {folder}: {one_line(reason)}") from error


def one_line(error: BaseException) -> str:
    """The words of an error without line breaks; its kind if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def check_features_fit(config: Any, extractor: LogMelFeatureExtractor, name: str | Path) -> None:
    """The feature extractor gives as many mels, as often, as the model takes.

    Args:
        config: Has `num_mel_bins` and `frame_shift_ms`.
        extractor: The extractor beside the model.
        name: What errors call the two by.

    Raises:
        ValueError: Otherwise, with both numbers.
    """
    mels, wanted = extractor.num_mel_bins, config.num_mel_bins
    if mels != wanted:
        raise ValueError(f"{name}: the feature extractor gives {mels} mels but the model takes {wanted}")
    shift = extractor.seconds_per_frame * 1000
    if abs(shift - config.frame_shift_ms) > 1e-6:
        raise ValueError(
            f"{name}: the feature extractor gives a frame every {shift:g} ms but the model's frame_shift_ms is "
            f"{config.frame_shift_ms:g}"
        )


def check_tokenizer_fits(config: Any, tokenizer: Any, name: str | Path, phonemes: Any = None) -> None:
    """A model that loads beside another vocabulary would write garbage without a word.

    Args:
        config: Has `vocab_size` and the special ids.
        tokenizer: The tokenizer beside the model.
        name: What errors call the two by.
        phonemes: The phoneme tokenizer beside it, if there is one.

    Raises:
        ValueError: Another number of symbols, or another special id.
    """
    symbols, rows = len(tokenizer), config.vocab_size
    if symbols != rows:
        raise ValueError(f"{name}: the tokenizer has {symbols} symbols but the model's vocab_size is {rows}")
    for token in ("pad_token_id", "bos_token_id", "eos_token_id"):
        ours, theirs = getattr(tokenizer, token), getattr(config, token)
        if ours != theirs:
            raise ValueError(f"{name}: the tokenizer's {token} is {ours} but the model's is {theirs}")
    if phonemes is not None and len(phonemes) != (rows := getattr(config, "phoneme_vocab_size", 0)):
        raise ValueError(
            f"{name}: the phoneme tokenizer has {len(phonemes)} symbols but the model's phoneme_vocab_size is {rows}"
        )
