"""Streams of audio and features against the whole recording: `load_audio` and `log_mel` in one call."""

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from aural.processing import audio, load_audio, streaming
from aural.processing.log_mel import LogMelOptions, log_mel
from aural.processing.streaming import log_mel_stream, open_stream


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def encoded(wave: np.ndarray, rate: int = 16_000, container: str = "WAV", codec: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=container, subtype=codec)
    return file.getvalue()


def streamed(source: object, sampling_rate: int = 16_000) -> np.ndarray:
    with open_stream(source, sampling_rate) as stream:
        return np.concatenate(list(stream.blocks))


def pieces(wave: np.ndarray, size: int) -> list[np.ndarray]:
    return [wave[start : start + size] for start in range(0, len(wave), size)]


SOURCES = {
    "mono at the rate": encoded(noise(30_011)),
    "stereo": encoded(noise(60_000).reshape(-1, 2)),
    "44.1 kHz stereo": encoded(noise(88_202).reshape(-1, 2), 44_100),
    "8 kHz FLAC": encoded(noise(8_001), 8_000, "FLAC"),
    "MP3": encoded(noise(40_000), 16_000, "MP3", "MPEG_LAYER_III"),
    "array": noise(20_000),
    "array at 22 kHz": {"array": noise(50_001), "sampling_rate": 22_050},
    "16-bit array": (noise(9_000) * 32_767).astype(np.int16),
}


@pytest.mark.parametrize("size", [997, 1 << 20])
@pytest.mark.parametrize("source", SOURCES)
def test_blocks_of_any_size_are_the_samples_of_load_audio(monkeypatch, source, size):
    expected = load_audio(SOURCES[source])
    monkeypatch.setattr(audio, "BLOCK", size)
    monkeypatch.setattr(streaming, "BLOCK_SAMPLES", size)
    np.testing.assert_array_equal(streamed(SOURCES[source]), expected)


def test_the_length_is_told_before_the_audio_is_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(44_100), 44_100)
    with open_stream(tmp_path / "a.wav") as stream:
        assert (stream.name, stream.seconds) == (str(tmp_path / "a.wav"), 1.0)
    data = encoded(noise(16_000), container="FLAC")
    with open_stream(data[:21] + bytes([data[21] & 0xF0, 0, 0, 0, 0]) + data[26:]) as stream:
        assert stream.seconds is None
        assert sum(map(len, stream.blocks)) == 16_000


def broken(index: int, value: float) -> bytes:
    wave = noise(5_000)
    wave[index] = value
    return encoded(wave, codec="FLOAT")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (broken(3_210, np.nan), "holds NaN or infinity, first at sample 3210"),
        (broken(4_999, -np.inf), "holds NaN or infinity, first at sample 4999"),
        (encoded(noise(9_000))[:-300], "truncated"),
        (encoded(noise(9_000), container="FLAC")[:-3_000], "truncated"),
        (encoded(noise(0)), "empty"),
        (b"", "empty"),
        (b"no sound at all" * 9, "not audio"),
        (encoded(noise(1), 48_000), "1 samples at 48000 Hz are too few to resample to 16000 Hz"),
        (np.zeros(0, np.float32), "empty"),
        (np.array([0.0, np.inf]), "first at sample 1"),
    ],
)
def test_what_load_audio_refuses_is_refused(monkeypatch, content, reason):
    monkeypatch.setattr(audio, "BLOCK", 1_000)
    for read in (load_audio, streamed):
        with pytest.raises(ValueError, match=reason):
            read(content)


def test_a_file_is_read_as_its_blocks_are_asked_for(monkeypatch):
    monkeypatch.setattr(audio, "BLOCK", 1_000)
    with open_stream(broken(4_000, np.nan)) as stream:
        assert len(next(stream.blocks)) == 1_001  # and the fault is not met yet


LENGTHS = (1, 79, 199, 399, 400, 401, 559, 560, 561, 16_000, 16_081, 50_007)
OPTIONS = {
    "Kaldi": {},
    "mirrored ends": {"snip_edges": False},
    "dither": {"dither": 1.0},
    "dither, mirrored ends": {"dither": 1.0, "snip_edges": False},
    "gaps between frames": {"frame_shift_ms": 40.0},
    "gaps between frames, mirrored ends": {"frame_shift_ms": 90.0, "snip_edges": False},
    "frames that barely overlap": {"frame_shift_ms": 24.0, "snip_edges": False},
}


@pytest.mark.parametrize("size", [1, 160, 397, 4_096, 1 << 20])
@pytest.mark.parametrize("name", OPTIONS)
def test_rows_of_blocks_are_those_of_the_whole(name, size):
    options = LogMelOptions(**OPTIONS[name])
    for samples in LENGTHS if size > 1 else LENGTHS[:9]:
        wave = noise(samples, seed=samples)
        blocks = list(log_mel_stream(iter(pieces(wave, size)), options))
        assert all(map(len, blocks))
        rows, expected = torch.cat(blocks), log_mel([torch.from_numpy(wave)], options)[0]
        assert rows.shape == expected.shape
        torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)


def test_rows_come_before_the_end_and_little_is_held():
    read = []

    def blocks():
        for index in range(1_000):
            read.append(index)
            yield noise(1_600, seed=index)

    rows = log_mel_stream(blocks(), LogMelOptions(dither=1.0))
    for _ in range(5):
        next(rows)
    assert len(read) == 5
    framer = streaming._Framer(LogMelOptions())
    for block in blocks():
        framer.add(torch.from_numpy(block))
        assert framer.held.untyped_storage().nbytes() <= 4 * 4 * 400  # samples of four frames


def test_the_noise_of_dither_is_there(monkeypatch):
    options = LogMelOptions(dither=1.0)
    silence = np.zeros(8_000, np.float32)
    noisy, quiet = (torch.cat(list(log_mel_stream([silence], o))) for o in (options, replace(options, dither=0.0)))
    assert (noisy - quiet).abs().mean() > 1
