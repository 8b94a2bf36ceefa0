"""The files of one run of the page, which go with it: examples to click, and recordings as they are played back."""

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from . import model_cards
from .processing.audio import load_audio
from .training.clips import clips_folder

WORDS = ("digits-h-thousand", "phonetic-t_p", "digits-12")  # shipped clips: "thousandth tango twelve"
WORD = "letters-dollar"
PAUSE = 0.12  # seconds between the words
RATE = 16_000
KEEP_SECONDS = 3600.0  # that a recording can be played back


def write_examples(kind: str, folder: Path) -> dict[str, Path]:
    """Clips for a visitor without a microphone, by what a button says of them.

    Args:
        kind: Of the model: "speech", "captions" or "sounds".
        folder: Where they are written.

    Returns:
        For speech a string of recordings that come with aural, and one of them; for sounds a drum loop where there is
        one, which is in a clone, else a spoken word.
    """
    words = [load_audio(clips_folder() / f"{name}.opus", RATE) for name in WORDS]
    single = load_audio(clips_folder() / f"{WORD}.opus", RATE)
    loop = Path(model_cards.__file__).resolve().parent / "drum-loop.flac"
    if kind == "speech":
        clips = {"a string of words": spaced(words, round(PAUSE * RATE)), "one word": single}
    elif loop.is_file():
        clips = {"a drum loop": load_audio(loop, RATE)}
    else:
        clips = {"a spoken word": single}
    return {label: _write(folder / f"{label.replace(' ', '-')}.wav", wave, RATE) for label, wave in clips.items()}


def spaced(waves: Sequence[np.ndarray], pause: int) -> np.ndarray:
    """Waves one after the other with `pause` samples of silence between them."""
    parts = [part for wave in waves for part in (wave, np.zeros(pause, np.float32))]
    return np.concatenate(parts[:-1])


def write_playback(wave: np.ndarray, sampling_rate: int, folder: Path) -> Path:
    """A recording as it was heard, for the browser to play: its times are the model's, whatever was uploaded.

    As WAV, in which every browser finds every place: chromium gets stuck near the end of a FLAC without a table of
    places, and libsndfile writes none.

    Files older than `KEEP_SECONDS` are removed. Names cannot be guessed: a visitor reads no other's recording.

    Args:
        wave: `(samples,)`.
        sampling_rate: In Hz.
        folder: Where they lie; made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another request was quicker
            if path.stat().st_mtime < time.time() - KEEP_SECONDS:
                path.unlink()
    return _write(folder / f"{secrets.token_urlsafe(16)}.wav", wave, sampling_rate)


def _write(path: Path, wave: np.ndarray, rate: int) -> Path:
    soundfile.write(path, np.clip(wave, -1, 1), rate, format="WAV", subtype="PCM_16")
    return path
