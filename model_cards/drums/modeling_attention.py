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
  relations are seen together;
- the kinds a speller can attend with, `ATTENTIONS[kind]`: `DotAttention`, `LocationAttention`, `NoAttention`.

Shapes: queries `(batch, queries, dim)`, keys and values `(batch, keys, dim)`, weights `(batch, heads, queries, keys)`,
masks are boolean, True on real keys.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import nn

from .configuration_las import LasConfig


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


@dataclass
class Memory:
    """What a speller attends to, prepared once per utterance.

    Shapes: keys `(batch, keys, attention_size)`, values `(batch, keys, memory_size)`, mask `(batch, keys)` boolean.
    """

    keys: torch.Tensor
    values: torch.Tensor
    mask: torch.Tensor


class SpellerAttention(nn.Module):
    """What the kinds share: keys are projected once (`prepare`), then each step asks with one query (`forward`).

    `forward(query, memory, previous_weights)` takes a query `(batch, 1, speller_hidden_size)` and the weights of the
    step before `(batch, heads, 1, keys)`, and returns the context `(batch, 1, memory_size)` and the new weights.
    """

    key_proj: nn.Module

    def __init__(self, config: LasConfig) -> None:
        super().__init__()
        self.num_heads = config.attention_heads

    def prepare(self, states: torch.Tensor, mask: torch.Tensor) -> Memory:
        """Listener states `(batch, frames, memory_size)` and their mask `(batch, frames)` as a `Memory`."""
        return Memory(self.key_proj(states), states, mask)

    def initial_weights(self, memory: Memory) -> torch.Tensor:
        """The previous weights of the first step: uniform over real keys, `(batch, heads, 1, keys)`."""
        real = memory.mask.to(memory.values.dtype)
        uniform = real / real.sum(-1, keepdim=True).clamp(min=1)
        return uniform[:, None, None].expand(-1, self.num_heads, -1, -1)


class DotAttention(SpellerAttention):
    """Scaled dot product between MLP projections of speller state and listener states (Chan et al., equation 9).

    The paper does not scale; without 1/√d the energies of a trained model saturate softmax.
    """

    def __init__(self, config: LasConfig) -> None:
        super().__init__(config)
        size = config.attention_size
        self.query_proj = nn.Sequential(nn.Linear(config.speller_hidden_size, size), nn.Tanh(), nn.Linear(size, size))
        self.key_proj = nn.Sequential(nn.Linear(config.memory_size, size), nn.Tanh(), nn.Linear(size, size))

    def forward(self, query: torch.Tensor, memory: Memory, previous_weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        context, weights = scaled_dot_product_attention(
            self.query_proj(query), memory.keys, memory.values, memory.mask[:, None]
        )
        return context, weights[:, None]


class Filters(nn.Conv1d):
    """Filters that are read, not run: a call hands out the weight, so that hooks which load weights see the use."""

    def forward(self) -> torch.Tensor:  # type: ignore[override]
        return self.weight


class LocationAttention(SpellerAttention):
    """Additive attention that also sees where it looked before (Chorowski et al. 2015, arXiv:1506.07503, equation 9).

        energy = wᵀ tanh(W query + V key + U (F * previous weights) + b)

    The convolution `F` over the previous weights lets the model move on along the sound instead of jumping between
    alike passages.
    """

    def __init__(self, config: LasConfig) -> None:
        super().__init__(config)
        size = config.attention_size
        self.query_proj = nn.Linear(config.speller_hidden_size, size, bias=False)
        self.key_proj = nn.Linear(config.memory_size, size)  # carries b
        self.location_conv = Filters(
            1,
            config.location_channels,
            config.location_kernel_size,
            padding=config.location_kernel_size // 2,
            bias=False,
        )
        self.location_proj = nn.Linear(config.location_channels, size, bias=False)
        self.energy_proj = nn.Linear(size, 1, bias=False)

    def forward(self, query: torch.Tensor, memory: Memory, previous_weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # U and F are both linear: one convolution with their product does the work of two calls.
        kernel = self.location_proj(self.location_conv().permute(1, 2, 0)).permute(2, 0, 1)  # (size, 1, width)
        location = nn.functional.conv1d(previous_weights[:, 0], kernel, padding=self.location_conv.padding[0])
        energy = (memory.keys + self.query_proj(query) + location.transpose(1, 2)).tanh()  # (batch, keys, size)
        weights = masked_softmax(self.energy_proj(energy).transpose(1, 2), memory.mask[:, None])  # (batch, 1, keys)
        return weights @ memory.values, weights[:, None]


class NoAttention(SpellerAttention):
    """The information bottleneck that attention removed: the listener's last states as one fixed-length context.

    The forward LSTM's state on the last real frame and the backward LSTM's on the first (Sutskever et al. 2014,
    arXiv:1409.3215). The memory has this one slot, so the weights are `(batch, 1, queries, 1)` and all 1.
    """

    def prepare(self, states: torch.Tensor, mask: torch.Tensor) -> Memory:
        half = states.shape[-1] // 2
        last = (mask.sum(-1) - 1).clamp(min=0)
        forward = states[torch.arange(len(states), device=states.device), last, :half]
        summary = torch.cat([forward, states[:, 0, half:]], dim=-1)[:, None]  # (batch, 1, memory_size)
        return Memory(summary, summary, mask[:, :1])

    def forward(self, query: torch.Tensor, memory: Memory, previous_weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return memory.values, previous_weights


ATTENTIONS: dict[str, type[SpellerAttention]] = {
    "dot": DotAttention,
    "location": LocationAttention,
    "none": NoAttention,
}
