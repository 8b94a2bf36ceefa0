"""Attention heads silenced for a while, to measure what they are worth.

    with knocked_out(model, [("layers.3", 2)]):
        logits = model(**inputs).logits  # as if head 2 of layer 3 had nothing to say

What is notable here:
- a layer joins its heads by one linear map of their contexts side by side (`SelfAttention.o_proj`). A silenced head's
  context is 0 before that map, so what the other heads say and the map's bias stay as they are (Michel et al. 2019,
  arXiv:1905.10650, and Voita et al. 2019, arXiv:1905.09418, ablate heads so);
- it is a hook on the layers that are named, taken away at the end however the block ends: weights are not touched and
  nothing is kept on modules;
- it is exact under any attention implementation, and alike in training, where gradients of a silenced head are 0.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from .self_attention import SpectrogramLayer
from .spectrogram_transformer import SpectrogramTransformerModel


def encoder_of(model: nn.Module) -> SpectrogramTransformerModel:
    """The encoder of spectrograms in a model with any head, or the model itself where it is one.

    Raises:
        TypeError: The model has none.
    """
    encoder = getattr(model, "spectrogram_transformer", model)
    if not isinstance(encoder, SpectrogramTransformerModel):
        raise TypeError(
            f"model: {type(model).__name__} has no encoder of patches; allowed are spectrogram transformers"
        )
    return encoder


@contextmanager
def knocked_out(model: nn.Module, heads: Iterable[tuple[str, int]]) -> Iterator[None]:
    """Silence heads of the encoder's self-attention while the block runs, for everyone who uses the model meanwhile.

    Args:
        model: A spectrogram transformer with any head, or its encoder alone.
        heads: `("layers.3", 2)` is the third head of the fourth layer, as `attention_maps` names it.

    Raises:
        TypeError: The model has no encoder of patches.
        ValueError: A head that the model does not have.
    """
    encoder = encoder_of(model)
    silent = _by_layer(encoder, heads)
    hooks = []
    try:
        for index, numbers in silent.items():
            attention = cast(SpectrogramLayer, encoder.layers[index]).attention
            hooks.append(attention.o_proj.register_forward_pre_hook(_silencer(numbers, attention.head_dim)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _by_layer(encoder: SpectrogramTransformerModel, heads: Iterable[tuple[str, int]]) -> dict[int, list[int]]:
    layers, count = len(encoder.layers), encoder.config.num_attention_heads
    names = {f"layers.{index}": index for index in range(layers)}
    silent: dict[int, list[int]] = {}
    for layer, number in heads:
        if layer not in names or not 0 <= number < count:
            allowed = f"layers.0 to layers.{layers - 1}, heads 0 to {count - 1}"
            raise ValueError(f"heads: {(layer, number)} is none of this model's; allowed are {allowed}")
        silent.setdefault(names[layer], []).append(number)
    return silent


def _silencer(numbers: list[int], head_dim: int) -> Any:
    """A hook before `o_proj`: contexts `(batch, tokens, heads * head_dim)` with 0 where a silenced head speaks."""

    def silence(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        contexts = list(arguments[0].split(head_dim, dim=-1))  # one per head
        for number in numbers:
            contexts[number] = torch.zeros_like(contexts[number])  # not times 0: infinity would become NaN
        return (torch.cat(contexts, dim=-1), *arguments[1:])

    return silence
