"""Foreign files are read without trusting them: no code runs, and what is wrong is one error that names the file."""

import argparse
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from aural.checkpoints import read_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Touch:
    """Leaves a trace when unpickled by a reader that trusts it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def refused(path: Path, *parts: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error) as raised:
        read_checkpoint(path)
    assert all(part in str(raised.value) for part in (str(path), *parts)), raised.value
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".safetensors"])
def test_every_kind_of_file_gives_its_tensors_and_its_checksum(tmp_path, suffix):
    import hashlib

    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(TENSORS, path)
    checkpoint = read_checkpoint(path)
    assert set(checkpoint.tensors) == set(TENSORS)
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in TENSORS.items())
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.config is None


@pytest.mark.parametrize(
    "wrapped", [{"model": TENSORS}, {"state_dict": TENSORS, "epoch": 3}, {"state_dict": {"model": TENSORS}}]
)
def test_what_training_programs_wrap_around_is_taken_off(tmp_path, wrapped):
    torch.save(wrapped, tmp_path / "a.pth")
    assert set(read_checkpoint(tmp_path / "a.pth").tensors) == set(TENSORS)


def test_options_of_a_training_program_are_plain_values_and_do_no_harm(tmp_path):
    torch.save({"model": TENSORS, "args": argparse.Namespace(lr=1e-3, names=["a"])}, tmp_path / "a.pth")
    assert set(read_checkpoint(tmp_path / "a.pth").tensors) == set(TENSORS)


@pytest.mark.parametrize("place", ["beside the tensors", "alone", "as an option", "as a bare pickle", "by protocol 2"])
def test_code_in_a_pickle_does_not_run(tmp_path, place):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    evil = Touch(trace)
    if place == "beside the tensors":
        torch.save({"model": TENSORS, "hook": evil}, path)
    elif place == "alone":
        torch.save(evil, path)
    elif place == "as an option":
        torch.save({"model": TENSORS, "args": argparse.Namespace(x=evil)}, path)
    else:
        path.write_bytes(pickle.dumps({"model": evil}, protocol=2 if place == "by protocol 2" else 4))
    refused(path, "could run code when loaded, and was not" if place != "as a bare pickle" else "not what torch.save")
    assert not trace.exists()
    if place == "alone":  # the trap works: a reader that trusts it springs it
        torch.load(path, weights_only=False)
        assert trace.exists()


def test_a_pickled_module_is_refused_by_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "torch.nn.modules.linear.Linear", "Save its state dict alone")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_pth_is_said_to_be_damaged(tmp_path, share, legacy):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(10_000)}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "damaged, cut short")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_safetensors_are_said_to_be_damaged(tmp_path, share):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(10_000)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "damaged or cut short")


def test_text_and_other_kinds_are_refused(tmp_path):
    (tmp_path / "a.pth").write_text("hello, this is no checkpoint")
    refused(tmp_path / "a.pth", "damaged, cut short, or not what torch.save writes")
    (tmp_path / "a.npz").write_bytes(b"PK")
    refused(tmp_path / "a.npz", "allowed are .safetensors, .pth, .pt, .bin, .ckpt")
    refused(tmp_path / "gone.pth", "does not exist", error=FileNotFoundError)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.zeros(3), "holds Tensor, not tensors by name"),
        ({}, "holds dict, not tensors by name"),
        ({"epoch": 3}, "holds 'epoch' of type int"),
        ({"a": torch.zeros(2), "b": [1, 2]}, "holds 'b' of type list"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", said)


def folder_of(path: Path, **files) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_folder_brings_config_preprocessor_and_the_licence_of_its_card(tmp_path):
    card = "---\nlicense: bsd-3-clause\n---\n\n# A model\n"
    files = {"config__json": {"model_type": "x"}, "preprocessor_config__json": {"mean": 1.0}, "README__md": card}
    folder = folder_of(tmp_path / "a", **files)
    save_file(TENSORS, folder / "model.safetensors")
    for source in (folder, folder / "model.safetensors"):
        checkpoint = read_checkpoint(source)
        assert set(checkpoint.tensors) == set(TENSORS)
        assert (checkpoint.config, checkpoint.preprocessor) == ({"model_type": "x"}, {"mean": 1.0})
        assert checkpoint.license == "bsd-3-clause"


@pytest.mark.parametrize("card", ["# No metadata\n", "---\nlicense: [a, b\n---\n", "---\nlicense: 3\n---\n", ""])
def test_a_card_without_a_licence_names_none(tmp_path, card):
    folder = folder_of(tmp_path / "a", config__json={}, README__md=card)
    save_file(TENSORS, folder / "model.safetensors")
    assert read_checkpoint(folder).license is None


def test_weights_in_several_files_are_joined(tmp_path):
    shards = {"a.weight": "one.safetensors", "a.bias": "two.safetensors"}
    index = {"weight_map": shards}
    folder = folder_of(tmp_path / "a", config__json={}, model__safetensors__index__json=index)
    for name, file in shards.items():
        save_file({name: TENSORS[name]}, folder / file)
    assert set(read_checkpoint(folder).tensors) == set(TENSORS)
    (folder / "two.safetensors").unlink()
    refused(folder, "lacks two.safetensors", error=FileNotFoundError)


def test_an_index_that_leaves_its_folder_is_refused(tmp_path):
    save_file(TENSORS, tmp_path / "secret.safetensors")
    index = {"weight_map": {"a.weight": "../secret.safetensors"}}
    folder = folder_of(tmp_path / "a", config__json={}, model__safetensors__index__json=index)
    refused(folder, "'../secret.safetensors', which is not in its folder")


def test_a_folder_that_is_not_whole_is_refused(tmp_path):
    refused(folder_of(tmp_path / "a"), "has no config.json", error=FileNotFoundError)
    refused(folder_of(tmp_path / "b", config__json={}), "has no weights", error=FileNotFoundError)
    refused(folder_of(tmp_path / "c", config__json="{"), "config.json is not readable JSON")
    refused(folder_of(tmp_path / "d", config__json="[]"), "must be a JSON object")
