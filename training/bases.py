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

from ..configuration.text_decoder import TextDecoderConfig
from ..modeling.spectrogram_transformer import SpectrogramTransformerModel
from ..processing.features import LogMelFeatureExtractor
from ..processing.folders import check_features_fit, check_tokenizer_fits, one_line, said_of
from ..processing.processor import AuralProcessor
from .families import DECODER, ENCODER, WRITING, class_of, saved_class
from .typed import check_keys

ADAPTER_CONFIG = "adapter_config.json"  # PEFT's own name
SHOWN = 3  # names in an error


def load_base(
    source: str | Path, revision: str | None = None, architecture: str | None = None, **changes: Any
) -> tuple[PreTrainedModel, Any]:
    """A trained model in float32, and its processor (of one that writes text) or feature extractor (of others).

    An encoder that never wrote gives its extractor also to a head that writes: `vocab_size` then says how many symbols
    the new head has.

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
    kind = class_of(settings, architecture, source)
    check_keys(changes, [field.name for field in fields(kind.config_class) if field.init], "the config")
    saved = saved_class(settings)
    config = kind.config_class
    with said_of(source):
        if ENCODER in config.sub_configs and saved.config_class is not config:
            model = _under_decoder(kind, folder, settings, changes, source)
        elif ENCODER in settings and saved.config_class is not config:
            model = _without_decoder(kind, folder, settings, changes, source)
        else:
            model = _loaded(kind, folder, _changed(settings, changes), settings, source)
    name_origin(model, source, folder)
    processing = load_processing(folder, kind if saved in WRITING else saved, source)
    if hasattr(processing, "tokenizer") and saved.config_class is config:
        check_tokenizer_fits(model.config, processing.tokenizer, source, processing.phoneme_tokenizer)
    check_features_fit(model.config, getattr(processing, "feature_extractor", processing), source)
    return model, processing


def _changed(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with fields of a recipe in place of their own, also within encoder and decoder."""
    merged = {
        name: {**settings[name], **value}
        if isinstance(value, dict) and isinstance(settings.get(name), dict)
        else value
        for name, value in changes.items()
    }
    return {**settings, **merged}


def _loaded(kind: Any, folder: Path, config: dict[str, Any], settings: dict[str, Any], source: str | Path) -> Any:
    """A model of a class from a folder, in float32 and whole but for what the base cannot have."""
    model, report = kind.from_pretrained(
        folder,
        config=kind.config_class.from_dict(config),
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
    )
    _check_complete(model, settings, report["missing_keys"], source)
    return model


def _under_decoder(
    kind: Any, folder: Path, settings: dict[str, Any], changes: dict[str, Any], source: str | Path
) -> Any:
    """A new decoder over the encoder in a folder."""
    changes = dict(changes)
    config = {**settings, **changes.pop(ENCODER, {})}
    encoder = _loaded(SpectrogramTransformerModel, folder, config, settings, source)
    return kind.from_encoder_decoder(encoder, TextDecoderConfig(**changes.pop(DECODER, {})), **changes)


def _without_decoder(
    kind: Any, folder: Path, settings: dict[str, Any], changes: dict[str, Any], source: str | Path
) -> Any:
    """A new head on the encoder of a model that has a decoder; other weights may bear the same names in both."""
    config = {**settings[ENCODER], **changes}
    encoder = _loaded(SpectrogramTransformerModel, folder, config, settings, source)
    model = kind(kind.config_class.from_dict(config)).eval()
    model.base_model.load_state_dict(encoder.state_dict(), strict=False)  # with a pooling of its own, or none
    return model


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
    loader: Any = AuralProcessor if kind in WRITING else LogMelFeatureExtractor
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


def keeps_vocabulary(source: str | Path, revision: str | None, architecture: str) -> bool:
    """Whether a base's symbols go over to an architecture that writes; where not, only its encoder does.

    Args:
        source, revision, architecture: As for `load_base`.

    Raises:
        OSError, ValueError: As `load_base`.
    """
    settings = _settings(fetch_folder(source, revision), source)
    kind, saved = class_of(settings, architecture, source), saved_class(settings)
    return kind in WRITING and saved in WRITING and saved.config_class is kind.config_class


def _settings(folder: Path, source: str | Path) -> dict[str, Any]:
    """config.json of a folder that holds a model, not an adapter."""
    if (folder / ADAPTER_CONFIG).is_file():
        raise ValueError(
            f"{source} holds an adapter, not a model: `merge_adapter` of aural.training.adapters makes one of it"
        )
    return read_object(folder / "config.json", source)


def _check_complete(
    model: PreTrainedModel, settings: dict[str, Any], missing: set[str] | list[str], source: str | Path
) -> None:
    """Only a head that the base cannot have may be new."""
    body = "" if model.base_model is model else f"{model.base_model_prefix}."
    new: tuple[str, ...] = ()
    if settings["architectures"][0] != type(model).__name__:
        heads = {name.split(".")[0] for name, _ in model.named_parameters() if not name.startswith(body)}
        new = (*(f"{name}." for name in heads), f"{body}pooler.")
    if hasattr(model.config, "ctc_weight") and not settings.get("ctc_weight"):
        new = (*new, "ctc_head.")
    if lacking := sorted(name for name in missing if not name.startswith(new)):
        raise ValueError(f"{source}: the weights lack {', '.join(lacking[:SHOWN])}, {len(lacking)} tensors in all")
