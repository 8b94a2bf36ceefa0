"""Each `-tiny` recipe on a corpus in the form that it asks for: trained, measured, and loaded again."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from aural import tag, transcribe
from aural.runs import train
from aural.training.publishing import plan_publication
from aural.training.recipe_files import load_recipe

from .small_corpora import write_folds, write_sounds, write_speech

THREE = {"train": 12, "dev": 4, "test": 4}


@pytest.fixture
def corpora(tmp_path, monkeypatch):
    """The folder that commands run in, with data/ in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("speech", "prompts-en", "fillets-nl", "stamps"):
        write_speech(
            tmp_path / "data" / name, THREE, ("één twee", "drie") if name == "fillets-nl" else ("one two", "three")
        )
    write_speech(tmp_path / "data/synthetic-en", {"train": 12, "dev": 4, "test-sentences": 4, "test-voices": 4})
    write_sounds(tmp_path / "data/sounds", THREE)
    write_folds(tmp_path / "data/drums")
    return tmp_path


def run(name, *told):
    return train(load_recipe(name, told), Path("runs") / name, Console(quiet=True))


@pytest.mark.parametrize("name", ["las", "prompts-en", "synthetic-en", "fillets-nl", "stamps"])
def test_speech_recipes_end_in_a_folder_that_transcribes(corpora, name):
    facts = run(f"{name}-tiny")
    folder = corpora / f"runs/{name}-tiny"
    assert facts["state"] == "finished" and facts["updates"] == 4
    sets = load_recipe(name).data.test
    assert list(facts["results"]) == list(sets)
    assert all(result["utterances"] == 4 for result in facts["results"].values())
    clip = next((corpora / "data").glob(f"{name if name != 'las' else 'speech'}/dev/*.flac"))
    assert isinstance(transcribe(clip, folder)[0].text, str)
    if sets:
        report = json.loads((folder / "report.json").read_text())
        assert [one["dataset"] for one in report["results"]] == list(sets)
        assert [one["wer"] for one in report["results"]] == [one["wer"] for one in facts["results"].values()]
        sent = {file.name for file in plan_publication(folder, "user/mine").files}
        assert {"model.safetensors", "README.md", "normalization.json"} <= sent
        assert not sent & {"recipe.yaml", "run.json"}  # which may name folders of whoever trained
    assert (folder / "training.png").is_file() and (folder / "listening.png").is_file()
    assert sorted(path.name for path in (folder / "examples").iterdir()) == [
        "update-0000002.png",
        "update-0000002.txt",
        "update-0000004.png",
        "update-0000004.txt",
    ]


@pytest.mark.parametrize(("name", "corpus"), [("tagging", "sounds/dev"), ("drums", "drums")])
def test_sound_recipes_end_in_a_folder_that_tags(corpora, name, corpus):
    facts = run(f"{name}-tiny")
    assert facts["state"] == "finished"
    clip = next((corpora / "data" / corpus).glob("*.flac"))
    assert tag(clip, corpora / f"runs/{name}-tiny")[0].labels == ("clap", "kick", "snare")
    if name == "drums":
        assert facts["results"]["kits of fold 5"]["clips"] == 3


def test_a_transfer_starts_from_the_weights_of_its_base_with_its_own_letters(corpora):
    run("stamps-tiny")
    facts = run("stamps-to-fillets-nl-tiny")
    assert facts["state"] == "finished"
    vocabulary = json.loads((corpora / "runs/stamps-to-fillets-nl-tiny/tokenizer.json").read_text())["model"]["vocab"]
    assert "é" in vocabulary and "h" not in vocabulary
    report = json.loads((corpora / "runs/stamps-to-fillets-nl-tiny/report.json").read_text())
    assert report["base_model"] == "stamps-tiny"


def test_a_transfer_keeps_a_vocabulary_that_spells_its_texts(corpora):
    run("synthetic-en-tiny")
    run("synthetic-en-to-prompts-en-tiny")
    one, other = (
        (corpora / f"runs/{name}-tiny/tokenizer.json").read_text()
        for name in ("synthetic-en", "synthetic-en-to-prompts-en")
    )
    assert json.loads(one)["model"] == json.loads(other)["model"]
