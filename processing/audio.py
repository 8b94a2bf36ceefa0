"""Audio in: whatever holds a recording becomes one mono float32 array.

- soundfile (libsndfile) decodes wav, flac, ogg, opus, mp3, aiff and more with no system library; soxr resamples.
- libsndfile reads the part that is left of a cut file and says nothing. Here what the container promises is compared
  with what is there, since a dataset of half-downloaded clips trains a model on wrong texts without one error.
- Files are decoded block by block and averaged to mono at once: an hour of stereo never lies decoded as stereo.
"""

import io
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000  # Hz: below lies no speech, above no sound card
BLOCK = 1 << 20  # samples decoded at a time
MAX_CHANNELS = 64  # more "channels" than this in an array are a batch or a spectrogram, not a recording
STREAMED = 0x7FFF0000  # a size from here up was written by a program that could not go back to fill it in
UNKNOWN_FRAMES = 1 << 62  # libsndfile's count for a FLAC stream without a length is 2**63 - 1
SHORT_OF = re.compile(r"(?:riff|data|Data Size)\s*: (\d+) \(should be (\d+)\)")  # in the log of libsndfile
MP3_SLACK = 2_304  # samples: two MPEG frames of encoder delay and padding
RESAMPLING = "HQ"  # soxr's name of the quality
# Of files that are taken for audio where a folder holds others too.
ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64")


def load_audio(source: Any, sampling_rate: int = 16_000) -> np.ndarray:
    """Any recording as a mono float32 array at `sampling_rate`.

    Args:
        source: one of
            - a path, or a binary file object (read from where it stands), or the bytes of a file;
            - `{"bytes": …, "path": …}`, what `datasets.Audio(decode=False)` gives; bytes may be None;
            - `{"array": …, "sampling_rate": …}`, what a decoded `datasets` column gives;
            - an array, list or tensor, taken to be at `sampling_rate` already: `(samples,)`, or two axes of which the
              shorter is channels. uint8, int16 and int32 are PCM and are divided by their full scale.
        sampling_rate: of the result, in Hz.

    Returns:
        float32 of shape `(samples,)`, channels averaged, full scale at 1.

    Raises:
        FileNotFoundError, IsADirectoryError, OSError: the path cannot be opened.
        ValueError: the content is empty, truncated, no audio, holds NaN or infinity, or has a sampling rate outside
            1,000 to 384,000 Hz; the message names the file and the reason.
        TypeError: `source` is none of the above.
    """
    with opened_recording(source, sampling_rate) as recording:
        blocks = list(recording.blocks)
    wave = np.ascontiguousarray(blocks[0]) if len(blocks) == 1 else np.concatenate(blocks)
    if recording.sampling_rate == sampling_rate:
        return wave
    resampled = soxr.resample(wave, recording.sampling_rate, sampling_rate, quality=RESAMPLING)
    if resampled.size == 0:
        raise too_few(recording.name, len(wave), recording.sampling_rate, sampling_rate)
    return resampled


class UnknownLengthError(ValueError):
    """Only decoding tells how long the audio is."""


def audio_duration(source: Any, sampling_rate: int = 16_000) -> float:
    """Seconds of audio, read from the header without decoding.

    Args:
        source: as for `load_audio`.
        sampling_rate: of a bare array, in Hz; files and dictionaries carry their own.

    Raises:
        UnknownLengthError: the header tells no length.
        OSError, ValueError, TypeError: as `load_audio`, except that faults inside the samples go unseen.
    """
    if isinstance(source, Mapping) and source.get("array") is not None:
        source, sampling_rate = source["array"], _check_rate(source.get("sampling_rate"), "array")
    if _is_array(source):
        return len(_mono(source)) / _check_rate(sampling_rate, "array")
    with _opened(source) as (handle, name), _reader(handle, name) as file:
        if file.frames >= UNKNOWN_FRAMES:
            raise UnknownLengthError(f"{name}: its header tells no length; decode it with load_audio")
        return file.frames / file.samplerate


@dataclass(frozen=True)
class Recording:
    """Audio that stands open.

    Attributes:
        name: What errors call it by.
        sampling_rate: Its own, in Hz.
        promised: Samples per channel as its header tells them; None when it tells none.
        blocks: Its mono samples `(samples,)`, float32 and finite, decoded as they are asked for; at least one.
    """

    name: str
    sampling_rate: int
    promised: int | None
    blocks: Iterator[np.ndarray]


@contextmanager
def opened_recording(source: Any, sampling_rate: int = 16_000) -> Iterator[Recording]:
    """Open any recording to be read forwards, once; it comes at its own sampling rate.

    Args:
        source: as for `load_audio`; an array is one block.
        sampling_rate: of a bare array, in Hz.

    Raises:
        OSError, ValueError, TypeError: as `load_audio`; for faults inside the samples, and most files that are cut,
            only when the blocks get there.
    """
    _check_rate(sampling_rate, "sampling_rate")
    if isinstance(source, Mapping) and source.get("array") is not None:
        source, sampling_rate = source["array"], _check_rate(source.get("sampling_rate"), "array")
    if _is_array(source):
        wave = _mono(source)
        yield Recording("array", int(sampling_rate), len(wave), _heard(iter([wave]), "array"))
        return
    with _opened(source) as (handle, name), _reader(handle, name) as file:
        promised = file.frames if file.frames < UNKNOWN_FRAMES else None
        yield Recording(name, file.samplerate, promised, _heard(_decoded(file, handle, name), name))


def too_few(name: str, samples: int, rate: int, sampling_rate: int) -> ValueError:
    """What to raise when nothing is left after resampling."""
    return ValueError(f"{name}: {samples} samples at {rate} Hz are too few to resample to {sampling_rate} Hz")


class _Stream(soundfile.SoundFile):
    """A SoundFile that is only read forwards: soundfile else seeks after each block, which a FLAC without a length
    refuses and a lossy codec answers with a few wrong samples."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(source: Any) -> Iterator[tuple[BinaryIO, str]]:
    """`source` as a seekable binary handle, and the name that errors call it by."""
    name = "bytes"
    if isinstance(source, Mapping):
        name = str(source.get("path") or name)
        source = source["bytes"] if source.get("bytes") is not None else source.get("path")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            raise IsADirectoryError(f"{path}: is a folder; an audio file is needed")
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such audio file")
        with path.open("rb") as handle:
            yield handle, str(path)
        return
    if hasattr(source, "read"):
        name = str(getattr(source, "name", None) or "file object")
        source = source.read()
        if isinstance(source, str):
            raise TypeError(f"{name}: opened as text; open it with mode 'rb'")
    if not isinstance(source, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"source: {type(source).__name__}; allowed are a path, bytes, a binary file object, an array, "
            "{'bytes', 'path'} and {'array', 'sampling_rate'}"
        )
    yield io.BytesIO(source), name


@contextmanager
def _reader(handle: BinaryIO, name: str) -> Iterator[_Stream]:
    """The decoder over `handle`, after the checks that libsndfile leaves out."""
    handle = _checked(handle, name)
    try:
        file = _Stream(handle)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a name that ends in .raw
        raise ValueError(f"{name}: not audio that libsndfile can read ({_reason(error)})") from error
    with file:
        _check_rate(file.samplerate, name)
        log = SHORT_OF.search(file.extra_info) if file.format in ("AU", "CAF", "W64") else None
        if log and int(log[2]) < int(log[1]) < STREAMED:
            raise ValueError(f"{name}: truncated, {log[2]} bytes of {log[1]} are there")
        yield file


def _decoded(file: _Stream, handle: BinaryIO, name: str) -> Iterator[np.ndarray]:
    """Mono float32 blocks `(samples,)` of the file over `handle`, up to an end that must be where it was promised."""
    samples, promised = 0, file.frames
    try:
        while len(block := file.read(BLOCK // file.channels + 1, dtype="float32", always_2d=True)):
            samples += len(block)
            # a copy: a short recording would else keep the whole block that it was read into
            yield block[:, 0].copy() if file.channels == 1 else block.mean(axis=1)
    except soundfile.SoundFileError as error:
        raise ValueError(f"{name}: truncated or damaged ({_reason(error)})") from error
    if file.format == "MP3":  # without the encoder's tag the count is an estimate from the first frame
        promised = promised - MP3_SLACK if _has_mp3_length(handle) else 0
    if 0 < samples < promised < UNKNOWN_FRAMES:
        raise ValueError(f"{name}: truncated, {samples} samples of {promised} are there")


def _heard(blocks: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
    """The blocks, once found to hold what a model can hear."""
    samples = 0
    for block in blocks:
        if block.size and not (np.isfinite(block.min()) and np.isfinite(block.max())):  # min and max carry a NaN on
            first = samples + int(np.argmin(np.isfinite(block)))
            raise ValueError(f"{name}: holds NaN or infinity, first at sample {first}")
        samples += len(block)
        yield block
    if samples == 0:
        raise ValueError(f"{name}: empty, it holds no samples")


def _is_array(source: Any) -> bool:
    return isinstance(source, (np.ndarray, list, tuple)) or hasattr(source, "__array__")


def _mono(array: Any) -> np.ndarray:
    """`(samples,)` float32 from one axis, or from two of which the shorter is channels."""
    if hasattr(array, "detach"):  # a tensor, perhaps on an accelerator; bfloat16 has no numpy type
        array = array.detach().cpu()
        array = array.float().numpy() if array.is_floating_point() else array.numpy()
    wave = np.asarray(array, dtype=np.float32 if isinstance(array, (list, tuple)) else None)
    if wave.dtype in (np.int16, np.int32):
        wave = wave / np.float32(-np.iinfo(wave.dtype).min)
    elif wave.dtype == np.uint8:
        wave = (wave - np.float32(128)) / np.float32(128)
    elif wave.dtype.kind != "f":
        raise ValueError(f"array: dtype {wave.dtype}; allowed are floats, and uint8, int16 or int32 as PCM")
    if wave.ndim == 2:
        rows, columns = wave.shape
        if min(rows, columns) > MAX_CHANNELS or (rows == columns and rows > 1):
            raise ValueError(
                f"array: shape {wave.shape}; with two axes the shorter one is channels, 1 to {MAX_CHANNELS}"
            )
        wave = wave.mean(axis=0 if rows <= columns else 1)
    elif wave.ndim != 1:
        raise ValueError(f"array: {wave.ndim} axes; allowed are (samples,) and samples by channels")
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is refused by name
        return wave.astype(np.float32, copy=False)


def _check_rate(rate: Any, name: str) -> int:
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(f"{name}: sampling rate {rate!r}; allowed are {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    return int(rate)


def _checked(handle: BinaryIO, name: str) -> BinaryIO:
    """`handle`, found neither empty nor cut; a WAV whose writer left its size at 0 is given one."""
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    if size == 0:
        raise ValueError(f"{name}: empty, 0 bytes")
    head = handle.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM") and head[8:] in (b"WAVE", b"AIFF", b"AIFC"):
        order = ">" if head[:4] in (b"RIFX", b"FORM") else "<"
        at, promised, there = _data_chunk(handle, order, size)
        if promised is not None and there < promised:
            raise ValueError(f"{name}: truncated, {there} bytes of audio data of {promised} are there")
        whole = struct.unpack(order + "I", head[4:8])[0] + 8
        if promised == 0 and there > 0 and whole != size:  # libsndfile would read no sample
            handle.seek(0)
            data = bytearray(handle.read())
            data[at : at + 4] = struct.pack(order + "I", 0xFFFFFFFF)
            handle = io.BytesIO(data)
    elif head[:4] == b"OggS" and not _last_ogg_page_is_whole(handle, size):
        raise ValueError(f"{name}: truncated, its last Ogg page is cut")
    handle.seek(0)
    return handle


def _data_chunk(handle: BinaryIO, order: str, size: int) -> tuple[int, int | None, int]:
    """Where the size of the sample chunk stands, the bytes it promises (None: unknown), and the bytes there."""
    at, long_size = 12, None
    while at + 8 <= size:
        handle.seek(at)
        kind, length = struct.unpack(order + "4sI", handle.read(8))
        if kind == b"ds64":  # RF64 keeps here the sizes that 32 bits cannot hold
            long_size = struct.unpack("<8xQ", handle.read(16).ljust(16, b"\0"))[0]
        if kind in (b"data", b"SSND"):
            return at + 4, length if length < STREAMED else long_size, size - at - 8
        at += 8 + length + length % 2
    return 0, None, 0


def _last_ogg_page_is_whole(handle: BinaryIO, size: int) -> bool:
    """Whether the file holds all of its last page: 27 bytes, a table of segment lengths, the segments (RFC 3533)."""
    tail_start = max(0, size - 2 * 65_307)  # twice the longest page
    handle.seek(tail_start)
    tail = handle.read()
    at = tail.rfind(b"OggS\0")
    table_end = at + 27 + tail[at + 26] if 0 <= at < len(tail) - 26 else len(tail) + 1
    return table_end <= len(tail) and table_end + sum(tail[at + 27 : table_end]) <= len(tail)


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error))  # the whole text repeats the handle's address


def _has_mp3_length(handle: BinaryIO) -> bool:
    """Whether the first MPEG frame is a Xing or Info tag, which counts the frames exactly."""
    handle.seek(0)
    head = handle.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    handle.seek(start)
    frame = handle.read(64)
    return b"Xing" in frame or b"Info" in frame
