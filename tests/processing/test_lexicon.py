"""Lexicons: several pronunciations a word, several words a pronunciation, files in the usual forms."""

import codecs

import pytest

from aural.processing.lexicon import ROOT, Lexicon


def place_of(lexicon, symbols):
    place = ROOT
    for symbol in symbols:
        place = lexicon.follow(place, symbol)
    return place


def test_the_tree_shares_beginnings_and_knows_where_words_end():
    lexicon = Lexicon({"read": [("r", "iː", "d"), ("r", "ɛ", "d")], "red": [("r", "ɛ", "d")], "Re": [("r", "iː")]})
    assert list(lexicon.words_at(place_of(lexicon, ["r", "ɛ", "d"]))) == ["read", "red"]
    assert list(lexicon.words_at(place_of(lexicon, ["r", "iː"]))) == ["Re"]
    assert list(lexicon.words_at(place_of(lexicon, ["r"]))) == []
    assert list(lexicon.words_at(ROOT)) == []
    assert lexicon.follow(place_of(lexicon, ["r"]), "d") is None
    assert [lexicon.goes_on(place_of(lexicon, sounds)) for sounds in ([], ["r", "iː"], ["r", "iː", "d"])] == [1, 1, 0]
    assert lexicon.symbols == {"r", "iː", "ɛ", "d"}
    assert len(lexicon) == 3
    assert "red" in lexicon
    assert "blue" not in lexicon


def test_each_place_knows_the_best_of_the_words_from_there():
    lexicon = Lexicon({"a": [("a",)], "abc": [("a", "b", "c")], "abd": [("a", "b", "d")], "e": [("e",), ("b", "e")]})
    values = {"a": -1.0, "abc": -3.0, "abd": -2.0, "e": -0.5}
    best = lexicon.best_ahead(values.__getitem__)
    paths = ["", "a", "ab", "abc", "abd", "e", "b", "be"]
    assert [best[place_of(lexicon, path)] for path in paths] == [-0.5, -1.0, -2.0, -3.0, -2.0, -0.5, -0.5, -0.5]
    assert len(best) == len(paths)


def test_files_are_read_in_the_forms_of_kaldi_and_cmudict(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_bytes(
        codecs.BOM_UTF8
        + b";;; a comment\none W AH1 N\r\n\n# another\n"
        + b"read\tR EH1 D # past\nread(2)  R IY1 D\nread(3) R EH1 D\n"
        + "é\N{NO-BREAK SPACE}t e\n".encode()
    )
    lexicon = Lexicon.read(path)
    assert lexicon.pronunciations == {
        "one": (("W", "AH1", "N"),),
        "read": (("R", "EH1", "D"), ("R", "IY1", "D")),
        "é\N{NO-BREAK SPACE}t": (("e",),),
    }


def test_a_written_lexicon_is_read_as_it_was(tmp_path):
    lexicon = Lexicon({"one": [("w", "ʌ", "n")], "a": [("eɪ",), ("ə",)]})
    assert Lexicon.read(lexicon.write(tmp_path / "lexicon.txt")).pronunciations == lexicon.pronunciations


@pytest.mark.parametrize("word", ["a b", "one(2)", ";;;", "#"])
def test_what_would_be_read_as_something_else_is_not_written(word, tmp_path):
    with pytest.raises(ValueError, match="cannot be written"):
        Lexicon({"first": [("f",)], word: [("w",)]}).write(tmp_path / "lexicon.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one W\ntwo\n", r"lexicon\.txt:2: 'two' has no pronunciation"),
        (b"one W\ntwo # T UW\n", r"lexicon\.txt:2: 'two' has no pronunciation"),
        (b"one W\n\xff T\n", r"lexicon\.txt:2: not UTF-8"),
        (b";;; nothing\n", r"lexicon\.txt: no word in it"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_line(tmp_path, content, message):
    (tmp_path / "lexicon.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Lexicon.read(tmp_path / "lexicon.txt")
    with pytest.raises(FileNotFoundError):
        Lexicon.read(tmp_path / "nowhere.txt")


def test_spelled_words_are_their_characters():
    assert Lexicon.spelled(["on", "no"]).pronunciations == {"on": (("o", "n"),), "no": (("n", "o"),)}
    with pytest.raises(TypeError, match="one string"):
        Lexicon.spelled("on")


def test_pronunciations_must_be_sequences_of_symbols():
    with pytest.raises(TypeError, match="'cat' has the pronunciation 'kæt'"):
        Lexicon({"cat": ["kæt"]})
    with pytest.raises(TypeError, match="is a int"):
        Lexicon({3: [("θ",)]})
    for pronunciations in ({"a": [()]}, {"a": [("",)]}, {"a": []}, {"": [("a",)]}, {}):
        with pytest.raises(ValueError, match="pronunciation"):
            Lexicon(pronunciations)
