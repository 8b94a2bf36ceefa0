"""The loop with a backward pass of its own against autograd's, and where it steps aside."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aural.modeling.speller_loop import learns_at_once, run_loop
from tests.tiny import clips, tiny_las

ROWS, TARGETS, KEYS, MEMORY, HIDDEN, EMBEDDING = 3, 5, 7, 16, 12, 7


def speller_and_memory(layers: int = 2, dropout: float = 0.0, kind: str = "dot"):
    """A speller that learns, in double precision, and a memory of rows that are as long as 7, 4 and 1."""
    model = tiny_las(attention_kind=kind, speller_layers=layers, speller_dropout=dropout, scale=0.5)
    speller = model.double().train().model.speller
    states = torch.randn(ROWS, KEYS, MEMORY, dtype=torch.double, requires_grad=True)
    mask = torch.arange(KEYS) < torch.tensor([[7], [4], [1]])
    return speller, speller.attention.prepare(states, mask), states


def plain_loop(gates, memory, state, weights, biases, attention, dropout):
    """What `run_loop` computes, step by step, with nothing but PyTorch's operations."""
    hidden, cells, context = list(state[0]), list(state[1]), state[2]
    outputs, contexts, attended = [], [], []
    for t in range(gates.shape[1]):
        below, row = context, []
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            total = torch.cat([below, hidden[i]], dim=1) @ weight.t() + (bias if i else gates[:, t])
            i_gate, f_gate, g_gate, o_gate = total.chunk(4, dim=1)
            cells[i] = f_gate.sigmoid() * cells[i] + i_gate.sigmoid() * g_gate.tanh()
            hidden[i] = o_gate.sigmoid() * cells[i].tanh()
            below = dropout(hidden[i])
            row.append(below)
        context, weights_now = attention(below[:, None], memory, None)
        context = context[:, 0]
        outputs.append(torch.stack(row))
        contexts.append(context)
        attended.append(weights_now)
    layers = torch.stack(outputs, dim=2)
    return layers, torch.stack(contexts, 1), torch.cat(attended, 2), torch.stack(hidden), torch.stack(cells)


def everything(loop, layers: int, dropout: float, seed: int = 0):
    """All that a loop returns, and the gradient of a random sum of it by everything that went in."""
    torch.manual_seed(seed)
    speller, memory, states = speller_and_memory(layers, dropout)
    weights = speller.gate_weights(ROWS)
    ids = torch.tensor([[1, 4, 7, 5, 3], [1, 6, 6, 2, 0], [1, 3, 8, 8, 8]])
    gates = nn.functional.linear(speller.embed_tokens(ids), weights.embedding, weights.biases[0])
    start = [torch.randn(ROWS, HIDDEN, dtype=torch.double, requires_grad=True) for _ in range(2 * layers)]
    context = torch.randn(ROWS, MEMORY, dtype=torch.double, requires_grad=True)
    matrices = [torch.cat(parts, dim=1) for parts in weights.parts]
    parts = (matrices, weights.biases, speller.attention, speller.dropout)
    returned = loop(gates, memory, (start[:layers], start[layers:], context), *parts)
    loss = sum((torch.randn(each.shape, dtype=torch.double) * each).sum() for each in returned)
    inputs = {**dict(speller.named_parameters()), "states": states, "context": context}
    inputs.update({f"start {i}": each for i, each in enumerate(start)})
    return returned, dict(zip(inputs, torch.autograd.grad(loss, list(inputs.values())), strict=True))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_outputs_and_every_gradient_equal_those_of_autograd(layers, dropout):
    returned, gradients = everything(run_loop, layers, dropout)
    expected, expected_gradients = everything(plain_loop, layers, dropout)
    for got, want in zip(returned, expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-10, rtol=0)
    for name, want in expected_gradients.items():
        assert want.abs().max() > 0, name
        torch.testing.assert_close(gradients[name], want, atol=1e-10, rtol=0, msg=name)


def test_gradients_equal_differences_of_the_loss():
    speller, memory, _ = speller_and_memory(layers=2)
    weights = speller.gate_weights(ROWS)
    gates = torch.randn(ROWS, 3, 4 * HIDDEN, dtype=torch.double, requires_grad=True)
    matrices = [torch.cat(parts, dim=1) for parts in weights.parts]
    start = [torch.randn(ROWS, HIDDEN, dtype=torch.double) for _ in range(4)]
    keys, values = (each.detach().requires_grad_() for each in (memory.keys, memory.values))

    def loop(gates, keys, values):
        held = SimpleNamespace(keys=keys, values=values, mask=memory.mask, offsets=memory.offsets.detach())
        state = (start[:2], start[2:], torch.zeros(ROWS, MEMORY, dtype=torch.double))
        return run_loop(gates, held, state, matrices, weights.biases, speller.attention, speller.dropout)

    assert torch.autograd.gradcheck(loop, (gates, keys, values), fast_mode=True)


def test_attention_is_nothing_on_padding_and_sums_to_one():
    (_, _, attended, _, _), _ = everything(run_loop, 2, 0.0)
    assert attended.shape == (ROWS, 1, TARGETS, KEYS)
    assert (attended[1, :, :, 4:] == 0).all() and (attended[2, :, :, 1:] == 0).all()
    torch.testing.assert_close(attended.sum(-1), torch.ones(ROWS, 1, TARGETS, dtype=torch.double))


def test_a_graph_that_is_kept_gives_the_same_gradients_again():
    torch.manual_seed(0)
    speller, memory, states = speller_and_memory()
    weights = speller.gate_weights(ROWS)
    gates = torch.randn(ROWS, TARGETS, 4 * HIDDEN, dtype=torch.double, requires_grad=True)
    zeros = [torch.zeros(ROWS, HIDDEN, dtype=torch.double)] * 2
    state = (zeros, zeros, torch.zeros(ROWS, MEMORY, dtype=torch.double))
    matrices = [torch.cat(parts, dim=1) for parts in weights.parts]
    returned = run_loop(gates, memory, state, matrices, weights.biases, speller.attention, speller.dropout)
    loss = sum(each.square().sum() for each in returned)
    first = torch.autograd.grad(loss, [gates, states], retain_graph=True)
    second = torch.autograd.grad(loss, [gates, states])
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_it_stands_in_for_dot_attention_that_learns_and_steps_aside_elsewhere():
    speller, memory, _ = speller_and_memory()
    gates = torch.zeros(ROWS, TARGETS, 4 * HIDDEN, dtype=torch.double, requires_grad=True)
    assert learns_at_once(speller.attention, memory, gates)
    assert not learns_at_once(speller.attention, memory, torch.zeros(2 * ROWS, TARGETS, 4 * HIDDEN).requires_grad_())
    assert not learns_at_once(speller.attention, memory, gates.detach())
    with torch.no_grad():
        assert not learns_at_once(speller.attention, memory, gates)
    with torch.autocast("cpu", torch.bfloat16):
        assert not learns_at_once(speller.attention, memory, gates)
    hooked = deepcopy(speller.attention)
    hooked.query_proj[0].register_forward_hook(lambda *_: None)
    assert not learns_at_once(hooked, memory, gates)
    adapted = deepcopy(speller.attention)
    adapted.query_proj[0] = nn.Sequential(adapted.query_proj[0])
    assert not learns_at_once(adapted, memory, gates)
    for kind in ("additive", "location", "multihead", "none"):
        other, other_memory, _ = speller_and_memory(kind=kind)
        assert not learns_at_once(other.attention, other_memory, gates)
    assert not learns_at_once(speller.attention.eval(), memory, gates)


@pytest.mark.parametrize("layer", ["last", "first"])
def test_a_training_step_takes_this_loop_and_gets_the_gradients_of_the_plain_one(layer, monkeypatch):
    from aural.modeling import speller as room

    features, mask = clips([40, 32, 20])
    labels = torch.tensor([[4, 5, 5, 6, 2], [7, 8, 2, -100, -100], [6, 2, -100, -100, -100]])
    runs, gradients = [], []
    monkeypatch.setattr(room, "run_loop", lambda *args: runs.append(args) or run_loop(*args))
    for allowed in (True, False):
        if not allowed:
            monkeypatch.setattr(room, "learns_at_once", lambda *args: False)
        model = tiny_las(attention_kind="dot", query_layer=layer, scale=0.5).double().train()
        model(features.double(), mask, labels=labels, guided_attention_weight=0.5).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert len(runs) == 1
    for name, expected in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], expected, atol=1e-10, rtol=1e-8, msg=name)
