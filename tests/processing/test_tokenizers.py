"""Tokenizers: the ids are fixed, texts come back whole, and the saved folder needs none of our code."""

import json
import random
import subprocess
import sys
import unicodedata

import pytest
from transformers import AutoTokenizer

from aural.processing.tokenizers import (
    SPECIAL_TOKENS,
    UNITS,
    language_of,
    train_tokenizer,
    unit_of,
    unknown_share,
)

# Arabic with vowel marks, Thai, Devanagari, Hangul, a flag outside the basic plane, and x̂, which NFC cannot compose.
SCRIPTS = "zero don't  مَرحَبا สวัสดี नमस्ते 한국어 été x\N{COMBINING CIRCUMFLEX ACCENT} 🇳🇱\nend\t"


# Sentences in which parts of words repeat, of several scripts; Chinese and Thai write no spaces between words.
SENTENCES = [
    "the reader reads and rereads the reading list",
    "the singer sings; singing, she is singing the song",
    "de lezer leest de gelezen lezing",
    "читатель читает, перечитывает и читал",
    "قارئ يقرأ القراءة قارئة",
    "पाठक पढ़ता है पढ़ना पढ़ाई",
    "읽는 사람이 읽고 읽었다",
    "读者读书读者阅读",
    "ผู้อ่านอ่านการอ่าน",
    "é è x\N{COMBINING CIRCUMFLEX ACCENT} x\N{COMBINING CIRCUMFLEX ACCENT} 🇳🇱 🇳🇱",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([SCRIPTS, "padbos<>"])


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def subwords(request):
    return train_tokenizer([*SENTENCES, "padbosunk<>", "\n\t"], "subword", vocab_size=220, kind=request.param)


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


def test_words_come_back_with_single_spaces_and_unknown_ones_are_unk():
    tokenizer = train_tokenizer(["two  one", "one\nthree"], "word")
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == [*SPECIAL_TOKENS, "one", "three", "two"]
    assert tokenizer(" one two  one ").input_ids == [4, 6, 4, 2]
    assert decoded(tokenizer, " one two  one ") == "one two one"
    assert tokenizer("one four").input_ids == [4, 3, 2]
    assert tokenizer("").input_ids == [2]


def test_the_vocabulary_of_words_is_closed_by_size_and_count():
    texts = ["b a c", "b a", "b d", "e\N{COMBINING ACUTE ACCENT} é"]
    counted = train_tokenizer(texts, "word", min_count=2)
    assert counted.convert_ids_to_tokens(range(4, len(counted))) == ["a", "b", "é"]
    sized = train_tokenizer(texts, "word", vocab_size=4 + 3)  # b thrice, a and é twice
    assert sized.get_vocab() == counted.get_vocab()
    assert train_tokenizer(texts, "word", vocab_size=4 + 4).convert_ids_to_tokens(6) == "c"  # of c and d, the first


def test_the_share_of_unknown_words_is_counted():
    tokenizer = train_tokenizer(["one two"], "word")
    assert unknown_share(tokenizer, ["one two", "three one four", ""]) == (2, 5)
    assert unknown_share(train_tokenizer(["ab"]), ["abc", "a"]) == (1, 4)


def test_phoneme_symbols_of_several_characters_stay_whole():
    tokenizer = train_tokenizer(["tʃ ɜː tʃ | ɔɪ l", "b oʊ t"], "phoneme", language="en-us")
    assert tokenizer.convert_ids_to_tokens(tokenizer("tʃ ɔɪ | oʊ").input_ids) == ["tʃ", "ɔɪ", "|", "oʊ", "<eos>"]
    assert decoded(tokenizer, "b  oʊ t |  tʃ") == "b oʊ t | tʃ"
    assert tokenizer("x b").input_ids[0] == 3
    assert len(tokenizer) == 4 + 8
    assert language_of(tokenizer) == "en-us"


def test_subwords_bring_texts_back_whole_in_every_script(subwords):
    symbols = sorted(set("".join(unicodedata.normalize("NFC", text) for text in SENTENCES)))
    generator = random.Random(2)
    texts = [*SENTENCES, "", " ", "   ", "  the  list ", "\n", "\tthe\nlist\n ", "the list"]
    texts += ["".join(generator.choices([*symbols, " ", " ", "\n"], k=30)) for _ in range(200)]
    # Side by side, some compose to a character that no sentence holds.
    known = [text for text in texts if set(unicodedata.normalize("NFC", text)) <= {*symbols, "\n", "\t"}]
    assert len(known) > 100
    for text in known:
        assert decoded(subwords, text) == unicodedata.normalize("NFC", text)
        assert subwords(text).input_ids[-1] == 2
    assert len(subwords) <= 220
    parts = [part for part in subwords.convert_ids_to_tokens(range(4, len(subwords))) if len(part) > 1]
    assert any(part.strip("▁").isascii() for part in parts) and any("чита" in part for part in parts)


def test_subwords_are_fewer_than_characters_and_the_same_wherever_a_word_stands(subwords):
    characters = train_tokenizer(SENTENCES)
    for text in SENTENCES[:4]:
        assert len(subwords(text).input_ids) < len(characters(text).input_ids)
    one = subwords("reading").input_ids[:-1]
    assert subwords("reading reading").input_ids == [*one, *one, 2]


def test_what_no_subword_holds_is_unk(subwords):
    assert 3 in subwords("the Ж list").input_ids
    assert decoded(subwords, "the Ж list") == "the  list"


def test_a_unigram_prefers_the_likelier_parts():
    texts = ["abab abab abab", "cdcd abab"] * 20 + ["acbd"]
    tokenizer = train_tokenizer(texts, "subword", vocab_size=16, kind="unigram")
    vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
    assert [piece for piece, _ in vocabulary[:4]] == list(SPECIAL_TOKENS)
    scores = [score for _, score in vocabulary[4:]]
    assert scores == sorted(scores, reverse=True)
    written = tokenizer.convert_ids_to_tokens(tokenizer("abab").input_ids)
    best = max(
        (sum(dict(vocabulary)[part] for part in parts), parts)
        for parts in cuts("▁abab")
        if all(part in dict(vocabulary) for part in parts)
    )
    assert written == [*best[1], "<eos>"]


def cuts(text):
    """All ways to cut a text into parts."""
    if not text:
        return [[]]
    return [[text[:end], *rest] for end in range(1, len(text) + 1) for rest in cuts(text[end:])]


@pytest.mark.parametrize(
    ("unit", "options"),
    [
        ("character", {}),
        ("word", {"vocab_size": 20}),
        ("subword", {"kind": "bpe", "vocab_size": 200}),
        ("subword", {"kind": "unigram", "vocab_size": 200}),
        ("subword", {"kind": "unigram", "vocab_size": 150}),
        ("phoneme", {"language": "nl"}),
    ],
)
def test_of_every_unit_the_order_of_texts_does_not_matter(unit, options):
    texts = [*SENTENCES, *SENTENCES[:3], SCRIPTS]
    made = set()
    for seed in range(4):
        random.Random(seed).shuffle(texts)
        made.add(train_tokenizer(iter(texts), unit, **options).backend_tokenizer.to_str())
    assert len(made) == 1


@pytest.mark.parametrize("unit", ["word", "subword", "phoneme"])
@pytest.mark.parametrize("typed", ["<pad>", "<bos>", "a <eos> b", "<unk> <unk>", "<pad><eos>"])
def test_of_every_unit_special_tokens_typed_as_text_are_none(unit, typed):
    tokenizer = train_tokenizer(["<pad> <bos> a<eos>b <unk>", "<pad> <eos> <eos>"] * 5, unit)
    assert not set(tokenizer(typed).input_ids[:-1]) & {0, 1, 2}
    vocabulary = tokenizer.get_vocab()
    assert [vocabulary[token] for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    if unit == "subword":
        assert decoded(tokenizer, typed) == typed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 9}, "vocab_size is for the unit word and subword, and unit is 'character'"),
        ({"unit": "word", "kind": "bpe"}, "kind is for the unit subword, and unit is 'word'"),
        ({"unit": "subword", "min_count": 2}, "min_count is for the unit word, and unit is 'subword'"),
        ({"unit": "subword", "kind": "wordpiece"}, "kind is 'wordpiece'; allowed: bpe, unigram"),
        ({"unit": "subword", "vocab_size": 6}, "vocab_size is 6; texts hold 3 characters"),
        ({"unit": "word", "vocab_size": 4}, "vocab_size is 4; it must be above 4"),
        ({"unit": "word", "min_count": 0}, "min_count is 0; it must be at least 1"),
        ({"unit": "word", "min_count": 2}, "no word that occurs 2 times or more"),
        ({"unit": "word", "language": "nl"}, "language is for the unit phoneme, and unit is 'word'"),
    ],
)
def test_options_that_a_unit_does_not_take_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(["ab"], **options)


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_of_every_unit_no_symbols_is_an_error(unit):
    with pytest.raises(ValueError, match="texts is empty"):
        train_tokenizer(["", ""], unit)


def test_saved_folders_load_by_transformers_alone(tokenizer, tmp_path):
    subwords = [train_tokenizer(SENTENCES, "subword", vocab_size=200, kind=kind) for kind in ("bpe", "unigram")]
    others = [train_tokenizer(SENTENCES, unit) for unit in ("word", "phoneme")]
    texts = [SCRIPTS, *[f"  {SENTENCES[0]}  {SENTENCES[3]}"] * 4]
    for number, saved in enumerate([tokenizer, *subwords, *others]):
        saved.save_pretrained(tmp_path / str(number))
        # A model type that transformers does not know must not stand in the way.
        (tmp_path / str(number) / "config.json").write_text(json.dumps({"model_type": "las"}))
    script = (
        "import importlib, json, sys\n"
        "sys.modules['aural'] = None\n"  # any import of aural fails
        "from transformers import AutoTokenizer\n"
        "for folder, text in json.loads(sys.argv[1]):\n"
        "    tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "    ids = tokenizer(text).input_ids\n"
        "    print(json.dumps([ids, tokenizer.decode(ids, skip_special_tokens=True), tokenizer('<pad>').input_ids]))\n"
    )
    told = json.dumps([[str(tmp_path / str(number)), text] for number, text in enumerate(texts)])
    result = subprocess.run(
        [sys.executable, "-I", "-c", script, told], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    single = f"{SENTENCES[0]} {SENTENCES[3]}"
    expected = [unicodedata.normalize("NFC", SCRIPTS), texts[1], texts[1], single, single]
    for line, saved, text, back in zip(
        result.stdout.splitlines()[-5:], [tokenizer, *subwords, *others], texts, expected, strict=True
    ):
        assert json.loads(line) == [saved(text).input_ids, back, saved("<pad>").input_ids]


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_every_unit_loads_by_an_auto_class_and_knows_what_it_is(unit, tmp_path):
    tokenizer = train_tokenizer(SENTENCES, unit)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert unit_of(loaded) == unit
    assert (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id, loaded.unk_token_id) == (0, 1, 2, 3)
    for text in SENTENCES:
        assert loaded(text).input_ids == tokenizer(text).input_ids
        assert decoded(loaded, text) == decoded(tokenizer, text)


def test_a_tokenizer_that_does_not_tell_is_one_of_characters():
    tokenizer = train_tokenizer(["ab"])
    del tokenizer.init_kwargs["unit"]
    assert unit_of(tokenizer) == "character"
    assert language_of(tokenizer) is None
