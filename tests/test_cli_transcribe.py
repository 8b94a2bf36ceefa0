"""`aural transcribe` on long files: formats, folders, what goes on after a stop, what careless hands do."""

import json
import os

import numpy as np
import pytest
import soundfile

from aural import cli_recordings, load_recognizer, transcribe
from aural.long_audio import transcribe_long
from aural.processing.subtitles import segment_row, srt_lines, vtt_lines
from tests.test_cli import error_line, run
from tests.test_long_audio import spoken
from tests.whole import save_folder, wave

LIMITS = ("--max-seconds", "6", "--batch-size", "2", "--beams", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = save_folder(tmp_path_factory.mktemp("model")) / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_tokens_per_second": 3.0}))  # little to wait for
    return path.parent


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Half a minute of sound like speech, with six stretches."""
    path = tmp_path_factory.mktemp("sound") / "talk.wav"
    soundfile.write(path, spoken(), 16_000, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def segments(folder, talk):
    model, processor = load_recognizer(folder)
    found = list(transcribe_long(talk, model, processor, 2, 6.0, num_beams=1))
    assert len(found) == 6
    return found


@pytest.fixture
def typed(capsys, monkeypatch, folder):
    """Runs `aural transcribe --model FOLDER --beams 1 … ARGUMENTS`; exit code, output, errors."""

    def call(*arguments):
        return run(capsys, monkeypatch, "transcribe", "--model", folder, *LIMITS, *arguments)

    return call


def stopped_after(monkeypatch, batches: int) -> None:
    """Whoever works stops by Ctrl-C after so many batches."""
    original, done = cli_recordings.recognize_batch, []

    def recognize(*arguments):
        if len(done) == batches:
            raise KeyboardInterrupt
        done.append(1)
        return original(*arguments)

    monkeypatch.setattr(cli_recordings, "recognize_batch", recognize)


def test_text_comes_a_line_for_each_stretch(typed, talk, segments):
    said = [segment.text for segment in segments if segment.text]
    assert typed(talk) == (0, "".join(f"{text}\n" for text in said), "")
    out = typed(talk, talk)[1]
    assert out == "".join(f"{talk}: {text}\n" for text in said) * 2


def test_json_is_a_line_per_stretch_or_per_file(typed, talk, segments):
    rows = [json.loads(line) for line in typed(talk, "--format", "json")[1].splitlines()]
    assert rows == [{"file": str(talk), **segment_row(segment)} for segment in segments]
    line = json.loads(typed(talk, "--json")[1])
    said = " ".join(segment.text for segment in segments if segment.text)
    assert line == {"file": str(talk), "text": said, "seconds": round(len(spoken()) / 16_000, 3)}


def test_subtitles_are_printed_or_written(typed, talk, segments, tmp_path):
    assert typed(talk, "--format", "srt")[1] == "".join(srt_lines(segments))
    assert typed(talk, "--format", "vtt", "--out", tmp_path) == (0, f"{tmp_path / 'talk.vtt'}\n", "")
    assert (tmp_path / "talk.vtt").read_text(encoding="utf-8") == "".join(vtt_lines(segments))
    assert [path.name for path in tmp_path.iterdir()] == ["talk.vtt"]  # no journal, no part


def test_files_short_and_long_are_written_each_to_its_own(typed, folder, talk, segments, tmp_path):
    soundfile.write(tmp_path / "a.wav", wave(1.0), 16_000)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    code, out, err = typed(
        tmp_path / "a.wav", tmp_path / "bad.wav", talk, "--format", "json", "--out", tmp_path / "out"
    )
    assert code == 2
    assert "bad.wav: not audio" in error_line(err)
    assert sorted(out.split()) == [str(tmp_path / "out" / name) for name in ("a.json", "talk.json")]
    document = json.loads((tmp_path / "out" / "talk.json").read_text(encoding="utf-8"))
    assert document["segments"] == [segment_row(segment) for segment in segments]
    short = json.loads((tmp_path / "out" / "a.json").read_text(encoding="utf-8"))
    assert short["text"] == transcribe(tmp_path / "a.wav", folder, num_beams=1)[0].text
    assert short["seconds"] == 1.0


@pytest.mark.parametrize("torn", [b"", b'[{"start": 3.1, "en'])
def test_a_stopped_run_goes_on_to_the_same_result(typed, monkeypatch, talk, tmp_path, torn):
    typed(talk, "--format", "json", "--out", tmp_path)
    expected = (tmp_path / "talk.json").read_bytes()
    (tmp_path / "talk.json").unlink()
    with monkeypatch.context() as patch:
        stopped_after(patch, 2)
        code, out, err = typed(talk, "--format", "json", "--out", tmp_path)
    assert (code, out) == (130, "")
    assert "--resume goes on" in err
    assert [path.name for path in tmp_path.iterdir()] == ["talk.part.jsonl"]
    with (tmp_path / "talk.part.jsonl").open("ab") as journal:
        journal.write(torn)  # what a kill in the middle of a line leaves
    asked, original = [], cli_recordings.recognize_batch
    monkeypatch.setattr(
        cli_recordings, "recognize_batch", lambda waves, *rest: asked.append(len(waves)) or original(waves, *rest)
    )
    assert typed(talk, "--format", "json", "--out", tmp_path, "--resume")[0] == 0
    assert asked == [2]  # the two batches before are not decoded again
    assert (tmp_path / "talk.json").read_bytes() == expected
    assert not (tmp_path / "talk.part.jsonl").exists()


def test_a_journal_is_not_lost_and_not_taken_for_another_run(typed, monkeypatch, talk, tmp_path):
    with monkeypatch.context() as patch:
        stopped_after(patch, 1)
        typed(talk, "--out", tmp_path)
    journal = tmp_path / "talk.part.jsonl"
    content = journal.read_bytes()
    assert "--resume goes on with it" in error_line(typed(talk, "--out", tmp_path)[2])
    options = ("--out", tmp_path, "--resume")
    assert "max_seconds was 6.0, is 7.0" in error_line(typed(talk, *options, "--max-seconds", "7")[2])
    assert "another generate" in error_line(typed(talk, *options, "--beams", "2")[2])
    with monkeypatch.context() as patch:
        patch.setattr("aural.annotation.model_fingerprint", lambda *model: "0" * 64)
        assert "another model" in error_line(typed(talk, *options)[2])
    other = tmp_path / "other" / "talk.wav"
    other.parent.mkdir()
    soundfile.write(other, spoken(seed=9), 16_000, subtype="FLOAT")
    assert "another recording" in error_line(typed(other, *options)[2])
    assert journal.read_bytes() == content
    journal.write_bytes(b"nothing\n")
    assert "no whole journal" in error_line(typed(talk, *options)[2])
    assert not (tmp_path / "talk.txt").exists()


def test_what_is_there_is_kept(typed, talk, tmp_path):
    mine = tmp_path / "talk.srt"
    mine.write_text("corrected by hand")
    code, _, err = typed(talk, "--format", "srt", "--out", tmp_path)
    assert code == 2
    assert "talk.srt is there already" in error_line(err)
    code, out, err = typed(talk, "--format", "srt", "--out", tmp_path, "--resume")
    assert (code, out) == (0, "")
    assert "talk.srt: there already, kept" in err
    assert mine.read_text() == "corrected by hand"


def test_careless_hands_get_one_line(typed, talk, folder, tmp_path):
    (tmp_path / "x").mkdir()
    soundfile.write(tmp_path / "x" / "talk.flac", wave(1.0), 16_000)
    (tmp_path / "file").write_text("x")
    cases = [
        ((tmp_path / "x",), "is a folder; an audio file is needed"),
        ((tmp_path / "gone.wav",), "gone.wav: no such audio file"),
        ((tmp_path / "file",), "file: not audio"),
        ((talk, "--out", tmp_path / "file"), "file: is a file; a folder is needed"),
        ((talk, "--out", tmp_path / "nowhere" / "deep"), "to make it in"),
        ((talk, tmp_path / "x" / "talk.flac", "--out", tmp_path), "would both be written to"),
        ((talk, "--max-seconds", "-1"), "max_seconds=-1.0 must be"),
        ((talk, "--max-seconds", "nan"), "max_seconds=nan must be"),
    ]
    for arguments, message in cases:
        code, out, err = typed(*arguments)
        assert (code, out) == (2, ""), arguments
        assert message in error_line(err)


@pytest.mark.parametrize(
    "options",
    [
        ["--resume"],
        ["--json", "--format", "srt"],
        ["--json", "--out", "."],
        ["--format", "ass"],
        ["--vad", "loud"],
        ["{talk}", "--format", "srt"],  # two files, one output
    ],
)
def test_options_that_do_not_go_together_are_refused(typed, talk, options):
    code, out, err = typed(talk, *(option.format(talk=talk) for option in options))
    assert (code, out) == (2, "")
    assert "Traceback" not in err


@pytest.mark.parametrize("option", [["--format", "srt"], ["--resume"], ["--max-seconds", "5"], ["--vad", "energy"]])
def test_what_is_for_files_is_refused_for_a_corpus(capsys, monkeypatch, folder, tmp_path, option):
    arguments = ("transcribe", "--dataset", tmp_path, "--model", folder, "--out", tmp_path / "out", *option)
    code, _, err = run(capsys, monkeypatch, *arguments)
    assert code == 2
    assert option[0].strip("-") in err
    assert not (tmp_path / "out").exists()


def test_a_person_sees_a_bar_and_only_the_text_is_printed(as_in_a_terminal, typed, monkeypatch, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(spoken(), 3), 16_000, subtype="FLOAT")
    plain = typed(path)
    assert plain[2] == ""
    as_in_a_terminal()
    code, out, err = typed(path)
    assert (code, out) == plain[:2]
    assert "long.wav" in err
    assert "long.wav" not in typed(path, "--quiet")[2]


def test_a_killed_run_leaves_its_whole_batches(typed, monkeypatch, talk, tmp_path):
    """What kill -9 leaves: every batch is on the disk before the next one is decoded."""
    seen, original = [], cli_recordings.recognize_batch

    def recognize(*arguments):
        seen.append((tmp_path / "talk.part.jsonl").read_bytes().count(b"\n"))
        return original(*arguments)

    monkeypatch.setattr(cli_recordings, "recognize_batch", recognize)
    typed(talk, "--out", tmp_path)
    assert seen == [1, 2, 3]  # the head, and the batches before
    assert os.listdir(tmp_path) == ["talk.txt"]
