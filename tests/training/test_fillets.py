"""fillets-nl from a made-up tree of unpacked packages: no network."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.training.fillets import PACKAGES, make_fillets_nl, read_dialogs, split_of_level

GAME = Path("usr/share/games/fillets-ng")
TRAIN, DEV, TEST = "city", "reactor", "aztec"  # by sha1, see the test of the split
LINES = {  # level: id: (text, said, or why it is left out)
    TRAIN: {
        "a-1": ("Hé, wat is dat?", "hé wat is dat"),
        "a-2": ("Zo'n  grote - vis!", "zo'n grote vis"),
        "a-3": ('Zij zei: \\"Kom\\".', "zij zei kom"),
        "a-4": ("Dit is een XT met 12 vissen.", None),
        "a-5": ("...", None),
        "a-6": ("Ik weet het niet.", None),
    },
    DEV: {"b-1": ("Daar gaan we!", "daar gaan we")},
    TEST: {"c-1": ("Ik weet het niet!", "ik weet het niet"), "c-2": ("Daar gaan we.", "daar gaan we")},
}


@pytest.fixture
def packages(tmp_path) -> Path:
    root = tmp_path / "packages"
    for number, (level, lines) in enumerate(LINES.items()):
        sounds, script = root / GAME / "sound" / level / "nl", root / GAME / "script" / level
        sounds.mkdir(parents=True)
        script.mkdir(parents=True)
        text = "-- Init\n"
        for tone, (name, (line, _)) in enumerate(lines.items()):
            text += f'dialogId("{name}", "font_small", "Say \\"this\\", (once).")\ndialogStr("{line}")\n\n'
            wave = 0.3 * np.sin(np.arange(22_050) / (5 + tone + 10 * number))
            soundfile.write(sounds / f"{name}.ogg", wave, 22_050)
        (script / "dialogs_nl.lua").write_text(text, encoding="utf-8")
    wave = np.sin(np.arange(22_050) / 3)
    soundfile.write(root / GAME / "sound" / TRAIN / "nl" / "no-line.ogg", wave, 22_050)
    (root / GAME / "sound/share/border/nl").mkdir(parents=True)
    soundfile.write(root / GAME / "sound/share/border/nl/no-script.ogg", wave, 22_050)
    for package in PACKAGES:
        (root / "usr/share/doc" / package).mkdir(parents=True)
    return root


def tables(out: Path) -> dict[str, list[dict[str, str]]]:
    found = {}
    for split in ("train", "dev", "test"):
        with (out / split / "metadata.csv").open(newline="", encoding="utf-8") as file:
            found[split] = list(csv.DictReader(file))
    return found


def test_levels_are_held_out_whole_and_their_lines_leave_train(packages, tmp_path):
    make_fillets_nl(tmp_path / "out", packages)
    found = tables(tmp_path / "out")
    for split, level in {"train": TRAIN, "dev": DEV, "test": TEST}.items():
        bucket = int(hashlib.sha1(level.encode()).hexdigest(), 16) % 100
        assert split == ("test" if bucket < 12 else "dev" if bucket < 22 else "train")
        said = [(f"{level}-{name}.flac", said, level) for name, (_, said) in LINES[level].items() if said]
        assert [(row["file_name"], row["text"], row["level"]) for row in found[split]] == said
    assert all(float(row["duration"]) == 1.0 for rows in found.values() for row in rows)
    info = soundfile.info(tmp_path / "out/train" / f"{TRAIN}-a-1.flac")
    assert (info.samplerate, info.frames) == (16_000, 16_000)


def test_what_is_left_out_is_counted_by_reason(packages, tmp_path):
    summary = make_fillets_nl(tmp_path / "out", packages)
    assert summary.skipped == {
        "recording without a line": 2,
        "numbers or signs without a sure reading": 1,
        "nothing said": 1,
        "training line that is also held out": 1,
    }
    assert summary.clips == {"train": 3, "dev": 1, "test": 2}
    assert summary.minutes["test"] == pytest.approx(2 / 60)
    said = "hé wat is dat zo'n grote vis zij zei kom ik weet het niet daar gaan we"
    assert summary.words == len(said.split())


def test_licence_and_attribution_lie_beside_the_recordings(packages, tmp_path):
    make_fillets_nl(tmp_path / "out", packages)
    attribution = (tmp_path / "out/ATTRIBUTION.md").read_text()
    assert all(part in attribution for part in ("ALTAR interactive", "`fillets-ng-data-nl`", "GPL-2", "resampled"))
    assert (tmp_path / "out/LICENSE").is_file()


def test_second_run_gives_the_same_corpus(packages, tmp_path):
    for out in ("first", "second"):
        make_fillets_nl(tmp_path / out, packages)
    assert tables(tmp_path / "first") == tables(tmp_path / "second")


def test_dialogs_are_read_with_their_escapes_and_comments(tmp_path):
    text = """
-- When standing
dialogId("one", "font_big", "He said \\"no\\" (twice).")
dialogStr("Hij zei \\"nee\\" (tweemaal).")
--dialogId("old", "font_big", "x")
--dialogStr("oud")
dialogId("two","font_small","A")
dialogStr("  \\\\/etc ")
dialogId("never", "font_small", "B")
"""
    (tmp_path / "dialogs_nl.lua").write_text(text)
    assert read_dialogs(tmp_path / "dialogs_nl.lua") == {"one": 'Hij zei "nee" (tweemaal).', "two": "\\/etc"}


def test_splits_of_levels_part_at_12_and_22_of_a_hundred():
    expected, found = {11: "test", 12: "dev", 21: "dev", 22: "train"}, {}
    for level in map(str, range(2000)):
        bucket = int(hashlib.sha1(level.encode()).hexdigest(), 16) % 100
        if bucket in expected:
            found.setdefault(bucket, split_of_level(level))
    assert found == expected


def test_broken_recording_is_named_and_nothing_is_left_behind(packages, tmp_path):
    (packages / GAME / "sound" / DEV / "nl/b-1.ogg").write_bytes(b"no sound")
    with pytest.raises(OSError, match=r"b-1\.ogg"):
        make_fillets_nl(tmp_path / "out", packages)
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_folder_with_files_and_folder_without_packages_are_refused(packages, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine").write_text("mine")
    with pytest.raises(FileExistsError, match="out="):
        make_fillets_nl(tmp_path / "taken", packages)
    with pytest.raises(OSError, match="packages="):
        make_fillets_nl(tmp_path / "out", tmp_path / "taken")
