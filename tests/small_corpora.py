"""Corpora of a few seconds in the form of those that `aural corpora` makes, and of those on the Hub."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from datasets import Audio, ClassLabel, Dataset, Features, List, Value

RATE = 16_000
WORDS = ("one two", "three", "two three one", "one", "three two", "two")
SOUNDS = ("clap", "kick", "snare")


def tone(index: int, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    """A tone with a little noise, `(samples,)` float32, another for each index."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(index).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * (200 + 50 * index) * time) + 0.01 * noise).astype(np.float32)


def write_speech(folder: Path, splits: dict[str, int], words: tuple[str, ...] = WORDS) -> None:
    """Sub-folders per split of that many clips with text, 0.8 s and longer."""
    for split, clips in splits.items():
        rows = [(f"{index}.flac", words[index % len(words)]) for index in range(clips)]
        _write(folder / split, ("file_name", "text"), rows, first=sum(map(ord, split)) % 97)


def write_sounds(folder: Path, splits: dict[str, int]) -> None:
    """Sub-folders per split of that many clips with a label."""
    for split, clips in splits.items():
        rows = [(f"{index}.flac", SOUNDS[index % len(SOUNDS)]) for index in range(clips)]
        _write(folder / split, ("file_name", "label"), rows, first=sum(map(ord, split)) % 97)


def write_folds(folder: Path, clips: int = 15) -> None:
    """One folder of clips with a label and a fold from 1 to 5, as the drums have them."""
    rows = [(f"{index}.flac", SOUNDS[index % 3], str(1 + index // 3 % 5)) for index in range(clips)]
    _write(folder, ("file_name", "label", "fold"), rows, first=0)


def _write(folder: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]], first: int) -> None:
    folder.mkdir(parents=True)
    for index, row in enumerate(rows):
        soundfile.write(folder / row[0], tone(first + index, 0.8 + 0.05 * index), RATE, subtype="PCM_16")
    with open(folder / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def _audio(index: int, rate: int) -> dict[str, Any]:
    content = io.BytesIO()
    soundfile.write(content, tone(index, 0.5, rate), rate, format="FLAC")
    return {"bytes": content.getvalue(), "path": f"{index}.flac"}


def _table(features: dict[str, Any], rows: list[dict[str, Any]]) -> Dataset:
    """A data set with the Hub's column types; its audio is not decoded on the way in."""
    kept = {name: kind for name, kind in features.items() if not isinstance(kind, Audio)}
    undecoded = {name: {"bytes": Value("binary"), "path": Value("string")} for name in features if name not in kept}
    return Dataset.from_list(rows, Features({**kept, **undecoded})).cast(
        Features(
            {
                name: Audio(kind.sampling_rate, decode=False) if isinstance(kind, Audio) else kind
                for name, kind in features.items()
            }
        )
    )


def hub_librispeech(clips: int = 6) -> Dataset:
    """Columns of openslr/librispeech_asr."""
    features = {
        "file": Value("string"),
        "audio": Audio(16_000),
        "text": Value("string"),
        "speaker_id": Value("int64"),
        "chapter_id": Value("int64"),
        "id": Value("string"),
    }
    return _table(
        features,
        [
            {
                "file": f"{i}.flac",
                "audio": _audio(i, 16_000),
                "text": WORDS[i % len(WORDS)].upper(),
                "speaker_id": i,
                "chapter_id": i,
                "id": f"{i}-{i}-{i:04d}",
            }
            for i in range(clips)
        ],
    )


def hub_common_voice(clips: int = 6) -> Dataset:
    """Columns of Common Voice 17."""
    names = ("client_id", "path", "audio", "sentence", "up_votes", "down_votes", "age", "gender", "accent", "locale")
    features: dict[str, Any] = {name: Value("string") for name in names}
    features |= {"audio": Audio(48_000), "up_votes": Value("int64"), "down_votes": Value("int64")}
    texts = ["It’s “one”!", "Two, three.", "Three?", "One; two", "Two.", "One two three"]
    rows = [
        dict.fromkeys(names, "")
        | {"audio": _audio(i, 48_000), "sentence": texts[i % 6], "up_votes": 2, "down_votes": 0, "path": f"{i}.mp3"}
        for i in range(clips)
    ]
    return _table(features, rows)


def hub_speech_commands(clips: int = 6) -> Dataset:
    """Columns of google/speech_commands, v0.02."""
    features = {
        "file": Value("string"),
        "audio": Audio(16_000),
        "label": ClassLabel(names=["yes", "no", "up", "_silence_"]),
        "is_unknown": Value("bool"),
        "speaker_id": Value("string"),
        "utterance_id": Value("int8"),
    }
    rows = [
        {
            "file": f"{i}.wav",
            "audio": _audio(i, 16_000),
            "label": i % 3,
            "is_unknown": False,
            "speaker_id": "a",
            "utterance_id": 0,
        }
        for i in range(clips)
    ]
    return _table(features, rows)


def hub_esc50(clips: int = 10) -> Dataset:
    """Columns of ashraq/esc50."""
    features = {
        "filename": Value("string"),
        "fold": Value("int64"),
        "target": Value("int64"),
        "category": Value("string"),
        "esc10": Value("bool"),
        "src_file": Value("int64"),
        "take": Value("string"),
        "audio": Audio(44_100),
    }
    rows = [
        {
            "filename": f"{i}.wav",
            "fold": 1 + i % 5,
            "target": i // 5,
            "category": ("dog", "rain")[i // 5 % 2],
            "esc10": True,
            "src_file": i,
            "take": "A",
            "audio": _audio(i, 44_100),
        }
        for i in range(clips)
    ]
    return _table(features, rows)


def hub_audioset(clips: int = 6) -> Dataset:
    """Columns of agkphysics/AudioSet."""
    features = {
        "video_id": Value("string"),
        "audio": Audio(48_000),
        "labels": List(Value("string")),
        "human_labels": List(Value("string")),
    }
    names = (["Speech"], ["Speech", "Music"], ["Dog"], ["Music"], ["Dog", "Speech"], ["Rain"])
    rows = [
        {"video_id": str(i), "audio": _audio(i, 48_000), "labels": ["/m/0"], "human_labels": names[i % 6]}
        for i in range(clips)
    ]
    return _table(features, rows)
