"""[PaSST](https://arxiv.org/abs/2110.05069): a ViT with one table of positions for frequency and one for time.

Its features are not Kaldi's to the bit, and ours are the nearest that `LogMelFeatureExtractor` has (32 kHz, 25 ms
every 10 ms, triangles on Kaldi's mel scale from 0 to 15 kHz, (x + 4.5) / 5):

- it centres frame t on t shifts and mirrors the ends; ours centres it half a shift, 5 ms, later;
- it emphasises the whole clip and ours each frame, which differs in a frame's first sample, where the window is 0;
- it takes log(energy + 1e-5) and ours log(max(energy, 1e-5)): at most 0.14 apart after scaling, where all is silent.
"""

from typing import Any

import torch

from .convert_geometry import MELS, Grid, least_frames
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

STRIDES = (10, 12, 14, 16)  # of the published checkpoints
FRAMES = (998, 2000, 3000)  # of the published checkpoints at 10 ms
FAST = {320: 3.125}  # columns at a stride of 10, and the shift in ms of the one checkpoint that has so many (hop 100)
UNSURE = {200: (10.0, 5.0)}  # 20 seconds, or 10 seconds with a hop of 160
FEATURES_NOTE = (
    "PaSST's own features are approximated: frames lie 5 ms later, and silence is floored where PaSST adds 1e-5."
)


def passt_features(frame_shift_ms: float, mels: int = MELS) -> dict[str, Any]:
    """Settings of `LogMelFeatureExtractor` nearest to PaSST's own features; clips keep their length.

    Args:
        frame_shift_ms: Milliseconds from one frame to the next.
        mels: Filters.
    """
    return {
        "num_mel_bins": mels,
        "sampling_rate": 32_000,
        "frame_shift_ms": frame_shift_ms,
        "window_type": "hanning",
        "remove_dc_offset": False,
        "snip_edges": False,
        "low_freq": 0.0,
        "high_freq": 15_000.0,
        "mel_floor": 1e-5,
        "waveform_scale": 1.0,
        "normalize": "global",
        "mean": -4.5,
        "std": 5.0,
    }


def convert_passt(state: State, root: str, told: Told) -> Conversion:
    """PaSST, with one class token or with a distillation token.

    Args:
        state: Tensors by name.
        root: Before all names, mostly "".
        told: What is known beside them.

    Raises:
        ValueError: Names or shapes do not fit, or the stride or the frame shift is ambiguous.
    """
    tokens = [f"{root}cls_token", f"{root}dist_token"]
    tokens = tokens if tokens[1] in state else tokens[:1]
    kernel = tensor_of(state, f"{root}patch_embed.proj.weight", 4).shape
    rows = tensor_of(state, f"{root}freq_new_pos_embed", 4).shape[2]
    columns = tensor_of(state, f"{root}time_new_pos_embed", 4).shape[3]
    grid = _grid((kernel[2], kernel[3]), rows, columns, told)
    shift = _frame_shift(columns, told)
    config = vit_config(
        state,
        root,
        told,
        **grid.settings(),
        frame_shift_ms=shift,
        position_kind="factorized",
        pooling=told.pooling or ("cls_distillation" if len(tokens) == 2 else "cls"),
        num_class_tokens=len(tokens),
    )
    head = any(name.startswith(f"{root}head.") for name in state)
    if head:
        set_labels(config, tensor_of(state, f"{root}head.1.weight", 2).shape[0], told)
    rules = [
        *pair_rules("embeddings.patch_projection", f"{root}patch_embed.proj"),
        class_token_rule(tokens, f"{root}new_pos_embed"),
        Rule("embeddings.positions.frequency_table", (f"{root}freq_new_pos_embed",), _row_table),
        Rule("embeddings.positions.time_table", (f"{root}time_new_pos_embed",), _column_table),
        *layer_rules(config.num_hidden_layers, f"{root}blocks.{{i}}.", TIMM_LAYER, config.qkv_bias),
        *pair_rules("layernorm", f"{root}norm"),
        *(pair_rules("classifier.layernorm", f"{root}head.0") if head else []),
        *(pair_rules("classifier.dense", f"{root}head.1") if head else []),
    ]
    tensors, unused = assemble(state, rules, config, [rf"{root}head_dist\.(weight|bias)"])
    features = passt_features(shift, config.num_mel_bins)
    return Conversion("PaSST", config, tensors, features, unused, (FEATURES_NOTE,), "apache-2.0")


def _row_table(table: torch.Tensor) -> torch.Tensor:
    return table[0, :, :, 0].T  # (1, hidden, rows, 1) → (rows, hidden)


def _column_table(table: torch.Tensor) -> torch.Tensor:
    return table[0, :, 0].T  # (1, hidden, 1, columns) → (columns, hidden)


def _grid(size: tuple[int, int], rows: int, columns: int, told: Told) -> Grid:
    """The stride follows from the rows. PaSST's table has a column per whole stride, at times one that no clip
    reaches, so that the frames are those that give its columns."""
    strides = [told.stride] if told.stride else [(each, each) for each in STRIDES]
    fitting = [stride for stride in strides if (MELS - size[0]) // stride[0] + 1 == rows]
    if len(fitting) != 1:
        tried = ", ".join(f"{stride[0]},{stride[1]}" for stride in fitting or strides)
        found = "several strides give" if fitting else "no stride gives"
        raise ValueError(f"{found} {rows} rows of patches {size} on {MELS} mels ({tried}): say which stride it has")
    lengths = [told.frames] if told.frames else [*FRAMES, least_frames(columns, size[1], fitting[0][1])]
    grids = [Grid(MELS, frames, size, fitting[0]) for frames in lengths]
    grids = [grid for grid in grids if grid.columns == columns]
    if not grids:
        raise ValueError(f"frames={told.frames} do not give the checkpoint's {columns} columns at {fitting[0]}")
    return grids[0]


def _frame_shift(columns: int, told: Told) -> float:
    if told.frame_shift_ms is not None:
        return told.frame_shift_ms
    if columns in UNSURE:
        shifts = " or ".join(f"{shift:g}" for shift in UNSURE[columns])
        raise ValueError(f"PaSST with {columns} columns hears a frame every {shifts} ms: say which frame shift it has")
    return FAST.get(columns, 10.0)
