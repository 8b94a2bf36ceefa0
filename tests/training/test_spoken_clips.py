"""Corpora of short clips: what is kept, from a made-up set of recordings."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.training import spoken_clips
from aural.training.spoken_clips import GPL_2, Clip, fault_of, write_clips, write_gpl_2

RATE = 22_050


def record(path: Path, seconds: float, frequency: float = 300.0) -> Path:
    time = np.arange(int(RATE * seconds)) / RATE
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * frequency * time), RATE)
    return path


def test_clips_are_written_at_16_khz_with_a_table_per_split(tmp_path):
    clips = [
        Clip(record(tmp_path / "a.ogg", 1.0), "one-a", "goede morgen", "train", ("one",)),
        Clip(record(tmp_path / "b.ogg", 2.0), "two-b", "é zo'n dag", "test", ("two",)),
    ]
    (tmp_path / "out").mkdir()
    rows = write_clips(tmp_path / "out", clips, ("level",), Counter(), "clips")
    assert rows == {
        "train": [("one-a.flac", "goede morgen", "one", 1.0)],
        "dev": [],
        "test": [("two-b.flac", "é zo'n dag", "two", 2.0)],
    }
    with (tmp_path / "out/test/metadata.csv").open(newline="", encoding="utf-8") as file:
        row = {"file_name": "two-b.flac", "text": "é zo'n dag", "level": "two", "duration": "2.0"}
        assert list(csv.DictReader(file)) == [row]
    info = soundfile.info(tmp_path / "out/test/two-b.flac")
    assert (info.samplerate, info.channels, info.frames) == (16_000, 1, 32_000)


def test_copies_empty_files_and_disagreeing_lengths_are_left_out_and_counted(tmp_path):
    record(tmp_path / "a.wav", 1.0)
    record(tmp_path / "copy.wav", 1.0)
    record(tmp_path / "blink.wav", 0.29)
    record(tmp_path / "empty.wav", 0.0)
    record(tmp_path / "story.wav", 15.1)
    record(tmp_path / "slow.wav", 3.0, 310)
    record(tmp_path / "fast.wav", 1.0, 320)
    texts = {"slow": "zeven a", "fast": "vijfentwintig en nog een l"}  # 7 in 3 s, 26 in 1 s
    names = ("a", "copy", "blink", "empty", "story", "slow", "fast")
    clips = [Clip(tmp_path / f"{name}.wav", name, texts.get(name, "tien weken"), "dev") for name in names]
    (tmp_path / "out").mkdir()
    skipped: Counter[str] = Counter()
    rows = write_clips(tmp_path / "out", clips, (), skipped, "clips")
    assert [row[0] for row in rows["dev"]] == ["a.flac"]
    assert skipped == {
        "same recording as another": 1,
        "shorter than 0.3 s": 2,
        "longer than 15 s": 1,
        "length and text disagree (not 2.5 to 25 characters a second)": 2,
    }


def test_bounds_of_length_and_rate_are_kept():
    assert fault_of("a" * 25, 1.0) is None
    assert fault_of("a" * 5, 2.0) is None
    assert fault_of("a" * 100, 15.0) is None
    assert "disagree" in str(fault_of("a" * 5, 2.01))


def test_broken_recording_is_named(tmp_path):
    (tmp_path / "broken.ogg").write_bytes(b"no sound")
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match=r"cannot read the recording .*broken\.ogg"):
        write_clips(tmp_path / "out", [Clip(tmp_path / "broken.ogg", "x", "tien", "dev")], (), Counter(), "clips")


def test_what_overshoots_full_scale_is_not_clipped(monkeypatch, tmp_path):
    wave = 1.25 * np.sin(np.arange(16_000) / 5, dtype=np.float32)
    monkeypatch.setattr(spoken_clips, "load_audio", lambda *_: wave)
    (tmp_path / "out").mkdir()
    write_clips(tmp_path / "out", [Clip(record(tmp_path / "a.wav", 1.0), "a", "tien weken", "dev")], (), Counter(), "")
    audio, _ = soundfile.read(tmp_path / "out/dev/a.flac")
    np.testing.assert_allclose(audio, wave / np.abs(wave).max(), atol=1e-4)


def test_gpl_2_is_there_in_full_or_says_where_it_can_be_read(monkeypatch, tmp_path):
    (tmp_path / "usr/share/common-licenses").mkdir(parents=True)
    (tmp_path / "usr/share/common-licenses/GPL-2").write_text("GNU GENERAL PUBLIC LICENSE\n")
    write_gpl_2(tmp_path, tmp_path, ["Title: A", "Source: B"])
    assert (tmp_path / "LICENSE").read_text() == "GNU GENERAL PUBLIC LICENSE\n"
    assert "- Title: A\n- Source: B\n- Licence: GNU" in (tmp_path / "ATTRIBUTION.md").read_text()
    monkeypatch.setattr(spoken_clips, "common_licence", lambda *_: None)
    write_gpl_2(tmp_path, tmp_path, [])
    assert GPL_2 in (tmp_path / "LICENSE").read_text()
