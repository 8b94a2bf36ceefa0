"""`aural tag` as typed: every form of its output, options that reach Python, errors, a bar only for who waits."""

import csv
import io
import json

import numpy as np
import pytest
import soundfile

from aural import heard_bar, tagging
from tests.test_cli import error_line, run
from tests.test_tagging import CLIPS, MOMENTS, changing, save_tagger
from tests.whole import save_folder

NAMES = {0: "Dog", 1: "Wind, strong", 2: "Räder"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips")
    return save_tagger(path, CLIPS, problem_type="multi_label_classification", id2label=NAMES)


@pytest.fixture(scope="module")
def moments(tmp_path_factory):
    return save_tagger(tmp_path_factory.mktemp("moments"), MOMENTS, id2label=NAMES)


@pytest.fixture
def sounds(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for seed, path in enumerate(paths):
        soundfile.write(path, changing(1.0, seed), 16_000)
    return paths


def test_help_holds_an_example(capsys, monkeypatch):
    code, out, _ = run(capsys, monkeypatch, "tag", "--help")
    assert code == 0
    assert "Example: aural tag yard.wav" in " ".join(out.replace("`", "").split())


def test_tags_are_printed_alone_for_one_file_and_named_for_several(capsys, monkeypatch, folder, sounds):
    results = tagging.tag(sounds, folder)
    code, out, _ = run(capsys, monkeypatch, "tag", sounds[0], "--model", folder)
    assert (code, out) == (0, "".join(f"{label} ({score:.2f})\n" for label, score in results[0].top(5)))
    _, out, _ = run(capsys, monkeypatch, "tag", *sounds, "--model", folder, "--top-k", "1")
    assert out == "".join(f"{r.source}: {r.top(1)[0][0]} ({r.top(1)[0][1]:.2f})\n" for r in results)


def test_tags_as_json_and_csv(capsys, monkeypatch, folder, sounds):
    results = tagging.tag(sounds, folder)
    _, out, _ = run(capsys, monkeypatch, "tag", *sounds, "--model", folder, "--json", "--top-k", "2")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"file": r.source, "seconds": 1.0, "tags": [{"label": n, "score": round(s, 4)} for n, s in r.top(2)]}
        for r in results
    ]
    _, out, _ = run(capsys, monkeypatch, "tag", *sounds, "--model", folder, "--csv", "--top-k", "2")
    assert list(csv.DictReader(io.StringIO(out))) == [
        {"file": r.source, "label": n, "score": str(round(s, 4))} for r in results for n, s in r.top(2)
    ]


def test_a_threshold_leaves_out_weaker_tags(capsys, monkeypatch, folder, sounds):
    (result,) = tagging.tag(sounds[0], folder)
    (first, high), (second, _), (third, low) = result.top(3)
    asked = ("tag", sounds[0], "--model", folder, "--threshold")
    assert run(capsys, monkeypatch, *asked, str((high + low) / 2))[1].startswith(first)
    assert third not in run(capsys, monkeypatch, *asked, str((high + low) / 2))[1]
    _, out, _ = run(capsys, monkeypatch, *asked, "1", "--threshold", f"{second}=0")
    assert out.split(" (")[0] == second
    assert len(out.splitlines()) == 1


def test_events_in_every_form(capsys, monkeypatch, moments, sounds):
    (result,) = tagging.tag(sounds[0], moments, window=0.2, hop=0.1)
    low = {name: float(np.median(result.scores[:, i])) for i, name in NAMES.items()}
    options = {"median": 0.09, "min_duration": 0.05, "min_gap": 0.05}
    events = result.events(low, **options)
    assert len(events) > 3
    shaped = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    named = [f"--threshold={name}={value}" for name, value in low.items()]
    asked = ["tag", sounds[0], "--model", moments, "--events", "--window=0.2", "--hop=0.1", *shaped, *named]
    _, out, _ = run(capsys, monkeypatch, *asked)
    assert out == "".join(f"{e.onset:.2f} to {e.offset:.2f} s: {e.label} ({e.score:.2f})\n" for e in events)
    rows = [
        {
            "file": str(sounds[0]),
            "onset": round(e.onset, 3),
            "offset": round(e.offset, 3),
            "label": e.label,
            "score": round(e.score, 4),
        }
        for e in events
    ]
    _, out, _ = run(capsys, monkeypatch, *asked, "--json")
    assert [json.loads(line) for line in out.splitlines()] == rows
    assert "Räder" in out
    _, out, _ = run(capsys, monkeypatch, *asked, "--csv")
    assert list(csv.DictReader(io.StringIO(out))) == [{k: str(v) for k, v in row.items()} for row in rows]
    _, out, _ = run(capsys, monkeypatch, *asked, "--audacity")
    fields = [line.split("\t") for line in out.splitlines()]
    assert [(float(start), float(stop), label) for start, stop, label in fields] == [
        (pytest.approx(e.onset, abs=1e-6), pytest.approx(e.offset, abs=1e-6), e.label) for e in events
    ]


def test_a_table_of_several_files_has_one_header(capsys, monkeypatch, moments, sounds):
    asked = ("tag", *sounds, "--model", moments, "--csv", "--events", "--threshold", "0")
    lines = run(capsys, monkeypatch, *asked)[1].splitlines()
    assert [line for line in lines if line.startswith("file,")] == lines[:1]
    assert {line.split(",")[0] for line in lines[1:]} == set(map(str, sounds))


def test_a_file_gets_all_that_would_be_printed(capsys, monkeypatch, folder, sounds, tmp_path):
    _, printed, _ = run(capsys, monkeypatch, "tag", *sounds, "--model", folder, "--json")
    _, out, _ = run(capsys, monkeypatch, "tag", *sounds, "--model", folder, "--json", "--out", tmp_path / "tags")
    assert out == ""
    assert (tmp_path / "tags").read_text(encoding="utf-8") == printed


def test_one_bad_file_costs_the_others_nothing(capsys, monkeypatch, folder, sounds, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(sounds[0].read_bytes()[:-500])
    files = [sounds[0], bad, sounds[1]]
    code, out, err = run(capsys, monkeypatch, "tag", *files, "--model", folder, "--top-k", "1")
    assert code == 2
    assert [line.split(": ")[0] for line in out.splitlines()] == list(map(str, sounds))
    assert "bad.wav: truncated" in error_line(err)
    code, _, _ = run(capsys, monkeypatch, "tag", bad, "--model", folder, "--out", tmp_path / "none")
    assert code == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", "0.5", "--hop", "0.7"], "hop: 0.7 seconds"),
        (["--window", "0"], "window: 0.0 seconds"),
        (["--events", "--threshold", "Dgo=0.4"], "no label 'Dgo' among 3; near it are Dog"),
        (["--threshold", "1.5"], "threshold: 1.5"),
        (["--events", "--median", "-1"], "median: -1.0 seconds"),
        (["--out", "{tmp}/nowhere/tags.csv"], "nowhere"),
        (["--out", "{tmp}"], "is a folder"),
        (["--out", "{tmp}/a.wav"], "is one of the audio files"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_what_cannot_be_is_said_before_any_file(capsys, monkeypatch, folder, sounds, tmp_path, options, message):
    monkeypatch.setattr(tagging, "tag", None)
    options = [option.format(tmp=tmp_path) for option in options]
    code, out, err = run(capsys, monkeypatch, "tag", *sounds, "--model", folder, *options)
    assert (code, out) == (2, "")
    assert message in error_line(err)


@pytest.mark.parametrize(
    "options",
    [
        ["--json", "--csv"],
        ["--audacity"],
        ["--audacity", "--events"],  # for two files
        ["--events", "--top-k", "3"],
        ["--median", "0.3"],
        ["--min-gap", "0.3"],
        ["--threshold", "high"],
        ["--threshold", "Dog="],
        ["--top-k", "0"],
    ],
)
def test_options_that_exclude_each_other_or_do_nothing_exit_with_2(capsys, monkeypatch, folder, sounds, options):
    code, out, err = run(capsys, monkeypatch, "tag", *sounds, "--model", folder, *options)
    assert (code, out) == (2, "")
    assert options[0].strip("-") in err


def test_a_folder_for_another_command_is_one_line(capsys, monkeypatch, sounds, tmp_path):
    code, _, err = run(capsys, monkeypatch, "tag", sounds[0], "--model", save_folder(tmp_path / "las"))
    assert code == 2
    assert "`aural transcribe` is the command for it" in error_line(err)


def test_ctrl_c_leaves_cleanly(as_in_a_terminal, capsys, monkeypatch, folder, sounds, tmp_path):
    as_in_a_terminal()  # with a bar
    monkeypatch.setattr(heard_bar, "BAR_FROM", 0)
    original = tagging.tag

    def interrupted(audio, *arguments):
        if audio == sounds[0]:
            return original(audio, *arguments)

        def stop(heard, seconds):
            arguments[-1](heard, seconds)
            raise KeyboardInterrupt

        return original(audio, *arguments[:-1], stop)

    monkeypatch.setattr(tagging, "tag", interrupted)
    before = set(tmp_path.iterdir())
    code, out, err = run(capsys, monkeypatch, "tag", *sounds, "--model", folder, "--out", tmp_path / "tags")
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert set(tmp_path.iterdir()) == before


def test_a_bar_is_for_a_person_who_waits(as_in_a_terminal, capsys, monkeypatch, folder, sounds):
    asked = ("tag", sounds[0], "--model", folder)
    monkeypatch.setattr(heard_bar, "BAR_FROM", 0.5)
    assert run(capsys, monkeypatch, *asked)[2] == ""  # piped
    as_in_a_terminal()
    _, out, err = run(capsys, monkeypatch, *asked)
    assert "a.wav" in err
    assert "a.wav" not in out
    assert "a.wav" not in run(capsys, monkeypatch, *asked, "--quiet")[2]
    monkeypatch.setattr(heard_bar, "BAR_FROM", 1.5)
    assert "a.wav" not in run(capsys, monkeypatch, *asked)[2]  # a second is over before a bar is read


def test_options_reach_python(capsys, monkeypatch, folder, sounds):
    asked, original = [], tagging.tag

    def tag(audio, model, extractor, window, hop, batch_size, progress):
        asked.append((audio, window, hop, batch_size))
        return original(audio, model, extractor, window, hop, batch_size, progress)

    monkeypatch.setattr(tagging, "tag", tag)
    run(capsys, monkeypatch, "tag", sounds[0], "--model", folder)
    run(capsys, monkeypatch, "tag", *sounds, "--model", folder, "--window=0.3", "--hop=0.2", "--batch-size=3")
    assert asked == [(sounds[0], None, None, 8), (sounds[0], 0.3, 0.2, 3), (sounds[1], 0.3, 0.2, 3)]
