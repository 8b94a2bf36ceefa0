"""What a run says of its pace: figures of a loader whose padding and waits are known, by a clock moved by hand."""

import json

import pytest
import torch
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerControl, TrainerState

from aural import LogMelFeatureExtractor
from aural.training.pace import PaceCallback, pace_sentence
from tests.training.two_processes import make_trainer, measured

SHIFT = 0.01  # seconds per frame
WAIT, COMPUTE, EVALUATE = 0.5, 2.0, 7.0  # seconds of each batch, each step, between two steps
THREADS = 3  # that compute at once


class Clock:
    """Wall seconds and processor seconds, moved by hand."""

    def __init__(self):
        self.wall = self.processor = 100.0

    def pass_by(self, seconds, threads=0):
        self.wall += seconds
        self.processor += threads * seconds


def batch(lengths, longest):
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    return {"input_features": torch.zeros(len(lengths), longest, 4), "attention_mask": mask}


BATCHES = [batch([100, 50], 100), batch([30, 30, 30], 40), batch([80], 80), batch([10, 20], 20)]
REAL, FRAMES, CLIPS = 350, 200 + 120 + 80 + 40, 8


def slowly(batches, clock):
    for one in batches:
        clock.pass_by(WAIT)
        yield one


def make_pace(clock, **options):
    return PaceCallback(SHIFT, lambda: clock.wall, lambda: clock.processor, **options)


def train(pace, clock, batches, per_update=1, state=None, save_at=None):
    """The Trainer's events around updates of `per_update` batches; returns what a save amid them would keep."""
    args = Seq2SeqTrainingArguments(use_cpu=True)
    state, control, saved = state or TrainerState(stateful_callbacks=[pace]), TrainerControl(), None
    pace.on_train_begin(args, state, control)
    clock.pass_by(EVALUATE)
    loader = slowly(batches, clock)
    for update in range(1, len(batches) // per_update + 1):
        watched = pace.watch(loader)
        assert [next(watched) for _ in range(per_update)] == batches[(update - 1) * per_update : update * per_update]
        clock.pass_by(COMPUTE, THREADS)
        state.global_step += 1
        pace.on_step_end(args, state, control)
        clock.pass_by(EVALUATE, THREADS)
        if update == save_at:
            saved = json.loads(json.dumps(pace.state()))
    assert next(pace.watch(loader), None) is None
    pace.on_train_end(args, state, control)
    return saved


@pytest.mark.parametrize("per_update", [1, 2])
def test_figures_are_those_of_a_loader_with_known_padding_and_waits(per_update):
    clock = Clock()
    pace = make_pace(clock)
    train(pace, clock, BATCHES, per_update)
    updates = len(BATCHES) // per_update
    seconds = len(BATCHES) * WAIT + updates * COMPUTE
    figures = pace.figures()
    assert figures["updates"] == updates and figures["clips"] == CLIPS
    assert figures["audio_seconds"] == pytest.approx(REAL * SHIFT)
    assert figures["update_seconds"] == pytest.approx(seconds)
    assert figures["other_seconds"] == pytest.approx((updates + 1) * EVALUATE)
    assert figures["audio_per_second"] == figures["audio_per_second_per_process"]
    assert figures["audio_per_second"] == pytest.approx(REAL * SHIFT / seconds)
    assert figures["audio_per_processor_second"] == pytest.approx(
        REAL * SHIFT / (updates * COMPUTE * THREADS), rel=0.1
    )
    assert figures["padding_share"] == pytest.approx(1 - REAL / FRAMES)
    assert figures["waiting_share"] == pytest.approx(len(BATCHES) * WAIT / seconds)
    assert figures["processes"] == 1 and figures["workers"] == 0
    assert 0.05 < figures["peak_memory_gb"] < 100
    assert figures == json.loads(json.dumps(figures))


def test_a_resumed_run_adds_up():
    clock = Clock()
    whole, first, second = (make_pace(clock) for _ in range(3))
    train(whole, clock, BATCHES)
    saved = train(first, clock, BATCHES, save_at=3)  # what came after the save is lost
    state = TrainerState(global_step=3, stateful_callbacks={"PaceCallback": saved})
    clock.pass_by(1000)  # before the run is started again
    train(second, clock, BATCHES[3:], state=state)
    expected, found = whole.figures(), second.figures()
    assert found["other_seconds"] == pytest.approx(expected["other_seconds"] + EVALUATE)  # it began twice
    for name in ("updates", "clips", "audio_seconds", "update_seconds", "padding_share", "waiting_share"):
        assert found[name] == pytest.approx(expected[name]), name


def test_a_run_that_begins_anew_begins_from_nothing():
    clock = Clock()
    pace = make_pace(clock)
    train(pace, clock, BATCHES)
    train(pace, clock, BATCHES[:2])
    assert pace.figures()["updates"] == 2 and pace.figures()["clips"] == 5


def test_a_checkpoint_of_a_run_without_pace_can_be_gone_on_from(tmp_path):
    arguments = {"save_strategy": "steps", "save_steps": 2}
    make_trainer("sounds", tmp_path, 1, max_steps=2, kind=Seq2SeqTrainer, **arguments).train()
    trainer = make_trainer("sounds", tmp_path, 1, max_steps=4, **arguments)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert trainer.pace.figures()["updates"] == 2
    assert (tmp_path / "checkpoint-4/trainer_state.json").is_file()


def test_a_trainer_measures_its_padding_and_goes_on_measuring_when_it_resumes(tmp_path):
    trainer = make_trainer("texts", tmp_path, 1)
    masks = [trainer.data_collator([trainer.train_dataset[at + i] for i in range(4)]) for at in range(0, 24, 4)]
    masks = [one["attention_mask"] for one in masks]
    seen = measured(tmp_path, 1)
    for name, updates in (("half", 3), ("whole", 6)):
        real = sum(int(mask.sum()) for mask in masks[:updates])
        assert seen[name]["updates"] == updates
        assert seen[name]["clips"] == 4 * updates
        assert seen[name]["audio_seconds"] == pytest.approx(real * SHIFT)
        assert seen[name]["padding_share"] == pytest.approx(1 - real / sum(mask.numel() for mask in masks[:updates]))
        assert 0 < seen[name]["waiting_share"] < 1
    assert seen["whole"]["update_seconds"] > seen["half"]["update_seconds"] > 0


def test_data_workers_count_in_memory_and_processor_time(tmp_path):
    figures = []
    for workers in (0, 1):
        trainer = make_trainer("sounds", tmp_path, 1, dataloader_num_workers=workers)
        trainer.train()
        figures.append(trainer.pace.figures())
    assert [one["workers"] for one in figures] == [0, 1]
    assert figures[1]["clips"] == figures[0]["clips"]
    assert figures[1]["peak_memory_gb"] > figures[0]["peak_memory_gb"]  # the peak never falls, and a worker holds more


def test_batches_without_a_mask_are_all_real_and_others_without_features_are_let_pass():
    pace = make_pace(Clock())
    batches = [{"input_features": torch.zeros(2, 30, 4)}, {"input_values": torch.zeros(2, 30)}]
    assert list(pace.watch(iter(batches))) == batches
    figures = pace.figures()
    assert figures["clips"] == 2 and figures["audio_seconds"] == pytest.approx(60 * SHIFT)
    assert figures["padding_share"] == 0


def test_watching_takes_only_what_is_asked_for():
    pace, loader = make_pace(Clock()), iter(BATCHES)
    for one in BATCHES:
        assert next(pace.watch(loader)) is one
    assert list(pace.watch(loader)) == []


@pytest.mark.parametrize(
    ("processing_class", "config", "expected"),
    [
        (LogMelFeatureExtractor(frame_shift_ms=20.0), None, 0.02),
        (None, {"frame_shift_ms": 12.5}, 0.0125),
        (None, None, None),
    ],
)
def test_the_length_of_a_frame_comes_from_the_extractor_or_the_model(processing_class, config, expected):
    clock, pace = Clock(), PaceCallback()
    model = type("Model", (), {"config": type("Config", (), config)})() if config else None
    state = TrainerState(stateful_callbacks=[pace])
    pace.on_train_begin(
        Seq2SeqTrainingArguments(use_cpu=True), state, TrainerControl(), processing_class=processing_class, model=model
    )
    list(pace.watch(slowly(BATCHES, clock)))
    pace.on_step_end(Seq2SeqTrainingArguments(use_cpu=True), state, TrainerControl())
    seconds = pace.figures()["audio_seconds"]
    assert seconds is None if expected is None else seconds == pytest.approx(REAL * expected)


def test_the_sentence_says_what_was_measured_and_leaves_out_what_was_not():
    figures = {
        "updates": 10,
        "audio_per_second": 1412.4,
        "audio_per_processor_second": 9.44,
        "padding_share": 0.0312,
        "waiting_share": 0.0119,
        "peak_memory_gb": 1.41,
        "peak_device_memory_gb": None,
        "processes": 1,
    }
    rest = "padding 3.1%, waiting for data 1.2%, peak 1.4 GB"
    assert pace_sentence(figures) == f"1,412 s of audio per second (9.4 per processor second), {rest}"
    several = pace_sentence({**figures, "processes": 2, "peak_device_memory_gb": 3.33})
    expected = f"1,412 s of audio per second (by 2 processes, 9.4 per processor second), {rest}, 3.3 GB on the device"
    assert several == expected
    unknown = {"audio_per_second": None, "audio_per_processor_second": None, "padding_share": None}
    assert pace_sentence({**figures, **unknown}) == "waiting for data 1.2%, peak 1.4 GB"
    assert pace_sentence({**figures, "updates": 0}) == "no update was made"
