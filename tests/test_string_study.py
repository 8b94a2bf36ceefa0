"""`aural demo heads --tiny`: the same strings for every model, nothing trained twice, all numbers from the file."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from aural import string_study
from aural.cli import app
from aural.demo import LONGEST, make_processor
from aural.demo import PLANS as DEMO_PLANS
from aural.string_models import STRING_MODELS
from aural.string_report import told
from aural.string_study import PLANS, Run, run_strings, update_seconds
from aural.training.clips import load_clips
from aural.training.compose import is_held_out
from aural.training.metrics import score_texts

TINY = PLANS["tiny"]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    return out, run_strings(out, TINY, seed=5, console=QUIET)


def test_every_model_is_trained_and_measured_on_the_same_held_out_strings(study):
    out, _ = study
    report = json.loads((out / "strings.json").read_text())
    assert list(report["models"]) == list(STRING_MODELS) == ["las", "ctc", "seq2seq"]
    spoken = [[pair["spoken"] for pair in one["result"]["transcripts"]] for one in report["models"].values()]
    assert spoken[0] == spoken[1] == spoken[2] and len(spoken[0]) == TINY.strings
    assert all(is_held_out(text) for text in spoken[0])
    assert report["models"]["ctc"]["settings"]["seed"] == report["seed"] == 5
    assert not list(out.rglob(".*"))  # no scratch is left


def test_rates_follow_from_the_texts_beside_them(study):
    out, _ = study
    for name, one in json.loads((out / "strings.json").read_text())["models"].items():
        pairs = one["result"]["transcripts"]
        scores = score_texts([pair["spoken"] for pair in pairs], [pair["written"] for pair in pairs])
        assert {key: one["result"][key] for key in scores} == scores, name
        assert one["seconds"]["training_processor"] > 0


def test_the_table_is_of_the_file_alone(study):
    out, text = study
    report = json.loads((out / "strings.json").read_text())
    assert told(report) in text and f"{out}/strings.json" in text
    rows = re.findall(r"^\| ([^|]+) \| [\d.]+ M \| (\d+) \| (\d+)% \| ([\d.]+)%", text, re.MULTILINE)
    assert [row[0] for row in rows] == [kind.title for kind in STRING_MODELS.values()]
    for row, one in zip(rows, report["models"].values(), strict=True):
        assert float(row[3]) == pytest.approx(100 * one["result"]["wer"], abs=0.05)
        assert int(row[2]) == round(100 * one["share_of_budget"])


def test_what_is_there_is_not_trained_again(study, monkeypatch):
    out, text = study
    before = (out / "runs/ctc.json").read_bytes()
    monkeypatch.setattr(string_study, "run_one", lambda *_: pytest.fail("trained again"))
    again = run_strings(out, TINY, seed=5, console=QUIET)
    assert (out / "runs/ctc.json").read_bytes() == before
    assert re.findall(r"[\d.]+% \([\d.]+% to", again) == re.findall(r"[\d.]+% \([\d.]+% to", text)


def test_a_seed_repeats_a_run(study, tmp_path):
    out, _ = study
    run_strings(tmp_path, TINY, seed=5, models=["ctc"], console=QUIET)
    one, other = (json.loads((folder / "runs/ctc.json").read_text())["result"] for folder in (out, tmp_path))
    assert one == other
    assert list(json.loads((tmp_path / "strings.json").read_text())["models"]) == ["ctc"]


def test_results_of_other_settings_are_refused_before_anything_is_trained(study, monkeypatch):
    out, _ = study
    monkeypatch.setattr(string_study, "run_one", lambda *_: pytest.fail("trained"))
    with pytest.raises(FileExistsError, match=r"las\.json is of a run with other settings"):
        run_strings(out, TINY, seed=6, console=QUIET)
    with pytest.raises(FileExistsError, match="other settings"):
        run_strings(out, replace(TINY, strings=4), seed=5, console=QUIET)


def test_las_may_come_from_what_the_demo_left(study, tmp_path):
    report = {
        "recipe": {"updates": 7, "parameters": 1_000_000},
        "seed": 3,
        "results": [{**json.loads((study[0] / "runs/las.json").read_text())["result"], "dataset": "composed strings"}],
        "seconds": {"training": 60.0, "total": 70.0},
        "machine": {"cores": 2},
    }
    demo = tmp_path / "demo"
    with pytest.raises(FileNotFoundError, match=r"demo has no report\.json"):
        run_strings(tmp_path / "out", TINY, models=[], las=demo, console=QUIET)
    demo.mkdir()
    (demo / "report.json").write_text(json.dumps(report))
    text = run_strings(tmp_path / "out", TINY, models=["las"], las=demo, console=QUIET)
    assert "| LAS | 1.0 M | 7 |" in text and "| 60 s |" in text  # nobody kept its processor time
    assert not (tmp_path / "out/runs/las.json").exists()


def test_updates_are_timed_for_every_model(study):
    costs = update_seconds(TINY, seed=1)
    assert costs.keys() == STRING_MODELS.keys() and all(cost > 0 for cost in costs.values())


@pytest.mark.parametrize("name", STRING_MODELS)
def test_models_fit_the_demos_features_and_letters(name):
    processor = make_processor([clip.text for clip in load_clips(["letter"])])
    kind, plan = STRING_MODELS[name], PLANS["standard"].models[name]
    torch.manual_seed(0)
    model = kind.make(processor, plan)
    assert model.config.vocab_size == len(kind.processor(processor).tokenizer)
    assert model.config.num_mel_bins == processor.feature_extractor.num_mel_bins == 40
    assert 1.5e6 < model.num_parameters() < 3e6  # of one size
    if name != "ctc":
        assert model.generation_config.ctc_weight == 0.5 and model.generation_config.max_seconds == LONGEST
    else:
        assert model.config.seconds_per_patch == 0.04


def test_the_budget_is_that_of_the_demo():
    assert PLANS["standard"].models["las"] == DEMO_PLANS["standard"]
    assert PLANS["standard"].strings == DEMO_PLANS["standard"].strings


def test_wrong_models_and_places_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is a file"):
        run_strings(tmp_path / "file", TINY, console=QUIET)
    with pytest.raises(ValueError, match=r"models=\['rnn'\]: allowed are las, ctc, seq2seq"):
        run_strings(tmp_path, TINY, models=["rnn"], console=QUIET)


def test_a_run_says_what_it_follows_from(tmp_path):
    run = Run("ctc", 3, TINY, tmp_path / "ctc.json")
    assert run.settings["updates"] == 2 and run.settings["model"] == "ctc" and run.settings["strings"] == 3
    assert not run.is_done()


def test_the_command_says_which_options_are_whose():
    runner = CliRunner()
    for told_too_much in (["strings", "--las", "demo"], ["heads", "--corpus", "x"], ["heads", "--long"]):
        assert runner.invoke(app, ["demo", *told_too_much, "--tiny"]).exit_code == 2


def test_the_kept_report_keeps_within_budget_and_bars():
    report = json.loads((Path(__file__).parents[1] / "model_cards/strings.json").read_text(encoding="utf-8"))
    bars = {"las": 0.1, "ctc": 0.1, "seq2seq": 0.2}
    for name, one in report["models"].items():
        pairs = one["result"]["transcripts"]
        scores = score_texts([pair["spoken"] for pair in pairs], [pair["written"] for pair in pairs])
        assert one["result"]["wer"] == scores["wer"] <= bars[name]
        assert one["share_of_budget"] <= 1 and len(pairs) == PLANS["standard"].strings
        plan = asdict(PLANS["standard"].models[name])
        for key in ("updates", "hidden", "batch_size", "learning_rate"):
            assert one["settings"][key] == plan[key]
        assert one["settings"]["seed"] == report["seed"]
    assert list(report["models"]) == list(bars) and told(report).count("\n| ") == 4
