"""A run: refused, begun, gone on with, finished, measured; and what a dry run and an evaluation tell."""

import io
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from aural.cli import app
from aural.dry_run import dry_run, render
from aural.evaluation import evaluate
from aural.runs import make_task, make_trainer, open_sets, train
from aural.training.recipe_files import load_recipe
from aural.training.sources import Source

from .small_corpora import WORDS, write_sounds, write_speech

QUICK = ["training.log_examples=0", "training.eval_strategy=no", "training.load_best_model_at_end=false"]
QUICK += ["training.early_stopping_patience=null"]


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """The folder that commands run in, with data/speech and its three splits."""
    monkeypatch.chdir(tmp_path)
    write_speech(tmp_path / "data/speech", {"train": 12, "dev": 4, "test": 4})
    return tmp_path


def run(out="run", *told, name="las-tiny"):
    return train(load_recipe(name, [*QUICK, *told]), Path(out), Console(quiet=True))


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


def assert_same(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_a_run_follows_from_stands_beside_every_checkpoint(speech):
    facts = run()
    for folder in ("run", "run/checkpoint-2", "run/checkpoint-4"):
        assert load_recipe(f"{folder}/recipe.yaml") == load_recipe("las-tiny", QUICK)
        kept = json.loads(Path(folder, "run.json").read_text())
        for name in ("seed", "versions", "data_fingerprint"):
            assert kept[name] == facts[name]
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["pace"]["updates"] == 4
    assert json.loads(Path("run/run.json").read_text())["state"] == "finished"


def test_the_same_command_leaves_a_finished_run_alone(speech):
    first = run()
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")}
    assert run() == json.loads(json.dumps(first, default=str))
    assert {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")} == before


def test_a_run_asked_to_stop_goes_on_to_the_weights_of_an_unbroken_one(speech):
    run("whole", "training.max_steps=12")
    recipe = load_recipe("las-tiny", [*QUICK, "training.max_steps=12"])

    def stop():
        for _ in range(6000):
            if Path("broken/checkpoint-2").is_dir():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            threading.Event().wait(0.005)

    watcher = threading.Thread(target=stop)
    watcher.start()
    facts = train(recipe, Path("broken"), Console(quiet=True))
    watcher.join()
    assert facts["state"] == "stopped" and facts["pace"]["updates"] < 12
    assert train(recipe, Path("broken"), Console(quiet=True))["state"] == "finished"
    assert_same("whole", "broken")


def test_another_recipe_or_other_data_are_not_mixed_into_a_run(speech):
    run()
    with pytest.raises(ValueError, match=r"run with another training\.learning_rate; choose another --out"):
        run("run", "training.learning_rate=0.1")
    recipe, facts = Path("run/recipe.yaml"), Path("run/run.json")
    facts.write_text(facts.read_text().replace("finished", "running"))  # as if it had been killed
    table = Path("data/speech/train/metadata.csv")
    table.write_text(table.read_text().replace("three", "tree"))
    with pytest.raises(ValueError, match="other data"):
        run()
    recipe.write_text("a: [")
    with pytest.raises(ValueError, match="damaged notes"):
        run()


def test_what_only_shows_or_costs_may_change_when_a_run_goes_on(speech):
    run()
    assert run("run", "training.logging_steps=3", "training.save_total_limit=1")["state"] == "finished"


def test_foreign_folders_and_files_are_not_written_into(speech):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match=r"mine holds thesis\.txt"):
        run("mine")
    Path("file").write_text("x")
    with pytest.raises(NotADirectoryError, match="file is a file"):
        run("file")


def test_clips_too_short_for_ctc_are_left_out_and_counted(speech):
    table = Path("data/speech/train/metadata.csv")
    table.write_text(table.read_text().replace("three two", "three two " * 9))
    facts = run()
    assert facts["dropped"] == {"too short for CTC to align its text": 2}
    assert facts["state"] == "finished"


def test_frozen_parts_do_not_move_and_the_rest_does(speech):
    run("base")
    facts = run("tuned", "model.base=base", "model.freeze=[listener]")
    assert facts["state"] == "finished"
    one, other = weights("base"), weights("tuned")
    moved = {name for name in one if not one[name].equal(other[name])}
    assert not any("listener" in name for name in moved) and moved


def test_a_recipe_of_adapters_leaves_them_and_the_merged_model(speech):
    run("base")
    run("adapted", "model.base=base", "model.lora.r=2")
    base, merged = weights("base"), weights("adapted")
    assert base.keys() == merged.keys()
    changed = {name for name in base if not base[name].equal(merged[name])}
    assert changed and not any("weight_hh" in name or "listener" in name for name in changed)
    made = CliRunner().invoke(app, ["merge", "adapted/adapter", "again"])
    assert made.exit_code == 0
    assert_same("adapted", "again")


def test_the_best_weights_are_kept_and_patience_ends_a_run(speech):
    told = ["training.max_steps=40", "training.learning_rate=0", "training.early_stopping_patience=2"]
    facts = train(load_recipe("las-tiny", [*told, "training.log_examples=0"]), Path("run"), Console(quiet=True))
    assert facts["updates"] == 6  # evaluated at 2, 4, 6: never better than at 2
    assert facts["best"]["checkpoint"] == "checkpoint-2"


def test_sources_with_weights_are_drawn_in_their_shares(speech):
    write_speech(speech / "data/more", {"train": 12})
    shares = (
        "data.train=[{source: data/speech, split: train, weight: 3}, {source: data/more, split: train, weight: 1}]"
    )
    recipe = load_recipe("las-tiny", [*QUICK, shares])
    sets = open_sets(recipe)
    trainer = make_trainer(
        recipe, make_task(recipe, sets.train, Console()), sets, Path("run"), {}, Console(quiet=True)
    )
    items = trainer.train_dataset
    first = np.array(["data/speech" in row["audio"]["path"] for row in items.dataset])
    assert items.sample_weights[first].sum() == pytest.approx(3 * items.sample_weights[~first].sum())
    drawn = [index for batch in trainer.get_train_dataloader().batch_sampler for index in batch]
    assert first[drawn].mean() == pytest.approx(0.75, abs=0.09)  # of 24 draws
    assert run("run", shares)["state"] == "finished"


def test_a_stream_trains_with_an_alphabet_and_a_number_of_updates(speech):
    told = ["data.streaming=true", "data.frames_per_batch=null", "training.per_device_train_batch_size=3"]
    with pytest.raises(ValueError, match=r"tokenizer\.alphabet is missing"):
        run("run", *told)
    alphabet = "".join(sorted(set("".join(WORDS))))
    facts = run("run", *told, f"tokenizer.alphabet='{alphabet}'")
    assert facts["state"] == "finished" and facts["updates"] == 4


def test_a_dry_run_counts_the_data_and_writes_nothing(speech):
    before = sorted(speech.rglob("*"))
    plan = dry_run(load_recipe("las-tiny"), Console(quiet=True))
    assert (plan.sets["train"]["clips"], plan.sets["eval"]["clips"]) == (12, 4)
    assert plan.sets["train"]["hours"] == pytest.approx(
        sum(0.8 + 0.05 * index for index in range(12)) / 3600, rel=1e-4
    )
    assert plan.vocabulary == ["<pad>", "<bos>", "<eos>", "<unk>", " ", *sorted(set("".join(WORDS)) - {" "})]
    assert plan.trainable == plan.parameters
    assert plan.updates == 4
    assert plan.seconds > 0
    assert plan.disk == 3 * 12 * plan.parameters + 4 * plan.parameters  # two checkpoints and the next, with Adam
    assert sorted(speech.rglob("*")) == before
    assert f"{plan.parameters:,} parameters" in "\n".join(part for part in render(plan) if isinstance(part, str))


def test_a_dry_run_keeps_no_features_and_tells_what_they_would_take(speech):
    before = sorted(speech.rglob("*"))
    plan = dry_run(load_recipe("las-tiny", ["augmentation.speed=[]", "data.cache=features"]), Console(quiet=True))
    seconds = sum(0.8 + 0.05 * index for clips in (12, 4) for index in range(clips))
    assert plan.cache == pytest.approx(seconds * 100 * 16 * 4, rel=0.01)  # frames a second, mels, bytes
    assert sorted(speech.rglob("*")) == before


def test_a_dry_run_tells_the_padding_of_a_whole_epoch(speech):
    frames = sorted(int(0.8 * 100 + 5 * index) - 2 for index in range(12))  # 25 ms frames every 10 ms
    told = ["data.frames_per_batch=null", "training.per_device_train_batch_size=12"]
    plan = dry_run(load_recipe("las-tiny", told), Console(quiet=True))
    assert plan.padding_share == pytest.approx(1 - sum(frames) / (12 * frames[-1]), abs=1e-6)
    assert plan.clips_per_update == 12


def test_a_dry_run_of_epochs_counts_their_updates(speech):
    recipe = load_recipe("las-tiny", ["training.max_steps=-1", "training.num_train_epochs=5"])
    one = load_recipe("las-tiny", ["training.max_steps=-1", "training.num_train_epochs=1"])
    assert dry_run(recipe, Console(quiet=True)).updates == 5 * dry_run(one, Console(quiet=True)).updates


def test_evaluate_repeats_the_scores_of_a_runs_own_tests(speech):
    facts = run("run", "data.test.kept={source: data/speech, split: test}")
    results = evaluate("run", out=Path("scores.json"))
    assert {name: results["kept"][name] for name in ("wer", "cer")} == {
        name: facts["results"]["kept"][name] for name in ("wer", "cer")
    }
    assert len(json.loads(Path("scores.json").read_text())["kept"]["transcripts"]) == 4


def test_commands_answer_in_words(speech):
    runner = CliRunner()
    listed = runner.invoke(app, ["recipes", "list"]).output
    assert "prompts-en" in listed and "not run here" in listed
    shown = runner.invoke(app, ["recipes", "show", "las-tiny", "--set", "training.seed=7"]).output
    Path("mine.yaml").write_text(shown)
    assert load_recipe("mine.yaml") == load_recipe("las-tiny", ["training.seed=7"])
    dry = runner.invoke(app, ["train", "mine.yaml", "--dry-run"])
    assert dry.exit_code == 0 and "12" in dry.output and not Path("runs").exists()
    quick = [part for one in QUICK for part in ("--set", one)]
    made = runner.invoke(app, ["train", "mine.yaml", *quick])
    assert made.exit_code == 0 and "s of audio per second" in made.output
    assert Path("runs/mine/model.safetensors").is_file()
    scored = runner.invoke(app, ["evaluate", "runs/mine", "--data", "data/speech", "--split", "test"])
    assert scored.output.startswith("data/speech: WER")


def test_evaluate_needs_data_where_no_recipe_names_them(speech):
    run()
    with pytest.raises(ValueError, match="name the data"):
        evaluate("run")


def test_several_labels_per_clip_are_learnt_and_scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sounds(tmp_path / "data/sounds", {"train": 9, "dev": 3, "test": 3})
    for table in Path("data/sounds").glob("*/metadata.csv"):
        table.write_text(table.read_text().replace("snare", "snare;clap"))
    told = ["data.test.kept={source: data/sounds, split: test}", "training.metric_for_best_model=map"]
    facts = train(load_recipe("tagging-tiny", told), Path("run"), Console(quiet=True))
    assert facts["results"]["kept"]["problem_type"] == "multi_label_classification"
    assert 0 < facts["results"]["kept"]["map"] <= 1


def test_corrupt_clips_are_skipped_told_and_past_a_share_stop_the_run(speech):
    for split in ("train", "dev"):
        Path(f"data/speech/{split}/0.flac").write_bytes(b"fLaC\0\0")
    told = ["data.test.kept={source: data/speech, split: dev}"]
    shown = Console(record=True, width=200, file=io.StringIO())
    facts = train(load_recipe("las-tiny", [*QUICK, *told]), Path("run"), shown)
    assert facts["skipped"]["corrupt"] == 1 and list(facts["skipped"]["clips"]) == ["0.flac"]
    assert facts["results"]["kept"]["utterances"] == 3
    text = shown.export_text()
    assert text.count("0.flac") == 3 and "1 of 4 clips could not be used" in text  # dev steers and tests, and train
    with pytest.raises(ValueError, match="max_corrupt=0 of the clips: the run stops"):
        run("strict", "data.max_corrupt=0")


def test_the_texts_normalization_is_kept_beside_the_model_for_evaluations(speech):
    table = Path("data/speech/dev/metadata.csv")
    run("run", "training.max_steps=2")
    lower = evaluate("run", {"dev": [Source("data/speech", split="dev")]})
    table.write_text(table.read_text().replace("one", "ONE").replace("two", "TWO").replace("three", "Three"))
    assert evaluate("run", {"dev": [Source("data/speech", split="dev")]}) == lower
    assert evaluate("run", {"dev": [Source("data/speech", split="dev")]}, "none") != lower


def test_features_come_from_a_cache_where_the_recipe_names_one(speech):
    run("plain", "augmentation.speed=[]")
    run("cached", "augmentation.speed=[]", "data.cache=features")
    assert len(list(Path("features").rglob("*.npy"))) == 12  # also after checkpoints were saved
    assert_same("plain", "cached")
    with pytest.raises(ValueError, match="augment_audio changes waveforms and features come from a cache"):
        run("both", "data.cache=features")


def test_trackers_get_numbers_transcripts_and_the_alignment(speech):
    told = ["training.report_to=tensorboard", "training.log_examples=2"]
    train(load_recipe("las-tiny", told), Path("run"), Console(quiet=True))
    folder = next(path.parent for path in Path("run").rglob("events.out.tfevents*"))
    events = EventAccumulator(str(folder)).Reload()
    assert [one.step for one in events.Scalars("eval/wer")] == [2, 4]
    assert [one.step for one in events.Images("alignment")] == [2, 4]
    text = events.Tensors("examples/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text.count("spoken:") == 2
    assert Path("run/examples/update-0000004.txt").read_text().startswith("spoken:  one two\nwritten: ")
