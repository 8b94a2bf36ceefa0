"""Recordings of any length to text: `transcribe_long`, which gives segment by segment what is said in hours.

- A recording that the model takes at once is heard whole. A longer one is cut at its pauses (`processing/pauses.py`),
  and its stretches are decoded in batches as they are read: only one batch lies in memory.
- Times count from the start of the recording. Where nobody pauses, windows overlap and the words of both are put
  together by time (`processing/stitching.py`).
- Silence between stretches is never decoded: a recogniser that hears nothing makes words up.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from .processing import AuralProcessor
from .processing.audio import UnknownLengthError, audio_duration, load_audio
from .processing.pauses import Cutting, Stretch, speech_stretches
from .processing.segments import Segment, spread_words
from .processing.speech_energy import Detector, EnergyDetector
from .processing.stitching import stitched
from .processing.streaming import open_stream
from .recognition import recognize_batch, recognizer_of
from .transcript import Transcript

MAX_SECONDS = 15.0  # a stretch, unless the model's generation_config sets another `max_seconds`
VADS = ("energy", "silero")
Recognize = Callable[[list[np.ndarray]], Sequence[Transcript]]
Progress = Callable[[float, float | None], None]


def longest_stretch(model: PreTrainedModel, max_seconds: float | None = None) -> float:
    """Seconds of audio that a model takes at once.

    Args:
        model: Its `generation_config.max_seconds` decides, where there is one.
        max_seconds: Decides before it.

    Raises:
        ValueError: Not a number of seconds above 0.
    """
    chosen = max_seconds
    if chosen is None:
        chosen = getattr(getattr(model, "generation_config", None), "max_seconds", None) or MAX_SECONDS
    return Cutting.up_to(float(chosen)).max_seconds


def is_long(source: Any, sampling_rate: int, max_seconds: float) -> bool:
    """Whether a recording is longer than `max_seconds`, or tells no length, without decoding it.

    Args:
        source: As `load_audio` takes it; but not a file object, which could be read only once.
        sampling_rate: Of a bare array, in Hz.
        max_seconds: What is not long.

    Raises:
        OSError, TypeError, ValueError: As `audio_duration`, but for a length that the header does not tell.
    """
    try:
        return audio_duration(source, sampling_rate) > max_seconds
    except UnknownLengthError:
        return True


def make_detector(vad: str, sampling_rate: int) -> Detector:
    """What tells speech from silence.

    Args:
        vad: "energy", or "silero" for the network of the package silero-vad.
        sampling_rate: In Hz.

    Raises:
        ImportError: "silero", and the package is not installed.
        ValueError: Another name, or a rate that the network does not hear.
    """
    if vad not in VADS:
        raise ValueError(f"vad={vad!r} must be one of {', '.join(VADS)}")
    if vad == "energy":
        return EnergyDetector(sampling_rate)
    from .processing.silero import SileroDetector

    return SileroDetector(sampling_rate)


class LongRecording:
    """One recording on its way to text: batches of segments come out as they are decoded, not yet stitched.

    Args:
        source: As `load_audio` takes it.
        recognize: From waves `(samples,)` to a `Transcript` each.
        sampling_rate: Of the waves, in Hz.
        cutting: How long stretches may be.
        vad: "energy" or "silero".
        batch_size: Stretches decoded together.

    Attributes:
        promised: Seconds as the header tells them, once reading began; None when it tells none.
        seconds: Seconds read so far; in the end the length of the recording.
    """

    def __init__(
        self,
        source: Any,
        recognize: Recognize,
        sampling_rate: int,
        cutting: Cutting,
        vad: str = "energy",
        batch_size: int = 8,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.promised: float | None = None
        self.seconds = 0.0
        self._source, self._recognize, self._rate, self._cutting = source, recognize, sampling_rate, cutting
        self._detector, self._batch_size = make_detector(vad, sampling_rate), batch_size

    def batches(self, done: Sequence[Segment] = (), progress: Progress | None = None) -> Iterator[list[Segment]]:
        """Decode, batch by batch; may be called once.

        Args:
            done: Segments of an earlier run, as they came out of it: they are not decoded again.
            progress: Called after each batch with the seconds heard and the length (None if the header tells none).

        Raises:
            OSError, ValueError, TypeError: As `load_audio`, once reading gets there; or `done` is of something else.
        """
        with open_stream(self._source, self._rate) as stream:
            self.promised = stream.seconds
            stretches = self._stretches(self._counted(stream.blocks))
            for segment in done:
                _check_same(segment, next(stretches, None))
            if done and progress is not None:
                progress(done[-1].end, self.promised)
            while batch := list(islice(stretches, self._batch_size)):
                transcripts = self._recognize([stretch.audio for stretch in batch])
                yield [_segment(stretch, one) for stretch, one in zip(batch, transcripts, strict=True)]
                if progress is not None:
                    progress(batch[-1].end_seconds, self.promised)

    def _counted(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        samples = 0
        for block in blocks:
            samples += len(block)
            self.seconds = samples / self._rate
            yield block

    def _stretches(self, blocks: Iterator[np.ndarray]) -> Iterator[Stretch]:
        """The stretches of a long recording, or a short one whole."""
        held: list[np.ndarray] = []
        for block in blocks:
            held.append(block)
            if self.seconds > self._cutting.max_seconds:
                again = chain(_given_away(held), blocks)
                yield from speech_stretches(again, self._rate, self._cutting, self._detector)
                return
        yield Stretch(0, np.concatenate(held), self._rate)


def _given_away(blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks, each forgotten as it goes."""
    while blocks:
        yield blocks.pop(0)


def _check_same(segment: Segment, stretch: Stretch | None) -> None:
    if stretch is None or (segment.start, segment.end) != (stretch.start_seconds, stretch.end_seconds):
        cut = "nothing" if stretch is None else f"{stretch.start_seconds:.2f} to {stretch.end_seconds:.2f} s"
        raise ValueError(
            f"done: a segment from {segment.start:.2f} to {segment.end:.2f} s, where this recording is cut to {cut}; "
            "it is of another recording, or was cut otherwise"
        )


def _segment(stretch: Stretch, transcript: Transcript) -> Segment:
    words = transcript.words or spread_words(transcript.text, 0.0, transcript.seconds, transcript.confidence)
    told = Segment(0.0, transcript.seconds, transcript.text, words, transcript.confidence, transcript.troubles)
    start, end, overlap = stretch.start_seconds, stretch.end_seconds, stretch.overlap / stretch.sampling_rate
    return replace(told.later(start), start=start, end=end, overlap=overlap)


def transcribe_long(
    source: Any,
    model: PreTrainedModel,
    processor: AuralProcessor,
    batch_size: int = 8,
    max_seconds: float | None = None,
    vad: str = "energy",
    progress: Progress | None = None,
    **generate_kwargs: Any,
) -> Iterator[Segment]:
    """Transcribe one recording of any length, segment by segment as they are decoded.

    Args:
        source: What `load_audio` reads: a path, bytes, an array, …
        model: A loaded model, in eval mode.
        processor: Of the model.
        batch_size: Stretches decoded together.
        max_seconds: Seconds that the model takes at once; a shorter recording is one segment. Default: the model's
            `generation_config.max_seconds`, else 15.
        vad: What finds the pauses: "energy", or "silero" with the package silero-vad.
        progress: Called after each batch with the seconds heard and the recording's length (None if its header tells
            none).
        generate_kwargs: As `transcribe` takes them, such as `num_beams=8`.

    Yields:
        Segments in order of time, none for silence; words have times in the recording. Those of a model without
        attention, which has no times, are spread evenly over their segment.

    Raises:
        OSError, TypeError, ValueError: As `load_audio`, once reading gets there; or an argument that cannot be.
        ImportError: `vad="silero"` without the package.

    Example:
        >>> for segment in transcribe_long("meeting.flac", model, processor):  # doctest: +SKIP
        ...     print(f"{segment.start:.1f} s: {segment.text}")
    """
    rate, cutting = processor.feature_extractor.sampling_rate, Cutting.up_to(longest_stretch(model, max_seconds))
    options = recognizer_of(model, processor).options(generate_kwargs)

    def recognize(waves: list[np.ndarray]) -> Sequence[Transcript]:
        return recognize_batch(waves, model, processor, options)

    recording = LongRecording(source, recognize, rate, cutting, vad, batch_size)
    return stitched(chain.from_iterable(recording.batches(progress=progress)))


def transcribe_recordings(
    sources: Sequence[Any],
    recognize: Callable[[list[np.ndarray], list[str]], Sequence[Transcript]],
    sampling_rate: int,
    max_seconds: float,
    vad: str = "energy",
    batch_size: int = 8,
) -> list[Transcript]:
    """Transcribe recordings of any lengths: short ones together, each longer one stretch by stretch.

    Args:
        sources: As `load_audio` takes them.
        recognize: From waves `(samples,)` and their names to a `Transcript` each.
        sampling_rate: Of the waves, in Hz.
        max_seconds: A longer recording is cut.
        vad: "energy" or "silero".
        batch_size: Recordings or stretches decoded together.

    Returns:
        One `Transcript` per recording, in order.

    Raises:
        OSError, TypeError, ValueError: As `load_audio`; or an argument that cannot be.
        ImportError: `vad="silero"` without the package.
    """
    names = [str(one) if isinstance(one, str | Path) else f"audio {index}" for index, one in enumerate(sources)]
    cutting = Cutting.up_to(max_seconds)
    results: dict[int, Transcript] = {}

    def cut(index: int, source: Any) -> None:
        def named(waves: list[np.ndarray]) -> Sequence[Transcript]:
            return recognize(waves, [names[index]] * len(waves))

        recording = LongRecording(source, named, sampling_rate, cutting, vad, batch_size)
        segments = list(stitched(chain.from_iterable(recording.batches())))
        results[index] = one_transcript(segments, recording.seconds, names[index])

    def together(indices: list[int]) -> None:
        waves = {index: load_audio(sources[index], sampling_rate) for index in indices}
        for index in [index for index, wave in waves.items() if len(wave) > max_seconds * sampling_rate]:
            cut(index, waves.pop(index))  # its header told less, or it was a file object
        found = recognize(list(waves.values()), [names[index] for index in waves]) if waves else []
        results.update(zip(waves, found, strict=True))

    short: list[int] = []
    for index, source in enumerate(sources):
        if hasattr(source, "read") or not is_long(source, sampling_rate, max_seconds):
            short.append(index)
        else:
            cut(index, source)
        if len(short) == batch_size or (short and index == len(sources) - 1):
            together(short)
            short = []
    return [results[index] for index in range(len(sources))]


def one_transcript(segments: Iterable[Segment], seconds: float, source: str) -> Transcript:
    """The segments of a recording as one `Transcript`, which has no alignment: that would grow with its square.

    Args:
        segments: In order.
        seconds: Length of the recording.
        source: Its name.
    """
    segments = tuple(segments)
    words = tuple(word for segment in segments for word in segment.words)
    letters = [max(1, len(segment.text)) for segment in segments]
    logs = [np.log(max(segment.confidence, 1e-30)) for segment in segments]
    return Transcript(
        text=" ".join(segment.text for segment in segments if segment.text),
        seconds=seconds,
        source=source,
        alignment=torch.zeros(0, 0),
        tokens=(),
        seconds_per_frame=0.0,
        words=words,
        confidence=float(np.exp(np.average(logs, weights=letters))) if segments else 1.0,
        troubles=tuple(one for segment in segments for one in segment.troubles),
    )
