"""Masked pre-training against a supervised step of the same width: forward and backward of one clip of 10 s."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from aural import (
    SpectrogramTransformerConfig,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForPreTraining,
)

from .timing import medians

MELS, FRAMES = 128, 1024  # 10 s, as AST cuts them: 1,212 patches
MASKED = 0.8


def bench() -> Iterator[dict[str, Any]]:
    """Seconds per step of each objective, small size, in float32."""
    torch.manual_seed(0)
    clip = torch.randn(1, FRAMES, MELS)
    supervised = SpectrogramTransformerForAudioClassification(_config(num_labels=527)).train()
    objectives = ("masked_autoencoder", "discriminative_generative")
    learners = [
        SpectrogramTransformerForPreTraining(_config(pretraining_objective=each)).train() for each in objectives
    ]
    with torch.no_grad():
        kept = int((~learners[0](clip).mask).sum())

    def step(model: torch.nn.Module, **labels: torch.Tensor) -> None:
        model.zero_grad()
        model(clip, **labels).loss.backward()

    theirs, autoencoder, joint = medians(
        5, partial(step, supervised, labels=torch.tensor([0])), *(partial(step, learner) for learner in learners)
    )
    against = "small size, 10 s, against a supervised step"
    yield _row(f"masked autoencoder that keeps {kept} of 1,212 patches, {against}", autoencoder, theirs, 3)
    yield _row(f"SSAST's objective, which runs every patch, {against}", joint, theirs, None)


def _config(**options: Any) -> SpectrogramTransformerConfig:
    return SpectrogramTransformerConfig.from_preset("small", mask_ratio=MASKED, **options)


def _row(name: str, ours: float, theirs: float, bar: float | None) -> dict[str, Any]:
    return {"name": name, "ours": ours, "theirs": theirs, "unit": "seconds", "ratio": theirs / ours, "bar": bar}
