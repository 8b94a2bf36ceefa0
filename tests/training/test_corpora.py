"""prompts-en from a made-up tree of unpacked packages: no network, no ffmpeg."""

import csv
import gzip
import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.training import corpora
from aural.training.corpora import (
    has_sure_reading,
    make_prompts_en,
    normalize_prompt,
    read_recording,
    split_of,
)
from aural.training.data import load_speech

PACKAGE = "asterisk-core-sounds-en"
SECONDS = 0.4  # of most recordings
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2003-2010, Allison Smith
License: CC-BY-SA-3.0

License: CC-BY-SA-3.0
 THE WORK IS PROVIDED UNDER THE TERMS OF THIS LICENSE.
 .
 1. Definitions.

License: CC-BY-3.0
 Another text.
"""
SPOKEN = {  # id: (what the transcript says, what is said)
    "activated": ("Activated.", "activated"),
    "digits/4": ("four", "four"),
    "digits/a-m": ("A.M.", "a m"),
    "letters/at": ("at [@]", "at"),
    "vm-toreply": ("press 1 to send a reply", "press one to send a reply"),
    "conf-full": ("That conference is full.", "that conference is full"),
    "vm-goodbye": ("Goodbye", "goodbye"),
    "goodbye": ("Goodbye!", "goodbye"),
    "one-moment-please": ("One moment, please.", "one moment please"),
    "vm-msgsaved": ("Your message has been saved.", "your message has been saved"),
}
SKIPPED = {
    "beep": ("[this is a simple beep tone]", "nothing said (silence, tones)"),
    "confbridge-join": ("<beep ascending>", "nothing said (silence, tones)"),
    "silence/1": ("(1 second of silence)", "nothing said (silence, tones)"),
    "spy-h323": ("H.323", "numbers or signs without a sure reading"),
    "dictate/both_help": ("press * to toggle pause", "numbers or signs without a sure reading"),
    "never-recorded": ("Never recorded.", "no recording"),
    "demo-instruct": ("A long story.", "longer than 15 s"),
}


@pytest.fixture(autouse=True)
def no_tools(monkeypatch):
    """Neither ffmpeg nor apt-get nor dpkg, whatever this machine has."""
    monkeypatch.setattr(shutil, "which", lambda tool: None)


@pytest.fixture
def packages(tmp_path) -> Path:
    """Unpacked packages with recordings of 8 kHz."""
    root = tmp_path / "packages"
    docs, sounds = root / "usr/share/doc" / PACKAGE, root / "usr/share/asterisk/sounds/en_US_f_Allison"
    docs.mkdir(parents=True)
    (docs / "copyright").write_text(COPYRIGHT)
    lines = ["; Core Asterisk Sounds in English", ""]
    lines += [f"{name}: {text}" for name, (text, _) in (SPOKEN | SKIPPED).items()]
    with gzip.open(docs / f"{PACKAGE.removeprefix('asterisk-')}.txt.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    with gzip.open(docs / "changelog.Debian.gz", "wt") as file:
        file.write("asterisk-core-sounds (1.6.1-1) unstable; urgency=medium\n")
    for name in (SPOKEN | SKIPPED).keys() - {"never-recorded"}:
        seconds = 15.5 if name == "demo-instruct" else SECONDS
        wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(8_000 * seconds)) / 8_000)
        path = sounds / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, 8_000, subtype="PCM_16")
    return root


def tables(out: Path) -> dict[str, list[dict[str, str]]]:
    found = {}
    for split in ("train", "dev", "test"):
        with (out / split / "metadata.csv").open(newline="") as file:
            found[split] = list(csv.DictReader(file))
    return found


def test_every_prompt_with_sure_words_is_there_once_with_what_is_said(packages, tmp_path):
    make_prompts_en(tmp_path / "out", packages)
    rows = [row for lines in tables(tmp_path / "out").values() for row in lines]
    assert sorted((row["id"], row["text"]) for row in rows) == sorted(
        (name, said) for name, (_, said) in SPOKEN.items()
    )


def test_split_follows_sha1_of_the_text(packages, tmp_path):
    make_prompts_en(tmp_path / "out", packages)
    rows = tables(tmp_path / "out")
    assert len({row["text"] for row in rows["test"]} | {row["text"] for row in rows["dev"]}) > 0
    for split, lines in rows.items():
        for row in lines:
            bucket = int(hashlib.sha1(row["text"].encode()).hexdigest(), 16) % 100
            assert split == ("test" if bucket < 15 else "dev" if bucket < 25 else "train")


def test_prompts_that_say_the_same_share_a_split(packages, tmp_path):
    make_prompts_en(tmp_path / "out", packages)
    where = {row["id"]: split for split, lines in tables(tmp_path / "out").items() for row in lines}
    assert where["goodbye"] == where["vm-goodbye"] == split_of("goodbye")


def test_recordings_are_resampled_to_16_khz_and_keep_their_length(packages, tmp_path):
    out = tmp_path / "out"
    summary = make_prompts_en(out, packages)
    for split, lines in tables(out).items():
        for row in lines:
            info = soundfile.info(out / split / row["file_name"])
            assert (info.samplerate, info.channels, info.frames) == (16_000, 1, 16_000 * SECONDS)
            assert float(row["duration"]) == SECONDS
    assert "8 kHz resampled" in summary.source


def test_summary_counts_what_was_made_and_what_was_left_out(packages, tmp_path):
    summary = make_prompts_en(tmp_path / "out", packages)
    reasons = [reason for _, reason in SKIPPED.values()]
    assert summary.skipped == {reason: reasons.count(reason) for reason in reasons}
    assert sum(summary.clips.values()) == len(SPOKEN)
    assert sum(summary.minutes.values()) == pytest.approx(len(SPOKEN) * SECONDS / 60)
    assert summary.words == len({word for _, said in SPOKEN.values() for word in said.split()})
    assert all(part in str(summary) for part in ("10 clips", "CC-BY-SA-3.0", "no recording: 1", "8 kHz"))


def test_licence_and_attribution_lie_beside_the_recordings(packages, tmp_path):
    make_prompts_en(tmp_path / "out", packages)
    licence = (tmp_path / "out/LICENSE").read_text()
    assert "THE WORK IS PROVIDED UNDER THE TERMS OF THIS LICENSE.\n\n1. Definitions." in licence
    assert "Another text" not in licence
    attribution = (tmp_path / "out/ATTRIBUTION.md").read_text()
    assert all(part in attribution for part in ("Allison Smith", f"`{PACKAGE}` 1.6.1", "CC-BY-SA-3.0", "resampled"))


def test_corpus_is_read_by_load_speech(packages, tmp_path):
    make_prompts_en(tmp_path / "out", packages)
    train = load_speech(tmp_path / "out", split="train")
    assert sorted(train["text"]) == sorted(row["text"] for row in tables(tmp_path / "out")["train"])


def test_second_run_gives_the_same_corpus(packages, tmp_path):
    for out in ("first", "second"):
        make_prompts_en(tmp_path / out, packages)
    assert tables(tmp_path / "first") == tables(tmp_path / "second")


def test_empty_folder_is_filled(packages, tmp_path):
    (tmp_path / "out").mkdir()
    make_prompts_en(tmp_path / "out", packages)
    assert len(tables(tmp_path / "out")) == 3


def test_folder_with_files_is_refused_and_left_as_it_was(packages, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="out="):
        make_prompts_en(out, packages)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("content", [b"", b"RIFF\x00\x00", b"no sound at all"])
def test_broken_recording_is_named_and_nothing_is_left_behind(packages, tmp_path, content):
    broken = packages / "usr/share/asterisk/sounds/en_US_f_Allison/conf-full.wav"
    broken.write_bytes(content)
    with pytest.raises(OSError, match=r"conf-full\.wav"):
        make_prompts_en(tmp_path / "out", packages)
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_missing_apt_get_says_how_to_go_on_without(tmp_path):
    with pytest.raises(OSError, match=r"apt-get is not on this machine: give packages="):
        make_prompts_en(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_failed_download_gives_the_last_line_and_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "ffmpeg" else f"/usr/bin/{tool}")
    answer = subprocess.CompletedProcess([], 100, b"", b"Reading lists\nE: Unable to locate package")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(OSError, match=r"E: Unable to locate package; run `apt-get update` first, or give packages="):
        make_prompts_en(tmp_path / "out")


def test_folder_without_the_packages_is_refused(tmp_path):
    with pytest.raises(OSError, match="packages="):
        make_prompts_en(tmp_path / "out", tmp_path)


@pytest.mark.parametrize(
    ("transcript", "said"),
    [
        ("Your message (simple tone) has [a] been   saved.", "your message has been saved"),
        ("o'clock", "o'clock"),
        ("It’s o’clock", "it's o'clock"),
        ("We're 'quoted'", "we're quoted"),
        ("press 2, or press 9.", "press two or press nine"),
        ("P.M.", "p m"),
        ("Use the 7 key for Q and the 9 key for Z.", "use the seven key for q and the nine key for z"),
        ("visit www.asterisk.org.", "visit www dot asterisk dot org"),
        ("Re-enter or De-activated, call-forward", "reenter or deactivated call forward"),
        ("exclaimation-point [!]", "exclamation point"),
        ("Un-indentified or witheld", "unidentified or withheld"),
        ("... for ...", "for"),
        ("(10 seconds of silence)", ""),
    ],
)
def test_normalized_text_is_what_is_said(transcript, said):
    assert normalize_prompt(transcript) == said


@pytest.mark.parametrize("transcript", ["dial 500", "H.323", "3D audio", "28.8 kilobit", "followed by #", "press *"])
def test_numbers_and_signs_have_no_sure_reading(transcript):
    assert not has_sure_reading(transcript)


@pytest.mark.parametrize("transcript", ["press 1.", "or 9 to save", "at [@]", "IAX (note: does not say 2)"])
def test_lone_digits_and_remarks_have_a_sure_reading(transcript):
    assert has_sure_reading(transcript)


def test_splits_part_at_15_and_25_of_a_hundred():
    expected, found = {14: "test", 15: "dev", 24: "dev", 25: "train"}, {}
    for text in map(str, range(2000)):
        bucket = int(hashlib.sha1(text.encode()).hexdigest(), 16) % 100
        if bucket in expected:
            found.setdefault(bucket, split_of(text))
    assert found == expected


def test_g722_is_decoded_by_ffmpeg_and_an_empty_answer_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(corpora, "run_tool", lambda *_: np.array([16384, -32768], "<i2").tobytes())
    audio = read_recording(tmp_path, "digits/4", wideband=True)
    assert audio.dtype == np.float32
    assert audio.tolist() == [0.5, -1.0]
    monkeypatch.setattr(corpora, "run_tool", lambda *_: b"")
    with pytest.raises(OSError, match=r"digits/4\.g722: it is empty"):
        read_recording(tmp_path, "digits/4", wideband=True)


def test_comments_are_no_prompts(packages, tmp_path):
    table = packages / "usr/share/doc" / PACKAGE / "core-sounds-en.txt.gz"
    with gzip.open(table, "at") as file:
        file.write("; name: what is said\n")
    assert make_prompts_en(tmp_path / "out", packages).skipped["no recording"] == 1  # as without the comment
