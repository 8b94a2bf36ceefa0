"""LoRA through PEFT: what learns, what is saved, what loads, and what merging gives."""

import json
import sys

import pytest
import torch
from peft import AutoPeftModel, PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForAudioClassification,
    AutoModelForSpeechSeq2Seq,
    Seq2SeqTrainingArguments,
    set_seed,
)

from aural import (
    AuralProcessor,
    LasForConditionalGeneration,
    LogMelFeatureExtractor,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
    tag,
    train_tokenizer,
    transcribe,
)
from aural.training import bases
from aural.training.adapters import is_adapter, load_adapter, merge_adapter, merge_trained, with_lora
from aural.training.bases import load_base
from aural.training.cards import write_card
from aural.training.collator import SpeechCollator
from aural.training.fine_tuning import adapt_labels, adapt_vocabulary, freeze
from aural.training.layer_decay import layer_decay_groups
from aural.training.publishing import plan_publication
from aural.training.sound_collator import SoundCollator
from aural.training.trainer import AuralTrainer
from tests.tiny import MELS, VOCABULARY, clips
from tests.tiny_spectrogram import MELS as SOUND_MELS
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram
from tests.whole import save_folder, save_tagger, wave

SPEECH = "LasForConditionalGeneration"
WHOLE_SPEECH = {"model.speller.embed_tokens", "lm_head", "ctc_head"}


@pytest.fixture(scope="module")
def las(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("base") / "las", ctc_weight=0.3)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return save_tagger(tmp_path_factory.mktemp("base") / "tagger", scale=0.3)


def stirred(adapter, seed=0):
    """An adapter as training leaves one: no matrix is 0, in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return adapter.eval()


def speech(symbols=VOCABULARY):
    features, mask = clips([24, 17])
    labels = torch.tensor([[4, symbols - 1, 5, 2], [5, 2, -100, -100]])
    return {"input_features": features, "attention_mask": mask, "labels": labels}


def sounds():
    features, mask = spectrograms([30, 20])
    return {"input_features": features, "attention_mask": mask}


@torch.no_grad()
def logits(model, batch):
    return model(**batch).logits


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def learning(model):
    return {name.removeprefix("base_model.model.") for name, one in model.named_parameters() if one.requires_grad}


def merged_by_hand(adapter, plain):
    """`plain`, a model as the base, with W + alpha/r B A for every pair of adapter matrices, and the new heads."""
    state = {name.removeprefix("base_model.model."): value for name, value in adapter.state_dict().items()}
    config = adapter.peft_config["default"]
    weights = plain.state_dict()
    for name, value in state.items():
        if ".lora_A." in name:
            up = state[name.replace(".lora_A.", ".lora_B.")]
            weights[name.replace("lora_A.default.", "")] += config.lora_alpha / config.r * (up @ value)
        elif ".modules_to_save.default." in name:
            weights[name.replace("modules_to_save.default.", "")] = value
    plain.load_state_dict(weights)
    return plain


def test_adapters_and_heads_of_a_las_learn_and_nothing_else(las):
    model, _ = load_base(las)
    before = logits(model, speech())
    adapter = with_lora(model, r=2, alpha=6)
    linear = ["query_proj", "key_proj", "location_proj", "energy_proj"]
    adapted = [f"model.speller.attention.{name}" for name in linear] + ["output_mlp.0"]
    matrices = {f"{name}.lora_{letter}.default.weight" for name in adapted for letter in "AB"}
    heads = {f"{name}.modules_to_save.default.weight" for name in WHOLE_SPEECH}
    heads |= {f"{name}.modules_to_save.default.bias" for name in ("lm_head", "ctc_head")}
    assert learning(adapter) == matrices | heads
    assert is_adapter(adapter) and not is_adapter(load_base(las)[0])
    assert torch.equal(logits(adapter.eval(), speech()), before)  # B begins as zeros


def test_adapters_of_a_transformer_sit_in_every_layer(tagger):
    model, _ = load_base(tagger)
    before = logits(model, sounds())
    adapter = with_lora(model)
    adapted = {name.rpartition(".lora_A")[0] for name in learning(adapter) if ".lora_A" in name}
    inside = [f"attention.{letter}_proj" for letter in "qkvo"] + ["mlp.fc1", "mlp.fc2"]
    assert adapted == {f"spectrogram_transformer.layers.{i}.{name}" for i in (0, 1) for name in inside}
    heads = {name for name in learning(adapter) if ".lora_" not in name}
    parts = [f"{part}.{kind}" for part in ("layernorm", "dense") for kind in ("weight", "bias")]
    assert heads == {f"classifier.modules_to_save.default.{part}" for part in parts}
    assert torch.equal(logits(adapter.eval(), sounds()), before)


def test_an_adapter_adds_its_scaled_product_to_the_weights(las, tagger):
    for folder, batch in ((las, speech()), (tagger, sounds())):
        adapter = stirred(with_lora(load_base(folder)[0], r=3, alpha=7))
        by_hand = merged_by_hand(adapter, load_base(folder)[0])
        assert (logits(by_hand, batch) - logits(load_base(folder)[0], batch)).abs().max() > 0.1
        close(logits(adapter, batch), logits(by_hand, batch))
        if folder == las:
            with torch.no_grad():
                close(adapter(**batch).loss, by_hand(**batch).loss)  # CTC's share too


@pytest.mark.parametrize(
    "targets, expected",
    [
        (["query_proj"], ["model.speller.attention.query_proj"]),
        (["output_mlp"], ["output_mlp.0"]),
        (["speller.attention.key_proj", "output_mlp.0"], ["model.speller.attention.key_proj", "output_mlp.0"]),
    ],
)
def test_targets_are_linear_layers_or_what_holds_them(targets, expected, las):
    adapter = with_lora(load_base(las)[0], targets=targets)
    assert {name.rpartition(".lora_A")[0] for name in learning(adapter) if ".lora_A" in name} == set(expected)


def test_frozen_layers_get_no_adapters(tagger):
    model, _ = load_base(tagger)
    freeze(model, "layers.0")
    adapter = with_lora(model)
    assert {int(name.split(".")[2]) for name in learning(adapter) if ".lora_" in name} == {1}
    with pytest.raises(ValueError, match="freeze its parts before with_lora"):
        freeze(adapter, "layers.1")
    model, _ = load_base(tagger)
    freeze(model, "encoder")
    with pytest.raises(ValueError, match=r"targets=\['attention', 'mlp'\]: all of these layers are frozen"):
        with_lora(model)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"r": 0}, "r=0 must be a whole number of at least 1"),
        ({"r": 2.5}, "r=2.5 must be a whole number"),
        ({"alpha": 0}, "alpha=0 must be above 0"),
        ({"dropout": 1.0}, r"dropout=1.0 must be in \[0, 1\)"),
        (
            {"targets": ["listener"]},
            "'listener' names no linear layer; those are energy_proj, key_proj, location_proj, output_mlp, query_proj"
            ", .*no adapters for LSTMs, and embed_tokens, lm_head, ctc_head learn whole",
        ),
        ({"targets": ["lm_head"]}, "'lm_head' names no linear layer"),
    ],
)
def test_what_cannot_be_adapted_is_refused(options, said, las):
    with pytest.raises(ValueError, match=said):
        with_lora(load_base(las)[0], **options)


def test_a_model_that_was_never_saved_gets_no_adapters():
    with pytest.raises(ValueError, match="was not loaded from a folder or the Hub"):
        with_lora(tiny_spectrogram())


@pytest.mark.parametrize("kind", ["las", "tagger"])
def test_an_adapter_loads_by_peft_by_transformers_and_by_aural(kind, las, tagger, tmp_path):
    folder, batch = (las, speech()) if kind == "las" else (tagger, sounds())
    automatic = AutoModelForSpeechSeq2Seq if kind == "las" else AutoModelForAudioClassification
    model, processing = load_base(folder)
    adapter = stirred(with_lora(model, r=2))
    expected = logits(adapter, batch)
    adapter.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "base_config.json",
    }
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(value.numel() for value in saved.values()) == sum(
        one.numel() for one in adapter.parameters() if one.requires_grad
    )
    by_peft = PeftModel.from_pretrained(type(model).from_pretrained(folder), tmp_path)
    alone = AutoPeftModel.from_pretrained(tmp_path, import_allowlist=[type(model).__module__])
    for one in (by_peft, alone, automatic.from_pretrained(tmp_path)):
        assert torch.equal(logits(one.eval(), batch), expected)
    loaded, beside = load_adapter(tmp_path)
    assert torch.equal(logits(loaded, batch), expected)
    assert not learning(loaded) and not loaded.training
    assert type(beside) is type(processing)  # the base's, since the folder has none
    assert learning(load_adapter(tmp_path, trainable=True)[0]) == learning(adapter)
    if kind == "las":
        features = batch["input_features"]
        assert torch.equal(loaded.generate(features), adapter.generate(features))


def new_vocabulary(las):
    """An adapter of a LAS that learns other symbols, with its processor."""
    model, processor = load_base(las)
    tokenizer = train_tokenizer(["badxyz"])
    adapt_vocabulary(model, processor.tokenizer, tokenizer)
    return stirred(with_lora(model, r=2)), AuralProcessor(processor.feature_extractor, tokenizer)


def test_an_adapter_holds_a_new_vocabulary(las, tmp_path):
    adapter, processor = new_vocabulary(las)
    adapter.save_pretrained(tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    batch = speech(symbols=10)
    expected = logits(adapter, batch)
    assert expected.shape[-1] == 10
    loaded, beside = load_adapter(tmp_path / "adapter")
    assert torch.equal(logits(loaded, batch), expected)
    assert loaded.config.vocab_size == 10
    assert beside.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    told = LasForConditionalGeneration.from_pretrained(las, vocab_size=10, ignore_mismatched_sizes=True)
    assert torch.equal(logits(PeftModel.from_pretrained(told, tmp_path / "adapter").eval(), batch), expected)

    merged = merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    model = LasForConditionalGeneration.from_pretrained(merged)
    close(logits(model, batch), expected)
    assert (logits(model, batch) - expected).abs().max() <= 1e-5
    by_folder = transcribe(wave(0.5), merged)[0]
    assert by_folder.text == transcribe(wave(0.5), model, processor)[0].text
    assert not is_adapter(model) and not [*merged.glob("adapter*"), *merged.glob("base*"), *merged.glob("README*")]
    assert model.generation_config.to_dict() == adapter.generation_config.to_dict()
    assert (merged / "modeling_las.py").is_file()  # it travels


@pytest.mark.parametrize(
    "kind", [SpectrogramTransformerForAudioClassification, SpectrogramTransformerForAudioFrameClassification]
)
@pytest.mark.parametrize("base_kind", [None, SpectrogramTransformerModel])
def test_an_adapter_holds_new_labels(kind, base_kind, tmp_path):
    """Of a base with the same head, and of one without any, whose attention pooling is new as well."""
    tiny_spectrogram(base_kind or kind, scale=0.3, pooling="attention").save_pretrained(tmp_path / "base")
    LogMelFeatureExtractor(num_mel_bins=SOUND_MELS).save_pretrained(tmp_path / "base")
    model, extractor = load_base(tmp_path / "base", architecture=kind.__name__)
    adapt_labels(model, ["rain", "wind", "sea", "fire"], multi_label=True)
    adapter = stirred(with_lora(model, r=2))
    adapter.save_pretrained(tmp_path / "adapter")
    expected = logits(adapter, sounds())
    loaded, _ = load_adapter(tmp_path / "adapter")
    assert torch.equal(logits(loaded, sounds()), expected)
    merged = merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    whole = kind.from_pretrained(merged)
    assert (logits(whole, sounds()) - expected).abs().max() <= 1e-5
    assert whole.config.id2label == {0: "rain", 1: "wind", 2: "sea", 3: "fire"}
    assert whole.config.problem_type == "multi_label_classification"
    assert list(tag(wave(0.5), merged)[0].labels) == ["rain", "wind", "sea", "fire"]
    assert LogMelFeatureExtractor.from_pretrained(merged).to_dict() == extractor.to_dict()


def test_merging_writes_all_or_nothing(las, tmp_path):
    adapter, _ = new_vocabulary(las)
    adapter.save_pretrained(tmp_path / "adapter")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "note").write_text("mine")
    with pytest.raises(FileExistsError, match="taken' is there already"):
        merge_adapter(tmp_path / "adapter", tmp_path / "taken")
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"cannot load a model from .*adapter"):
        merge_adapter(tmp_path / "adapter", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "taken"]


def test_an_adapter_without_its_base_is_refused(las, tagger, tmp_path):
    base = save_folder(tmp_path / "base")
    stirred(with_lora(load_base(base)[0])).save_pretrained(tmp_path / "adapter")
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="base is no folder, and not to be had from the Hub"):
        load_adapter(tmp_path / "adapter")
    save_folder(base, speller_hidden_size=13)
    with pytest.raises(ValueError, match=r"adapter was trained on another .*base than is there: model.speller"):
        load_adapter(tmp_path / "adapter")
    with pytest.raises(ValueError, match=r"las holds no adapter: it has no adapter_config.json"):
        load_adapter(las)
    (tmp_path / "adapter" / "base_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"base_config.json names none of LasFor"):
        load_adapter(tmp_path / "adapter")
    (tmp_path / "adapter" / "base_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no base_config.json"):
        load_adapter(tmp_path / "adapter")


def test_an_adapter_names_the_commit_of_its_base(las, tmp_path, monkeypatch):
    asked = []

    def fetched(repo_id, revision=None, **_):
        asked.append((repo_id, revision))
        return str(las)

    monkeypatch.setattr(bases, "snapshot_download", fetched)
    adapter = stirred(with_lora(load_base("user/las", "main")[0], r=2))
    adapter.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "user/las"
    assert settings["revision"] == las.name  # where a snapshot's folder is named by its commit
    assert torch.equal(logits(load_adapter(tmp_path)[0], speech()), logits(adapter, speech()))
    assert asked == [("user/las", "main"), ("user/las", las.name)]


def test_an_adapter_is_no_base_and_has_no_card(las, tmp_path):
    adapter, processor = new_vocabulary(las)
    adapter.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds an adapter, not a model: `merge_adapter`"):
        load_base(tmp_path)
    for refused in (write_card, lambda folder: plan_publication(folder, "user/name")):
        with pytest.raises(ValueError, match="holds an adapter, not a whole model: `merge_adapter`"):
            refused(tmp_path)
    facts = {"license": "mit", "language": "en", "dataset": "noise"}
    trainer = make_trainer(adapter, tmp_path / "run", processor, card=facts)
    with pytest.raises(ValueError, match="has adapters, and a card is of a whole model: merge_trained makes it one"):
        trainer.create_model_card()


def test_without_peft_the_extra_is_named(las, monkeypatch):
    model, _ = load_base(las)
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.delitem(sys.modules, "aural.training.adapter_model")
    for use in (lambda: with_lora(model), lambda: load_adapter(las)):
        with pytest.raises(ImportError, match=r"pip install 'aural\[lora\]'"):
            use()


def items(number=8):
    generator = torch.Generator().manual_seed(1)
    rows = []
    for index in range(number):
        features = torch.randn(16 + 4 * (index % 3), MELS, generator=generator)
        rows.append({"input_features": features, "labels": [4 + index % 5, *[5] * (index % 3), 2]})
    return rows


def make_trainer(model, folder, processor=None, card=None, data=None, collator=None, **options):
    arguments = {
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.01,
        "save_steps": 2,
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
        "predict_with_generate": True,
        "generation_num_beams": 1,
        "generation_max_length": 8,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        **options,
    }
    data = items() if data is None else data
    return AuralTrainer(
        model,
        Seq2SeqTrainingArguments(output_dir=str(folder), **arguments),
        data_collator=collator or SpeechCollator(MELS, VOCABULARY),
        train_dataset=data,
        eval_dataset=data[:2],
        processing_class=processor,
        card=card,
    )


def logged(trainer, name="loss"):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def fresh_adapter(folder, **changes):
    set_seed(3)
    return with_lora(load_base(folder, **changes)[0], r=2, dropout=0.1)


def test_a_run_with_adapters_saves_resumes_and_merges(las, tmp_path):
    processor = load_base(las)[1]
    options = {"listener_dropout": 0.1, "apply_spec_augment": True}
    whole = make_trainer(fresh_adapter(las, **options), tmp_path / "run", processor)
    base = {name: one.clone() for name, one in whole.model.named_parameters() if not one.requires_grad}
    learnt = {name: one.clone() for name, one in whole.model.named_parameters() if one.requires_grad}
    whole.train()
    after = dict(whole.model.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in base.items())
    assert not any(torch.equal(after[name], value) for name, value in learnt.items())
    names = {path.name for path in (tmp_path / "run" / "checkpoint-4").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "base_config.json", "tokenizer.json"} <= names
    assert not {"model.safetensors", "config.json", "README.md"} & names

    resumed = make_trainer(fresh_adapter(las, **options), tmp_path / "run", processor)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert logged(resumed) == logged(whole)
    again = dict(resumed.model.named_parameters())
    assert all(torch.equal(again[name], value) for name, value in after.items())

    merged = merge_adapter(tmp_path / "run" / "checkpoint-4", tmp_path / "merged")
    close(logits(LasForConditionalGeneration.from_pretrained(merged), speech()), logits(whole.model.eval(), speech()))
    scores = whole.evaluate()
    with torch.no_grad():
        batch = whole.data_collator(items(2))
        expected = whole.model.eval()(**batch).loss.item()
    assert scores["eval_loss"] == pytest.approx(expected, abs=1e-5)
    predicted = torch.tensor(whole.predict(whole.eval_dataset).predictions)
    batch.pop("labels")
    assert torch.equal(predicted[:, :8], whole.model.generate(**batch, num_beams=1, max_length=8))
    assert not predicted[:, 8:].any()  # the Trainer fills up to the model's own limit


def test_a_run_ends_with_the_merged_model_and_its_card(las, tmp_path):
    facts = {"license": "mit", "language": "en", "dataset": "noise"}
    trainer = make_trainer(fresh_adapter(las), tmp_path / "run", load_base(las)[1], facts, save_strategy="no")
    trainer.train()
    trained = logits(trainer.model.eval(), speech())
    merge_trained(trainer)
    trainer.create_model_card()
    assert torch.equal(logits(load_adapter(tmp_path / "run" / "adapter")[0], speech()), trained)
    close(logits(load_base(tmp_path / "run")[0], speech()), trained)
    plan = plan_publication(tmp_path / "run", "user/name")
    assert "adapter" in plan.left_out and {"README.md", "model.safetensors"} <= {file.name for file in plan.files}
    model = trainer.model
    merge_trained(trainer)
    assert trainer.model is model


@pytest.mark.parametrize("kind", ["las", "tagger"])
def test_losses_and_accumulation_are_those_of_a_model_without_adapters(kind, las, tagger, tmp_path):
    """The Trainer reads the signature of the model inside: the items of the whole batch reach its loss."""
    folder = las if kind == "las" else tagger
    data, collator = items(), SpeechCollator(MELS, VOCABULARY)
    if kind == "tagger":
        features, _ = spectrograms([20] * 8)
        data, collator = [{"input_features": row, "labels": i % 3} for i, row in enumerate(features)], SoundCollator(3)
    options = {"max_steps": 2, "optim": "sgd", "lr_scheduler_type": "constant", "save_strategy": "no"}
    states, losses = [], []
    for size, steps, lora in ((4, 1, True), (1, 4, True), (1, 4, False)):
        set_seed(3)
        model = load_base(folder)[0]
        model = with_lora(model, r=2) if lora else model
        trainer = make_trainer(
            model,
            tmp_path / f"{size}{lora}",
            data=data,
            collator=collator,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            max_grad_norm=0.0,
            **options,
        )
        assert trainer.model_accepts_loss_kwargs and trainer.label_names == ["labels"]
        trainer.train()
        losses.append(logged(trainer))
        states.append({name: one.detach() for name, one in model.named_parameters() if one.requires_grad})
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[1][0] == pytest.approx(losses[2][0], abs=1e-4)  # adapters begin as nothing
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=1e-5, rtol=1e-4)
    expected = load_base(folder)[0](**collator(data[:4])).loss.item()
    assert losses[0][0] == pytest.approx(expected, abs=1e-4)


def test_the_best_adapter_is_loaded_at_the_end(las, tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, "load_best_model_at_end": True}
    model = fresh_adapter(las)
    trainer = make_trainer(model, tmp_path, load_base(las)[1], learning_rate=0.5, **options)
    trainer.train()
    best = load_adapter(trainer.state.best_model_checkpoint)[0]
    assert min(logged(trainer, "eval_loss")) == trainer.state.best_metric
    assert torch.equal(logits(model.eval(), speech()), logits(best, speech()))


def test_adapters_go_with_gradient_checkpointing_and_layer_decay(tagger):
    features, mask = spectrograms([20, 16])
    gradients = []
    for checkpointing in (False, True):
        set_seed(0)
        model = load_base(tagger)[0]
        if checkpointing:
            model.gradient_checkpointing_enable()
        adapter = stirred(with_lora(model, r=2)).train()
        adapter(input_features=features, attention_mask=mask, labels=torch.tensor([0, 2])).loss.backward()
        gradients.append({name: one.grad for name, one in adapter.named_parameters() if one.grad is not None})
        groups = layer_decay_groups(adapter, 1.0, 0.5)
        assert {group["lr"] for group in groups} == {1.0, 0.5, 0.25}  # head, layer 1, layer 0
    assert gradients[0].keys() == gradients[1].keys() == {n for n, p in adapter.named_parameters() if p.requires_grad}
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
