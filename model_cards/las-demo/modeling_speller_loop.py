"""The speller's loop in training, with a backward pass of its own: the same sums as autograd's, in another order.

Notable here:
- autograd adds up the gradient of every weight step by step, each time a matrix as large as the weight. Here a step
  finds only the gradients that the step before it needs; those of weights, keys and values are one matrix product each
  over all steps, after the loop;
- what the gradients of a step are multiplied with is known after the forward pass: it is made for all steps at once;
- dropout is drawn before the loop, in the order in which the plain loop draws it: a seed gives both the same numbers;
- `dot` attention alone, whose gradients are four lines; the other kinds run as the plain loop.

Shapes: time comes first here, `(targets, rows, …)`, so that a step is a view whose numbers lie together.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .modeling_attention import masked_softmax
from .modeling_lstm_slopes import Slopes
from .modeling_packed_linear import PackedProduct, is_plain
from .modeling_speller_attention import DotAttention, Memory, SpellerAttention


def learns_at_once(attention: SpellerAttention, memory: Memory, gates: torch.Tensor) -> bool:
    """Whether `run_loop` can stand in for the plain loop: in training, with `dot` attention as it is written here.

    Autocast and compilers need the plain loop, and so does whatever was put in the place of what makes queries
    (adapters, parametrisations, hooks). What `run_loop` gives has no second derivatives; in eval mode the plain loop
    does.

    Args:
        attention: The speller's.
        memory: What it attends to.
        gates: The embeddings' share of the gates, `(rows, targets, 4 hidden)`.
    """
    learning = attention.training and torch.is_grad_enabled() and gates.requires_grad
    if not learning or len(gates) != len(memory.values):  # several hypotheses of an utterance
        return False
    if torch.is_autocast_enabled(gates.device.type) or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if type(attention) is not DotAttention:
        return False
    return all(is_plain(attention.query_proj[i], nn.Linear, nn.Tanh) for i in range(2))


def run_loop(
    gates: torch.Tensor,
    memory: Memory,
    state: tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor],
    weights: list[torch.Tensor],
    biases: list[torch.Tensor],
    attention: DotAttention,
    dropout: nn.Dropout,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """All steps of the layers in the loop and of attention, which asks with the output of the last of them.

    Args:
        gates: The embeddings' share of the first layer's gates, its bias included, `(rows, targets, 4 hidden)`.
        memory: What to attend to, of every row.
        state: To start from: hidden states and cells, per layer `(rows, hidden)`; the context `(rows, memory_size)`.
        weights: Per layer `(4 hidden, input + hidden)`, the first without the embedding's columns.
        biases: Per layer `(4 hidden,)`; the first is in the gates and is not read.
        attention: Projects the query.
        dropout: Of every layer's output.

    Returns:
        Outputs `(layers, rows, targets, hidden)`; contexts `(rows, targets, memory_size)`; attention `(rows, 1,
        targets, keys)`; the last hidden states and the last cells `(layers, rows, hidden)`.
    """
    hidden, cell, context = torch.stack(state[0]), torch.stack(state[1]), state[2]
    drops = None
    if dropout.training and dropout.p > 0:
        ones = torch.ones_like(hidden[0])
        drawn = [torch.stack([dropout(ones) for _ in weights]) for _ in range(gates.shape[1])]
        drops = torch.stack(drawn, dim=1)  # (layers, targets, rows, hidden)
    first, looked = cast(nn.Linear, attention.query_proj[0]), (memory.keys, memory.offsets, memory.values)
    projection = (first.weight, first.bias)
    outputs, contexts, attended, hidden, cell = _Loop.apply(
        memory.mask, drops, gates, *looked, hidden, cell, context, *projection, *weights, *biases[1:]
    )
    return outputs.transpose(1, 2), contexts.transpose(0, 1), attended.transpose(0, 1)[:, None], hidden, cell


class _Layer(NamedTuple):
    """An LSTM layer over all steps.

    Shapes: `weight` `(4 hidden, input + hidden)`; `joined`, what it is multiplied with, `(targets, rows, input +
    hidden)`; `gates` i, f, g, o `(targets, rows, 4 hidden)`, before its step the rest of their sum; `cells`
    `(targets + 1, rows, hidden)`, the first from before the first step. `product` multiplies with the weight.
    """

    weight: torch.Tensor
    joined: torch.Tensor
    gates: torch.Tensor
    cells: torch.Tensor
    product: PackedProduct | None = None

    @classmethod
    def before_steps(cls, weight: torch.Tensor, start: torch.Tensor, cell: torch.Tensor) -> "_Layer":
        """From the rest of the gates' sum `(targets, rows, 4 hidden)` and the cells to start from."""
        cells = start.new_empty(len(start) + 1, *cell.shape)
        cells[0] = cell
        joined = start.new_empty(*start.shape[:2], weight.shape[1])
        gates = start.clone(memory_format=torch.contiguous_format)
        return cls(weight, joined, gates, cells, PackedProduct([weight], start.shape[1]))

    def step(self, t: int, below: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """The next hidden state `(rows, hidden)`."""
        size = hidden.shape[1]
        torch.cat([below, hidden], dim=1, out=self.joined[t])
        gates = cast(PackedProduct, self.product).add(self.joined[t], self.gates[t])
        gates[:, : 2 * size].sigmoid_()
        gates[:, 2 * size : 3 * size].tanh_()
        gates[:, 3 * size :].sigmoid_()
        i, f, g, o = gates.chunk(4, dim=1)
        return o * torch.addcmul(f * self.cells[t], i, g, out=self.cells[t + 1]).tanh()


class _LayerBack:
    """The way back through a layer, from the gradients by its last hidden state and cell `(rows, hidden)`."""

    def __init__(self, layer: _Layer, d_hidden: torch.Tensor, d_cell: torch.Tensor) -> None:
        self.layer, self.d_hidden, self.d_cell = layer, d_hidden, d_cell
        self.product = PackedProduct([layer.weight.t()], layer.gates.shape[1])
        self.d_gates = torch.empty_like(layer.gates)
        self.slopes = Slopes.of(layer.gates.chunk(4, dim=2), layer.cells[:-1], layer.cells[1:])
        self.ifg_slopes = torch.stack(self.slopes[:3], dim=2)  # (targets, rows, 3, hidden)

    def step(self, t: int, d_output: torch.Tensor) -> torch.Tensor:
        """The gradient by a step's input `(rows, input)`, from that by its output `(rows, hidden)`."""
        size = d_output.shape[1]
        d_hidden = d_output + self.d_hidden
        d_cell = torch.addcmul(self.d_cell, d_hidden, self.slopes.cell[t])
        d_gates = self.d_gates[t].unflatten(1, (4, size))
        torch.mul(self.ifg_slopes[t], d_cell[:, None], out=d_gates[:, :3])
        torch.mul(self.slopes.o[t], d_hidden, out=d_gates[:, 3])
        d_joined = self.product(self.d_gates[t])
        self.d_cell, self.d_hidden = d_cell * self.slopes.kept[t], d_joined[:, -size:]
        return d_joined[:, :-size]

    def d_weight(self) -> torch.Tensor:
        """The gradient by the weight, of all steps."""
        return self.d_gates.flatten(0, 1).t() @ self.layer.joined.flatten(0, 1)


class _Look(NamedTuple):
    """Dot attention over all steps.

    Shapes: `keys` `(rows, keys, attention_size)`; `offsets` `(rows, keys)`, added to their scores; `values` `(rows,
    keys, memory_size)`; `weight` `(attention_size, hidden)`, which makes queries, `queries` `(targets, rows,
    attention_size)`, with tanh; `attended` `(targets, rows, keys)`.
    """

    keys: torch.Tensor
    offsets: torch.Tensor
    values: torch.Tensor
    weight: torch.Tensor
    queries: torch.Tensor
    attended: torch.Tensor

    def step(self, t: int, below: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The context `(rows, memory_size)` for what the last layer gave `(rows, hidden)`."""
        query = torch.addmm(bias, below, self.weight.t(), out=self.queries[t]).tanh_()
        scores = torch.baddbmm(self.offsets[:, None], query[:, None], self.keys.transpose(1, 2))[:, 0]  # (rows, keys)
        self.attended[t] = masked_softmax(scores, mask)
        return torch.bmm(self.attended[t][:, None], self.values)[:, 0]


class _LookBack:
    """The way back through attention."""

    def __init__(self, look: _Look) -> None:
        self.look = look
        self.d_scores = torch.empty_like(look.attended)
        self.d_queries = 1 - look.queries * look.queries  # the slope of tanh; after the step the gradient before tanh

    def step(self, t: int, d_context: torch.Tensor, d_attended: torch.Tensor) -> torch.Tensor:
        """The gradient by what asked `(rows, hidden)`, from those by context and weights."""
        look, weights = self.look, self.look.attended[t]
        d_weights = torch.baddbmm(d_attended[:, None], d_context[:, None], look.values.transpose(1, 2))[:, 0] * weights
        d_scores = torch.addcmul(d_weights, weights, d_weights.sum(1, keepdim=True), value=-1, out=self.d_scores[t])
        return self.d_queries[t].mul_(torch.bmm(d_scores[:, None], look.keys)[:, 0]) @ look.weight

    def d_memory(self, d_contexts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The gradients by keys, offsets and values, of all steps; `d_contexts` `(targets, rows, memory_size)`."""
        d_keys = self.d_scores.permute(1, 2, 0) @ self.look.queries.transpose(0, 1)
        return d_keys, self.d_scores.sum(0), self.look.attended.permute(1, 2, 0) @ d_contexts.transpose(0, 1)

    def d_projection(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients by weight and bias, of all steps; `outputs` `(targets, rows, hidden)` asked."""
        d_queries = self.d_queries.flatten(0, 1)
        return d_queries.t() @ outputs.flatten(0, 1), d_queries.sum(0)


class _Loop(torch.autograd.Function):
    """All steps as one operation. Everywhere here, `d_x` is the gradient of the loss by `x`."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        mask: torch.Tensor,
        drops: torch.Tensor | None,
        gates: torch.Tensor,
        keys: torch.Tensor,
        offsets: torch.Tensor,
        values: torch.Tensor,
        hidden: torch.Tensor,
        cell: torch.Tensor,
        context: torch.Tensor,
        *parameters: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        targets, rows, count = gates.shape[1], len(gates), len(hidden)
        weight, bias, *rest = parameters
        starts = [gates.transpose(0, 1), *(each.expand(targets, rows, -1) for each in rest[count:])]
        layers = [_Layer.before_steps(*each) for each in zip(rest[:count], starts, cell, strict=True)]
        queries, attended = (gates.new_empty(targets, rows, size) for size in (len(weight), keys.shape[1]))
        look = _Look(keys, offsets, values, weight, queries, attended)
        outputs, contexts = gates.new_empty(count, targets, *hidden[0].shape), gates.new_empty(targets, *context.shape)
        ends = list(hidden)
        for t in range(targets):
            below = context
            for i, layer in enumerate(layers):
                ends[i] = layer.step(t, below, ends[i])
                below = outputs[i, t].copy_(ends[i] if drops is None else ends[i] * drops[i, t])
            context = contexts[t].copy_(look.step(t, below, bias, mask))
        ctx.count = count
        ctx.save_for_backward(drops, outputs, *look, *(kept for layer in layers for kept in layer[:4]))
        return outputs, contexts, look.attended, torch.stack(ends), torch.stack([layer.cells[-1] for layer in layers])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_returned: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        d_outputs, d_contexts, d_attended, d_hidden, d_cell = d_returned
        drops, outputs, *kept = ctx.saved_tensors
        look, kept = _LookBack(_Look(*kept[:6])), kept[6:]
        layers = [_LayerBack(_Layer(*kept[4 * i : 4 * i + 4]), d_hidden[i], d_cell[i]) for i in range(ctx.count)]
        d_contexts = d_contexts.clone()
        d_context = torch.zeros_like(d_contexts[0])  # what the step after says of this step's context
        for t in reversed(range(len(d_contexts))):
            d_below = look.step(t, d_contexts[t].add_(d_context), d_attended[t])
            for i in reversed(range(ctx.count)):
                d_output = d_below + d_outputs[i, t]
                d_below = layers[i].step(t, d_output if drops is None else d_output * drops[i, t])
            d_context = d_below
        d_state = torch.stack([layer.d_hidden for layer in layers]), torch.stack([layer.d_cell for layer in layers])
        d_weights = (layer.d_weight() for layer in layers)
        d_biases = (layer.d_gates.sum((0, 1)) for layer in layers[1:])
        d_parameters = (*look.d_projection(outputs[-1]), *d_weights, *d_biases)
        d_gates, d_memory = layers[0].d_gates.transpose(0, 1), look.d_memory(d_contexts)
        return None, None, d_gates, *d_memory, *d_state, d_context, *d_parameters
