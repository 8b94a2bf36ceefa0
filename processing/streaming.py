"""Hours of audio in a few megabytes: samples and features that come block by block.

- Every stage gives what the whole recording would give: soxr's stream equals its one call bit for bit, frames are cut
  across the borders of blocks, only the recording's own ends are padded or mirrored, and dither repeats its noise.
- So nothing that follows depends on how the audio was cut into blocks.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soxr
import torch

from .audio import RESAMPLING, Recording, opened_recording, too_few
from .log_mel import LogMelOptions, dithered, log_mel

BLOCK_SAMPLES = 1 << 20  # of an array at a time; a minute at 16 kHz
NORMALS_AT_ONCE = 16  # torch fills a tensor of normal numbers so many at a time


@dataclass(frozen=True)
class AudioStream:
    """Audio at the sampling rate that was asked for, to be read once.

    Attributes:
        name: What errors call it by.
        seconds: Its length as the header tells it (an estimate for some MP3), for a progress bar; None when unknown.
        blocks: Its mono samples `(samples,)`, float32 and finite.
    """

    name: str
    seconds: float | None
    blocks: Iterator[np.ndarray]


@contextmanager
def open_stream(source: Any, sampling_rate: int = 16_000) -> Iterator[AudioStream]:
    """Open a recording of any length: the samples of `load_audio`, block by block.

        with open_stream("day.flac") as stream:
            for block in stream.blocks: ...

    Args:
        source: As for `load_audio`.
        sampling_rate: Of the samples, in Hz.

    Raises:
        OSError, ValueError, TypeError: As `load_audio`; for faults inside the samples, and most files that are cut,
            only when the blocks get there.
    """
    with opened_recording(source, sampling_rate) as recording:
        seconds = None if recording.promised is None else recording.promised / recording.sampling_rate
        yield AudioStream(recording.name, seconds, _resampled(recording, sampling_rate))


def _resampled(recording: Recording, sampling_rate: int) -> Iterator[np.ndarray]:
    parts = (
        block[start : start + BLOCK_SAMPLES]
        for block in recording.blocks
        for start in range(0, len(block), BLOCK_SAMPLES)
    )
    rate = recording.sampling_rate
    if rate == sampling_rate:
        yield from parts
        return
    stream = soxr.ResampleStream(rate, sampling_rate, 1, dtype="float32", quality=RESAMPLING)
    heard = given = 0
    for part in parts:
        heard += len(part)
        if len(block := stream.resample_chunk(np.ascontiguousarray(part))):
            given += len(block)
            yield block
    if len(block := stream.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield block
    if given + len(block) == 0:
        raise too_few(recording.name, heard, rate, sampling_rate)


def log_mel_stream(
    blocks: Iterable[np.ndarray], options: LogMelOptions, device: str | torch.device = "cpu"
) -> Iterator[torch.Tensor]:
    """Log-mel features of one recording, block by block: the rows of `log_mel` on the whole.

    Args:
        blocks: The samples `(samples,)`, float32, in blocks of any sizes; at least one sample in all.
        options: What to compute. The noise of dither is that which `log_mel` draws without a generator.
        device: Where to compute.

    Yields:
        float32 `(frames, mels)`, at least one frame, not normalised.
    """
    waves: Iterator[torch.Tensor] = (torch.from_numpy(np.require(block, np.float32, ["C", "W"])) for block in blocks)
    if options.dither > 0:
        waves = _noisy(waves, options)
    framer = _Framer(replace(options, dither=0.0))
    for wave in waves:
        if len(rows := framer.add(wave.to(device))):
            yield rows
    if len(rows := framer.rest()):
        yield rows


def _noisy(waves: Iterator[torch.Tensor], options: LogMelOptions) -> Iterator[torch.Tensor]:
    """The noise of the whole recording. Torch draws it in sixteens and draws the last sixteen numbers anew where the
    length is no multiple: drawn in multiples, with an end of sixteen or more, the parts are those of the whole."""
    generator = torch.Generator().manual_seed(0)
    held = torch.zeros(0)
    for wave in waves:
        held = torch.cat([held, wave])
        ready = max(0, (len(held) - NORMALS_AT_ONCE) // NORMALS_AT_ONCE * NORMALS_AT_ONCE)
        if ready:
            yield dithered(held[:ready], options, generator)
            held = held[ready:]
    yield dithered(held, options, generator)


class _Framer:
    """Frames across the borders of blocks. Frame t covers `shift * t` to `shift * t + length` on an axis that begins
    with what lies mirrored before the recording (nothing with `snip_edges`)."""

    def __init__(self, options: LogMelOptions) -> None:
        self.options = options
        self.whole_frames = replace(options, snip_edges=True)
        self.length, self.shift = options.frame_length, options.frame_shift
        self.before = 0 if options.snip_edges else self.length // 2 - self.shift // 2  # as in log_mel
        self.enough = max(self.length, self.shift)  # samples for which what is mirrored at the ends is less than all
        self.samples = 0  # heard
        self.frame = 0  # the next one
        self.held: torch.Tensor | None = None  # the end of what was heard, with a frame more than frames still need
        self.start = 0  # of `held`, on the axis
        self.mirrored = False  # what lies before the recording is known

    def add(self, wave: torch.Tensor) -> torch.Tensor:
        """The frames `(frames, mels)` that are whole now; there may be none."""
        self.held = wave if self.held is None else torch.cat([self.held, wave])
        self.samples += len(wave)
        if self.samples < self.enough:
            return self._none()
        if not self.mirrored:
            self.mirrored = True
            self.start = min(0, self.before)
            if self.before > 0:
                self.held = torch.cat([self.held[: self.before].flip(0), self.held])
        rows = self._frames((self.start + len(self.held) - self.length) // self.shift + 1 - self.frame)
        unneeded = min(len(self.held), max(0, self.frame * self.shift - self.length - self.start))
        self.held = self.held[unneeded:].clone()  # a view would keep the block
        self.start += unneeded
        return rows

    def rest(self) -> torch.Tensor:
        """The frames `(frames, mels)` at the end of the recording."""
        assert self.held is not None, "a recording has at least one sample"
        if self.samples < self.enough:
            return log_mel([self.held], self.options)[0]
        frames = self.options.frame_count(self.samples)
        after = (frames - 1) * self.shift - self.before + self.length - self.samples
        if after > 0 and not self.options.snip_edges:
            self.held = torch.cat([self.held, self.held[-after:].flip(0)])
        return self._frames(frames - self.frame)

    def _frames(self, count: int) -> torch.Tensor:
        """The next `count` frames, which lie whole in what is held."""
        if count < 1 or self.held is None:
            return self._none()
        begin = self.frame * self.shift - self.start
        self.frame += count
        return log_mel([self.held[begin : begin + (count - 1) * self.shift + self.length]], self.whole_frames)[0]

    def _none(self) -> torch.Tensor:
        return torch.zeros(0, self.options.num_mel_bins)
