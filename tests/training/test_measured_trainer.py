"""Evaluations whose loss is per label, whatever the batches; figures of pace without asking."""

import pytest
import torch

from aural.training.pace import PaceCallback, pace_sentence
from tests.training.two_processes import make_trainer


@pytest.mark.parametrize(("case", "generate"), [("texts", True), ("texts", False), ("sounds", False)])
def test_the_evaluation_loss_is_per_label_for_any_size_of_batches(case, generate, tmp_path):
    losses = []
    for size in (1, 3, 7):
        options = {"per_device_eval_batch_size": size, "predict_with_generate": generate}
        trainer = make_trainer(case, tmp_path, 1, **options)
        if not generate:
            trainer.compute_metrics = None
        losses.append(trainer.evaluate()["eval_loss"])
    total = count = 0
    with torch.no_grad():
        for item in trainer.eval_dataset:  # alone: its mean times its number of labels is its sum
            batch = trainer.data_collator([item])
            labels = batch["labels"].numel()
            total += trainer.model.eval()(**batch).loss.item() * labels
            count += labels
    assert losses == pytest.approx([total / count] * 3, abs=1e-5)


def test_predict_has_the_loss_per_label_too(tmp_path):
    trainer = make_trainer("sounds", tmp_path, 1, per_device_eval_batch_size=2)
    evaluated = trainer.evaluate()["eval_loss"]
    assert trainer.predict(trainer.eval_dataset).metrics["test_loss"] == pytest.approx(evaluated, abs=1e-6)


def test_training_after_an_evaluation_still_counts_the_labels_of_the_whole_batch(tmp_path):
    weights = []
    for evaluate in (False, True):
        trainer = make_trainer("texts", tmp_path, 1, max_steps=2, gradient_accumulation_steps=2)
        if evaluate:
            trainer.evaluate()
        trainer.train()
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_every_run_knows_its_pace(tmp_path):
    trainer = make_trainer("sounds", tmp_path, 1, max_steps=2)
    trainer.train()
    assert trainer.pace.figures()["updates"] == 2
    assert "s of audio per second" in pace_sentence(trainer.pace.figures())


def test_a_pace_that_is_given_is_the_one_that_measures(tmp_path):
    figures = []
    for steps in (2, 4):
        pace = PaceCallback()
        options = {"max_steps": steps, "save_strategy": "steps", "save_steps": 2, "callbacks": [pace]}
        trainer = make_trainer("sounds", tmp_path, 1, **options)
        assert trainer.pace is pace
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2") if steps > 2 else None)
        assert trainer.pace is pace
        figures.append(pace.figures())
    assert [one["updates"] for one in figures] == [2, 4]
    assert [one["clips"] for one in figures] == [8, 16]
