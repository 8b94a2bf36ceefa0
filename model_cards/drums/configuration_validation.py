"""Checks that every config makes: each names the field, its value and what is allowed."""

from collections.abc import Iterable
from math import inf
from typing import Any

AURAL_FORMAT = 1  # of saved folders; raised when an older aural could not read a newer folder rightly
CTC_MAX_REDUCTION = 4  # frames per CTC state: beyond it, text has more characters than the layer has states


def check_format(aural_format: int) -> None:
    """The folder is not from the future.

    Raises:
        ValueError: It is.
    """
    if not 1 <= aural_format <= AURAL_FORMAT:
        raise ValueError(
            f"aural_format={aural_format}: this aural reads 1 to {AURAL_FORMAT}; "
            "the model was saved by a newer aural, so upgrade aural to load it"
        )


def check_counts(config: Any, names: Iterable[str]) -> None:
    """Sizes and counts are at least 1.

    Raises:
        ValueError: One is not.
    """
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)} must be at least 1")


def check_amounts(config: Any, names: Iterable[str], zero: bool = True) -> None:
    """Amounts are finite and at least 0, or above 0.

    Raises:
        ValueError: One is not.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < inf or (value == 0 and not zero):
            raise ValueError(f"{name}={value} must be {'at least' if zero else 'above'} 0 and finite")


def check_shares(config: Any, names: Iterable[str], one: bool) -> None:
    """Shares and probabilities lie between 0 and 1; 1 itself where `one` says so.

    Raises:
        ValueError: One does not.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1 or (value == 1 and not one):
            raise ValueError(f"{name}={value} must be in [0, 1{']' if one else ')'}")


def check_special_ids(config: Any, names: Iterable[str]) -> None:
    """Special ids lie inside the vocabulary, and no end is also padding.

    Raises:
        ValueError: Otherwise.
    """
    if config.eos_token_id == [] or config.pad_token_id in config.end_ids:
        raise ValueError(f"eos_token_id={config.eos_token_id} must name an id, and not pad_token_id")
    for name in names:
        value = getattr(config, name)
        for token in value if isinstance(value, list) else [value]:
            if token is not None and not 0 <= token < config.vocab_size:
                raise ValueError(f"{name}={value} must be in [0, vocab_size={config.vocab_size})")
