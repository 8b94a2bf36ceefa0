"""Training with the stock Seq2SeqTrainer and with AuralTrainer: metrics, checkpoints, repeatable and resumed runs."""

import functools

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerState, set_seed

from aural import AuralProcessor, LasConfig, LasForConditionalGeneration, LogMelFeatureExtractor, train_tokenizer
from aural.training.collator import SpeechCollator
from aural.training.data import SpeechDataset
from aural.training.frame_batches import FrameBatchSampler
from aural.training.metrics import compute_metrics
from aural.training.sampler import LengthGroupedBatchSampler
from aural.training.trainer import AuralTrainer, EpochCallback

RATE = 16_000  # Hz
TRAINERS = pytest.mark.parametrize("trainer_class", [Seq2SeqTrainer, AuralTrainer])


@pytest.fixture(scope="module")
def processor():
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=16), train_tokenizer(["ab cd"]))


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    seconds = generator.uniform(0.2, 0.7, size=11)
    waves = [generator.normal(scale=0.1, size=int(length * RATE)).astype(np.float32) for length in seconds]
    texts = ["".join(generator.choice(list("ab cd"), size=int(10 * length))) + "a" for length in seconds]
    return Dataset.from_dict({"audio": [{"array": wave, "sampling_rate": RATE} for wave in waves], "text": texts})


def add_noise(features, generator):
    return features + generator.normal(size=features.shape).astype(np.float32)


def make_trainer(trainer_class, processor, rows, folder, eval_rows=2, **arguments):
    set_seed(0)
    config = LasConfig(
        vocab_size=len(processor.tokenizer),
        num_mel_bins=16,
        listener_hidden_size=8,
        listener_time_reductions=[2, 2],
        listener_dropout=0.1,
        attention_size=8,
        speller_layers=1,
        speller_hidden_size=8,
        speller_embedding_size=8,
        speller_output_size=8,
    )
    arguments = {
        "max_steps": 4,
        "per_device_train_batch_size": 3,
        "learning_rate": 0.01,
        "save_steps": 2,
        "logging_steps": 1,
        "predict_with_generate": True,
        "generation_num_beams": 1,
        "generation_max_length": 12,
        "disable_tqdm": True,
        "use_cpu": True,
        **arguments,
    }
    return trainer_class(
        model=LasForConditionalGeneration(config),
        args=Seq2SeqTrainingArguments(output_dir=str(folder), **arguments),
        data_collator=SpeechCollator(mels=16, vocab_size=len(processor.tokenizer)),
        train_dataset=SpeechDataset(rows, processor, augment_features=add_noise),
        eval_dataset=SpeechDataset(rows.select(range(eval_rows)), processor),
        processing_class=processor,
        compute_metrics=compute_metrics(processor),
    )


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


@TRAINERS
def test_training_evaluates_and_saves_what_loads(trainer_class, processor, rows, tmp_path):
    trainer = make_trainer(trainer_class, processor, rows, tmp_path)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert not all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())

    scores = trainer.evaluate()
    assert np.isfinite(scores["eval_loss"]) and scores["eval_wer"] > 0 and scores["eval_cer"] > 0

    checkpoint = tmp_path / "checkpoint-4"
    assert same_weights(LasForConditionalGeneration.from_pretrained(checkpoint), trainer.model)
    loaded = AuralProcessor.from_pretrained(checkpoint)
    assert loaded.feature_extractor.to_dict() == processor.feature_extractor.to_dict()
    assert AutoTokenizer.from_pretrained(checkpoint).get_vocab() == processor.tokenizer.get_vocab()
    assert not list(tmp_path.rglob("events.out*"))  # reports go nowhere unless asked for


def test_predictions_are_scored_as_generate_gives_them(processor, rows, tmp_path):
    trainer = make_trainer(Seq2SeqTrainer, processor, rows, tmp_path, eval_rows=4)
    output = trainer.predict(trainer.eval_dataset)
    batch = trainer.data_collator([trainer.eval_dataset[index] for index in range(4)])
    labels = batch.pop("labels")
    generated = trainer.model.eval().generate(**batch, num_beams=1, max_length=12)
    assert processor.batch_decode(output.predictions) == processor.batch_decode(generated)
    assert processor.batch_decode(output.label_ids) == processor.batch_decode(labels) == rows["text"][:4]


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_two_runs_with_one_seed_are_bit_equal(strategy, processor, rows, tmp_path):
    runs = []
    for name in "ab":
        trainer = make_trainer(AuralTrainer, processor, rows, tmp_path / name, train_sampling_strategy=strategy)
        trainer.train()
        runs.append(trainer)
    assert losses(runs[0]) == losses(runs[1])
    assert same_weights(runs[0].model, runs[1].model)


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
@pytest.mark.parametrize("interrupted", [2, 6])  # 4 batches per epoch: amid the first and the second
def test_a_resumed_run_equals_an_uninterrupted_one(strategy, interrupted, processor, rows, tmp_path):
    arguments = {"train_sampling_strategy": strategy, "max_steps": 9, "save_steps": interrupted}
    whole = make_trainer(AuralTrainer, processor, rows, tmp_path, **arguments)
    whole.train()
    resumed = make_trainer(AuralTrainer, processor, rows, tmp_path, **arguments)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{interrupted}"))
    assert losses(resumed) == losses(whole)
    assert same_weights(resumed.model, whole.model)


def test_batches_are_grouped_when_asked_for(processor, rows, tmp_path):
    trainer = make_trainer(AuralTrainer, processor, rows, tmp_path, train_sampling_strategy="group_by_length", seed=5)
    sampler = trainer.get_train_dataloader().batch_sampler
    expected = LengthGroupedBatchSampler(trainer.train_dataset.durations, 3, seed=5)
    assert list(sampler) == list(expected)
    plain = make_trainer(AuralTrainer, processor, rows, tmp_path)
    assert not isinstance(plain.get_train_dataloader().batch_sampler, LengthGroupedBatchSampler)


def test_data_seed_alone_orders_the_batches(processor, rows, tmp_path):
    arguments = {"train_sampling_strategy": "group_by_length", "data_seed": 5}
    trainers = [make_trainer(AuralTrainer, processor, rows, tmp_path, seed=seed, **arguments) for seed in (1, 2)]
    orders = [list(trainer.get_train_dataloader().batch_sampler) for trainer in trainers]
    assert orders[0] == orders[1] == list(LengthGroupedBatchSampler(SpeechDataset(rows, processor).durations, 3, 5))


def test_batches_by_total_frames_when_asked_for(processor, rows, tmp_path):
    trainer = make_trainer(AuralTrainer, processor, rows, tmp_path, seed=5, max_steps=-1, num_train_epochs=2)
    trainer.frames_per_batch = 120
    found = list(trainer.get_train_dataloader())
    frames = [len(trainer.train_dataset[index]["input_features"]) for index in range(len(rows))]
    assert [list(batch) for batch in FrameBatchSampler(frames, 120, seed=5)] == list(
        trainer.get_train_dataloader().batch_sampler
    )
    assert sum(len(batch["labels"]) for batch in found) == len(rows)
    assert all(batch["input_features"].shape[:2].numel() <= 120 for batch in found)
    trainer.train()
    assert trainer.state.global_step == 2 * len(found) and trainer.state.epoch == 2


def test_batches_by_total_frames_are_drawn_by_weight(processor, rows, tmp_path):
    trainer = make_trainer(AuralTrainer, processor, rows, tmp_path)
    trainer.frames_per_batch = 120
    trainer.train_dataset.sample_weights = [1.0] + [0.0] * (len(rows) - 1)
    assert {index for batch in trainer.get_train_dataloader().batch_sampler for index in batch} == {0}


def test_frames_that_cannot_be_are_refused(processor, rows, tmp_path):
    with pytest.raises(ValueError, match="frames_per_batch is 0"):
        AuralTrainer(frames_per_batch=0)
    args = Seq2SeqTrainingArguments(output_dir=str(tmp_path), accelerator_config={"split_batches": True}, use_cpu=True)
    with pytest.raises(ValueError, match="split_batches=True; with frames_per_batch it must be False"):
        AuralTrainer(args=args, frames_per_batch=120)
    trainer = make_trainer(AuralTrainer, processor, rows, tmp_path)
    trainer.frames_per_batch = 20
    with pytest.raises(ValueError, match=r"item \d+ has \d+ frames; frames_per_batch is 20"):
        trainer.get_train_dataloader()


def test_a_dataset_without_lengths_trains_as_in_the_stock_trainer(processor, rows, tmp_path):
    trainer = make_trainer(AuralTrainer, processor, rows, tmp_path, train_sampling_strategy="group_by_length")
    trainer.train_dataset = [trainer.train_dataset[index] for index in range(4)]
    assert not isinstance(trainer.get_train_dataloader().batch_sampler, LengthGroupedBatchSampler)
    assert len(trainer.get_train_dataloader()) == 2


def test_grouped_evaluation_computes_each_item_once(processor, rows, tmp_path):
    class Counting(SpeechDataset):
        fetched = 0

        def __getitem__(self, index):
            self.fetched += 1
            return super().__getitem__(index)

    trainer = make_trainer(AuralTrainer, processor, rows, tmp_path, train_sampling_strategy="group_by_length")
    dataset = Counting(rows.select(range(4)), processor)
    trainer.evaluate(dataset)
    assert dataset.fetched == 4


def test_epoch_reaches_a_sampler_behind_shard_and_skip(processor, rows):
    dataset = SpeechDataset(rows, processor)
    sampler = LengthGroupedBatchSampler(dataset.durations, 2, 0)
    skipping = SkipBatchSampler(BatchSamplerShard(sampler, num_processes=2, process_index=1), skip_batches=1)
    loader = DataLoader(dataset, batch_sampler=skipping)
    EpochCallback().on_epoch_begin(None, TrainerState(epoch=3.25), None, train_dataloader=loader)
    assert sampler.epoch == 3
    assert int(dataset._epoch) == 3


def test_tensorboard_reports_when_chosen(processor, rows, tmp_path):
    pytest.importorskip("tensorboard")
    make_trainer(AuralTrainer, processor, rows, tmp_path, max_steps=1, report_to="tensorboard").train()
    assert list(tmp_path.rglob("events.out*"))


@TRAINERS
def test_evaluation_works_without_generating(trainer_class, processor, rows, tmp_path):
    trainer = make_trainer(trainer_class, processor, rows, tmp_path, predict_with_generate=False)
    trainer.compute_metrics = lambda prediction: {"shape": prediction.predictions.shape[-1]}
    scores = trainer.evaluate()
    assert scores["eval_shape"] == len(processor.tokenizer)
    assert np.isfinite(scores["eval_loss"])


def test_the_trainers_own_label_smoothing_works_with_the_collators_decoder_inputs(processor, rows, tmp_path):
    trainer = make_trainer(Seq2SeqTrainer, processor, rows, tmp_path, label_smoothing_factor=0.1, max_steps=1)
    trainer.data_collator = SpeechCollator(model=trainer.model)
    trainer.train()
    assert np.isfinite(losses(trainer)).all()


def test_accumulating_four_batches_trains_as_one_of_four_times_the_size(processor, rows, tmp_path):
    weights = []
    for batch_size, steps in ((4, 1), (1, 4)):
        trainer = make_trainer(
            Seq2SeqTrainer,
            processor,
            rows,
            tmp_path / str(steps),
            max_steps=2,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=steps,
            train_sampling_strategy="sequential",
            optim="sgd",
            learning_rate=1.0,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
        )
        trainer.model.model.listener.dropout.p = 0.0
        trainer.train()
        weights.append(trainer.model.state_dict())
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], atol=1e-5, rtol=1e-4)


def test_the_short_batch_of_a_grouped_epoch_can_be_dropped(processor, rows, tmp_path):
    arguments = {"train_sampling_strategy": "group_by_length", "dataloader_drop_last": True}
    loader = make_trainer(AuralTrainer, processor, rows, tmp_path, **arguments).get_train_dataloader()
    assert [len(batch["labels"]) for batch in loader] == [3, 3, 3]  # eleven rows


@pytest.mark.parametrize("resumed", [False, True])
def test_guided_attention_fades_over_its_updates_and_a_resumed_run_knows_where_it_stands(
    resumed, processor, rows, tmp_path, monkeypatch
):
    given = []
    forward = LasForConditionalGeneration.forward

    @functools.wraps(forward)  # the Trainer reads its signature
    def watched(model, *args, guided_attention_weight=None, **kwargs):
        given.append(guided_attention_weight)
        return forward(model, *args, guided_attention_weight=guided_attention_weight, **kwargs)

    monkeypatch.setattr(LasForConditionalGeneration, "forward", watched)
    trainer = make_trainer(AuralTrainer, processor, rows, tmp_path, max_steps=2 if resumed else 4)
    trainer.model.config.update({"guided_attention_weight": 3.0, "guided_attention_updates": 3})
    trainer.train()
    if resumed:
        trainer = make_trainer(AuralTrainer, processor, rows, tmp_path, max_steps=4)
        trainer.model.config.update({"guided_attention_weight": 3.0, "guided_attention_updates": 3})
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert given == [pytest.approx(weight) for weight in (3.0, 2.0, 1.0, 0.0)]
