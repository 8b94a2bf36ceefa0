"""A training on sounds reaches its report, its card and `aural publish`, measured by the model's probabilities."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from transformers import AutoModelForAudioClassification, Seq2SeqTrainingArguments

from aural import LogMelFeatureExtractor, SpectrogramTransformerForAudioFrameClassification
from aural.training.cards import check_card
from aural.training.measuring import clip_names
from aural.training.publishing import plan_publication
from aural.training.sound_collator import SoundCollator
from aural.training.sound_data import SoundDataset, load_sounds
from aural.training.sound_metrics import compute_tagging_metrics
from aural.training.tag_scores import MULTI, SINGLE, score_tags
from aural.training.trainer import AuralTrainer
from tests.tiny_spectrogram import LABELS, MELS, tiny_spectrogram
from tests.whole import wave

NAMES = ["bell", "drum", "horn"]
TOLD = {"license": "cc-by-4.0", "dataset": "my sounds"}
KINDS = [0, 1, 2, 0, 1, 1, 0]


def make_data(extractor: LogMelFeatureExtractor, multi_label: bool = False) -> SoundDataset:
    waves = [{"array": wave(0.3 + 0.05 * i, seed=i), "sampling_rate": 16_000} for i in range(len(KINDS))]
    labels = [[NAMES[kind], "horn"] if index % 2 else [] for index, kind in enumerate(KINDS)]
    rows = {"audio": waves, "label": labels if multi_label else [NAMES[kind] for kind in KINDS]}
    return SoundDataset(Dataset.from_dict(rows), extractor, NAMES, multi_label=multi_label)


def make_trainer(folder: Path, model: Any = None, multi_label: bool = False, **options: Any) -> AuralTrainer:
    extractor = LogMelFeatureExtractor(num_mel_bins=MELS)
    model = model or tiny_spectrogram(id2label=dict(enumerate(NAMES)))
    return AuralTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            disable_tqdm=True,
            max_steps=2,
            per_device_train_batch_size=4,
            per_device_eval_batch_size=3,
            save_strategy="no",
            report_to="none",
        ),
        data_collator=SoundCollator(num_labels=LABELS),
        train_dataset=make_data(extractor, multi_label),
        **{
            "processing_class": extractor,
            "eval_dataset": make_data(extractor, multi_label),
            "compute_metrics": compute_tagging_metrics(MULTI if multi_label else SINGLE),
            **options,
        },
    )


def logits_one_by_one(trainer: AuralTrainer, model: Any, field: str = "logits") -> np.ndarray:
    """Each clip alone, without padding."""
    dataset: Any = trainer.eval_dataset
    with torch.no_grad():
        features = [torch.as_tensor(dataset[i]["input_features"])[None] for i in range(len(dataset))]
        return torch.cat([getattr(model(each), field) for each in features]).numpy()


def test_results_are_the_saved_models_probabilities(tmp_path):
    trainer = make_trainer(tmp_path / "bells")
    trainer.train()
    state = torch.get_rng_state()
    trainer.create_model_card(**TOLD, data_license=["GPL-2", "CC0-1.0"])
    assert torch.equal(torch.get_rng_state(), state)
    report = json.loads((tmp_path / "bells" / "report.json").read_text())
    model = AutoModelForAudioClassification.from_pretrained(tmp_path / "bells").eval()
    scores = torch.from_numpy(logits_one_by_one(trainer, model)).double().softmax(-1).numpy()
    result = report["results"][0]
    assert np.array([clip["scores"] for clip in result["predictions"]]) == pytest.approx(scores, abs=1e-5)
    assert [clip["labels"] for clip in result["predictions"]] == [[NAMES[kind]] for kind in KINDS]
    assert [clip["name"] for clip in result["predictions"]] == [f"clip {number}" for number in range(1, 8)]
    expected = score_tags(KINDS, [clip["scores"] for clip in result["predictions"]], NAMES)
    assert {name: result[name] for name in expected} == expected
    assert (result["dataset"], result["split"], result["kind"]) == ("my sounds", "evaluation", "tags")
    evaluated = trainer.evaluate()
    for name in ("accuracy", "macro_recall", "map"):
        assert evaluated[f"eval_{name}"] == pytest.approx(result[name])
    assert report["data"][0]["license"] == ["GPL-2", "CC0-1.0"]
    assert report["language"] is None and "example" not in report
    assert "other sources, rooms and recorders" in report["limits"][0]


def test_the_folder_has_a_card_and_can_be_published(tmp_path):
    trainer = make_trainer(tmp_path / "bells", card=TOLD)
    trainer.create_model_card()
    text = (tmp_path / "bells" / "README.md").read_text(encoding="utf-8")
    check_card(text, tmp_path / "bells")
    assert "pipeline_tag: audio-classification" in text
    names = {file.name for file in plan_publication(tmp_path / "bells", "user/bells").files}
    assert {"README.md", "report.json", "model.safetensors", "preprocessor_config.json"} <= names


def test_several_labels_are_measured_by_the_sigmoid_of_the_clips_scores(tmp_path):
    model = tiny_spectrogram(SpectrogramTransformerForAudioFrameClassification, id2label=dict(enumerate(NAMES)))
    trainer = make_trainer(tmp_path / "moments", model, multi_label=True)
    trainer.create_model_card(**TOLD, language="en")
    report = json.loads((tmp_path / "moments" / "report.json").read_text())
    result = report["results"][0]
    assert result["problem_type"] == MULTI
    scores = torch.from_numpy(logits_one_by_one(trainer, model, "clip_logits")).double().sigmoid().numpy()
    assert np.array([clip["scores"] for clip in result["predictions"]]) == pytest.approx(scores, abs=1e-5)
    wanted = [[], ["drum", "horn"], [], ["bell", "horn"], [], ["drum", "horn"], []]
    assert [clip["labels"] for clip in result["predictions"]] == wanted
    assert trainer.evaluate()["eval_map"] == pytest.approx(result["map"])
    assert report["language"] == "en"


def test_clips_are_called_by_their_files(tmp_path):
    for name in ("one.wav", "two.wav"):
        soundfile.write(tmp_path / name, wave(0.1), 16_000)
    (tmp_path / "metadata.csv").write_text("file_name,label\none.wav,bell\ntwo.wav,drum\n")
    dataset = SoundDataset(load_sounds(tmp_path), LogMelFeatureExtractor(num_mel_bins=MELS), NAMES)
    assert clip_names(dataset) == ["one.wav", "two.wav"]
    assert clip_names([{"labels": 1}] * 2) == ["clip 1", "clip 2"]


def test_a_card_of_sounds_needs_no_language_but_the_feature_extractor(tmp_path):
    with pytest.raises(ValueError, match="a card needs license, dataset: say it"):
        make_trainer(tmp_path).create_model_card()
    with pytest.raises(ValueError, match="language='english' must be an ISO 639 code"):
        make_trainer(tmp_path).create_model_card(**TOLD, language="english")
    with pytest.raises(ValueError, match="processing_class is missing: give the feature extractor"):
        make_trainer(tmp_path, processing_class=None).create_model_card(**TOLD)
    with pytest.raises(ValueError, match="eval_dataset is missing"):
        make_trainer(tmp_path, eval_dataset=None).create_model_card(**TOLD)
