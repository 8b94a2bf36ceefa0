"""The listener against packed sequences and a pyramid worked by hand."""

import itertools
import math

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from aural.modeling.listener import (
    BidirectionalLSTM,
    Listener,
    Stretch,
    reverse_within_length,
    stack_frames,
    stretches,
)
from tests.tiny import clips, tiny_config


def packed_twin(ours: BidirectionalLSTM, input_size: int, hidden_size: int) -> torch.nn.LSTM:
    """PyTorch's bidirectional LSTM with the same weights."""
    twin = torch.nn.LSTM(input_size, hidden_size, batch_first=True, bidirectional=True)
    state = dict(ours.forward_lstm.state_dict())
    state.update({f"{name}_reverse": value for name, value in ours.backward_lstm.state_dict().items()})
    twin.load_state_dict(state)
    return twin


@pytest.mark.parametrize("call", [0, 1000], ids=["every end cuts", "one stretch"])
@pytest.mark.parametrize(
    "lengths", [[11, 4, 1, 9], [11, 9, 4, 1], [11] * 4, [10] * 4], ids=["mixed", "falling", "full", "all padded"]
)
def test_unpacked_bilstm_equals_packed_in_outputs_and_gradients(monkeypatch, lengths, call):
    monkeypatch.setattr("aural.modeling.listener.stretches", lambda lengths: stretches(lengths, call))
    torch.manual_seed(0)
    ours = BidirectionalLSTM(5, 7)
    twin = packed_twin(ours, 5, 7)
    lengths = torch.tensor(lengths)
    mask = torch.arange(11) < lengths[:, None]
    states = torch.randn(4, 11, 5)
    mine, theirs = states.clone().requires_grad_(), states.clone().requires_grad_()
    output = ours(mine, mask)
    packed = pack_padded_sequence(theirs, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(twin(packed)[0], batch_first=True, total_length=11)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    weight = torch.randn_like(output)
    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=0)
    for name, parameter in ours.forward_lstm.named_parameters():
        torch.testing.assert_close(parameter.grad, getattr(twin, name).grad, atol=1e-5, rtol=1e-5)
    for name, parameter in ours.backward_lstm.named_parameters():
        torch.testing.assert_close(parameter.grad, getattr(twin, f"{name}_reverse").grad, atol=1e-5, rtol=1e-5)


def test_a_row_that_has_ended_is_not_run_over(monkeypatch):
    ours, seen = BidirectionalLSTM(2, 3), []
    ours.forward_lstm.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[:2])))
    mask = torch.arange(130) < torch.tensor([130, 70, 10, 10])[:, None]
    output = ours(torch.randn(4, 130, 2), mask)
    assert seen == [(4, 10), (2, 60), (1, 60)]
    assert (output[~mask] == 0).all()
    assert (output[0] != 0).any()
    seen.clear()
    monkeypatch.setattr("aural.modeling.listener.on_host", lambda _: False)  # as on an accelerator
    torch.testing.assert_close(ours(torch.randn(4, 130, 2), mask).shape, output.shape)
    assert seen == [(4, 130)]


@pytest.mark.parametrize("call", [0, 3, 20, 500])
def test_stretches_cost_least_of_all_ways_to_cut(call):
    lengths = [7, 3, 12, 12, 5, 0, 9]
    ends = sorted(set(lengths) - {0})
    ways = [
        [*cuts, ends[-1]] for count in range(len(ends)) for cuts in itertools.combinations(ends[:-1], count)
    ]  # every choice of ends to cut at

    def cost(way):
        starts = [0, *way[:-1]]
        rows = [sum(length > start for length in lengths) for start in starts]
        return sum((end - start) * n + call for start, end, n in zip(starts, way, rows, strict=True))

    found = stretches(lengths, call)
    assert [each.start for each in found] == [0, *(each.end for each in found[:-1])]
    assert [each.rows for each in found] == [sum(length > each.start for length in lengths) for each in found]
    assert cost([each.end for each in found]) == min(cost(way) for way in ways)


def test_no_frames_need_no_stretch():
    assert stretches([0, 0]) == []
    assert stretches([4, 4]) == [Stretch(0, 4, 2)]


def test_rows_are_reversed_inside_their_own_length():
    states = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])[..., None].float()
    reversed_rows = reverse_within_length(states, torch.tensor([4, 2]))
    assert reversed_rows[..., 0].tolist() == [[4, 3, 2, 1], [6, 5, 7, 8]]


@pytest.mark.parametrize("frames", range(1, 14))
def test_pyramid_length_is_the_ceiling(frames):
    listener = Listener(tiny_config(listener_time_reductions=[3, 2]))
    features, mask = clips([frames])
    output = listener(features, mask)
    assert output.last_hidden_state.shape[1] == math.ceil(math.ceil(frames / 3) / 2)
    assert output.mask.all()


def test_odd_tails_are_filled_with_zeros():
    states = torch.arange(1.0, 6.0).view(1, 5, 1)
    stacked, mask = stack_frames(states, torch.ones(1, 5, dtype=torch.bool), 2)
    assert stacked.tolist() == [[[1, 2], [3, 4], [5, 0]]]
    assert mask.tolist() == [[True, True, True]]


def test_a_short_clip_is_heard_alike_alone_and_beside_longer_ones():
    torch.manual_seed(0)
    listener = Listener(tiny_config(listener_time_reductions=[1, 2, 2])).eval()
    features, mask = clips([23, 9, 1])
    together = listener(features, mask)
    for row, length in enumerate([23, 9, 1]):
        alone = listener(features[row : row + 1, :length])
        states = alone.last_hidden_state.shape[1]
        torch.testing.assert_close(
            together.last_hidden_state[row, :states], alone.last_hidden_state[0], atol=1e-5, rtol=0
        )
        assert (together.last_hidden_state[row, states:] == 0).all()
        assert together.mask[row].sum() == states


def test_rows_of_any_order_are_heard_in_it_each_over_its_own_frames():
    torch.manual_seed(0)
    listener, seen = Listener(tiny_config(listener_time_reductions=[1, 2], ctc_weight=0.5)).eval(), []
    listener.layers[0].forward_lstm.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    lengths = [9, 200, 80]
    features, mask = clips(lengths)
    together = listener(features, mask, output_hidden_states=True)
    assert seen == [3, 2, 1]
    for row, length in enumerate(lengths):
        alone = listener(features[row : row + 1, :length], output_hidden_states=True)
        for mine, own in zip(
            (together.ctc_states, *together.hidden_states), (alone.ctc_states, *alone.hidden_states), strict=True
        ):
            torch.testing.assert_close(mine[row, : own.shape[1]], own[0], atol=1e-5, rtol=0)


def test_hidden_states_show_every_layer_of_the_pyramid():
    listener = Listener(tiny_config(listener_time_reductions=[1, 2, 2]))
    features, mask = clips([10])
    shapes = [tuple(states.shape) for states in listener(features, mask, output_hidden_states=True).hidden_states]
    assert shapes == [(1, 10, 16), (1, 5, 16), (1, 3, 16)]


def test_a_replica_that_lists_no_parameters_still_listens(monkeypatch):
    listener = Listener(tiny_config())  # as nn.DataParallel makes them
    expected = listener(*clips([10])).last_hidden_state
    monkeypatch.setattr(Listener, "parameters", lambda self, recurse=True: iter(()))
    assert torch.equal(listener(*clips([10])).last_hidden_state, expected)


def test_ctc_states_come_from_the_layer_under_the_ctc_head():
    config = tiny_config(listener_time_reductions=[2, 2, 2], ctc_weight=0.5)
    output = Listener(config)(*clips([16]))
    assert output.ctc_states.shape == (1, 4, 16)
    assert output.last_hidden_state.shape == (1, 2, 16)
