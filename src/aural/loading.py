"""Model folders opened with care: what is wrong with one is a single line that names it and keeps the reason."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CTC_MAPPING,
    AutoConfig,
    AutoModelForCTC,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
)

from .processing import AuralProcessor
from .processing.folders import check_features_fit, check_tokenizer_fits, said_of

COMMANDS: dict[str, tuple[str, ...]] = {  # model types, and the commands that take a folder of each
    "las": ("transcribe", "attention", "explain", "app"),
    "spectrogram_transformer": ("tag", "attention", "explain", "app", "atlas"),
    "spectrogram_transformer_seq2seq": ("transcribe", "caption", "attention", "explain", "app", "atlas"),
    "audio-spectrogram-transformer": ("convert",),
}
HEADS: dict[str, tuple[str, ...]] = {  # of classes for which it is others than for their model type
    "SpectrogramTransformerForCTC": ("transcribe", "attention", "explain", "app", "atlas"),
}


def load_config(folder: str | Path, command: str) -> PreTrainedConfig:
    """The config of a model folder or Hub id.

    Args:
        folder: A folder that `save_pretrained` wrote, or an id on the Hub.
        command: The command it is for, such as "tag".

    Raises:
        OSError: There is no such folder, or it is no model folder.
        ValueError: The config is damaged, or the folder is for another command.
    """
    path = Path(folder)
    if not str(folder).strip():
        raise ValueError(f"model={str(folder)!r} names nothing; give a model folder or a Hub id")
    if path.is_file():
        raise NotADirectoryError(f"{folder} is a file; a model is a folder with config.json, weights and processor")
    if path.is_dir() and not (path / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is not a model folder: it has no config.json")
    with said_of(folder):
        config = AutoConfig.from_pretrained(folder)
    heads = [head for head in config.architectures or () if head in HEADS]
    commands = HEADS[heads[0]] if heads else COMMANDS.get(config.model_type, (command,))
    if command not in commands:
        what = heads[0] if heads else f"model of type {config.model_type!r}"
        raise ValueError(
            f"{folder} holds a {what}, which is not for `aural {command}`; `aural {commands[0]}` is the command for it"
        )
    return config


def load_writer(
    folder: str | Path, command: str, device: str | torch.device = "cpu"
) -> tuple[PreTrainedModel, AuralProcessor]:
    """Load a model that writes, and its processor, from a folder or a Hub id.

    Args:
        folder: A folder that `save_pretrained` of both wrote, or an id on the Hub.
        command: The command it is for, as of `load_config`.
        device: Where the model goes.

    Raises:
        OSError: There is no such folder, or it holds no whole model.
        ValueError: The model is of another family, or the vocabulary or the features do not fit it.
    """
    config = load_config(folder, command)
    with said_of(folder):
        processor = AutoProcessor.from_pretrained(folder)
    _check_fit(config, processor, str(folder))  # before the weights, whose shapes would fail with a longer story
    auto = AutoModelForCTC if type(config) in MODEL_FOR_CTC_MAPPING else AutoModelForSpeechSeq2Seq
    with said_of(folder), no_conversion():
        model: Any = auto.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.to(device).eval(), processor


def _check_fit(config: Any, processor: Any, folder: str) -> None:
    if not isinstance(processor, AuralProcessor):
        raise ValueError(f"{folder} holds a {type(processor).__name__}, not an AuralProcessor")
    check_tokenizer_fits(config, processor.tokenizer, folder, processor.phoneme_tokenizer)
    check_features_fit(config, processor.feature_extractor, folder)
    rate, wanted = processor.feature_extractor.sampling_rate, getattr(config, "sampling_rate", None)
    if wanted not in (None, rate):
        raise ValueError(f"{folder}: the feature extractor takes {rate} Hz but the model's sampling_rate is {wanted}")


@contextmanager
def no_conversion() -> Iterator[None]:
    """Pickled weights are refused; transformers would else ask a service to convert them, in public and unasked."""
    name = "DISABLE_SAFETENSORS_CONVERSION"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
