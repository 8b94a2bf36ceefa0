"""Checkpoints of other programs, read without trusting them.

A pickle can run code when it is loaded. Here only tensors are unpickled, by torch's own restricted reader, and what
holds anything else is refused; safetensors hold nothing else.
"""

import argparse
import hashlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from safetensors.torch import load_file

PICKLED = (".pth", ".pt", ".bin", ".ckpt")
WRAPPERS = ("state_dict", "model")  # keys under which training programs keep the tensors
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")  # of a folder, in this order


@dataclass(frozen=True)
class Checkpoint:
    """What a file or folder holds.

    Attributes:
        path: Where it lies.
        tensors: By name.
        sha256: Of its weights.
        config: config.json of its folder, or None.
        preprocessor: preprocessor_config.json of its folder, or None.
        license: What the card in its folder names, or None.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    sha256: str
    config: dict[str, Any] | None
    preprocessor: dict[str, Any] | None
    license: str | None


def read_checkpoint(source: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        source: A file, or a folder with config.json and weights, as transformers saves it.

    Raises:
        FileNotFoundError: It does not exist, or the folder is not whole.
        ValueError: It is damaged, of an unknown kind, or holds more than tensors.
    """
    path = Path(source)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a checkpoint's file, or a folder that holds one")
    beside = path.parent
    config = _read_json(beside / "config.json") if path.name in WEIGHTS else None
    return Checkpoint(
        path=path,
        tensors=read_tensors(path),
        sha256=_sha256([path]),
        config=config,
        preprocessor=None if config is None else _read_json(beside / "preprocessor_config.json"),
        license=None if config is None else _license(beside),
    )


def _read_folder(folder: Path) -> Checkpoint:
    config = _read_json(folder / "config.json")
    if config is None:
        raise FileNotFoundError(f"{folder} has no config.json; give the checkpoint's file itself")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise FileNotFoundError(f"{folder} has no weights: none of {', '.join(WEIGHTS)}")
    files = [weights] if weights.suffix != ".json" else _shards(weights)
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        tensors.update(read_tensors(file))
    return Checkpoint(
        path=folder,
        tensors=tensors,
        sha256=_sha256(files),
        config=config,
        preprocessor=_read_json(folder / "preprocessor_config.json"),
        license=_license(folder),
    )


def _shards(index: Path) -> list[Path]:
    """The files of weights that are kept in several."""
    names = (_read_json(index) or {}).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index} has no weight_map")
    files = sorted({str(name) for name in names.values()})
    for name in files:
        if Path(name).name != name:
            raise ValueError(f"{index} names {name!r}, which is not in its folder")
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f"{index.parent} lacks {name}, of which {index.name} tells")
    return [index.parent / name for name in files]


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of one file, on the CPU.

    Raises:
        ValueError: The file is damaged, of an unknown kind, or holds more than tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or cut short: {_one_line(error)}") from None
    if path.suffix not in PICKLED:
        raise ValueError(f"{path} is no checkpoint by its name: allowed are .safetensors, {', '.join(PICKLED)}")
    return _tensors_in(_unpickled(path), path)


def _unpickled(path: Path) -> Any:
    try:
        # Options of a training program, which AudioMAE saves beside its weights: plain values, and no code.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols of pickle; the outcome is checked below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each raise their own
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is not None:
            raise ValueError(
                f"{path} refers to {found[1]}, and so is more than tensors: it could run code when loaded, and was "
                f"not. Save its state dict alone, as safetensors"
            ) from None
        raise ValueError(f"{path} is damaged, cut short, or not what torch.save writes") from None


def _tensors_in(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict, taken out of what training programs wrap around it."""
    while isinstance(content, Mapping) and not any(isinstance(value, torch.Tensor) for value in content.values()):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds {type(content).__name__}, not tensors by name")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ValueError(f"{path} holds {name!r} of type {type(value).__name__}, where tensors by name belong")
    return dict(content)


def _read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; it must be a JSON object")
    return content


def _license(folder: Path) -> str | None:
    """The licence that the folder's card names."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    try:
        named = ModelCard(card.read_text(encoding="utf-8"), ignore_metadata_errors=True).data.to_dict().get("license")
    except (ValueError, TypeError, yaml.YAMLError):
        return None
    return named if isinstance(named, str) and named else None


def _sha256(files: Sequence[Path]) -> str:
    """Of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
