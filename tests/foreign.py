"""Checkpoints as other programs publish them, made up: their names and shapes, but narrow and of two layers; and what
those programs compute from them, written from the papers with torch's functions on the checkpoint's own names.

Embeddings and the last norm are small, so that every eps changes the result.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear

State = dict[str, Tensor]
WIDTH, HEADS, LAYERS = 64, 1, 2
LABELS = 7


def _normal(generator: torch.Generator, *shape: int, scale: float = 0.15, mean: float = 0.0) -> Tensor:
    return mean + scale * torch.randn(shape, generator=generator)


def _layer(generator: torch.Generator, name: str, rows: int, columns: int) -> State:
    return {f"{name}.weight": _normal(generator, rows, columns), f"{name}.bias": _normal(generator, rows)}


def _norm(generator: torch.Generator, name: str, width: int = WIDTH, mean: float = 1.0) -> State:
    return {
        f"{name}.weight": _normal(generator, width, scale=0.3 * mean, mean=mean),
        f"{name}.bias": _normal(generator, width, scale=0.3 * mean),
    }


def vit(
    root: str, positions: int, patch: tuple[int, int] = (16, 16), dist: bool = True, width: int = WIDTH, seed: int = 0
) -> State:
    """A timm ViT with one input channel, without head and last norm; `positions` count class tokens too."""
    g = torch.Generator().manual_seed(seed)
    state = {
        f"{root}cls_token": _normal(g, 1, 1, width, scale=3e-3),
        f"{root}pos_embed": _normal(g, 1, positions, width, scale=3e-3),
        f"{root}patch_embed.proj.weight": _normal(g, width, 1, *patch, scale=2e-4),
        f"{root}patch_embed.proj.bias": _normal(g, width, scale=1e-3),
    }
    if dist:
        state[f"{root}dist_token"] = _normal(g, 1, 1, width, scale=3e-3)
    for i in range(LAYERS):
        block = f"{root}blocks.{i}."
        state |= _norm(g, f"{block}norm1", width) | _norm(g, f"{block}norm2", width)
        state |= _layer(g, f"{block}attn.qkv", 3 * width, width) | _layer(g, f"{block}attn.proj", width, width)
        state |= _layer(g, f"{block}mlp.fc1", 4 * width, width) | _layer(g, f"{block}mlp.fc2", width, 4 * width)
    return state


def original_ast(rows: int = 12, columns: int = 101, seed: int = 0) -> State:
    """The original AST, as DataParallel saved it."""
    g = torch.Generator().manual_seed(seed + 1)
    state = vit("module.v.", 2 + rows * columns, seed=seed) | _norm(g, "module.v.norm", mean=0.01)
    state |= _layer(g, "module.v.head", 10, WIDTH) | _layer(g, "module.v.head_dist", 10, WIDTH)  # of DeiT, unused
    return state | _norm(g, "module.mlp_head.0") | _layer(g, "module.mlp_head.1", LABELS, WIDTH)


def ssast(pretrained: bool, patch: tuple[int, int] = (16, 16), positions: int = 512, dist: bool = True) -> State:
    """SSAST as DataParallel saved it: 16 by 16 patches or frames (128, 2); base_nokd has no `dist`."""
    g = torch.Generator().manual_seed(2)
    state = vit("module.v.", positions + 1 + dist, patch, dist) | _norm(g, "module.v.norm", mean=0.01)
    state |= _layer(g, "module.v.head", 10, WIDTH)
    if dist:
        state |= _layer(g, "module.v.head_dist", 10, WIDTH)
    if not pretrained:
        return state | _norm(g, "module.mlp_head.0") | _layer(g, "module.mlp_head.1", LABELS, WIDTH)
    state |= {"module.p_input_fdim": torch.tensor(128), "module.p_input_tdim": torch.tensor(1024)}
    state["module.mask_embed"] = _normal(g, 1, 1, WIDTH)
    for name in ("cpredlayer", "gpredlayer"):
        state |= _layer(g, f"module.{name}.0", WIDTH, WIDTH) | _layer(g, f"module.{name}.2", 256, WIDTH)
    return state


def passt(rows: int = 12, columns: int = 99, dist: bool = True) -> State:
    """PaSST."""
    g = torch.Generator().manual_seed(3)
    state = vit("", 1, dist=dist) | _norm(g, "norm", mean=0.01) | _norm(g, "head.0") | _layer(g, "head.1", 527, WIDTH)
    del state["pos_embed"]
    state["new_pos_embed"] = _normal(g, 1, 1 + dist, WIDTH, scale=3e-3)
    state["freq_new_pos_embed"] = _normal(g, 1, WIDTH, rows, 1, scale=3e-3)
    state["time_new_pos_embed"] = _normal(g, 1, WIDTH, 1, columns, scale=3e-3)
    return state | _layer(g, "head_dist", 527, WIDTH) if dist else state


def audiomae(pretrained: bool, rows: int = 8, columns: int = 64) -> State:
    """AudioMAE, of which the first is `{"model": …}` on disk."""
    g = torch.Generator().manual_seed(4)
    state = vit("", 1 + rows * columns, dist=False)
    if not pretrained:
        return state | _norm(g, "fc_norm") | _layer(g, "head", LABELS, WIDTH)
    state |= _norm(g, "norm", mean=0.01) | _layer(g, "decoder_embed", 32, WIDTH) | _norm(g, "decoder_norm", 32)
    state |= _layer(g, "decoder_blocks.0.attn.qkv", 96, 32) | _layer(g, "decoder_pred", 256, 32)
    state["mask_token"] = _normal(g, 1, 1, 32)
    return state | {"decoder_pos_embed": _normal(g, 1, 1 + rows * columns, 32)}


def _blocks(states: Tensor, state: State, root: str, heads: int = HEADS) -> Tensor:
    """A pre-norm transformer, in words: softmax(q k / √d) v per head, then a GELU MLP, both added; eps 1e-6."""
    batch, tokens, width = states.shape

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def dense(x: Tensor, name: str) -> Tensor:
        return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    for i in range(LAYERS):
        block = f"{root}blocks.{i}."
        qkv = dense(norm(states, f"{block}norm1"), f"{block}attn.qkv")
        q, k, v = qkv.reshape(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
        states = states + dense((weights @ v).transpose(1, 2).reshape(batch, tokens, width), f"{block}attn.proj")
        hidden = gelu(dense(norm(states, f"{block}norm2"), f"{block}mlp.fc1"))
        states = states + dense(hidden, f"{block}mlp.fc2")
    return states


def _head(pooled: Tensor, state: State, norm: str, dense: str, eps: float) -> Tensor:
    pooled = layer_norm(pooled, pooled.shape[-1:], state[f"{norm}.weight"], state[f"{norm}.bias"], eps)
    return linear(pooled, state[f"{dense}.weight"], state[f"{dense}.bias"])


def _last_norm(states: Tensor, state: State, name: str) -> Tensor:
    return layer_norm(states, states.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)


def reference_under_v(
    state: State, features: Tensor, stride: tuple[int, int], pool: Callable[[Tensor], Tensor], heads: int = HEADS
) -> tuple[Tensor, Tensor | None]:
    """AST and SSAST: features `(batch, frames, mels)` → last states, and logits of what `pool` makes of them."""
    root = "module.v."
    image = features.transpose(1, 2)[:, None]
    patches = conv2d(image, state[f"{root}patch_embed.proj.weight"], state[f"{root}patch_embed.proj.bias"], stride)
    patches = patches.flatten(2).transpose(1, 2)
    tokens = [state[f"{root}{name}"] for name in ("cls_token", "dist_token") if f"{root}{name}" in state]
    states = torch.cat([*(token.expand(len(features), -1, -1) for token in tokens), patches], dim=1)
    states = _blocks(states + state[f"{root}pos_embed"], state, root, heads)
    states = _last_norm(states, state, f"{root}norm")
    if "module.mlp_head.0.weight" not in state:
        return states, None
    return states, _head(pool(states), state, "module.mlp_head.0", "module.mlp_head.1", 1e-5)


def reference_passt(state: State, features: Tensor, stride: int = 10) -> Tensor:
    """PaSST: features `(batch, frames, mels)` → logits."""
    image = features.transpose(1, 2)[:, None]
    grid = conv2d(image, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride)
    grid = grid + state["time_new_pos_embed"][..., : grid.shape[-1]] + state["freq_new_pos_embed"]
    tokens = [state[name] for name in ("cls_token", "dist_token") if name in state]
    tokens = [token + state["new_pos_embed"][:, i : i + 1] for i, token in enumerate(tokens)]
    tokens = [token.expand(len(features), -1, -1) for token in tokens]
    states = _blocks(torch.cat([*tokens, grid.flatten(2).transpose(1, 2)], dim=1), state, "")
    states = _last_norm(states, state, "norm")
    return _head(states[:, : len(tokens)].mean(1), state, "head.0", "head.1", 1e-5)


def reference_audiomae(state: State, features: Tensor, stride: int = 16) -> tuple[Tensor, Tensor | None]:
    """AudioMAE: features `(batch, frames, mels)` → last states in its own order, and logits if it is fine-tuned."""
    image = features[:, None]  # (batch, 1, time, frequency)
    patches = conv2d(image, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride)
    patches = patches.flatten(2).transpose(1, 2) + state["pos_embed"][:, 1:]
    cls = (state["cls_token"] + state["pos_embed"][:, :1]).expand(len(features), -1, -1)
    states = _blocks(torch.cat([cls, patches], dim=1), state, "")
    if "fc_norm.weight" not in state:
        return _last_norm(states, state, "norm"), None
    return states, _head(states[:, 1:].mean(1), state, "fc_norm", "head", 1e-6)
