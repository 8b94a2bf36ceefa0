"""Runs that are resumed equal those that were not interrupted; whatever ends them, a whole checkpoint is there."""

import gc
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import EarlyStoppingCallback, TrainerCallback

from aural.training import checkpointing, resuming
from aural.training.checkpointing import UNFINISHED, checkpoints, newest_checkpoint
from aural.training.stopping import StopSignals, start_worker
from tests.training.lost_work import Weighted, differences, history, make_trainer, weights

BEST = ("best_metric", "best_global_step", "global_step", "epoch")


@pytest.fixture(autouse=True, scope="module")
def fast():
    """No waiting for the disk, and no search of all that pytest holds for garbage at each start of a training."""
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpointing, "_sync", lambda path: None)
        yield
    gc.unfreeze()


class At(TrainerCallback):
    """Do something at an event of a step."""

    def __init__(self, event, step, action):
        self.step, self.action = step, action
        setattr(self, event, self._act)

    def _act(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.action()


class Killed(BaseException):
    """Ends a process in the midst of something, as far as one process can."""


def kill():
    raise Killed


def terminate(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def assert_equal(resumed, whole):
    assert differences(weights(resumed.model), weights(whole.model)) == []
    assert history(resumed) == history(whole)
    assert [getattr(resumed.state, name) for name in BEST] == [getattr(whole.state, name) for name in BEST]


def resume(folder, **arguments):
    trainer = make_trainer(folder, **arguments)
    trainer.train(resume_from_checkpoint=True)
    return trainer


def from_step(step, run, folder, **arguments):
    """A run resumed from one checkpoint of another, elsewhere."""
    shutil.copytree(run / f"checkpoint-{step}", folder / f"checkpoint-{step}")
    return resume(folder, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"dataloader_num_workers": 2, "dataset": Weighted, "save_steps": 6, "eval_steps": 6},
        {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "save_steps": 6, "eval_steps": 3},
        {"frames": None, "per_device_train_batch_size": 3, "train_sampling_strategy": "group_by_length"},
        {"frames": None, "per_device_train_batch_size": 3, "eval_strategy": "epoch", "load_best_model_at_end": False},
    ],
    ids=["frames", "weights and workers", "persistent workers", "grouped", "stock batches"],
)
def test_a_run_resumed_from_any_checkpoint_equals_an_uninterrupted_one(arguments, tmp_path):
    arguments = {"max_steps": 10, "save_steps": 4, "logging_steps": 5, "save_total_limit": None, **arguments}
    whole = make_trainer(tmp_path / "whole", **arguments)
    whole.train()
    kept = checkpoints(tmp_path / "whole")
    assert len(kept) >= 2  # amid an epoch, at the end of one, at the end
    for checkpoint in kept:
        step = int(checkpoint.name.partition("-")[2])
        assert_equal(from_step(step, tmp_path / "whole", tmp_path / str(step), **arguments), whole)


def test_training_differs_without_what_is_restored(tmp_path):
    """What the tests above compare is not equal by itself."""
    whole = make_trainer(tmp_path / "whole", max_steps=4)
    whole.train()
    (tmp_path / "whole" / "checkpoint-2" / "rng_state.pth").unlink()
    resumed = make_trainer(tmp_path / "other", max_steps=4)
    resumed.train(resume_from_checkpoint=tmp_path / "whole" / "checkpoint-2")
    assert differences(weights(resumed.model), weights(whole.model))


def test_a_run_that_was_at_its_end_trains_no_further(tmp_path):
    arguments = {"max_steps": 5, "load_best_model_at_end": False}
    whole = make_trainer(tmp_path, **arguments)
    whole.train()
    assert_equal(resume(tmp_path, **arguments), whole)
    assert newest_checkpoint(tmp_path).name == "checkpoint-5"


def test_a_run_can_be_prolonged(tmp_path):
    make_trainer(tmp_path, max_steps=4).train()
    assert resume(tmp_path, max_steps=6).state.global_step == 6


def test_early_stopping_goes_on_counting_and_stays_stopped(tmp_path):
    arguments = {"metric_for_best_model": "step_count", "greater_is_better": False, "save_total_limit": None}

    def trainer(folder):
        found = make_trainer(folder, callbacks=[EarlyStoppingCallback(3)], **arguments)
        evaluate = found.evaluate

        def worse_and_worse(**kwargs):  # the first evaluation, after two steps, stays the best
            scores = evaluate(**kwargs)
            return {**scores, "eval_step_count": found.state.global_step}

        found.evaluate = worse_and_worse
        found.evaluation_loop = lambda *args, loop=found.evaluation_loop, **kwargs: _counted(
            loop(*args, **kwargs), found.state.global_step
        )
        return found

    whole = trainer(tmp_path / "whole")
    whole.train()
    assert whole.state.global_step == 8 and whole.state.best_global_step == 2
    for step in (4, 8):
        shutil.copytree(tmp_path / "whole", tmp_path / str(step))
        for checkpoint in checkpoints(tmp_path / str(step)):
            if int(checkpoint.name.partition("-")[2]) > step:
                shutil.rmtree(checkpoint)
        resumed = trainer(tmp_path / str(step))
        resumed.train(resume_from_checkpoint=True)
        assert_equal(resumed, whole)
        assert resumed.state.best_model_checkpoint == str(tmp_path / str(step) / "checkpoint-2")


def _counted(output, step):
    output.metrics["eval_step_count"] = step
    return output


@pytest.mark.parametrize("strategy", ["eval_strategy", "logging_strategy"])
def test_a_checkpoint_at_an_epochs_last_step_holds_what_the_epochs_end_brings(strategy, tmp_path):
    arguments = {"max_steps": 16, "save_steps": 7, "load_best_model_at_end": False, "save_total_limit": None}
    arguments = {**arguments, strategy: "epoch"}
    whole = make_trainer(tmp_path / "whole", **arguments)
    whole.train()
    assert_equal(from_step(7, tmp_path / "whole", tmp_path / "7", **arguments), whole)


def test_how_often_a_run_evaluates_changes_no_weight(tmp_path):
    trained = []
    for every in (2, 3):
        trainer = make_trainer(tmp_path / str(every), max_steps=4, eval_steps=every, load_best_model_at_end=False)
        trainer.train()
        trained.append(weights(trainer.model))
    assert differences(*trained) == []


def test_the_loss_told_at_the_end_is_of_the_steps_of_this_call(tmp_path):
    arguments = {"max_steps": 5, "logging_steps": 100, "save_steps": 3, "eval_steps": 3, "save_total_limit": None}
    whole = make_trainer(tmp_path / "whole", **arguments).train().training_loss
    first = make_trainer(tmp_path / "first", **{**arguments, "max_steps": 3}, lr_scheduler_type="constant")
    assert first.train().training_loss > 0 and whole > 0
    resumed = from_step(3, tmp_path / "whole", tmp_path / "3", **arguments)
    total = json.loads((tmp_path / "whole" / "checkpoint-3" / "unlogged_loss_0.json").read_text())["loss"]
    last = [entry["train_loss"] for entry in resumed.state.log_history if "train_loss" in entry]
    assert last[0] == pytest.approx((5 * whole - total) / 2, rel=1e-5)


@pytest.mark.parametrize("stage", ["save_model", "_save_optimizer_and_scheduler", "_save_rng_state", "put_in_place"])
def test_whoever_is_killed_amid_a_save_leaves_no_half_checkpoint(stage, monkeypatch, tmp_path):
    whole = make_trainer(tmp_path / "whole", max_steps=6)
    whole.train()
    killed = make_trainer(tmp_path / "killed", max_steps=6)
    owner = resuming if stage == "put_in_place" else killed
    done = getattr(owner, stage)

    def die(*args, **kwargs):
        if killed.state.global_step == 4:
            kill()
        return done(*args, **kwargs)

    with monkeypatch.context() as context:
        context.setattr(owner, stage, die)
        context.setattr(resuming, "clear_unfinished", lambda folder: None)  # the dead clear nothing
        with pytest.raises(Killed):
            killed.train()
    assert [path.name for path in checkpoints(tmp_path / "killed")] == ["checkpoint-2"]
    assert (tmp_path / "killed" / UNFINISHED / "checkpoint-4").is_dir() == (stage != "save_model")
    assert_equal(resume(tmp_path / "killed", max_steps=6), whole)
    assert not (tmp_path / "killed" / UNFINISHED).exists()


def test_older_checkpoints_are_pruned_after_the_new_one_is_whole(monkeypatch, tmp_path):
    seen = []
    prune = checkpointing.prune

    def watch(newest, limit, best=None):
        assert checkpointing.checkpoint_fault(newest) is None
        before = [path.name for path in checkpoints(newest.parent)]
        prune(newest, limit, best)
        seen.append((before, [path.name for path in checkpoints(newest.parent)]))

    monkeypatch.setattr(resuming, "prune", watch)
    make_trainer(tmp_path, max_steps=6, save_total_limit=1, load_best_model_at_end=False).train()
    names = [f"checkpoint-{step}" for step in (2, 4, 6)]
    assert seen == [(names[:1], names[:1]), (names[:2], names[1:2]), (names[1:], names[2:])]


def test_the_best_model_is_kept_and_loaded(tmp_path):
    arguments = {"max_steps": 6, "save_total_limit": 1, "greater_is_better": True}
    trainer = make_trainer(tmp_path, **arguments)
    trainer.train()
    evaluated = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    best = max(evaluated, key=lambda entry: entry["eval_loss"])
    assert best["step"] == 2  # the loss falls
    assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{best['step']}")
    loaded = type(trainer.model).from_pretrained(trainer.state.best_model_checkpoint)
    assert differences(weights(loaded), weights(trainer.model)) == []
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best["eval_loss"], rel=1e-6)


def test_files_of_the_caller_lie_in_checkpoints_and_with_the_model(tmp_path):
    trainer = make_trainer(tmp_path, max_steps=2)
    trainer.train()
    trainer.save_model()
    for folder in (tmp_path / "checkpoint-2", tmp_path):
        assert (folder / "recipe.yaml").read_text() == "about: nothing lost\n"
        assert (folder / "model.safetensors").is_file()
    assert (tmp_path / "checkpoint-2" / "training_args.bin").is_file()
    assert not (tmp_path / "training_args.bin").exists()


def test_a_model_that_cannot_be_saved_leaves_the_one_that_was_there(monkeypatch, tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.save_model()
    before = (tmp_path / "model.safetensors").read_bytes()
    for parameter in trainer.model.parameters():
        torch.nn.init.ones_(parameter)
    monkeypatch.setattr(trainer, "_write_files", lambda folder: kill())
    with pytest.raises(Killed):
        trainer.save_model()
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not (tmp_path / UNFINISHED).exists()


def test_a_full_disk_is_told_and_the_last_checkpoint_resumes(tmp_path):
    whole = make_trainer(tmp_path / "whole", max_steps=6)
    whole.train()
    size = (tmp_path / "whole" / "checkpoint-6" / "optimizer.pt").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill = At("on_step_end", 4, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1000, before[1])))
    full = make_trainer(tmp_path / "full", max_steps=6, callbacks=[fill])
    try:
        with pytest.raises(
            OSError, match=r"checkpoint-4 could not be written to .*full: .*checkpoint-2 is whole"
        ) as error:
            full.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "goes on from it" in str(error.value)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["checkpoint-2"]
    assert_equal(resume(tmp_path / "full", max_steps=6), whole)


def test_resuming_without_a_whole_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoint-2").mkdir()
    with pytest.raises(ValueError, match="has no whole checkpoint to resume from"):
        make_trainer(tmp_path).train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    ("event", "step", "saved"),
    [
        ("on_step_begin", 2, 3),  # amid a step
        ("on_step_begin", 3, 4),  # an evaluation is due at its end
        ("on_step_begin", 6, 7),  # the last of an epoch
        ("on_prediction_step", 4, 4),  # amid an evaluation
        ("on_evaluate", 4, 4),
        ("on_save", 4, 4),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_within_the_step_and_the_run_goes_on_later(event, step, saved, number, tmp_path):
    if number == signal.SIGINT and step != 2:
        pytest.skip("as with SIGTERM")
    arguments = {"max_steps": 8, "save_total_limit": 1, "per_device_eval_batch_size": 1}
    whole = make_trainer(tmp_path / "whole", **arguments)
    whole.train()
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    trainer = make_trainer(tmp_path / "run", callbacks=[At(event, step, lambda: terminate(number))], **arguments)
    trainer.train()
    assert trainer.stopped and trainer.state.global_step == saved
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    assert newest_checkpoint(tmp_path / "run").name == f"checkpoint-{saved}"
    resumed = resume(tmp_path / "run", **arguments)
    assert not resumed.stopped
    assert_equal(resumed, whole)


def test_who_goes_on_with_the_model_hears_of_a_signal(tmp_path):
    trainer = make_trainer(tmp_path / "run", max_steps=4, callbacks=[At("on_step_begin", 2, terminate)])
    with pytest.raises(KeyboardInterrupt):
        trainer.train_whole()
    assert trainer.state.global_step == 3
    whole = make_trainer(tmp_path / "whole", max_steps=4)
    whole.train_whole()
    assert whole.state.global_step == 4


def test_an_epochs_evaluation_is_left_to_the_run_that_resumes(tmp_path):
    arguments = {"max_steps": 8, "eval_strategy": "epoch", "logging_strategy": "epoch", "save_strategy": "epoch"}
    whole = make_trainer(tmp_path / "whole", **arguments)
    whole.train()
    for step in (3, 6):  # amid the first epoch, and at its last step
        run = tmp_path / str(step)
        trainer = make_trainer(run, callbacks=[At("on_step_begin", step, terminate)], **arguments)
        trainer.train()
        assert (trainer.stopped and history(trainer) == []) or step == 6
        assert not any("eval_loss" in entry for entry in history(trainer))
        assert_equal(resume(run, **arguments), whole)


def test_a_run_that_is_stopped_again_and_again_ends_as_one_that_is_not(tmp_path):
    whole = make_trainer(tmp_path / "whole", max_steps=4)
    whole.train()
    for step in range(4):  # the last has nothing left to do but its evaluation
        trainer = make_trainer(tmp_path / "run", max_steps=4, callbacks=[At("on_step_begin", step, terminate)])
        trainer.train(resume_from_checkpoint=newest_checkpoint(tmp_path / "run"))
        assert trainer.stopped and trainer.state.global_step == step + 1
    assert_equal(resume(tmp_path / "run", max_steps=4), whole)


@pytest.mark.parametrize("clips", [1, 4])  # the signal comes amid the evaluation, or at its end
def test_a_stop_amid_the_evaluation_that_was_left_leaves_it_again(clips, tmp_path):
    whole = make_trainer(tmp_path / "whole", max_steps=6, per_device_eval_batch_size=clips)
    whole.train()
    for event, step in (("on_step_begin", 3), ("on_prediction_step", 4)):
        trainer = make_trainer(
            tmp_path / "run", max_steps=6, callbacks=[At(event, step, terminate)], per_device_eval_batch_size=clips
        )
        trainer.train(resume_from_checkpoint=newest_checkpoint(tmp_path / "run"))
        assert trainer.stopped and trainer.state.global_step == 4
    assert_equal(resume(tmp_path / "run", max_steps=6, per_device_eval_batch_size=clips), whole)


def test_a_second_sigint_is_a_keyboard_interrupt():
    signals = StopSignals()
    with signals.heeded():
        terminate(signal.SIGINT)
        assert signals.agreed(torch.device("cpu"))
        with pytest.raises(KeyboardInterrupt):
            terminate(signal.SIGINT)


def test_without_a_signal_nobody_stops_and_other_threads_heed_none():
    signals, before = StopSignals(), signal.getsignal(signal.SIGTERM)

    def elsewhere():
        with signals.heeded():
            assert signal.getsignal(signal.SIGTERM) == before
            done.append(signals.agreed(torch.device("cpu")))

    done = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done == [False]


class OwnProcess(Dataset):
    """Each item is the id of the process that made it."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return os.getpid()


def test_data_workers_outlive_a_signal_to_the_job_and_end_with_their_process(tmp_path):
    started = make_trainer(tmp_path, dataloader_num_workers=1).get_train_dataloader().worker_init_fn
    assert started.func is start_worker
    batches = iter(DataLoader(OwnProcess(), num_workers=1, worker_init_fn=started))
    worker = int(next(batches))
    assert worker != os.getpid()
    stranger = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2]))"
    for number in (signal.SIGTERM, signal.SIGINT):
        subprocess.run([sys.executable, "-S", "-c", stranger, str(worker), str(int(number))], check=True)
    assert {int(batch) for batch in batches} == {worker}

    batches = iter(DataLoader(OwnProcess(), num_workers=1, worker_init_fn=started))
    worker = int(next(batches))
    process = next(child for child in multiprocessing.active_children() if child.pid == worker)
    process.terminate()  # by a signal, as at the end of a program that fails
    process.join(60)
    assert process.exitcode == 0
