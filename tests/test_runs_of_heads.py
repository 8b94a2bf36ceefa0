"""Runs of the patch transformer's heads, each from a recipe to a card: CTC, a decoder, pre-training, captions."""

import csv
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

from aural import (
    CtcTokenizer,
    SpectrogramTransformerForConditionalGeneration,
    SpectrogramTransformerForCTC,
    SpectrogramTransformerForPreTraining,
    transcribe,
)
from aural.dry_run import dry_run, render
from aural.evaluation import evaluate
from aural.processing import load_audio
from aural.run_tasks import load_task
from aural.runs import make_task, make_trainer, open_sets, train, without_misfits
from aural.training.cards import render_card
from aural.training.metrics import score_texts
from aural.training.recipe_files import load_recipe

from .small_corpora import WORDS, write_sounds, write_speech

QUIET = Console(quiet=True)
CARD = "data.card={license: cc-by-4.0, language: en, dataset: tones}"
SHORT = ["training.max_steps=2", "training.eval_strategy=no", "training.load_best_model_at_end=false"]
SHORT += ["training.early_stopping_patience=null", "training.log_examples=0", "training.save_strategy=no"]
SPEECH = ["data.test.kept out={source: data/speech, split: test}", CARD]
SOUNDS = ["data.train={source: data/sounds, split: train}", "data.eval={source: data/sounds, split: dev}"]
FINE = ["model.config.patch_size=[32, 6]", "model.config.patch_stride=[32, 4]"]  # a column for every character
DECODER = "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}"
CAPTIONS = [
    f"data.{role}={{source: data/captions, split: {split}, target_column: 'caption_*'}}"
    for role, split in (("train", "train"), ("eval", "dev"), ("test.kept out", "test"))
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with data/speech, data/sounds and data/captions in it."""
    folder = tmp_path_factory.mktemp("heads")
    write_speech(folder / "data/speech", {"train": 12, "dev": 4, "test": 4})
    write_sounds(folder / "data/sounds", {"train": 12, "dev": 4, "test": 4})
    write_speech(folder / "data/captions", {"train": 12, "dev": 4, "test": 4})
    for table in (folder / "data/captions").glob("*/metadata.csv"):
        with table.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        with table.open("w", newline="") as file:
            written = [(name, text, f"a {text}") for name, text in rows]
            csv.writer(file).writerows([("file_name", "caption_1", "caption_2"), *written])
    return folder


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


def run(name, *told, out=None):
    folder = Path("runs") / (out or name)
    return folder, train(load_recipe(f"{name}-tiny", [*SHORT, *told]), folder, QUIET)


def task(name, *told):
    recipe = load_recipe(f"{name}-tiny", [*SHORT, *told])
    torch.manual_seed(0)
    return recipe, make_task(recipe, open_sets(recipe).train, QUIET)


def encoder(folder):
    weights = load_file(Path(folder) / "model.safetensors")
    return {name: value for name, value in weights.items() if name.startswith("spectrogram_transformer.")}


@pytest.fixture(scope="module")
def ears(home):
    """A pre-trained encoder whose columns are fine enough for CTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        told = ["data.test.kept out={source: data/sounds, split: test}", "data.card={license: mit, dataset: tones}"]
        folder, facts = run("pretraining", *SOUNDS, *FINE, *told, out="ears")
        assert facts["state"] == "finished"
    return home / folder


KINDS = {"ctc": SpectrogramTransformerForCTC, "seq2seq": SpectrogramTransformerForConditionalGeneration}


@pytest.mark.parametrize("name", KINDS)
def test_a_recipe_of_a_head_that_writes_ends_in_a_folder_that_transcribes(name):
    folder, facts = run(name, *SPEECH)
    model = KINDS[name].from_pretrained(folder)
    assert model.config.num_mel_bins == 32
    clips = sorted(Path("data/speech/test").glob("*.flac"))
    written = [one.text for one in transcribe([str(clip) for clip in clips], folder)]
    scores = score_texts([WORDS[i] for i in range(4)], written)
    result = facts["results"]["kept out"]
    assert result["wer"] == pytest.approx(scores["wer"]) and result["cer"] == pytest.approx(scores["cer"])
    measured = evaluate(folder)["kept out"]
    assert measured["wer"] == result["wer"] and [one["written"].strip() for one in measured["transcripts"]] == written
    card = render_card(folder)
    assert card.data.pipeline_tag == "automatic-speech-recognition"
    assert "aural.transcribe(" in str(card) and 'pipeline("automatic-speech-recognition"' in str(card)


def test_a_ctc_folder_holds_the_tokenizer_that_collapses():
    _, made = task("ctc")
    assert isinstance(made.processing.tokenizer, CtcTokenizer)
    assert made.model.config.vocab_size == len(made.processing.tokenizer) == len(made.outputs)
    assert made.model.config.sampling_rate == 16_000
    told = "\n".join(map(str, render(dry_run(load_recipe("ctc-tiny"), QUIET))[1:]))
    assert f"{len(made.outputs)} outputs: <pad> <bos> <eos> <unk>" in told


def test_an_evaluation_amid_training_reads_the_best_path():
    recipe = load_recipe("ctc-tiny", [*SHORT, *SPEECH, "training.eval_strategy=steps", "training.eval_steps=2"])
    sets = open_sets(recipe)
    made = make_task(recipe, sets.train, QUIET)
    trainer = make_trainer(recipe, made, sets, Path("runs/amid"), {}, QUIET)
    extractor, tokenizer, written = made.processing.feature_extractor, made.processing.tokenizer, []
    for row in sets.eval.dataset:
        inputs = extractor(load_audio(row["audio"], 16_000), sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            path = made.model.eval()(**inputs).logits[0].argmax(-1)
        written.append(tokenizer.decode(torch.unique_consecutive(path).tolist(), skip_special_tokens=True))
    expected = score_texts(sets.eval.dataset["text"], written)
    found = trainer.evaluate()
    assert found["eval_wer"] == pytest.approx(expected["wer"]) and found["eval_cer"] == pytest.approx(expected["cer"])
    assert len({*written}) > 1 or any(written)  # says something


def test_a_head_that_does_not_generate_is_not_asked_to():
    with pytest.raises(
        ValueError, match="predict_with_generate is true, but SpectrogramTransformerForCTC writes without"
    ):
        task("ctc", "training.predict_with_generate=true")


@pytest.mark.parametrize("name", KINDS)
def test_a_stopped_run_goes_on_to_the_weights_of_an_unbroken_one(name):
    told = ["training.max_steps=8", "training.save_strategy=steps", "training.save_steps=2"]
    whole, _ = run(name, *told, out=f"{name}-whole")
    out = Path(f"runs/{name}-broken")

    def stop():
        for _ in range(6000):
            if (out / "checkpoint-2").is_dir():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            threading.Event().wait(0.005)

    watcher = threading.Thread(target=stop)
    watcher.start()
    _, facts = run(name, *told, out=f"{name}-broken")
    watcher.join()
    assert facts["state"] == "stopped"
    assert run(name, *told, out=f"{name}-broken")[1]["state"] == "finished"
    one, other = (load_file(folder / "model.safetensors") for folder in (whole, out))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "told", "longest"),
    [
        ("ctc", [], "three two one three two"),  # 23 letters and two doubles of "three" need 25 columns
        ("seq2seq", [], "three two one three two"),
        ("seq2seq", ["model.config.ctc_weight=0"], None),
    ],
)
def test_clips_too_short_for_ctc_are_left_out_and_counted(name, told, longest, tmp_path):
    texts = ("one", "three two one three two", "two", "three")
    write_speech(tmp_path / "speech", {"train": 4}, texts)  # 0.8 s: 20 columns of 40 ms
    told = [*told, f"data.train={{source: {tmp_path}/speech, split: train}}", "data.eval=null"]
    recipe, made = task(name, *told)
    sets = without_misfits(open_sets(recipe), made)
    assert list(sets.train.dataset["text"]) == [text for text in texts if text != longest]
    assert sets.train.dropped.get("too short for CTC to align its text", 0) == (longest is not None)


def test_preset_and_config_make_encoder_and_decoder():
    _, made = task("seq2seq", "model.preset=small", "model.config.encoder.hidden_size=24")
    config = made.model.config
    assert (config.encoder.hidden_size, config.encoder.num_attention_heads) == (24, 2)
    assert (config.decoder.hidden_size, config.decoder.vocab_size) == (16, len(made.outputs))
    assert (config.ctc_weight, config.label_smoothing) == (0.4, 0.1)


@pytest.mark.parametrize(
    ("name", "told", "said"),
    [
        ("ctc", "model.config.vocab_size=9", r"model\.config\.vocab_size is 9, but it follows from the data"),
        ("ctc", "model.config.hiden_size=9", r"model\.config has no key 'hiden_size'; did you mean 'hidden_size'"),
        (
            "seq2seq",
            "model.config.encoder.num_mel_bins=9",
            r"encoder\.num_mel_bins is 9, but it follows",
        ),
        ("seq2seq", "model.config.decoder.vocab_size=9", r"model\.config\.decoder\.vocab_size is 9, but it follows"),
        ("seq2seq", "model.config.decoder.layers=9", r"model\.config\.decoder has no key 'layers'"),
        ("seq2seq", "model.config.decodr={}", r"model\.config has no key 'decodr'; did you mean 'decoder'"),
        ("ctc", "tokenizer.phonemes=nl", "SpectrogramTransformerForCTC has no head for phonemes beside the text"),
    ],
)
def test_what_a_recipe_cannot_tell_of_a_head_is_refused_by_name(name, told, said):
    with pytest.raises(ValueError, match=said):
        task(name, told)


def test_pre_training_needs_no_table_and_tells_its_loss(ears):
    facts = json.loads((ears / "run.json").read_text())
    assert facts["results"]["kept out"]["masked_loss"] == evaluate(ears)["kept out"]["masked_loss"]
    made = load_task(ears, load_recipe(ears / "recipe.yaml"))
    rows = open_sets(load_recipe(ears / "recipe.yaml")).test["kept out"]
    batches = [made.collator()([item]) for item in made.dataset(rows.dataset, training=False)]
    patches = np.array([(batch["labels"] == 1).sum() for batch in batches])
    with torch.no_grad():
        losses = np.array([made.model.eval()(**batch).loss for batch in batches])
    loss = facts["results"]["kept out"]["masked_loss"]
    assert loss == pytest.approx((patches * losses).sum() / patches.sum(), rel=1e-5)
    card = str(render_card(ears))
    assert "Loss on masked patches" in card and "AutoModel.from_pretrained" in card and "2207.06405" in card
    assert "masked_loss" in card and "pipeline_tag: feature-extraction" in card


def test_recordings_without_a_table_are_data_for_pre_training(tmp_path):
    write_sounds(tmp_path / "sounds", {"day": 3, "night": 2})
    for table in tmp_path.rglob("metadata.csv"):
        table.unlink()
    told = [f"data.train={{source: {tmp_path}/sounds}}", "data.min_seconds=0.83", "model.config.masks_per_clip=2"]
    recipe, made = task("pretraining", *told)
    rows = open_sets(recipe).train
    assert rows.dropped["shorter than 0.83 s"] == 2 and len(rows.dataset) == 3
    assert isinstance(made.model, SpectrogramTransformerForPreTraining) and made.outputs == []
    one, again = made.dataset(rows.dataset, True), made.dataset(rows.dataset, True)
    again.set_epoch(1)
    assert one[0]["masks"].shape[0] == 2 and not np.array_equal(one[0]["masks"], again[0]["masks"])
    assert dry_run(recipe, QUIET).vocabulary == []


def test_pre_training_reads_a_stream():
    told = [*SOUNDS, "data.streaming=true", "data.features.normalize=null"]
    folder, facts = run("pretraining", *told, out="streamed")
    assert facts["state"] == "finished" and encoder(folder)


@pytest.mark.parametrize("name", KINDS)
def test_a_head_that_writes_begins_from_an_encoder_that_never_wrote(name, ears):
    told = [f"model.base={ears}", *([f"model.base_config={{decoder: {DECODER}}}"] if name == "seq2seq" else [])]
    _, made = task(name, *told)
    kept = encoder(ears)
    for key, value in made.model.state_dict().items():
        assert key not in kept or torch.equal(value, kept[key]), key
    assert made.model.config.vocab_size == len(made.processing.tokenizer) == len(made.outputs)
    extractor = made.processing.feature_extractor
    assert extractor.mean == load_task(ears, None).processing.mean  # the encoder's own features
    folder, facts = run(name, *told, *SPEECH, "model.freeze=[encoder]", out=f"{name}-on-ears")
    assert facts["state"] == "finished"
    learned = encoder(folder)
    assert all(torch.equal(value, learned[key]) for key, value in kept.items() if key in learned)
    assert json.loads((folder / "report.json").read_text())["base_model"] == "ears"


def test_symbols_of_a_base_that_wrote_are_kept_or_learned_anew(tmp_path):
    folder, _ = run("ctc", out="ctc-base")
    _, same = task("ctc", f"model.base={folder}")
    _, more = task("ctc", f"model.base={folder}", "tokenizer.alphabet=eh nortwx")
    base = SpectrogramTransformerForCTC.from_pretrained(folder)
    assert torch.equal(same.model.ctc_head.weight, base.ctc_head.weight)
    assert len(more.outputs) == len(same.outputs) + 1 and isinstance(more.processing.tokenizer, CtcTokenizer)
    for symbol in "ehno":
        old, new = (one.processing.tokenizer.convert_tokens_to_ids(symbol) for one in (same, more))
        assert torch.equal(more.model.ctc_head.weight[new], base.ctc_head.weight[old])
    with pytest.raises(ValueError, match=r"base_config\.vocab_size follows from the data"):
        task("ctc", "model.base=runs/ears", "model.base_config.vocab_size=5")


def test_captions_with_several_texts_train_and_are_scored_against_all():
    pytest.importorskip("sacrebleu")
    told = [*CAPTIONS, CARD, "tokenizer.unit=word", "model.config.ctc_weight=0", "training.eval_strategy=steps"]
    told += ["training.eval_steps=2", "training.metric_for_best_model=exact", "training.greater_is_better=true"]
    folder, facts = run("seq2seq", *told, out="captions")
    result = evaluate(folder)["kept out"]
    assert result["kind"] == "captions"
    assert [one["references"] for one in result["predictions"]] == [[WORDS[i], f"a {WORDS[i]}"] for i in range(4)]
    right = [one["caption"] in one["references"] for one in result["predictions"]]
    assert result["exact"] == facts["results"]["kept out"]["exact"] == np.mean(right)
    assert "BLEU-4" in str(render_card(folder))
    recipe, made = task("seq2seq", *told)
    rows = open_sets(recipe).train.dataset
    assert "a" in made.outputs
    items = [made.dataset(rows, training=True) for _ in range(6)]
    for epoch, item in enumerate(items):
        item.set_epoch(epoch)
    texts = {made.processing.decode(item[0]["labels"]) for item in items}
    assert texts == {"one two", "a one two"}
    assert made.processing.decode(made.dataset(rows, training=False)[0]["labels"]) == "one two"
