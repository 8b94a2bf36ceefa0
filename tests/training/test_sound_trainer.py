"""Training models that tag, with transformers' trainers and with AuralTrainer."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer, set_seed

from aural import (
    LogMelFeatureExtractor,
    SpectrogramTransformerConfig,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
)
from aural.training.mixup import Mixup
from aural.training.sampler import ClassBalancedBatchSampler
from aural.training.sound_collator import SoundCollator
from aural.training.sound_data import SoundDataset
from aural.training.sound_labels import label_options
from aural.training.trainer import AuralTrainer

RATE = 16_000  # Hz
NAMES = ["clap", "kick", "snare"]
LABELS = ["kick", "kick", "clap", "kick", "kick", "snare", "kick", "kick", "kick", "kick", "kick"]
SEVERAL = [["kick", "clap"], [], ["clap"], ["snare"], ["kick"], ["snare", "clap", "kick"], *[["kick"]] * 5]


@pytest.fixture(scope="module")
def extractor():
    return LogMelFeatureExtractor(num_mel_bins=16)


def make_rows(labels):
    generator = np.random.default_rng(0)
    seconds = generator.uniform(0.1, 0.4, size=len(labels))
    waves = [generator.normal(scale=0.1, size=int(length * RATE)).astype(np.float32) for length in seconds]
    return Dataset.from_dict({"audio": [{"array": wave, "sampling_rate": RATE} for wave in waves], "label": labels})


def make_model(frames=False, multi_label=False, **options):
    config = SpectrogramTransformerConfig(
        num_mel_bins=16,
        patch_size=[8, 4],
        patch_stride=[8, 4],
        position_frames=64,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.2,
        **label_options(NAMES, multi_label),
        **options,
    )
    kinds = SpectrogramTransformerForAudioClassification, SpectrogramTransformerForAudioFrameClassification
    return kinds[frames](config)


def make_trainer(trainer_class, model, data, extractor, folder, trainer_options=None, **arguments):
    arguments = {
        "max_steps": 4,
        "per_device_train_batch_size": 3,
        "learning_rate": 0.01,
        "save_steps": 2,
        "logging_steps": 1,
        "disable_tqdm": True,
        "use_cpu": True,
        **arguments,
    }
    return trainer_class(
        model=model,
        args=Seq2SeqTrainingArguments(output_dir=str(folder), **arguments),
        data_collator=SoundCollator(num_labels=3, mels=16, time_patches=model.config.time_patches),
        train_dataset=data,
        eval_dataset=SoundDataset(
            make_rows(LABELS[:4]), extractor, NAMES, multi_label=model.config.problem_type[0] == "m"
        ),
        processing_class=extractor,
        **(trainer_options or {}),
    )


def seeded_trainer(data, extractor, folder, trainer_class=AuralTrainer, **arguments):
    set_seed(0)
    model = make_model(hidden_dropout=0.1, apply_spec_augment=True)
    return make_trainer(trainer_class, model, data, extractor, folder, **arguments)


def logged(trainer, name="loss"):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


@pytest.mark.parametrize("trainer_class", [Trainer, Seq2SeqTrainer, AuralTrainer])
def test_training_evaluates_and_saves_what_loads(trainer_class, extractor, tmp_path):
    data = SoundDataset(make_rows(LABELS), extractor, NAMES, mixup=Mixup("spectrogram"))
    trainer = seeded_trainer(data, extractor, tmp_path, trainer_class)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert not all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    output = trainer.predict(trainer.eval_dataset)
    assert output.label_ids.tolist() == [1, 1, 0, 1]
    logits = torch.tensor(output.predictions)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(output.label_ids))
    assert output.metrics["test_loss"] == pytest.approx(expected.item(), abs=1e-4)
    loaded = SpectrogramTransformerForAudioClassification.from_pretrained(tmp_path / "checkpoint-4")
    assert same_weights(loaded, trainer.model)
    assert loaded.config.id2label == dict(enumerate(NAMES))
    assert LogMelFeatureExtractor.from_pretrained(tmp_path / "checkpoint-4").num_mel_bins == 16


@pytest.mark.parametrize("trainer_class", [Trainer, AuralTrainer])
def test_what_mixing_needs_passes_the_trainer(trainer_class, extractor, tmp_path):
    data = SoundDataset(make_rows(LABELS), extractor, NAMES, mixup=Mixup("spectrogram", share=1.0))
    trainer = seeded_trainer(data, extractor, tmp_path, trainer_class, train_sampling_strategy="sequential")
    batch = next(iter(trainer.get_train_dataloader()))
    expected = SoundCollator(num_labels=3)([data[index] for index in range(3)])
    assert torch.equal(batch["labels"], expected["labels"])
    assert torch.equal(batch["input_features"], expected["input_features"])
    assert ((batch["labels"] > 0) & (batch["labels"] < 1)).any()


def moments(extractor, model):
    """Items with labels for every time patch, some of them unknown."""
    generator, items = np.random.default_rng(1), []
    for item in SoundDataset(make_rows(LABELS), extractor, NAMES):
        patches = model.config.time_patches(len(item["input_features"]))
        labels = generator.integers(2, size=(patches, 3)).astype(np.float32)
        labels[generator.random(patches) < 0.3] = -100
        items.append({"input_features": item["input_features"], "labels": labels})
    return items


KINDS = {
    "one label": (False, LABELS, {}),
    "one label, mixed": (False, LABELS, {"mixup": Mixup()}),
    "several labels": (False, SEVERAL, {}),
    "several labels, mixed": (False, SEVERAL, {"mixup": Mixup()}),
    "several labels by the frame head": (True, SEVERAL, {}),
    "labels of moments": (True, None, {}),
}


def make_data(kind, extractor):
    frames, labels, options = KINDS[kind]
    set_seed(0)
    model = make_model(frames=frames, multi_label=labels is not LABELS)
    if labels is None:
        return model, moments(extractor, model)
    return model, SoundDataset(make_rows(labels), extractor, NAMES, **options)


@pytest.mark.parametrize("trainer_class", [Trainer, AuralTrainer])
@pytest.mark.parametrize("kind", KINDS)
def test_accumulating_four_batches_trains_as_one_of_four_times_the_size(kind, trainer_class, extractor, tmp_path):
    weights, losses = [], []
    for batch_size, steps in ((8, 1), (2, 4)):
        model, data = make_data(kind, extractor)
        options = {
            "max_steps": 2,
            "per_device_train_batch_size": batch_size,
            "gradient_accumulation_steps": steps,
            "train_sampling_strategy": "sequential",
            "optim": "sgd",
            "learning_rate": 1.0,
            "lr_scheduler_type": "constant",
            "max_grad_norm": 0.0,
            "eval_strategy": "no",
        }
        before = {name: value.clone() for name, value in model.state_dict().items()}
        trainer = make_trainer(trainer_class, model, data, extractor, tmp_path / str(steps), **options)
        trainer.train()
        weights.append(model.state_dict())
        losses.append(logged(trainer))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert any((weights[0][name] - before[name]).abs().max() > 1e-2 for name in before)
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_logged_loss_is_a_mean(kind, extractor, tmp_path):
    """Over clips, the labels of clips, or the known labels of moments: worked out without the model's loss."""
    model, data = make_data(kind, extractor)
    options = {"max_steps": 1, "per_device_train_batch_size": 8, "train_sampling_strategy": "sequential"}
    trainer = make_trainer(AuralTrainer, model, data, extractor, tmp_path, **options)
    batch = trainer.data_collator([data[index] for index in range(8)])
    labels = batch.pop("labels")
    with torch.no_grad():
        output = model.eval()(**batch)
    functional = torch.nn.functional
    if kind.startswith("one label"):
        expected = functional.cross_entropy(output.logits, labels)
    else:
        logits = output.clip_logits if kind.endswith("head") else output.logits
        known = labels != -100
        expected = functional.binary_cross_entropy_with_logits(logits[known], labels[known])
    trainer.train()
    assert logged(trainer)[0] == pytest.approx(expected.item(), abs=1e-4)


def test_training_sets_with_weights_are_drawn_by_class(extractor, tmp_path):
    data = SoundDataset(make_rows(LABELS), extractor, NAMES, balanced=True)
    loader = seeded_trainer(data, extractor, tmp_path, seed=5).get_train_dataloader()
    assert list(loader.batch_sampler) == list(ClassBalancedBatchSampler(data.sample_weights, 3, seed=5))
    options = {"train_sampling_strategy": "group_by_length", "data_seed": 6, "dataloader_drop_last": True}
    loader = seeded_trainer(data, extractor, tmp_path, **options).get_train_dataloader()
    expected = ClassBalancedBatchSampler(data.sample_weights, 3, 6, drop_last=True, lengths=data.durations)
    assert list(loader.batch_sampler) == list(expected)
    plain = SoundDataset(make_rows(LABELS), extractor, NAMES)
    loader = seeded_trainer(plain, extractor, tmp_path).get_train_dataloader()
    assert not isinstance(loader.batch_sampler, ClassBalancedBatchSampler)


@pytest.mark.parametrize("kind", ["waveform", "spectrogram"])
@pytest.mark.parametrize("interrupted", [2, 6])  # 4 batches per epoch: amid the first and the second
def test_a_resumed_run_equals_an_uninterrupted_one(kind, interrupted, extractor, tmp_path):
    data = SoundDataset(
        make_rows(LABELS), extractor, NAMES, max_seconds=0.2, random_crop=True, mixup=Mixup(kind), balanced=True
    )
    arguments = {"max_steps": 9, "save_steps": interrupted}
    whole = seeded_trainer(data, extractor, tmp_path, **arguments)
    whole.train()
    resumed = seeded_trainer(data, extractor, tmp_path, **arguments)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{interrupted}"))
    assert logged(resumed) == logged(whole)
    assert same_weights(resumed.model, whole.model)


def test_rates_are_decayed_by_layer(extractor, tmp_path):
    data = SoundDataset(make_rows(LABELS), extractor, NAMES)
    arguments = {"weight_decay": 0.3, "lr_scheduler_type": "linear", "adam_beta2": 0.95}
    trainer = seeded_trainer(data, extractor, tmp_path, trainer_options={"layer_decay": 0.5}, **arguments)
    trainer.train()
    assert logged(trainer, "learning_rate") == pytest.approx([0.01, 0.0075, 0.005, 0.0025])  # the head's
    groups = trainer.optimizer.param_groups
    assert sorted({group["initial_lr"] for group in groups}) == pytest.approx([0.01 / 8, 0.01 / 4, 0.01 / 2, 0.01])
    assert {group["weight_decay"] for group in groups} == {0.0, 0.3}
    assert {group["betas"] for group in groups} == {(0.9, 0.95)}
    assert sum(len(group["params"]) for group in groups) == len(list(trainer.model.parameters()))


def test_the_lower_layers_move_less(extractor, tmp_path):
    data = SoundDataset(make_rows(LABELS), extractor, NAMES)
    options = {"max_steps": 1, "optim": "sgd", "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    moves = []
    for decay in (None, 0.5):
        trainer = seeded_trainer(data, extractor, tmp_path, trainer_options={"layer_decay": decay}, **options)
        before = {name: value.clone() for name, value in trainer.model.named_parameters()}
        trainer.train()
        moves.append({name: value - before[name] for name, value in trainer.model.named_parameters()})
    for name, share in (("embeddings.patch_projection.weight", 1 / 8), ("layers.0.mlp.fc1.weight", 1 / 4)):
        name = f"spectrogram_transformer.{name}"
        torch.testing.assert_close(moves[1][name], moves[0][name] * share, atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(moves[1]["classifier.dense.bias"], moves[0]["classifier.dense.bias"])


def test_an_optimizer_that_is_handed_over_stays(extractor, tmp_path):
    set_seed(0)
    model, data = make_model(), SoundDataset(make_rows(LABELS), extractor, NAMES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    options = {"layer_decay": 0.5, "optimizers": (optimizer, None)}
    trainer = make_trainer(AuralTrainer, model, data, extractor, tmp_path, options)
    assert trainer.create_optimizer() is optimizer


@pytest.mark.parametrize("own", ["params", "model", "optimizer_dict"])
def test_an_optimizer_with_groups_of_its_own_is_refused(own, extractor, tmp_path, monkeypatch):
    data = SoundDataset(make_rows(LABELS), extractor, NAMES)
    trainer = seeded_trainer(data, extractor, tmp_path, trainer_options={"layer_decay": 0.5}, optim="galore_adamw")
    monkeypatch.setattr(trainer, "get_optimizer_cls_and_kwargs", lambda *_: (torch.optim.SGD, {"lr": 1.0, own: []}))
    with pytest.raises(ValueError, match="layer_decay with optim='galore_adamw', which makes its own groups"):
        trainer.create_optimizer()
