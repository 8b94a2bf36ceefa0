"""From many states to one vector, and from the scores of moments to the score of a clip."""

import torch
from torch import nn

from .configuration_spectrogram_transformer import SpectrogramTransformerConfig
from .modeling_attention import scaled_dot_product_attention


def mean_over(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean of the real states: `(batch, tokens, hidden)`, mask `(batch, tokens)` or None → `(batch, hidden)`."""
    if mask is None:
        return states.mean(dim=1)
    real = mask.to(states.dtype)[..., None]
    return states.masked_fill(~mask[..., None], 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1)


class ClipPooling(nn.Module):
    """One vector for a clip, by `config.pooling`.

    Args:
        config: Kind and number of class tokens.
    """

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        self.kind, self.class_tokens = config.pooling, config.num_class_tokens or 0
        if self.kind == "attention":
            self.query = nn.Parameter(torch.empty(1, config.hidden_size))
            self.key_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """States `(batch, tokens, hidden)`, class tokens first, mask `(batch, tokens)` or None → `(batch, hidden)`."""
        if self.kind == "cls":
            return states[:, 0]
        if self.kind == "cls_distillation":
            return (states[:, 0] + states[:, 1]) / 2
        patches = states[:, self.class_tokens :]
        mask = None if mask is None else mask[:, self.class_tokens :]
        if self.kind == "mean":
            return mean_over(patches, mask)
        query = self.query.expand(states.shape[0], -1, -1)
        keys = self.key_proj(patches)
        pooled, _ = scaled_dot_product_attention(query, keys, patches, None if mask is None else mask[:, None])
        return pooled[:, 0]


def pool_columns(
    states: torch.Tensor, mask: torch.Tensor | None, index: torch.Tensor | None, rows: int, columns: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over frequency: one state per time patch.

    Args:
        states: `(batch, patches, hidden)`, without class tokens.
        mask: `(batch, patches)`, True on real patches, or None.
        index: `(batch, patches)`, place of each patch after patchout, or None where all are there.
        rows, columns: Of the grid.

    Returns:
        `(batch, columns, hidden)`, and a boolean mask `(batch, columns)`: True where a clip has a patch.
    """
    if index is None:
        grid = states.unflatten(1, (rows, columns))
        real = torch.ones(grid.shape[:3], dtype=torch.bool, device=states.device)
        real = real if mask is None else mask.unflatten(1, (rows, columns))
        return grid.mean(dim=1), real.any(dim=1)
    real = torch.ones_like(index, dtype=torch.bool) if mask is None else mask
    column = (index % columns).masked_fill(~real, columns)  # what is not real goes into a column that is cut off
    sums = states.new_zeros(len(states), columns + 1, states.shape[-1])
    sums = sums.scatter_add(1, column[..., None].expand_as(states), states)
    counts = states.new_zeros(len(states), columns + 1).scatter_add(
        1, column, torch.ones_like(column, dtype=states.dtype)
    )
    means = sums / counts.clamp(min=1)[..., None]
    return means[:, :columns], counts[:, :columns] > 0


def pool_scores(logits: torch.Tensor, mask: torch.Tensor, kind: str) -> torch.Tensor:
    """A clip's logits from those of its time patches.

    Args:
        logits: `(batch, columns, labels)`.
        mask: Boolean `(batch, columns)`, True on real columns; every clip has one.
        kind: `"mean"` or `"max"` of the logits; `"linear_softmax"`, the mean of the probabilities weighted by
            themselves, Σp² / Σp (Wang et al. 2019, arXiv:1810.09050), as a logit.

    Returns:
        `(batch, labels)`.
    """
    if kind == "mean":
        return mean_over(logits, mask)
    if kind == "max":
        return logits.masked_fill(~mask[..., None], torch.finfo(logits.dtype).min).amax(dim=1)
    # In logarithms: log p and log(1 - p) stay exact where p is near 0 or 1. With Σp(1 - p) / Σp = 1 - Σp² / Σp the
    # logit is log Σp² - log Σp(1 - p).
    lowest = torch.finfo(torch.float32).min
    heard = nn.functional.logsigmoid(logits.float()).masked_fill(~mask[..., None], lowest / 4)
    missed = nn.functional.logsigmoid(-logits.float())
    return ((2 * heard).logsumexp(dim=1) - (heard + missed).logsumexp(dim=1)).to(logits.dtype)
