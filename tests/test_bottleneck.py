"""`aural demo bottleneck --tiny`: what is trained on what, nothing lost, all numbers of the table from the file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from aural import bottleneck
from aural.bottleneck import PLANS, Run, measure, memory_model, run_bottleneck
from aural.bottleneck_report import FULL, NONE, draw_report, rates_of, report_table, right_from_start, told
from aural.cli import app
from aural.demo import make_processor
from aural.training.clips import load_clips
from aural.training.compose import ComposedStrings, Stage, is_held_out

TINY = PLANS["tiny"]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    return out, run_bottleneck(out, TINY, seed=5, processes=1, console=QUIET)


@pytest.fixture(scope="module")
def processor():
    return make_processor([clip.text for clip in load_clips(TINY.clips)])


def test_every_memory_is_trained_from_every_seed_and_measured_at_every_length(study):
    out, _ = study
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(
        f"{memory}-{seed}.json" for memory in ("slots", "none", "full") for seed in (5, 6)
    )
    report = json.loads((out / "bottleneck.json").read_text())
    expected = [(name, n) for name in (NONE, "1 slot", "2 slots", FULL) for n in (1, 3)]
    assert [(result["memory"], result["length"]) for result in report["results"]] == expected
    assert report["seeds"] == [5, 6]
    for result in report["results"]:
        low, high = result["wer_interval"]
        assert low <= result["wer"] <= high
        assert result["utterances"] == sum(each["utterances"] for each in result["by_seed"]) == 4


def test_rates_are_edits_over_words_of_the_texts_beside_them(study):
    out, _ = study
    report = json.loads((out / "bottleneck.json").read_text())
    for result in report["results"]:
        for each in (result, *result["by_seed"]):
            edits = sum(each[f"word_{kind}"] for kind in ("substitutions", "deletions", "insertions"))
            assert each["wer"] == pytest.approx(edits / each["words"])
        memory = {NONE: "none", FULL: "full"}.get(result["memory"], "slots")
        for each in result["by_seed"]:
            run = json.loads((out / "runs" / f"{memory}-{each['seed']}.json").read_text())
            texts = next(
                r["texts"]
                for r in run["results"]
                if (r["memory"], r["length"]) == (result["memory"], result["length"])
            )
            assert sum(len(pair["spoken"].split()) for pair in texts) == each["words"]
        assert sum(each["words"] for each in result["by_seed"]) == result["words"]


def test_words_count_as_right_until_the_first_wrong_one():
    assert right_from_start("golf oscar kilo", "golf oscar golf oscar golf") == 2
    assert right_from_start("golf oscar", "golf oscar golf") == 2
    assert right_from_start("golf oscar", "golf") == 1
    assert right_from_start("golf", "") == right_from_start("golf", "gol") == 0
    report = {"settings": {"lengths": [1, 2]}, "results": []}
    for length, (one, other) in enumerate([(1.0, 0.5), (1.5, 2.0)], start=1):
        seeds = [{"right_from_start": one}, {"right_from_start": other}]
        report["results"].append({"memory": FULL, "length": length, "by_seed": seeds})
    assert report_table(report, measure="right_from_start").splitlines()[-1] == f"| {FULL} | 0.8 | 1.8 |"


def test_strings_are_held_out_and_the_same_for_every_model_of_a_seed(study):
    out, _ = study
    spoken = {}
    for path in (out / "runs").iterdir():
        for result in json.loads(path.read_text())["results"]:
            texts = [pair["spoken"] for pair in result["texts"]]
            assert spoken.setdefault((path.stem[-1], result["length"]), texts) == texts
            if result["length"] > 1:  # of one recording there is no arrangement
                assert all(is_held_out(text) for text in texts)
    assert spoken["5", 3] != spoken["6", 3]


def test_training_never_joins_more_than_six():
    clips = load_clips(TINY.clips)
    data = ComposedStrings(clips, make_processor([clip.text for clip in clips]), 1600, 0, bottleneck.STAGES, group=16)
    assert {data._number_of_words(index) for index in range(1600)} == {1, 2, 3, 4, 5, 6}


def test_models_differ_in_their_memory_alone(processor):
    models = {memory: memory_model(processor, TINY, memory).config for memory in ("slots", "none", "full")}
    assert [models[memory].memory_slots for memory in models] == [2, None, None]
    assert [models[memory].attention_kind for memory in models] == [TINY.attention_kind, "none", TINY.attention_kind]
    assert len({tuple(config.listener_time_reductions) for config in models.values()}) == 1


def test_the_speller_sees_as_many_slots_as_the_result_says(processor, monkeypatch):
    model, seen = memory_model(processor, TINY, "slots").eval(), []
    generate = type(model).generate

    def watched(self, *args, **options):
        seen.append(options["memory_slots"])
        return generate(self, *args, **options)

    monkeypatch.setattr(type(model), "generate", watched)
    strings = ComposedStrings(load_clips(TINY.clips), processor, 2, 0, (Stage(1.0, 2, 2),))
    results = measure(model, processor, strings, Run("slots", 0, TINY, None))
    assert seen == [1, 2]
    assert [result["memory"] for result in results] == ["1 slot", "2 slots"]
    with torch.no_grad():
        item = strings[1]
        features = torch.as_tensor(item["input_features"])[None]
        alone = processor.batch_decode(
            generate(model, features, num_beams=1, memory_slots=1, ctc_weight=0.0), skip_special_tokens=True
        )
    assert results[0]["texts"][1] == {"spoken": strings.compose(1)[1], "written": alone[0]}


def test_the_same_command_goes_on_with_what_is_missing(study, tmp_path, monkeypatch):
    out, text = study
    (tmp_path / "runs").mkdir()
    for path in (out / "runs").iterdir():
        if path.stem != "none-6":
            (tmp_path / "runs" / path.name).write_bytes(path.read_bytes())
    trained, train = [], bottleneck.train
    monkeypatch.setattr(bottleneck, "train", lambda *args: trained.append(args[3]) or train(*args))
    again = run_bottleneck(tmp_path, TINY, seed=5, processes=1, console=QUIET)
    assert trained == [6]
    assert again.replace(str(tmp_path), "") == text.replace(str(out), "")
    results = [json.loads((folder / "bottleneck.json").read_text())["results"] for folder in (out, tmp_path)]
    assert results[0] == results[1]
    only = run_bottleneck(tmp_path, replace(TINY, seeds=1), seed=5, processes=1, console=QUIET)
    assert trained == [6] and only.splitlines()[0] == text.splitlines()[0]  # fewer seeds are no other settings
    with pytest.raises(FileExistsError, match=r"slots-5\.json is of a run with other settings; choose another --out"):
        run_bottleneck(tmp_path, replace(TINY, strings=3), seed=5, processes=1, console=QUIET)


def test_what_is_finished_is_kept_when_a_later_training_fails(tmp_path, monkeypatch):
    run_one = bottleneck.run_one

    def broken(run, console):
        if run.memory == "full":
            raise KeyboardInterrupt
        run_one(run, console)

    monkeypatch.setattr(bottleneck, "run_one", broken)
    with pytest.raises(KeyboardInterrupt):
        run_bottleneck(tmp_path, TINY, processes=1, console=QUIET)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["none-0.json", "slots-0.json"]


def test_the_table_and_the_figure_say_what_the_file_says(study, tmp_path):
    out, text = study
    report = json.loads((out / "bottleneck.json").read_text())
    for result in report["results"]:  # numbers of our own, which no training would give
        for each in result["by_seed"]:
            each["wer"] = (each["seed"] + result["length"]) / 100
    rates = rates_of(report)
    np.testing.assert_allclose(rates[FULL], [[0.06, 0.08], [0.07, 0.09]])
    lines = report_table(report, [3]).splitlines()
    assert lines[0] == "| recordings in the string (word error rate in %) | 3 |"
    assert lines[-1] == f"| {FULL} | 8.5 |"
    assert len(lines) == 2 + 4
    assert told(json.loads((out / "bottleneck.json").read_text())) in text
    assert (out / "bottleneck.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "moved.json").write_bytes((out / "bottleneck.json").read_bytes())
    draw_report(tmp_path / "moved.json", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (out / "bottleneck.png").read_bytes()


def test_the_command_line_prints_the_table_of_a_finished_study(study):
    out, text = study
    result = CliRunner().invoke(app, ["demo", "bottleneck", "--tiny", "--seed", "5", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert text in result.output
    for flags in (["--long"], ["--corpus", "x"]):
        refused = CliRunner().invoke(app, ["demo", "bottleneck", *flags])
        assert refused.exit_code == 2
        assert f"No such option: {flags[0]}" in refused.output


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "thesis").write_text("years of work")
    with pytest.raises(NotADirectoryError, match="thesis is a file"):
        run_bottleneck(tmp_path / "thesis", TINY, console=QUIET)
