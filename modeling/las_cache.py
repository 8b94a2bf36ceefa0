"""The state of a speller between steps, as a transformers `Cache`.

Notable here:
- the memory is the utterance's and is held once, however many hypotheses attend to it;
- whatever follows a hypothesis is in the state or among the companions, and `reorder_cache` moves all of it;
- of eight beams some five have different parents: on a CPU the others are not multiplied again, so what feeds the next
  step is not moved, only looked up when it is needed.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn
from transformers import Cache

from .checks import on_host
from .companion_cache import CACHE, Companions, given_cache
from .mixed_product import MixedProduct, mixes
from .packed_linear import call, is_plain
from .speller_attention import Memory


@dataclass
class Feed:
    """What a step hands to the first layer of the next, beside the token.

    Shapes: `context` `(any, memory_size)`, or the weights that mix it, `(any, keys)`, where no more is needed;
    `hidden` `(any, speller_hidden_size)`; `rows` `(batch,)`, which of them a hypothesis continues, default: its own.
    """

    context: torch.Tensor
    hidden: torch.Tensor
    rows: torch.Tensor | None = None

    def reordered(self, index: torch.Tensor) -> "Feed":
        """With hypothesis `index[i]` in row `i`."""
        return replace(self, rows=index if self.rows is None else self.rows.index_select(0, index))

    def distinct(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Which rows are continued, in their order, default: all; and where among those a hypothesis finds its own.

        Hypotheses that continue the same one are one until their next tokens. An accelerator, which would have to be
        waited for, is not asked which those are: there every hypothesis gets its row, and the place is None.
        """
        if self.rows is None or not on_host(self.rows) or torch.jit.is_tracing():
            return self.rows, None
        return self.rows.unique(return_inverse=True)


@dataclass
class SpellerState:
    """Everything that follows a hypothesis from step to step; every tensor has the batch first.

    Shapes: `hidden` and `cell`, per layer `(batch, speller_hidden_size)`; `weights` `(batch, heads, 1, keys)`, the
    attention of the step before; `feed`, what the first layer takes of it.
    """

    hidden: tuple[torch.Tensor, ...]
    cell: tuple[torch.Tensor, ...]
    weights: torch.Tensor
    feed: Feed


class LasCache(Companions, Cache):
    """The speller's state and the memory it attends to, passed as `cache` or `past_key_values`.

    Beam search reorders the state: hidden and cell states, *and* the context and weights that feed the next step, and
    the states of the companions. The memory is the utterance's, not the hypothesis's, and stays where it is.

    Args:
        memory: The listener's states, prepared for attention: of utterances.
        state: The state after `seen_tokens` decoder inputs: of their hypotheses, one after the other.
        seen_tokens: Decoder inputs consumed so far.
        weights: The speller's weights as its steps use them, kept while decoding.
    """

    def __init__(self, memory: Memory, state: SpellerState, seen_tokens: int = 0, weights: Any = None) -> None:
        super().__init__(layers=[])
        self.memory = memory
        self.state = state
        self.seen_tokens = seen_tokens
        self.weights = weights

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Decoder inputs consumed so far."""
        return self.seen_tokens

    @property
    def is_compileable(self) -> bool:
        """False: the state is replaced at every step, not written in place."""
        return False

    @property
    def is_initialized(self) -> bool:
        """True: a cache is made with its first state."""
        return True

    @property
    def is_croppable(self) -> bool:
        """False: a recurrent state does not tell what it was some tokens ago."""
        return False

    @property
    def batch_size(self) -> int:
        """Hypotheses held."""
        return len(self.state.weights)

    def output(self, layer: nn.Module, tanh: nn.Module, states: torch.Tensor) -> torch.Tensor:
        """`tanh(layer(states))` for what the last step gave, `(batch, targets, speller_hidden_size + memory_size)`.

        With `weights.output` the contexts of a single step may be missing.
        """
        weights, values = self.weights, self.memory.values
        if weights is None:
            return call(layer, states, tanh)
        if weights.output is None and weights.mixed is not None and self._mixes_output(layer, tanh):
            over_rest, over_context = cast(nn.Linear, layer).weight.tensor_split([-values.shape[-1]], dim=1)
            weights.output = MixedProduct(over_context, over_rest, values, cast(nn.Linear, layer).bias)
        if weights.output is None or states.shape[1] != 1:
            return weights.linears(layer, states, tanh)
        attended = self.state.weights[:, 0, 0]  # those of the last step, of which there is one head
        return weights.output(attended, states[:, 0, : weights.output.rest.inputs], bent=True)[:, None]

    def _mixes_output(self, layer: nn.Module, tanh: nn.Module) -> bool:
        values = self.memory.values
        plain = is_plain(layer, nn.Linear) and is_plain(tanh, nn.Tanh)
        return plain and mixes(values, self.batch_size // len(values), *layer.parameters())

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Let row `i` continue the hypothesis that stood in row `beam_idx[i]`, `(batch,)`."""
        index = beam_idx.to(self.state.weights.device)
        self.state = SpellerState(
            hidden=tuple(h.index_select(0, index) for h in self.state.hidden),
            cell=tuple(c.index_select(0, index) for c in self.state.cell),
            weights=self.state.weights.index_select(0, index),
            feed=self.state.feed.reordered(index),
        )
        self.reorder_companions(index)


__all__ = ["CACHE", "LasCache", "SpellerState", "given_cache"]
