"""What every cache of aural is beside a cache: companions score the next token beside the decoder, and follow it.

Notable here:
- whatever follows a hypothesis lies in the cache, since beam search tells only the cache where a hypothesis went on;
- `added` is what the companions add to the log probabilities of the next tokens (`companions.AddCompanions`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import Seq2SeqLMOutput

from .modeling_ctc_prefix import LOG_ZERO

# What the installed transformers calls the cache in arguments and outputs: 5.24 renamed `past_key_values` to `cache`.
CACHE = "cache" if "cache" in Seq2SeqLMOutput.__dataclass_fields__ else "past_key_values"


@dataclass
class Step:
    """What a decoding step tells companions; every tensor has a row per hypothesis.

    Shapes: `inputs` `(rows, new)`, the decoder inputs since the step before, the start token first of all; `written`,
    the same without the start token; `log_probs` `(rows, vocabulary)`, the decoder's for the next token; `attention`
    `(rows, heads, new, keys)`, or None where no companion reads it.
    """

    inputs: torch.Tensor
    written: torch.Tensor
    log_probs: torch.Tensor
    attention: torch.Tensor | None


class Companion(Protocol):
    """What scores hypotheses beside the decoder, such as a language model; its state follows them in the cache."""

    reads_attention: bool

    def follow(self, step: Step) -> torch.Tensor:
        """Read what was written, and give what is added to the score of each next token.

        Returns:
            `(rows, vocabulary)`, or `(rows, 1)` for what does not depend on the token.
        """

    def reorder(self, index: torch.Tensor) -> None:
        """Let row `i` continue the hypothesis that stood in row `index[i]`."""


class Companions:
    """Mixin, named before the transformers class, for caches that companions live in.

    Attributes:
        companions: What scores beside the decoder; at first nothing.
        options: What they were made with.
        added: What they add to the scores of the next tokens, `(rows, vocabulary)`.
    """

    companions: Sequence[Companion] = ()
    options: Any = None
    added: torch.Tensor | None = None

    @property
    def reads_attention(self) -> bool:
        """Whether a companion reads where the decoder attends."""
        return any(companion.reads_attention for companion in self.companions)

    def follow(self, inputs: torch.Tensor | None, logits: torch.Tensor, attention: torch.Tensor | None) -> None:
        """Let the companions read the decoder inputs that were just read, and score the next token.

        Sets `added` `(rows, vocabulary)`, to be added to the decoder's log probabilities (`AddCompanions`).

        Args:
            inputs: `(rows, new)`.
            logits: The decoder's for the next token, `(rows, vocabulary)`.
            attention: `(rows, heads, new, keys)`; None is allowed where no companion reads it.

        Raises:
            ValueError: No inputs.
        """
        if inputs is None:
            raise ValueError("decoder_input_ids=None: a cache that scores beside the decoder reads them; pass them")
        first = self.get_seq_length() == inputs.shape[1]  # type: ignore[attr-defined]
        written = inputs[:, 1:] if first else inputs
        log_probs = logits.float().log_softmax(dim=-1).clamp(min=LOG_ZERO)
        step = Step(inputs, written, log_probs, attention)
        added = torch.zeros_like(log_probs)
        for companion in self.companions:
            added = added + companion.follow(step).to(added.dtype)
        self.added = added.clamp(min=LOG_ZERO)

    def reorder_companions(self, index: torch.Tensor) -> None:
        """Let row `i` of every companion continue the hypothesis that stood in row `index[i]`."""
        for companion in self.companions:
            companion.reorder(index)


class TextCache(Companions, EncoderDecoderCache):
    """Keys and values of a transformer decoder: of the texts so far, and of the memory that they attend to.

    Beam search reorders the texts and the companions. The memory's stay where they are: they are the utterance's, and
    hypotheses never leave their utterance.
    """

    def __init__(self) -> None:
        super().__init__(DynamicCache(), DynamicCache())

    @property
    def is_croppable(self) -> bool:
        """Whether `crop` can take tokens back: not what companions have read."""
        return super().is_croppable and not self.companions

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Let row `i` continue the hypothesis that stood in row `beam_idx[i]`, `(rows,)`."""
        self.self_attention_cache.reorder_cache(beam_idx)
        self.reorder_companions(beam_idx)


AnyCache = TypeVar("AnyCache", bound=Cache)


def given_cache(cache: AnyCache | None, past_key_values: AnyCache | None) -> AnyCache | None:
    """The cache that a caller passed under either of its names, or None.

    Raises:
        ValueError: Both are given.
    """
    if cache is not None and past_key_values is not None:
        raise ValueError("cache and past_key_values are two names of one argument: pass one of them")
    return past_key_values if cache is None else cache
