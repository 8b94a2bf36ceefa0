"""transformers' AST, there and back.

Its weights have other names on disk (`encoder.layer.0.attention.attention.query`) than in memory (`layers.0.attention.
q_proj`, from version 5 on), and both are read. It has one eps for all its LayerNorms, patches as high as they are
long, a joint table and two class tokens: a model of ours that has all that too becomes one of theirs.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import ASTConfig

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .convert_ast import AUDIOSET, ast_features
from .convert_geometry import infer_grid
from .convert_shared import (
    BODY,
    Conversion,
    Part,
    Rule,
    State,
    Told,
    assemble,
    class_token_rule,
    count_heads,
    count_layers,
    layer_rules,
    pair_rules,
    set_labels,
    tensor_of,
)

PREFIX = "audio_spectrogram_transformer."
IN_MEMORY = {
    name: Part(name)
    for name in (
        "layernorm_before",
        "attention.q_proj",
        "attention.k_proj",
        "attention.v_proj",
        "attention.o_proj",
        "layernorm_after",
        "mlp.fc1",
        "mlp.fc2",
    )
}
ON_DISK = {
    "layernorm_before": Part("layernorm_before"),
    "attention.q_proj": Part("attention.attention.query"),
    "attention.k_proj": Part("attention.attention.key"),
    "attention.v_proj": Part("attention.attention.value"),
    "attention.o_proj": Part("attention.output.dense"),
    "layernorm_after": Part("layernorm_after"),
    "mlp.fc1": Part("intermediate.dense"),
    "mlp.fc2": Part("output.dense"),
}

FIELDS = {  # of our config, and theirs
    "num_mel_bins": "num_mel_bins",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "hidden_act": "hidden_act",
    "qkv_bias": "qkv_bias",
    "position_frames": "max_length",
    "layer_norm_eps": "layer_norm_eps",
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "initializer_range": "initializer_range",
}
LABEL_FIELDS = ("id2label", "label2id", "problem_type")  # of both


def convert_transformers_ast(
    state: State,
    root: str,
    told: Told,
    config: Mapping[str, Any] | None = None,
    preprocessor: Mapping[str, Any] | None = None,
) -> Conversion:
    """transformers' `ASTModel` or `ASTForAudioClassification`.

    Args:
        state: Tensors by name, as on disk or as in memory.
        root: Before the encoder's names, "audio_spectrogram_transformer." or "".
        told: What is known beside them; of use only without `config`.
        config: What config.json holds; without it the shapes are read, and the rest is as in transformers' defaults.
        preprocessor: What preprocessor_config.json holds; without it features are AST's own.

    Raises:
        ValueError: Names, shapes or config do not fit.
    """
    on_disk = any(name.startswith(f"{root}encoder.layer.") for name in state)
    layers = f"{root}encoder.layer." if on_disk else f"{root}layers."
    parts = ON_DISK if on_disk else IN_MEMORY
    theirs = (
        _inferred_config(state, root, layers, parts, told) if config is None else ASTConfig.from_dict(dict(config))
    )
    if not isinstance(theirs.patch_size, int):
        raise ValueError(f"patch_size={theirs.patch_size!r} must be one number, as transformers' AST needs")
    head = any(name.startswith("classifier.") for name in state)
    ours = _our_config(theirs, head)
    if head and told.multi_label is not None:
        set_labels(ours, tensor_of(state, "classifier.dense.weight", 2).shape[0], told)
    rows = ours.frequency_patches

    def table(positions: torch.Tensor) -> torch.Tensor:
        return positions[0, 2:].unflatten(0, (rows, -1))

    tokens = [f"{root}embeddings.{name}" for name in ("cls_token", "distillation_token")]
    rules = [
        *pair_rules("embeddings.patch_projection", f"{root}embeddings.patch_embeddings.projection"),
        class_token_rule(tokens, f"{root}embeddings.position_embeddings"),
        Rule("embeddings.positions.table", (f"{root}embeddings.position_embeddings",), table),
        *layer_rules(ours.num_hidden_layers, f"{layers}{{i}}.", parts, ours.qkv_bias),
        *pair_rules("layernorm", f"{root}layernorm"),
        *(pair_rules("classifier.layernorm", "classifier.layernorm") if head else []),
        *(pair_rules("classifier.dense", "classifier.dense") if head else []),
    ]
    tensors, unused = assemble(state, rules, ours)
    return Conversion(
        dialect=f"transformers' AST ({'on disk' if on_disk else 'in memory'})",
        config=ours,
        state_dict=tensors,
        features=_our_features(theirs, preprocessor or {}),
        unused=unused,
    )


def _inferred_config(state: State, root: str, layers: str, parts: Mapping[str, Part], told: Told) -> ASTConfig:
    kernel = tensor_of(state, f"{root}embeddings.patch_embeddings.projection.weight", 4).shape
    table = tensor_of(state, f"{root}embeddings.position_embeddings", 3).shape
    grid = infer_grid(table[1] - 2, (kernel[2], kernel[3]), told.frames, told.stride)
    fields: dict[str, Any] = {
        "hidden_size": table[2],
        "num_hidden_layers": count_layers(state, layers),
        "num_attention_heads": count_heads(table[2], told.heads),
        "intermediate_size": tensor_of(state, f"{layers}0.{parts['mlp.fc1'].name}.weight", 2).shape[0],
        "qkv_bias": f"{layers}0.{parts['attention.q_proj'].name}.bias" in state,
        "patch_size": kernel[2],
        "frequency_stride": grid.stride[0],
        "time_stride": grid.stride[1],
        "max_length": grid.frames,
        "num_mel_bins": grid.mels,
    }
    if "classifier.dense.bias" in state:
        fields["num_labels"] = len(state["classifier.dense.bias"])
    return ASTConfig(**fields)


def _our_config(theirs: ASTConfig, head: bool) -> SpectrogramTransformerConfig:
    fields: dict[str, Any] = {ours: getattr(theirs, name) for ours, name in FIELDS.items()}
    if head:
        fields |= {name: getattr(theirs, name) for name in LABEL_FIELDS}
    return SpectrogramTransformerConfig(
        **fields,
        patch_size=[theirs.patch_size] * 2,  # type: ignore[list-item]  # checked before
        patch_stride=[theirs.frequency_stride, theirs.time_stride],
        final_norm_eps=theirs.layer_norm_eps,
        head_norm_eps=theirs.layer_norm_eps,
    )


def _our_features(theirs: ASTConfig, preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that equal `ASTFeatureExtractor` with those of `preprocessor`."""
    mean = preprocessor.get("mean", AUDIOSET[1]) if preprocessor.get("do_normalize", True) else None
    features = ast_features(
        preprocessor.get("max_length", theirs.max_length),
        preprocessor.get("num_mel_bins", theirs.num_mel_bins),
        mean,
        preprocessor.get("std", AUDIOSET[2]),
    )
    return {**features, "sampling_rate": preprocessor.get("sampling_rate", features["sampling_rate"])}


def to_transformers_ast(
    config: SpectrogramTransformerConfig, state: State
) -> tuple[ASTConfig, dict[str, torch.Tensor]]:
    """A model of ours as transformers' AST.

    Args:
        config: Of our model.
        state: Its tensors, with or without a classifier.

    Returns:
        The config and the tensors of `ASTForAudioClassification`, or of `ASTModel` where there is no classifier. The
        class tokens hold their own positions, whose places in the table are 0.

    Raises:
        ValueError: A field of the config has no counterpart; the first is named.
    """
    head = any(name.startswith("classifier.") for name in state)
    _check_fits(config, head)
    fields: dict[str, Any] = {theirs: getattr(config, name) for name, theirs in FIELDS.items()}
    if head:
        fields |= {name: getattr(config, name) for name in LABEL_FIELDS}
    theirs = ASTConfig(
        **fields,
        patch_size=config.patch_size[0],
        frequency_stride=config.patch_stride[0],
        time_stride=config.patch_stride[1],
    )
    tensors = {}
    for name, tensor in state.items():
        inner = name.removeprefix(BODY)
        tensors[inner if inner.startswith("classifier.") or not head else PREFIX + inner] = tensor.clone()
    prefix = f"{PREFIX if head else ''}embeddings."
    tokens, table = tensors.pop(f"{prefix}class_tokens"), tensors.pop(f"{prefix}positions.table")
    tensors[f"{prefix}cls_token"] = tokens[None, :1].clone()
    tensors[f"{prefix}distillation_token"] = tokens[None, 1:].clone()
    tensors[f"{prefix}position_embeddings"] = torch.cat([torch.zeros_like(tokens), table.flatten(0, 1)])[None]
    for kind in ("weight", "bias"):
        old = f"{prefix}patch_projection.{kind}"
        tensors[f"{prefix}patch_embeddings.projection.{kind}"] = tensors.pop(old)
    return theirs, tensors


def _check_fits(config: SpectrogramTransformerConfig, head: bool) -> None:
    eps = config.layer_norm_eps
    wanted: dict[str, Any] = {
        "position_kind": "joint",
        "pooling": "cls_distillation",
        "num_class_tokens": 2,
        "final_norm": True,
        "patch_size": [config.patch_size[0]] * 2,
        "final_norm_eps": eps,
        "head_norm_eps": eps if head else config.head_norm_eps,
    }
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise ValueError(f"{name}={getattr(config, name)!r} does not fit transformers' AST, which has {value!r}")


def to_transformers_features(features: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `ASTFeatureExtractor` from those of ours, of which all but the length are given; without padding the
    two then give the same.

    Args:
        features: Attributes of a `LogMelFeatureExtractor`.

    Raises:
        ValueError: A setting has no counterpart; the first is named.
    """
    wanted: dict[str, Any] = {
        "sampling_rate": 16_000,
        "frame_length_ms": 25.0,
        "frame_shift_ms": 10.0,
        "window_type": "hanning",
        "preemphasis": 0.97,
        "remove_dc_offset": True,
        "snip_edges": True,
        "low_freq": 20.0,
        "high_freq": 0.0,
        "mel_floor": 1.1920929e-07,
        "waveform_scale": 1.0,
        "dither": 0.0,
    }
    for name, value in wanted.items():
        if features[name] != value:
            raise ValueError(f"{name}={features[name]!r} does not fit transformers' AST, which has {value!r}")
    if features["normalize"] not in ("global", None) or isinstance(features["mean"], list):
        said = features["normalize"] if features["normalize"] != "global" else "global, one mean per mel"
        raise ValueError(f"normalize={said!r} does not fit transformers' AST, which has 'global', one mean for all")
    theirs = {"num_mel_bins": features["num_mel_bins"], "sampling_rate": features["sampling_rate"]}
    if features["normalize"] is None:
        return {**theirs, "do_normalize": False}
    return {**theirs, "do_normalize": True, "mean": features["mean"], "std": features["std"] / 2}
