"""Tokenizers: the ids are fixed, texts come back whole, and the saved folder needs none of our code."""

import json
import random
import subprocess
import sys
import unicodedata

import pytest

from aural.processing.tokenizers import SPECIAL_TOKENS, train_tokenizer

# Arabic with vowel marks, Thai, Devanagari, Hangul, a flag outside the basic plane, and x̂, which NFC cannot compose.
SCRIPTS = "zero don't  مَرحَبا สวัสดี नमस्ते 한국어 été x\N{COMBINING CIRCUMFLEX ACCENT} 🇳🇱\nend\t"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([SCRIPTS, "padbos<>"])


def decoded(tokenizer, text):
    return tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)


def test_special_tokens_come_first_and_symbols_follow_by_code_point():
    tokenizer = train_tokenizer(["ba é", "a'"])
    expected = [*SPECIAL_TOKENS, *sorted("ba é'")]
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == expected
    assert [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id] == [
        0,
        1,
        2,
        3,
    ]


def test_order_and_repetition_of_texts_do_not_matter(tokenizer):
    lines = [SCRIPTS[start : start + 7] for start in range(0, len(SCRIPTS), 7)] + ["padbos<>"] * 3
    # Cutting can part a base from its mark; both stay code points of their own, so the vocabulary is the same.
    random.Random(0).shuffle(lines)
    assert train_tokenizer(iter(lines)).get_vocab() == tokenizer.get_vocab()


def test_call_appends_eos_and_no_bos():
    tokenizer = train_tokenizer(["ab"])
    encoded = tokenizer("ba")
    assert encoded.input_ids == [5, 4, 2]
    assert encoded.attention_mask == [1, 1, 1]
    assert set(encoded) == {"input_ids", "attention_mask"}
    assert tokenizer("").input_ids == [2]


def test_texts_of_known_symbols_come_back_whole(tokenizer):
    symbols = sorted(set(unicodedata.normalize("NFC", SCRIPTS)) | set("padbos<>"))
    generator = random.Random(1)
    texts = ["  a  ", "'", " ", "\n", "", SCRIPTS, *("".join(generator.choices(symbols, k=30)) for _ in range(200))]
    known = [text for text in texts if set(unicodedata.normalize("NFC", text)) <= set(symbols)]
    assert len(known) > 100
    for text in known:
        assert decoded(tokenizer, text) == unicodedata.normalize("NFC", text)


def test_one_id_per_code_point_of_the_composed_text(tokenizer):
    composed = tokenizer("e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT}").input_ids
    assert composed == tokenizer("été").input_ids
    assert len(composed) == 4  # é, t, é, <eos>
    assert len(tokenizer("x\N{COMBINING CIRCUMFLEX ACCENT}").input_ids) == 3


def test_unknown_characters_become_unk_one_by_one(tokenizer):
    assert tokenizer("QQ z").input_ids[:2] == [3, 3]
    assert decoded(tokenizer, "Q zero Ω") == " zero "


@pytest.mark.parametrize("typed", ["<pad>", "<bos>", "a<eos>b", "<unk>"])
def test_special_tokens_typed_as_text_stay_text(tokenizer, typed):
    assert not set(tokenizer(typed).input_ids[:-1]) & {0, 1, 2}
    if typed == "<pad>":
        assert decoded(tokenizer, typed) == typed


def test_batch_is_padded_on_the_right():
    batch = train_tokenizer(["ab"])(["ab", "a"], padding=True)
    assert batch.input_ids == [[4, 5, 2], [4, 2, 0]]
    assert batch.attention_mask == [[1, 1, 1], [1, 1, 0]]


def test_unknown_unit_names_the_allowed_ones():
    with pytest.raises(ValueError, match=r"'syllable'.*character"):
        train_tokenizer(["a"], unit="syllable")


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_symbols_is_an_error(texts):
    with pytest.raises(ValueError, match="texts is empty"):
        train_tokenizer(texts)


def test_texts_must_be_several_strings():
    with pytest.raises(TypeError, match="one string"):
        train_tokenizer("abc")
    with pytest.raises(TypeError, match=r"texts\[1\] is a int"):
        train_tokenizer(["a", 7])


def test_saved_folder_loads_by_transformers_alone(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    # A model type that transformers does not know must not stand in the way.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "las"}))
    script = (
        "import importlib, json, sys\n"
        "sys.modules['aural'] = None\n"  # any import of aural fails
        "from transformers import AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "ids = tokenizer(sys.argv[2]).input_ids\n"
        "print(json.dumps([ids, tokenizer.decode(ids, skip_special_tokens=True), tokenizer('<pad>').input_ids]))\n"
    )
    command = [sys.executable, "-I", "-c", script, str(tmp_path), SCRIPTS]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    ids, text, typed = json.loads(result.stdout.splitlines()[-1])
    assert ids == tokenizer(SCRIPTS).input_ids
    assert text == unicodedata.normalize("NFC", SCRIPTS)
    assert typed == tokenizer("<pad>").input_ids
