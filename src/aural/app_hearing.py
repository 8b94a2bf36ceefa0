"""What the page in the browser does with a recording: read it within limits, hear it, say in words what went wrong.

Notable here:
- Nothing in this room knows the browser, or keeps anything: whatever two visitors ask for at once cannot mix.
- A recording is decoded once, block by block, and no further than the limit: a small file can hold hours.
- Words about trouble name no folder of the machine: a visitor may be a stranger.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from .app_models import ModelCard
from .captioning import Caption, CaptionModel, caption, longest_window
from .long_audio import LongRecording, longest_stretch, one_transcript
from .looking import Look, look
from .processing.events import THRESHOLD, Event
from .processing.levels import sound_levels
from .processing.pauses import Cutting
from .processing.stitching import stitched
from .processing.streaming import open_stream
from .recognition import recognize_batch, recognizer_of
from .tag_windows import WindowPlan, is_framewise
from .tagging import Tagging, tag
from .transcript import Transcript

LOOK_SECONDS = 15.0  # of a recording, at most, in one view of attention: self-attention grows with the square
SILENT_DB = -70.0  # of full scale: a recording whose loudest 10 ms is below holds nothing to hear
TROUBLE = (OSError, ValueError, MemoryError)  # what a recording or a wish can bring about
Progress = Callable[[float, float | None], None]
_FOLDERS = re.compile(r"(?:\b[A-Za-z]:)?[\\/](?:[^\\/\s:;,'\"()]+[\\/])+")  # before the last name of a path


@dataclass(frozen=True)
class Wishes:
    """What a visitor chose beside the model.

    Attributes:
        beams: Width of the search, of a model that writes; None for the model's own.
        slots: Memory slots; None for as many as the model has, or none.
        threshold: Score from which on a sound counts as heard.
    """

    beams: int | None = None
    slots: int | None = None
    threshold: float = THRESHOLD

    def options(self, card: ModelCard) -> dict[str, Any]:
        """For `transcribe`, `caption` or `look`: what was wished and the model knows."""
        chosen: dict[str, Any] = {}
        if card.beams is not None and self.beams is not None and self.beams != card.beams:
            chosen["num_beams"] = self.beams
        if card.slots is not None and self.slots is not None and self.slots != card.slots:
            chosen["memory_slots"] = self.slots
        return chosen


@dataclass(frozen=True, eq=False)
class Heard:
    """What a model said of a recording.

    Attributes:
        card: Of the model.
        seconds: Length of the recording.
        transcript: Of a model of speech.
        captions: Of a model of captions, one or several in a row.
        tagging: Of a model of sounds.
        events: The sounds from onset to offset, of a model of sounds.
    """

    card: ModelCard
    seconds: float
    transcript: Transcript | None = None
    captions: tuple[Caption, ...] = ()
    tagging: Tagging | None = None
    events: tuple[Event, ...] = ()


def read_clip(path: str | Path | None, sampling_rate: int, max_minutes: float) -> np.ndarray:
    """A recording as the models take it, `(samples,)` float32.

    Args:
        path: What was recorded or uploaded; None: nothing was.
        sampling_rate: Of the result, in Hz.
        max_minutes: A longer recording is refused, before the rest of it is decoded.

    Raises:
        OSError: It cannot be read.
        ValueError: There is none, it is no audio or cut, too long, or silent.
    """
    if path is None:
        raise ValueError("There is no recording yet: record, upload or choose an example first.")
    most, blocks, samples = round(max_minutes * 60 * sampling_rate), [], 0
    with open_stream(path, sampling_rate) as stream:
        for block in stream.blocks:
            samples += len(block)
            if samples > most or (stream.seconds or 0) > max_minutes * 60 + 1:
                raise ValueError(f"The recording is longer than {max_minutes:g} minutes, the most that is heard here.")
            blocks.append(block)
    wave = np.concatenate(blocks)
    levels = sound_levels(wave, sampling_rate)
    if not len(levels):
        raise ValueError(f"The recording is only {1000 * len(wave) / sampling_rate:.0f} ms long.")
    if levels.max() < SILENT_DB:
        raise ValueError("The recording is silent: there is nothing to hear in it. Is the microphone switched off?")
    return wave


def hear(wave: np.ndarray, card: ModelCard, loaded: tuple[Any, Any], wishes: Wishes, progress: Progress) -> Heard:
    """What a model says of a recording: the answer of `aural.transcribe`, `aural.caption` or `aural.tag`.

    Args:
        wave: `(samples,)` at the rate of the model's features.
        card: Of the model.
        loaded: The model, and its processor or feature extractor.
        wishes: What the visitor chose.
        progress: Called with the seconds heard and the length.

    Raises:
        ValueError: The recording is too short for the model, or a wish cannot be.
    """
    model, processor = loaded
    options = wishes.options(card)
    if card.kind == "sounds":
        tagging = tag(wave, model, processor, progress=progress)[0]
        return Heard(card, tagging.seconds, tagging=tagging, events=tuple(tagging.events(wishes.threshold)))
    seconds = len(wave) / processor.feature_extractor.sampling_rate
    if card.kind == "captions":
        found = caption(wave, model, processor, progress=progress, **options)
        return Heard(card, seconds, captions=tuple(found))
    return Heard(card, seconds, transcript=_transcribe(wave, model, processor, options, progress))


def _transcribe(
    wave: np.ndarray, model: Any, processor: Any, options: dict[str, Any], progress: Progress
) -> Transcript:
    """As `aural.transcribe`, which tells nobody how far it is."""
    rate, longest = processor.feature_extractor.sampling_rate, longest_stretch(model)
    said = recognizer_of(model, processor).options(options)
    if len(wave) <= longest * rate:
        return recognize_batch([wave], model, processor, said)[0]

    def recognize(waves: list[np.ndarray]) -> list[Transcript]:
        return recognize_batch(waves, model, processor, said)

    recording = LongRecording(wave, recognize, rate, Cutting.up_to(longest))
    segments = list(stitched(chain.from_iterable(recording.batches(progress=progress))))
    return one_transcript(segments, recording.seconds, "audio 0")


def in_words(error: BaseException, *paths: str | None) -> str:
    """What to tell a visitor of trouble: the message on one line, without the folders in the paths that it names.

    Args:
        error: What was raised.
        paths: Those that it may name, which are told by their last part, whatever they hold.
    """
    if isinstance(error, MemoryError):
        return "The machine has not enough memory for this recording."
    text = str(error)
    if isinstance(error, OSError) and error.strerror:  # "[Errno 2] No such file or directory: '/…'"
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    for path in paths:
        text = text.replace(path, Path(path).name) if path else text
    return _FOLDERS.sub("", " ".join(text.split())) or type(error).__name__


def closest_view(card: ModelCard, loaded: tuple[Any, Any]) -> float:
    """Seconds of a recording whose attention is shown at once: no more than the model takes, nor than can be drawn."""
    model, processor = loaded
    if card.kind == "sounds":
        longest = WindowPlan.of(model.config, processor, is_framewise(model)).size * processor.seconds_per_frame
    else:
        longest = longest_window(model) if card.kind == "captions" else longest_stretch(model)
    return min(LOOK_SECONDS, longest)


def look_closely(wave: np.ndarray, card: ModelCard, loaded: tuple[Any, Any], wishes: Wishes) -> Look:
    """Where a model looks in a recording, or in a stretch of one.

    Args:
        wave: `(samples,)`, no longer than `closest_view`.
        card, loaded, wishes: As of `hear`.

    Raises:
        ValueError: The stretch is too short for the model.
    """
    options = wishes.options(card)
    if card.kind == "sounds":
        options["threshold"] = wishes.threshold
    elif isinstance(loaded[0], CaptionModel):
        options["task"] = "caption" if card.kind == "captions" else "transcribe"
    return look(wave, *loaded, **options)


def stretch_of(wave: np.ndarray, sampling_rate: int, start: float, seconds: float) -> tuple[np.ndarray, float, float]:
    """The part of a recording to look at closely: its samples, and where it begins and ends, in seconds.

    Args:
        wave: `(samples,)`.
        sampling_rate: In Hz.
        start: Where it should begin; it begins earlier where the recording would end first.
        seconds: Its length at most.
    """
    size = min(len(wave), round(seconds * sampling_rate))
    first = min(max(0, round(start * sampling_rate)), len(wave) - size)
    return wave[first : first + size], first / sampling_rate, (first + size) / sampling_rate
