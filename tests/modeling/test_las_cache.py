"""LasCache: where it is returned, by which names it is passed, and what it carries."""

from functools import partial

import pytest
import torch
from transformers import Cache, T5Config, T5ForConditionalGeneration

from aural.modeling import kernels
from aural.modeling.las_cache import CACHE
from tests.tiny import clips, tiny_las


def test_the_cache_is_returned_only_where_it_is_wanted():
    features, mask = clips([20, 16, 8])
    inputs = {"input_features": features, "attention_mask": mask, "decoder_input_ids": torch.tensor([[1, 4]] * 3)}
    assert tiny_las()(**inputs)[CACHE].get_seq_length() == 2
    assert tiny_las().model(**inputs)[CACHE].get_seq_length() == 2
    assert CACHE not in tiny_las()(**inputs, use_cache=False)
    assert CACHE not in tiny_las(use_cache=False)(**inputs)
    assert CACHE not in tiny_las()(features, mask, labels=torch.tensor([[4, 2]] * 3))  # a loss needs no state


def test_the_cache_is_returned_as_transformers_own_models_return_theirs():
    theirs = T5ForConditionalGeneration(
        T5Config(vocab_size=9, d_model=4, d_kv=2, d_ff=4, num_layers=1, num_heads=1, decoder_start_token_id=1)
    )(input_ids=torch.tensor([[4]]), decoder_input_ids=torch.tensor([[1]]))
    mine = tiny_las()(clips([20])[0])
    (name,) = [key for key, value in theirs.items() if isinstance(value, Cache)]
    assert [key for key, value in mine.items() if isinstance(value, Cache)] == [name]
    assert mine.past_key_values is mine[name]  # the older name, which transformers keeps answering to


@pytest.mark.parametrize("name", ["cache", "past_key_values"])  # from transformers 5.24 on, and before
@pytest.mark.parametrize("part", ["whole", "base"])
def test_a_cache_may_be_passed_by_either_of_its_names(name, part):
    model = tiny_las() if part == "whole" else tiny_las().model
    features, mask = clips([20, 16, 8])
    inputs = torch.tensor([[1, 4, 5]] * 3)
    first = model(features, mask, decoder_input_ids=inputs[:, :2])
    rest = model(features, mask, decoder_input_ids=inputs[:, 2:], **{name: first[CACHE]})
    assert rest[CACHE] is first[CACHE]
    whole = model(features, mask, decoder_input_ids=inputs)
    torch.testing.assert_close(rest[0], whole[0][:, 2:], atol=1e-5, rtol=1e-5)


def test_a_call_with_two_caches_is_refused():
    model = tiny_las()
    features, _ = clips([20])
    cache = model(features)[CACHE]
    for call in (model, model.model, model.generate):
        with pytest.raises(ValueError, match="cache and past_key_values are two names of one argument"):
            call(features, cache=cache, past_key_values=cache)


def test_reordering_beams_carries_context_and_previous_weights():
    model = tiny_las()
    features, mask = clips([30])
    two = features.expand(2, -1, -1)
    first = model(two, mask.expand(2, -1), torch.tensor([[1, 4, 5], [1, 7, 6]]), use_cache=True)
    first[CACHE].reorder_cache(torch.tensor([1, 1]))
    after = model(two, mask.expand(2, -1), torch.tensor([[8], [4]]), cache=first[CACHE]).logits
    whole = model(two, mask.expand(2, -1), torch.tensor([[1, 7, 6, 8], [1, 7, 6, 4]])).logits[:, -1:]
    torch.testing.assert_close(after, whole, atol=1e-5, rtol=1e-5)


def test_whoever_would_take_tokens_back_is_told_that_the_cache_cannot():
    assert not tiny_las()(clips([20])[0])[CACHE].is_croppable


@pytest.mark.skipif(kernels.library() is None, reason="no kernels for this processor")
@pytest.mark.parametrize("hooked", [False, True])
def test_the_output_layer_over_many_hypotheses_is_mixed_and_hooks_on_it_have_their_say(hooked):
    model = tiny_las(scale=0.3, listener_hidden_size=32, speller_hidden_size=16, speller_output_size=16)
    features, mask = clips([40, 24])
    torch.manual_seed(0)
    ids, index = torch.randint(3, 9, (16, 4)), torch.randint(8, (16,)) + torch.arange(16) // 8 * 8
    if hooked:
        model.output_mlp[0].register_forward_hook(lambda layer, inputs, result: -result)
    widths = []
    model.model.register_forward_hook(lambda part, inputs, result: widths.append(result[0].shape[-1]))
    with torch.no_grad():
        heard = model.listen(features, mask)
        step = partial(model, attention_mask=mask, encoder_outputs=heard)
        expected = step(decoder_input_ids=torch.cat([ids[index, :2], ids[:, 2:]], dim=1), use_cache=False).logits
        cache = step(decoder_input_ids=ids[:, :2])[CACHE]
        cache.reorder_cache(index)
        logits = [step(decoder_input_ids=ids[:, at : at + 1], cache=cache).logits for at in (2, 3)]
        states = model.model(features, mask, ids[:, :1], cache=cache).last_hidden_state
    assert cache.weights.mixed is not None
    assert (cache.weights.output is None) == hooked
    assert widths == [80, 80, *([80, 80] if hooked else [16, 16]), 80]  # contexts are made where something reads them
    assert states.shape == (16, 1, 80)
    torch.testing.assert_close(torch.cat(logits, dim=1), expected[:, 2:], atol=1e-4, rtol=1e-4)
