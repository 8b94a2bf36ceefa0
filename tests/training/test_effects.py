"""The corpus `effects` from packages made here, in the layout of the Debian package."""

import csv

import numpy as np
import pytest
import soundfile

from aural.training.effects import EFFECTS, load_effects, make_effects
from aural.training.mix_grammar import FAMILIES
from tests.small_corpora import tone

STAMPS = "usr/share/tuxpaint/stamps"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    root = tmp_path_factory.mktemp("packages")
    for number, stamp in enumerate(EFFECTS.values()):
        path = root / STAMPS / f"{stamp}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(number, 0.3 + 0.05 * number, 22_050), 22_050)
    return root


@pytest.fixture(scope="module")
def corpus(packages, tmp_path_factory):
    out = tmp_path_factory.mktemp("effects") / "corpus"
    return out, make_effects(out, packages)


def test_every_effect_is_there_once_at_16_khz(corpus):
    folder, summary = corpus
    assert summary.clips == {"all": len(EFFECTS)} == {"all": 20}
    with (folder / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"]: row["stamp"] for row in rows} == EFFECTS
    for row in rows:
        info = soundfile.info(folder / row["file_name"])
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert float(row["duration"]) == pytest.approx(info.frames / 16_000, abs=1e-3)


def test_effects_are_loaded_as_they_lie_there(corpus):
    folder, _ = corpus
    loaded = load_effects(folder)
    assert [effect.label for effect in loaded] == list(EFFECTS)
    expected, _ = soundfile.read(folder / "dog.flac", dtype="float32")
    np.testing.assert_array_equal(next(one.audio for one in loaded if one.label == "dog"), expected)


def test_licence_and_attribution_lie_beside_the_recordings(corpus):
    folder, _ = corpus
    text = (folder / "ATTRIBUTION.md").read_text()
    assert "Tux Paint stamps, sound effects" in text and "GPL-2" in text
    assert (folder / "LICENSE").is_file()


def test_a_missing_recording_is_named_and_nothing_is_left(packages, tmp_path):
    dog = packages / STAMPS / f"{EFFECTS['dog']}.ogg"
    content = dog.read_bytes()
    dog.unlink()
    try:
        with pytest.raises(OSError, match=r"dog\.ogg"):
            make_effects(tmp_path / "out", packages)
    finally:
        dog.write_bytes(content)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="new or empty"):
        make_effects(tmp_path)


def test_no_effect_has_the_name_of_a_drum():
    assert not set(EFFECTS) & set(FAMILIES)
