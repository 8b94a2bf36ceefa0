"""What the encoder of patches hands to a decoder, and the states under a CTC head beside it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.utils import ModelOutput

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .patches import own_columns
from .pooling import pool_columns
from .spectrogram_outputs import SpectrogramTransformerOutput


@dataclass
class HeardPatches(ModelOutput):
    """What the encoder heard.

    Shapes: `last_hidden_state` `(batch, tokens, hidden)`, class tokens first, then patch `row * columns + column`;
    `mask` `(batch, tokens)` boolean, True on real tokens, or None where all are; `frames` `(batch,)`, real frames of
    the features; `ctc_states` `(batch, columns, hidden)` with `ctc_mask` `(batch, columns)`, the mean over frequency,
    where there is a CTC head; `hidden_states` and `attentions` when asked for, as in transformers.
    """

    last_hidden_state: torch.Tensor = None  # type: ignore[assignment]  # a ModelOutput's fields have defaults
    mask: torch.Tensor | None = None
    frames: torch.Tensor | None = None
    ctc_states: torch.Tensor | None = None
    ctc_mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


def as_heard(
    outputs: Any,
    config: SpectrogramTransformerConfig,
    ctc: bool,
    attention_mask: torch.Tensor | None = None,
    frames: int | None = None,
) -> HeardPatches:
    """What stands for `encoder_outputs`, the encoder's own output or a tuple, as ours.

    Args:
        outputs: Its first entry is `(batch, tokens, hidden)`.
        config: The encoder's.
        ctc: Give the states under a CTC head.
        attention_mask: `(batch, frames)` of the features; default: what `outputs` say of themselves, else all real.
        frames: Of the padded features; default: as many as the tokens tell, which patchout leaves none for.
    """
    if isinstance(outputs, HeardPatches):
        return outputs
    states, classes, rows = outputs[0], config.num_class_tokens or 0, config.frequency_patches
    columns = (states.shape[1] - classes) // rows if frames is None else config.time_patches(frames)
    index = None
    if isinstance(outputs, SpectrogramTransformerOutput):
        mask, index = outputs.patch_mask, outputs.patch_index
    else:
        mask = None if attention_mask is None else _token_mask(attention_mask.to(states.device), config, columns)
    heard = HeardPatches(states, mask, _frames(mask, attention_mask, config, states, columns))
    if isinstance(outputs, ModelOutput):
        heard.hidden_states, heard.attentions = outputs.get("hidden_states"), outputs.get("attentions")
    if ctc:
        patch_mask = None if mask is None else mask[:, classes:]
        heard.ctc_states, heard.ctc_mask = pool_columns(states[:, classes:], patch_mask, index, rows, columns)
    return heard


def _token_mask(attention_mask: torch.Tensor, config: SpectrogramTransformerConfig, columns: int) -> torch.Tensor:
    """Real tokens `(batch, tokens)` of features with mask `(batch, frames)`, as the encoder finds them."""
    real = torch.arange(columns, device=attention_mask.device) < own_columns(config, attention_mask.sum(-1))[:, None]
    real = real.repeat(1, config.frequency_patches)
    return nn.functional.pad(real, (config.num_class_tokens or 0, 0), value=True)


def _frames(
    mask: torch.Tensor | None,
    attention_mask: torch.Tensor | None,
    config: SpectrogramTransformerConfig,
    states: torch.Tensor,
    columns: int,
) -> torch.Tensor:
    """Real frames of each clip, `(batch,)`: of the features, or at least those that its columns cover."""
    if attention_mask is not None:
        return attention_mask.sum(-1)
    if mask is None:
        own = torch.full((len(states),), columns, device=states.device)
    else:
        own = mask[:, config.num_class_tokens or 0 :].sum(-1) // config.frequency_patches
    return (own - 1) * config.patch_stride[1] + config.patch_size[1]


__all__ = ["HeardPatches", "as_heard"]
