"""Attention against the formula worked by hand and against PyTorch's own."""

import math

import pytest
import torch

from aural.modeling.attention import MultiHeadAttention, masked_softmax, scaled_dot_product_attention
from aural.modeling.speller_attention import ATTENTIONS
from tests.tiny import VARIANTS, tiny_config


def test_scaled_dot_product_attention_is_the_formula_worked_by_hand():
    query = torch.tensor([[1.0, 0.0]])
    key = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    value = torch.tensor([[10.0], [20.0]])
    context, weights = scaled_dot_product_attention(query, key, value)
    first = math.exp(1 / math.sqrt(2)) / (math.exp(1 / math.sqrt(2)) + 1)
    torch.testing.assert_close(weights, torch.tensor([[first, 1 - first]]))
    torch.testing.assert_close(context, torch.tensor([[10 * first + 20 * (1 - first)]]))


def test_scaled_dot_product_attention_equals_pytorchs_with_a_mask():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 5)
    mask = torch.rand(2, 1, 4, 6) > 0.3
    mask[..., 0] = True
    context, weights = scaled_dot_product_attention(query, key, value, mask)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(context, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 4))
    assert (weights[~mask.expand_as(weights)] == 0).all()


def test_masked_softmax_gives_zeros_not_nan_where_nothing_may_be_attended():
    weights = masked_softmax(torch.randn(2, 3), torch.tensor([[False] * 3, [True, False, True]]))
    assert weights[0].tolist() == [0, 0, 0]
    assert weights[1].sum().item() == pytest.approx(1)
    assert weights[1, 1] == 0


def test_masked_softmax_holds_for_half_precision_and_huge_scores():
    scores = torch.tensor([[60000.0, -60000.0, 60000.0]], dtype=torch.float16)
    weights = masked_softmax(scores, torch.tensor([[True, True, False]]))
    assert weights.tolist() == [[1, 0, 0]]


def test_multi_head_attention_equals_pytorchs():
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(12, 3).double(), torch.nn.MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        for name, part in zip(("q_proj", "k_proj", "v_proj"), theirs.in_proj_weight.chunk(3), strict=True):
            getattr(ours, name).weight.copy_(part)
            getattr(ours, name).bias.normal_()
        theirs.in_proj_bias.copy_(torch.cat([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias]))
        ours.o_proj.load_state_dict(theirs.out_proj.state_dict())
    query, memory = torch.randn(2, 4, 12).double(), torch.randn(2, 6, 12).double()
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    output, weights = ours(query, memory, mask)
    expected, expected_weights = theirs(query, memory, memory, key_padding_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights, expected_weights)


def test_multi_head_attention_refuses_a_size_that_does_not_divide():
    with pytest.raises(ValueError, match=r"hidden_size=10.*num_heads=3"):
        MultiHeadAttention(10, 3)


@pytest.mark.parametrize("kind", ["dot", "additive", "location"])
def test_weights_of_every_kind_sum_to_one_and_are_zero_on_padding(kind):
    torch.manual_seed(0)
    attention = ATTENTIONS[kind](tiny_config())
    mask = torch.tensor([[True] * 7, [True] * 3 + [False] * 4])
    memory = attention.prepare(torch.randn(2, 7, 16) * 5, mask)
    weights = attention.initial_weights(memory)
    for _ in range(3):  # location attention reads its own last weights
        context, weights = attention(torch.randn(2, 1, 12) * 5, memory, weights)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 1))
        assert (weights[1, ..., 3:] == 0).all()
        torch.testing.assert_close(context, weights[:, 0] @ memory.values)


def test_additive_attention_is_bahdanaus_energy():
    torch.manual_seed(0)
    attention = ATTENTIONS["additive"](tiny_config(attention_kind="additive"))
    states, queries = torch.randn(1, 7, 16), torch.randn(1, 2, 12)
    memory = attention.prepare(states, torch.ones(1, 7, dtype=torch.bool))
    context, weights = attention(queries, memory, attention.initial_weights(memory))
    for which in range(2):
        energy = [
            attention.energy_proj.weight
            @ (attention.query_proj.weight @ queries[0, which] + attention.key_proj(states[0, frame])).tanh()
            for frame in range(7)
        ]
        torch.testing.assert_close(weights[0, 0, which], torch.cat(energy).softmax(0))
        torch.testing.assert_close(context[0, which], weights[0, 0, which] @ states[0])


def test_multihead_attention_of_a_speller_equals_pytorchs():
    torch.manual_seed(0)
    config = tiny_config(attention_kind="multihead", attention_heads=2, attention_size=16)
    ours = ATTENTIONS["multihead"](config).double()
    theirs = torch.nn.MultiheadAttention(16, 2, kdim=16, vdim=16, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([torch.eye(16), ours.key_proj.weight, ours.value_proj.weight]))
        theirs.in_proj_bias.copy_(torch.cat([torch.zeros(16), ours.key_proj.bias, ours.value_proj.bias]))
        theirs.out_proj.load_state_dict(ours.output_proj.state_dict())
    states, queries = torch.randn(2, 7, 16).double(), torch.randn(2, 3, 12).double()
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    memory = ours.prepare(states, mask)
    context, weights = ours(queries, memory, ours.initial_weights(memory))
    asked = ours.query_proj(queries)
    expected, expected_weights = theirs(asked, states, states, key_padding_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(context, expected)
    torch.testing.assert_close(weights, expected_weights)


@pytest.mark.parametrize("kind", ["dot", "additive", "location", "multihead", "none"])
def test_several_queries_at_once_get_what_each_gets_alone(kind):
    torch.manual_seed(0)
    attention = ATTENTIONS[kind](tiny_config(**VARIANTS[kind]))
    memory = attention.prepare(torch.randn(2, 7, 16), torch.tensor([[True] * 7, [True] * 4 + [False] * 3]))
    queries = torch.randn(2, 3, 12)
    previous = attention.initial_weights(memory).expand(-1, -1, 3, -1)
    previous = previous * torch.rand(previous.shape) if kind != "none" else previous
    context, weights = attention(queries, memory, previous)
    for which in range(3):
        alone = attention(queries[:, which : which + 1], memory, previous[:, :, which : which + 1])
        torch.testing.assert_close(context[:, which : which + 1], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(weights[:, :, which : which + 1], alone[1], atol=1e-5, rtol=1e-5)


def test_location_attention_is_chorowskis_energy():
    torch.manual_seed(0)
    attention = ATTENTIONS["location"](tiny_config())
    states, query = torch.randn(1, 7, 16), torch.randn(1, 1, 12)
    previous = torch.rand(1, 1, 1, 7).softmax(-1)
    memory = attention.prepare(states, torch.ones(1, 7, dtype=torch.bool))
    _, weights = attention(query, memory, previous)
    location = torch.nn.functional.conv1d(previous[:, 0], attention.location_conv.weight, padding=2)  # (1, 3, 7)
    energy = []
    for frame in range(7):
        inner = attention.query_proj.weight @ query[0, 0] + attention.key_proj(states[0, frame])
        inner = inner + attention.location_proj.weight @ location[0, :, frame]
        energy.append((attention.energy_proj.weight @ inner.tanh()).squeeze())
    torch.testing.assert_close(weights[0, 0, 0], torch.stack(energy).softmax(0))


def test_location_attention_looks_elsewhere_when_it_looked_elsewhere_before():
    torch.manual_seed(0)
    attention = ATTENTIONS["location"](tiny_config())
    torch.nn.init.normal_(attention.location_proj.weight, std=3)
    memory = attention.prepare(torch.randn(1, 7, 16), torch.ones(1, 7, dtype=torch.bool))
    query = torch.randn(1, 1, 12)
    start, end = torch.eye(7)[0].view(1, 1, 1, 7), torch.eye(7)[6].view(1, 1, 1, 7)
    assert not torch.allclose(attention(query, memory, start)[1], attention(query, memory, end)[1], atol=1e-2)


def test_no_attention_is_the_last_state_of_each_direction():
    attention = ATTENTIONS["none"](tiny_config())
    states = torch.arange(2 * 5 * 16, dtype=torch.float32).view(2, 5, 16)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    memory = attention.prepare(states, mask)
    context, weights = attention(torch.randn(2, 1, 12), memory, attention.initial_weights(memory))
    expected = torch.stack(
        [torch.cat([states[0, 4, :8], states[0, 0, 8:]]), torch.cat([states[1, 2, :8], states[1, 0, 8:]])]
    )
    assert torch.equal(context[:, 0], expected)
    assert weights.tolist() == [[[[1]]], [[[1]]]]


def test_dot_attention_compares_two_mlps_by_a_scaled_product():
    torch.manual_seed(0)
    attention = ATTENTIONS["dot"](tiny_config())
    states, query = torch.randn(1, 7, 16), torch.randn(1, 1, 12)
    memory = attention.prepare(states, torch.ones(1, 7, dtype=torch.bool))
    asked, said = (
        part[-1](part[0](x).tanh()) for part, x in ((attention.query_proj, query), (attention.key_proj, states))
    )
    energy = (said @ asked[0, 0]) / 10**0.5  # attention_size is 10
    _, weights = attention(query, memory, attention.initial_weights(memory))
    torch.testing.assert_close(weights[0, 0, 0], energy[0].softmax(0))
