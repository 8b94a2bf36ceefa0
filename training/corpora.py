"""Corpora anyone can make at home: real recordings with texts that Debian's packages carry.

    python -c "from aural.training.corpora import make_prompts_en; print(make_prompts_en('prompts-en'))"

What is notable here:

- a corpus is an audiofolder of `datasets`: `OUT/{train,dev,test}/*.flac` and a `metadata.csv` per split; read it with
  `aural.training.data.load_speech(OUT, split="train")`, which asks for no torchcodec;
- nothing is installed: packages are downloaded and unpacked into a temporary folder, without root;
- a clip's split follows from its text alone, so that no text is in two splits and a second run gives the same corpus;
- a corpus is made whole or not at all: it is written beside its place and renamed.
"""

import gzip
import hashlib
import re
import shutil
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import track

from ..processing.audio import load_audio
from .corpus_files import (
    DOCS,
    CorpusSummary,
    licence_text,
    package_version,
    refuse_taken,
    run_tool,
    unpacked,
    write_table,
    written_whole,
)

SAMPLING_RATE = 16_000  # Hz
LONGEST = 15.0  # seconds; what is longer is whole menus read aloud, a few clips that would set the length of a batch
LICENCE = "CC-BY-SA-3.0"
PACKAGE = "asterisk-core-sounds-en"  # texts and licence; the recordings are in PACKAGE-wav and PACKAGE-g722

Row = tuple[str, str, str, float]  # of a metadata.csv: file name, text, id or kind, seconds

_SOUNDS = Path("usr/share/asterisk/sounds/en_US_f_Allison")
_DOCS = DOCS / PACKAGE

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LONE_DIGIT = re.compile(r"(?<![\w.])[0-9](?!\w|[.,]\w)")  # the 1 of "press 1.", not a digit of "H.323", "3D" or "10"
_REMARK = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")  # [descending tones], (10 seconds of silence), <beep ascending>
_UNSURE = re.compile(r"[0-9*#@&%$=+]")  # "#" is read out as hash or as pound, 1234 in four ways
_MISSPELT = {
    "exclaimation": "exclamation",
    "fourtieth": "fortieth",
    "represenatives": "representatives",
    "umute": "unmute",
    "unindentified": "unidentified",
    "witheld": "withheld",
}


def normalize_prompt(text: str) -> str:
    """What is said in a prompt, given its transcript: words of `a`–`z` and `'`, with one space between them.

    In this order: remarks in `[]`, `()` and `<>` are dropped; a digit that stands alone is spelt ("press 1" is "press
    one"); lower case; initials are set apart ("A.M." is "a m") and a dot inside a name is said; "re-", "un-", "de-"
    and "non-" join their word; everything else but letters and apostrophes becomes a space; six misspelt words are
    mended. Longer numbers and signs such as `#` have no sure reading and are dropped here: `make_prompts_en` leaves
    out the clips that hold one.
    """
    text = _spell_digits(_REMARK.sub(" ", text)).lower().replace("’", "'")
    text = re.sub(r"\b([a-z])\.", r"\1 ", text)
    text = re.sub(r"(?<=[a-z])\.(?=[a-z])", " dot ", text)
    text = re.sub(r"\b(re|un|de|non)-(?=[a-z])", r"\1", text)
    words = [word.strip("'") for word in re.sub(r"[^a-z']+", " ", text).split()]
    return " ".join(_MISSPELT.get(word, word) for word in words if word)


def has_sure_reading(text: str) -> bool:
    """Whether a prompt's transcript holds no number or sign that could be read out in more than one way."""
    return _UNSURE.search(_spell_digits(_REMARK.sub(" ", text))) is None


def split_of(text: str) -> str:
    """The split of a normalised text: sha1 of the text % 100 below 15 is `test`, below 25 `dev`, else `train`."""
    bucket = int(hashlib.sha1(text.encode()).hexdigest(), 16) % 100
    return "test" if bucket < 15 else "dev" if bucket < 25 else "train"


def make_prompts_en(out: str | Path, packages: str | Path | None = None) -> CorpusSummary:
    """Make the corpus `prompts-en`: telephone prompts, digits and letters spoken by Allison Smith for Asterisk.

    `out` receives `{train,dev,test}/ID.flac` (mono, 16 kHz, 16 bit), a `metadata.csv` per split with the columns
    `file_name,text,id,duration` (seconds), LICENSE and ATTRIBUTION.md. Recordings of 16 kHz (G.722) are taken where
    ffmpeg is there to decode them, else those of 8 kHz resampled; the summary says which.

    Args:
        out: a folder that is not there yet, or is empty.
        packages: a folder of Debian's packages asterisk-core-sounds-en, -en-wav and -en-g722, as .deb files or
            unpacked; by default they are downloaded (`apt-get download`, about 10 MB) and deleted again.

    Raises:
        OSError: `out` is taken, a package or a tool is missing, or a recording cannot be read; `out` is as it was.
    """
    out = Path(out)
    refuse_taken(out)
    with unpacked_packages(packages) as root:
        wideband = has_wideband(root)
        texts, skipped = _choose(root, wideband)
        with written_whole(out) as folder:
            rows = _write_splits(folder, root, wideband, texts, skipped)
            change = "decoded from G.722" if wideband else "resampled from 8 to 16 kHz"
            write_credits(
                folder, root, f"{change}, written as FLAC; texts in lower case without marks, spelling mended."
            )
    source = f"{PACKAGE}-g722, 16 kHz" if wideband else f"{PACKAGE}-wav, 8 kHz resampled to 16 kHz"
    return summarize("prompts-en", out, source, rows, skipped)


def unpacked_packages(packages: str | Path | None = None) -> AbstractContextManager[Path]:
    """The root of Debian's unpacked packages: `packages`, or its .deb files or a download in a temporary folder.

    Raises:
        OSError: `apt-get` or `dpkg` is missing or fails, or the packages hold no transcript.
    """
    recordings = f"{PACKAGE}-g722" if shutil.which("ffmpeg") else f"{PACKAGE}-wav"
    return unpacked([PACKAGE, recordings], packages, proof=_DOCS)


def read_transcripts(root: Path) -> dict[str, str]:
    """Each prompt's text as its author wrote it, by the prompt's id ("digits/4"), from unpacked packages."""
    with gzip.open(root / _DOCS / "core-sounds-en.txt.gz", "rt", encoding="utf-8") as lines:
        entries = [line.partition(":") for line in lines if ":" in line and not line.startswith(";")]
    return {name.strip(): text.strip() for name, _, text in entries}


def has_wideband(root: Path) -> bool:
    """Whether recordings of 16 kHz are among the unpacked packages, and ffmpeg there to decode them."""
    return shutil.which("ffmpeg") is not None and any((root / _SOUNDS).glob("*.g722"))


def read_recording(root: Path, name: str, wideband: bool) -> np.ndarray:
    """One prompt's recording, mono float32 `(samples,)` at 16 kHz: from G.722 if `wideband`, else from the 8 kHz wav.

    Raises:
        OSError: the recording cannot be read or is empty; names it.
    """
    path = _recording(root, name, wideband)
    try:
        if wideband:
            raw = run_tool("ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-f", "s16le", "-")
            audio = np.frombuffer(raw, "<i2").astype(np.float32) / 32768
        else:
            audio = load_audio(path, sampling_rate=SAMPLING_RATE)
    except (OSError, RuntimeError, ValueError) as error:
        raise OSError(f"cannot read the recording {path}: {error}") from error
    if not len(audio):
        raise OSError(f"cannot read the recording {path}: it is empty")
    return audio


def summarize(
    name: str, folder: Path, source: str, rows: dict[str, list[Row]], skipped: Counter[str]
) -> CorpusSummary:
    """The summary of a corpus made of Asterisk's prompts, counted from the rows of each split's table."""
    return CorpusSummary(
        name=name,
        folder=folder,
        source=source,
        licence=LICENCE,
        clips={split: len(lines) for split, lines in rows.items()},
        minutes={split: sum(duration for *_, duration in lines) / 60 for split, lines in rows.items()},
        words=len({word for lines in rows.values() for _, text, *_ in lines for word in text.split()}),
        skipped=dict(skipped),
    )


def write_credits(folder: Path, root: Path, changes: str) -> None:
    """Write ATTRIBUTION.md and LICENSE into `folder`: whose recordings these are, what was changed, and the licence.

    The licence's text is cut out of the package's copyright file, where it stands in full.
    """
    (folder / "ATTRIBUTION.md").write_text(
        "# Attribution\n\n"
        "The recordings in this folder, and their texts, are not under the licence of the code.\n\n"
        "- Title: Asterisk core sounds, English\n"
        "- Author: Allison Smith (http://www.theivrvoice.com), copyright 2003-2010\n"
        "- Financial contributions: Digium, Inc. (http://www.digium.com)\n"
        "- Source: http://downloads.asterisk.org/pub/telephony/asterisk/, by Debian's package "
        f"`{PACKAGE}`{package_version(root, PACKAGE)}\n"
        "- Licence: Creative Commons Attribution-ShareAlike 3.0 (CC-BY-SA-3.0), in full in LICENSE beside this file\n"
        f"- Changes made to the original work: {changes}\n",
        encoding="utf-8",
    )
    title = "Creative Commons Attribution-ShareAlike 3.0"
    (folder / "LICENSE").write_text(f"{title}\n\n{licence_text(root, PACKAGE, LICENCE)}", encoding="utf-8")


def _write_splits(
    folder: Path, root: Path, wideband: bool, texts: dict[str, str], skipped: Counter[str]
) -> dict[str, list[Row]]:
    """Write each split's recordings and table, count in `skipped` those that are too long, and return the tables."""
    rows: dict[str, list[Row]] = {"train": [], "dev": [], "test": []}
    for split in rows:
        (folder / split).mkdir()
    for name in track(sorted(texts), description="prompts-en", console=Console(stderr=True), transient=True):
        audio = read_recording(root, name, wideband)  # (samples,)
        duration = len(audio) / SAMPLING_RATE
        if duration > LONGEST:
            skipped[f"longer than {LONGEST:g} s"] += 1
            continue
        split, file_name = split_of(texts[name]), name.replace("/", "-") + ".flac"
        soundfile.write(folder / split / file_name, audio, SAMPLING_RATE, subtype="PCM_16")
        rows[split].append((file_name, texts[name], name, round(duration, 3)))
    for split, lines in rows.items():
        write_table(folder / split / "metadata.csv", ("file_name", "text", "id", "duration"), lines)
    return rows


def _choose(root: Path, wideband: bool) -> tuple[dict[str, str], Counter[str]]:
    """The normalised text of each prompt that can be learnt from, and how many cannot, by reason."""
    texts: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    for name, transcript in read_transcripts(root).items():
        text = normalize_prompt(transcript)
        if not text or name.startswith("silence/"):
            skipped["nothing said (silence, tones)"] += 1
        elif not has_sure_reading(transcript):
            skipped["numbers or signs without a sure reading"] += 1
        elif not _recording(root, name, wideband).is_file():
            skipped["no recording"] += 1
        else:
            texts[name] = text
    return texts, skipped


def _recording(root: Path, name: str, wideband: bool) -> Path:
    return root / _SOUNDS / f"{name}.{'g722' if wideband else 'wav'}"


def _spell_digits(text: str) -> str:
    return _LONE_DIGIT.sub(lambda digit: f" {_DIGITS[int(digit.group())]} ", text)
