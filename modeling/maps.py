"""Attention maps made readable: laid out by frequency and time, and joined over layers."""

from collections.abc import Iterable

import torch

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig


def as_grid(weights: torch.Tensor, config: SpectrogramTransformerConfig) -> torch.Tensor:
    """Attention to patches, laid out on the spectrogram; the attention to class tokens is left out.

    Args:
        weights: `(…, tokens)`, tokens being keys of a map of `attention_maps`.
        config: Of the model.

    Returns:
        `(…, rows, columns)`: low mels first, time to the right. `processing.grid.patch_grid` gives Hz and seconds.

    Raises:
        ValueError: The number of tokens is not that of a grid of this model.
    """
    tokens, rows = config.num_class_tokens or 0, config.frequency_patches
    patches = weights.shape[-1] - tokens
    if patches < rows or patches % rows:
        raise ValueError(f"weights {tuple(weights.shape)} must have {tokens} class tokens and rows of {rows} patches")
    return weights[..., tokens:].unflatten(-1, (rows, -1))


def attention_rollout(maps: Iterable[torch.Tensor]) -> torch.Tensor:
    """What each token of the last layer draws from each input token, over all layers together.

    Abnar and Zuidema 2020 (arXiv:2005.00928): heads are averaged, each layer keeps half of what came in (the residual
    branch), and the layers are multiplied.

    Args:
        maps: Weights of every layer from the first on, `(batch, heads, tokens, tokens)` each, such as
            `model.attention_maps(features).values()`.

    Returns:
        `(batch, tokens, tokens)`, rows that sum to 1; 0 on padding.

    Raises:
        ValueError: There are no maps.
    """
    rollout: torch.Tensor | None = None
    for weights in maps:
        mean = weights.float().mean(dim=1)
        mixed = (mean + torch.eye(mean.shape[-1], device=mean.device)) / 2
        rollout = mixed if rollout is None else mixed @ rollout
    if rollout is None:
        raise ValueError("maps is empty; attention_rollout needs every layer's")
    return rollout
