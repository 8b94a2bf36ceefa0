"""The files of `aural transcribe --out`: results, whole or not there, and the journal by which a stopped run goes on.

- A journal, NAME.part.jsonl, stands beside the result while a recording is worked on. Its first line tells what the
  work follows from: the recording, the model, the options. Each further line is one batch of segments as decoded.
- A line that a kill cut short is dropped; the batch is decoded again, so a run that was stopped writes what one that
  was not would have written.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from .processing.files import write_whole
from .processing.segments import Segment
from .processing.subtitles import json_document, srt_lines, text_lines, vtt_lines
from .training.fingerprints import digest, file_marks

JOURNAL_FORMAT = 1


class Format(str, Enum):
    """How a transcript is written."""

    text = "text"
    json = "json"
    srt = "srt"
    vtt = "vtt"

    @property
    def suffix(self) -> str:
        """Of its files."""
        return ".txt" if self is Format.text else f".{self.value}"


def result_paths(files: Sequence[Path], folder: Path, form: Format) -> dict[Path, Path]:
    """Where the result of each file goes: its name in `folder`, with the suffix of the format.

    Raises:
        FileNotFoundError, NotADirectoryError: There is no such folder, and none to make it in.
        ValueError: Two files have one name, or a result would take the place of a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--out {folder}: is a file; a folder is needed")
    if not folder.is_dir() and not folder.parent.is_dir():
        raise FileNotFoundError(f"--out {folder}: there is no folder {folder.parent} to make it in")
    taken: dict[Path, Path] = {}
    for file in dict.fromkeys(files):
        path = folder / f"{file.stem}{form.suffix}"
        if path in taken:
            raise ValueError(f"{taken[path]} and {file} would both be written to {path}; give them one by one")
        taken[path] = file
    sources = {file.resolve() for file in files}
    if clash := next((path for path in taken if path.resolve() in sources), None):
        raise ValueError(f"--out {folder}: {clash} is one of the audio files")
    return {file: path for path, file in taken.items()}


def write_result(path: Path, form: Format, segments: Sequence[Segment], about: Mapping[str, Any]) -> None:
    """Write a transcript, whole or not at all.

    Args:
        path: The file.
        form: How it is written.
        segments: In order.
        about: What JSON says first, such as the file and its length.
    """
    if form is Format.json:
        write_whole(path, json_document(segments, about))
        return
    write_whole(path, "".join(written(form, segments)))


def written(form: Format, segments: Any) -> Iterator[str]:
    """Pieces of a transcript as text or subtitles, as its segments come."""
    return {Format.text: text_lines, Format.srt: srt_lines, Format.vtt: vtt_lines}[form](segments)


class Journal:
    """What is decoded of a recording so far.

    Args:
        result: The file that the result will be; the journal stands beside it.
        source: The recording.
        follows: What else the work follows from, by name; plain values.

    Raises:
        OSError: The recording cannot be read.
    """

    def __init__(self, result: Path, source: Path, follows: Mapping[str, Any]) -> None:
        self.path = result.with_name(f"{result.stem}.part.jsonl")
        self.about = {"format": JOURNAL_FORMAT, "recording": digest(file_marks([str(source)])), **follows}

    def begin(self, resume: bool) -> list[list[Segment]]:
        """The batches that are done; none, in a new journal, where there was none.

        Args:
            resume: Go on with a journal that is there.

        Raises:
            FileExistsError: There is one, and `resume` is False.
            ValueError: It is of another recording, model or options, or damaged.
            OSError: It cannot be read or written.
        """
        if not self.path.exists():
            write_whole(self.path, json.dumps(self.about, ensure_ascii=False) + "\n")
            return []
        if not resume:
            raise FileExistsError(
                f"{self.path} is left of a run that was stopped; --resume goes on with it, or remove it to begin anew"
            )
        content = self.path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1].decode("utf-8").splitlines()
        try:
            head, *rows = [json.loads(line) for line in lines]
            batches = [[Segment.from_json(values) for values in row] for row in rows]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self.path} is no whole journal ({error}); remove it to begin anew") from error
        self._check(head)
        with self.path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
        return batches

    def _check(self, head: Any) -> None:
        if head == self.about:
            return
        was = head if isinstance(head, dict) else {}
        other = [name for name in {**self.about, **was} if was.get(name) != self.about.get(name)]
        told = ", ".join(_difference(name, was.get(name), self.about.get(name)) for name in other)
        raise ValueError(f"{self.path} is of another run: {told}; give what was given then, or remove it")

    def add(self, batch: Sequence[Segment]) -> None:
        """Put a batch on record."""
        line = json.dumps([segment.to_json() for segment in batch], ensure_ascii=False) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode("utf-8"))

    def end(self) -> None:
        """The result is written: the journal goes away."""
        self.path.unlink()


def _difference(name: str, was: Any, now: Any) -> str:
    short = all(isinstance(value, int | float | str | None) and len(str(value)) < 32 for value in (was, now))
    return f"{name} was {was}, is {now}" if short else f"another {name}"
