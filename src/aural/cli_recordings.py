"""What `aural transcribe` does with files: text on standard output as it comes, or a file of subtitles for each.

- Short files are decoded together; one that is longer than the model takes at once is heard stretch by stretch.
- One bad file costs the others nothing: it is one line on standard error, and exit code 2 in the end.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import typer

from .cli_annotate import INTERRUPTED
from .console import say_error
from .heard_bar import heard_bar
from .long_audio import LongRecording, is_long, longest_stretch
from .long_files import Format, Journal, result_paths, write_result, written
from .processing import load_audio
from .processing.pauses import Cutting
from .processing.segments import Segment
from .processing.stitching import stitched
from .processing.subtitles import segment_row
from .recognition import load_recognizer, recognize_batch, recognizer_of
from .version import __version__

UNREADABLE = (OSError, ValueError)


@dataclass(frozen=True)
class Asked:
    """What was typed.

    Attributes:
        files: The recordings.
        model: Folder or Hub id.
        device: Where the model runs.
        batch_size: Clips or stretches decoded together.
        generate_kwargs: For `model.generate`.
        max_seconds: Longest stretch; None for the model's own.
        vad: What finds pauses.
        form: How transcripts are written.
        per_file: One JSON object per file, on standard output.
        out: Folder of the results; None for standard output.
        resume: Go on with what was stopped.
        quiet: No bar.
    """

    files: list[Path]
    model: str
    device: str
    batch_size: int
    generate_kwargs: dict[str, Any]
    max_seconds: float | None
    vad: str
    form: Format
    per_file: bool
    out: Path | None
    resume: bool
    quiet: bool


def transcribe_files(asked: Asked) -> None:
    """Transcribe every file that can be read.

    Raises:
        OSError, ValueError: No file can be tried: a wrong model, folder or option.
        typer.Exit: A file could not be read (2), or the person stopped it (130).
    """
    to = {} if asked.out is None else _free_paths(asked)
    try:
        work = _Work(asked, to)
        if asked.out is not None:
            asked.out.mkdir(exist_ok=True)
        whole = work.run(list(to) if asked.out is not None else asked.files)
    except KeyboardInterrupt:
        hint = "; the same command with --resume goes on from there" if asked.out is not None else ""
        print(f"aural: stopped{hint}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if not whole:
        raise typer.Exit(2)


def _free_paths(asked: Asked) -> dict[Path, Path]:
    """Where the results go that are not there yet; what is there is never replaced."""
    assert asked.out is not None
    paths = result_paths(asked.files, asked.out, asked.form)
    there = [path for path in paths.values() if path.exists()]
    if there and not asked.resume:
        raise FileExistsError(
            f"{there[0]} is there already; --resume keeps what is done; or remove it, or choose another --out"
        )
    for path in there:
        print(f"{path}: there already, kept", file=sys.stderr)
    return {file: path for file, path in paths.items() if path not in there}


class _Work:
    """The model at work on one file after the other."""

    def __init__(self, asked: Asked, to: dict[Path, Path]) -> None:
        self.asked, self.to = asked, to
        if asked.max_seconds is not None:
            Cutting.up_to(asked.max_seconds)  # a wrong one is wrong before the model is loaded
        self.model, self.processor = load_recognizer(asked.model, asked.device)
        self.rate = self.processor.feature_extractor.sampling_rate
        self.cutting = Cutting.up_to(longest_stretch(self.model, asked.max_seconds))
        self.options = recognizer_of(self.model, self.processor).options(asked.generate_kwargs)
        self.whole = True
        self.fingerprint = ""  # of the model, once a journal asks for it

    def run(self, files: list[Path]) -> bool:
        """Whether every file could be read."""
        short: dict[Path, Any] = {}
        for file in files:
            with self._one(file):
                if is_long(file, self.rate, self.cutting.max_seconds):
                    self._short(short)
                    self._long(file)
                else:
                    short[file] = load_audio(file, self.rate)
            if len(short) == self.asked.batch_size:
                self._short(short)
        self._short(short)
        return self.whole

    @contextmanager
    def _one(self, file: Path) -> Iterator[None]:
        """Trouble with one file is told, and the next one follows."""
        try:
            yield
        except UNREADABLE as error:
            self.whole = False
            say_error(error)

    def _short(self, waves: dict[Path, Any]) -> None:
        """Decode short files together, and forget them."""
        if not waves:
            return
        asked = self.asked
        for file, result in zip(list(waves), self._recognize(list(waves.values())), strict=True):
            one = Segment(0.0, result.seconds, result.text, result.words, result.confidence, result.troubles)
            with self._one(file):
                if asked.out is None:
                    self._print(file, iter([one]), partial(float, result.seconds))
                else:
                    self._write(file, [one], result.seconds)
        waves.clear()

    def _long(self, file: Path) -> None:
        """Decode one file stretch by stretch."""
        asked = self.asked
        recording = LongRecording(file, self._recognize, self.rate, self.cutting, asked.vad, asked.batch_size)
        with heard_bar(file.name, asked.quiet) as progress:
            if asked.out is None:
                batches = recording.batches(progress=progress)
                self._print(file, stitched(chain.from_iterable(batches)), lambda: recording.seconds)
                return
            journal = Journal(self.to[file], file, self._follows())
            done = journal.begin(asked.resume)
            segments = list(chain.from_iterable(done))
            for batch in recording.batches(segments.copy(), progress):
                journal.add(batch)
                segments += batch
        self._write(file, list(stitched(segments)), recording.seconds)
        journal.end()

    def _recognize(self, waves: list[Any]) -> Any:
        return recognize_batch(waves, self.model, self.processor, self.options)

    def _follows(self) -> dict[str, Any]:
        """What a transcript follows from, beside the recording."""
        from .annotation import model_fingerprint

        self.fingerprint = self.fingerprint or model_fingerprint(self.asked.model, self.model.config)
        options = {"vad": self.asked.vad, "generate": self.asked.generate_kwargs}
        return {"aural": __version__, "model": self.fingerprint, **asdict(self.cutting), **options}

    def _write(self, file: Path, segments: list[Segment], seconds: float) -> None:
        about = {"file": str(file), "seconds": round(seconds, 3)}
        write_result(self.to[file], self.asked.form, segments, about)
        print(self.to[file], flush=True)

    def _print(self, file: Path, segments: Iterator[Segment], seconds: Callable[[], float]) -> None:
        """Print a transcript as it comes."""
        if self.asked.per_file:
            text = " ".join(segment.text for segment in segments if segment.text)
            line = {"file": str(file), "text": text, "seconds": round(seconds(), 3)}
            print(json.dumps(line, ensure_ascii=False), flush=True)
        elif self.asked.form is Format.json:
            for segment in segments:
                print(json.dumps({"file": str(file), **segment_row(segment)}, ensure_ascii=False), flush=True)
        elif self.asked.form is Format.text:
            self._print_text(f"{file}: " if len(self.asked.files) > 1 else "", segments)
        else:
            for piece in written(self.asked.form, segments):
                print(piece, end="", flush=True)

    def _print_text(self, name: str, segments: Iterator[Segment]) -> None:
        silent = True
        for segment in segments:
            if segment.text:
                silent = False
                print(f"{name}{segment.text}", flush=True)
        if silent:  # nothing was said: still a line for each file
            print(name, flush=True)
