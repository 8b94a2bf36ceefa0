"""How much a cut recording costs: the demo's held-out strings decoded alone, and as one long file.

    python -m tests.long_strings model_cards/las-demo --minutes 30

- The strings are those of the demo's test set, by number; one room: every string has the same signal-to-noise ratio,
  and its noise goes on in the pauses after it, of 0.3 to 1.5 s.
- Alone and in the file they are the same samples. Each string's own words in the file are found by aligning the whole
  texts, so a stretch that is missing or there twice shows as a run of deletions or insertions.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile

from aural import load_recognizer, transcribe
from aural.demo import TEST_SEED, WORDS
from aural.long_audio import transcribe_long
from aural.processing.segments import Segment
from aural.training.clips import load_clips
from aural.training.compose import STRINGS, Augmentation, ComposedStrings
from aural.training.metrics import score_texts

RATE = 16_000
PAUSE = (0.3, 1.5)  # seconds between strings
SNR = 30.0  # dB, the middle of what the demo trains on
MAX_SECONDS = 8.0  # as long as the demo's strings are


@dataclass(frozen=True)
class Joined:
    """A long recording made of strings.

    Attributes:
        audio: float32 `(samples,)`.
        strings: The strings alone, `(samples,)` each.
        texts: What they say.
    """

    audio: np.ndarray
    strings: list[np.ndarray]
    texts: list[str]


def join_strings(processor: Any, seconds: float, seed: int = 0) -> Joined:
    """As many held-out strings as fill `seconds`, with pauses between."""
    augmentation = Augmentation(snr_db=(SNR, SNR))
    strings = ComposedStrings(load_clips(WORDS), processor, 10_000, seed + TEST_SEED, STRINGS, True, 1, augmentation)
    rng = np.random.default_rng((seed, 3))
    parts: list[np.ndarray] = []
    alone, texts, samples = [], [], 0
    while samples < seconds * RATE:
        audio, text = strings.compose(len(alone))
        level = audio[:300].std()  # strings begin with a pause
        pause = rng.normal(0, level, int(rng.uniform(*PAUSE) * RATE)).astype(np.float32)
        alone.append(audio)
        texts.append(text)
        parts += [audio, pause]
        samples += len(audio) + len(pause)
    return Joined(np.concatenate(parts), alone, texts)


def runs_of_edits(spoken: str, written: str) -> tuple[int, int]:
    """The most words that are missing one after the other, and the most that nobody said, in the whole texts."""
    longest = {"delete": 0, "insert": 0}
    for chunk in jiwer.process_words(spoken, written).alignments[0]:
        if chunk.type in longest:
            words = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
            longest[chunk.type] = max(longest[chunk.type], words)
    return longest["delete"], longest["insert"]


def measure(folder: Path | str, seconds: float, path: Path, seed: int = 0) -> dict[str, Any]:
    """Decode the strings alone and as one file, which is written to `path`; what came of both."""
    model, processor = load_recognizer(folder)
    joined = join_strings(processor, seconds, seed)
    soundfile.write(path, joined.audio, RATE, subtype="PCM_16")
    started = time.process_time()
    alone = [result.text for batch in _batches(joined.strings, 8) for result in transcribe(batch, model, processor)]
    between = time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    segments: Sequence[Segment] = list(transcribe_long(path, model, processor, max_seconds=MAX_SECONDS))
    ended = time.process_time()
    spoken, written = " ".join(joined.texts), " ".join(segment.text for segment in segments if segment.text)
    missing, added = runs_of_edits(spoken, written)
    return {
        "seconds": round(len(joined.audio) / RATE, 1),
        "strings": len(joined.strings),
        "segments": len(segments),
        "wer_alone": score_texts([spoken], [" ".join(alone)])["wer"],
        "wer_long": score_texts([spoken], [written])["wer"],
        "longest_run_missing": missing,
        "longest_run_added": added,
        "cpu_seconds_alone": round(between - started, 1),
        "cpu_seconds_long": round(ended - between, 1),
        "megabytes_above": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024),
    }


def _batches(items: list[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    return (items[at : at + size] for at in range(0, len(items), size))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The demo's strings alone, and as one long file.")
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--wav", type=Path, default=Path("long-strings.wav"), help="written, and left there")
    given = parser.parse_args()
    print(json.dumps({"model": given.model, **measure(given.model, 60 * given.minutes, given.wav)}, indent=1))
