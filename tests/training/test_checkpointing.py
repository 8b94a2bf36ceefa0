"""Which checkpoints are whole, which is the newest, and which are pruned."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers.trainer_utils import get_last_checkpoint

from aural.training.checkpointing import (
    UNFINISHED,
    checkpoint_fault,
    checkpoints,
    clear_unfinished,
    move_files,
    newest_checkpoint,
    prune,
    put_in_place,
)


def make(folder, step):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    save_file({"weight": torch.ones(100)}, checkpoint / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": torch.ones(100)}, checkpoint / name)
    return checkpoint


def names(folder):
    return [path.name for path in checkpoints(folder)]


def test_the_newest_has_the_most_steps(tmp_path):
    for step in (8, 10, 9):
        make(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-99").write_text("a file")
    assert newest_checkpoint(str(tmp_path)) == tmp_path / "checkpoint-10"


def test_no_folder_has_no_checkpoint(tmp_path):
    assert newest_checkpoint(tmp_path / "missing") is None
    assert newest_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("trainer_state.json", "trainer_state.json cannot be read"),
        ("model.safetensors", "weights not there"),
        ("optimizer.pt", "the optimizer's state not there"),
        ("scheduler.pt", "the schedule's state not there"),
        ("rng_state.pth", "the generators' states not there"),
    ],
)
def test_a_checkpoint_without_a_file_or_with_half_of_one_is_not_whole(name, fault, tmp_path):
    older = make(tmp_path, 2)
    file = make(tmp_path, 4) / name
    assert newest_checkpoint(tmp_path) == file.parent
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert newest_checkpoint(tmp_path) == older
    assert name in checkpoint_fault(file.parent)
    file.unlink()
    assert newest_checkpoint(tmp_path) == older
    assert checkpoint_fault(file.parent).startswith(fault)


def test_a_checkpoint_of_another_step_or_without_one_of_its_shards_is_not_whole(tmp_path):
    checkpoint = make(tmp_path, 4).rename(tmp_path / "checkpoint-6")
    assert checkpoint_fault(checkpoint) == "trainer_state.json is of step 4"
    sharded = make(tmp_path, 4)
    index = {"weight_map": {"weight": "model.safetensors", "bias": "model-00002.safetensors"}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    assert checkpoint_fault(sharded) == "model-00002.safetensors is missing"


def test_what_is_unfinished_is_no_checkpoint_to_anyone(tmp_path):
    make(tmp_path, 2)
    make(tmp_path / UNFINISHED, 4)
    assert names(tmp_path) == ["checkpoint-2"]
    assert get_last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    clear_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    clear_unfinished(tmp_path / "missing")


def test_a_checkpoint_takes_the_place_of_one_that_is_not_whole(tmp_path):
    (make(tmp_path, 4) / "optimizer.pt").unlink()
    put_in_place(make(tmp_path / UNFINISHED, 4), tmp_path / "checkpoint-4")
    assert checkpoint_fault(tmp_path / "checkpoint-4") is None


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [
        (None, None, [2, 4, 6, 8, 10]),
        (0, None, [2, 4, 6, 8, 10]),
        (3, None, [4, 6, 8]),
        (1, None, [8]),
        (2, 2, [2, 8]),
        (1, 2, [2, 8]),
        (3, 8, [4, 6, 8]),
    ],
)
def test_pruning_keeps_the_newest_and_the_best_and_begins_with_what_is_ahead(limit, best, left, tmp_path):
    for step in (2, 4, 6, 8, 10):
        make(tmp_path, step)
    prune(tmp_path / "checkpoint-8", limit, best and tmp_path / f"checkpoint-{best}")  # 10 is of an abandoned run
    assert names(tmp_path) == [f"checkpoint-{step}" for step in left]
    assert not (tmp_path / UNFINISHED).exists()


def test_files_are_moved_over_those_of_their_names(tmp_path):
    part, folder = tmp_path / "part", tmp_path / "folder"
    for where, text in ((part, "new"), (folder, "old")):
        (where / "adapter").mkdir(parents=True)
        (where / "config.json").write_text(text)
        (where / "adapter" / "weights").write_text(text)
    (folder / "card.md").write_text("kept")
    move_files(part, folder)
    assert (folder / "config.json").read_text() == (folder / "adapter" / "weights").read_text() == "new"
    assert (folder / "card.md").read_text() == "kept"
