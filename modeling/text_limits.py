"""Where a text ends: at a length that follows from the clip's own frames, and not before the decoder means it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from transformers.generation import LogitsProcessor

from .checks import on_host

NUM_BEAMS = 4
MAX_LENGTH = 4096  # tokens; the limit that follows from the frames comes first for any clip under two minutes
MAX_TOKENS_PER_SECOND = 30.0  # fast speech has about 20 characters a second
MIN_LIMIT = 16  # tokens, so that a very short clip can still hold a word


class Ending(Protocol):
    """What a config tells of the ends of its texts."""

    eos_token_id: int | list[int] | None

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary."""


def token_limits(seconds: torch.Tensor, rate: float) -> torch.Tensor:
    """Most tokens per clip, `(clips,)`: `rate` per second of it, at least 16.

    Args:
        seconds: How long each clip is, `(clips,)`.
        rate: Tokens per second.

    Raises:
        ValueError: `rate` is not above 0.
    """
    if not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"max_tokens_per_second={rate} must be above 0 (or None for no limit)")
    return (seconds * rate).ceil().long().clamp(min=MIN_LIMIT)


def frame_counts(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Real frames of features `(clips, frames, mels)` with mask `(clips, frames)` or None: `(clips,)`."""
    if mask is not None:
        return mask.sum(-1)
    return torch.full(features.shape[:1], features.shape[1], device=features.device)


class EndByLength(LogitsProcessor):
    """Leaves only `<eos>` once a row has as many tokens as its clip allows.

    Args:
        limits: `(clips,)`, most tokens per clip, the start token not counted.
        eos_token_id: The end that is left.
    """

    def __init__(self, limits: torch.Tensor, eos_token_id: int) -> None:
        self.limits = limits
        self.eos = eos_token_id
        self.least = int(limits.min()) if on_host(limits) and len(limits) else 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Scores `(clips * beams, vocabulary)` after tokens `(clips * beams, length)`."""
        written = input_ids.shape[1] - 1  # the start token is not counted
        if written < self.least:
            return scores
        limits = self.limits.to(scores.device).repeat_interleave(scores.shape[0] // len(self.limits))
        ended = torch.full_like(scores, -torch.inf)
        # At its own price: a hypothesis that runs into its limit must not end more cheaply than one that ended itself.
        ended[:, self.eos] = scores[:, self.eos].clamp(min=torch.finfo(scores.dtype).min)
        return torch.where((written >= limits)[:, None], ended, scores)


class EndThreshold(LogitsProcessor):
    """Lets a text end only where the end is likely enough beside the likeliest other token.

    An end is allowed where ln p(end) > threshold · max ln p(other): the end-of-sentence threshold of Hannun et al.
    2019 (arXiv:1904.02619), against texts that stop early. Above 1 the end may be less likely than the best
    other token, below 1 it must be likelier. Where only ends are left, as at a limit, one is allowed.

    Args:
        threshold: Above 0.
        ends: Which tokens are ends, `(vocabulary,)` boolean.
    """

    def __init__(self, threshold: float, ends: torch.Tensor) -> None:
        self.threshold, self.ends = threshold, ends

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Scores `(rows, vocabulary)` after tokens `(rows, length)`."""
        ends, log_probs = self.ends.to(scores.device), scores.log_softmax(dim=-1)
        best = log_probs.masked_fill(ends, -torch.inf).amax(dim=-1, keepdim=True)
        return scores.masked_fill(ends & (log_probs <= self.threshold * best), -torch.inf)


def first_said(name: str, said: Sequence[Mapping[str, Any]], default: Any = None) -> Any:
    """The first value of `name` in `said` that is not None, or `default`."""
    return next((d[name] for d in said if d.get(name) is not None), default)


def end_ids(config: Ending, said: Sequence[Mapping[str, Any]]) -> list[int]:
    """The ids of the vocabulary that end a text in one `generate` call.

    Args:
        config: The model's, for where nothing is said.
        said: What the caller passed, and the generation configs, as dicts; the first that says something counts.
    """
    ends = first_said("eos_token_id", said, config.eos_token_id)
    ids = ends.flatten().tolist() if isinstance(ends, torch.Tensor) else ends if isinstance(ends, list) else [ends]
    return [end for end in ids if end is not None and 0 <= end < config.vocab_size]


def ids_on(device: torch.device, ids: Sequence[int]) -> torch.Tensor:
    """Token ids as a tensor `(ids,)` on `device`, for which, unlike a list that is copied, nobody waits."""
    each = [torch.full((1,), token, dtype=torch.long, device=device) for token in ids]
    return torch.cat(each) if each else torch.empty(0, dtype=torch.long, device=device)


def end_by_length(config: Ending, said: Sequence[Mapping[str, Any]], seconds: torch.Tensor) -> EndByLength | None:
    """The limit for the clips of one `generate` call; None where it is lifted, or where nothing can end a text.

    Args:
        config: The model's.
        said: What the caller passed, and the generation configs, as dicts; the first that says something counts.
        seconds: How long each clip is, `(clips,)`.
    """
    rate = said_rate(said)
    ends = end_ids(config, said)
    if rate is None or not ends:
        return None
    return EndByLength(token_limits(seconds, rate), ends[0])


def said_rate(said: Sequence[Mapping[str, Any]]) -> float | None:
    """Tokens per second that one `generate` call allows; None, which can be said too: any number."""
    return next((d["max_tokens_per_second"] for d in said if "max_tokens_per_second" in d), MAX_TOKENS_PER_SECOND)
