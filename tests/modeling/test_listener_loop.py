"""The listener's layer by the kernels against PyTorch's packed LSTM, and where it steps aside."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from aural.modeling import kernels, listener
from aural.modeling.listener import BidirectionalLSTM
from aural.modeling.listener_loop import run_both_ways, runs
from tests.modeling.test_listener import packed_twin

INPUT, HIDDEN, FRAMES = 5, 16, 9
pytestmark = pytest.mark.skipif(kernels.library() is None, reason="no kernels for this processor")


def layer_and_states(lengths, hidden=HIDDEN):
    torch.manual_seed(0)
    layer = BidirectionalLSTM(INPUT, hidden).train()
    return layer, torch.randn(len(lengths), FRAMES, INPUT, requires_grad=True)


def theirs(layer, states, lengths, hidden=HIDDEN):
    """A packed LSTM in float64 with the layer's weights, and what it gives."""
    twin = packed_twin(layer, INPUT, hidden).double()
    states = states.detach().double().requires_grad_()
    real = [length for length in lengths if length]
    packed = pack_padded_sequence(states[: len(real)], torch.tensor(real), batch_first=True)
    output = pad_packed_sequence(twin(packed)[0], batch_first=True, total_length=FRAMES)[0]
    return twin, states, torch.nn.functional.pad(output, (0, 0, 0, 0, 0, len(lengths) - len(real)))


@pytest.mark.parametrize("hidden", [8, 24])
@pytest.mark.parametrize(
    "lengths", [[9, 7, 7, 1], [9, 9], [8, 2], [1], [9], [9] * 8, [9, 8, 8, 8, 5, 5, 4, 3, 3, 2, 2, 1, 1], [4, 2, 0]]
)
def test_outputs_and_every_gradient_equal_those_of_a_packed_lstm(lengths, hidden):
    layer, states = layer_and_states(lengths, hidden)
    output = run_both_ways(states, lengths, layer.forward_lstm, layer.backward_lstm)
    twin, their_states, expected = theirs(layer, states, lengths, hidden)
    torch.testing.assert_close(output.double(), expected, atol=2e-6, rtol=1e-5)
    for row, length in enumerate(lengths):
        assert not output[row, length:].any()
    weight = torch.randn_like(output)
    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(states.grad.double(), their_states.grad, atol=1e-5, rtol=1e-5)
    for lstm, ending in ((layer.forward_lstm, ""), (layer.backward_lstm, "_reverse")):
        for name, parameter in lstm.named_parameters():
            gradient = getattr(twin, name + ending).grad
            torch.testing.assert_close(parameter.grad.double(), gradient, atol=1e-5, rtol=1e-5)


def test_a_graph_that_is_kept_gives_the_same_gradients_again():
    layer, states = layer_and_states([9, 3])
    loss = run_both_ways(states, [9, 3], layer.forward_lstm, layer.backward_lstm).square().sum()
    first, second = (torch.autograd.grad(loss, states, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_inputs_without_gradient_leave_those_of_the_weights():
    layer, states = layer_and_states([9, 3])
    run_both_ways(states.detach(), [9, 3], layer.forward_lstm, layer.backward_lstm).sum().backward()
    assert states.grad is None
    assert all(parameter.grad.abs().max() > 0 for parameter in layer.parameters())


def test_two_threads_give_what_one_gives():
    layer, states = layer_and_states([9, 7, 3])
    threads, results = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        output = run_both_ways(states, [9, 7, 3], layer.forward_lstm, layer.backward_lstm)
        results.append((output, torch.autograd.grad(output.sum(), states)[0]))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_it_needs_float32_units_in_eights_and_known_lengths():
    layer, states = layer_and_states([9, 3])
    assert runs(states, [9, 3], layer.forward_lstm)
    assert not runs(states, [], layer.forward_lstm) and not runs(states, [0, 0], layer.forward_lstm)
    assert not runs(states.double(), [9, 3], layer.forward_lstm)
    assert not runs(states, [9, 3], layer.double().forward_lstm)
    assert not runs(states, [9, 3], BidirectionalLSTM(INPUT, 12).forward_lstm)


def test_a_layer_takes_it_and_steps_aside_where_it_must(monkeypatch):
    layer, states = layer_and_states([9, 3])
    mask = torch.arange(FRAMES) < torch.tensor([[9], [3]])
    calls = []
    monkeypatch.setattr(listener, "run_both_ways", lambda *given: calls.append(1) or run_both_ways(*given))
    taken = layer(states, mask)
    with torch.no_grad():
        assert torch.equal(layer(states, mask), taken)
        layer.eval()
        layer(states, mask)
    assert len(calls) == 3
    torch.testing.assert_close(layer(states, mask), taken, atol=2e-6, rtol=1e-5)  # has second derivatives
    layer.train()
    layer(states.flip(0), mask.flip(0))  # not the longest first
    layer.forward_lstm.bias_hh_l0.requires_grad_(False)
    layer(states, mask)
    layer.forward_lstm.bias_hh_l0.requires_grad_(True)
    layer.forward_lstm.register_forward_hook(lambda *_: None)
    layer(states, mask)
    assert len(calls) == 3
