"""`aural attention` as typed: pictures and pages with what was asked for, names that lose nothing, errors in words."""

import json
import re

import pytest
import soundfile

from aural import cli_attention, look
from tests.looks import captioner, las, tagger
from tests.test_cli import error_line, run
from tests.whole import wave


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    for name, make in (("las", las), ("tags", tagger), ("captions", captioner)):
        for part in make():
            part.save_pretrained(path / name)
    return path


@pytest.fixture
def sound(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", wave(0.9), 16_000)
    return "a.wav"


@pytest.fixture
def asked(monkeypatch):
    """What reached the picture, without drawing it."""
    calls = []
    monkeypatch.setattr(cli_attention, "write_attention", lambda *arguments: calls.append(arguments))
    return calls


def test_help_holds_an_example(capsys, monkeypatch):
    code, out, _ = run(capsys, monkeypatch, "attention", "--help")
    assert code == 0 and "Example: aural attention seven.wav" in " ".join(out.replace("`", "").split())


def test_a_picture_is_written_where_no_file_is_lost(capsys, monkeypatch, folders, sound, tmp_path):
    code, out, _ = run(capsys, monkeypatch, "attention", sound, "--model", folders / "tags")
    assert (code, out) == (0, "a-attention.png\n")
    first = (tmp_path / "a-attention.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    (tmp_path / "a-attention.png").write_bytes(b"mine")
    code, out, _ = run(capsys, monkeypatch, "attention", sound, "--model", folders / "tags")
    assert out == "a-attention-2.png\n" and (tmp_path / "a-attention.png").read_bytes() == b"mine"
    for name, head in (("b.svg", b"<?xml"), ("b.pdf", b"%PDF")):
        assert run(capsys, monkeypatch, "attention", sound, "--model", folders / "tags", "-o", name)[0] == 0
        assert (tmp_path / name).read_bytes().startswith(head)


def test_a_page_opens_with_what_was_asked_for(capsys, monkeypatch, folders, sound, tmp_path):
    models = ("--model", folders / "captions", "--against", folders / "captions")
    choice = ("--layer", "decoder.0.cross", "--head", "1", "--word", "dog", "--text", "a dog", "--dark")
    code, out, _ = run(capsys, monkeypatch, "attention", sound, *models, *choice, "-o", "p.html")
    assert (code, out) == (0, "p.html\n")
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert [each["model"] for each in data["looks"]] == ["captions", "captions"] and 'data-theme="dark"' in text
    for each in data["looks"]:
        assert each["maps"][each["open"]["map"]]["name"] == "decoder.0.cross"
        assert (each["open"]["head"], each["open"]["word"]) == (1, 1)
        assert [item["text"] for item in each["items"]] == ["a", "dog"]


def test_options_reach_the_picture(capsys, monkeypatch, folders, sound, asked):
    part = ("--start", "0.2", "--end", "0.8")
    assert run(capsys, monkeypatch, "attention", sound, "--model", folders / "las", "--text", "ab c", *part)[0] == 0
    ((seen,), path, choice, dark, dpi) = asked[-1]
    assert seen.text == "ab c" and seen.seconds == pytest.approx(0.6) and str(path) == "a-attention.png"
    assert choice == {"layer": None, "head": None, "query": None, "word": None} and not dark and dpi == 150
    more = ("--layer", "1", "--head", "mean", "--query", "0.3,900", "--dark")
    run(capsys, monkeypatch, "attention", sound, "--model", folders / "tags", *more)
    assert asked[-1][2] == {"layer": 1, "head": "mean", "query": (0.3, 900.0), "word": None} and asked[-1][3]
    run(capsys, monkeypatch, "attention", sound, "--model", folders / "tags", "--layer", "rollout", "--query", "0.3")
    assert asked[-1][2] == {"layer": "rollout", "head": None, "query": 0.3, "word": None}
    run(capsys, monkeypatch, "attention", sound, "--model", folders / "las", "--text", "ab c", "--word", "1")
    assert asked[-1][2]["word"] == 1
    run(capsys, monkeypatch, "attention", sound, "--model", folders / "las", "--text", "ab c", "--word", "c")
    assert asked[-1][2]["word"] == "c"
    both = ("--model", folders / "las", "--against", folders / "las")
    run(capsys, monkeypatch, "attention", sound, *both, "--beams", "1")
    assert len(asked[-1][0]) == 2 and asked[-1][0][0].text == look("a.wav", folders / "las", num_beams=1).text


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("tags", ("--layer", "7"), "layer=7: tags has layers.0, layers.1, rollout"),
        ("tags", ("--layer", "0", "--head", "5"), "head=5: layers.0 has the heads 0 to 1, or 'mean'"),
        ("tags", ("--query", "7"), "query=7.0: 7 s lies outside of the patches"),
        ("tags", ("--text", "a"), "text is for models that write; tags tags sounds"),
        ("las", ("--text", "ab", "--word", "x"), "word='x': the words are 0 'ab'"),
        ("las", ("--text", "xyz"), "the model cannot write 'x'"),
        ("las", ("--layer", "0"), "layer=0: las has alignment"),
        ("las", ("--start", "9"), "start=9, end=None: a part of 0 to 0.90 s"),
        ("nothing", (), "nothing"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_leaves_no_file(
    capsys, monkeypatch, folders, sound, tmp_path, model, options, message
):
    code, _, err = run(capsys, monkeypatch, "attention", sound, "--model", folders / model, *options)
    assert code == 2 and message in error_line(err)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "a.jpg"), "its name ends in .png, .svg, .pdf, .html"),
        (("--query", "here"), "allowed are clip, SECONDS, and SECONDS,HZ"),
        (("--query", "1,2,3"), "allowed are clip, SECONDS, and SECONDS,HZ"),
    ],
)
def test_options_that_cannot_be_are_told_before_a_model_is_loaded(capsys, monkeypatch, sound, options, message):
    code, _, err = run(capsys, monkeypatch, "attention", sound, "--model", "nowhere", *options)
    assert code == 2 and message in " ".join(err.replace("│", " ").split())


def test_the_sound_is_never_replaced(capsys, monkeypatch, folders, tmp_path):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.png", wave(0.9), 16_000, format="WAV")
    code, _, err = run(capsys, monkeypatch, "attention", "a.png", "--model", folders / "tags", "-o", "a.png")
    assert code == 2 and "is one of the audio files" in error_line(err)
