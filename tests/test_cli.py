"""The command line as typed: results, examples in every help, one-line errors with exit code 2."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from aural import cli, transcribe
from aural.demo import PLANS
from tests.training.test_cards import make_report, save_report
from tests.whole import save_folder, wave


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("model"))


def run(capsys, monkeypatch, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `aural ARGUMENTS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["aural", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_code:
        cli.main()
    captured = capsys.readouterr()
    return exit_code.value.code or 0, captured.out, captured.err


def error_line(err: str) -> str:
    """The error, which must be one line and no traceback."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("aural: error:")]
    assert len(lines) == 1, err
    return lines[0]


def test_version_and_module_agree():
    output = subprocess.run([sys.executable, "-m", "aural", "--version"], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "aural 0.1.0"


@pytest.mark.parametrize(
    "verb",
    [
        *([], ["demo"], ["transcribe"], ["tag"], ["convert"], ["card"], ["publish"]),
        *(["corpora"], ["corpora", "prompts-en"], ["corpora", "drums"]),
        *(["corpora", "synthetic-en"], ["corpora", "fillets-nl"], ["corpora", "stamps"]),
    ],
)
def test_every_help_holds_an_example(capsys, monkeypatch, verb):
    code, out, _ = run(capsys, monkeypatch, *verb, "--help")
    assert code == 0
    assert "Example: aural" in " ".join(out.replace("`", "").split())


def test_transcribe_prints_the_text_alone_for_one_file_and_names_several(capsys, monkeypatch, folder, tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for i, path in enumerate(paths):
        soundfile.write(path, wave(0.6, seed=i), 16000)
    texts = [result.text for result in transcribe(paths, folder)]
    assert run(capsys, monkeypatch, "transcribe", paths[0], "--model", folder)[1] == texts[0] + "\n"
    _, out, _ = run(capsys, monkeypatch, "transcribe", *paths, "--model", folder, "--batch-size", "1")
    assert out == "".join(f"{path}: {text}\n" for path, text in zip(paths, texts, strict=True))


def test_transcribe_json_is_one_object_per_line(capsys, monkeypatch, folder, tmp_path):
    soundfile.write(tmp_path / "a.wav", wave(0.5), 16000)
    _, out, _ = run(capsys, monkeypatch, "transcribe", tmp_path / "a.wav", "--model", folder, "--json")
    text = transcribe(tmp_path / "a.wav", folder)[0].text
    assert json.loads(out) == {"file": str(tmp_path / "a.wav"), "text": text, "seconds": 0.5}


def test_wrong_files_and_folders_are_one_line_and_exit_code_2(capsys, monkeypatch, folder, tmp_path):
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"this is no sound")
    cases = {
        (noise, folder): "noise.wav",
        (tmp_path / "gone.wav", folder): "gone.wav",
        (tmp_path, folder): str(tmp_path),
        (noise, tmp_path): "no config.json",
        (noise, noise): "is a file",
    }
    for (file, model), message in cases.items():
        code, out, err = run(capsys, monkeypatch, "transcribe", file, "--model", model)
        assert code == 2
        assert out == ""
        assert message in error_line(err)


def test_one_bad_file_costs_the_others_nothing(capsys, monkeypatch, folder, tmp_path):
    for i, name in enumerate(("a.wav", "c.wav")):
        soundfile.write(tmp_path / name, wave(0.5, seed=i), 16000)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    files = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    code, out, err = run(capsys, monkeypatch, "transcribe", *files, "--model", folder)
    assert code == 2
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(files[0]), str(files[2])]
    assert "b.wav" in error_line(err)


def test_a_damaged_generation_config_is_one_line(capsys, monkeypatch, folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps({**config, "max_length": "abc"}))
    soundfile.write(tmp_path / "a.wav", wave(0.5), 16000)
    code, _, err = run(capsys, monkeypatch, "transcribe", tmp_path / "a.wav", "--model", copy)
    assert code == 2
    error_line(err)
    monkeypatch.setenv("AURAL_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["aural", "transcribe", str(tmp_path / "a.wav"), "--model", str(copy)])
    with pytest.raises(TypeError):
        cli.main()


def test_a_model_that_is_nowhere_is_one_line_and_exit_code_2(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    soundfile.write(tmp_path / "a.wav", wave(0.5), 16000)
    code, _, err = run(capsys, monkeypatch, "transcribe", tmp_path / "a.wav", "--model", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere" in error_line(err)


def test_unknown_flags_and_verbs_exit_with_2(capsys, monkeypatch):
    assert run(capsys, monkeypatch, "transcribe", "a.wav", "--modle", "x")[0] == 2
    assert run(capsys, monkeypatch, "transcrib")[0] == 2
    assert run(capsys, monkeypatch, "demo", "--tiny", "--long")[0] == 2


@pytest.mark.parametrize("corpus", ["prompts-en", "drums", "synthetic-en", "fillets-nl", "stamps"])
def test_corpora_says_what_is_wrong_with_its_folders(capsys, monkeypatch, tmp_path, corpus):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("x")
    code, _, err = run(capsys, monkeypatch, "corpora", corpus, tmp_path / "taken", "--packages", tmp_path)
    assert code == 2
    assert "taken" in error_line(err)
    code, _, err = run(capsys, monkeypatch, "corpora", corpus, tmp_path / "out", "--packages", tmp_path)
    assert code == 2
    assert "packages=" in error_line(err)


@pytest.mark.parametrize(
    ("corpus", "maker"),
    [
        ("prompts-en", "corpora.make_prompts_en"),
        ("drums", "drums.make_drums"),
        ("fillets-nl", "fillets.make_fillets_nl"),
    ],
)
def test_corpora_prints_the_summary_of_what_was_made(capsys, monkeypatch, tmp_path, corpus, maker):
    monkeypatch.setattr(f"aural.training.{maker}", lambda out, packages: f"{out} from {packages}")
    assert run(capsys, monkeypatch, "corpora", corpus, "out", "--packages", "p") == (0, "out from p\n", "")
    assert run(capsys, monkeypatch, "corpora", corpus, "out")[1] == "out from None\n"


def test_options_of_corpora_reach_their_makers(capsys, monkeypatch):
    monkeypatch.setattr("aural.training.stamps.make_stamps", lambda *options: options)
    asked = run(capsys, monkeypatch, "corpora", "stamps", "out", "--language", "es", "--language", "ca")[1]
    assert asked == f"{(Path('out'), ['es', 'ca'], None)}\n"
    assert run(capsys, monkeypatch, "corpora", "stamps", "out")[1] == f"{(Path('out'), ('fr',), None)}\n"
    monkeypatch.setattr("aural.training.synthetic.make_synthetic_en", lambda *options: options)
    given = ("--hours", "2", "--seed", "3", "--workers", "4", "--packages", "p")
    asked = run(capsys, monkeypatch, "corpora", "synthetic-en", "out", *given)[1]
    assert asked == f"{(Path('out'), 2.0, 3, Path('p'), 4)}\n"
    assert run(capsys, monkeypatch, "corpora", "synthetic-en", "out")[1] == f"{(Path('out'), 5.0, 0, None, None)}\n"


def test_options_of_transcribe_reach_python(capsys, monkeypatch, folder, tmp_path):
    from aural import cli_recordings

    asked, original = [], cli_recordings.recognize_batch

    def recognize(waves, model, processor, options):
        asked.append((len(waves), options))
        return original(waves, model, processor, options)

    monkeypatch.setattr(cli_recordings, "recognize_batch", recognize)
    sounds = [tmp_path / name for name in ("é.wav", "b.wav", "c.wav")]
    for path in sounds:
        soundfile.write(path, wave(0.3), 16000)
    run(capsys, monkeypatch, "transcribe", *sounds, "--model", folder, "--beams", "1", "--batch-size", "2")
    _, out, _ = run(capsys, monkeypatch, "transcribe", sounds[0], "--model", folder, "--json")
    assert asked == [(2, {"num_beams": 1}), (1, {"num_beams": 1}), (1, {})]
    assert "é.wav" in out  # readable, not \u00e9


def test_card_is_written_for_the_id_that_was_given(capsys, monkeypatch, tmp_path):
    saved = save_report(tmp_path / "las", make_report())
    for options, name in (([], '"las"'), (["--id", "someone/las-letters"], '"someone/las-letters"')):
        _, out, _ = run(capsys, monkeypatch, "card", saved, *options)
        assert out.split() == [str(saved / "README.md")]
        assert name in (saved / "README.md").read_text(encoding="utf-8")


def test_publish_passes_on_what_was_asked_for(capsys, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("aural.training.publishing.publish_folder", lambda *arguments: calls.append(arguments))
    run(capsys, monkeypatch, "publish", tmp_path, "user/name")
    run(capsys, monkeypatch, "publish", tmp_path, "user/name", "--private", "--revision", "v2", "--dry-run")
    assert calls == [
        (tmp_path, "user/name", None, None, False),  # not asked to be private: as the account has it
        (tmp_path, "user/name", True, "v2", True),
    ]


def test_demo_passes_on_where_how_much_and_which_seed(capsys, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("aural.demo.run_demo", lambda out, plan, seed, console: calls.append((out, plan, seed)))
    assert run(capsys, monkeypatch, "demo", "--tiny", "--seed", "5", "--out", tmp_path)[0] == 0
    assert run(capsys, monkeypatch, "demo", "--long")[0] == 0
    assert run(capsys, monkeypatch, "demo")[0] == 0
    assert calls == [
        (tmp_path, PLANS["tiny"], 5),
        (Path("demo"), PLANS["long"], 0),
        (Path("demo"), PLANS["standard"], 0),
    ]
