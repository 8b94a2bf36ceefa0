"""Checkpoints that are whole or not there, and which is the newest of them.

The stock Trainer writes `checkpoint-N` in place: whoever is killed amid it leaves a folder that looks like the newest
checkpoint and is none. Here a checkpoint is written under `.unfinished`, flushed to the disk, and then renamed; what
is to go is renamed before it is deleted. What a killed process left under `.unfinished` is nobody's, and goes when
the next run begins.

    run/checkpoint-100          whole
    run/.unfinished/checkpoint-200   being written
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

UNFINISHED = ".unfinished"  # matches neither what transformers takes for a checkpoint nor what it prunes
NEEDED = {  # what a run goes on from, and any of the files or folders that hold it
    "weights": (
        "model*.safetensors",
        "pytorch_model*",  # .bin, and the folder that FSDP makes
        "adapter_model.*",
        "*/adapter_model.*",
        "global_step*",  # DeepSpeed's folder, which holds the next two as well
    ),
    "the optimizer's state": ("*optimizer*", "global_step*"),
    "the schedule's state": ("scheduler.pt", "global_step*"),
    "the generators' states": ("rng_state*.pth",),
}


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The whole checkpoint of the most steps in a folder, None if there is none.

    Args:
        folder: A run's `output_dir`, there already or not.
    """
    whole = (checkpoint for checkpoint in reversed(checkpoints(folder)) if checkpoint_fault(checkpoint) is None)
    return next(whole, None)


def checkpoints(folder: str | Path) -> list[Path]:
    """The folders `checkpoint-N` in a folder by rising N, whole or not.

    Args:
        folder: A run's `output_dir`, there already or not.
    """
    found = [path for path in Path(folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
    return sorted((path for path in found if path.name.rpartition("-")[2].isdecimal()), key=_step)


def checkpoint_fault(checkpoint: Path) -> str | None:
    """Why a run cannot go on from a checkpoint, None if it can: a file is missing, cut short or of another step.

    Args:
        checkpoint: A folder `checkpoint-N`.
    """
    try:
        step = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))["global_step"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{TRAINER_STATE_NAME} cannot be read: {error!r}"
    if step != _step(checkpoint):
        return f"{TRAINER_STATE_NAME} is of step {step}"
    for what, patterns in NEEDED.items():
        if not any(path for pattern in patterns for path in checkpoint.glob(pattern)):
            return f"{what} not there: none of {', '.join(patterns)}"
    for index in checkpoint.glob("*.index.json"):  # of weights in several files
        for name in set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()):
            if not (checkpoint / name).is_file():
                return f"{name} is missing"
    cut = next((path for path in sorted(checkpoint.rglob("*")) if path.is_file() and not _complete(path)), None)
    return f"{cut.relative_to(checkpoint)} is cut short or damaged" if cut else None


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _complete(file: Path) -> bool:
    """Whether a file of tensors is as long as it says; other files are taken for complete."""
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="pt"):  # reads the header alone
                return True
        except (OSError, SafetensorError):
            return False
    return file.suffix not in (".pt", ".pth", ".bin") or zipfile.is_zipfile(file)  # the directory is at the end


def put_in_place(part: Path, checkpoint: Path) -> None:
    """Give a checkpoint its name, once all that it holds is on the disk; one of that name is replaced.

    Args:
        part: The folder as it was written, on the same file system.
        checkpoint: Its place.

    Raises:
        OSError: It cannot be flushed or renamed.
    """
    sync_tree(part)
    if checkpoint.exists():  # not whole, or of an earlier run
        checkpoint.rename(part.with_name(f"replaced-{checkpoint.name}"))
    part.rename(checkpoint)
    _sync(checkpoint.parent)


def move_files(part: Path, folder: Path) -> None:
    """Move what a folder holds into another, each file at once taking the place of one of its name.

    Args:
        part: The folder as it was written, on the same file system.
        folder: Where to.

    Raises:
        OSError: It cannot be flushed or renamed.
    """
    sync_tree(part)
    for path in sorted(part.iterdir()):
        if path.is_dir() and (folder / path.name).is_dir():  # of an adapter; folders cannot be replaced at once
            shutil.rmtree(folder / path.name)
        path.replace(folder / path.name)


def sync_tree(folder: Path) -> None:
    """Have a folder and all in it on the disk.

    Args:
        folder: Of files and folders.

    Raises:
        OSError: The disk refuses.
    """
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # where folders cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def prune(newest: Path, limit: int | None, best: str | Path | None = None) -> None:
    """Delete a run's oldest checkpoints; checkpoints of steps that the run has not reached yet count as the oldest.

    Args:
        newest: The whole checkpoint that the run wrote last; it stays.
        limit: How many stay in all; None or 0: all.
        best: One that stays as well, if there is one.
    """
    if not limit or limit < 0:
        return
    kept = {newest.resolve()} | ({Path(best).resolve()} if best is not None else set())
    others = [path for path in checkpoints(newest.parent) if path.resolve() not in kept]
    others.sort(key=lambda path: (_step(path) <= _step(newest), _step(path)))
    stay = max(0, limit - len(kept))
    for checkpoint in others[: max(0, len(others) - stay)]:
        condemned = newest.parent / UNFINISHED / f"pruned-{checkpoint.name}"
        condemned.parent.mkdir(exist_ok=True)
        checkpoint.rename(condemned)  # half a checkpoint never bears the name of one
    clear_unfinished(newest.parent)


def clear_unfinished(folder: str | Path) -> None:
    """Delete what was being written or deleted in a folder when its process ended.

    Args:
        folder: A run's `output_dir`, there already or not.
    """
    shutil.rmtree(Path(folder) / UNFINISHED, ignore_errors=True)
