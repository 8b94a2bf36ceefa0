"""How long a LAS text may get: a limit per clip that follows from the clip's own frames."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers.generation import GenerationConfig, LogitsProcessor

from .configuration_las import LasConfig
from .modeling_listener import ListenerOutput

NUM_BEAMS = 4
MAX_LENGTH = 4096  # tokens; the limit that follows from the frames comes first for any clip under two minutes
MAX_TOKENS_PER_SECOND = 30.0  # fast speech has about 20 characters a second
MIN_LIMIT = 16  # tokens, so that a very short clip can still hold a word


def token_limits(
    features: torch.Tensor | None,
    mask: torch.Tensor | None,
    encoder_outputs: ListenerOutput | None,
    config: LasConfig,
    rate: float,
) -> torch.Tensor:
    """Most tokens per clip, `(batch,)`: `rate` per second of its real frames, at least 16.

    Args:
        features: `(batch, frames, mels)`, or None with `encoder_outputs`.
        mask: `(batch, frames)`, 1 on real frames.
        encoder_outputs: What the listener returned, when the features are not at hand.
        config: Gives seconds per frame.
        rate: Tokens per second.

    Raises:
        ValueError: `rate` is not above 0.
    """
    if not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"max_tokens_per_second={rate} must be above 0 (or None for no limit)")
    if encoder_outputs is not None:
        seconds = encoder_outputs.mask.sum(-1) * config.seconds_per_listener_frame
    else:
        assert features is not None
        frames = torch.full(features.shape[:1], features.shape[1], device=features.device)
        seconds = (frames if mask is None else mask.sum(-1)) * (config.frame_shift_ms / 1000)
    return (seconds * rate).ceil().long().clamp(min=MIN_LIMIT)


class EndByLength(LogitsProcessor):
    """Leaves only `<eos>` once a row has as many tokens as its clip allows.

    Args:
        limits: `(clips,)`, most tokens per clip, the start token not counted.
        eos_token_id: The end that is left.
    """

    def __init__(self, limits: torch.Tensor, eos_token_id: int) -> None:
        self.limits = limits
        self.eos = eos_token_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Scores `(clips * beams, vocabulary)` after tokens `(clips * beams, length)`."""
        limits = self.limits.to(scores.device).repeat_interleave(scores.shape[0] // len(self.limits))
        ended = torch.full_like(scores, -torch.inf)
        # At its own price: a hypothesis that runs into its limit must not end more cheaply than one that ended itself.
        ended[:, self.eos] = scores[:, self.eos].clamp(min=torch.finfo(scores.dtype).min)
        return torch.where((input_ids.shape[1] - 1 >= limits)[:, None], ended, scores)


def end_by_length(
    config: LasConfig,
    generation_configs: Sequence[GenerationConfig | None],
    features: torch.Tensor | None,
    attention_mask: torch.Tensor | None = None,
    encoder_outputs: ListenerOutput | None = None,
    **options: Any,
) -> EndByLength | None:
    """The limit for the clips of one `generate` call; None where it is lifted, or where nothing can end a text.

    Args:
        config: The model's.
        generation_configs: The caller's and the model's; the first that says something counts, after `options`.
        features, attention_mask, encoder_outputs: As in `token_limits`.
        options: What the caller passed to `generate` by name, such as `max_tokens_per_second` and `eos_token_id`.
    """
    said = [options, *(vars(c) for c in generation_configs if c is not None)]
    rate = next((d["max_tokens_per_second"] for d in said if "max_tokens_per_second" in d), MAX_TOKENS_PER_SECOND)
    ends = next((d["eos_token_id"] for d in said if d.get("eos_token_id") is not None), config.eos_token_id)
    end = -1 if ends is None else int(torch.as_tensor(ends).flatten()[0])
    if rate is None or not 0 <= end < config.vocab_size:
        return None
    return EndByLength(token_limits(features, attention_mask, encoder_outputs, config, rate), end)
