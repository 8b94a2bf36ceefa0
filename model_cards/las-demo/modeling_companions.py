"""What scores a hypothesis beside the decoder: CTC, a language model, an n-gram, coverage.

Each is a companion of the cache (`companion_cache.Companion`): it holds a state per hypothesis, reads the tokens as
they are written, and gives what it adds to the score of each next token. What they add is summed there, and
`AddCompanions` brings it to transformers' beam search, whose score of a text is then

    (1 - λ) ln p_decoder + λ ln p_CTC + γ ln p_lm + ν ln p_ngram + c coverage
"""

import inspect
from typing import Any

import torch
from transformers.generation import LogitsProcessor

from .modeling_companion_cache import CACHE, Companions, Step
from .modeling_ctc_prefix import LOG_ZERO, CtcPrefix
from .modeling_ngram_table import NGramTable


class CtcScores:
    """λ of the score is CTC's (Watanabe et al. 2017): adds λ (Δ ln p_CTC(prefix) - ln p_decoder).

    Args:
        prefix: Of the hypotheses, empty so far.
        weight: λ.
        candidates: How many tokens, the decoder's likeliest beside the ends, CTC looks at; default: all.
        no_words: Ids that are never candidates: the blank, and the ends, which CTC always looks at.
    """

    reads_attention = False

    def __init__(self, prefix: CtcPrefix, weight: float, candidates: int | None, no_words: torch.Tensor) -> None:
        self.prefix, self.weight, self.candidates, self.no_words = prefix, weight, candidates, no_words

    def follow(self, step: Step) -> torch.Tensor:
        for tokens in step.written.unbind(1):
            self.prefix.advance(tokens)
        candidates = None
        if self.candidates is not None:
            words = step.log_probs.index_fill(1, self.no_words, -torch.inf)
            candidates = words.topk(min(self.candidates, words.shape[1])).indices
        gained = self.prefix.scores(candidates) - self.prefix.score[:, None]  # (rows, vocabulary)
        return self.weight * (gained - step.log_probs)

    def reorder(self, index: torch.Tensor) -> None:
        self.prefix.reorder(index)


def cache_name(lm: Any) -> str | None:
    """What a language model calls its cache: as the installed transformers, or as older code; None: it takes none."""
    taken = inspect.signature(lm.forward).parameters
    return next((name for name in (CACHE, "cache", "past_key_values") if name in taken), None)


class LanguageModelScores:
    """Shallow fusion: adds γ ln p_lm(token | text). The model's own cache holds its state.

    Args:
        lm: A causal language model of transformers over the same ids, which reads the start token first.
        weight: γ.
    """

    reads_attention = False

    def __init__(self, lm: Any, weight: float) -> None:
        self.lm, self.weight = lm, weight
        self.name = cache_name(lm) or CACHE
        self.cache: Any = None

    def follow(self, step: Step) -> torch.Tensor:
        outputs = self.lm(input_ids=step.inputs, use_cache=True, **{self.name: self.cache})
        self.cache = outputs[self.name]
        return self.weight * outputs.logits[:, -1].float().log_softmax(dim=-1)

    def reorder(self, index: torch.Tensor) -> None:
        if self.cache is not None:
            self.cache.reorder_cache(index)


class NGramScores:
    """Adds ν ln p_ngram(token | text).

    Args:
        table: The n-gram over the same ids, where the hypotheses are.
        weight: ν.
        rows: Hypotheses.
    """

    reads_attention = False

    def __init__(self, table: NGramTable, weight: float, rows: int) -> None:
        self.table, self.weight = table, weight
        self.states = table.start_states(rows)

    def follow(self, step: Step) -> torch.Tensor:
        for tokens in step.written.unbind(1):
            self.states = self.table.advance(self.states, tokens)
        return self.weight * self.table.scores(self.states).clamp(min=LOG_ZERO)

    def reorder(self, index: torch.Tensor) -> None:
        self.states = self.states.index_select(0, index)


class CoverageScores:
    """Adds c for every key, such as a listener frame, whose attention summed over the text now exceeds a threshold.

    Chorowski and Jaitly 2016 (arXiv:1612.02695), section 2.3: a text that skips a part of the sound leaves its frames
    uncovered. Heads are averaged. It is the same for every next token, and so decides between hypotheses only. Unlike
    the other scores it rises, which transformers' rules for ending a beam search early do not expect.

    Args:
        weight: c, per key.
        threshold: τ, how much attention covers a key.
    """

    reads_attention = True

    def __init__(self, weight: float, threshold: float) -> None:
        self.weight, self.threshold = weight, threshold
        self.attended: torch.Tensor | None = None  # (rows, keys)

    def follow(self, step: Step) -> torch.Tensor:
        assert step.attention is not None  # this one reads it
        attention = step.attention.float().mean(1)  # (rows, new, keys)
        earlier = attention[:, :-1].sum(1)
        before = earlier if self.attended is None else self.attended + earlier
        self.attended = before + attention[:, -1]
        gained = covered(self.attended, self.threshold) - covered(before, self.threshold)
        return self.weight * gained[:, None]

    def reorder(self, index: torch.Tensor) -> None:
        if self.attended is not None:
            self.attended = self.attended.index_select(0, index)


def covered(attended: torch.Tensor, threshold: float) -> torch.Tensor:
    """How many keys have more than `threshold` of the summed attention `(rows, keys)`: `(rows,)`."""
    return (attended > threshold).sum(-1).to(attended.dtype)


class AddCompanions(LogitsProcessor):
    """Adds what the companions of one cache say to the scores of one `generate` call.

    In beam search those are log probabilities; in greedy search and sampling they are logits, which differ from them
    by a number per row that changes nothing there.

    Args:
        cache: The one that this call passes to the model.
    """

    def __init__(self, cache: Companions) -> None:
        self.cache = cache

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Scores `(rows, vocabulary)` after tokens `(rows, length)`."""
        assert self.cache.added is not None
        return scores + self.cache.added.to(scores.device)
