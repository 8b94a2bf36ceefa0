"""Models small enough for tests, with weights large enough that every part changes the output."""

from typing import Any

import torch

from aural import LasConfig, LasForConditionalGeneration

MELS = 6
VOCABULARY = 9
VARIANTS: dict[str, dict[str, Any]] = {  # every way in which a speller can attend
    "dot": {"attention_kind": "dot"},
    "additive": {"attention_kind": "additive"},
    "location": {"attention_kind": "location"},
    "multihead": {"attention_kind": "multihead", "attention_heads": 2},
    "none": {"attention_kind": "none"},
    "first": {"query_layer": "first"},
    "slots": {"memory_slots": 3},
}


def tiny_config(**overrides: Any) -> LasConfig:
    """A LAS of a few thousand weights: two listener layers, 4 frames per state."""
    options: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "num_mel_bins": MELS,
        "listener_hidden_size": 8,
        "listener_time_reductions": [2, 2],
        "attention_kind": "location",
        "attention_size": 10,
        "location_channels": 3,
        "location_kernel_size": 5,
        "speller_layers": 2,
        "speller_hidden_size": 12,
        "speller_embedding_size": 7,
        "speller_output_size": 11,
    }
    return LasConfig(**{**options, **overrides})


def tiny_las(seed: int = 0, scale: float = 1.0, **overrides: Any) -> LasForConditionalGeneration:
    """A model in eval mode whose weights are drawn with standard deviation `scale`, so that nothing is near zero."""
    torch.manual_seed(seed)
    model = LasForConditionalGeneration(tiny_config(**overrides)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, scale)
    return model


def clips(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(batch, frames, mels)` and mask `(batch, frames)` of clips of the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(lengths), max(lengths), MELS, generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return features * mask[..., None], mask
