"""`aural explain` as typed: a picture for every figure, examples in every help, errors in one line."""

import pytest
import soundfile

from tests.test_cli import error_line, run
from tests.whole import save_folder, save_tagger, wave


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    save_folder(folder / "las", attention_kind="dot")
    save_tagger(folder / "tagger")
    soundfile.write(folder / "a.wav", wave(0.5), 16_000)
    return folder


@pytest.mark.parametrize("verb", [[], ["attention"], ["las"], ["patches"]])
def test_every_help_holds_an_example(capsys, monkeypatch, verb):
    code, out, _ = run(capsys, monkeypatch, "explain", *verb, "--help")
    assert code == 0 and "Example: aural explain" in " ".join(out.replace("`", "").split())


@pytest.mark.parametrize(
    "figure, model, options, ending, head",
    [
        ("attention", "tagger", ["--layer", "1", "--head", "1", "--query", "0.2,800"], "png", b"\x89PNG"),
        ("las", "las", ["--query", "1", "--dark"], "svg", b"<?xml"),
        ("patches", "tagger", ["--query", "7"], "pdf", b"%PDF"),
    ],
)
def test_a_figure_is_written(capsys, monkeypatch, made, tmp_path, figure, model, options, ending, head):
    out = tmp_path / f"picture.{ending}"
    said = ["--model", made / model, "--file", made / "a.wav", *options]
    code, printed, err = run(capsys, monkeypatch, "explain", figure, *said, "-o", out)
    assert (code, printed) == (0, f"{out}\n"), err
    assert out.read_bytes().startswith(head)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["las", "--model", "tagger"], "draws Listen-Attend-Spell"),
        (["patches", "--model", "las"], "draws a transformer of patches"),
        (["attention", "--model", "tagger", "--layer", "decoder.0.cross"], "allowed are layers.0, layers.1"),
        (["attention", "--model", "nowhere"], "nowhere"),
        (["attention", "--model", "tagger", "--file", "b.wav"], "b.wav"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_no_file(capsys, monkeypatch, made, arguments, said):
    monkeypatch.chdir(made)
    given = [*arguments, *([] if "--file" in arguments else ["--file", "a.wav"]), "-o", "none.png"]
    code, _, err = run(capsys, monkeypatch, "explain", *given)
    assert code == 2 and said in error_line(err)
    assert not (made / "none.png").exists()


@pytest.mark.parametrize(
    "options, said",
    [
        (["-o", "a.jpg"], "a picture's name ends in .png, .svg or .pdf"),
        (["-o", "a.png", "--query", "x,y"], "SECONDS,HZ"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_a_model_loads(capsys, monkeypatch, options, said):
    code, _, err = run(capsys, monkeypatch, "explain", "patches", *options)
    assert code == 2 and said in " ".join(err.replace("│", " ").split())
