"""[AudioMAE](https://arxiv.org/abs/2207.06405): a ViT that looks at spectrograms as (time, frequency).

Patches run along frequency first, index t * rows + f, and the kernel's axes are (time, frequency): both are turned.
Fine-tuned, the mean of the patches goes through one LayerNorm, `fc_norm`, which is the head's, and the encoder has
none; pre-trained, the encoder has its own and a decoder follows.
"""

import torch

from .convert_ast import ast_features, statistics_of
from .convert_geometry import infer_grid
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


def convert_audiomae(state: State, root: str, told: Told) -> Conversion:
    """AudioMAE, pre-trained or fine-tuned.

    Args:
        state: Tensors by name.
        root: Before all names, mostly "".
        told: What is known beside them.

    Raises:
        ValueError: Names or shapes do not fit, or the grid is ambiguous.
    """
    kernel = tensor_of(state, f"{root}patch_embed.proj.weight", 4).shape  # (hidden, 1, time, frequency)
    positions = tensor_of(state, f"{root}pos_embed", 3).shape[1] - 1
    grid = infer_grid(positions, (kernel[3], kernel[2]), told.frames, told.stride)
    tuned = any(name.startswith((f"{root}fc_norm.", f"{root}head.")) for name in state)
    config = vit_config(
        state,
        root,
        told,
        **grid.settings(),
        pooling=told.pooling or "mean",
        num_class_tokens=1,
        final_norm=not tuned,
        head_norm_eps=1e-6,
    )
    if tuned:
        set_labels(config, tensor_of(state, f"{root}head.weight", 2).shape[0], told)

    def table(positions: torch.Tensor) -> torch.Tensor:
        return positions[0, 1:].unflatten(0, (-1, config.frequency_patches)).transpose(0, 1)

    rules = [
        Rule("embeddings.patch_projection.weight", (f"{root}patch_embed.proj.weight",), _turned),
        Rule("embeddings.patch_projection.bias", (f"{root}patch_embed.proj.bias",)),
        class_token_rule([f"{root}cls_token"], f"{root}pos_embed"),
        Rule("embeddings.positions.table", (f"{root}pos_embed",), table),
        *layer_rules(config.num_hidden_layers, f"{root}blocks.{{i}}.", TIMM_LAYER, config.qkv_bias),
        *([] if tuned else pair_rules("layernorm", f"{root}norm")),
        *(pair_rules("classifier.layernorm", f"{root}fc_norm") if tuned else []),
        *(pair_rules("classifier.dense", f"{root}head") if tuned else []),
    ]
    tensors, unused = assemble(state, rules, config, [rf"{root}decoder_.*", rf"{root}mask_token"])
    statistics, note = statistics_of(config.position_frames)
    return Conversion(
        dialect=f"AudioMAE, {'fine-tuned' if tuned else 'pre-trained'}",
        config=config,
        state_dict=tensors,
        features=ast_features(config.position_frames, config.num_mel_bins, *statistics),
        unused=unused,
        notes=(note,),
        published_license="cc-by-nc-4.0",
    )


def _turned(kernel: torch.Tensor) -> torch.Tensor:
    return kernel.transpose(2, 3)
