"""effects: what animals and things sound like, twenty recordings from a Debian package, to mix and to describe.

    python -c "from aural.training.effects import make_effects; print(make_effects('effects'))"

What is notable here:

- Tux Paint lays a sound beside many of its pictures. Those that are taken stand in a table by hand: what sounds is
  what is on the picture, one recording for each word, none of them music, speech or silence;
- a corpus is made whole or not at all: it is written beside its place and renamed.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ..processing.audio import load_audio
from .corpus_files import (
    CorpusSummary,
    package_version,
    refuse_taken,
    unpacked,
    write_table,
    written_whole,
)
from .spoken_clips import write_gpl_2

SAMPLING_RATE = 16_000  # Hz
PACKAGE = "tuxpaint-stamps-default"
COLUMNS = ("file_name", "label", "stamp", "duration")
EFFECTS: dict[str, str] = {  # what is heard, and the picture that it is heard with
    "bee": "animals/insects/bee",
    "bottle": "household/dishes/bottle",
    "camera": "hobbies/camera_35mm",
    "cat": "seasonal/halloween/blackcat",
    "cow": "animals/mammals/bovines/cow",
    "crow": "animals/birds/crow",
    "cuckoo": "animals/birds/cuckoo",
    "dog": "animals/mammals/dogs/dog",
    "duck": "animals/birds/duck",
    "elephant": "animals/mammals/elephant",
    "frog": "animals/amphibians/frog",
    "goat": "animals/mammals/bovines/goat",
    "horse": "animals/mammals/equines/horse",
    "lion": "animals/mammals/cats/lion",
    "owl": "animals/birds/owl",
    "pig": "animals/mammals/pig",
    "rooster": "animals/birds/rooster",
    "saw": "household/tools/saw",
    "seagull": "animals/birds/seagull",
    "violin": "hobbies/music/string/violin",
}

_STAMPS = Path("usr/share/tuxpaint/stamps")


@dataclass(frozen=True, eq=False)
class Effect:
    """One recording of the corpus.

    Attributes:
        name: file name inside the corpus.
        label: one of `EFFECTS`.
        audio: mono float32 `(samples,)` at 16 kHz.
    """

    name: str
    label: str
    audio: np.ndarray


def make_effects(out: str | Path, packages: str | Path | None = None) -> CorpusSummary:
    """Make the corpus `effects`: one recording of each of `EFFECTS`.

    `out` receives `LABEL.flac` (mono, 16 kHz, 16 bit, at the level and length of the recording), a `metadata.csv` with
    the columns `file_name,label,stamp,duration` (stamp is the picture's path; seconds), LICENSE and ATTRIBUTION.md.

    Args:
        out: a folder that is not there yet, or is empty.
        packages: a folder of Debian's package tuxpaint-stamps-default, as a .deb file or unpacked; by default it is
            downloaded (`apt-get download`, about 160 MB) and deleted again.

    Raises:
        OSError: `out` is taken, a package or a tool is missing, or a recording is missing or cannot be read; `out` is
            as it was.
    """
    out = Path(out)
    refuse_taken(out)
    rows: list[tuple[str, str, str, float]] = []
    with unpacked([PACKAGE], packages, proof=_STAMPS) as root, written_whole(out) as folder:
        for label, stamp in EFFECTS.items():
            path = root / _STAMPS / f"{stamp}.ogg"
            try:
                audio = load_audio(path, SAMPLING_RATE)  # (samples,)
            except (OSError, ValueError) as error:
                raise OSError(f"cannot read the recording {path}: {error}") from error
            audio = audio / max(1.0, float(np.abs(audio).max()))  # resampling overshoots; 16 bits would clip it
            soundfile.write(folder / f"{label}.flac", audio, SAMPLING_RATE, subtype="PCM_16")
            rows.append((f"{label}.flac", label, stamp, round(len(audio) / SAMPLING_RATE, 3)))
        write_table(folder / "metadata.csv", COLUMNS, rows)
        attribution = [
            "Title: Tux Paint stamps, sound effects",
            "Authors: Bill Kendrick and contributors to Tux Paint (http://www.tuxpaint.org)",
            f"Source: Debian's package `{PACKAGE}`{package_version(root, PACKAGE)}",
            "Changes made to the original work: mixed down to mono, resampled to 16 kHz, written as FLAC",
        ]
        write_gpl_2(folder, root, attribution)
    return CorpusSummary(
        name="effects",
        folder=out,
        source=f"{PACKAGE}, resampled to 16 kHz",
        licence="GPL-2",
        clips={"all": len(rows)},
        minutes={"all": sum(row[-1] for row in rows) / 60},
        words=None,
    )


def load_effects(folder: str | Path) -> list[Effect]:
    """The recordings of a corpus that `make_effects` made, decoded, in the order of its metadata.csv.

    Raises:
        OSError: the folder, its metadata.csv or a recording is missing.
    """
    with (Path(folder) / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Effect(row["file_name"], row["label"], load_audio(Path(folder) / row["file_name"], SAMPLING_RATE))
        for row in rows
    ]
