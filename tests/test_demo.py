"""`aural demo --tiny`: everything it writes, and that a seed repeats it bit by bit."""

import io
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from aural import load_recognizer, transcribe
from aural.demo import PLANS, _say, make_model, make_processor, one_thread, run_demo, train
from aural.demo_folder import replace_folder
from aural.training.clips import load_clips
from aural.training.compose import ComposedStrings
from aural.training.progress import RichProgress


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    console = Console(width=200, record=True)
    return out, run_demo(out, PLANS["tiny"], seed=3, console=console), console.export_text()


def test_the_folder_holds_model_report_and_picture(demo):
    out, report, _ = demo
    assert {path.name for path in out.iterdir()} == {"model", "report.json", "alignment.png"}
    assert json.loads((out / "report.json").read_text()) == {"format": 1, **json.loads(json.dumps(report))}
    for name in ("report.json", "alignment.png"):
        assert (out / "model" / name).read_bytes() == (out / name).read_bytes()
    assert "One voice" in (out / "model" / "README.md").read_text()
    assert (out / "alignment.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in out.parent.iterdir() if path != out]  # no scratch is left


def test_the_report_counts_and_gives_intervals(demo):
    _, report, text = demo
    for scores, utterances in zip(report["results"], (4, 2), strict=True):
        assert scores["utterances"] == utterances
        low, high = scores["wer_interval"]
        assert low <= scores["wer"] <= high
        pairs = scores["transcripts"]
        assert sum(len(pair["spoken"].split()) for pair in pairs) == scores["words"]
    assert report["seed"] == 3
    assert "One voice" in text
    assert "new arrangements of recordings" in text


def test_the_saved_model_transcribes_as_the_report_says(demo):
    out, report, _ = demo
    prompts = load_clips("prompt")[:2]
    model, processor = load_recognizer(out / "model")
    written = [result.text for result in transcribe([clip.audio for clip in prompts], model, processor, batch_size=2)]
    assert written == [pair["written"] for pair in report["results"][1]["transcripts"]]


def test_a_seed_repeats_the_run_bit_by_bit_and_replaces_an_earlier_demo(demo, tmp_path):
    out, report, _ = demo
    again = tmp_path / "again"
    again.mkdir()
    (again / "report.json").write_text("an earlier one")
    (again / "model").mkdir()
    second = run_demo(again, PLANS["tiny"], seed=3, console=Console(quiet=True))
    first_weights, second_weights = (load_file(path / "model" / "model.safetensors") for path in (out, again))
    assert first_weights.keys() == second_weights.keys()
    assert all(torch.equal(first_weights[name], second_weights[name]) for name in first_weights)
    for part in ("results", "example"):
        assert second[part] == report[part]


def test_ctrl_c_ends_it_and_leaves_an_earlier_demo(demo, tmp_path, monkeypatch):
    earlier = tmp_path / "demo"
    shutil.copytree(demo[0], earlier)
    monkeypatch.setattr(RichProgress, "on_step_end", lambda *_, **kwargs: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run_demo(earlier, PLANS["tiny"], seed=4, console=Console(quiet=True))
    assert json.loads((earlier / "report.json").read_text())["seed"] == 3
    assert list(tmp_path.iterdir()) == [earlier]


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"holds thesis\.tex"):
        run_demo(tmp_path, PLANS["tiny"], console=Console(quiet=True))
    (tmp_path / "mine" / "model").mkdir(parents=True)  # no report: not a demo's, whatever it is called
    with pytest.raises(FileExistsError, match="holds model"):
        run_demo(tmp_path / "mine", PLANS["tiny"], console=Console(quiet=True))
    with pytest.raises(NotADirectoryError, match="is a file"):
        run_demo(tmp_path / "thesis.tex", PLANS["tiny"], console=Console(quiet=True))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_folder_one_is_in_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aural.demo.train", lambda *args: pytest.fail("it trained first"))
    with pytest.raises(FileExistsError, match="the folder you are in"):
        run_demo(Path("."), PLANS["tiny"], console=Console(quiet=True))


def test_a_path_with_brackets_is_shown_as_it_is(demo):
    out, _, text = demo
    assert f"{out}/model loads" in text
    console = Console(width=40, record=True, quiet=False, file=io.StringIO())
    _say(console, "a [/b] " + "c" * 60)
    assert console.export_text() == "a [/b] " + "c" * 60 + "\n"


def test_an_earlier_demo_is_put_back_when_it_cannot_be_replaced(tmp_path, monkeypatch):
    out, finished = tmp_path / "out", tmp_path / "scratch" / "demo"
    out.mkdir()
    (out / "report.json").write_text("an earlier one")
    finished.mkdir(parents=True)
    rename = Path.rename

    def refused(path, target):
        if path == finished:
            raise PermissionError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError):
        replace_folder(finished, out)
    assert (out / "report.json").read_text() == "an earlier one"


def test_nothing_is_left_when_it_is_interrupted(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("aural.demo.train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "out", PLANS["tiny"], console=Console(quiet=True))
    assert list(tmp_path.iterdir()) == []


def test_held_out_strings_are_never_composed_in_training():
    from aural.demo import WORDS, make_processor
    from aural.training.compose import STRINGS, ComposedStrings, is_held_out

    words = load_clips(WORDS)
    processor = make_processor([clip.text for clip in words])
    training = ComposedStrings(words, processor, 400, seed=0)
    test = ComposedStrings(words, processor, 40, seed=0, stages=STRINGS, held_out=True)
    assert all(is_held_out(test.compose(i)[1]) for i in range(40))
    single = {clip.text for clip in words}
    assert not [text for i in range(400) if (text := training.compose(i)[1]) not in single and is_held_out(text)]


def test_figures_of_the_picture_are_those_of_the_alignment():
    from aural.processing.plots import plot_alignment, token_times

    alignment = np.eye(4)[[0, 2, 3]]
    np.testing.assert_allclose(token_times(alignment, 0.1), [0.05, 0.25, 0.35])
    figure = plot_alignment(np.random.default_rng(0).normal(size=(40, 8)), alignment, ["a", " ", "<eos>"], 0.01, 0.1)
    _, attention = figure.axes[:2]
    assert [label.get_text() for label in attention.get_yticklabels()] == ["a", "␣", "end"]
    np.testing.assert_array_equal(attention.images[0].get_array(), alignment)
    assert attention.get_xlim() == (0, 0.4)
    with pytest.raises(ValueError, match="2 tokens for 3 rows"):
        plot_alignment(np.zeros((40, 8)), alignment, ["a", "b"], 0.01, 0.1)


def test_training_reads_the_strings_in_the_order_of_the_curriculum(monkeypatch, tmp_path):
    read = []
    monkeypatch.setattr(
        "aural.demo.AuralTrainer.train", lambda self: read.extend(self.get_train_dataloader().batch_sampler)
    )
    words, plan = load_clips("digit"), PLANS["tiny"]
    processor = make_processor([clip.text for clip in words])
    data = ComposedStrings(words, processor, plan.updates * plan.batch_size, seed=0, group=plan.batch_size)
    train(make_model(processor, plan.hidden), data, plan, 0, str(tmp_path), Console(quiet=True))
    assert read == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]


def test_threads_are_given_back_also_after_an_error():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyboardInterrupt
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_weights_and_strings_follow_from_the_seed(monkeypatch, tmp_path):
    def start(seed):  # what a run hands to its training
        def caught(model, data, *_):
            seen.append(({name: value.clone() for name, value in model.state_dict().items()}, data))
            raise KeyboardInterrupt

        seen: list = []
        monkeypatch.setattr("aural.demo.train", caught)
        with pytest.raises(KeyboardInterrupt):
            run_demo(tmp_path / "out", PLANS["tiny"], seed=seed, console=Console(quiet=True))
        return seen[0]

    (first, data), (again, _), (other, _) = (start(seed) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert (data.seed, data.group, len(data), data.held_out) == (3, 4, 16, False)  # a batch shares its number of words


def test_measured_strings_are_held_out(demo):
    from aural.training.compose import is_held_out

    _, report, _ = demo
    assert all(is_held_out(pair["spoken"]) for pair in report["results"][0]["transcripts"])


@pytest.mark.full
@pytest.mark.parametrize(("plan", "bar"), [("standard", 0.08), ("long", 0.04)])
def test_the_demo_reaches_its_bar(plan, bar, tmp_path):
    report = run_demo(tmp_path / "out", PLANS[plan], console=Console(quiet=True))
    strings = report["results"][0]
    assert strings["utterances"] >= 300
    assert strings["wer"] <= bar
    assert report["machine"]["peak_memory_gb"] < 4
