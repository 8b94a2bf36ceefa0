"""Decoding does not wait for the host: no value of a tensor is read in our forward, cache or processors."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

import aural.modeling
from tests.joint import everything, joint_las, joint_patches
from tests.tiny import clips

OURS, THEIRS = (str(Path(package.__file__).parent) for package in (aural.modeling, transformers))
# What makes the host wait for a device: reading a value, and shapes that depend on values.
WAITS = ("_local_scalar_dense", "is_nonzero", "item", "nonzero", "masked_select", "equal", "unique", "_unique2")


class Waits(TorchDispatchMode):
    """Records who reads values: the nearest function of ours or of transformers on the stack."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, set[str]] = {OURS: set(), THEIRS: set()}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        by_mask = name in ("index", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in WAITS or by_mask:
            frame = sys._getframe()
            while frame and not frame.f_code.co_filename.startswith((OURS, THEIRS)):
                frame = frame.f_back
            if frame:
                owner = OURS if frame.f_code.co_filename.startswith(OURS) else THEIRS
                self.of[owner].add(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {name}")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("joint", [False, True], ids=["speller", "joint"])
@pytest.mark.parametrize(
    "make",
    [
        joint_las,
        partial(joint_las, attention_kind="multihead", attention_heads=2, query_layer="first"),
        partial(joint_las, memory_slots=3),
        joint_patches,
    ],
    ids=["location", "multihead", "slots", "patches"],
)
def test_nothing_of_ours_reads_a_value_while_it_decodes(monkeypatch, beams, joint, make):
    for name, room in list(sys.modules.items()):  # what they check, they check only where it costs nothing
        if name.startswith("aural.modeling.") and hasattr(room, "on_host"):
            monkeypatch.setattr(room, "on_host", lambda _: False)
    model = make()
    options = {**everything(), "eos_threshold": 1.5, "ctc_candidates": 4} if joint else {}
    features, mask = clips([40, 24])
    with Waits() as waits:
        model.generate(features, attention_mask=mask, num_beams=beams, max_new_tokens=4, **options)
    assert waits.of[THEIRS]  # their loops test for the end at each step: what reads values is recorded
    assert not waits.of[OURS]
