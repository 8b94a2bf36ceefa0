"""The state of a speller between steps, as a transformers `Cache`."""

from dataclasses import dataclass

import torch
from transformers import Cache
from transformers.modeling_outputs import Seq2SeqLMOutput

from .modeling_attention import Memory

# What the installed transformers calls the cache in arguments and outputs: 5.24 renamed `past_key_values` to `cache`.
CACHE = "cache" if "cache" in Seq2SeqLMOutput.__dataclass_fields__ else "past_key_values"


@dataclass
class SpellerState:
    """Everything that follows a hypothesis from step to step; every tensor has the batch first.

    Shapes: `hidden` and `cell`, per layer `(batch, speller_hidden_size)`; `context` `(batch, memory_size)`;
    `weights` `(batch, heads, 1, keys)`, the attention of the step before.
    """

    hidden: tuple[torch.Tensor, ...]
    cell: tuple[torch.Tensor, ...]
    context: torch.Tensor
    weights: torch.Tensor


class LasCache(Cache):
    """The speller's state and the memory it attends to, passed as `cache` or `past_key_values`.

    Beam search reorders the state: hidden and cell states, *and* the context and weights that feed the next step. The
    memory is the utterance's, not the hypothesis's, and stays where it is, as `encoder_outputs` does.

    Args:
        memory: The listener's states, prepared for attention.
        state: The state after `seen_tokens` decoder inputs.
        seen_tokens: Decoder inputs consumed so far.
    """

    def __init__(self, memory: Memory, state: SpellerState, seen_tokens: int = 0) -> None:
        super().__init__(layers=[])
        self.memory = memory
        self.state = state
        self.seen_tokens = seen_tokens

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
        )


def given_cache(cache: LasCache | None, past_key_values: LasCache | None) -> LasCache | None:
    """The cache that a caller passed under either of its names, or None.

    Raises:
        ValueError: Both are given.
    """
    if cache is not None and past_key_values is not None:
        raise ValueError("cache and past_key_values are two names of one argument: pass one of them")
    return past_key_values if cache is None else cache
