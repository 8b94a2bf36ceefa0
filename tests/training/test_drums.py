"""The drum corpus from a made-up tree of unpacked packages: two kits, no network."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.processing.audio import load_audio
from aural.training import drums
from aural.training.drum_labels import COPY, OTHER, TWO, Kit
from aural.training.drums import cut_hit, find_onset, load_drums, make_drums, read_kit

RATE = 44_100
KITS = {
    "Old Kit": Kit(
        "hydrogen-drumkits",
        "Ann",
        "CC-BY-3.0",
        1,
        {"kick": ("Kick",), "hihat": ("Hat",), OTHER: ("Click",)},
        {"half.wav": TWO},
    ),
    "New Kit": Kit("hydrogen-data", "Ben", "GPL-2+", 2, {"kick": ("Boom",), "snare": ("Snare",)}),
}
OLD = """<?xml version="1.0"?>
<drumkit_info><author>Ann A.</author><licence>cc-by</licence><instrumentList>
<instrument><name>Kick</name><filename>kick.wav</filename></instrument>
<instrument><name>Hat</name>
<layer><filename>hat-soft.wav</filename><min>0</min><max>0.25</max></layer>
<layer><filename>hat-hard.wav</filename><min>0.25</min><max>1</max></layer>
<layer><filename>half.wav</filename><min>0.25</min><max>1</max></layer></instrument>
<instrument><name>Click</name><filename>click.wav</filename></instrument>
<instrument><name>Theremin</name><filename>click.wav</filename></instrument>
<instrument><name>17</name><filename>click.wav</filename></instrument>
<instrument><name></name></instrument>
</instrumentList></drumkit_info>
"""
NEW = """<?xml version="1.0"?>
<drumkit_info xmlns="http://www.hydrogen-music.org/drumkit"><author>Ben</author><license>GPL</license><instrumentList>
<instrument><name>Boom (Maker 22")</name><instrumentComponent>
<layer><filename>boom.wav</filename><max>1</max></layer></instrumentComponent></instrument>
<instrument><name>Snare</name><instrumentComponent>
<layer><filename>same-as-kick.wav</filename><max>0.5</max></layer>
<layer><filename>gone.wav</filename><max>0.8</max></layer>
<layer><filename>snare.wav</filename><max>1</max></layer></instrumentComponent></instrument>
</instrumentList></drumkit_info>
"""
COPYRIGHT = "Files: *\nLicense: GPL-2+\n\nLicense: CC-BY-3.0\n THE WORK.\n .\n 1. Definitions.\n"


def hit(seconds: float, frequency: float = 400.0, silence: float = 0.0, decay: float = 0.1) -> np.ndarray:
    """Silence, then a tone that begins at its loudest and dies away, stereo with a silent right side."""
    time = np.arange(int(seconds * RATE)) / RATE
    tone = 0.8 * np.cos(2 * np.pi * frequency * time) * np.exp(-time / decay)
    left = np.concatenate([np.zeros(int(silence * RATE)), tone])
    return np.stack([left, np.zeros_like(left)], axis=1)


@pytest.fixture
def packages(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(drums, "KITS", KITS)
    root = tmp_path / "packages"
    sounds = {
        "Old Kit/kick.wav": hit(0.3, 80),
        "Old Kit/hat-soft.wav": hit(0.2, 5_000, silence=0.3),
        "Old Kit/hat-hard.wav": hit(3.0, 4_000, decay=10.0),
        "Old Kit/half.wav": hit(0.2, 4_100),
        "Old Kit/click.wav": hit(0.2, 4_200),
        "New Kit/boom.wav": hit(0.4, 60),
        "New Kit/same-as-kick.wav": hit(0.3, 80),
        "New Kit/snare.wav": hit(0.2, 300),
    }
    for name, wave in sounds.items():
        path = root / "usr/share/hydrogen/data/drumkits" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, RATE, subtype="PCM_16")
    for name, text in (("Old Kit", OLD), ("New Kit", NEW)):
        (root / "usr/share/hydrogen/data/drumkits" / name / "drumkit.xml").write_text(text)
    for package in drums.PACKAGES:
        (root / "usr/share/doc" / package).mkdir(parents=True)
        (root / "usr/share/doc" / package / "copyright").write_text(COPYRIGHT)
    (root / "usr/share/common-licenses").mkdir()
    (root / "usr/share/common-licenses/GPL-2").write_text("GNU GENERAL PUBLIC LICENSE\n")
    return root


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_hits_are_labelled_by_the_table_and_velocity_is_kept_where_there_are_layers(packages, tmp_path):
    make_drums(tmp_path / "out", packages)
    columns = ("file_name", "label", "kit", "fold", "instrument", "velocity", "licence")
    assert [tuple(row[column] for column in columns) for row in rows(tmp_path / "out")] == [
        ("old-kit/001-kick.flac", "kick", "Old Kit", "1", "Kick", "", "CC-BY-3.0"),
        ("old-kit/002-hat.flac", "hihat", "Old Kit", "1", "Hat", "0.25", "CC-BY-3.0"),
        ("old-kit/003-hat.flac", "hihat", "Old Kit", "1", "Hat", "1", "CC-BY-3.0"),
        ("new-kit/001-boom.flac", "kick", "New Kit", "2", "Boom", "", "GPL-2+"),
        ("new-kit/002-snare.flac", "snare", "New Kit", "2", "Snare", "1", "GPL-2+"),
    ]


def test_what_is_left_out_is_counted_by_reason(packages, tmp_path):
    summary = make_drums(tmp_path / "out", packages)
    assert summary.skipped == {
        TWO: 1,
        OTHER: 1,
        "instrument that is not in the table": 1,
        "instrument without a name": 1,
        "the recording is missing": 1,
        COPY: 1,
    }


def test_summary_counts_folds_labels_and_kits(packages, tmp_path):
    summary = make_drums(tmp_path / "out", packages)
    assert summary.clips == {"fold 1": 3, "fold 2": 2, "fold 3": 0, "fold 4": 0, "fold 5": 0}
    assert {label: count for label, count in summary.counts["label"].items() if count} == {
        "kick": 2,
        "hihat": 2,
        "snare": 1,
    }
    assert summary.counts["kit"] == {"Old Kit": 3, "New Kit": 2}
    seconds = sum(float(row["duration"]) for row in rows(tmp_path / "out"))
    assert sum(summary.minutes.values()) * 60 == pytest.approx(seconds)
    assert all(part in str(summary) for part in ("5 clips", "kick 2", "Old Kit 3", "CC-BY-3.0, GPL-2+"))


def test_recordings_are_mono_16_khz_from_just_before_the_stroke_for_two_seconds_at_most(packages, tmp_path):
    make_drums(tmp_path / "out", packages)
    for row in rows(tmp_path / "out"):
        audio, rate = soundfile.read(tmp_path / "out" / row["file_name"])
        assert (rate, audio.ndim) == (16_000, 1)
        assert float(row["duration"]) == round(len(audio) / rate, 3)
        assert np.abs(audio).max() == pytest.approx(0.4, abs=0.05)  # the mean of a tone of 0.8 and of silence
        assert np.abs(audio[:48]).max() > 0.2  # the stroke, within 3 ms
    assert float(rows(tmp_path / "out")[1]["duration"]) == pytest.approx(0.2, abs=0.013)  # 0.3 s of silence are gone
    assert float(rows(tmp_path / "out")[2]["duration"]) == 2.0


def test_what_overshoots_full_scale_is_not_clipped(packages, tmp_path):
    path = packages / "usr/share/hydrogen/data/drumkits/Old Kit/kick.wav"
    soundfile.write(path, np.sign(hit(0.3, 333)[:, 0]), RATE, subtype="PCM_16")
    expected = cut_hit(load_audio(path, 16_000))
    assert np.abs(expected).max() > 1.05
    make_drums(tmp_path / "out", packages)
    audio, _ = soundfile.read(tmp_path / "out" / "old-kit/001-kick.flac")
    np.testing.assert_allclose(audio, expected / np.abs(expected).max(), atol=1e-4)


def test_authors_and_licences_lie_beside_the_recordings(packages, tmp_path):
    make_drums(tmp_path / "out", packages)
    attribution = (tmp_path / "out/ATTRIBUTION.md").read_text()
    assert "| Old Kit | Ann | CC-BY-3.0 | Ann A.; cc-by | Debian's `hydrogen-drumkits` |" in attribution
    assert "| New Kit | Ben | GPL-2+ | Ben; GPL | Debian's `hydrogen-data` |" in attribution
    assert (tmp_path / "out/licences/CC-BY-3.0.txt").read_text() == "THE WORK.\n\n1. Definitions.\n"
    assert (tmp_path / "out/licences/GPL-2.txt").read_text() == "GNU GENERAL PUBLIC LICENSE\n"
    assert len(list((tmp_path / "out/licences").iterdir())) == 2


def test_where_debian_is_not_the_licence_says_where_it_can_be_read(monkeypatch, packages, tmp_path):
    monkeypatch.setattr(drums, "common_licence", lambda root, name: None)
    make_drums(tmp_path / "out", packages)
    assert "https://www.gnu.org/licenses/" in (tmp_path / "out/licences/GPL-2.txt").read_text()


def test_second_run_gives_the_same_corpus(packages, tmp_path):
    for out in ("first", "second"):
        make_drums(tmp_path / out, packages)
    first, second = (
        sorted(path for path in (tmp_path / out).rglob("*") if path.is_file()) for out in ("first", "second")
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_folder_with_files_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(FileExistsError, match="out="):
        make_drums(tmp_path / "out", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Old Kit/kick.wav", b"no sound", r"kick\.wav"),
        ("New Kit/drumkit.xml", b"<drumkit_info>", r"New Kit/drumkit\.xml is not XML"),
        ("New Kit/drumkit.xml", None, r"New Kit/drumkit\.xml"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_left_behind(packages, tmp_path, name, content, message):
    path = packages / "usr/share/hydrogen/data/drumkits" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(OSError, match=message):
        make_drums(tmp_path / "out", packages)
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_silent_recording_is_refused_by_name(packages, tmp_path):
    path = packages / "usr/share/hydrogen/data/drumkits/Old Kit/kick.wav"
    soundfile.write(path, np.zeros(4_000), RATE)
    with pytest.raises(OSError, match=r"kick\.wav: the recording is silent"):
        make_drums(tmp_path / "out", packages)


def test_velocity_of_a_layer_is_that_of_its_hardest_stroke(packages):
    layers = read_kit(packages / "usr/share/hydrogen/data/drumkits/New Kit")
    assert [(layer.instrument, layer.path.name, layer.velocity) for layer in layers] == [
        ("Boom", "boom.wav", None),
        ("Snare", "same-as-kick.wav", 0.5),
        ("Snare", "gone.wav", 0.8),
        ("Snare", "snare.wav", 1.0),
    ]


def test_hits_are_loaded_by_fold(packages, tmp_path):
    make_drums(tmp_path / "out", packages)
    hits = load_drums(tmp_path / "out")
    assert [(hit.label, hit.kit, hit.fold) for hit in hits[:2]] == [("kick", "Old Kit", 1), ("hihat", "Old Kit", 1)]
    assert hits[0].audio.dtype == np.float32
    assert [hit.name for hit in load_drums(tmp_path / "out", folds=[2])] == [hit.name for hit in hits[3:]]
    with pytest.raises(ValueError, match=r"folds=\[7\]"):
        load_drums(tmp_path / "out", folds=[2, 7])


def test_cut_begins_2_ms_before_the_onset_and_ends_where_the_hit_is_60_db_down():
    audio = np.zeros(8_000, dtype=np.float32)
    audio[1_000] = 0.009  # 41 dB below the peak
    audio[1_100] = 1.0
    audio[2_000] = 0.0011  # 59 dB below
    audio[3_000] = 0.0009  # 61 dB below
    assert find_onset(audio) == 1_100
    cut = cut_hit(audio)
    assert int(np.argmax(cut)) == 32
    assert len(cut) == 960  # 932 samples up to the last that is heard, in whole 10 ms
    np.testing.assert_array_equal(cut, audio[1_068 : 1_068 + 960])


def test_what_rings_on_is_faded_out_over_20_ms():
    cut = cut_hit(np.ones(40_000, dtype=np.float32))
    assert len(cut) == 32_000
    assert (cut[:-320] == 1).all()
    np.testing.assert_allclose(cut[-320:], np.linspace(1, 0, 320), atol=1e-6)


def test_silence_has_no_onset():
    with pytest.raises(ValueError, match="silent"):
        find_onset(np.zeros(100, dtype=np.float32))
