"""Model folders opened with care: what is wrong with one is a single line that names it and keeps the reason."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from .processing.folders import said_of

COMMANDS: dict[str, tuple[str, ...]] = {  # model types, and the commands that take a folder of each
    "las": ("transcribe",),
    "spectrogram_transformer": ("tag",),
    "spectrogram_transformer_seq2seq": ("transcribe", "caption"),
    "audio-spectrogram-transformer": ("convert",),
}
HEADS: dict[str, tuple[str, ...]] = {  # of classes for which it is others than for their model type
    "SpectrogramTransformerForCTC": ("transcribe",),
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
