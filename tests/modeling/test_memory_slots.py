"""Memory slots: pooled by attention, nested, one checkpoint for every number of them."""

import pytest
import torch

from aural import LasForConditionalGeneration
from aural.modeling.memory_slots import PLACE_SCALE, MemorySlots, draw_slots, places
from tests.tiny import clips, tiny_config, tiny_las

LABELS = torch.tensor([[4, 5, 5, 6, 2], [7, 8, 2, -100, -100]])


def test_a_slot_is_its_querys_average_of_the_real_states():
    torch.manual_seed(0)
    slots = MemorySlots(tiny_config(memory_slots=3))
    states, mask = torch.randn(2, 7, 16), torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    pooled, pooled_mask, shares = slots(states, mask, 2)
    assert (pooled.shape, pooled_mask.tolist()) == ((2, 2, 16), [[True, True]] * 2)
    for row, frames in enumerate((7, 4)):
        where = PLACE_SCALE * places(mask[row : row + 1])[0, :frames]
        keys = slots.key_proj(states[row, :frames]) + where @ slots.place_proj.weight.T
        for slot in range(2):
            turns = torch.arange(1, 9) * torch.pi * (0.25, 0.75)[slot]  # the middle of its half of the clip
            among = PLACE_SCALE * torch.cat([turns.sin(), turns.cos()])
            query = slots.queries.weight[slot] + slots.counts.weight[1] + slots.place_proj.weight @ among
            weights = (keys @ query / 10**0.5).softmax(0)  # attention_size is 10
            torch.testing.assert_close(shares[row, slot, :frames], weights)
            name = slots.names.weight[slot] + slots.name_proj.weight @ among
            expected = weights @ states[row, :frames] + name
            torch.testing.assert_close(pooled[row, slot], expected, atol=1e-5, rtol=1e-5)
        assert (shares[row, :, frames:] == 0).all()


def test_places_go_from_the_start_to_the_end_of_each_clip():
    where = places(torch.tensor([[True] * 4, [True, True, False, False]]))
    torch.testing.assert_close(where[0, :, 8], torch.tensor([0.125, 0.375, 0.625, 0.875]).mul(torch.pi).cos())
    torch.testing.assert_close(where[1, :2, 0], torch.tensor([0.25, 0.75]).mul(torch.pi).sin())


def test_fewer_slots_share_the_clip_anew():
    model = tiny_las(memory_slots=3)
    features, mask = clips([40, 20])
    listened = model.model.listen(features, mask)
    three, one = model.model.remember(listened), model.model.remember(listened, 1)
    assert (three.values.shape[1], one.values.shape[1]) == (3, 1)
    assert not torch.allclose(one.values, three.values[:, :1])  # all of the clip, not its first third
    assert torch.equal(model.model.remember(listened, 3).values, three.values)


def test_before_training_each_slot_looks_at_its_own_share_of_the_clip():
    torch.manual_seed(0)
    slots = LasForConditionalGeneration(tiny_config(memory_slots=8, attention_size=64)).model.memory_slots
    _, _, shares = slots(torch.zeros(1, 80, 16), torch.ones(1, 80, dtype=torch.bool), 8)
    middles = shares[0] @ (torch.arange(80) + 0.5)
    assert (middles.diff() > 0).all()  # in the order of the clip
    assert [10 * slot <= at < 10 * slot + 10 for slot, at in enumerate(shares[0].argmax(-1).tolist())] == [True] * 8


def test_every_doubling_of_the_slots_is_drawn_about_as_often():
    torch.manual_seed(0)
    drawn = torch.tensor([draw_slots(15) for _ in range(4000)])
    shares = [((drawn >= low) & (drawn < 2 * low)).float().mean() for low in (1, 2, 4, 8)]
    torch.testing.assert_close(torch.stack(shares), torch.full((4,), 0.25), atol=0.03, rtol=0)  # 4 standard errors
    assert set(drawn.tolist()) == set(range(1, 16))
    assert {draw_slots(1) for _ in range(20)} == {1}


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_every_number_of_slots_can_be_asked_for_in_every_call(slots):
    model = tiny_las(memory_slots=3)
    features, mask = clips([40, 20])
    taught = model(features, mask, labels=LABELS, memory_slots=slots)
    memory = model.model.remember(model.model.listen(features, mask), slots)
    expected = model.model.speller(
        model.prepare_decoder_input_ids_from_labels(LABELS), memory, model.model.speller.initial_state(memory)
    )
    torch.testing.assert_close(taught.logits, model._logits(expected[0]))
    alone = [model.generate(features[:1], memory_slots=slots), model.generate(features[1:, :20], memory_slots=slots)]
    both = model.generate(features, attention_mask=mask, memory_slots=slots)
    for row, one in enumerate(alone):
        assert both[row, : one.shape[1]].tolist() == one[0].tolist()
    maps = model.attention_maps(features, mask, labels=LABELS, memory_slots=slots)["speller"]
    torch.testing.assert_close(maps, expected[1] @ memory.places[:, None])


def test_the_alignment_of_slots_lies_over_the_listeners_frames():
    model = tiny_las(memory_slots=3)
    features, mask = clips([40, 20])
    maps = model.attention_maps(features, mask, labels=LABELS)["speller"]
    assert maps.shape == (2, 1, 5, 10)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 1, 5))
    assert (maps[1, ..., 5:] == 0).all()


def test_training_draws_every_number_of_slots_and_a_seed_repeats_it():
    model = tiny_las(memory_slots=3).train()
    features, mask = clips([40, 20])
    listened = model.model.listen(features, mask)

    def drawn() -> list[int]:
        torch.manual_seed(0)
        return [model.model.remember(listened).values.shape[1] for _ in range(30)]

    assert set(drawn()) == {1, 2, 3}
    assert drawn() == drawn()


def test_slots_that_cannot_be_are_refused_by_name():
    features, mask = clips([20])
    with pytest.raises(ValueError, match="memory_slots=4 must be in 1 to 3"):
        tiny_las(memory_slots=3)(features, mask, memory_slots=4)
    with pytest.raises(ValueError, match="memory_slots=0 must be in 1 to 3"):
        tiny_las(memory_slots=3).generate(features, memory_slots=0)
    with pytest.raises(ValueError, match="memory_slots=2: this model has none"):
        tiny_las()(features, mask, memory_slots=2)
    with pytest.raises(Exception, match="attention_kind='none' has one slot"):
        tiny_config(memory_slots=2, attention_kind="none")
    with pytest.raises(Exception, match="memory_slots=0 must be at least 1"):
        tiny_config(memory_slots=0)


def test_saved_and_loaded_slots_are_bit_equal(tmp_path):
    model = tiny_las(memory_slots=3)
    model.save_pretrained(tmp_path)
    loaded = LasForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.config.memory_slots == 3
    mine, theirs = model.state_dict(), loaded.state_dict()
    assert mine.keys() == theirs.keys() and "model.memory_slots.queries.weight" in mine
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
