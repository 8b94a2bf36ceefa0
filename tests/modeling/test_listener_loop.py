"""The listener's layer with a backward pass of its own against PyTorch's packed LSTM, and where it steps aside."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from aural.modeling import listener
from aural.modeling.listener import BidirectionalLSTM
from aural.modeling.listener_loop import pays, run_both_ways
from tests.modeling.test_listener import packed_twin

INPUT, HIDDEN, FRAMES = 5, 3, 6


def layer_and_states(lengths):
    torch.manual_seed(0)
    layer = BidirectionalLSTM(INPUT, HIDDEN).double().train()
    return layer, torch.randn(len(lengths), FRAMES, INPUT, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize("lengths", [[6, 4, 4, 1], [6, 6], [5, 2], [1]])
def test_outputs_and_every_gradient_equal_those_of_a_packed_lstm(lengths):
    layer, states = layer_and_states(lengths)
    twin = packed_twin(layer, INPUT, HIDDEN).double()
    output = run_both_ways(states, lengths, layer.forward_lstm, layer.backward_lstm)
    theirs = states.detach().clone().requires_grad_()
    packed = pack_padded_sequence(theirs, torch.tensor(lengths), batch_first=True)
    expected = pad_packed_sequence(twin(packed)[0], batch_first=True, total_length=FRAMES)[0]
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    weight = torch.randn_like(output)
    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(states.grad, theirs.grad, atol=1e-12, rtol=0)
    for lstm, ending in ((layer.forward_lstm, ""), (layer.backward_lstm, "_reverse")):
        for name, parameter in lstm.named_parameters():
            torch.testing.assert_close(parameter.grad, getattr(twin, name + ending).grad, atol=1e-12, rtol=0)


def test_gradients_equal_differences_of_the_output():
    lengths = [6, 3, 1]
    layer, states = layer_and_states(lengths)
    run = lambda given: run_both_ways(given, lengths, layer.forward_lstm, layer.backward_lstm)  # noqa: E731
    assert torch.autograd.gradcheck(run, (states,), fast_mode=True)


def test_a_graph_that_is_kept_gives_the_same_gradients_again():
    layer, states = layer_and_states([6, 3])
    loss = run_both_ways(states, [6, 3], layer.forward_lstm, layer.backward_lstm).square().sum()
    first, second = (torch.autograd.grad(loss, states, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_inputs_without_gradient_leave_those_of_the_weights():
    layer, states = layer_and_states([6, 3])
    run_both_ways(states.detach(), [6, 3], layer.forward_lstm, layer.backward_lstm).sum().backward()
    assert states.grad is None
    assert all(parameter.grad.abs().max() > 0 for parameter in layer.parameters())


def test_it_is_for_layers_whose_inputs_are_many():
    assert pays(1024, 256) and pays(2048, 512)
    assert not pays(160, 256) and not pays(512, 256) and not pays(512, 128)


def test_a_layer_takes_it_in_training_and_steps_aside_elsewhere(monkeypatch):
    layer, states = layer_and_states([6, 3])
    mask = torch.arange(FRAMES) < torch.tensor([[6], [3]])
    calls = []
    monkeypatch.setattr(listener, "pays", lambda *_: True)
    monkeypatch.setattr(listener, "run_both_ways", lambda *given: calls.append(1) or run_both_ways(*given))
    taken = layer(states, mask)
    assert calls == [1]
    layer.eval()
    torch.testing.assert_close(layer(states, mask), taken, atol=1e-12, rtol=0)
    layer.train()
    with torch.no_grad():
        layer(states, mask)
    layer(states.flip(0), mask.flip(0))  # not the longest first
    layer(states, torch.arange(FRAMES) < torch.tensor([[6], [0]]))  # a row without frames
    layer.forward_lstm.register_forward_hook(lambda *_: None)
    layer(states, mask)
    assert calls == [1]
