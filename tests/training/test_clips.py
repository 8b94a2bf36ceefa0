"""The recordings that are shipped: whole, small, readable, credited."""

import csv
import gzip
import re
import shutil
import string

import numpy as np
import pytest
import soundfile

from aural.training import clips as clips_module
from aural.training.clips import KINDS, clips_folder, load_clips, make_clips, trim
from aural.training.corpora import split_of
from tests.training.test_corpora import COPYRIGHT, PACKAGE

BESIDES = {"metadata.csv", "LICENSE", "ATTRIBUTION.md"}


@pytest.fixture(scope="module")
def clips():
    return load_clips()


@pytest.fixture(scope="module")
def rows():
    with (clips_folder() / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_folder_is_under_3_mb():
    assert sum(path.stat().st_size for path in clips_folder().iterdir()) < 3_000_000


def test_table_lists_the_files_that_are_there(rows):
    names = [row["file_name"] for row in rows]
    assert len(names) == len(set(names))
    assert set(names) == {path.name for path in clips_folder().iterdir()} - BESIDES


def test_every_clip_decodes_to_speech_of_the_stated_duration(clips, rows):
    for clip, row in zip(clips, rows, strict=True):
        assert clip.sampling_rate == 16_000
        assert clip.audio.dtype == np.float32 and clip.audio.ndim == 1
        assert len(clip.audio) / clip.sampling_rate == pytest.approx(float(row["duration"]), abs=0.001)
        assert np.sqrt((clip.audio**2).mean()) > 0.01  # -40 dB of full scale
        assert np.abs(clip.audio).max() <= 1.0


def test_texts_are_words_of_letters_and_apostrophes(clips):
    assert all(re.fullmatch(r"[a-z']+( [a-z']+)*", clip.text) for clip in clips)


def test_length_fits_the_text(clips):
    for clip in clips:
        seconds = len(clip.audio) / clip.sampling_rate
        assert 0.4 < seconds < 6.01
        assert len(clip.text) / seconds < 25, clip.name


def test_all_digits_and_letters_are_there(clips):
    digits = {clip.text for clip in clips if clip.kind == "digit"}
    letters = {clip.text for clip in clips if clip.kind == "letter"}
    assert {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"} <= digits
    assert set("abcdefghijklmnopqrstuvwxyz") <= letters
    assert sum(clip.kind == "phonetic" for clip in clips) == 27


def test_prompts_are_whole_utterances_held_out_by_their_text(clips):
    prompts = [clip.text for clip in clips if clip.kind == "prompt"]
    assert len(prompts) == len(set(prompts)) >= 40
    assert all(len(text.split()) >= 3 and split_of(text) != "train" for text in prompts)


@pytest.mark.parametrize(("kinds", "found"), [("digit", {"digit"}), (["letter", "prompt"], {"letter", "prompt"})])
def test_kinds_choose(kinds, found):
    assert {clip.kind for clip in load_clips(kinds)} == found


def test_all_kinds_come_by_default(clips):
    assert [kind for kind in KINDS if any(clip.kind == kind for clip in clips)] == list(KINDS)


def test_unknown_kind_is_refused_by_name():
    with pytest.raises(ValueError, match=r"kinds=\['digits'\]: allowed are digit"):
        load_clips("digits")


def test_licence_and_attribution_lie_beside():
    licence = (clips_folder() / "LICENSE").read_text()
    assert "Creative Commons" in licence and len(licence) > 10_000
    attribution = (clips_folder() / "ATTRIBUTION.md").read_text()
    needed = ("Allison Smith", "Digium", "`asterisk-core-sounds-en` 1.6.1", "CC-BY-SA-3.0", "Opus", "Changes made")
    assert all(part in attribution for part in needed)


def test_trim_keeps_60_ms_on_either_side():
    word = np.concatenate([np.zeros(8_000), 0.5 * np.ones(4_800), np.zeros(8_000)]).astype(np.float32)
    assert len(trim(word)) == 4_800 + 2 * 960
    assert len(trim(word[8_000:])) == 4_800 + 960


def test_making_without_ffmpeg_is_refused_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    packages = tmp_path / "packages"
    sound = packages / "usr/share/asterisk/sounds/en_US_f_Allison/hello.wav"
    sound.parent.mkdir(parents=True)
    (packages / "usr/share/doc/asterisk-core-sounds-en").mkdir(parents=True)
    soundfile.write(sound, np.zeros(800), 8_000)
    with pytest.raises(OSError, match="clips are made from 16 kHz recordings: ffmpeg"):
        make_clips(packages, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_making_takes_every_word_and_whole_held_out_prompts_without_acronyms(monkeypatch, tmp_path):
    def texts(words, train=False):  # that end in a letter, by the split they fall into
        return (
            t for t in (f"{words} {x}" for x in string.ascii_lowercase) if (split_of(t.lower()) == "train") == train
        )

    kept, quick = list(texts("please hold line"))[:2]
    said = {"digits/4": "four", "letters/w": "w", "letters/dead": "x", "kept": kept, "quick": quick}
    said |= {"few": next(texts("hold")), "acronym": next(texts("the ISN is"))}
    said["trained"] = next(texts("please hold line", train=True))
    seconds = {"kept": 2, "trained": 2, "acronym": 2, "few": 2, "quick": 1}
    docs = tmp_path / "packages/usr/share/doc" / PACKAGE
    docs.mkdir(parents=True)
    (docs / "copyright").write_text(COPYRIGHT)
    with gzip.open(docs / "core-sounds-en.txt.gz", "wt") as file:
        file.writelines(f"{name}: {text}\n" for name, text in said.items())

    def recording(root, name, wideband):
        tone = np.sin(np.arange(int(16_000 * seconds.get(name, 0.5))) / 5).astype(np.float32)
        return tone * (0.001 if name == "letters/dead" else 0.5)

    monkeypatch.setattr(clips_module, "has_wideband", lambda root: True)
    monkeypatch.setattr(clips_module, "read_recording", recording)
    summary = make_clips(tmp_path / "packages", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.opus")} == {
        "digits-4.opus",
        "letters-w.opus",
        "kept.opus",
    }
    assert summary.skipped == {"silent or broken": 1}
    assert {kind: count for kind, count in summary.clips.items() if count} == {"digit": 1, "letter": 1, "prompt": 1}
