"""Text normalisation by name, so that what a model learnt to write can be said in one word beside it.

A name is plain JSON where a function is not: `normalization.json` in a model's folder tells whoever evaluates or
fine-tunes it how the texts were written that it has seen.

    normalize_text("“Ça va?” — Oui!", "letters")  # "ça va oui"
    normalize_text("Room 101", "letters")  # None: letters alone do not say how a number is read out
    write_whole(folder / FILE_NAME, normalization_json("letters"))
"""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

FILE_NAME = "normalization.json"
_APOSTROPHES = str.maketrans("’‘ʼ＇`´", "''''''")
_SPOKEN = frozenset("#@&%*")  # marks that are read out as words: "hash", "and", "percent"


def _spaced(text: str) -> str:
    """NFC, any white space one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _letters(text: str) -> str | None:
    """Lower-case letters of any script, apostrophes within words, and spaces."""
    kept = []
    for character in unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).lower():
        category = unicodedata.category(character)
        if category[0] in "LM" or character == "'":
            kept.append(character)
        elif category[0] == "N" or category in ("Sc", "Sm", "So") or character in _SPOKEN:
            return None
        elif category != "Cf":  # a soft hyphen or a joiner stands inside a word and is not heard
            kept.append(" ")
    return " ".join(word for part in "".join(kept).split() if (word := part.strip("'")))


NORMALIZATIONS: dict[str, Callable[[str], str | None]] = {
    "none": lambda text: text,
    "spaces": _spaced,
    "lower": lambda text: _spaced(text).lower(),
    "upper": lambda text: _spaced(text).upper(),
    "letters": _letters,
}


def normalize_text(text: str, name: str | None = None) -> str | None:
    """A transcript as a model is to write it.

    - "none": as it is;
    - "spaces": NFC, with one space wherever there was white space, and none at the ends;
    - "lower", "upper": the same in lower or upper case;
    - "letters": NFKC in lower case, of which letters of any script with their marks and apostrophes within words stay,
      and all else is a space. What is said, but not by its letters (digits, "%", "&", "€"), has no spelling here.

    Args:
        text: the transcript.
        name: one of `NORMALIZATIONS`; None is "none".

    Returns:
        The text; empty if nothing is left of it, None if it cannot be spelled.

    Raises:
        ValueError: an unknown name.
    """
    return NORMALIZATIONS[check_normalization(name)](text)


def check_normalization(name: str | None) -> str:
    """The name, "none" for None.

    Raises:
        ValueError: an unknown name.
    """
    name = "none" if name is None else name
    if name not in NORMALIZATIONS:
        raise ValueError(f"normalization is {name!r}; allowed: {', '.join(NORMALIZATIONS)}")
    return name


def normalization_json(name: str | None) -> str:
    """The content of `normalization.json`.

    Raises:
        ValueError: an unknown name.
    """
    return json.dumps({"normalization": check_normalization(name)}) + "\n"


def load_normalization(folder: str | Path) -> str:
    """The name that stands in a model's folder; "none" where there is no such file.

    Raises:
        ValueError: the file holds something else.
        OSError: the file cannot be read.
    """
    path = Path(folder) / FILE_NAME
    if not path.is_file():
        return "none"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return check_normalization(content["normalization"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}; expected a mapping with 'normalization'") from error
