"""What a fine-tuning starts from: a model and its processing, from a folder or a Hub id, ready to be adapted.

    model, processing = load_base("user/las-english", architecture="LasForConditionalGeneration")

- Only settings and safetensors are read, by the explicit classes here: a folder brings no code and no pickles.
- A base may have another head than the wanted one of its family, or none: what both have keeps its weights, the rest
  of the head is new. Nothing else may be missing; transformers would draw it at random.
- Folders that a Trainer wrote amid a run (`checkpoint-N`) are folders like others.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import PreTrainedModel

from ..modeling.las import LasForConditionalGeneration, LasModel, LasPreTrainedModel
from ..modeling.spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
)
from ..processing.features import LogMelFeatureExtractor
from ..processing.folders import check_features_fit, check_tokenizer_fits, one_line, said_of
from ..processing.processor import AuralProcessor
from .typed import check_keys, nearest

TRAINABLE: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        LasForConditionalGeneration,
        SpectrogramTransformerForAudioClassification,
        SpectrogramTransformerForAudioFrameClassification,
    )
}
HEADLESS: dict[str, Any] = {kind.__name__: kind for kind in (LasModel, SpectrogramTransformerModel)}
CONVERTIBLE = "audio-spectrogram-transformer"
ADAPTER_CONFIG = "adapter_config.json"  # PEFT's own name
SHOWN = 3  # names in an error


def load_base(
    source: str | Path, revision: str | None = None, architecture: str | None = None, **changes: Any
) -> tuple[PreTrainedModel, Any]:
    """A trained model in float32, and its processor (of one that writes text) or feature extractor (of others).

    Args:
        source: A folder that `save_pretrained` or a Trainer wrote, or an id on the Hub.
        revision: Branch, tag or commit on the Hub.
        architecture: Class wanted, one of `TRAINABLE`; None: the one that was saved. A head, or its pooling, that the
            base lacks is initialised as in a new model.
        changes: Fields of the config in place of the base's, such as `listener_dropout=0.2`. `ctc_weight` above 0
            gives a CTC head, a new one if the base has none.

    Raises:
        OSError: There is no such folder or repository, or it is not whole.
        ValueError: The base is of another family, an adapter or damaged, it does not fit its own tokenizer or
            features, or `changes` would change the shape of its weights.
    """
    folder = fetch_folder(source, revision)
    settings = _settings(folder, source)
    kind = _class_of(settings, architecture, source)
    check_keys(changes, [field.name for field in fields(kind.config_class) if field.init], "the config")
    with said_of(source):
        model, report = kind.from_pretrained(
            folder,
            config=kind.config_class.from_dict({**settings, **changes}),
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
        )
    _check_complete(model, settings, report["missing_keys"], source)
    name_origin(model, source, folder)
    processing = load_processing(folder, kind, source)
    if hasattr(processing, "tokenizer"):
        check_tokenizer_fits(model.config, processing.tokenizer, source, processing.phoneme_tokenizer)
    check_features_fit(model.config, getattr(processing, "feature_extractor", processing), source)
    return model, processing


def fetch_folder(source: str | Path, revision: str | None = None) -> Path:
    """The folder itself, or the local copy of a Hub repository's settings and safetensors.

    Raises:
        OSError: There is neither, or it is a file.
        ValueError: A folder with a revision.
    """
    path = Path(source)
    if path.is_file():
        raise NotADirectoryError(f"{source} is a file; a model is a folder with config.json, weights and processor")
    if path.is_dir():
        if revision is not None:
            raise ValueError(f"revision={revision!r} is for an id on the Hub, and {source} is a folder")
        return path
    try:
        patterns = ["*.json", "*.safetensors"]
        return Path(
            snapshot_download(str(source), revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"])
        )
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"{source} is no folder, and not to be had from the Hub: {one_line(error)}") from error


def read_object(path: Path, source: str | Path) -> dict[str, Any]:
    """A JSON object of the folder that `source` names.

    Raises:
        OSError: There is no such file.
        ValueError: It holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{source} is not a model folder: it has no {path.name}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{source}: {path.name} is not readable JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{source}: {path.name} holds a {type(content).__name__}; it must be a JSON object")
    return content


def load_processing(folder: Path, kind: Any, source: str | Path) -> Any:
    """The `AuralProcessor` or the `LogMelFeatureExtractor` in a folder of a model of class `kind`.

    Raises:
        OSError, ValueError: It is missing or damaged.
    """
    loader: Any = AuralProcessor if issubclass(kind, LasPreTrainedModel) else LogMelFeatureExtractor
    with said_of(source):
        return loader.from_pretrained(folder)


def name_origin(model: PreTrainedModel, source: str | Path, folder: Path) -> None:
    """Let a model that was read from a local copy know the name under which it was asked for.

    Args:
        model: Its cards and adapters name `source` as their base; adapters also name the commit.
        source: A folder or an id on the Hub.
        folder: What `fetch_folder` gave for it.
    """
    model.name_or_path = model.config._name_or_path = str(source)
    model.config._commit_hash = None if Path(source).is_dir() else folder.name  # snapshots are named by commit


def _settings(folder: Path, source: str | Path) -> dict[str, Any]:
    """config.json of a folder that holds a model, not an adapter."""
    if (folder / ADAPTER_CONFIG).is_file():
        raise ValueError(
            f"{source} holds an adapter, not a model: `merge_adapter` of aural.training.adapters makes one of it"
        )
    return read_object(folder / "config.json", source)


def _class_of(settings: dict[str, Any], architecture: str | None, source: str | Path) -> Any:
    """The class to load a base with, which is of the base's own family."""
    model_type = settings.get("model_type")
    found = (settings.get("architectures") or [f"model of type {model_type!r}"])[0]
    if architecture is not None and architecture not in TRAINABLE:
        near = nearest(architecture, TRAINABLE)
        raise ValueError(f"architecture={architecture!r};{near} allowed: {', '.join(TRAINABLE)}")
    families = {kind.config_class.model_type for kind in TRAINABLE.values()}
    if model_type not in families:
        hint = "; `aural convert` makes a base of it" if model_type == CONVERTIBLE else ""
        raise ValueError(f"{source} holds a {found}, which is none of {', '.join(TRAINABLE)}{hint}")
    if architecture is None:
        if found not in TRAINABLE:
            raise ValueError(f"{source} holds a {found}: name the architecture, one of {', '.join(TRAINABLE)}")
        return TRAINABLE[found]
    kind = TRAINABLE[architecture]
    if kind.config_class.model_type != model_type:
        raise ValueError(f"{source} holds a {found}, which is no base for {architecture}: they share no weights")
    if found not in TRAINABLE | HEADLESS:
        raise ValueError(f"{source} holds a {found}, which this aural does not know")
    return kind


def _check_complete(
    model: PreTrainedModel, settings: dict[str, Any], missing: set[str] | list[str], source: str | Path
) -> None:
    """Only a head that the base cannot have may be new."""
    body = f"{model.base_model_prefix}."
    new: tuple[str, ...] = ()
    if settings["architectures"][0] != type(model).__name__:
        heads = {name.split(".")[0] for name, _ in model.named_parameters() if not name.startswith(body)}
        new = (*(f"{name}." for name in heads), f"{body}pooler.")
    if not settings.get("ctc_weight"):
        new = (*new, "ctc_head.")
    if lacking := sorted(name for name in missing if not name.startswith(new)):
        raise ValueError(f"{source}: the weights lack {', '.join(lacking[:SHOWN])}, {len(lacking)} tensors in all")
