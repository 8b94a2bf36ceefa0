"""What the makers of corpora of short spoken clips share: which clips are kept, how they are written, GPL-2's papers.

    rows = write_clips(folder, clips, ("level",), skipped, "fillets-nl")

What is notable here:

- a clip whose length and text disagree teaches the wrong thing: it is left out, and counted by reason;
- of recordings that are the same samples under two names, one is taken;
- a clip that cannot be decoded ends the making: packages that are whole have none.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
from rich.console import Console
from rich.progress import track

from ..processing.audio import audio_duration, load_audio
from .corpus_files import CorpusSummary, common_licence, write_table

SAMPLING_RATE = 16_000  # Hz
SHORTEST, LONGEST = 0.3, 15.0  # seconds
SLOWEST, FASTEST = 2.5, 25.0  # characters of the normalised text a second
SPLITS = ("train", "dev", "test")
GPL_2 = "https://www.gnu.org/licenses/old-licenses/gpl-2.0.txt"

Row = tuple[str | float, ...]  # file name, text, further columns, seconds


@dataclass(frozen=True)
class Clip:
    """A recording with its text, not yet decoded.

    Attributes:
        path: of the recording.
        name: of its file in the corpus, without ".flac"; no two are the same.
        text: what is said, normalised.
        split: one of `SPLITS`.
        further: values of the corpus's own columns.
    """

    path: Path
    name: str
    text: str
    split: str
    further: tuple[str, ...] = ()


def write_clips(
    folder: Path, clips: Sequence[Clip], further: Sequence[str], skipped: Counter[str], description: str
) -> dict[str, list[Row]]:
    """Write `SPLIT/NAME.flac` (mono, 16 kHz, 16 bit) and a `metadata.csv` per split, and give the rows of each.

    Args:
        folder: new, of the corpus.
        clips: in the order they are to have.
        further: names of the columns that stand between text and duration.
        skipped: counts what is left out, by reason.
        description: of the progress bar.

    Raises:
        OSError: a recording cannot be read; names it.
    """
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for split in rows:
        (folder / split).mkdir()
    for clip in track(clips, description=description, console=Console(stderr=True), transient=True):
        try:
            if audio_duration(clip.path) < SHORTEST:  # some are empty files, which cannot be decoded
                skipped[f"shorter than {SHORTEST:g} s"] += 1
                continue
            audio = load_audio(clip.path, SAMPLING_RATE)  # (samples,)
        except (OSError, ValueError) as error:
            raise OSError(f"cannot read the recording {clip.path}: {error}") from error
        seconds = len(audio) / SAMPLING_RATE
        digest = hashlib.sha1(audio.tobytes()).hexdigest()
        if fault := "same recording as another" if digest in seen else fault_of(clip.text, seconds):
            skipped[fault] += 1
            continue
        seen.add(digest)
        audio = audio / max(1.0, float(abs(audio).max()))  # resampling overshoots; 16 bits would clip it
        soundfile.write(folder / clip.split / f"{clip.name}.flac", audio, SAMPLING_RATE, subtype="PCM_16")
        rows[clip.split].append((f"{clip.name}.flac", clip.text, *clip.further, round(seconds, 3)))
    for split, lines in rows.items():
        write_table(folder / split / "metadata.csv", ("file_name", "text", *further, "duration"), lines)
    return rows


def fault_of(text: str, seconds: float) -> str | None:
    """Why a clip of at least 0.3 s with this text and length is left out; None if it is kept."""
    if seconds > LONGEST:
        return f"longer than {LONGEST:g} s"
    if not SLOWEST <= len(text) / seconds <= FASTEST:
        return f"length and text disagree (not {SLOWEST:g} to {FASTEST:g} characters a second)"
    return None


def write_gpl_2(folder: Path, root: Path, attribution: Sequence[str]) -> None:
    """Write ATTRIBUTION.md, of these lines and the licence's, and the text of GPL-2 as LICENSE.

    Args:
        folder: of the corpus.
        root: of the unpacked packages.
        attribution: lines of a list: title, authors, source, changes.
    """
    (folder / "ATTRIBUTION.md").write_text(
        "# Attribution\n\n"
        "The recordings in this folder, and their texts, are not under the licence of the code.\n\n"
        + "".join(f"- {line}\n" for line in attribution)
        + "- Licence: GNU General Public License, version 2 (GPL-2), in LICENSE beside this file\n",
        encoding="utf-8",
    )
    pointer = f"The GNU General Public License, version 2: {GPL_2}\n"
    (folder / "LICENSE").write_text(common_licence(root, "GPL-2") or pointer, encoding="utf-8")


def summarize(
    name: str, folder: Path, source: str, rows: dict[str, list[Row]], skipped: Counter[str]
) -> CorpusSummary:
    """The summary of a corpus under GPL-2, counted from the rows of each split."""
    return CorpusSummary(
        name=name,
        folder=folder,
        source=source,
        licence="GPL-2",
        clips={split: len(lines) for split, lines in rows.items()},
        minutes={split: sum(float(row[-1]) for row in lines) / 60 for split, lines in rows.items()},
        words=len({word for lines in rows.values() for row in lines for word in str(row[1]).split()}),
        skipped=dict(skipped.most_common()),
    )
