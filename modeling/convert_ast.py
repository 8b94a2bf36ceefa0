"""The original [AST](https://arxiv.org/abs/2104.01778) and [SSAST](https://arxiv.org/abs/2110.09784), whose names are
alike: a timm ViT under `v.`, positions of class tokens and patches in one table, `mlp_head` on top.

They part in what is averaged, which no name tells: AST takes the class and the distillation token, SSAST all patches.
"""

from typing import Any

import torch

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .convert_geometry import MELS, Grid, infer_grid
from .convert_shared import (
    TIMM_LAYER,
    Conversion,
    Rule,
    State,
    Told,
    assemble,
    class_token_rule,
    layer_rules,
    pair_rules,
    set_labels,
    tensor_of,
    vit_config,
)

STATISTICS = {  # mean and standard deviation of log-mels by the frames that each data set is cut to
    1024: ("AudioSet", -4.2677393, 4.5689974),
    512: ("ESC-50", -6.6268077, 5.358466),
    128: ("Speech Commands", -6.845978, 5.5654526),
}
AUDIOSET = STATISTICS[1024]
ALIKE = (
    "It was read as the original AST; a fine-tuned SSAST has the same names, and must be told by its dialect, ssast."
)


def ast_features(
    frames: int, mels: int = MELS, mean: float | None = AUDIOSET[1], deviation: float = AUDIOSET[2]
) -> dict[str, Any]:
    """Settings of `LogMelFeatureExtractor` that give what AST was trained on.

    AST pads the log-mels with 0 to a fixed length, normalises all of it by (x - mean) / (2 * deviation), and has no
    mask: its padding is loud, and heard.

    Args:
        frames: Length of every clip.
        mels: Filters.
        mean: Of the log-mels over the data set; None: they are not normalised.
        deviation: Standard deviation.
    """
    settings = {"num_mel_bins": mels, "sampling_rate": 16_000, "window_type": "hanning", "waveform_scale": 1.0}
    length = {"padding": "max_length", "truncation": True, "max_length": frames, "return_attention_mask": False}
    if mean is None:
        return {**settings, **length, "normalize": None}
    scale = {"normalize": "global", "mean": mean, "std": 2 * deviation, "padding_value": -mean / (2 * deviation)}
    return {**settings, **length, **scale}


def statistics_of(frames: int) -> tuple[tuple[float, float], str]:
    """Mean and deviation for clips of so many frames, and a sentence on where they come from."""
    name, mean, deviation = STATISTICS.get(frames, AUDIOSET)
    note = f"Features are normalised by the statistics of {name}, {mean} and {deviation}, going by {frames} frames."
    return (mean, deviation), note


def convert_ast(state: State, root: str, told: Told) -> Conversion:
    """The original AST or SSAST.

    Args:
        state: Tensors by name.
        root: Of the ViT's names, such as "module.v.".
        told: What is known beside them; `dialect` "ssast" or "ast" decides where names do not.

    Raises:
        ValueError: Names or shapes do not fit, or the grid is ambiguous.
    """
    outer = root.removesuffix("v.")
    pretrained = any(name.startswith((f"{outer}cpredlayer.", f"{outer}gpredlayer.")) for name in state)
    tokens = [f"{root}{name}" for name in ("cls_token", "dist_token") if f"{root}{name}" in state]
    grid = _grid(state, root, outer, len(tokens), told)
    sure = pretrained or len(tokens) < 2 or grid.size[0] != grid.size[1]
    ssast = told.dialect == "ssast" or (told.dialect is None and sure)
    head = not pretrained and any(name.startswith(f"{outer}mlp_head.") for name in state)
    pooling = told.pooling or ("mean" if ssast else "cls_distillation")
    config = vit_config(state, root, told, **grid.settings(), pooling=pooling, num_class_tokens=max(len(tokens), 1))
    if head:
        set_labels(config, tensor_of(state, f"{outer}mlp_head.1.weight", 2).shape[0], told)
    rules = _rules(state, root, outer, tokens, config, head)
    heads = [rf"{root}head(_dist)?\.(weight|bias)"]  # DeiT's own, for images
    if pretrained:
        heads += [rf"{outer}mask_embed", rf"{outer}[cg]predlayer\.\d\.(weight|bias)", rf"{outer}p_input_[ft]dim"]
    tensors, unused = assemble(state, rules, config, heads)
    statistics, note = statistics_of(config.position_frames)
    notes = () if ssast or told.dialect else (ALIKE,)
    return Conversion(
        dialect=_name(ssast, pretrained),
        config=config,
        state_dict=tensors,
        features=ast_features(config.position_frames, config.num_mel_bins, *statistics),
        unused=tuple(
            name for name in unused if not name.endswith(("p_input_fdim", "p_input_tdim"))
        ),  # those were read
        notes=(*notes, note),
        published_license="bsd-3-clause",
    )


def _name(ssast: bool, pretrained: bool) -> str:
    return "the original AST" if not ssast else "SSAST, pre-trained" if pretrained else "SSAST, fine-tuned"


def _grid(state: State, root: str, outer: str, tokens: int, told: Told) -> Grid:
    """The patches' size is the kernel's; SSAST's pre-training says what it heard, and its patches do not overlap."""
    kernel = tensor_of(state, f"{root}patch_embed.proj.weight", 4).shape  # (hidden, 1, frequency, time)
    positions = tensor_of(state, f"{root}pos_embed", 3).shape[1] - max(tokens, 1)
    size = (kernel[2], kernel[3])
    mels, frames = (state.get(f"{outer}p_input_{axis}dim") for axis in "ft")
    if mels is None or frames is None:
        return infer_grid(positions, size, told.frames, told.stride)
    return infer_grid(positions, size, told.frames or int(frames), told.stride or size, int(mels))


def _rules(
    state: State, root: str, outer: str, tokens: list[str], config: SpectrogramTransformerConfig, head: bool
) -> list[Rule]:
    rows, count = config.frequency_patches, config.num_class_tokens or 0

    def table(positions: torch.Tensor) -> torch.Tensor:
        return positions[0, count:].unflatten(0, (rows, -1))  # row by row, as ours

    return [
        *pair_rules("embeddings.patch_projection", f"{root}patch_embed.proj"),
        class_token_rule(tokens or [f"{root}cls_token"], f"{root}pos_embed"),
        Rule("embeddings.positions.table", (f"{root}pos_embed",), table),
        *layer_rules(config.num_hidden_layers, f"{root}blocks.{{i}}.", TIMM_LAYER, config.qkv_bias),
        *pair_rules("layernorm", f"{root}norm"),
        *(pair_rules("classifier.layernorm", f"{outer}mlp_head.0") if head else []),
        *(pair_rules("classifier.dense", f"{outer}mlp_head.1") if head else []),
    ]
