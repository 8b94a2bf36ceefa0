"""What a speller attends with: one class per kind, by the literature's names.

Notable here:
- keys and values are made once per utterance (`prepare`), and every hypothesis of a beam search asks the same ones:
  queries are `(batch, queries, size)`, the queries of an utterance being its hypotheses, one in training;
- `location` is `additive` with one more term, and each kind states only what is its own.

Shapes: queries `(batch, queries, speller_hidden_size)`, weights `(batch, heads, queries, keys)`, context
`(batch, queries, memory_size)`; masks are boolean, True on real keys.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import nn

from .configuration_las import LasConfig
from .modeling_attention import masked_softmax, scaled_dot_product_attention
from .modeling_kernels import attend, can_attend
from .modeling_packed_linear import Linear, call


@dataclass
class Memory:
    """What a speller attends to, prepared once per utterance.

    Shapes: keys `(batch, keys, attention_size)`, values `(batch, keys, memory_size)`, mask `(batch, keys)` boolean;
    `offsets` `(batch, keys)` are added to the scores of some kinds. Where the keys are slots and no frames, `places`
    `(batch, slots, frames)` says what each was made of.
    """

    keys: torch.Tensor
    values: torch.Tensor
    mask: torch.Tensor
    offsets: torch.Tensor | None = None
    places: torch.Tensor | None = None

    def over_frames(self, attention: torch.Tensor) -> torch.Tensor:
        """Attention `(rows, heads, targets, keys)` over the listener's frames, whatever the keys are."""
        if self.places is None:
            return attention
        shares = self.places.repeat_interleave(len(attention) // len(self.places), 0)  # (rows, slots, frames)
        return attention @ shares[:, None]


class SpellerAttention(nn.Module):
    """What the kinds share: keys are projected once (`prepare`), then each step asks with its queries (`forward`).

    `forward(query, memory, previous_weights, linear)` takes queries `(batch, queries, speller_hidden_size)`, their
    weights of the step before `(batch, heads, queries, keys)` and what calls a linear layer with its inputs, and
    returns contexts `(batch, queries, memory_size)` and the new weights.
    """

    key_proj: nn.Module
    mixes_values = True  # a context is nothing but `weights @ values`

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

    The paper does not scale; without 1/√d the energies of a trained model saturate softmax. With A h + b being the
    second layer of the query's MLP, (A h + b) · k = h · Aᵀk + b · k: that layer is multiplied into the keys once per
    utterance, not into the query at every step.
    """

    def __init__(self, config: LasConfig) -> None:
        super().__init__(config)
        size = config.attention_size
        self.query_proj = nn.Sequential(nn.Linear(config.speller_hidden_size, size), nn.Tanh(), nn.Linear(size, size))
        self.key_proj = nn.Sequential(nn.Linear(config.memory_size, size), nn.Tanh(), nn.Linear(size, size))

    def prepare(self, states: torch.Tensor, mask: torch.Tensor) -> Memory:
        keys = self.key_proj(states)
        keys = keys / sqrt(keys.shape[-1])
        # Asked, not read, so that what wraps the layer (adapters, offloading) has its say.
        zero = keys.new_zeros(1, keys.shape[-1])
        offset = self.query_proj[2](zero)
        matrix = self.query_proj[2](torch.eye(keys.shape[-1], dtype=keys.dtype, device=keys.device)) - offset
        return Memory(keys @ matrix.t(), states, mask.contiguous(), offsets=(keys @ offset.t())[..., 0].contiguous())

    def forward(
        self, query: torch.Tensor, memory: Memory, previous_weights: torch.Tensor, linear: Linear = call
    ) -> tuple[torch.Tensor, ...]:
        asked = linear(self.query_proj[0], query, self.query_proj[1])
        offsets = memory.offsets if memory.offsets is not None else memory.keys.new_zeros(memory.keys.shape[:2])
        looked = (asked, memory.keys, offsets, memory.mask, memory.values)
        if not torch.is_grad_enabled() and can_attend(*looked):
            context, weights = attend(*looked)
            return context, weights[:, None]
        scores = asked @ memory.keys.transpose(1, 2) + offsets[:, None]  # (batch, queries, keys)
        weights = masked_softmax(scores, memory.mask[:, None])
        return weights @ memory.values, weights[:, None]


class MultiHeadSpellerAttention(SpellerAttention):
    """Several scaled dot products at once, each over its own projection of the listener states, joined by another.

    As in Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.2; Chiu et al. 2018 (arXiv:1712.01769) brought heads to
    LAS, theirs being additive.
    """

    mixes_values = False

    def __init__(self, config: LasConfig) -> None:
        super().__init__(config)
        self.query_proj = nn.Linear(config.speller_hidden_size, config.attention_size)
        self.key_proj = nn.Linear(config.memory_size, config.attention_size)
        self.value_proj = nn.Linear(config.memory_size, config.memory_size)
        self.output_proj = nn.Linear(config.memory_size, config.memory_size)

    def prepare(self, states: torch.Tensor, mask: torch.Tensor) -> Memory:
        return Memory(self.key_proj(states), self.value_proj(states), mask)

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (batch, heads, length, head size)

    def forward(
        self, query: torch.Tensor, memory: Memory, previous_weights: torch.Tensor, linear: Linear = call
    ) -> tuple[torch.Tensor, ...]:
        asked, keys, values = (self._split(x) for x in (linear(self.query_proj, query), memory.keys, memory.values))
        context, weights = scaled_dot_product_attention(asked, keys, values, memory.mask[:, None, None])
        return linear(self.output_proj, context.transpose(1, 2).flatten(2)), weights


class AdditiveAttention(SpellerAttention):
    """A small network compares query and key (Bahdanau et al. 2015, arXiv:1409.0473; "content-based" in Chorowski's).

    energy = wᵀ tanh(W query + V key + b)
    """

    def __init__(self, config: LasConfig) -> None:
        super().__init__(config)
        size = config.attention_size
        self.query_proj = nn.Linear(config.speller_hidden_size, size, bias=False)
        self.key_proj = nn.Linear(config.memory_size, size)  # carries b
        self.energy_proj = nn.Linear(size, 1, bias=False)

    def forward(
        self, query: torch.Tensor, memory: Memory, previous_weights: torch.Tensor, linear: Linear = call
    ) -> tuple[torch.Tensor, ...]:
        return self._attend(linear(self.query_proj, query)[:, :, None], memory)

    def _attend(self, asked: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, ...]:
        """Context and weights for what is compared with the keys, broadcastable to `(batch, queries, keys, size)`."""
        energy = self.energy_proj((memory.keys[:, None] + asked).tanh())[..., 0]  # (batch, queries, keys)
        weights = masked_softmax(energy, memory.mask[:, None])
        return weights @ memory.values, weights[:, None]


class Filters(nn.Conv1d):
    """Filters that are read, not run: a call hands out the weight, so that hooks which load weights see the use."""

    def forward(self) -> torch.Tensor:  # type: ignore[override]
        return self.weight


class LocationAttention(AdditiveAttention):
    """Additive attention that also sees where it looked before (Chorowski et al. 2015, arXiv:1506.07503, equation 9).

        energy = wᵀ tanh(W query + V key + U (F * previous weights) + b)

    The convolution `F` over the previous weights lets the model move on along the sound instead of jumping between
    alike passages.
    """

    def __init__(self, config: LasConfig) -> None:
        super().__init__(config)
        width = config.location_kernel_size
        self.location_conv = Filters(1, config.location_channels, width, padding=width // 2, bias=False)
        self.location_proj = nn.Linear(config.location_channels, config.attention_size, bias=False)

    def kernel(self) -> torch.Tensor:
        """U after F as one convolution, `(attention_size, 1, width)`: both are linear, with nothing between them."""
        return self.location_proj(self.location_conv().permute(1, 2, 0)).permute(2, 0, 1)

    def forward(
        self, query: torch.Tensor, memory: Memory, previous_weights: torch.Tensor, linear: Linear = call
    ) -> tuple[torch.Tensor, ...]:
        rows = previous_weights[:, 0].flatten(0, 1)[:, None]  # (batch * queries, 1, keys)
        location = nn.functional.conv1d(rows, self.kernel(), padding=self.location_conv.padding[0])
        location = location.transpose(1, 2).unflatten(0, query.shape[:2])  # (batch, queries, keys, size)
        return self._attend(linear(self.query_proj, query)[:, :, None] + location, memory)


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

    def forward(
        self, query: torch.Tensor, memory: Memory, previous_weights: torch.Tensor, linear: Linear = call
    ) -> tuple[torch.Tensor, ...]:
        return memory.values.expand(-1, query.shape[1], -1), previous_weights


ATTENTIONS: dict[str, type[SpellerAttention]] = {
    "dot": DotAttention,
    "additive": AdditiveAttention,
    "location": LocationAttention,
    "multihead": MultiHeadSpellerAttention,
    "none": NoAttention,
}
