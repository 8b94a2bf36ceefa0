"""The recordings that aural ships: spoken digits, letters and code words, and a few whole prompts, all of one voice.

    from aural.training.clips import load_clips
    clips = load_clips(["digit", "letter"])  # clips[0].text, clips[0].audio

They are small (about 1 MB of Opus) so that `aural demo`, the tests and the examples run on real speech with no
download. They lie in `src/aural/clips/` beside their texts, their licence and their attribution; `make_clips` made
them from Debian's packages and can make them again.
"""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import track

from ..processing.audio import load_audio
from ..processing.levels import audible_levels, sound_levels
from .corpora import (
    PACKAGE,
    SAMPLING_RATE,
    Row,
    has_sure_reading,
    has_wideband,
    normalize_prompt,
    read_recording,
    read_transcripts,
    split_of,
    summarize,
    unpacked_packages,
    write_credits,
)
from .corpus_files import CorpusSummary, write_table, written_whole

KINDS = ("digit", "letter", "phonetic", "prompt")

_KIND_OF_FOLDER = {"digits": "digit", "letters": "letter", "phonetic": "phonetic"}
_PROMPTS = 60  # at most
_PROMPT_SECONDS = (1.5, 6.0)
_PROMPT_WORDS = 3  # at least
_FRAME = 160  # samples, 10 ms
_QUIET = 45.0  # dB below a clip's loudest frame; the recordings' own noise lies between -45 and -70
_MARGIN = 960  # samples, 60 ms, kept on either side of a word
_SILENT = -40.0  # dB of full scale: a clip whose loudest frame is below is broken
_COMPRESSION = 0.96  # libsndfile's scale from 256 to 6 kbit/s: 16 kbit/s


@dataclass(frozen=True, eq=False)
class Clip:
    """One shipped recording.

    Attributes:
        name: file name without its ending, such as "digits-4".
        text: what is said: words of `a`–`z` and `'`, one space between them.
        kind: "digit" (numbers, days, months and other words about time and money), "letter" (letters and signs),
            "phonetic" (the code words alpha to zulu, and niner) or "prompt" (a whole utterance).
        audio: mono float32 `(samples,)`, full scale 1.
        sampling_rate: in Hz.
    """

    name: str
    text: str
    kind: str
    audio: np.ndarray
    sampling_rate: int


def clips_folder() -> Path:
    """The folder of the shipped recordings inside the installed package."""
    return Path(str(files("aural") / "clips"))


def load_clips(kinds: str | Iterable[str] | None = None) -> list[Clip]:
    """Read the shipped recordings, decoded, in the order of their `metadata.csv`.

    Args:
        kinds: one or more of "digit", "letter", "phonetic", "prompt"; all by default. No prompt is in the train split
            of `prompts-en`, so prompts tell how well a model does on sentences it has not seen, whichever of the two
            it learnt from.

    Raises:
        ValueError: `kinds` holds something else.
        OSError: a recording is missing or cannot be decoded.
    """
    wanted = KINDS if kinds is None else (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        raise ValueError(f"kinds={unknown!r}: allowed are {', '.join(KINDS)}")
    folder = clips_folder()
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in wanted]
    return [
        Clip(
            name=Path(row["file_name"]).stem,
            text=row["text"],
            kind=row["kind"],
            audio=load_audio(folder / row["file_name"], sampling_rate=SAMPLING_RATE),
            sampling_rate=SAMPLING_RATE,
        )
        for row in rows
    ]


def make_clips(packages: str | Path | None, out: str | Path) -> CorpusSummary:
    """Make the folder of shipped recordings again, from Debian's packages; needs ffmpeg.

    Every word of `digits/`, `letters/` and `phonetic/` is taken, with the silence around it cut down to 60 ms; and of
    the other prompts up to 60 by the sha1 of their text: 1.5 to 6 s long, of 3 words and more, none of them an
    acronym, and held out by `split_of`. Texts and choice are the same at each run; bytes are not, since an Ogg stream
    bears a random number.

    Args:
        packages: as in `make_prompts_en`.
        out: a folder that is not there yet, or is empty. It receives `ID.opus` (16 kHz mono, about 16 kbit/s),
            `metadata.csv` with the columns `file_name,text,kind,duration` (seconds), LICENSE and ATTRIBUTION.md.

    Returns:
        A summary whose splits are the kinds.

    Raises:
        OSError: as in `make_prompts_en`, or ffmpeg or the package of 16 kHz recordings is missing.
    """
    with unpacked_packages(packages) as root, written_whole(Path(out)) as folder:
        if not has_wideband(root):
            raise OSError(f"clips are made from 16 kHz recordings: ffmpeg or the package {PACKAGE}-g722 is missing")
        rows, skipped = _write_clips(folder, root)
        columns = ("file_name", "text", "kind", "duration")
        write_table(folder / "metadata.csv", columns, [row for kind in KINDS for row in sorted(rows[kind])])
        change = "decoded from G.722; silence around single words cut to 60 ms; encoded as Opus at 16 kbit/s;"
        write_credits(folder, root, f"{change} texts in lower case without marks, spelling mended.")
    return summarize("clips", Path(out), f"{PACKAGE}-g722, 16 kHz", rows, skipped)


def trim(audio: np.ndarray) -> np.ndarray:
    """Cut the silence at both ends of a word `(samples,)` at 16 kHz down to 60 ms.

    Silence is what lies more than 45 dB below the loudest 10 ms: far enough down to keep the breath of "six" and "f".
    """
    first, last = audible_levels(sound_levels(audio, SAMPLING_RATE), _QUIET)
    return audio[max(0, first * _FRAME - _MARGIN) : last * _FRAME + _MARGIN]


def _write_clips(folder: Path, root: Path) -> tuple[dict[str, list[Row]], Counter[str]]:
    """Write the recordings of every kind; return the rows of their table by kind, and what was left out, by reason."""
    rows: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    skipped: Counter[str] = Counter()
    transcripts = read_transcripts(root)
    words = [name for name in transcripts if name.split("/")[0] in _KIND_OF_FOLDER]
    names = words + _choose_prompts(root, transcripts)
    for name in track(names, description="clips", console=Console(stderr=True), transient=True):
        kind = _KIND_OF_FOLDER.get(name.split("/")[0], "prompt")
        audio = read_recording(root, name, wideband=True)  # (samples,)
        if len(audio) < _FRAME or sound_levels(audio, SAMPLING_RATE).max() < _SILENT:
            skipped["silent or broken"] += 1
            continue
        path = folder / f"{name.replace('/', '-')}.opus"
        audio = audio if kind == "prompt" else trim(audio)
        soundfile.write(path, audio, SAMPLING_RATE, format="OGG", subtype="OPUS", compression_level=_COMPRESSION)
        seconds = round(soundfile.info(path).duration, 3)
        rows[kind].append((path.name, normalize_prompt(transcripts[name]), kind, seconds))
    return rows, skipped


def _choose_prompts(root: Path, transcripts: dict[str, str]) -> list[str]:
    """Ids of the prompts to ship, in the order of their texts' sha1; of prompts that say the same, the first."""
    first = {normalize_prompt(text): name for name, text in reversed(transcripts.items()) if _is_plain(text)}
    chosen: list[str] = []
    for text in sorted(first, key=lambda text: hashlib.sha1(text.encode()).hexdigest()):
        name = first[text]
        if split_of(text) == "train" or len(text.split()) < _PROMPT_WORDS or name.split("/")[0] in _KIND_OF_FOLDER:
            continue
        try:
            seconds = len(read_recording(root, name, wideband=True)) / SAMPLING_RATE
        except OSError:  # a transcript without a recording
            continue
        if _PROMPT_SECONDS[0] <= seconds <= _PROMPT_SECONDS[1]:
            chosen.append(name)
    return chosen[:_PROMPTS]


def _is_plain(transcript: str) -> bool:
    """No remark, no sign or number without a sure reading, no acronym, read as a word or letter by letter."""
    return has_sure_reading(transcript) and not re.search(r"[\[(<]|[A-Z]{2}", transcript)
