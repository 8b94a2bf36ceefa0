"""A silenced head: as if its slice before the output projection were 0, and nothing else, and nothing left behind."""

import copy

import pytest
import torch

from aural import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
)
from aural.modeling.head_knockout import encoder_of, knocked_out
from tests.tiny import tiny_las
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram, tiny_writer

MOMENTS = SpectrogramTransformerForAudioFrameClassification
FEATURES, MASK = spectrograms([20, 14])
HEAD = 8  # features of a head: 16 over 2 heads


def hooks(model):
    return [hook for module in model.modules() for hook in module._forward_pre_hooks]


def without(model, heads):
    """A copy whose output projections take nothing from some heads."""
    changed = copy.deepcopy(model)
    for layer, head in heads:
        with torch.no_grad():
            encoder_of(changed).layers[layer].attention.o_proj.weight[:, head * HEAD : (head + 1) * HEAD] = 0
    return changed


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("heads", [[(0, 1)], [(1, 0)], [(0, 0), (1, 1)], [(1, 0), (1, 1)]])
@torch.no_grad()
def test_a_silenced_head_is_one_whose_columns_of_the_output_projection_are_zero(heads, implementation):
    model = tiny_spectrogram(MOMENTS, attn_implementation=implementation)
    whole = model(FEATURES, MASK).logits
    expected = without(model, heads)(FEATURES, MASK)
    with knocked_out(model, [(f"layers.{layer}", head) for layer, head in heads]):
        found = model(FEATURES, MASK)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.clip_logits, expected.clip_logits, atol=1e-5, rtol=0)
    assert (found.logits - whole).abs().max() > 0.01


@torch.no_grad()
def test_an_attention_without_a_head_by_hand():
    attention = tiny_spectrogram(SpectrogramTransformerModel).layers[0].attention
    states = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    query, key, value = (
        projection(states)[0, :, HEAD:] for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )  # of the second head, the only one that speaks
    context = (query @ key.T / HEAD**0.5).softmax(-1) @ value
    expected = context @ attention.o_proj.weight[:, HEAD:].T + attention.o_proj.bias  # the bias stays
    model = tiny_spectrogram(SpectrogramTransformerModel)
    with knocked_out(model, [("layers.0", 0)]):
        found, _ = model.layers[0].attention(states)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)


def test_the_model_is_as_it_was_afterwards_also_when_the_block_fails():
    model = tiny_spectrogram(MOMENTS)
    before, weights = model(FEATURES, MASK).logits, copy.deepcopy(model.state_dict())
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    with pytest.raises(RuntimeError, match="amid"), knocked_out(model, [("layers.0", 0), ("layers.1", 1)]):
        assert len(hooks(model)) == 2
        model(FEATURES, MASK)
        raise RuntimeError("amid")
    assert not hooks(model)
    assert torch.equal(model(FEATURES, MASK).logits, before)
    assert attributes == {name: set(vars(module)) for name, module in model.named_modules()}
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])


@torch.no_grad()
def test_maps_of_later_layers_change_and_those_of_its_own_do_not():
    model = tiny_spectrogram(MOMENTS)
    whole = model.attention_maps(FEATURES, MASK)
    with knocked_out(model, [("layers.0", 1)]):
        found = model.attention_maps(FEATURES, MASK)
    assert torch.equal(found["layers.0"], whole["layers.0"])
    assert (found["layers.1"] - whole["layers.1"]).abs().max() > 0.01


def test_a_block_within_a_block_and_every_head_that_writes_or_scores():
    for model in (tiny_writer(), tiny_spectrogram(SpectrogramTransformerForAudioClassification)):
        encoder = encoder_of(model)
        with knocked_out(model, [("layers.0", 0)]), knocked_out(model, [("layers.1", 1)]), torch.no_grad():
            nested = encoder(FEATURES, MASK).last_hidden_state
        expected = without(model, [(0, 0), (1, 1)])
        with torch.no_grad():
            expected = encoder_of(expected)(FEATURES, MASK).last_hidden_state
        torch.testing.assert_close(nested, expected, atol=1e-5, rtol=0)
        assert not hooks(model)


def test_a_silenced_head_gets_no_gradient_and_infinity_in_it_does_no_harm():
    model = tiny_spectrogram(MOMENTS)
    values = model.spectrogram_transformer.layers[1].attention.v_proj
    with knocked_out(model, [("layers.1", 0)]):
        model(FEATURES, MASK).logits.sum().backward()
    assert (values.weight.grad[:HEAD] == 0).all()
    assert (values.weight.grad[HEAD:] != 0).any()
    with torch.no_grad():
        values.bias[:HEAD] = torch.inf
        with knocked_out(model, [("layers.1", 0)]):
            assert model(FEATURES, MASK).logits.isfinite().all()


def test_heads_and_models_that_are_none_are_named():
    model = tiny_spectrogram(MOMENTS)
    for wrong in (("layers.2", 0), ("layers.0", 2), ("layers.0", -1), ("decoder.0", 0)):
        with (
            pytest.raises(ValueError, match=r"layers\.0 to layers\.1, heads 0 to 1"),
            knocked_out(model, [("layers.0", 0), wrong]),
        ):
            pass
        assert not hooks(model)
    with pytest.raises(TypeError, match="LasForConditionalGeneration has no encoder of patches"):
        encoder_of(tiny_las())
