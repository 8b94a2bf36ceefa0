"""synthetic-en: any number of hours of English clauses in 28 made-up voices, to learn to align on.

    python -m aural corpora synthetic-en data/synthetic-en --hours 5

What is notable here:

- two test sets: `test-sentences` has new sentences in the voices of `train`, `test-voices` has new sentences in
  voices that `train` has not; `dev` is of the first kind;
- a clip is a function of (seed, split, index): two runs, with however many processes, give the same files, and more
  hours begin with the clips of fewer;
- a sentence's split follows from its text alone, so that no text is in two splits under any seed;
- a corpus is made whole or not at all: it is written beside its place and renamed.
"""

import hashlib
import io
import itertools
import math
import multiprocessing
import os
import re
import shutil
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import Progress

from .clauses import clauses_of
from .corpus_files import DOCS, CorpusSummary, refuse_taken, run_tool, unpacked, write_table, written_whole
from .synthetic_rooms import SAMPLING_RATE, draw_setting, recorded
from .synthetic_voices import VOICES, Espeak, Flite, Voice

SPLITS = {"train": 0.91, "dev": 0.03, "test-sentences": 0.03, "test-voices": 0.03}  # share of the hours
FLITE_SHARE = 0.4  # of the clips, whose four voices sound more like people than eSpeak NG's 24
SLOWEST, FASTEST = 5.0, 28.0  # characters a second; outside, what was said is not what was asked
HOPELESS = 50  # clips one after another without speech: the voices do not work here
COLUMNS = ("file_name", "text", "voice", "duration")

_FORTUNES = Path("usr/share/games/fortunes")
_WINDOW = 16  # clips that wait for each process

Row = tuple[str, str, str, float]  # as COLUMNS


@dataclass(frozen=True)
class Job:
    """One clip to be made: the number of its draw, its sentence and its voice."""

    key: tuple[int, int, int]  # seed, number of the split, index
    text: str
    voice: Voice


@dataclass(frozen=True)
class Take:
    """One clip made: a FLAC file of mono 16 bit at 16 kHz, and its seconds; or why there is none."""

    flac: bytes
    seconds: float
    fault: str | None = None


def make_synthetic_en(
    out: str | Path,
    hours: float = 5.0,
    seed: int = 0,
    packages: str | Path | None = None,
    workers: int | None = None,
) -> CorpusSummary:
    """Make the corpus `synthetic-en`: clauses of Debian's fortunes, spoken by flite and eSpeak NG.

    `out` receives `{train,dev,test-sentences,test-voices}/NUMBER.flac` (mono, 16 kHz, 16 bit), a `metadata.csv` per
    split with the columns `file_name,text,voice,duration` (seconds), ATTRIBUTION.md and `licences/`. Each clip has
    its own pace, pitch, room, noise and level (`synthetic_rooms.draw_setting`).

    Args:
        out: a folder that is not there yet, or is empty.
        hours: of speech over all splits, of which `train` gets 91% and each other 3%.
        seed: of every draw.
        packages: a folder of Debian's packages fortunes, fortunes-min, flite, libflite1 and libasound2, as .deb files
            or unpacked; by default they are downloaded (`apt-get download`, about 14 MB) and deleted again.
        workers: processes to speak with; by default as many as there are cores. One speaks in this process.

    Raises:
        ValueError: `hours`, `seed` or `workers` is out of range.
        OSError: `out` is taken, a package, a tool or eSpeak NG is missing, or a voice fails; `out` is as it was.
    """
    out, workers = Path(out), len(os.sched_getaffinity(0)) if workers is None else workers
    if not (math.isfinite(hours) and hours > 0):
        raise ValueError(f"hours={hours} must be above 0")
    if seed < 0 or workers < 1:
        raise ValueError(f"seed={seed} must be 0 or more and workers={workers} 1 or more")
    refuse_taken(out)
    with unpacked(package_names(), packages, proof=_FORTUNES) as root:
        Flite(root), Espeak()  # what is missing is said before anything is made
        sentences, skipped = clauses_of(root / _FORTUNES)
        with written_whole(out) as folder, _takes_of(root, workers) as takes_of:
            rows: dict[str, list[Row]] = {}
            with Progress(console=Console(stderr=True), transient=True) as progress:
                bar = progress.add_task("synthetic-en", total=3600 * hours)
                for split, share in SPLITS.items():
                    chosen = [text for text in sentences if split_of(text) == split]
                    jobs = draw_jobs(split, chosen, seed)
                    (folder / split).mkdir()
                    rows[split] = []
                    for row in _write_split(folder / split, jobs, takes_of, 3600 * hours * share, skipped):
                        rows[split].append(row)
                        progress.advance(bar, row[-1])
                    write_table(folder / split / "metadata.csv", COLUMNS, rows[split])
            _write_credits(folder, root)
    return _summarize(out, rows, skipped)


def package_names() -> list[str]:
    """The packages to download; libasound2, which flite's library asks for, has another name on newer systems."""
    names = ["fortunes", "fortunes-min", "flite", "libflite1"]
    depends = run_tool("apt-cache", "depends", "libflite1").decode() if shutil.which("apt-cache") else ""
    found = re.search(r"Depends: (libasound2\S*)", depends)
    return [*names, found.group(1) if found else "libasound2"]


def split_of(text: str) -> str:
    """A sentence's split: sha1 % 100 below 4 `dev`, below 8 `test-sentences`, below 12 `test-voices`, else `train`."""
    bucket = int(hashlib.sha1(text.encode()).hexdigest(), 16) % 100
    return ("dev", "test-sentences", "test-voices")[bucket // 4] if bucket < 12 else "train"


def draw_jobs(split: str, sentences: list[str], seed: int) -> Iterator[Job]:
    """A split's clips without end: every sentence once in a drawn order, then again in another order and voice.

    Raises:
        OSError: there are no sentences.
    """
    if not sentences:
        raise OSError(f"the fortunes hold no sentence for {split}")
    number = list(SPLITS).index(split)
    voices = {
        engine: [voice for voice in VOICES if voice.engine == engine and voice.seen == (split != "test-voices")]
        for engine in ("flite", "espeak")
    }
    index = itertools.count()
    for turn in itertools.count():
        for place in np.random.default_rng([seed, number, turn]).permutation(len(sentences)):
            key = (seed, number, next(index))
            generator = np.random.default_rng([*key, 0])
            among = voices["flite" if generator.random() < FLITE_SHARE else "espeak"]
            yield Job(key, sentences[place], among[generator.integers(len(among))])


class Studio:
    """Both engines, in one process.

    Args:
        root: of the unpacked packages.
    """

    def __init__(self, root: Path) -> None:
        self._engines: dict[str, Flite | Espeak] = {"flite": Flite(root), "espeak": Espeak()}

    def take(self, job: Job) -> Take:
        """Speak and record one clip, all draws by the job's key."""
        generator = np.random.default_rng([*job.key, 1])
        setting = draw_setting(generator)
        # the tape runs `pitch` times as fast, so the voice is asked for a pace that much slower
        speech, rate = self._engines[job.voice.engine].speak(job.voice.name, job.text, setting.pace / setting.pitch)
        try:
            audio = recorded(speech, rate, setting, generator)
        except ValueError as error:
            return Take(b"", 0.0, str(error))
        seconds = len(audio) / SAMPLING_RATE
        if not SLOWEST <= len(job.text) / seconds <= FASTEST:
            return Take(b"", 0.0, "length and text disagree")
        file = io.BytesIO()
        soundfile.write(file, audio, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
        return Take(file.getvalue(), round(seconds, 3))


class _Takes:
    """Clips made in the order of their jobs, as they are asked for: by a pool, or in this process without one."""

    def __init__(self, studio: Studio | None, pool: ProcessPoolExecutor | None, ahead: int) -> None:
        self._studio, self._pool, self._ahead = studio, pool, ahead

    def __call__(self, jobs: Iterable[Job]) -> Generator[Take, None, None]:
        if self._pool is None:
            assert self._studio is not None
            yield from map(self._studio.take, jobs)
            return
        waiting: deque[Future[Take]] = deque()
        try:
            for job in jobs:
                waiting.append(self._pool.submit(_take, job))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _takes_of(root: Path, workers: int) -> Iterator[_Takes]:
    if workers == 1:
        yield _Takes(Studio(root), None, 1)
        return
    # spawned, since a fork of a process that runs threads (the progress bar, torch's) may hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_open_studio, initargs=(root,)) as pool:
        try:
            yield _Takes(None, pool, _WINDOW * workers)
        finally:
            pool.shutdown(cancel_futures=True)


_studio: Studio  # of a process of the pool


def _open_studio(root: Path) -> None:
    global _studio
    _studio = Studio(root)


def _take(job: Job) -> Take:
    return _studio.take(job)


def _write_split(
    folder: Path, jobs: Iterator[Job], takes_of: _Takes, seconds: float, skipped: Counter[str]
) -> Iterator[Row]:
    """Write clips until there are so many seconds of them, and give each one's row of the table.

    Raises:
        OSError: fifty clips one after another came to nothing.
    """
    asked, spoken = itertools.tee(jobs)
    takes = takes_of(asked)
    count, total, faults = 0, 0.0, 0
    for job, take in zip(spoken, takes, strict=False):
        if take.fault is not None:
            skipped[take.fault] += 1
            faults += 1
            if faults == HOPELESS:
                raise OSError(
                    f"{faults} clips one after another could not be made, the last of {job.voice}: {take.fault}"
                )
            continue
        name = f"{count:06}.flac"
        (folder / name).write_bytes(take.flac)
        yield name, job.text, str(job.voice), take.seconds
        count, total, faults = count + 1, total + take.seconds, 0
        if total >= seconds:
            break
    takes.close()


def _write_credits(folder: Path, root: Path) -> None:
    """Write ATTRIBUTION.md, and the copyright files of the packages into `licences/`."""
    (folder / "ATTRIBUTION.md").write_text(
        "# Attribution\n\n"
        "The recordings in this folder, and their texts, are not under the licence of the code. They were made on the "
        "machine of whoever uses them.\n\n"
        "- Texts: clauses of Debian's packages `fortunes` and `fortunes-min`, a collection of quotations and jokes; "
        "the collection is under a BSD licence, each text its author's. Changes: cut at punctuation, in lower case.\n"
        "- Voices of flite: Carnegie Mellon University and Cepstral, LLC (http://cmuflite.org), by Debian's packages "
        "`flite` and `libflite1`, under CMU's free licence, which asks that these names be kept.\n"
        "- Voices of eSpeak NG: Jonathan Duddington, Reece H. Dunn and others "
        "(https://github.com/espeak-ng/espeak-ng). The program is under GPL-3.0-or-later, which does not reach what "
        "it speaks.\n"
        "- Changes made to the speech: pace, pitch, a simulated room, noise and level, written as FLAC.\n",
        encoding="utf-8",
    )
    (folder / "licences").mkdir()
    for package in ("fortunes", "libflite1"):
        source = root / DOCS / package / "copyright"
        if source.is_file():
            shutil.copyfile(source, folder / "licences" / f"{package}.txt")


def _summarize(out: Path, rows: dict[str, list[Row]], skipped: Counter[str]) -> CorpusSummary:
    voices = Counter(row[2] for lines in rows.values() for row in lines)
    return CorpusSummary(
        name="synthetic-en",
        folder=out,
        source="fortunes, spoken by flite and eSpeak NG, 16 kHz",
        licence="texts and voices each under their own, in ATTRIBUTION.md",
        clips={split: len(lines) for split, lines in rows.items()},
        minutes={split: sum(row[3] for row in lines) / 60 for split, lines in rows.items()},
        words=len({word for lines in rows.values() for row in lines for word in row[1].split()}),
        skipped=dict(skipped.most_common()),
        counts={"voice": {str(voice): voices[str(voice)] for voice in VOICES if voices[str(voice)]}},
    )
