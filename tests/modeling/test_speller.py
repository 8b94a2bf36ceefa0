"""The speller against a plain step-by-step one made of PyTorch's own cells."""

import pytest
import torch

from aural.modeling import kernels
from aural.modeling.las_cache import LasCache
from aural.modeling.packed_linear import PackedProduct
from tests.tiny import VARIANTS, tiny_las


@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if kind != "slots"])
def test_speller_is_lstm_cells_that_read_the_context_of_the_step_before(kind):
    model = tiny_las(**VARIANTS[kind])
    speller = model.model.speller
    torch.manual_seed(0)
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    memory = speller.attention.prepare(torch.randn(2, 7, 16), mask)
    ids = torch.tensor([[1, 4, 7, 5], [1, 6, 6, 2]])
    cells = [torch.nn.LSTMCell(7 + 16, 12), torch.nn.LSTMCell(12, 12)]
    for plain, ours in zip(cells, speller.cells, strict=True):
        plain.load_state_dict(ours.state_dict())
    states = [(torch.zeros(2, 12), torch.zeros(2, 12)) for _ in cells]
    context, weights, expected, alignment = torch.zeros(2, 16), speller.attention.initial_weights(memory), [], []
    for step in range(4):
        below = torch.cat([speller.embed_tokens(ids[:, step]), context], dim=-1)
        for i, cell in enumerate(cells):
            states[i] = cell(below, states[i])
            below = states[i][0]
        query = states[0][0] if kind == "first" else below
        context, weights = speller.attention(query[:, None], memory, weights)
        context = context[:, 0]
        expected.append(torch.cat([below, context], dim=-1))
        alignment.append(weights)
    outputs, attention, _, end = speller(ids, memory, speller.initial_state(memory))
    torch.testing.assert_close(outputs, torch.stack(expected, dim=1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention, torch.cat(alignment, dim=2), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(end.feed.context, context, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip((end.hidden[-1], end.cell[-1]), states[-1], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if kind != "slots"])
def test_hypotheses_share_their_utterances_memory(kind):
    speller = tiny_las(**VARIANTS[kind]).model.speller
    torch.manual_seed(0)
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    states = torch.randn(2, 7, 16)
    ids = torch.tensor([[1, 4, 7], [1, 5, 5], [1, 6, 6], [1, 4, 4], [1, 8, 3], [1, 7, 4]])  # three per utterance
    shared = speller.attention.prepare(states, mask)
    copied = speller.attention.prepare(states.repeat_interleave(3, 0), mask.repeat_interleave(3, 0))
    mine = speller(ids, shared, speller.initial_state(shared, 3))
    theirs = speller(ids, copied, speller.initial_state(copied))
    for one, other in zip((*mine[:2], *mine[2]), (*theirs[:2], *theirs[2]), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine[3].weights, theirs[3].weights, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if kind != "slots"])
def test_the_table_of_decoding_gives_what_the_products_give(kind, beams):
    speller = tiny_las(scale=0.5, **VARIANTS[kind]).model.speller
    torch.manual_seed(0)
    memory = speller.attention.prepare(torch.randn(2, 7, 16), torch.tensor([[True] * 7, [True] * 4 + [False] * 3]))
    ids = torch.tensor([[1, 4, 7, 5], [1, 6, 6, 2], [1, 3, 8, 8], [1, 4, 4, 7]])[: 2 * beams]
    with torch.no_grad():
        expected = speller(ids, memory, speller.initial_state(memory, beams))
        weights = speller.decoding_weights(memory, beams)
        first, _, _, state = speller(ids[:, :2], memory, speller.initial_state(memory, beams), weights=weights)
        rest = speller(ids[:, 2:], memory, state, weights=weights)
    assert weights.table.shape == (9, 48)
    torch.testing.assert_close(torch.cat([first, rest[0]], dim=1), expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rest[3].weights, expected[3].weights, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["dot", "location", "multihead", "none"])
def test_hypotheses_with_one_parent_are_multiplied_once_and_differ_by_their_tokens(kind, monkeypatch):
    speller = tiny_las(scale=0.5, **VARIANTS[kind]).model.speller
    memory = speller.attention.prepare(torch.randn(2, 7, 16), torch.tensor([[True] * 7, [True] * 4 + [False] * 3]))
    ids = torch.tensor([[1, 4], [1, 5], [1, 6], [1, 4], [1, 8], [1, 7]])  # three per utterance
    index, tokens = torch.tensor([2, 0, 2, 3, 3, 3]), torch.tensor([[4], [5], [6], [4], [7], [8]])
    multiplied = []
    original = PackedProduct.__call__
    monkeypatch.setattr(
        PackedProduct, "__call__", lambda self, x, *bent: multiplied.append(len(x)) or original(self, x, *bent)
    )
    with torch.no_grad():
        expected = speller(torch.cat([ids[index], tokens], 1), memory, speller.initial_state(memory, 3))[0][:, 2:]
        weights = speller.decoding_weights(memory, 3)
        state = speller(ids, memory, speller.initial_state(memory, 3), weights=weights)[3]
        cache = LasCache(memory, state, 2, weights)
        cache.reorder_cache(index)
        multiplied.clear()
        after = speller(tokens, memory, cache.state, weights=weights)
        assert multiplied[0] == 3  # of six rows
        again = speller(tokens, memory, cache.state, weights=weights)
    torch.testing.assert_close(after[0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again[0], after[0], atol=0, rtol=0)  # the state is a value: a step leaves it as it was
    assert after[3].feed.rows is None  # their tokens made them differ


@pytest.mark.parametrize("beams", [3, 8])
def test_hypotheses_that_move_twice_between_steps_are_where_they_went_last(beams):
    speller = tiny_las(scale=0.5).model.speller
    memory = speller.attention.prepare(torch.randn(2, 4, 16), torch.ones(2, 4, dtype=torch.bool))
    ids = torch.randint(3, 9, (2 * beams, 2))
    first = torch.cat([torch.randint(beams, (beams,)), beams + torch.randint(beams, (beams,))])
    second = torch.cat([torch.arange(beams).flip(0), beams + torch.randint(beams, (beams,))])
    with torch.no_grad():
        weights = speller.decoding_weights(memory, beams)
        state = speller(ids, memory, speller.initial_state(memory, beams, weights), weights=weights)[3]
        caches = [LasCache(memory, state, 2, weights) for _ in range(2)]
        caches[0].reorder_cache(first)
        caches[0].reorder_cache(second)
        caches[1].reorder_cache(first[second])
        twice, once = (speller(ids[:, :1], memory, cache.state, weights=weights)[0] for cache in caches)
    torch.testing.assert_close(twice, once, atol=1e-6, rtol=1e-5)


@pytest.mark.skipif(kernels.library() is None, reason="no kernels for this processor")
@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if kind != "slots"])
def test_many_hypotheses_mix_what_few_keys_add_to_the_gates(kind):
    speller = tiny_las(scale=0.5, **VARIANTS[kind]).model.speller
    mask = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    memory = speller.attention.prepare(torch.randn(2, 4, 16), mask)
    ids, index = torch.randint(3, 9, (16, 4)), torch.randint(8, (16,)) + torch.arange(16) // 8 * 8
    with torch.no_grad():
        whole = torch.cat([ids[index, :2], ids[:, 2:]], dim=1)
        expected = speller(whole, memory, speller.initial_state(memory, 8))
        weights = speller.decoding_weights(memory, 8)
        assert (weights.mixed is None) == (kind == "multihead")  # whose contexts are projected, not only mixed
        state = speller(ids[:, :2], memory, speller.initial_state(memory, 8, weights), weights=weights)[3]
        cache = LasCache(memory, state, 2, weights)
        cache.reorder_cache(index)
        outputs, attention, _, end = speller(ids[:, 2:], memory, cache.state, weights=weights)
    torch.testing.assert_close(outputs, expected[0][:, 2:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention, expected[1][:, :, 2:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(end.weights, expected[3].weights, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("beams", "keys"), [(7, 4), (8, 5)])
def test_few_hypotheses_or_many_keys_multiply_contexts(beams, keys):
    speller = tiny_las().model.speller
    memory = speller.attention.prepare(torch.randn(2, keys, 16), torch.ones(2, keys, dtype=torch.bool))
    with torch.no_grad():
        assert speller.decoding_weights(memory, beams).mixed is None


def test_scheduled_sampling_reads_the_upper_layers_at_every_step_whichever_layer_asks():
    speller = tiny_las(query_layer="first").model.speller
    memory = speller.attention.prepare(torch.randn(2, 7, 16), torch.ones(2, 7, dtype=torch.bool))
    ids = torch.tensor([[1, 4, 7, 5], [1, 6, 6, 2]])
    seen = []

    def head(outputs):
        seen.append(outputs)
        return torch.nn.functional.one_hot(ids[:, len(seen)], 9) * 1e4  # its own draw is the text

    start = speller.initial_state(memory)
    expected = speller(ids, memory, start)[0]
    sampled = speller(ids, memory, start, head, sampling=0.999)[0]
    torch.testing.assert_close(sampled, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.stack(seen, 1), expected[:, :3], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", ["last", "first"])
def test_running_in_two_parts_gives_what_one_run_gives(layer):
    speller = tiny_las(query_layer=layer).model.speller
    memory = speller.attention.prepare(torch.randn(2, 7, 16), torch.ones(2, 7, dtype=torch.bool))
    ids = torch.tensor([[1, 4, 7, 5], [1, 6, 6, 2]])
    whole = speller(ids, memory, speller.initial_state(memory))[0]
    first, _, _, state = speller(ids[:, :2], memory, speller.initial_state(memory))
    rest = speller(ids[:, 2:], memory, state)[0]
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole, atol=1e-5, rtol=1e-5)
