"""From a foreign state dict to ours: the one mechanism that every dialect uses.

A dialect is a list of `Rule`s: which tensors of the source make which tensor of ours, and how. From the list follows
which names must be there and which may not, so nothing is lost or left at its initial value without a word:

- a name that is missing, or that no rule knows, is refused, with the nearest name beside it;
- what has no place in the model (heads of another task, a decoder) is named by the dialect and listed as unused;
- a tensor of a wrong shape is named with both shapes.

Nothing here reads files: state dicts come in, plain dicts and a config go out.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerModel,
    SpectrogramTransformerPreTrainedModel,
)

BODY = f"{SpectrogramTransformerModel.base_model_prefix}."  # of the encoder's names in a model with a head
SHOWN = 5  # names in an error
HEAD_DIM = 64  # of every DeiT and ViT, but for those in HEADS
HEADS = {1280: 16}  # by width: ViT-Huge
MULTI_LABEL = (527, 200, 20)  # labels of AudioSet, FSD50K and OpenMIC, where a clip has several at once

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Told:
    """What whoever converts a checkpoint knows of it; None is inferred.

    Attributes:
        dialect: One of `convert_dialect.DIALECTS`.
        heads: Attention heads; inferred as width / 64.
        frames: Frames that the positions are made for.
        stride: Mels and frames from one patch to the next.
        pooling: "cls", "cls_distillation" or "mean".
        frame_shift_ms: Milliseconds from one frame to the next.
        multi_label: Whether a clip has several labels at once.
    """

    dialect: str | None = None
    heads: int | None = None
    frames: int | None = None
    stride: tuple[int, int] | None = None
    pooling: str | None = None
    frame_shift_ms: float | None = None
    multi_label: bool | None = None

    def only(self, *names: str, because: str) -> None:
        """Refuse what would do nothing.

        Args:
            names: Attributes that may be told.
            because: Why others may not.

        Raises:
            ValueError: Another is told; it is named.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and each.name not in names:
                raise ValueError(f"{each.name}={value!r} cannot be told: {because}")


@dataclass(frozen=True)
class Conversion:
    """A checkpoint in our terms.

    Attributes:
        dialect: Whose format it was, in words.
        config: Of our model.
        state_dict: All of our model's tensors, float32.
        features: Settings of `LogMelFeatureExtractor`.
        unused: Names of the source's tensors that have no place in the model.
        notes: What was taken for granted, in sentences.
        published_license: Of the checkpoints in this format that its authors published; a given file may have another.
    """

    dialect: str
    config: SpectrogramTransformerConfig
    state_dict: dict[str, torch.Tensor]
    features: dict[str, Any]
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    published_license: str | None = None

    @property
    def model_class(self) -> type[SpectrogramTransformerPreTrainedModel]:
        """The classifier where there is a head, else the encoder."""
        return _model_class(any(name.startswith("classifier.") for name in self.state_dict))

    def build(self) -> SpectrogramTransformerPreTrainedModel:
        """The model with these weights, in eval mode."""
        model = self.model_class(self.config)
        model.load_state_dict(self.state_dict, strict=True)
        return model.eval()


def _model_class(head: bool) -> type[SpectrogramTransformerPreTrainedModel]:
    return SpectrogramTransformerForAudioClassification if head else SpectrogramTransformerModel


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


@dataclass(frozen=True)
class Rule:
    """One tensor of ours.

    Attributes:
        target: Its name in the encoder, or "classifier.…".
        sources: Names in the source.
        make: The sources' tensors → ours.
    """

    target: str
    sources: tuple[str, ...]
    make: Callable[..., torch.Tensor] = field(default=_as_it_is)


@dataclass(frozen=True)
class Part:
    """A linear layer within a source's: rows `index` of `count` equal blocks; `Part("attn.qkv", 0, 3)` is queries."""

    name: str
    index: int = 0
    count: int = 1

    def cut(self, tensor: torch.Tensor) -> torch.Tensor:
        """The block's rows."""
        return tensor if self.count == 1 else tensor.unflatten(0, (self.count, -1))[self.index]


TIMM_LAYER = {  # a block of timm's ViT, by our names
    "layernorm_before": Part("norm1"),
    "attention.q_proj": Part("attn.qkv", 0, 3),
    "attention.k_proj": Part("attn.qkv", 1, 3),
    "attention.v_proj": Part("attn.qkv", 2, 3),
    "attention.o_proj": Part("attn.proj"),
    "layernorm_after": Part("norm2"),
    "mlp.fc1": Part("mlp.fc1"),
    "mlp.fc2": Part("mlp.fc2"),
}
_QKV = ("attention.q_proj", "attention.k_proj", "attention.v_proj")


def layer_rules(layers: int, prefix: str, parts: Mapping[str, Part], qkv_bias: bool) -> list[Rule]:
    """The rules for all layers.

    Args:
        layers: How many.
        prefix: Of a layer in the source, with `{i}` for its number.
        parts: The source's layers by our names.
        qkv_bias: Queries, keys and values have a bias.
    """
    rules = []
    for i in range(layers):
        for ours, part in parts.items():
            kinds = ("weight", "bias") if qkv_bias or ours not in _QKV else ("weight",)
            for kind in kinds:
                source = f"{prefix.format(i=i)}{part.name}.{kind}"
                rules.append(Rule(f"layers.{i}.{ours}.{kind}", (source,), part.cut))
    return rules


def pair_rules(target: str, source: str) -> list[Rule]:
    """Weight and bias of one layer."""
    return [Rule(f"{target}.{kind}", (f"{source}.{kind}",)) for kind in ("weight", "bias")]


def class_token_rule(tokens: Sequence[str], positions: str) -> Rule:
    """The class tokens, with their own positions, which come first in the source's table, added."""

    def fold(*tensors: torch.Tensor) -> torch.Tensor:
        stacked = torch.cat([token.flatten(0, -2) for token in tensors[:-1]])  # (class tokens, hidden)
        return stacked + tensors[-1][0, : len(stacked)]

    return Rule("embeddings.class_tokens", (*tokens, positions), fold)


def assemble(
    state: State, rules: Sequence[Rule], config: SpectrogramTransformerConfig, unused: Collection[str] = ()
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Our state dict by the rules, whole.

    Args:
        state: The source's tensors by name.
        rules: One for each tensor of ours.
        config: Of our model.
        unused: Patterns (`re.fullmatch`) of the source's names that have no place in the model.

    Returns:
        Our tensors, float32, and the source's names that were not used, sorted.

    Raises:
        ValueError: A name is missing or unknown, or a tensor has a wrong shape.
    """
    wanted = {source for rule in rules for source in rule.sources}
    rest = sorted(set(state) - wanted)
    left_out = tuple(name for name in rest if any(re.fullmatch(pattern, name) for pattern in unused))
    _check_names(wanted, state, set(rest) - set(left_out))
    head = any(rule.target.startswith("classifier.") for rule in rules)
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in _model_class(head)(config).state_dict().items()}
    made = {}
    for rule in rules:
        name = f"{BODY}{rule.target}" if head and not rule.target.startswith("classifier.") else rule.target
        made[name] = _make(rule, state, expected[name])
    return made, left_out


def _make(rule: Rule, state: State, expected: torch.Size) -> torch.Tensor:
    tensors = [state[name] for name in rule.sources]
    try:
        made = rule.make(*tensors)
    except (RuntimeError, IndexError):  # what torch says of a view that does not fit
        made = None
    if made is None or made.shape != expected:
        shown = ", ".join(f"{name} {tuple(state[name].shape)}" for name in rule.sources)
        gives = "" if made is None else f" but gives {tuple(made.shape)}"
        raise ValueError(f"{shown}: must give {rule.target} {tuple(expected)}{gives}")
    return made.float().contiguous().clone()


def _check_names(wanted: Collection[str], there: Collection[str], unknown: Collection[str]) -> None:
    """Refuse what is missing and what is unknown, in one error."""
    missing = sorted(set(wanted) - set(there))
    said = []
    if missing:
        said.append(f"{_count(missing)} missing: {_listed(missing, unknown)}")
    if unknown:
        said.append(f"{_count(unknown)} not known: {_listed(sorted(unknown), missing or wanted)}")
    if said:
        raise ValueError(f"the checkpoint does not fit its format; {'; '.join(said)}")


def _count(names: Collection[str]) -> str:
    return f"{len(names)} name{'s' if len(names) > 1 else ''}"


def _listed(names: Sequence[str], others: Collection[str]) -> str:
    shown = []
    for name in names[:SHOWN]:
        near = difflib.get_close_matches(name, others, n=1, cutoff=0.8)
        shown.append(f"{name} (nearest: {near[0]})" if near else name)
    return ", ".join(shown) + (", …" if len(names) > SHOWN else "")


def tensor_of(state: State, name: str, axes: int) -> torch.Tensor:
    """A tensor that the geometry is read from.

    Raises:
        ValueError: It is missing, or has another number of axes.
    """
    if name not in state:
        raise ValueError(f"the checkpoint does not fit its format; 1 name missing: {_listed([name], state)}")
    if state[name].ndim != axes:
        raise ValueError(f"{name} {tuple(state[name].shape)} must have {axes} axes")
    return state[name]


def count_layers(state: State, prefix: str) -> int:
    """Layers of the source: one more than the highest number after `prefix`.

    Raises:
        ValueError: There is none.
    """
    numbers = [int(found[1]) for name in state if (found := re.match(re.escape(prefix) + r"(\d+)\.", name))]
    if not numbers:
        raise ValueError(f"the checkpoint does not fit its format; it has no layers {prefix}0.…")
    return max(numbers) + 1


def count_heads(width: int, told: int | None) -> int:
    """Attention heads, which no shape tells: `told`, or those that ViTs of this width have.

    Raises:
        ValueError: The width is no multiple of what a head has, or `told` does not divide it.
    """
    if told is not None:
        if told < 1 or width % told:
            raise ValueError(f"heads={told} must divide the checkpoint's width, {width}")
        return told
    if width not in HEADS and width % HEAD_DIM:
        raise ValueError(f"a width of {width} does not tell the number of heads: give heads")
    return HEADS.get(width, width // HEAD_DIM)


def vit_config(state: State, root: str, told: Told, **others: Any) -> SpectrogramTransformerConfig:
    """The config of a timm ViT under `root`, as shapes and `told` have it; its LayerNorms have an eps of 1e-6.

    Args:
        state: Tensors by name.
        root: Of the ViT's names.
        told: What is known beside them.
        others: The grid, tokens and pooling, and what else differs.

    Raises:
        ValueError: A tensor is missing, or the heads are not known.
    """
    width = tensor_of(state, f"{root}patch_embed.proj.weight", 4).shape[0]
    options = {
        "hidden_size": width,
        "num_hidden_layers": count_layers(state, f"{root}blocks."),
        "num_attention_heads": count_heads(width, told.heads),
        "intermediate_size": tensor_of(state, f"{root}blocks.0.mlp.fc1.weight", 2).shape[0],
        "qkv_bias": any(name.startswith(root) and name.endswith(".attn.qkv.bias") for name in state),
        "layer_norm_eps": 1e-6,
        "final_norm_eps": 1e-6,
        "head_norm_eps": 1e-5,
    }
    return SpectrogramTransformerConfig(**{**options, **others})


def set_labels(config: SpectrogramTransformerConfig, labels: int, told: Told) -> None:
    """Give the config its number of labels, and whether a clip has several: as told, or as the data set with so many
    labels has it."""
    several = labels in MULTI_LABEL if told.multi_label is None else told.multi_label
    if config.num_labels != labels:  # setting it, even to what it is, would forget the names
        config.num_labels = labels
    config.problem_type = "multi_label_classification" if several else "single_label_classification"
