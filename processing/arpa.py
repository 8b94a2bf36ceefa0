r"""ARPA files: the text form in which SRILM, KenLM and others exchange back-off n-grams.

- A file is read whole or refused: counts that differ from `\data\`, a missing `\end\`, a number that is none, a word
  or a context that is not listed are errors that name file and line. A cut file never becomes a smaller model.
- Words cannot hold white space in this format, yet a character model has a space among its symbols: a symbol that
  *is* white space is written as `<space>`, `<tab>`, `<newline>` and read back as what it stands for.
- Numbers are written in full, so that writing and reading gives the same model. Files may be gzipped.
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from .files import replaced_whole

Grams = dict[tuple[str, ...], tuple[float, float]]  # n-gram: log10 of its probability, log10 of its back-off weight

LOG_ZERO = -99.0  # what SRILM writes for log10 of 0, as for <s>, which is never predicted
WHITE_SPACE = {" ": "<space>", "\t": "<tab>", "\n": "<newline>", "\r": "<return>"}
_SPELLED = {**{name: symbol for symbol, name in WHITE_SPACE.items()}, "<UNK>": "<unk>"}  # as KenLM, both are one word
_SPACES = re.compile("[\0\t\n\v\f\r ]")  # what separates words in the file; others, such as U+00A0, are in words
_GZIP = b"\x1f\x8b"


def arpa_word(word: str) -> str:
    """`word` as it stands in a file: white space by name.

    Raises:
        ValueError: it is empty, or holds white space beside other characters.
    """
    written = WHITE_SPACE.get(word, word)
    if not written or _SPACES.search(written):
        raise ValueError(f"word {word!r} cannot be written in an ARPA file: it is empty or holds white space")
    return written


def read_arpa(path: str | Path) -> Grams:
    """All n-grams of a file, plain or gzipped.

    Returns:
        Of each n-gram log10 of its probability and of its back-off weight, 0 where the file gives none.

    Raises:
        OSError: the file is missing, cannot be read or is damaged.
        ValueError: it is no whole ARPA file; the message names file and line.
    """
    lines = _Lines(Path(path))
    counts = _read_counts(lines)
    grams: Grams = {}
    for length, count in enumerate(counts, 1):
        lines.expect(f"\\{length}-grams:")
        before = len(grams)
        while lines.take():
            _read_gram(lines, length, length < len(counts), grams)
        if len(grams) - before != count:
            raise lines.error(f"{count} {length}-grams are announced, {len(grams) - before} are there")
    lines.expect("\\end\\")
    return grams


class _Lines:
    """Lines of a file that are not blank, as fields, with the place for messages."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self.fields: list[bytes] = []
        self._lines = self._read()

    def _read(self) -> Iterator[bytes]:
        with open(self.path, "rb") as raw:
            packed = raw.peek(len(_GZIP)).startswith(_GZIP)
            try:
                yield from gzip.GzipFile(fileobj=raw) if packed else raw
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise OSError(f"{self.path}: gzip data damaged after line {self.number}: {error}") from error

    def take(self) -> bool:
        """The next line that is not blank becomes `fields`; False where it is one that begins with a backslash."""
        for line in self._lines:
            self.number += 1
            self.fields = line.split()  # bytes part at ASCII white space only
            if self.fields:
                return not self.fields[0].startswith(b"\\")
        raise self.error("the file ends before \\end\\: it was cut short")

    def expect(self, marker: str) -> None:
        """The line at hand is `marker`."""
        if self.fields != [marker.encode()]:
            raise self.error(f"expected {marker}, not {b' '.join(self.fields).decode(errors='replace')!r}")

    def error(self, message: str) -> ValueError:
        """For raising, with file and line before the message."""
        return ValueError(f"{self.path}:{self.number}: {message}")


def _read_counts(lines: _Lines) -> list[int]:
    r"""The numbers under `\data\`; what stands before it is free text."""
    try:
        while lines.take() or lines.fields != [b"\\data\\"]:
            pass
    except ValueError:
        raise lines.error("no \\data\\: not an ARPA file") from None
    counts: list[int] = []
    while lines.take():
        match = re.fullmatch(rb"ngram (\d+) ?= ?(\d+)", b" ".join(lines.fields))
        if not match or int(match[1]) != len(counts) + 1:
            raise lines.error(f"expected 'ngram {len(counts) + 1}=' and a count")
        counts.append(int(match[2]))
    if not counts:
        raise lines.error("\\data\\ announces no n-grams")
    return counts


def _read_gram(lines: _Lines, length: int, backs_off: bool, grams: Grams) -> None:
    """The line at hand becomes an entry of `grams`."""
    fields = lines.fields
    if len(fields) - length - 1 not in ((0, 1) if backs_off else (0,)):
        raise lines.error(
            f"{len(fields)} fields; allowed: a log probability, {length} words" + ", a back-off" * backs_off
        )
    try:
        words = [field.decode("utf-8") for field in fields[1 : length + 1]]
        log_prob, backoff = float(fields[0]), float(fields[length + 1]) if len(fields) > length + 1 else 0.0
    except UnicodeDecodeError:
        raise lines.error("not UTF-8") from None
    except ValueError:
        raise lines.error(f"not a number: {fields[0]!r} or {fields[-1]!r}") from None
    if not log_prob <= 0 or not backoff < math.inf:  # not NaN either
        raise lines.error(f"log probability {log_prob}, back-off {backoff}; allowed: at most 0, and finite")
    gram = tuple(_SPELLED.get(word, word) for word in words)
    if gram in grams:
        raise lines.error(f"{' '.join(words)!r} is there twice")
    if length > 1 and (gram[:-1] not in grams or gram[-1:] not in grams):
        raise lines.error(f"{' '.join(words)!r}: the words before the last, or the last, are not listed themselves")
    grams[gram] = (log_prob, backoff)


def write_arpa(path: str | Path, grams: Mapping[tuple[str, ...], tuple[float, float]]) -> Path:
    """Write `grams` whole or not at all, gzipped where the name ends in `.gz`; returns the path.

    Args:
        path: the file, there already or not; its folder exists.
        grams: as `read_arpa` gives them.

    Raises:
        OSError: the file cannot be written; what stood there is untouched.
        ValueError: a word that the format cannot hold.
    """
    path = Path(path)
    with replaced_whole(path) as part, ExitStack() as opened:
        raw = opened.enter_context(open(part, "wb"))
        file: IO[bytes] | gzip.GzipFile = raw
        if path.suffix == ".gz":  # without name and time, equal models are equal files
            file = opened.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
        for line in _written(grams):
            file.write(line.encode("utf-8") + b"\n")
    return path


def _written(grams: Mapping[tuple[str, ...], tuple[float, float]]) -> Iterator[str]:
    """The lines of the file."""
    order = max(map(len, grams))
    contexts = {gram[:-1] for gram in grams}
    by_length: list[list[tuple[tuple[str, ...], tuple[float, float]]]] = [[] for _ in range(order)]
    for gram, entry in sorted(grams.items()):
        by_length[len(gram) - 1].append((tuple(map(arpa_word, gram)), entry))
    yield "\\data\\"
    yield from (f"ngram {length}={len(rows)}" for length, rows in enumerate(by_length, 1))
    for length, rows in enumerate(by_length, 1):
        yield f"\n\\{length}-grams:"
        if len({words for words, _ in rows}) < len(rows):
            raise ValueError(f"two {length}-grams are one when written: a word is spelled as {[*_SPELLED]} are")
        for words, (log_prob, backoff) in rows:
            has_backoff = backoff != 0 or tuple(_SPELLED.get(word, word) for word in words) in contexts
            yield f"{max(log_prob, LOG_ZERO)!r}\t{' '.join(words)}" + f"\t{backoff!r}" * has_backoff
    yield "\n\\end\\"
