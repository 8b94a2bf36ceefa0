"""What the encoder of spectrograms, and the head that scores moments, return."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class SpectrogramTransformerOutput(ModelOutput):
    """What the encoder heard.

    Shapes: `last_hidden_state` `(batch, tokens, hidden)`, class tokens first, then patch `row * columns + column`;
    `pooler_output` `(batch, hidden)`; `patch_mask` `(batch, tokens)` boolean, True on real tokens, or None where all
    are; `patch_index` `(batch, patches)`, the places of the patches that patchout kept, or None; `hidden_states` and
    `attentions` when asked for, as in transformers.
    """

    last_hidden_state: torch.Tensor = None  # type: ignore[assignment]  # a ModelOutput's fields have defaults
    pooler_output: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    patch_mask: torch.Tensor | None = None
    patch_index: torch.Tensor | None = None


@dataclass
class FrameClassifierOutput(ModelOutput):
    """Scores of moments.

    Shapes: `logits` `(batch, columns, labels)`, one row per time patch; `clip_logits` `(batch, labels)`, pooled by
    `config.frame_pooling`; `frame_mask` `(batch, columns)` boolean, True on real columns.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor = None  # type: ignore[assignment]
    clip_logits: torch.Tensor | None = None
    frame_mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
