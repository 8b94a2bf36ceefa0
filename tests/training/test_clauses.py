"""Clauses from made-up fortunes."""

from pathlib import Path

import pytest

from aural.training.clauses import clauses_of, normalize_clause, split_clauses


def write(folder: Path, name: str, *fortunes: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n%\n".join(fortunes) + "\n%\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("fortune", "clauses"),
    [
        ("A wet bird, he said; never flies\nat night!", ["a wet bird", "he said", "never flies at night"]),
        ("Well-known is it -- so they say", ["well known is it", "so they say"]),
        ("All is lost.\n\t\t-- Someone, in a book", ["all is lost"]),
        ('\'Tis the o’clock of "the wise man"', ["tis the o'clock of", "the wise man"]),
        ("_\x08T_\x08h_\x08e dog has gone", ["the dog has gone"]),
    ],
)
def test_fortunes_are_cut_at_their_marks_and_lose_their_author(fortune, clauses):
    found = [" ".join(clause.lower().split()) for clause in split_clauses(fortune)]
    assert [clause for clause in found if clause] == clauses


@pytest.mark.parametrize(("words", "kept"), [(2, False), (3, True), (9, True), (10, False)])
def test_clauses_have_3_to_9_words(words, kept):
    text = " ".join(["Word"] * words)
    assert normalize_clause(text) == (text.lower() if kept else None)


def test_what_can_be_read_in_several_ways_is_left_out_and_counted(tmp_path):
    write(
        tmp_path / "fortunes",
        "wisdom",
        "The sun is up. The sun is up! He went home.",
        "It costs 5 dollars now",
        "Use the C++ way here",
        "The FBI is here",
        "Ask Mr Smith about it",
        "Say hmm to it all",
        "A looong way to go",
        "Où est la vache",
        "No.",
    )
    write(tmp_path / "fortunes", "ascii-art", "a picture of words")
    (tmp_path / "fortunes/wisdom.dat").write_bytes(b"\0\1")
    (tmp_path / "fortunes/wisdom.u8").write_text("a copy of it all")
    clauses, skipped = clauses_of(tmp_path / "fortunes")
    assert clauses == ["he went home", "the sun is up"]
    assert skipped == {
        "said before": 1,
        "digits or signs": 2,
        "abbreviations or capitals": 2,
        "words that are none": 2,
        "letters beyond a to z": 1,
        "not 3 to 9 words": 1,
    }


def test_folder_without_fortunes_is_named(tmp_path):
    with pytest.raises(OSError, match="holds no fortunes"):
        clauses_of(tmp_path / "none")
