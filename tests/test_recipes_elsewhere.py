"""Recipes that wait for the Hub: each takes two steps on data with the real columns and types."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from aural import LogMelFeatureExtractor
from aural.dry_run import dry_run
from aural.runs import train
from aural.training import source_files
from aural.training.recipe_files import load_recipe, recipe_names
from aural.training.sound_labels import label_options

from . import small_corpora
from .tiny_spectrogram import MELS, tiny_spectrogram

LAS = [
    "model.config.listener_hidden_size=8",
    "model.config.attention_size=8",
    "model.config.speller_hidden_size=16",
    "model.config.speller_embedding_size=8",
    "model.config.speller_output_size=16",
]
WRITER = [
    "model.config.encoder.hidden_size=16",
    "model.config.encoder.num_hidden_layers=1",
    "model.config.encoder.num_attention_heads=2",
    "model.config.decoder.hidden_size=16",
    "model.config.decoder.num_hidden_layers=1",
    "model.config.decoder.num_attention_heads=2",
]
TRANSFORMER = ["model.config.hidden_size=16", "model.config.num_hidden_layers=2", "model.config.num_attention_heads=2"]
STEPS = [
    "training.max_steps=2",
    "training.warmup_steps=0",
    "training.dataloader_num_workers=0",
    "training.logging_steps=1",
]
EVALUATED = [
    "training.eval_strategy=steps",
    "training.save_strategy=steps",
    "training.eval_steps=2",
    "training.save_steps=2",
]
HUB = {
    "openslr/librispeech_asr": small_corpora.hub_librispeech,
    "fixie-ai/common_voice_17_0": small_corpora.hub_common_voice,
    "google/speech_commands": small_corpora.hub_speech_commands,
    "ashraq/esc50": small_corpora.hub_esc50,
    "agkphysics/AudioSet": small_corpora.hub_audioset,
}
TOLD = {
    "librispeech-100h": [*LAS, *EVALUATED],
    "librispeech-960h": [*LAS, *EVALUATED],
    "common-voice": [*LAS, *EVALUATED],
    "clotho": [*WRITER, "tokenizer.min_count=1", *EVALUATED],
    "speech-commands-v2": [*TRANSFORMER, *EVALUATED, "training.per_device_train_batch_size=3"],
    "esc-50": ["training.per_device_train_batch_size=3", "training.save_strategy=no"],
    "audioset-balanced": [*EVALUATED, "training.per_device_train_batch_size=3"],
}
SCORES = {
    "librispeech-100h": {"test-clean": "wer", "test-other": "wer"},
    "librispeech-960h": {"test-clean": "wer", "test-other": "wer"},
    "common-voice": {"test": "wer"},
    "clotho": {"evaluation": "bleu_4"},
    "speech-commands-v2": {"test": "accuracy"},
    "esc-50": {"fold": "accuracy"},
    "audioset-balanced": {"evaluation set": "map"},
}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The Hub's data sets, made here; the list of what was asked for."""
    monkeypatch.chdir(tmp_path)
    requests = []

    def load_dataset(path, **options):
        requests.append((path, options))
        return HUB[path]()

    monkeypatch.setattr(source_files, "load_dataset", load_dataset)
    for folder in ("models/ast-audioset", "models/ssast"):
        tiny_spectrogram(num_labels=2, **label_options(["dog", "Speech"])).save_pretrained(folder)
        LogMelFeatureExtractor(num_mel_bins=MELS).save_pretrained(folder)
    clotho = tmp_path / "data/clotho"
    small_corpora.write_speech(clotho, {"development": 6, "validation": 3, "evaluation": 3})
    for table in clotho.glob("*/metadata.csv"):
        lines = table.read_text().replace("text", "caption_1", 1).splitlines()
        rows = [f"{line},{'caption_2' if number == 0 else 'two more'}" for number, line in enumerate(lines)]
        table.write_text("\n".join(rows) + "\n")
    return requests


def test_there_is_a_try_for_each_recipe_that_is_not_run_here():
    waiting = [name for name in recipe_names() if load_recipe(name).status == "not run here"]
    assert sorted(TOLD) == waiting


@pytest.mark.parametrize("name", TOLD)
def test_two_steps_on_the_real_columns(asked, name):
    facts = train(load_recipe(name, [*STEPS, *TOLD[name]]), Path("run"), Console(quiet=True))
    assert facts["state"] == "finished" and facts["updates"] == 2
    assert {one: score for one, score in SCORES[name].items() if score in facts["results"][one]} == SCORES[name]
    report = json.loads(Path("run/report.json").read_text())
    assert [one["dataset"] for one in report["results"]] == list(SCORES[name])
    recipe = load_recipe(name)
    sources = [*recipe.data.train, *recipe.data.eval, *(one for test in recipe.data.test.values() for one in test)]
    wanted = {(one.source, one.subset, one.split) for one in sources if "/" in one.source and one.source in HUB}
    assert {(one, options["name"], options["split"]) for one, options in asked} == wanted


def test_common_voice_is_written_in_letters(asked):
    plan = dry_run(load_recipe("common-voice", [*LAS, *STEPS]), Console(quiet=True))
    assert plan.sets["train"]["clips"] == 6
    assert plan.updates == 2
    assert "’" not in plan.vocabulary and "o" in plan.vocabulary
