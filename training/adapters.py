"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685) through PEFT: little to train, and little to keep.

    model, processing = load_base("las-english")
    adapter = with_lora(model, r=8)
    AuralTrainer(adapter, …).train()
    merge_adapter("runs/dutch", "las-dutch")  # a folder like any other

- Linear layers of attention and MLPs get adapters. Whatever names symbols or labels (embedding of symbols, output
  layers, CTC head, pooling) is trained and saved whole, so an adapter fits another vocabulary or label set.
- PEFT has no adapters for LSTMs: those of a LAS stay as the base has them.
- An adapter's folder holds its weights and settings, the config of the adapted model, and from a Trainer the
  processing. `peft.PeftModel.from_pretrained` and transformers' Auto classes load it. Where vocabulary or labels
  changed, they have to be told the base's new shape; `load_adapter` reads it from the folder.
- PEFT is an extra, imported here when asked for.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..processing.folders import said_of
from .bases import (
    ADAPTER_CONFIG,
    SHOWN,
    fetch_folder,
    load_processing,
    name_origin,
    read_object,
)
from .corpus_files import refuse_taken, written_whole
from .families import TRAINABLE

BASE_CONFIG = "base_config.json"
ADAPTER_FOLDER = "adapter"  # of a run, beside the merged model
TARGETS = {  # by model type
    "las": ("attention", "output_mlp"),
    "spectrogram_transformer": ("attention", "mlp"),
    "spectrogram_transformer_seq2seq": ("self_attention", "attention", "cross_attention", "mlp"),
}
# Modules that are trained and saved whole.
WHOLE = ("embed_tokens", "lm_head", "ctc_head", "phoneme_head", "classifier", "pooler")
NUMBERS = re.compile(r"(\.\d+)+$")


def with_lora(
    model: PreTrainedModel,
    r: int = 8,
    alpha: int = 16,
    dropout: float = 0.0,
    targets: Sequence[str] | None = None,
) -> Any:
    """A `peft.PeftModel` around `model`, of which only the adapters and the `WHOLE` modules learn.

    Args:
        model: As `load_base` gives it, adapted to its vocabulary or labels; it is changed in place. Parts that are
            frozen get no adapters.
        r: Rank.
        alpha: The update is scaled by alpha / r.
        dropout: On the adapters' input.
        targets: Names of linear layers, or of modules that hold some, such as "q_proj", "speller.attention" or
            "layers.11"; None: `TARGETS` of the model type.

    Raises:
        ImportError: PEFT is not installed.
        ValueError: A number is out of range, a target names no linear layer, or the model was never saved.
    """
    adapter_model = _adapter_model()
    from peft import LoraConfig

    if not isinstance(r, int) or r < 1:
        raise ValueError(f"r={r!r} must be a whole number of at least 1")
    if not alpha > 0:
        raise ValueError(f"alpha={alpha!r} must be above 0")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r} must be in [0, 1)")
    base = str(model.name_or_path or "")
    if not base:
        raise ValueError("model was not loaded from a folder or the Hub, and its adapters would be of no use: save it")
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=_target_names(model, targets),
        modules_to_save=_whole_names(model),
        base_model_name_or_path=str(Path(base).resolve()) if Path(base).is_dir() else base,
        revision=getattr(model.config, "_commit_hash", None),
    )
    return adapter_model(model, config)


def load_adapter(folder: str | Path, trainable: bool = False) -> tuple[Any, Any]:
    """A `peft.PeftModel` with its base, which is brought to the shape that the adapter was trained on.

    Args:
        folder: What an adapter was saved in, or its id on the Hub.
        trainable: Whether the adapters and the `WHOLE` modules learn on.

    Returns:
        The model in eval mode, and the processing from the adapter's folder or else the base's.

    Raises:
        ImportError: PEFT is not installed.
        OSError: The folder or its base cannot be read.
        ValueError: The folder holds no adapter that `with_lora` made, or its base is another one.
    """
    adapter_model = _adapter_model()
    local = fetch_folder(folder)
    if not (local / ADAPTER_CONFIG).is_file():
        raise ValueError(f"{folder} holds no adapter: it has no {ADAPTER_CONFIG}")
    settings, adapted = read_object(local / ADAPTER_CONFIG, folder), read_object(local / BASE_CONFIG, folder)
    kind = TRAINABLE.get(str((adapted.get("architectures") or [None])[0]))
    if kind is None:
        raise ValueError(f"{folder}: {BASE_CONFIG} names none of {', '.join(TRAINABLE)}")
    source, revision = str(settings.get("base_model_name_or_path") or ""), settings.get("revision")
    base = fetch_folder(source, revision)
    with said_of(source):
        model, report = kind.from_pretrained(
            base,
            config=kind.config_class.from_dict(adapted),
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # of what the adapter holds whole
            output_loading_info=True,
        )
    _check_base(report, settings.get("modules_to_save") or [], source, folder)
    name_origin(model, source, base)
    with said_of(folder):
        wrapped = adapter_model.from_pretrained(model, str(local), is_trainable=trainable).eval()
    own = any((local / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))
    return wrapped, load_processing(local if own else base, kind, folder if own else source)


def merge_adapter(folder: str | Path, out: str | Path) -> Path:
    """Add an adapter to its base's weights and save the model that results, whole or not at all.

    Args:
        folder: As for `load_adapter`.
        out: A folder that is new or empty; it then loads without PEFT, and takes a card.

    Returns:
        `out`.

    Raises:
        FileExistsError: `out` holds something.
        ImportError, OSError, ValueError: As `load_adapter`.
    """
    out = Path(out)
    refuse_taken(out)
    model, processing = load_adapter(folder)
    merged = model.merge_and_unload()
    with written_whole(out) as part:
        merged.save_pretrained(part)
        processing.save_pretrained(part)
    return out


def merge_trained(trainer: Any) -> None:
    """Once training is over: save the adapter in `ADAPTER_FOLDER` of the run, and give the Trainer the merged model.

    What the Trainer then measures, saves, describes in a card and sends is a model like any other; it cannot learn on.

    Args:
        trainer: Of a model that `with_lora` gave; with another nothing happens.

    Raises:
        OSError: The adapter cannot be written.
    """
    if not is_adapter(trainer.model):
        return
    trainer.save_model(str(Path(str(trainer.args.output_dir)) / ADAPTER_FOLDER))
    trainer.model = trainer.model_wrapped = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()


def is_adapter(model: Any) -> bool:
    """Whether a model holds PEFT's adapters beside its own weights."""
    return getattr(model, "peft_config", None) is not None


def refuse_adapter_folder(folder: str | Path) -> None:
    """Raise ValueError if a folder holds an adapter, where a whole model is needed."""
    if (Path(folder) / ADAPTER_CONFIG).is_file():
        raise ValueError(
            f"{folder} holds an adapter, not a whole model: `merge_adapter` of aural.training.adapters makes one of it"
        )


def _adapter_model() -> Any:
    """The class that needs PEFT."""
    try:
        from .adapter_model import AdapterModel
    except ImportError as error:
        raise ImportError(f"adapters need PEFT, `pip install 'aural[lora]'`: {error}") from error
    return AdapterModel


def _target_names(model: PreTrainedModel, targets: Sequence[str] | None) -> list[str]:
    """Names of the linear layers that get adapters: those in a target that may learn and are not `WHOLE`."""
    asked = TARGETS[model.config.model_type] if targets is None else list(targets)
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not set(name.split(".")) & set(WHOLE)
    ]
    found = {target: [name for name in linear if f".{target}." in f".{name}."] for target in asked}
    for target, names in found.items():
        if not names and targets is not None:
            places = sorted({NUMBERS.sub("", name).rpartition(".")[2] for name in linear})
            raise ValueError(
                f"targets: {target!r} names no linear layer; those are {', '.join(places)}, and whatever modules hold "
                f"them. PEFT has no adapters for LSTMs, and {', '.join(_whole_names(model))} learn whole"
            )
    names = sorted({name for matched in found.values() for name in matched})
    learning = [name for name in names if model.get_submodule(name).weight.requires_grad]
    if not learning:
        raise ValueError(f"targets={list(asked)}: all of these layers are frozen, so none gets an adapter")
    return learning


def _whole_names(model: PreTrainedModel) -> list[str]:
    """Last parts of the names of the `WHOLE` modules that a model has and that hold weights."""
    present = {name.rpartition(".")[2] for name, module in model.named_modules() if list(module.parameters())}
    return [name for name in WHOLE if name in present]


def _check_base(report: dict[str, Any], whole: Sequence[str], source: str, folder: str | Path) -> None:
    """What a base lacks or has in another shape, the adapter has whole."""
    names = [*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])]
    if wrong := sorted(name for name in names if not set(name.split(".")) & set(whole)):
        raise ValueError(
            f"{folder} was trained on another {source} than is there: {', '.join(wrong[:SHOWN])} are missing or have "
            f"another shape"
        )
