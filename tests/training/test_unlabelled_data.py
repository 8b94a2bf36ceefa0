"""Sounds without labels: rows, items with masks, batches, and pre-training through the package's own Trainer."""

import pickle

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset, DatasetDict
from torch.utils.data import DataLoader
from transformers import Seq2SeqTrainingArguments, set_seed

from aural import LogMelFeatureExtractor, SpectrogramTransformerConfig, SpectrogramTransformerForPreTraining
from aural.modeling.patch_masks import kept_of
from aural.training.feature_cache import FeatureCache
from aural.training.trainer import AuralTrainer
from aural.training.unlabelled_data import UnlabelledCollator, UnlabelledDataset, load_unlabelled

RATE = 16_000  # Hz
SECONDS = [0.3, 0.5, 0.2, 0.4, 0.25, 0.6, 0.3, 0.45]


def wave(index):
    return np.random.default_rng(100 + index).normal(scale=0.1, size=int(SECONDS[index] * RATE)).astype(np.float32)


def make_config(**options):
    sizes = {"patch_size": [8, 4], "patch_stride": [8, 4], "position_kind": "sinusoidal", "hidden_size": 8}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 1, "pretraining_decoder_layers": 1, "pooling": "mean"}
    return SpectrogramTransformerConfig(**{"num_mel_bins": 16, **sizes, **layers, "masks_per_clip": 2, **options})


@pytest.fixture(scope="module")
def rows():
    return Dataset.from_dict({"audio": [{"array": wave(index), "sampling_rate": RATE} for index in range(8)]})


@pytest.fixture(scope="module")
def extractor():
    return LogMelFeatureExtractor(num_mel_bins=16)


def test_a_folder_is_every_audio_file_below_it_whatever_else_lies_there(tmp_path):
    for name in ("b.wav", "deep/er/a.flac", "deep/.hidden.wav", "deep/C.WAV"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, wave(0), RATE)
    (tmp_path / "metadata.csv").write_text("file_name,label\nb.wav,kick\n")
    found = load_unlabelled(tmp_path)
    assert found["audio"][:] == [str(tmp_path / name) for name in ("b.wav", "deep/C.WAV", "deep/er/a.flac")]
    assert load_unlabelled(tmp_path, split="deep")["audio"][:] == found["audio"][1:]
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        load_unlabelled(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty holds no audio files \(.wav .flac"):
        load_unlabelled(tmp_path, split="empty")


def test_a_dataset_keeps_its_rows_under_the_name_audio(rows):
    named = DatasetDict({"train": rows.rename_column("audio", "sound")})
    assert load_unlabelled(named, audio_column="sound").column_names == ["audio"]
    with pytest.raises(ValueError, match="has no column 'noise'"):
        load_unlabelled(named, audio_column="noise")
    with pytest.raises(TypeError, match="source is a int"):
        load_unlabelled(3)


def test_items_are_features_and_masks_on_their_own_grid(rows, extractor):
    config = make_config(mask_ratio=0.7)
    dataset = UnlabelledDataset(rows, extractor, config)
    items = [dataset[index] for index in range(8)]
    for index, item in enumerate(items):
        expected = extractor(wave(index), sampling_rate=RATE)["input_features"][0]
        np.testing.assert_array_equal(item["input_features"], expected)
        columns = config.time_patches(len(expected))
        assert item["masks"].shape == (2, 2, columns)
        assert item["masks"].sum((1, 2)).tolist() == [2 * columns - kept_of(2 * columns, 0.7)] * 2
    assert any((item["masks"][0] != item["masks"][1]).any() for item in items)


def test_a_seed_an_epoch_and_an_index_give_one_item_in_any_worker_and_any_order(rows, extractor):
    config = make_config()
    dataset = UnlabelledDataset(rows, extractor, config, crop_seconds=0.2, seed=3)

    def items(source, order=range(8)):
        return {index: (source[index]["input_features"], source[index]["masks"]) for index in order}

    def same(one, other):
        return all(np.array_equal(a, b) for i in range(8) for a, b in zip(one[i], other[i], strict=True))

    first = items(dataset)
    state = torch.get_rng_state()
    assert same(first, items(dataset, reversed(range(8))))
    assert same(first, items(pickle.loads(pickle.dumps(dataset))))
    assert torch.equal(torch.get_rng_state(), state)
    dataset.set_epoch(1)
    later = items(dataset)
    assert not same(first, later)
    assert any(not np.array_equal(first[i][0], later[i][0]) for i in range(8))  # cut elsewhere
    dataset.set_epoch(0)
    assert same(first, items(dataset))
    assert not same(first, items(UnlabelledDataset(rows, extractor, config, crop_seconds=0.2, seed=4)))
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=UnlabelledCollator(config))
    for index, batch in enumerate(loader):
        np.testing.assert_array_equal(batch["input_features"][0], first[index][0])
        assert ((batch["labels"][0] == 1).numpy() == first[index][1].reshape(2, -1)).all()


def test_longer_recordings_are_cut_and_lengths_say_so(rows, extractor):
    start = UnlabelledDataset(rows, extractor, make_config(), crop_seconds=0.25, random_crop=False)
    expected = extractor(wave(1)[:4_000], sampling_rate=RATE)["input_features"][0]
    np.testing.assert_array_equal(start[1]["input_features"], expected)
    assert start.durations == pytest.approx([min(seconds, 0.25) for seconds in SECONDS])
    drawn = UnlabelledDataset(rows, extractor, make_config(), crop_seconds=0.25)
    assert not np.array_equal(drawn[1]["input_features"], expected)
    assert len(drawn[1]["input_features"]) == len(expected)


def test_augmentations_draw_from_the_items_generator_and_a_cache_gives_the_same(rows, extractor, tmp_path):
    def louder(values, generator):
        return values + np.float32(generator.normal())

    def item(**options):
        return UnlabelledDataset(rows, extractor, make_config(), **options)[1]

    plain, changed = item(), item(augment_features=louder)
    difference = changed["input_features"] - plain["input_features"]
    assert abs(difference).min() > 0 and np.ptp(difference) < 1e-5
    np.testing.assert_array_equal(changed["input_features"], item(augment_features=louder)["input_features"])
    assert not np.array_equal(item(augment_audio=louder)["input_features"], plain["input_features"])
    cached = item(cache=FeatureCache(tmp_path))
    np.testing.assert_allclose(cached["input_features"], plain["input_features"], atol=1e-2)
    for options in ({"augment_audio": louder}, {"crop_seconds": 0.2}):
        with pytest.raises(ValueError, match="changes waveforms and features come from a cache"):
            item(cache=FeatureCache(tmp_path), **options)


def test_a_batch_says_which_real_patches_are_to_be_told(rows, extractor):
    config = make_config()
    dataset = UnlabelledDataset(rows, extractor, config)
    items = [dataset[index] for index in (1, 2, 5)]
    batch = UnlabelledCollator(config)(items)
    assert set(batch) == {"input_features", "attention_mask", "labels"}
    assert batch["attention_mask"].sum(-1).tolist() == [len(item["input_features"]) for item in items]
    labels = batch["labels"].unflatten(2, (2, -1))
    for row, item in enumerate(items):
        own = item["masks"].shape[-1]
        assert ((labels[row, ..., :own] == 1).numpy() == item["masks"]).all()
        assert (labels[row, ..., own:] == -100).all()
    assert set(labels.unique().tolist()) == {-100, 1}
    model = SpectrogramTransformerForPreTraining(config).eval()
    assert int(model(**batch).mask.sum()) == int((batch["labels"] != -100).sum())
    longer = UnlabelledCollator(config, pad_to_multiple_of=40)(items)
    assert longer["input_features"].shape[1] % 40 == 0
    torch.testing.assert_close(model(**longer).loss, model(**batch).loss, atol=1e-5, rtol=0)


def test_what_is_wrong_is_named(rows, extractor):
    config = make_config()
    with pytest.raises(ValueError, match="crop_seconds is 0; it must be above 0, or None"):
        UnlabelledDataset(rows, extractor, config, crop_seconds=0)
    with pytest.raises(ValueError, match="gives 16 mels, and the model takes num_mel_bins=20"):
        UnlabelledDataset(rows, extractor, make_config(num_mel_bins=20))
    with pytest.raises(ValueError, match="the dataset has the columns text; audio is needed"):
        UnlabelledDataset(Dataset.from_dict({"text": ["a"]}), extractor, config)
    collate = UnlabelledCollator(config)
    item = dict(UnlabelledDataset(rows, extractor, config)[0])
    with pytest.raises(ValueError, match="the batch has no items"):
        collate([])
    with pytest.raises(ValueError, match=r"item 1: masks are \(2, 2, 3\); expected .* = \(2, 2, 7\) for 28 frames"):
        collate([item, {**item, "masks": np.zeros((2, 2, 3), bool)}])
    with pytest.raises(ValueError, match="item 0: input_features hold NaN"):
        collate([{**item, "input_features": np.full((28, 16), np.nan)}])


def train(rows, extractor, folder, objective="masked_autoencoder", **arguments):
    """A model after training on clips of many lengths, each masked by its index."""
    set_seed(0)
    config = make_config(pretraining_objective=objective)
    model = SpectrogramTransformerForPreTraining(config)
    data = UnlabelledDataset(rows, extractor, config)
    options = {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 0.01, **arguments}
    quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "logging_steps": 1}
    trainer = AuralTrainer(
        model,
        Seq2SeqTrainingArguments(str(folder), train_sampling_strategy="sequential", **quiet, **options),
        data_collator=UnlabelledCollator(config),
        train_dataset=data,
        eval_dataset=data,
        processing_class=extractor,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("objective", ["masked_autoencoder", "discriminative_generative"])
def test_accumulated_batches_train_as_one_large_one(rows, extractor, tmp_path, objective):
    at_once = train(rows, extractor, tmp_path / "one", objective)
    small = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    in_parts = train(rows, extractor, tmp_path / "four", objective, **small)
    for one, other in zip(at_once.model.parameters(), in_parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_evaluation_repeats_and_training_lowers_its_loss(rows, extractor, tmp_path):
    trainer = train(rows, extractor, tmp_path, max_steps=40)
    after = trainer.evaluate()["eval_loss"]
    assert trainer.evaluate()["eval_loss"] == after
    trainer.model.load_state_dict(train(rows, extractor, tmp_path, max_steps=1, learning_rate=0).model.state_dict())
    assert after < trainer.evaluate()["eval_loss"] - 0.01


def test_a_resumed_run_ends_as_an_uninterrupted_one(rows, extractor, tmp_path):
    arguments = {"max_steps": 4, "save_steps": 2}
    whole = train(rows, extractor, tmp_path / "whole", **arguments)
    folder = tmp_path / "whole" / "checkpoint-2"
    again = SpectrogramTransformerForPreTraining(make_config())
    resumed = AuralTrainer(
        again,
        whole.args,
        data_collator=UnlabelledCollator(again.config),
        train_dataset=UnlabelledDataset(rows, extractor, again.config),
        processing_class=extractor,
    )
    resumed.train(resume_from_checkpoint=str(folder))
    for one, other in zip(whole.model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
