"""Single drum hits of 16 kits from Debian's packages: a corpus of short sounds with labels, to tag and to mix.

    python -c "from aural.training.drums import make_drums; print(make_drums('drums'))"

What is notable here:

- what a hit is, is looked up in the hand-checked table of `drum_labels.py`, never guessed from a name;
- velocity layers of one instrument are near copies, so folds go by kit; a recording that two kits share is taken once;
- a hit begins at its stroke and ends where it has died away: a mix knows where it begins and how long it lasts;
- a corpus is made whole or not at all: it is written beside its place and renamed.
"""

import csv
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import track

from ..processing.audio import load_audio
from .corpus_files import (
    CorpusSummary,
    common_licence,
    licence_text,
    package_version,
    refuse_taken,
    unpacked,
    write_table,
    written_whole,
)
from .drum_labels import COPY, FOLDS, KITS, LABELS

SAMPLING_RATE = 16_000  # Hz
LONGEST = 2.0  # seconds kept of a hit; a cymbal rings on for up to 12, which tells nothing that the first two do not
PACKAGES = ("hydrogen-drumkits", "hydrogen-data")
COLUMNS = ("file_name", "label", "kit", "fold", "instrument", "velocity", "duration", "licence")

_DRUMKITS = Path("usr/share/hydrogen/data/drumkits")
_UNNAMED = re.compile(r"\d*|[a-g]#?\d -|Sample: .*")  # "", "17", "a4 -", "Sample: beats_01-10.flac"
_MAKER = re.compile(r"\s*\(.*\)$")  # the end of 'Splash (Paiste Rude 10")'
_ONSET, _DECAYED = -40.0, -60.0  # dB below a hit's peak, where it begins and where it has died away
_BEFORE = 32  # samples, 2 ms, kept before the onset
_FRAME = 160  # samples, 10 ms
_FADE = 320  # samples, 20 ms

Row = tuple[str, str, str, int, str, str, float, str]  # as COLUMNS


@dataclass(frozen=True)
class Layer:
    """One recording of a kit.

    Attributes:
        path: the recording.
        instrument: what the kit calls it, without the maker's name in brackets.
        velocity: how hard the hardest stroke is that this layer stands for, in (0, 1]; None for the only layer.
    """

    path: Path
    instrument: str
    velocity: float | None


@dataclass(frozen=True, eq=False)
class DrumHit:
    """One hit of the corpus.

    Attributes:
        name: file name inside the corpus.
        label: one of `drum_labels.LABELS`.
        kit: its kit.
        fold: 1 to 5, the same for all hits of a kit.
        audio: mono float32 `(samples,)` at 16 kHz, which begins at most 2 ms before the stroke.
    """

    name: str
    label: str
    kit: str
    fold: int
    audio: np.ndarray


def make_drums(out: str | Path, packages: str | Path | None = None) -> CorpusSummary:
    """Make the corpus `drums`: single hits in ten classes and five folds by kit.

    `out` receives `KIT/NUMBER-INSTRUMENT.flac` (mono, 16 kHz, 16 bit, at the level of the recording, at most 2 s), a
    `metadata.csv` with the columns `file_name,label,kit,fold,instrument,velocity,duration,licence` (velocity in
    (0, 1], empty where an instrument has one layer; duration in seconds), ATTRIBUTION.md and `licences/`.

    Args:
        out: a folder that is not there yet, or is empty.
        packages: a folder of Debian's packages hydrogen-drumkits and hydrogen-data, as .deb files or unpacked; by
            default they are downloaded (`apt-get download`, about 150 MB) and deleted again.

    Raises:
        OSError: `out` is taken, a package, a kit or a tool is missing, or a file of a kit cannot be read; `out` is
            as it was.
    """
    out = Path(out)
    refuse_taken(out)
    with unpacked(PACKAGES, packages, proof=_DRUMKITS) as root:
        skipped: Counter[str] = Counter()
        with written_whole(out) as folder:
            rows = _write_hits(folder, _choose(root, skipped), skipped)
            write_table(folder / "metadata.csv", COLUMNS, rows)
            _write_credits(folder, root, {row[2] for row in rows})
    return _summarize(out, rows, skipped)


def load_drums(folder: str | Path, folds: Collection[int] | None = None) -> list[DrumHit]:
    """The hits of a corpus that `make_drums` made, decoded, in the order of its metadata.csv.

    Args:
        folder: of the corpus.
        folds: which folds; all by default.

    Raises:
        OSError: the folder, its metadata.csv or a recording is missing.
        ValueError: `folds` holds a fold that the corpus has not.
    """
    with (Path(folder) / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    there = {int(row["fold"]) for row in rows}
    wanted = there if folds is None else set(folds)
    if unknown := sorted(wanted - there):
        raise ValueError(f"folds={unknown} are not in {folder}; it has {sorted(there)}")
    return [
        DrumHit(
            name=row["file_name"],
            label=row["label"],
            kit=row["kit"],
            fold=int(row["fold"]),
            audio=load_audio(Path(folder) / row["file_name"], SAMPLING_RATE),
        )
        for row in rows
        if int(row["fold"]) in wanted
    ]


def read_kit(folder: Path) -> list[Layer]:
    """The recordings that a kit's drumkit.xml names, in its order, whether or not they are there.

    Raises:
        OSError: drumkit.xml is missing or is no XML; names it.
    """
    layers: list[Layer] = []
    for instrument in _read_xml(folder / "drumkit.xml").iter("instrument"):
        name = _MAKER.sub("", (instrument.findtext("name") or "").strip())
        found = [layer for layer in instrument.iter("layer") if layer.findtext("filename")]
        for layer in found:
            velocity = float(layer.findtext("max") or 1.0) if len(found) > 1 else None
            layers.append(Layer(folder / str(layer.findtext("filename")), name, velocity))
        if not found and instrument.findtext("filename"):  # the oldest form of the file, one recording each
            layers.append(Layer(folder / str(instrument.findtext("filename")), name, None))
    return layers


def find_onset(audio: np.ndarray) -> int:
    """The sample of `(samples,)` at which a hit begins: the first within 40 dB of its peak.

    Raises:
        ValueError: the audio is silent.
    """
    peak = float(np.abs(audio).max(initial=0.0))
    if peak == 0.0:
        raise ValueError("the recording is silent")
    return int(np.argmax(np.abs(audio) >= peak * 10 ** (_ONSET / 20)))


def cut_hit(audio: np.ndarray) -> np.ndarray:
    """A hit `(samples,)` at 16 kHz from 2 ms before its onset until it has died away, 2 s at most.

    A hit has died away after the last 10 ms that come within 60 dB of its peak. What is cut off after 2 s is faded out
    over 20 ms.

    Raises:
        ValueError: the audio is silent.
    """
    audio = audio[max(0, find_onset(audio) - _BEFORE) :]
    peak = np.abs(audio).max()
    loud = np.flatnonzero(np.abs(audio) >= peak * 10 ** (_DECAYED / 20))
    end = (int(loud[-1]) // _FRAME + 1) * _FRAME
    longest = int(LONGEST * SAMPLING_RATE)
    if end <= longest:
        return audio[:end]
    cut = audio[:longest].copy()
    cut[-_FADE:] *= np.linspace(1.0, 0.0, _FADE, dtype=np.float32)
    return cut


def _choose(root: Path, skipped: Counter[str]) -> list[tuple[str, str, Layer]]:
    """Kit, label and recording of each hit to take; counts in `skipped` what is left out, by reason."""
    chosen: list[tuple[str, str, Layer]] = []
    for name, kit in KITS.items():
        for layer in read_kit(root / _DRUMKITS / name):
            verdict = kit.recordings.get(layer.path.name) or kit.verdict(layer.instrument)
            if verdict in LABELS and layer.path.is_file():
                chosen.append((name, verdict, layer))
            elif verdict in LABELS:
                skipped["the recording is missing"] += 1
            elif verdict is None and _UNNAMED.fullmatch(layer.instrument):
                skipped["instrument without a name"] += 1
            else:
                skipped[verdict or "instrument that is not in the table"] += 1
    return chosen


def _write_hits(folder: Path, chosen: list[tuple[str, str, Layer]], skipped: Counter[str]) -> list[Row]:
    """Write the recordings and return the rows of their table; of equal recordings the first is taken."""
    rows: list[Row] = []
    seen: set[str] = set()
    numbers: Counter[str] = Counter()
    for name, label, layer in track(chosen, description="drums", console=Console(stderr=True), transient=True):
        try:
            audio = cut_hit(load_audio(layer.path, SAMPLING_RATE))  # (samples,)
            audio = audio / max(1.0, float(np.abs(audio).max()))  # resampling overshoots; 16 bits would clip it
        except (OSError, ValueError) as error:
            raise OSError(f"cannot read the recording {layer.path}: {error}") from error
        digest = hashlib.sha1(audio.tobytes()).hexdigest()
        if digest in seen:
            skipped[COPY] += 1
            continue
        seen.add(digest)
        numbers[name] += 1
        path = Path(_slug(name), f"{numbers[name]:03}-{_slug(layer.instrument)}.flac")
        (folder / path.parent).mkdir(exist_ok=True)
        soundfile.write(folder / path, audio, SAMPLING_RATE, subtype="PCM_16")
        velocity = "" if layer.velocity is None else f"{layer.velocity:.3g}"
        seconds = round(len(audio) / SAMPLING_RATE, 3)
        kit = KITS[name]
        rows.append((path.as_posix(), label, name, kit.fold, layer.instrument, velocity, seconds, kit.licence))
    return rows


def _write_credits(folder: Path, root: Path, kits: set[str]) -> None:
    """Write ATTRIBUTION.md, with each kit's author and licence, and the texts of the licences."""
    lines = [
        "# Attribution\n",
        "The recordings in this folder are not under the licence of the code: each is under that of its kit, whose "
        "text lies in `licences/`.\n",
        "| kit | author | licence | drumkit.xml says | source |",
        "|---|---|---|---|---|",
    ]
    for name in sorted(kits):
        kit = KITS[name]
        says = "; ".join(_says(root / _DRUMKITS / name / "drumkit.xml"))
        source = f"Debian's `{kit.package}`{package_version(root, kit.package)}"
        lines.append(f"| {name} | {kit.author} | {kit.licence} | {says} | {source} |")
    lines.append(
        "\nChanges made to the original works: mixed down to mono, resampled to 16 kHz, the silence before the stroke "
        "and what follows after 2 s cut off, written as FLAC. Recordings were left out; labels and folds were added.\n"
        "\nCollected by Hydrogen (http://www.hydrogen-music.org), whose list of kits names them."
    )
    (folder / "ATTRIBUTION.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "licences").mkdir()
    for licence, package in sorted({(KITS[name].licence, KITS[name].package) for name in kits}):
        if licence not in ("GPL-2", "GPL-2+"):
            (folder / "licences" / f"{licence}.txt").write_text(licence_text(root, package, licence), encoding="utf-8")
    if any(KITS[name].licence.startswith("GPL-2") for name in kits):
        pointer = "The GNU General Public License, version 2: https://www.gnu.org/licenses/old-licenses/gpl-2.0.txt\n"
        (folder / "licences" / "GPL-2.txt").write_text(common_licence(root, "GPL-2") or pointer, encoding="utf-8")


def _summarize(out: Path, rows: list[Row], skipped: Counter[str]) -> CorpusSummary:
    folds = {f"fold {fold}": [row for row in rows if row[3] == fold] for fold in range(1, FOLDS + 1)}
    labels, kits = Counter(row[1] for row in rows), Counter(row[2] for row in rows)
    return CorpusSummary(
        name="drums",
        folder=out,
        source=" and ".join(PACKAGES) + ", resampled to 16 kHz",
        licence="by kit: " + ", ".join(sorted({row[7] for row in rows})),
        clips={fold: len(lines) for fold, lines in folds.items()},
        minutes={fold: sum(row[6] for row in lines) / 60 for fold, lines in folds.items()},
        words=None,
        skipped=dict(skipped.most_common()),
        counts={"label": {label: labels[label] for label in LABELS}, "kit": dict(kits)},
    )


def _read_xml(path: Path) -> ElementTree.Element:
    """The root of a drumkit.xml, its tags without the name space that newer files have."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise OSError(f"{path} is not XML: {error}") from error
    for element in root.iter():
        element.tag = element.tag.split("}")[-1]
    return root


def _says(path: Path) -> list[str]:
    """Author and licence in a drumkit.xml's own words; older files spell the tag "licence"."""
    root = _read_xml(path)
    said = (root.findtext(tag) for tag in ("author", "license", "licence"))
    return [" ".join(text.split()).replace("|", "/") for text in said if text and text.strip()]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
