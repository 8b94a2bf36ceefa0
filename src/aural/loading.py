"""Model folders opened with care: what is wrong with one is a single line that names it and keeps the reason."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig

from .processing import LogMelFeatureExtractor

COMMANDS = {  # model types, and the command that takes a folder of each
    "las": "transcribe",
    "spectrogram_transformer": "tag",
    "audio-spectrogram-transformer": "convert",
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
    if (other := COMMANDS.get(config.model_type, command)) != command:
        raise ValueError(
            f"{folder} holds a model of type {config.model_type!r}, which is not for `aural {command}`; "
            f"`aural {other}` is the command for it"
        )
    return config


@contextmanager
def said_of(folder: str | Path) -> Iterator[None]:
    """Whatever reading a folder raises becomes one line that names the folder and keeps the reason."""
    try:
        yield
    except Exception as error:  # damaged weights and JSON raise whatever their reader raises
        reason: BaseException = error
        if isinstance(error, StrictDataclassError) and error.__cause__ is not None:
            reason = error.__cause__  # the config's own words
        text = " ".join(str(reason).split()) or type(reason).__name__
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"cannot load a model from {folder}: {text}") from error


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


def check_features_fit(config: Any, extractor: LogMelFeatureExtractor, name: str | Path) -> None:
    """The feature extractor gives as many mels, as often, as the model takes.

    Args:
        config: Has `num_mel_bins` and `frame_shift_ms`.
        extractor: The extractor beside the model.
        name: What errors call the two by.

    Raises:
        ValueError: Otherwise, with both numbers.
    """
    mels, wanted = extractor.num_mel_bins, config.num_mel_bins
    if mels != wanted:
        raise ValueError(f"{name}: the feature extractor gives {mels} mels but the model takes {wanted}")
    shift = extractor.seconds_per_frame * 1000
    if abs(shift - config.frame_shift_ms) > 1e-6:
        raise ValueError(
            f"{name}: the feature extractor gives a frame every {shift:g} ms but the model's frame_shift_ms is "
            f"{config.frame_shift_ms:g}"
        )
