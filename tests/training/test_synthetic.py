"""synthetic-en from made-up fortunes, spoken by a program that hums: no network, no voice."""

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.training import synthetic, synthetic_voices
from aural.training.synthetic import SPLITS, draw_jobs, make_synthetic_en, package_names, split_of
from aural.training.synthetic_voices import VOICES, Espeak, Flite

RATE = 16_000
HUM = f"""#!{sys.executable} -IS
import array, math, sys, wave
if sys.argv[1] != "-lv":
    given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    stretch = float(given["--setf"].removeprefix("duration_stretch="))
    count = int({RATE} * 0.07 * len(given["-t"]) * stretch)
    with wave.open(given["-o"], "wb") as file:
        file.setparams((1, 2, {RATE}, 0, "NONE", ""))
        step = 0.05 + 0.01 * len(given["-voice"])
        file.writeframes(array.array("h", [int(9000 * math.sin(step * i)) for i in range(count)]).tobytes())
"""
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class Hum:
    """In place of eSpeak NG, which not every machine has."""

    def speak(self, name: str, text: str, rate: float = 1.0) -> tuple[np.ndarray, int]:
        time = np.arange(int(22_050 * 0.07 * len(text) / rate))
        return np.sin(time * (0.05 + 0.001 * len(name))).astype(np.float32), 22_050


def espeak_is_there() -> bool:
    try:
        Espeak()
    except OSError:
        return False
    return True


needs_espeak = pytest.mark.skipif(not espeak_is_there(), reason=synthetic_voices.ESPEAK_MISSING)


@pytest.fixture
def packages(tmp_path) -> Path:
    """Unpacked packages with 144 clauses and a flite that hums."""
    root = tmp_path / "packages"
    fortunes = root / "usr/share/games/fortunes"
    fortunes.mkdir(parents=True)
    said = [f"{first} and {second}." for first in NUMBERS for second in NUMBERS]
    (fortunes / "numbers").write_text("\n%\n".join(said))
    (root / "usr/share/doc/fortunes").mkdir(parents=True)
    (root / "usr/share/doc/fortunes/copyright").write_text("BSD\n")
    (root / "usr/bin").mkdir()
    (root / "usr/bin/flite").write_text(HUM)
    (root / "usr/bin/flite").chmod(0o755)
    return root


@pytest.fixture
def hum(monkeypatch) -> None:
    monkeypatch.setattr(synthetic, "Espeak", Hum)


def tables(out: Path) -> dict[str, list[dict[str, str]]]:
    found = {}
    for split in SPLITS:
        with (out / split / "metadata.csv").open(newline="") as file:
            found[split] = list(csv.DictReader(file))
    return found


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_hours_are_shared_out_and_sentences_and_voices_held_out(hum, packages, tmp_path):
    out = tmp_path / "out"
    summary = make_synthetic_en(out, hours=0.012, packages=packages, workers=1)
    found = tables(out)
    seen = {str(voice) for voice in VOICES if voice.seen}
    sentences = {split: {row["text"] for row in rows} for split, rows in found.items()}
    for split, share in SPLITS.items():
        seconds = [float(row["duration"]) for row in found[split]]
        assert sum(seconds) >= 43.2 * share > sum(seconds[:-1])  # the last clip fills it up
        assert summary.clips[split] == len(seconds)
        assert summary.minutes[split] == pytest.approx(sum(seconds) / 60)
        assert all(split_of(text) == split for text in sentences[split])
        assert all((row["voice"] in seen) == (split != "test-voices") for row in found[split])
    assert len(sentences["train"]) == len(found["train"])  # no sentence twice while there are others
    assert sum(summary.counts["voice"].values()) == sum(summary.clips.values())


def test_recordings_are_16_khz_and_as_long_as_the_table_says(hum, packages, tmp_path):
    make_synthetic_en(tmp_path / "out", hours=0.003, packages=packages, workers=1)
    for split, rows in tables(tmp_path / "out").items():
        for row in rows:
            audio, rate = soundfile.read(tmp_path / "out" / split / row["file_name"])
            assert (rate, audio.ndim) == (RATE, 1)
            assert float(row["duration"]) == round(len(audio) / RATE, 3)
            assert 0.09 < np.abs(audio).max() < 0.9


def test_seed_repeats_a_corpus_and_more_hours_begin_with_fewer(hum, packages, tmp_path):
    for name, hours, seed in (("first", 0.003, 0), ("again", 0.003, 0), ("more", 0.006, 0), ("other", 0.003, 1)):
        make_synthetic_en(tmp_path / name, hours, seed, packages, workers=1)
    first, more, other = (files(tmp_path / name) for name in ("first", "more", "other"))
    assert first == files(tmp_path / "again")
    clips = {name: content for name, content in first.items() if name.endswith(".flac")}
    assert clips.items() <= more.items()
    assert len(more) > len(first)
    assert not set(clips.values()) & set(other.values())


@pytest.mark.full
@needs_espeak
def test_any_number_of_processes_makes_the_same_corpus(packages, tmp_path):
    for workers in (1, 2):
        make_synthetic_en(tmp_path / str(workers), 0.02, packages=packages, workers=workers)
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_pace_is_what_was_drawn_whatever_the_pitch(monkeypatch, packages):
    plain = synthetic.draw_setting(np.random.default_rng(0))
    studio = synthetic.Studio.__new__(synthetic.Studio)
    studio._engines = {"espeak": Hum()}
    job = synthetic.Job((0, 0, 0), "a" * 40, VOICES[-1])
    for pitch in (0.9, 1.1):
        options = plain.__dict__ | {"pitch": pitch, "pace": 0.8, "reverberation": None}
        monkeypatch.setattr(synthetic, "draw_setting", lambda _, options=options: type(plain)(**options))
        assert studio.take(job).seconds == pytest.approx(0.07 * 40 / 0.8, abs=0.001)


def test_sentences_come_again_in_another_order_when_all_are_said():
    jobs = draw_jobs("train", ["a", "b", "c", "d", "e"], 0)
    turns = [[next(jobs).text for _ in range(5)] for _ in range(6)]
    assert all(sorted(turn) == ["a", "b", "c", "d", "e"] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    with pytest.raises(OSError, match="no sentence for dev"):
        next(draw_jobs("dev", [], 0))


def test_two_in_five_clips_are_flites_and_every_voice_of_a_split_speaks():
    for split, seen in (("train", True), ("test-voices", False)):
        jobs = draw_jobs(split, ["a", "b"], 0)
        voices = [next(jobs).voice for _ in range(1_000)]
        assert np.mean([voice.engine == "flite" for voice in voices]) == pytest.approx(0.4, abs=0.05)
        assert set(voices) == {voice for voice in VOICES if voice.seen == seen}


def test_one_voice_of_flite_and_three_of_espeak_are_held_out_and_no_variant_is_in_both():
    unseen = [voice for voice in VOICES if not voice.seen]
    assert sum(voice.engine == "flite" for voice in unseen) == 1
    assert sum(voice.engine == "espeak" for voice in unseen) >= 3
    variants = [[voice.name.split("+")[-1] for voice in VOICES if voice.seen == seen] for seen in (True, False)]
    assert not set(variants[0]) & set(variants[1])


def test_splits_part_at_4_8_and_12_of_a_hundred():
    expected = {3: "dev", 4: "test-sentences", 7: "test-sentences", 8: "test-voices", 11: "test-voices", 12: "train"}
    found: dict[int, str] = {}
    for text in map(str, range(3_000)):
        bucket = int(hashlib.sha1(text.encode()).hexdigest(), 16) % 100
        if bucket in expected:
            found.setdefault(bucket, split_of(text))
    assert found == expected


def test_voice_that_says_more_than_its_text_is_left_out_and_counted(monkeypatch, packages, tmp_path):
    class Stammer(Hum):
        def speak(self, name, text, rate=1.0):
            audio, sampling_rate = super().speak(name, text, rate)
            return (np.tile(audio, 6) if "and one" in text else audio), sampling_rate

    monkeypatch.setattr(synthetic, "Espeak", Stammer)
    monkeypatch.setattr(synthetic, "FLITE_SHARE", 0.0)
    summary = make_synthetic_en(tmp_path / "out", 0.02, packages=packages, workers=1)
    assert summary.skipped["length and text disagree"] > 0
    assert not any(row["text"].endswith("and one") for rows in tables(tmp_path / "out").values() for row in rows)


def test_voices_that_say_nothing_end_the_making(monkeypatch, packages, tmp_path):
    class Silent(Hum):
        def speak(self, name, text, rate=1.0):
            return np.zeros(0, np.float32), 22_050

    monkeypatch.setattr(synthetic, "Espeak", Silent)
    monkeypatch.setattr(synthetic, "FLITE_SHARE", 0.0)
    with pytest.raises(OSError, match=r"50 clips one after another .* the voice said nothing"):
        make_synthetic_en(tmp_path / "out", 0.01, packages=packages, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_sources_and_licences_lie_beside_the_recordings(hum, packages, tmp_path):
    make_synthetic_en(tmp_path / "out", 0.001, packages=packages, workers=1)
    attribution = (tmp_path / "out/ATTRIBUTION.md").read_text()
    assert all(part in attribution for part in ("fortunes", "Carnegie Mellon", "eSpeak NG", "GPL-3.0"))
    assert (tmp_path / "out/licences/fortunes.txt").read_text() == "BSD\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hours": 0.0}, r"hours=0\.0"),
        ({"hours": float("nan")}, "hours=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"workers": 0}, "workers=0"),
    ],
)
def test_numbers_out_of_range_are_named(packages, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_synthetic_en(tmp_path / "out", packages=packages, **options)


def test_missing_espeak_says_what_to_install_before_anything_is_made(monkeypatch, packages, tmp_path):
    monkeypatch.setattr(synthetic_voices.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(synthetic_voices.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(OSError, match=r"pip install espeakng-loader.*Debian's package espeak-ng"):
        make_synthetic_en(tmp_path / "out", packages=packages, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_missing_or_failing_flite_is_named_with_its_complaint(hum, packages, tmp_path):
    program = packages / "usr/bin/flite"
    program.write_text("#!/bin/sh\necho 'libasound.so.2: cannot open' >&2\nexit 127\n")
    with pytest.raises(OSError, match=r"flite does not run: libasound\.so\.2"):
        make_synthetic_en(tmp_path / "out", packages=packages, workers=1)
    program.unlink()
    with pytest.raises(OSError, match="it is in Debian's package flite"):
        make_synthetic_en(tmp_path / "out", packages=packages, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_flite_finds_its_libraries_where_they_were_unpacked(packages):
    (packages / "usr/lib/some-linux-gnu").mkdir(parents=True)
    program = packages / "usr/bin/flite"
    program.write_text(
        f"#!/bin/sh\ncase $LD_LIBRARY_PATH in {packages}/usr/lib/some-linux-gnu*) ;; *) exit 1;; esac\n"
    )
    Flite(packages)


@pytest.mark.parametrize(("answer", "name"), [(b"Depends: libasound2t64\n", "libasound2t64"), (b"", "libasound2")])
def test_sound_library_has_the_name_that_the_system_gives_it(monkeypatch, answer, name):
    monkeypatch.setattr(synthetic.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(synthetic, "run_tool", lambda *_: answer)
    assert package_names()[-1] == name


@needs_espeak
def test_every_voice_of_espeak_says_the_same_whatever_was_said_before():
    espeak = Espeak()
    names = [voice.name for voice in VOICES if voice.engine == "espeak"]
    first = [espeak.speak(name, "never look back", 1.1) for name in names]
    for name, (audio, rate) in zip(reversed(names), reversed(first), strict=True):
        again, _ = espeak.speak(name, "never look back", 1.1)
        np.testing.assert_array_equal(again, audio, err_msg=name)
        assert 0.5 < len(audio) / rate < 2.0
        assert np.abs(audio).max() > 0.1
    assert len({audio.tobytes() for audio, _ in first}) == len(names)


@needs_espeak
def test_espeak_speaks_at_the_rate_asked_and_refuses_unknown_accents():
    espeak = Espeak()
    slow, fast = (len(espeak.speak("en-us+m1", "the quick brown fox jumps over", rate)[0]) for rate in (0.8, 1.2))
    assert 1.3 < slow / fast < 1.7
    with pytest.raises(OSError, match="no voice 'xx-none'"):
        espeak.speak("xx-none", "a")
