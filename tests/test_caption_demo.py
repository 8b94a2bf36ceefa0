"""`aural demo captions` on made-up sounds: which kits are heard, the report, the picture, a folder that captions."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import aural
from aural.caption_demo import PLANS, load_sounds, run_captions
from aural.cli import app
from aural.training.drum_labels import KITS
from aural.training.effects import EFFECTS
from aural.training.mix_grammar import FAMILIES, parse
from aural.training.progress import RichProgress
from aural.training.report_reader import read_report

LABELS = ("kick", "snare", "tom", "hihat")


def write_tone(path: Path, hertz: float) -> None:
    time = np.arange(3_200) / 16_000
    soundfile.write(path, 0.5 * np.cos(2 * np.pi * hertz * time) * np.exp(-time * 10), 16_000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Every kit has four drums, each a tone of its own, and every effect another."""
    root = tmp_path_factory.mktemp("mixes")
    for name in ("drums", "effects"):
        (root / name).mkdir()
    rows = ["file_name,label,kit,fold,instrument,velocity,duration,licence"]
    for place, (kit, facts) in enumerate(KITS.items()):
        for number, label in enumerate(LABELS):
            write_tone(root / "drums" / f"{place}-{label}.wav", 300 + 200 * number + 7 * place)
            rows.append(f"{place}-{label}.wav,{label},{kit},{facts.fold},{label},,0.2,{facts.licence}")
    (root / "drums" / "metadata.csv").write_text("\n".join(rows) + "\n")
    rows = ["file_name,label,stamp,duration"]
    for number, label in enumerate(EFFECTS):
        write_tone(root / "effects" / f"{label}.wav", 1_500 + 150 * number)
        rows.append(f"{label}.wav,{label},x,0.2")
    (root / "effects" / "metadata.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "captions"
    run_captions(corpus, out, PLANS["tiny"])
    return out


def test_kits_are_heard_whose_licence_lets_the_weights_be_shared(corpus):
    sounds = load_sounds(corpus)
    heard, unheard = ({sound.kit for sound in each} for each in (sounds.heard, sounds.unheard))
    assert heard | unheard == set(KITS) and not heard & unheard
    assert {KITS[kit].licence[:5] for kit in heard} == {"GPL-2"}
    assert not any(KITS[kit].licence.startswith("GPL-2") for kit in unheard)
    assert {sound.source for sound in sounds.effects} == set(EFFECTS)
    apart = load_sounds(corpus, held_out=("VariBreaks",))
    assert {sound.kit for sound in apart.unheard} == {"VariBreaks"}
    assert {sound.kit for sound in apart.heard} == heard - {"VariBreaks"}


def test_the_report_has_both_tests_with_every_caption(finished):
    report = read_report(finished / "report.json")  # counts every score again
    assert [result.split for result in report.results] == ["recordings heard", "kits never heard"]
    for result in report.results:
        assert (result.dataset, result.clips) == ("described mixes", PLANS["tiny"].test)
        assert result.measures.keys() == {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "exact"}
        for each in result.captions:
            told = {parse(text) for text in each.references}
            assert len(told) == 1 and len(each.references) == 3
            (description,) = told
            assert description is not None and len(description.parts) > 1
            assert set(description.sources) & set(FAMILIES)


def test_the_report_is_refused_when_a_caption_was_changed(finished, tmp_path):
    values = json.loads((finished / "report.json").read_text())
    prediction = values["results"][0]["predictions"][0]
    prediction["caption"] = prediction["references"][1]
    (tmp_path / "report.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"results\[0\]\.bleu_1 is .*; it must be what its captions give"):
        read_report(tmp_path / "report.json")


def test_the_model_folder_captions_has_a_card_and_publishes(finished):
    folder = finished / "model"
    assert (folder / "captions.png").read_bytes() == (finished / "captions.png").read_bytes()
    card = (folder / "README.md").read_text()
    assert "license: gpl-2.0" in card and "aural.caption(" in card and "Exactly right (95% interval)" in card
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000 * 12).astype(np.float32)
    found = aural.caption(sound, folder)
    assert [(one.start, one.end) for one in found] == [(0, 10), (2, 12)]  # no mix is longer than 10 s
    checked = CliRunner().invoke(app, ["publish", str(folder), "user/captions", "--dry-run"])
    assert checked.exit_code == 0, checked.output


def test_a_seed_repeats_the_weights_and_an_earlier_demo_is_replaced(finished, corpus, tmp_path):
    first = (finished / "model" / "model.safetensors").read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    (again / "report.json").write_text("an earlier one")
    run_captions(corpus, again, PLANS["tiny"])
    assert (again / "model" / "model.safetensors").read_bytes() == first
    assert {path.name for path in again.iterdir()} == {"model", "report.json", "captions.png"}


@pytest.mark.xdist_group("torchrun")  # not two launches at once
def test_two_processes_learn_what_one_learns(finished, corpus, tmp_path):
    run_captions(corpus, tmp_path / "two", replace(PLANS["tiny"], processes=2))
    alone, shared = (load_file(out / "model" / "model.safetensors") for out in (finished, tmp_path / "two"))
    for name, expected in alone.items():
        # the order of sums; Adam's first steps, of a gradient over its own size, enlarge what it does to tiny ones
        torch.testing.assert_close(shared[name], expected, atol=1e-4, rtol=0, msg=name)


def test_a_folder_of_something_else_is_left_alone(corpus, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds mine\.txt, which is no part of a demo"):
        run_captions(corpus, tmp_path, PLANS["tiny"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(NotADirectoryError, match="is a file"):
        run_captions(corpus, tmp_path / "mine.txt", PLANS["tiny"])


def test_ctrl_c_ends_it_and_leaves_nothing(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(RichProgress, "on_step_end", lambda *_, **kwargs: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run_captions(corpus, tmp_path / "out", PLANS["tiny"])
    assert list(tmp_path.iterdir()) == []


def test_processes_share_a_batch_evenly():
    for processes in (0, 3):
        with pytest.raises(ValueError, match=f"batch_size=8 must be a multiple of processes={processes}"):
            replace(PLANS["standard"], processes=processes)


def test_flags_of_the_other_demos_are_refused():
    result = CliRunner().invoke(app, ["demo", "captions", "--processes", "2"])
    assert result.exit_code == 2 and "--processes" in result.output
    result = CliRunner().invoke(app, ["demo", "captions", "--long"])
    assert result.exit_code == 2 and "--long" in result.output
