"""The state of a speller between steps, as a transformers `Cache`.

Notable here:
- the memory is the utterance's and is held once, however many hypotheses attend to it;
- whatever follows a hypothesis is in the state or among the companions, and `reorder_cache` moves all of it;
- of eight beams some five have different parents: on a CPU the others are not multiplied again.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache

from .modeling_checks import on_host
from .modeling_companion_cache import CACHE, Companions, given_cache
from .modeling_speller_attention import Memory


@dataclass
class Twins:
    """Hypotheses that continue the same one: until their next tokens they are one, and multiplied once.

    Shapes: `inputs` `(distinct, memory_size + speller_hidden_size)`, what the first layer takes beside the token: each
    different context with its hidden state; `place` `(batch,)`, where among them a hypothesis finds its own.
    """

    inputs: torch.Tensor
    place: torch.Tensor


@dataclass
class SpellerState:
    """Everything that follows a hypothesis from step to step; every tensor has the batch first.

    Shapes: `hidden` and `cell`, per layer `(batch, speller_hidden_size)`; `context` `(batch, memory_size)`;
    `weights` `(batch, heads, 1, keys)`, the attention of the step before; `twins`, where some continue the same.
    """

    hidden: tuple[torch.Tensor, ...]
    cell: tuple[torch.Tensor, ...]
    context: torch.Tensor
    weights: torch.Tensor
    twins: Twins | None = None


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
        return self.state.context.shape[0]

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Let row `i` continue the hypothesis that stood in row `beam_idx[i]`, `(batch,)`."""
        index = beam_idx.to(self.state.context.device)
        self.state = SpellerState(
            hidden=tuple(h.index_select(0, index) for h in self.state.hidden),
            cell=tuple(c.index_select(0, index) for c in self.state.cell),
            context=self.state.context.index_select(0, index),
            weights=self.state.weights.index_select(0, index),
            twins=self._twins(index),
        )
        self.reorder_companions(index)

    def _twins(self, index: torch.Tensor) -> Twins | None:
        """Which rows become the same; an accelerator, which would have to be waited for, is not asked."""
        if not on_host(index) or torch.jit.is_tracing():
            return None
        distinct, place = index.unique(return_inverse=True)
        if len(distinct) == len(index):
            return None
        return Twins(torch.cat([self.state.context, self.state.hidden[0]], dim=-1).index_select(0, distinct), place)


__all__ = ["CACHE", "LasCache", "SpellerState", "given_cache"]
