"""The listener of Listen, Attend and Spell: a pyramid of bidirectional LSTMs.

Notable here:
- never packs: a packed sequence misses oneDNN on a CPU and is about nine times slower. A bidirectional LSTM on padded
  rows is exact when the backward direction runs over each row *reversed inside its own length*: padding then follows
  the real frames in both directions and cannot reach them;
- lengths stay on the device: nothing here waits for the host;
- odd tails of the pyramid are padded with masked zeros, so the output length is the ceiling of the division.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers.utils import ModelOutput

from .configuration_las import LasConfig


@dataclass
class ListenerOutput(ModelOutput):
    """What the listener heard.

    Shapes: `last_hidden_state` `(batch, listener frames, memory_size)`, zeros on padding; `mask` `(batch, listener
    frames)` boolean, True on real states; `hidden_states`, one per layer;
    `ctc_states` `(batch, ctc frames, memory_size)` with `ctc_mask`, the layer under the CTC head where there is one.
    """

    last_hidden_state: torch.Tensor = None  # type: ignore[assignment]  # a ModelOutput's fields have defaults
    mask: torch.Tensor = None  # type: ignore[assignment]
    hidden_states: tuple[torch.Tensor, ...] | None = None
    ctc_states: torch.Tensor | None = None
    ctc_mask: torch.Tensor | None = None


def as_listened(
    outputs: "ListenerOutput | ModelOutput | tuple", attention_mask: torch.Tensor | None, reduction: int
) -> ListenerOutput:
    """What stands for `encoder_outputs` elsewhere in transformers, a tuple or an output without a mask, as ours.

    Args:
        outputs: Its first entry is `(batch, listener frames, memory_size)`.
        attention_mask: `(batch, frames)` of the features; default: all states are real.
        reduction: Frames per listener state.
    """
    if isinstance(outputs, ListenerOutput):
        return outputs
    states = outputs[0]
    if attention_mask is None:
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    else:
        mask = attention_mask.bool()[:, ::reduction]
    return ListenerOutput(last_hidden_state=states, mask=mask)


def reverse_within_length(states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Reverse each row's first `lengths` entries and leave the rest where they are.

    Args:
        states: `(batch, frames, size)`.
        lengths: `(batch,)`.
    """
    at = torch.arange(states.shape[1], device=states.device)
    index = torch.where(at < lengths[:, None], lengths[:, None] - 1 - at, at)  # (batch, frames)
    return states.gather(1, index[..., None].expand_as(states))


class BidirectionalLSTM(nn.Module):
    """A bidirectional LSTM layer on padded rows, equal to a packed `nn.LSTM(bidirectional=True)`.

    Args:
        input_size: Features per frame.
        hidden_size: LSTM size per direction; the output has twice as many features.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forward_lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.backward_lstm = nn.LSTM(input_size, hidden_size, batch_first=True)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States `(batch, frames, input_size)`, mask `(batch, frames)` → `(batch, frames, 2 hidden)`, 0 on padding."""
        lengths = mask.sum(-1)
        ahead, _ = self.forward_lstm(states)
        back, _ = self.backward_lstm(reverse_within_length(states, lengths))
        joined = torch.cat([ahead, reverse_within_length(back, lengths)], dim=-1)
        return joined.masked_fill(~mask[..., None], 0.0)


def stack_frames(states: torch.Tensor, mask: torch.Tensor, reduction: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Concatenate every `reduction` consecutive states; an odd tail is filled up with zeros.

    Args:
        states: `(batch, frames, size)`, zeros on padding.
        mask: `(batch, frames)`, True on real frames.
        reduction: States per output.

    Returns:
        `(batch, ceil(frames / reduction), reduction * size)` and its mask: an output is real when its first frame is.
    """
    if reduction == 1:
        return states, mask
    tail = -states.shape[1] % reduction
    states = nn.functional.pad(states, (0, 0, 0, tail))
    return states.unflatten(1, (-1, reduction)).flatten(2), mask[:, ::reduction]


class Listener(nn.Module):
    """The pyramidal BLSTM encoder of Chan et al. 2015 (arXiv:1508.01211), section 3.1."""

    main_input_name = "input_features"

    def __init__(self, config: LasConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [config.num_mel_bins] + [config.memory_size] * (config.listener_layers - 1)
        self.layers = nn.ModuleList(
            BidirectionalLSTM(size * reduction, config.listener_hidden_size)
            for size, reduction in zip(sizes, config.listener_time_reductions, strict=True)
        )
        self.dropout = nn.Dropout(config.listener_dropout)

    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> ListenerOutput:
        """Listen to features.

        Args:
            input_features: `(batch, frames, mels)`; whatever the padding holds is ignored.
            attention_mask: `(batch, frames)`, 1 on real frames, which come first in each row. Default: all real.
            output_hidden_states: Also return every layer's states.
            output_attentions: Accepted because `generate` passes it; a listener has no attention.
            return_dict: As above; the output is always a `ListenerOutput`.
        """
        if attention_mask is None:
            mask = torch.ones(input_features.shape[:2], dtype=torch.bool, device=input_features.device)
        else:
            mask = attention_mask.to(input_features.device).bool()
        # Not next(self.parameters()): replicas of nn.DataParallel list none.
        states = input_features.to(cast(Any, self.layers[0]).forward_lstm.weight_ih_l0.dtype)
        states = states.masked_fill(~mask[..., None], 0.0)
        collected: list[torch.Tensor] = []
        ctc_states, ctc_mask = None, None
        for i, (layer, reduction) in enumerate(zip(self.layers, self.config.listener_time_reductions, strict=True)):
            states, mask = stack_frames(states, mask, reduction)
            states = self.dropout(layer(states, mask))
            collected.append(states)
            if self.config.has_ctc and i == self.config.resolved_ctc_layer:
                ctc_states, ctc_mask = states, mask
        return ListenerOutput(
            last_hidden_state=states,
            mask=mask,
            hidden_states=tuple(collected) if output_hidden_states else None,
            ctc_states=ctc_states,
            ctc_mask=ctc_mask,
        )
