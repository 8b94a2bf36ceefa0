"""The state of a speller between steps, as a transformers `Cache`.

Notable here:
- the memory is the utterance's and is held once, however many hypotheses attend to it;
- whatever follows a hypothesis is in the state or among the companions, and `reorder_cache` moves all of it;
- companions score the next token beside the speller: `added` is what they add to its log probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import Cache
from transformers.modeling_outputs import Seq2SeqLMOutput

from .ctc_prefix import LOG_ZERO
from .speller_attention import Memory

# What the installed transformers calls the cache in arguments and outputs: 5.24 renamed `past_key_values` to `cache`.
CACHE = "cache" if "cache" in Seq2SeqLMOutput.__dataclass_fields__ else "past_key_values"


@dataclass
class SpellerState:
    """Everything that follows a hypothesis from step to step; every tensor has the batch first.

    Shapes: `hidden` and `cell`, per layer `(batch, speller_hidden_size)`; `context` `(batch, memory_size)`;
    `weights` `(batch, heads, 1, keys)`, the attention of the step before; `share` `(batch, 4 speller_hidden_size)`,
    that of the context in the first layer's gates, where decoding keeps tables and a step was taken.
    """

    hidden: tuple[torch.Tensor, ...]
    cell: tuple[torch.Tensor, ...]
    context: torch.Tensor
    weights: torch.Tensor
    share: torch.Tensor | None = None


@dataclass
class Step:
    """What a decoding step tells companions; every tensor has a row per hypothesis.

    Shapes: `inputs` `(rows, new)`, the decoder inputs since the step before, the start token first of all; `written`,
    the same without the start token; `log_probs` `(rows, vocabulary)`, the speller's for the next token; `attention`
    `(rows, heads, new, listener frames)`.
    """

    inputs: torch.Tensor
    written: torch.Tensor
    log_probs: torch.Tensor
    attention: torch.Tensor


class Companion(Protocol):
    """What scores hypotheses beside the speller, such as a language model; its state follows them in the cache."""

    def follow(self, step: Step) -> torch.Tensor:
        """Read what was written, and give what is added to the score of each next token.

        Returns:
            `(rows, vocabulary)`, or `(rows, 1)` for what does not depend on the token.
        """

    def reorder(self, index: torch.Tensor) -> None:
        """Let row `i` continue the hypothesis that stood in row `index[i]`."""


class LasCache(Cache):
    """The speller's state and the memory it attends to, passed as `cache` or `past_key_values`.

    Beam search reorders the state: hidden and cell states, *and* the context and weights that feed the next step, and
    the states of the companions. The memory is the utterance's, not the hypothesis's, and stays where it is.

    Args:
        memory: The listener's states, prepared for attention: of utterances.
        state: The state after `seen_tokens` decoder inputs: of their hypotheses, one after the other.
        seen_tokens: Decoder inputs consumed so far.
        weights: The speller's weights as its steps use them, kept while decoding.

    Attributes:
        companions: What scores beside the speller; at first nothing.
        options: What they were made with.
        added: What they add to the scores of the next tokens, `(rows, vocabulary)`.
    """

    def __init__(self, memory: Memory, state: SpellerState, seen_tokens: int = 0, weights: Any = None) -> None:
        super().__init__(layers=[])
        self.memory = memory
        self.state = state
        self.seen_tokens = seen_tokens
        self.weights = weights
        self.companions: Sequence[Companion] = ()
        self.options: Any = None
        self.added: torch.Tensor | None = None

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

    def follow(self, inputs: torch.Tensor | None, logits: torch.Tensor, attention: torch.Tensor) -> None:
        """Let the companions read the decoder inputs that the speller just read, and score the next token.

        Sets `added` `(rows, vocabulary)`, to be added to the speller's log probabilities (`AddCompanions`).

        Args:
            inputs: `(rows, new)`.
            logits: The speller's for the next token, `(rows, vocabulary)`.
            attention: `(rows, heads, new, listener frames)`.

        Raises:
            ValueError: No inputs.
        """
        if inputs is None:
            raise ValueError("decoder_input_ids=None: a cache that scores beside the speller reads them; pass them")
        written = inputs[:, 1:] if self.seen_tokens == inputs.shape[1] else inputs
        log_probs = logits.float().log_softmax(dim=-1).clamp(min=LOG_ZERO)
        step = Step(inputs, written, log_probs, attention)
        added = torch.zeros_like(log_probs)
        for companion in self.companions:
            added = added + companion.follow(step).to(added.dtype)
        self.added = added.clamp(min=LOG_ZERO)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Let row `i` continue the hypothesis that stood in row `beam_idx[i]`, `(batch,)`."""
        index = beam_idx.to(self.state.context.device)
        self.state = SpellerState(
            hidden=tuple(h.index_select(0, index) for h in self.state.hidden),
            cell=tuple(c.index_select(0, index) for c in self.state.cell),
            context=self.state.context.index_select(0, index),
            weights=self.state.weights.index_select(0, index),
            share=None if self.state.share is None else self.state.share.index_select(0, index),
        )
        for companion in self.companions:
            companion.reorder(index)


def given_cache(cache: LasCache | None, past_key_values: LasCache | None) -> LasCache | None:
    """The cache that a caller passed under either of its names, or None.

    Raises:
        ValueError: Both are given.
    """
    if cache is not None and past_key_values is not None:
        raise ValueError("cache and past_key_values are two names of one argument: pass one of them")
    return past_key_values if cache is None else cache
