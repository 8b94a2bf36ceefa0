"""Text to phonemes, by eSpeak NG through phonemizer; offline, in some 140 languages.

    phonemize(["church oil"])  # ["tʃ ɜː tʃ | ɔɪ l"]

What is notable here:

- Symbols of several characters, such as `tʃ` and `aɪ`, stay whole: symbols are separated by spaces, words by a border
  that is a symbol of its own. `train_tokenizer(…, unit="phoneme")` takes such texts.
- Punctuation is not spoken, numbers are; a text without anything to say gives an empty one.
- phonemizer and espeakng-loader are an extra, imported here when asked for. Where espeakng-loader is missing, the
  system's eSpeak NG is taken.
"""

import atexit
import importlib
import importlib.util
import logging
import shutil
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from tempfile import mkdtemp
from typing import Any

from .tokenizer_units import BORDER

LANGUAGE = "en-us"
NEW_WORD = "\n"  # what phonemizer puts there: no symbol of eSpeak NG holds one
MISSING = "phonemes need phonemizer and eSpeak NG, `pip install 'aural[phonemes]'`"
SHOWN = 12  # languages in an error


def phonemize(
    texts: Iterable[str], language: str = LANGUAGE, *, stress: bool = False, border: str | None = BORDER
) -> list[str]:
    """Phonemes of each text, in the symbols of the International Phonetic Alphabet, separated by spaces.

    Args:
        texts: any number of strings.
        language: as eSpeak NG names it, such as "en-us", "nl", "fr-fr"; `phoneme_languages()` has them all.
        stress: keep the marks of stress, `ˈ` and `ˌ`, in front of the vowel's symbol.
        border: the symbol between two words; None: none.

    Returns:
        As many texts, in their order; each depends on its own text alone.

    Raises:
        ImportError: the extra `phonemes` is not installed.
        OSError: eSpeak NG is not there, or does not load.
        TypeError: `texts` is one string, or holds something that is not a string.
        ValueError: eSpeak NG has no such language, or `border` is not one symbol.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one string; give an iterable of texts, such as a list")
    if border is not None and len(border.split()) != 1:
        raise ValueError(f"border is {border!r}; it must be one symbol without spaces, or None")
    rows = list(texts)
    for index, text in enumerate(rows):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}] is a {type(text).__name__}, not a string")
    backend = _backend(language, stress)
    separator = importlib.import_module("phonemizer.separator").Separator(phone=" ", word=NEW_WORD)
    spoken = backend.phonemize(rows, separator=separator, strip=True)
    return [_joined(text, border) for text in spoken]


def phoneme_languages() -> list[str]:
    """Names of the languages that `phonemize` takes.

    Raises:
        ImportError, OSError: as `phonemize`.
    """
    try:
        return sorted(_espeak().supported_languages())
    except RuntimeError as error:  # no library, or one that does not load
        raise OSError(f"{MISSING}: {error}") from error


def _joined(spoken: str, border: str | None) -> str:
    """phonemizer's text with single spaces; where eSpeak NG changes its language, it leaves several, or none."""
    words = [" ".join(word.split()) for word in spoken.split(NEW_WORD)]
    between = " " if border is None else f" {border} "
    return between.join(word for word in words if word)


@cache
def _backend(language: str, stress: bool) -> Any:
    """phonemizer's backend for a language; loading it takes a tenth of a second."""
    kind = _espeak()
    quiet = logging.getLogger(f"{__name__}.phonemizer")
    quiet.setLevel(logging.ERROR)  # it warns of every word that eSpeak NG speaks in another language
    try:
        return kind(language, with_stress=stress, language_switch="remove-flags", logger=quiet)
    except RuntimeError as error:
        languages = phoneme_languages()
        if language in languages:
            raise OSError(f"{MISSING}: {error}") from error
        near = get_close_matches(language, languages, n=SHOWN) or languages[:SHOWN]
        raise ValueError(
            f"language is {language!r}, which eSpeak NG does not speak; it speaks {', '.join(near)}, …"
        ) from error


def _espeak() -> Any:
    """phonemizer's class for eSpeak NG, told where the library is.

    Raises:
        ImportError: phonemizer is not installed.
    """
    try:
        espeak = importlib.import_module("phonemizer.backend").EspeakBackend
    except ImportError as error:
        raise ImportError(f"{MISSING}: {error}") from error
    if importlib.util.find_spec("espeakng_loader") is not None:
        wrapper = importlib.import_module("phonemizer.backend.espeak.wrapper").EspeakWrapper
        loader = importlib.import_module("espeakng_loader")
        wrapper.set_library(_copied(loader.get_library_path()))
        wrapper.set_data_path(loader.get_data_path())
    return espeak


@cache
def _copied(library: str) -> str:
    """A copy of a library, to be held open: phonemizer does so, and whoever speaks with eSpeak NG loads it anew."""
    folder = mkdtemp(prefix="aural-espeak-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return shutil.copy(library, folder)


__all__ = ["phoneme_languages", "phonemize"]
