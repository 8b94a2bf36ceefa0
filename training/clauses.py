"""Clauses to be spoken: Debian's `fortunes` cut at its marks, in one normal form.

    clauses_of(Path("/usr/share/games/fortunes"))  # ["a baby is", "a bachelor never makes the same mistake", …]

What is notable here:

- a clause is 3 to 9 words of `a`-`z` and `'`, so that any voice reads it in one breath and in one way;
- what voices read in different ways is left out: digits, signs, program text, abbreviations, words without a vowel.
"""

import re
from collections import Counter
from pathlib import Path

FEWEST, MOST = 3, 9  # words of a clause
LONGEST_WORD = 15  # letters

_DRAWN = frozenset({"ascii-art", "perl", "translate-me", "magic", "zippy"})  # pictures, programs, tongues, nonsense
_UNSURE = re.compile(r"[0-9_@#$%^&*+=<>/\\|~{}\[\]`]")  # read out in several ways, or not at all
_CREDIT = re.compile(r"^\s*--.*", re.DOTALL | re.MULTILINE)  # "-- Mark Twain" and all that follows
_SCORED = re.compile(r".\x08")  # a letter struck over, which underlines on a terminal
_MARKS = re.compile(r"[.!?;:,()\"…–—]+|\s-+\s|--+|''+|(?<!\w)'|'(?!\w)")  # where a clause ends; "o'clock" goes on
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
_SPELT = re.compile(r"\b[A-Z]{2,}\b")  # FBI, DEC: letters to one voice and a word to another; or a shout
_ABBREVIATED = frozenset(
    {"dr", "mr", "mrs", "ms", "st", "jr", "sr", "prof", "gen", "col", "sgt", "lt"}
    | {"vs", "etc", "inc", "ltd", "co", "vol", "no", "rd", "ave", "dept"}
)
_VOWEL, _TRIPLE = re.compile(r"[aeiouy]"), re.compile(r"(.)\1\1")


def clauses_of(folder: Path) -> tuple[list[str], Counter[str]]:
    """The different clauses of a folder of fortunes, in alphabetical order, and how many were left out, by reason.

    Args:
        folder: of the files that `fortune` reads, such as /usr/share/games/fortunes.

    Raises:
        OSError: the folder holds no fortunes.
    """
    found: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    files = [path for path in sorted(folder.glob("*")) if path.is_file() and path.suffix not in (".dat", ".u8")]
    if not files:
        raise FileNotFoundError(f"{folder} holds no fortunes")
    for path in files:
        if path.name in _DRAWN:
            continue
        for fortune in re.split(r"^%\s*$", path.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE):
            for clause in split_clauses(fortune):
                text = normalize_clause(clause)
                reason = "not 3 to 9 words" if text is None else _doubt(clause, text)
                if reason is None and text is not None:
                    found[text] += 1
                elif clause.strip():
                    skipped[str(reason)] += 1
    skipped["said before"] = found.total() - len(found)
    return sorted(found), skipped


def split_clauses(fortune: str) -> list[str]:
    """A fortune without its author, cut at its marks; lines are joined, since they are broken at the screen's edge."""
    text = _CREDIT.sub("", _SCORED.sub("", fortune)).replace("’", "'")
    return _MARKS.split(re.sub(r"(?<=\w)-(?=\w)", " ", text))


def normalize_clause(clause: str) -> str | None:
    """A clause in lower case with one space between its words; None unless it has 3 to 9."""
    words = clause.lower().split()
    return " ".join(words) if FEWEST <= len(words) <= MOST else None


def _doubt(clause: str, text: str) -> str | None:
    """Why nobody can tell how a clause is read aloud; None where everyone can."""
    words = text.split()
    if _UNSURE.search(clause):
        return "digits or signs"
    if not all(_WORD.fullmatch(word) for word in words):
        return "letters beyond a to z"
    if _SPELT.search(clause) or any(word in _ABBREVIATED for word in words):
        return "abbreviations or capitals"
    if any(len(word) > LONGEST_WORD or _TRIPLE.search(word) for word in words):
        return "words that are none"
    if any(not _VOWEL.search(word) for word in words):
        return "words that are none"
    return None
