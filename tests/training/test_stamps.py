"""stamps from a made-up tree of an unpacked package: no network."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.training.stamps import PACKAGE, make_stamps, read_description

STAMPS = {  # picture: (description, languages with a recording, what is said in French)
    "animals/birds/duck": ("A duck.\nfr.utf8=Un canard.\nes.utf8=Un pato.\n", ("fr", "es"), "un canard"),
    "animals/donkey": ("A donkey.\nca.utf8=Un ase.\nfr.utf8=L’âne “gris” !\n", ("fr",), "l'âne gris"),
    "hobbies/calculator": ("A calculator.\nfr.utf8=Une calculatrice. 6x7=42\n", ("fr",), None),
    "hobbies/ball": ("A ball.\nes.utf8=Una pelota.\n", ("fr", "es"), None),
    "hobbies/bat": (None, ("fr",), None),
}


@pytest.fixture
def packages(tmp_path) -> Path:
    root = tmp_path / "packages"
    for number, (stamp, (description, languages, _)) in enumerate(STAMPS.items()):
        path = root / "usr/share/tuxpaint/stamps" / stamp
        path.parent.mkdir(parents=True, exist_ok=True)
        if description:
            path.with_suffix(".txt").write_text(description, encoding="utf-8")
        for among, language in enumerate(languages):
            wave = 0.3 * np.sin(np.arange(44_100) / (20 + 2 * number + among))
            soundfile.write(path.with_name(f"{path.name}_desc_{language}.ogg"), np.stack([wave, wave], 1), 44_100)
        soundfile.write(path.with_suffix(".ogg"), wave, 44_100)  # the effect
    copies = root / "usr/share/tuxpaint/stamps/animals/birds"
    (copies / "drake.txt").write_text("A drake.\nfr.utf8=Un canard\n", encoding="utf-8")
    (copies / "drake_desc_fr.ogg").write_bytes((copies / "duck_desc_fr.ogg").read_bytes())
    (root / "usr/share/doc" / PACKAGE).mkdir(parents=True)
    return root


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    """Every row by its file name, with its split."""
    found = {}
    for split in ("train", "dev", "test"):
        with (out / split / "metadata.csv").open(newline="", encoding="utf-8") as file:
            found |= {row["file_name"]: row | {"split": split} for row in csv.DictReader(file)}
    return found


def test_descriptions_in_french_are_there_once_with_their_letters(packages, tmp_path):
    summary = make_stamps(tmp_path / "out", packages=packages)
    found = rows_of(tmp_path / "out")
    assert {name: (row["text"], row["language"], row["id"]) for name, row in found.items()} == {
        "fr-animals-donkey.flac": ("l'âne gris", "fr", "animals/donkey"),
        "fr-animals-birds-drake.flac": ("un canard", "fr", "animals/birds/drake"),
    }
    assert summary.skipped == {
        "recording without a text": 2,
        "same recording as another": 1,
        "numbers or signs without a sure reading": 1,
    }


def test_split_follows_sha1_of_the_text(packages, tmp_path):
    make_stamps(tmp_path / "out", ["fr", "es"], packages)
    for name, row in rows_of(tmp_path / "out").items():
        bucket = int(hashlib.sha1(row["text"].encode()).hexdigest(), 16) % 100
        assert row["split"] == ("test" if bucket < 15 else "dev" if bucket < 25 else "train")
        info = soundfile.info(tmp_path / "out" / row["split"] / name)
        assert (info.samplerate, info.channels, info.frames) == (16_000, 1, 16_000)
        assert float(row["duration"]) == 1.0


def test_several_languages_lie_side_by_side(packages, tmp_path):
    summary = make_stamps(tmp_path / "out", ["es", "fr"], packages)
    found = rows_of(tmp_path / "out")
    assert {row["language"] for row in found.values()} == {"es", "fr"}
    assert found["es-animals-birds-duck.flac"]["text"] == "un pato"
    assert "es, fr" in summary.source
    assert sum(summary.clips.values()) == len(found) == 4


@pytest.mark.parametrize("languages", [["fr", "xx"], [], ["ca"]])
def test_language_without_recordings_is_refused_with_those_there_are(packages, tmp_path, languages):
    with pytest.raises(ValueError, match=r"languages=.*fr \(6\), es \(2\)"):
        make_stamps(tmp_path / "out", languages, packages)
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_description_is_read_by_language_without_its_first_line(tmp_path):
    (tmp_path / "a.txt").write_text("An a=b.\nfr.utf8=Un a=b. \npt_BR.utf8=Um a\n\n", encoding="utf-8")
    assert read_description(tmp_path / "a.txt") == {"fr": "Un a=b.", "pt_BR": "Um a"}


def test_licence_and_attribution_lie_beside_the_recordings(packages, tmp_path):
    make_stamps(tmp_path / "out", packages=packages)
    attribution = (tmp_path / "out/ATTRIBUTION.md").read_text()
    assert all(part in attribution for part in ("Bill Kendrick", f"`{PACKAGE}`", "GPL-2", "resampled"))
    assert (tmp_path / "out/LICENSE").is_file()


def test_second_run_gives_the_same_corpus(packages, tmp_path):
    for out in ("first", "second"):
        make_stamps(tmp_path / out, ["fr", "es"], packages)
    assert rows_of(tmp_path / "first") == rows_of(tmp_path / "second")


def test_folder_with_files_and_folder_without_packages_are_refused(packages, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine").write_text("mine")
    with pytest.raises(FileExistsError, match="out="):
        make_stamps(tmp_path / "taken", packages=packages)
    with pytest.raises(OSError, match="packages="):
        make_stamps(tmp_path / "out", packages=tmp_path / "taken")
