"""`load_audio` against files that soundfile wrote, and against files that were broken on purpose."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aural.processing.audio import audio_duration, load_audio

RATE = 16_000
SECONDS = 2.0


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    time = np.arange(int(RATE * SECONDS)) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * time) * np.hanning(len(time))).astype(np.float32)


def encoded(wave: np.ndarray, rate: int = RATE, container: str = "WAV", codec: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=container, subtype=codec)
    return file.getvalue()


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


LOSSLESS = [("WAV", "PCM_16", 1e-4), ("WAV", "FLOAT", 1e-7), ("FLAC", "PCM_16", 1e-4), ("AIFF", "PCM_24", 1e-6)]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


@pytest.mark.parametrize(("container", "codec", "tolerance"), LOSSLESS)
def test_lossless_files_come_back_as_written(tone, tmp_path, container, codec, tolerance):
    path = tmp_path / f"tone.{container.lower()}"
    path.write_bytes(encoded(tone, container=container, codec=codec))
    wave = load_audio(path)
    assert wave.dtype == np.float32
    assert wave.shape == tone.shape
    np.testing.assert_allclose(wave, tone, atol=tolerance)


@pytest.mark.parametrize(("container", "codec"), LOSSY)
def test_lossy_files_come_back_close(tone, container, codec):
    wave = load_audio(encoded(tone, container=container, codec=codec))
    assert wave.shape == tone.shape
    assert np.corrcoef(wave, tone)[0, 1] > 0.99


def test_every_kind_of_source_gives_one_answer(tone, tmp_path):
    data = encoded(tone, codec="FLOAT")
    path = tmp_path / "tone.wav"
    path.write_bytes(data)
    file = io.BytesIO(b"junk" + data)
    file.seek(4)  # read from where it stands
    sources = [
        path,
        str(path),
        data,
        bytearray(data),
        file,
        path.open("rb"),
        {"bytes": data, "path": None},
        {"bytes": None, "path": str(path)},
        {"array": tone, "sampling_rate": RATE},
        tone,
        tone.tolist(),
        torch.from_numpy(tone),
        tone.astype(np.float64),
    ]
    for source in sources:
        np.testing.assert_array_equal(load_audio(source), tone)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_pitch_and_length(rate):
    time = np.arange(rate) / rate
    wave = load_audio(encoded(np.sin(2 * np.pi * 1_000 * time), rate))
    assert abs(len(wave) - RATE) <= 1
    middle = wave[2_000:14_000]
    expected = np.sin(2 * np.pi * 1_000 * np.arange(2_000, 14_000) / RATE)
    assert np.abs(middle - expected).max() < 2e-3


def test_resampling_lets_nothing_alias_down():
    time = np.arange(48_000) / 48_000
    wave = load_audio({"array": np.sin(2 * np.pi * 12_000 * time), "sampling_rate": 48_000})  # above 8 kHz
    assert np.abs(wave[1_000:-1_000]).max() < 1e-3


def test_channels_are_averaged(tone):
    stereo = np.stack([tone, -0.5 * tone], axis=1)
    for source in (encoded(stereo, codec="FLOAT"), stereo, stereo.T, torch.from_numpy(stereo)):
        np.testing.assert_allclose(load_audio(source), 0.25 * tone, atol=1e-6)


def test_long_files_are_decoded_whole():
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (1_500_000, 2)).astype(np.float32)  # more than one block
    np.testing.assert_allclose(load_audio(encoded(wave, codec="FLOAT")), wave.mean(1), atol=1e-6)


def test_a_short_recording_keeps_no_more_memory_than_its_samples(tone):
    wave = load_audio(encoded(tone))
    holder = wave if wave.base is None else wave.base
    assert holder.nbytes == tone.nbytes


@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_integer_arrays_are_pcm(tone, kind):
    full = -float(np.iinfo(kind).min)
    np.testing.assert_allclose(load_audio((tone * full).astype(kind)), tone, atol=1e-4)


@pytest.mark.parametrize("shape", [(100, 100), (80, 3_000), (2, 3, 4), ()])
def test_arrays_of_unclear_axes_are_refused(shape):
    with pytest.raises(ValueError, match="array: "):
        load_audio(np.zeros(shape))


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("WAV", "PCM_16"),
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated_files_are_refused_by_name(tone, tmp_path, container, codec, kept):
    data = encoded(tone, container=container, codec=codec)
    assert len(load_audio(data)) == len(tone)
    path = tmp_path / "cut.audio"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ValueError, match=r"cut\.audio: (truncated|empty, it holds no samples)"):
        load_audio(path)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_streamed_wav_without_a_size_is_read(tone, size):
    data = encoded(tone, codec="PCM_16")
    at = data.index(b"data") + 4
    streamed = patched(patched(data, at, struct.pack("<I", size)), 4, struct.pack("<I", size))
    np.testing.assert_allclose(load_audio(streamed), tone, atol=1e-4)


def test_streamed_flac_without_a_length_is_read(tone):
    data = encoded(tone, container="FLAC", codec="PCM_16")
    streamed = patched(data, 21, bytes([data[21] & 0xF0, 0, 0, 0, 0]))  # total samples in STREAMINFO
    np.testing.assert_allclose(load_audio(streamed), tone, atol=1e-4)
    with pytest.raises(ValueError, match="no length"):
        audio_duration(streamed)


def test_a_flac_that_promises_more_is_truncated(tone):
    data = encoded(tone, container="FLAC", codec="PCM_16")
    with pytest.raises(ValueError, match=f"truncated, {len(tone)} samples of"):
        load_audio(patched(data, 21, bytes([data[21] | 0x0F])))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty, 0 bytes"),
        (b"a text, and no audio at all" * 9, "not audio"),
        (b"RIFF", "not audio"),
        (b"OggS" + b"\0" * 100, "not audio"),
        (encoded(np.zeros(0, np.float32)), "empty, it holds no samples"),
        (encoded(np.array([0.1, np.nan, 0.2], np.float32), codec="FLOAT"), "NaN or infinity, first at sample 1"),
        (encoded(np.array([0.1, 0.2, np.inf], np.float32), codec="FLOAT"), "NaN or infinity, first at sample 2"),
        (encoded(np.array([1e300]), codec="DOUBLE"), "NaN or infinity"),
        (encoded(np.zeros(9, np.float32), rate=3), "sampling rate 3; allowed are 1000 to 384000 Hz"),
        (encoded(np.zeros(9, np.float32), rate=5_000_000), "sampling rate 5000000"),
        (encoded(np.zeros(1, np.float32), rate=48_000), "too few to resample"),
    ],
    # Not by their bytes: float WAVs hold the time of writing, and parallel workers must collect the same names.
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_content_no_model_can_hear_is_refused_by_name_and_reason(tmp_path, content, reason):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    for source in (path, {"bytes": content, "path": "bad.wav"}):
        with pytest.raises(ValueError, match=rf"bad\.wav: .*{reason}"):
            load_audio(source)


def test_paths_that_hold_no_file_raise_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.wav"):
        load_audio(tmp_path / "nothing.wav")
    with pytest.raises(IsADirectoryError, match="folder"):
        load_audio({"bytes": None, "path": str(tmp_path)})


def test_arguments_of_no_use_are_refused_by_name(tone):
    with pytest.raises(TypeError, match="source: int"):
        load_audio(3)
    with pytest.raises(TypeError, match="source: NoneType"):
        load_audio({"bytes": None, "path": None})
    with pytest.raises(TypeError, match="'rb'"):
        load_audio(io.StringIO("text"))
    with pytest.raises(ValueError, match="sampling_rate: sampling rate 10"):
        load_audio(tone, sampling_rate=10)
    with pytest.raises(ValueError, match="array: sampling rate None"):
        load_audio({"array": tone})
    with pytest.raises(ValueError, match="array: empty"):
        load_audio([])
    with pytest.raises(ValueError, match="array: holds NaN"):
        load_audio([0.0, float("nan")])


def test_duration_is_told_without_decoding(tone, tmp_path: Path, monkeypatch):
    path = tmp_path / "tone.flac"
    path.write_bytes(encoded(tone, container="FLAC"))
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    assert audio_duration(path) == SECONDS
    assert audio_duration(tone) == SECONDS
    assert audio_duration({"array": tone, "sampling_rate": 2 * RATE}) == SECONDS / 2
