"""The listener of Listen, Attend and Spell: a pyramid of bidirectional LSTMs.

Notable here:
- never packs: a packed sequence misses oneDNN on a CPU and is about nine times slower. A bidirectional LSTM on padded
  rows is exact when the backward direction runs over each row *reversed inside its own length*: padding then follows
  the real frames in both directions and cannot reach them;
- on an accelerator lengths stay there, and nothing waits for the host; on a CPU, where the work grows with the rows, a
  row that has ended is left out: rows go longest first, and time is cut where enough of them end (`stretches`);
- with the kernels of `kernels.py` a layer on a CPU is `listener_loop.run_both_ways`; what is here is for the rest;
- odd tails of the pyramid are padded with masked zeros, so the output length is the ceiling of the division.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import nn
from transformers.utils import ModelOutput

from .configuration_las import LasConfig
from .modeling_checks import on_host
from .modeling_listener_loop import run_both_ways, runs
from .modeling_packed_linear import is_plain

CALL = 24  # row-frames that a call of an LSTM costs beside those it reads (measured: 15 to 30)


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
    outputs: "ListenerOutput | ModelOutput | tuple", attention_mask: torch.Tensor | None, config: LasConfig
) -> ListenerOutput:
    """What stands for `encoder_outputs` elsewhere in transformers, a tuple or an output without a mask, as ours.

    Args:
        outputs: Its first entry is `(batch, listener frames, memory_size)`.
        attention_mask: `(batch, frames)` of the features; default: all states are real.
        config: Says how many frames a listener state stands for.
    """
    if isinstance(outputs, ListenerOutput):
        return outputs
    states = outputs[0]
    if attention_mask is None:
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    else:
        mask = attention_mask.bool()[:, :: config.time_reduction]
    return ListenerOutput(last_hidden_state=states, mask=mask)


def reverse_within_length(states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Reverse each row's first `lengths` entries and leave the rest where they are.

    Args:
        states: `(batch, frames, size)`.
        lengths: `(batch,)`.
    """
    at = torch.arange(states.shape[1], device=states.device)
    index = torch.where(at < lengths[:, None], lengths[:, None] - 1 - at, at)  # (batch, frames)
    starts = torch.arange(len(states), device=states.device)[:, None] * states.shape[1]
    # Whole frames are moved: a gather would look up every number by itself, which takes ten times as long.
    return states.flatten(0, 1).index_select(0, (starts + index).flatten()).view_as(states)


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
        """States `(batch, frames, input_size)`, mask `(batch, frames)` → `(batch, frames, 2 hidden)`, 0 on padding.

        On a CPU rows that come longest first cost no more than their own frames.
        """
        lengths = mask.sum(-1)
        ends = known_lengths(lengths)
        if self._runs_at_once(states, ends):
            return run_both_ways(states, ends, self.forward_lstm, self.backward_lstm)
        whole = [Stretch(0, states.shape[1], len(states))]
        parts = (stretches(ends) if falling(ends) else []) or whole
        if ends and parts == whole and min(ends) == states.shape[1] and self._is_plain():
            return self._both_at_once(states)
        ahead = _run(self.forward_lstm, states, parts)
        back = _run(self.backward_lstm, reverse_within_length(states, lengths), parts)
        joined = torch.cat([ahead, reverse_within_length(back, lengths)], dim=-1)
        return joined.masked_fill(~mask[..., None], 0.0)

    def _is_plain(self) -> bool:
        return all(is_plain(each, nn.LSTM) for each in (self.forward_lstm, self.backward_lstm))

    def _runs_at_once(self, states: torch.Tensor, lengths: Sequence[int]) -> bool:
        """Whether `run_both_ways` can stand in: over sorted rows; with gradients, but no second ones, in training."""
        if not (self._is_plain() and falling(lengths)):
            return False
        if not runs(states, lengths, self.forward_lstm, self.backward_lstm):
            return False
        if not torch.is_grad_enabled():
            return True
        return self.training and all(weight.requires_grad for weight in self.parameters())

    def _both_at_once(self, states: torch.Tensor) -> torch.Tensor:
        """Both directions over rows without padding: torch's own bidirectional LSTM, which reverses nothing."""
        start = states.new_zeros(2, len(states), self.forward_lstm.hidden_size)
        both = (self.forward_lstm, self.backward_lstm)
        weights: list[torch.Tensor] = [weight for each in both for weight in each.all_weights[0]]
        # Biases, one layer, no dropout between layers, training or not, both ways, the batch first.
        return torch.lstm(states, (start, start), weights, True, 1, 0.0, self.training, True, True)[0]


def known_lengths(lengths: torch.Tensor) -> list[int]:
    """Lengths `(batch,)` where looking at them costs nothing, else none."""
    return lengths.tolist() if on_host(lengths) and not torch.jit.is_tracing() else []


def falling(lengths: Sequence[int]) -> bool:
    """Whether the longest come first."""
    return all(one >= other for one, other in pairwise(lengths))


@dataclass
class Stretch:
    """Frames `start` to `end`, which the first `rows` of the sorted rows are run over."""

    start: int
    end: int
    rows: int


def stretches(lengths: Sequence[int], call: int = CALL) -> list[Stretch]:
    """How to cut time so that sorted rows of these lengths cost least.

    A stretch costs its frames times the rows that reach into it, and a call. The cheapest way to the end of each
    length follows from those to the ends of shorter ones.

    Args:
        lengths: Of all rows, in any order; rows of length 0 are left out.
        call: What a stretch costs beside its frames, in row-frames.

    Returns:
        Stretches from frame 0 to the longest row's end, each with fewer rows than the one before; none without frames.
    """
    ends = sorted({0, *lengths})
    reaching = [sum(length > end for length in lengths) for end in ends]  # rows that go on beyond an end
    cost, before = [0] * len(ends), [0] * len(ends)
    for at in range(1, len(ends)):
        ways = [cost[i] + (ends[at] - ends[i]) * reaching[i] + call for i in range(at)]
        cost[at] = min(ways)
        before[at] = ways.index(cost[at])
    found: list[Stretch] = []
    at = len(ends) - 1
    while at > 0:
        found.insert(0, Stretch(ends[before[at]], ends[at], reaching[before[at]]))
        at = before[at]
    return found


def _run(lstm: nn.Module, rows: torch.Tensor, parts: Sequence[Stretch]) -> torch.Tensor:
    """`lstm` over rows `(batch, frames, size)`, stretch by stretch: `(batch, frames, hidden)`."""
    state: tuple[torch.Tensor, ...] | None = None
    outputs = []
    # Split once: the gradient of a slice is as large as what it was cut from.
    pieces = rows[:, : parts[-1].end].split([part.end - part.start for part in parts], dim=1)
    for part, piece in zip(parts, pieces, strict=True):
        state = None if state is None else tuple(each[:, : part.rows].contiguous() for each in state)
        output, state = lstm(piece[: part.rows], state)
        outputs.append(_padded(output, len(rows) - part.rows, 0))
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
    return _padded(joined, 0, rows.shape[1] - joined.shape[1])


def _padded(states: torch.Tensor, rows: int, frames: int) -> torch.Tensor:
    """With so many rows and frames of zeros at the ends, and no copy where there are none."""
    return nn.functional.pad(states, (0, 0, 0, frames, 0, rows)) if rows or frames else states


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
    states = _padded(states, 0, -states.shape[1] % reduction)
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
        lengths = mask.sum(-1)
        order = None if falling(known_lengths(lengths)) else lengths.argsort(descending=True, stable=True)
        states, mask = (states, mask) if order is None else (states[order], mask[order])
        heard = self._listen(states, mask)
        if order is not None:
            back = order.argsort()
            heard = [(states[back], mask[back]) for states, mask in heard]
        states, mask = heard[-1]
        under_ctc = heard[self.config.resolved_ctc_layer] if self.config.has_ctc else (None, None)
        return ListenerOutput(
            last_hidden_state=states,
            mask=mask,
            hidden_states=tuple(states for states, _ in heard) if output_hidden_states else None,
            ctc_states=under_ctc[0],
            ctc_mask=under_ctc[1],
        )

    def _listen(self, states: torch.Tensor, mask: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The states of every layer, and their masks."""
        heard = []
        for layer, reduction in zip(self.layers, self.config.listener_time_reductions, strict=True):
            states, mask = stack_frames(states, mask, reduction)
            states = self.dropout(layer(states, mask))
            heard.append((states, mask))
        return heard
