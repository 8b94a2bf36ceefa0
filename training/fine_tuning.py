"""Fine-tuning: a trained model made to fit other texts or other sounds, and told what of it may learn.

    model, processing = load_base("las-english")  # bases.py
    adapt_vocabulary(model, processing.tokenizer, tokenizer)  # symbols that both know keep their weights
    freeze(model, ["listener"])

All of it happens in place and before an optimizer is made: rows that move are new parameters.

Frozen parts keep their weights and nothing else changes: in training their dropout, patchout and stochastic depth go
on as the config says, as in transformers' own `freeze_…` methods, and so does SpecAugment. Whoever wants a frozen part
to compute as it does in evaluation sets those shares to 0. No layer of aural keeps running statistics, such as batch
normalisation's, that would move although frozen.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..modeling.spectrogram_transformer import SpectrogramTransformerForAudioFrameClassification
from .sound_labels import label_ids, label_options
from .texts import generates_text, writes_text
from .typed import nearest

SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id", "decoder_start_token_id")
SHOWN = 10  # names that a sentence lists
ENCODER = "encoder"  # what stands for the part that hears, in every family
RANGE = re.compile(r"(.+)\.(\d+)-(\d+)")


@dataclass(frozen=True)
class Adaptation:
    """What became of a model's symbols or labels; `print` it.

    Attributes:
        kept: Known before, with their weights.
        new: Initialised as in a new model.
        dropped: No longer known.
    """

    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(f"{_listed(names)} {name}" for name, names in vars(self).items())


def adapt_vocabulary(model: PreTrainedModel, old_tokenizer: Any, new_tokenizer: Any) -> Adaptation:
    """Give a model that writes text another vocabulary, in place; symbols that both know keep their weights.

    Embedding, output layer and CTC head, where there are such, move row by row; weights that are one stay one. The
    config's `vocab_size`, and the special ids of config and `generation_config`, become the new tokenizer's.

    Args:
        model: Such as `LasForConditionalGeneration`.
        old_tokenizer: Of the model as it is.
        new_tokenizer: Any order; holds the special symbols of the old one.

    Raises:
        TypeError: The model writes no text.
        ValueError: `old_tokenizer` is another model's, or `new_tokenizer` lacks a special symbol.
    """
    if not writes_text(model):
        raise TypeError(f"model is a {type(model).__name__}, which writes no text and so has no vocabulary")
    old, new = _symbols(old_tokenizer, "old_tokenizer"), _symbols(new_tokenizer, "new_tokenizer")
    if len(old) != model.config.vocab_size:
        raise ValueError(
            f"old_tokenizer has {len(old)} symbols but the model's vocab_size is {model.config.vocab_size}"
        )
    settings = [one for one in (model.config, getattr(model, "generation_config", None)) if one is not None]
    moved = [_moved_ids(one, old, {symbol: index for index, symbol in enumerate(new)}) for one in settings]
    decoder = [model.get_input_embeddings(), model.get_output_embeddings()] if generates_text(model) else []
    heads = [*decoder, getattr(model, "ctc_head", None)]
    adaptation = _replace_rows(model, [head for head in heads if head is not None], old, new)
    for one, ids in zip(settings, moved, strict=True):
        for name, value in ids.items():
            setattr(one, name, value)
    getattr(model.config, "decoder", model.config).vocab_size = len(new)
    if generates_text(model):
        embedding: Any = model.get_input_embeddings()
        embedding.padding_idx = model.config.pad_token_id
    return adaptation


def adapt_phonemes(model: PreTrainedModel, old_tokenizer: Any, new_tokenizer: Any) -> Adaptation:
    """Give the CTC head that hears phonemes others, in place; those that both know keep their weights.

    A model without such a head gets a new one. The config's `phoneme_vocab_size` becomes the new tokenizer's.

    Args:
        model: Such as `LasForConditionalGeneration`.
        old_tokenizer: Of the head as it is; None: there is none.
        new_tokenizer: Of phonemes; its `<pad>` is the model's CTC blank.

    Raises:
        TypeError: The model hears no phonemes.
        ValueError: `old_tokenizer` is another model's, or the blank of `new_tokenizer` is another id.
    """
    changed: Any = model
    if not hasattr(changed.config, "phoneme_vocab_size"):
        raise TypeError(f"model is a {type(model).__name__}, which hears no phonemes")
    old = [] if old_tokenizer is None else _symbols(old_tokenizer, "old_tokenizer")
    new = _symbols(new_tokenizer, "new_tokenizer")
    if len(old) != changed.config.phoneme_vocab_size:
        raise ValueError(
            f"old_tokenizer has {len(old)} symbols but the model's phoneme_vocab_size is "
            f"{changed.config.phoneme_vocab_size}"
        )
    if new_tokenizer.pad_token_id != changed.config.blank_id:
        raise ValueError(
            f"new_tokenizer's <pad> is {new_tokenizer.pad_token_id}; it must be the blank, {changed.config.blank_id}"
        )
    if changed.phoneme_head is None:
        changed.phoneme_head = nn.Linear(changed.config.memory_size, len(new)).to(changed.lm_head.weight)
        model._init_weights(changed.phoneme_head)
        adaptation = Adaptation((), tuple(new), ())
    else:
        adaptation = _replace_rows(model, [changed.phoneme_head], old, new)
    changed.config.phoneme_vocab_size = len(new)
    return adaptation


def adapt_labels(model: PreTrainedModel, names: Sequence[str], multi_label: bool = False) -> Adaptation:
    """Give a model that classifies other labels, in place; labels that both know by name keep their weights.

    The config's `id2label`, `label2id` and `problem_type` become those of the new labels.

    Args:
        model: A classifier of clips or of moments.
        names: By id.
        multi_label: Whether a clip can have several at once; moments always can.

    Raises:
        TypeError: The model has no head for labels.
        ValueError: No names, one twice; `multi_label=False` for a classifier of moments.
    """
    dense = getattr(getattr(model, "classifier", None), "dense", None)
    if not isinstance(dense, nn.Linear):
        raise TypeError(f"model is a {type(model).__name__}, which has no head for labels")
    if isinstance(model, SpectrogramTransformerForAudioFrameClassification) and not multi_label:
        raise ValueError("multi_label=False, but a classifier of moments scores every label by itself")
    options = label_options(names, multi_label)
    classifier: Any = model
    adaptation = _replace_rows(model, [dense], list(label_ids(classifier.config.id2label)), list(names))
    for name, value in options.items():
        setattr(model.config, name, value)
    classifier.num_labels = len(names)
    return adaptation


def freeze(model: PreTrainedModel, parts: str | Sequence[str]) -> int:
    """Keep parts of a model from learning; the optimizer of a Trainer leaves them out.

    Args:
        model: Before `with_lora`, which freezes all of it but gives a part that is frozen here no adapters.
        parts: Names of modules, below the model, its body or its listener: "listener", "speller.attention",
            "embeddings", "layers.3". "layers.0-5" are six layers, "encoder" is the part that hears.

    Returns:
        How many weights these parts have.

    Raises:
        ValueError: The model has no such part, or nothing would be left to learn.
    """
    if hasattr(model, "peft_config"):
        raise ValueError("model has adapters already: freeze its parts before with_lora")
    named = [parts] if isinstance(parts, str) else list(parts)
    found = [parameter for part in named for module in _find(model, part) for parameter in module.parameters()]
    frozen = {id(parameter): parameter for parameter in found}
    if all(id(parameter) in frozen or not parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"freeze={named} leaves nothing to learn")
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    return sum(parameter.numel() for parameter in frozen.values())


def freezable(model: PreTrainedModel) -> list[str]:
    """Names that `freeze` takes: the larger parts, and stacks of layers as "layers.0-11"; smaller ones exist."""
    body = model.base_model
    listed = [ENCODER]
    tops = [child for child in model.named_children() if child[1] is not body]
    for name, module in [*body.named_children(), *tops]:
        if not any(True for _ in module.parameters()):
            continue
        stacks = {"": module, **dict(module.named_children())}
        for inner, stack in stacks.items():
            whole = ".".join(filter(None, (name, inner)))
            if isinstance(stack, nn.ModuleList):
                listed.append(f"{whole}.0-{len(stack) - 1}")
            elif not inner:
                listed.append(whole)
    return listed


def _symbols(tokenizer: Any, argument: str) -> list[str]:
    """A tokenizer's symbols by id."""
    ids = tokenizer.get_vocab()
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(f"{argument} has {len(ids)} symbols, whose ids are not 0 to {len(ids) - 1}")
    return sorted(ids, key=ids.__getitem__)


def _moved_ids(settings: Any, old: Sequence[str], new: dict[str, int]) -> dict[str, Any]:
    """The special ids of a config or generation config, in the new vocabulary."""
    moved: dict[str, Any] = {}
    for name in SPECIAL_IDS:
        value = getattr(settings, name, None)
        if value is None:
            continue
        symbols = [old[token] for token in (value if isinstance(value, list) else [value])]
        if missing := [symbol for symbol in symbols if symbol not in new]:
            raise ValueError(f"new_tokenizer lacks {missing[0]!r}, the model's {name}")
        ids = [new[symbol] for symbol in symbols]
        moved[name] = ids if isinstance(value, list) else ids[0]
    return moved


def _replace_rows(model: PreTrainedModel, heads: Iterable[Any], old: Sequence[str], new: Sequence[str]) -> Adaptation:
    """Heads with a row for each name of `new`: those of `old` where it has them, else new ones."""
    before = {name: index for index, name in enumerate(old)}
    rows = [before.get(name) for name in new]
    replaced: dict[nn.Parameter, nn.Parameter] = {}  # a weight that two modules share is replaced once
    for head in heads:
        if isinstance(head, nn.Embedding):
            fresh: Any = nn.Embedding(len(rows), head.embedding_dim, head.padding_idx)
            head.num_embeddings = len(rows)
        else:
            fresh = nn.Linear(head.in_features, len(rows), bias=head.bias is not None)
            head.out_features = len(rows)
        model._init_weights(fresh)
        for name, was in list(head.named_parameters(recurse=False)):
            if was not in replaced:
                replaced[was] = _moved_rows(was, getattr(fresh, name), rows)
            setattr(head, name, replaced[was])
    kept, added = [name for name in new if name in before], [name for name in new if name not in before]
    return Adaptation(tuple(kept), tuple(added), tuple(name for name in old if name not in set(new)))


@torch.no_grad()
def _moved_rows(was: nn.Parameter, fresh: torch.Tensor, rows: Sequence[int | None]) -> nn.Parameter:
    """`fresh` where `rows` holds None, else that row of `was`."""
    moved = fresh.detach().to(was)  # device and dtype
    places = [place for place, row in enumerate(rows) if row is not None]
    moved[places] = was[[row for row in rows if row is not None]]
    return nn.Parameter(moved, requires_grad=was.requires_grad)


def _find(model: PreTrainedModel, part: str) -> list[nn.Module]:
    """The modules that a name of a part means."""
    body = model.base_model
    modules = dict(model.named_modules())
    if part == ENCODER:
        return [getattr(body, "listener", body)]
    span = RANGE.fullmatch(part)
    names = [part] if span is None else [f"{span[1]}.{i}" for i in range(int(span[2]), int(span[3]) + 1)]
    prefixes = ("", f"{model.base_model_prefix}.", f"{model.base_model_prefix}.listener.")
    found = []
    for name in names:
        module = next((modules[prefix + name] for prefix in prefixes if name and prefix + name in modules), None)
        if module is None or not any(True for _ in module.parameters()):
            allowed = freezable(model)
            near = nearest(part, allowed)
            raise ValueError(f"freeze={part!r} names no part with weights;{near} parts are {', '.join(allowed)}")
        found.append(module)
    if not found:
        raise ValueError(f"freeze={part!r}: a range goes from the lower number to the higher")
    return found


def _listed(names: Sequence[str]) -> str:
    """Their number, and the first of them."""
    shown = " ".join(repr(name) for name in names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
    return f"{len(names)} ({shown})" if names else "0"
