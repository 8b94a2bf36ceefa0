r"""Attention, explained and computed in one place.

Attention looks things up. A *query* says what is sought, *keys* say what each entry of a memory is about, *values*
hold what is fetched. Every query is compared with every key; softmax turns a query's scores into weights that sum to
one; the weights mix the values into a *context vector*:

    context = softmax(Q Kᵀ / √d) V

What is notable here, in reading order:
- `masked_softmax`: the mask comes before softmax, so masked keys get weight exactly 0 and the rest still sum to 1;
- `scaled_dot_product_attention`: the formula above. Without 1/√d the scores grow with the dimension and push softmax
  into the region where its gradients vanish;
- `MultiHeadAttention`: several attentions side by side, each with its own learned projections, so that different
  relations are seen together.

What a speller attends with, `dot`, `additive`, `location`, `multihead` and `none`, is in `speller_attention.py`.

Shapes: queries `(batch, queries, dim)`, keys and values `(batch, keys, dim)`, weights `(batch, heads, queries, keys)`,
masks are boolean, True on real keys.
"""

from math import sqrt

import torch
from torch import nn


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Softmax over the last axis that leaves masked entries out.

    Args:
        scores: `(…, keys)`.
        mask: Boolean, broadcastable to `scores`, True where a key may be attended to.

    Returns:
        Weights like `scores`: they sum to 1 over the allowed keys and are exactly 0 elsewhere. A row without any
        allowed key is all zeros, not NaN.
    """
    if mask is None:
        return scores.softmax(dim=-1)
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)


def scaled_dot_product_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """softmax(Q Kᵀ / √d) V, with the weights (Vaswani et al. 2017, arXiv:1706.03762, equation 1).

    Args:
        query: `(…, queries, dim)`.
        key: `(…, keys, dim)`.
        value: `(…, keys, value_dim)`.
        mask: Boolean, broadcastable to `(…, queries, keys)`, True where a key may be attended to.

    Returns:
        Context `(…, queries, value_dim)` and weights `(…, queries, keys)`.
    """
    scores = query @ key.transpose(-2, -1) / sqrt(query.shape[-1])  # (…, queries, keys)
    weights = masked_softmax(scores, mask)
    return weights @ value, weights


class MultiHeadAttention(nn.Module):
    """Several scaled dot-product attentions at once, each in its learned subspace (arXiv:1706.03762, section 3.2.2).

    Args:
        hidden_size: Features of queries, keys, values and output; divisible by `num_heads`.
        num_heads: How many attentions run side by side.

    Raises:
        ValueError: `hidden_size` is not divisible by `num_heads`.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or hidden_size % num_heads:
            raise ValueError(f"hidden_size={hidden_size} must be divisible by num_heads={num_heads}")
        self.num_heads = num_heads
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(hidden_size, hidden_size)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.o_proj = nn.Linear(hidden_size, hidden_size)

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (batch, heads, length, head_dim)

    def forward(
        self, query: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend from `query` `(batch, queries, hidden)` to `memory` `(batch, keys, hidden)`.

        Self-attention passes the same tensor twice. `mask` is boolean `(batch, keys)` or broadcastable to
        `(batch, heads, queries, keys)`. Returns the output `(batch, queries, hidden)` and the weights
        `(batch, heads, queries, keys)`.
        """
        if mask is not None and mask.ndim == 2:
            mask = mask[:, None, None]  # (batch, 1, 1, keys)
        q, k, v = self._split(self.q_proj(query)), self._split(self.k_proj(memory)), self._split(self.v_proj(memory))
        context, weights = scaled_dot_product_attention(q, k, v, mask)
        return self.o_proj(context.transpose(1, 2).flatten(2)), weights
