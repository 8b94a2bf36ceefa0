"""A bidirectional LSTM layer by the kernels of `kernels.py`, in training too: the same sums, in another order.

Notable here:
- only real frames are multiplied: they lie row after row without padding, and a step's places among them say where
  each row stands. The backward direction starts at each row's own end, so nothing is reversed;
- in a step there is only the product with the hidden states. Those with the inputs, and all gradients of weights and
  inputs, are matrix products over all steps, which run near the processor's peak.

Shapes: `entries` are the real frames of all rows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .kernels import LANES, lstm, lstm_backward, serves


def runs(states: torch.Tensor, lengths: Sequence[int], *layers: nn.LSTM) -> bool:
    """Whether `run_both_ways` can stand in for torch's LSTM.

    Args:
        states: Its inputs.
        lengths: Of the rows, longest first; none where they are not known.
        layers: Its directions.
    """
    if not lengths or not lengths[0] or layers[0].hidden_size % LANES:
        return False
    return serves(states, *(weight for layer in layers for weight in layer.parameters()))


def run_both_ways(states: torch.Tensor, lengths: Sequence[int], ahead: nn.LSTM, back: nn.LSTM) -> torch.Tensor:
    """Both directions of a layer over rows of different lengths; it has no second derivatives.

    Args:
        states: `(batch, frames, input)`.
        lengths: Of the rows, the longest first.
        ahead, back: One layer and one direction each, with biases; `back` reads each row from its end.

    Returns:
        `(batch, frames, 2 hidden)`, zeros on padding.
    """
    weights = [weight for each in (ahead, back) for weight in each.all_weights[0]]
    entries, whole = states.flatten(0, 1), lengths[-1] == states.shape[1]
    real = None if whole else _real_frames(lengths, states.shape[1])
    read = entries if real is None else entries.index_select(0, real)
    outputs = _BothWays.apply(read, _Order.of(lengths), torch.is_grad_enabled(), *weights)
    if real is not None:
        outputs = outputs.new_zeros(len(entries), outputs.shape[1]).index_copy(0, real, outputs)
    return outputs.unflatten(0, states.shape[:2])


def _real_frames(lengths: Sequence[int], frames: int) -> torch.Tensor:
    """Where real frames lie among those of padded rows."""
    return (torch.arange(frames) < torch.tensor(lengths)[:, None]).flatten().nonzero()[:, 0]


class _Order(NamedTuple):
    """Where things lie: `rows` at each step; each direction's `places`, step by step; `first`, the entry that a
    direction begins a row with.
    """

    rows: torch.Tensor
    places: tuple[torch.Tensor, torch.Tensor]
    first: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "_Order":
        """From the lengths of the rows, longest first."""
        length = torch.tensor([each for each in lengths if each])
        starts = length.cumsum(0) - length
        reached = torch.arange(lengths[0])[:, None] < length
        step, row = reached.nonzero().unbind(1)
        ends = starts + length - 1
        return cls(reached.sum(1), (starts[row] + step, ends[row] - step), (starts, ends))


class _BothWays(torch.autograd.Function):
    """All steps of both directions as one operation. Everywhere here, `d_x` is the gradient of the loss by `x`."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, inputs: torch.Tensor, order: _Order, learns: bool, *weights: torch.Tensor
    ) -> torch.Tensor:
        """Inputs `(entries, input)` to outputs `(entries, 2 hidden)`; the weights as `nn.LSTM` lists them, per way."""
        size = weights[1].shape[1]
        outputs, kept = inputs.new_empty(len(inputs), 2 * size), []
        for way, hiddens in enumerate(outputs.split(size, dim=1)):
            over_inputs, over_hidden, *biases = weights[4 * way : 4 * way + 4]
            if learns or not way:  # memory that is new takes a tenth of the time
                gates, cells = inputs.new_empty(len(inputs), 4 * size), inputs.new_empty(len(inputs), size)
            torch.addmm(biases[0] + biases[1], inputs, over_inputs.t(), out=gates)
            lstm(order.rows, order.places[way], over_hidden, gates, cells, hiddens)
            kept += [gates, cells]
        ctx.order = order
        ctx.save_for_backward(inputs, outputs, *kept, *weights)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        inputs, outputs, *kept = ctx.saved_tensors
        order, weights, size = ctx.order, kept[4:], outputs.shape[1] // 2
        d_outputs = d_outputs.contiguous()
        d_inputs, d_weights = None, []
        for way in (0, 1):
            over_inputs, over_hidden = weights[4 * way : 4 * way + 2]
            gates, cells = kept[2 * way : 2 * way + 2]
            half = slice(way * size, way * size + size)
            d_gates = lstm_backward(order.rows, order.places[way], over_hidden, gates, cells, d_outputs[:, half])
            before = outputs[:, half].roll((1, -1)[way], 0).index_fill_(0, order.first[way], 0.0)
            d_bias = d_gates.sum(0)
            d_weights += [d_gates.t() @ inputs, d_gates.t() @ before, d_bias, d_bias]
            if ctx.needs_input_grad[0]:
                d_inputs = d_gates @ over_inputs if d_inputs is None else d_inputs.addmm_(d_gates, over_inputs)
        return d_inputs, None, None, *d_weights
