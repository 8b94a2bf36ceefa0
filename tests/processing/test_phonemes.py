"""Phonemes: symbols stay whole, batches equal single texts, and what is missing is named."""

import random
import sys

import pytest

from aural.processing import phonemes
from aural.processing.phonemes import phoneme_languages, phonemize
from aural.processing.tokenizers import train_tokenizer

pytest.importorskip("phonemizer")  # of the extra `phonemes`

WORDS = ["charlie", "juliett", "whiskey", "oscar", "boat", "judge", "i'm", "about", "seven"]


def test_symbols_of_several_characters_stay_whole_and_words_have_a_border():
    # As the dictionary of eSpeak NG has them: affricates, diphthongs and long vowels are one symbol each.
    assert phonemize(["church oil boat", "judge"]) == ["tʃ ɜː tʃ | ɔɪ l | b oʊ t", "dʒ ʌ dʒ"]
    assert phonemize(["church oil"], border=None) == ["tʃ ɜː tʃ ɔɪ l"]
    assert phonemize(["church oil"], border="#") == ["tʃ ɜː tʃ # ɔɪ l"]


def test_stress_is_kept_or_dropped():
    assert phonemize(["about seven"], stress=True) == ["ɐ b ˌaʊ t | s ˈɛ v ə n"]
    assert phonemize(["about seven"]) == ["ɐ b aʊ t | s ɛ v ə n"]


def test_punctuation_and_white_space_are_not_spoken_and_numbers_are():
    said = phonemize(["one two", " one,\ttwo! ", "one\ntwo", "1 2", "one|two"])
    assert said == ["w ʌ n | t uː"] * 5
    assert phonemize(["", "...", " "]) == ["", "", ""]
    assert phonemize([]) == []


def test_a_text_in_a_batch_is_spoken_as_it_is_alone():
    generator = random.Random(0)
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(1, 6))) for _ in range(40)]
    together = phonemize(iter(texts))
    assert together == [phonemize([text])[0] for text in texts]
    assert phonemize(reversed(texts)) == together[::-1]


def test_other_languages_speak_otherwise():
    assert phonemize(["drie"], "nl") == ["d r i"]
    assert phonemize(["drei"], "de") == ["d ɾ aɪ"]
    assert phonemize(["bonjour computer"], "fr-fr") == ["b ɔ̃ ʒ u ʁ | k ə m p j uː t ə"]  # the loan in English
    assert {"en-us", "en-gb", "nl", "de", "fr-fr"} <= set(phoneme_languages())


def test_texts_of_phonemes_go_through_a_tokenizer_whole():
    texts = phonemize([" ".join(WORDS), "church oil boat"])
    tokenizer = train_tokenizer(texts, "phoneme")
    for text in texts:
        ids = tokenizer(text).input_ids
        assert 3 not in ids and len(ids) == len(text.split()) + 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"texts": "one"}, TypeError, "texts is one string"),
        ({"texts": ["one", 2]}, TypeError, r"texts\[1\] is a int"),
        ({"texts": ["one"], "language": "en_us"}, ValueError, "language is 'en_us', .* it speaks en-us"),
        ({"texts": ["one"], "border": " "}, ValueError, "border is ' '; it must be one symbol"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        phonemize(**arguments)


def test_what_is_not_installed_is_named(monkeypatch):
    phonemes._backend.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "phonemizer"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "phonemizer", None)
    with pytest.raises(ImportError, match=r"pip install 'aural\[phonemes\]'"):
        phonemize(["one"])


def test_a_missing_library_is_named(monkeypatch):
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    phonemes._backend.cache_clear()
    monkeypatch.setattr(phonemes.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(EspeakWrapper, "_ESPEAK_LIBRARY", None)
    monkeypatch.setenv("PHONEMIZER_ESPEAK_LIBRARY", "/nowhere/libespeak-ng.so")
    with pytest.raises(OSError, match=r"pip install 'aural\[phonemes\]'.*nowhere"):
        phonemize(["one"])
