"""Markdown that shows text from outside as text: no markup, tags or front matter come out of it."""

import re
from collections.abc import Iterable, Sequence
from unicodedata import category

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&vert;"})
_BRACKETS = str.maketrans("<>", "‹›")
_MARKUP = re.compile(r"([\\`*_{}\[\]#~$^@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
_LEADING = re.compile(r"^(\d*)((?<!\d)[-+=]|(?<=\d)[.)](?=\s|$))")  # rules and list items: only at the start
_UNSEEN = {"Cc", "Cs"}  # control characters, halves of surrogate pairs
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # reverse the text that follows


def one_line(text: str) -> str:
    """`text` on one line, without control characters and without what reverses the direction of reading."""
    kept = (char for char in text if char not in _TURNING)
    return " ".join("".join(char for char in kept if char.isspace() or category(char) not in _UNSEEN).split())


def escape(text: str) -> str:
    """`text` as Markdown that shows it as it is, on one line: in a paragraph, a heading, a list or a table."""
    return _LEADING.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", one_line(text).translate(_ENTITIES)))


def label(text: str) -> str:
    """`text` as a name for the front matter, where some viewers take tags for HTML and nothing can be escaped."""
    return one_line(text).translate(_BRACKETS)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bullets(items: Iterable[str]) -> str:
    """A Markdown list of items that are escaped already."""
    return "\n".join(f"- {item}" for item in items)
