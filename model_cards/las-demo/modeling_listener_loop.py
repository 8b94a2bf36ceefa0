"""A bidirectional LSTM layer in training on a CPU, with a backward pass of its own: the same sums, in another order.

Notable here:
- only real frames are multiplied: they lie one step after the other, as in a `PackedSequence`, a step having a row for
  each clip that goes on. The backward direction starts at each row's own end, so both directions run side by side;
- in a step there is only the product with the hidden states. Those with the inputs, and all gradients of weights and
  inputs, are matrix products over all steps, which run near the processor's peak: oneDNN's backward pass runs at half
  of it;
- each gate is a product of its own, with a block of the weight that stays in the cache while it is read. So a gate's
  numbers lie together, which the rest of a step is faster with;
- a step costs some ten operations of torch, oneDNN's one. Where the inputs are few, oneDNN is faster (`pays`).

Shapes: `entries` are the real frames of all rows; 2 is the directions, 4 the gates i, f, g, o.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .modeling_lstm_slopes import Slopes

FEWEST_HIDDEN, INPUTS_PER_HIDDEN = 256, 4  # from here on this is faster than oneDNN, by 1.1 to 1.5 times (measured)


def pays(input_size: int, hidden_size: int) -> bool:
    """Whether `run_both_ways` is faster than torch's LSTM: an upper layer of a pyramid that halves time, or wider."""
    return hidden_size >= FEWEST_HIDDEN and input_size >= INPUTS_PER_HIDDEN * hidden_size


def run_both_ways(
    states: torch.Tensor, lengths: Sequence[int], ahead: nn.LSTM, back: nn.LSTM, padded: int | None = None
) -> torch.Tensor:
    """Both directions of a layer over rows of different lengths; it has no second derivatives.

    Args:
        states: `(batch, frames, input)`, on the CPU.
        lengths: Of the rows, the longest first, none of them 0.
        ahead, back: One layer and one direction each, with biases; `back` reads each row from its end.
        padded: Frames of the result; default: as many as `states` has.

    Returns:
        `(batch, frames, 2 hidden)`, zeros on padding.
    """
    packed = pack_padded_sequence(states, torch.tensor(lengths), batch_first=True)
    both = zip(*(each.all_weights[0] for each in (ahead, back)), strict=True)
    over_inputs, *others = both
    over_hidden, *biases = (torch.stack(pair).unflatten(1, (4, -1)) for pair in others)
    order = _Order.of(packed.batch_sizes, lengths)
    outputs = _BothWays.apply(packed.data, order, over_hidden, biases[0] + biases[1], *over_inputs)
    result = PackedSequence(outputs, packed.batch_sizes)
    return pad_packed_sequence(result, batch_first=True, total_length=padded or states.shape[1])[0]


class _Order(NamedTuple):
    """Where things lie: `rows` at each step; `mirror`, for each entry the one that the backward direction reads in its
    place, and the other way round; `before`, for each entry behind the first step the one of the step before.
    """

    rows: list[int]
    mirror: torch.Tensor
    before: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor, lengths: Sequence[int]) -> "_Order":
        """From the rows at each step and the length of each row."""
        starts = rows.cumsum(0) - rows
        steps = torch.arange(len(rows)).repeat_interleave(rows)  # (entries,)
        row = torch.arange(len(steps)) - starts[steps]
        mirror = starts[torch.tensor(lengths)[row] - 1 - steps] + row
        later = int(rows[0])
        return cls(rows.tolist(), mirror, starts[steps[later:] - 1] + row[later:])

    def steps(self, *each: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """Views `(…, rows, hidden)` of tensors `(…, entries, hidden)`, step by step."""
        return list(zip(*(tensor.split(self.rows, dim=-2) for tensor in each), strict=True))


class _BothWays(torch.autograd.Function):
    """All steps of both directions as one operation. Everywhere here, `d_x` is the gradient of the loss by `x`."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        inputs: torch.Tensor,
        order: _Order,
        over_hidden: torch.Tensor,
        bias: torch.Tensor,
        *over_inputs: torch.Tensor,
    ) -> torch.Tensor:
        """Inputs `(entries, input)` to outputs `(entries, 2 hidden)`.

        The weights are `(2, 4, hidden, hidden)` over hidden states and `(4 hidden, input)` over inputs, these per
        direction; the bias is `(2, 4, hidden)`.
        """
        size = over_hidden.shape[-1]
        gates = inputs.new_empty(2, 4, len(inputs), size)
        for way, read in enumerate((inputs, inputs.index_select(0, order.mirror))):
            matrices = over_inputs[way].unflatten(0, (4, size)).transpose(1, 2)
            torch.baddbmm(bias[way][:, None], read.expand(4, -1, -1), matrices, out=gates[way])
        cells, hiddens = inputs.new_empty(2, 2, len(inputs), size)
        cell, hidden = inputs.new_zeros(2, 2, order.rows[0], size)
        by_hidden = over_hidden.transpose(2, 3).contiguous()
        for step, (part, next_cell, next_hidden) in enumerate(order.steps(gates, cells, hiddens)):
            rows = part.shape[2]
            if step:
                part.add_(hidden[:, None, :rows] @ by_hidden)
            part[:, :2].sigmoid_()
            part[:, 2].tanh_()
            part[:, 3].sigmoid_()
            i, f, g, o = part.unbind(1)
            cell = torch.mul(f, cell[:, :rows], out=next_cell).addcmul_(i, g)
            hidden = torch.tanh(cell, out=next_hidden).mul_(o)
        ctx.order = order
        ctx.save_for_backward(inputs, over_hidden, gates, cells, hiddens, *over_inputs)
        return torch.cat([hiddens[0], hiddens[1].index_select(0, order.mirror)], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        inputs, over_hidden, gates, cells, hiddens, *over_inputs = ctx.saved_tensors
        order, mirror = ctx.order, ctx.order.mirror
        d_ahead, d_back = d_outputs.chunk(2, dim=1)
        d_hiddens = torch.stack([d_ahead, d_back.index_select(0, mirror)])
        d_gates = _d_gates(order, d_hiddens, gates, cells, over_hidden)
        d_over_hidden = d_gates.transpose(2, 3) @ _one_step_earlier(hiddens, order)[:, None]
        # Both directions where their frames lie, and as one matrix each, `(entries, 4 hidden)`.
        d_ways = [each.transpose(0, 1).flatten(1) for each in (d_gates[0], d_gates[1].index_select(1, mirror))]
        d_over_inputs = [d_way.t() @ inputs for d_way in d_ways]
        d_inputs = None
        if ctx.needs_input_grad[0]:
            d_inputs = torch.addmm(d_ways[0] @ over_inputs[0], d_ways[1], over_inputs[1])
        return d_inputs, None, d_over_hidden, d_gates.sum(2), *d_over_inputs


def _one_step_earlier(entries: torch.Tensor, order: _Order) -> torch.Tensor:
    """Of `(2, entries, hidden)` those of the step before, zeros at the first step."""
    first = entries.new_zeros(2, order.rows[0], entries.shape[2])
    return torch.cat([first, entries.index_select(1, order.before)], dim=1)


def _d_gates(
    order: _Order, d_hiddens: torch.Tensor, gates: torch.Tensor, cells: torch.Tensor, over_hidden: torch.Tensor
) -> torch.Tensor:
    """The gradients by the gates before sigmoid and tanh, `(2, 4, entries, hidden)`.

    Args:
        order: Of the entries.
        d_hiddens: By the outputs, `(2, entries, hidden)`, each direction in the order of its steps; it is added to.
        gates, cells: Of all steps, as the forward pass left them.
        over_hidden: `(2, 4, hidden, hidden)`.
    """
    slopes = Slopes.of(gates.unbind(1), _one_step_earlier(cells, order), cells)
    by_gate = torch.stack(slopes[:4], dim=1)
    d_gates = torch.empty_like(gates)
    d_hidden, d_cell = d_hiddens.new_zeros(2, 2, order.rows[0], d_hiddens.shape[-1])  # what later steps say
    for part in reversed(order.steps(d_gates, by_gate, slopes.cell, slopes.kept, d_hiddens)):
        d_step, slope, cell_slope, kept, d_now = part
        rows = d_now.shape[1]
        d_now += d_hidden[:, :rows]
        d_new_cell = torch.addcmul(d_cell[:, :rows], d_now, cell_slope)
        torch.mul(slope[:, :3], d_new_cell[:, None], out=d_step[:, :3])
        torch.mul(slope[:, 3], d_now, out=d_step[:, 3])
        torch.mul(d_new_cell, kept, out=d_cell[:, :rows])
        torch.sum(d_step @ over_hidden, dim=1, out=d_hidden[:, :rows])
    return d_gates
