"""The decoder of text: against torch's own, causal, with memory held once per clip."""

from typing import Any

import pytest
import torch
from torch import nn

from aural import TextDecoderConfig
from aural.modeling.companion_cache import CACHE, TextCache
from aural.modeling.text_decoder import TextDecoder, sinusoids

HIDDEN, HEADS, WIDE, LAYERS, VOCABULARY = 16, 2, 24, 2, 11


def tiny_decoder(seed: int = 0, **overrides: Any) -> TextDecoder:
    torch.manual_seed(seed)
    options: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": WIDE,
    }
    decoder = TextDecoder(TextDecoderConfig(**{**options, **overrides})).eval()
    for parameter in decoder.parameters():
        parameter.data.normal_(0, 0.4)
    return decoder


def texts_and_memory(rows: int = 2, clips: int = 2, targets: int = 5, keys: int = 7):
    torch.manual_seed(1)
    lengths = torch.tensor([keys, keys - 3])[:clips]
    return (
        torch.randint(4, VOCABULARY, (rows, targets)),
        torch.randn(clips, keys, HIDDEN),
        torch.arange(keys) < lengths[:, None],
    )


def torchs_own(decoder: TextDecoder) -> nn.TransformerDecoder:
    """torch's pre-norm decoder with the same weights."""
    layer = nn.TransformerDecoderLayer(HIDDEN, HEADS, WIDE, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True)
    theirs = nn.TransformerDecoder(layer, LAYERS, norm=nn.LayerNorm(HIDDEN, eps=1e-6)).eval()

    def attention(to: nn.MultiheadAttention, ours: nn.Module) -> None:
        projections = (ours.q_proj, ours.k_proj, ours.v_proj)
        to.in_proj_weight.data = torch.cat([p.weight for p in projections])
        to.in_proj_bias.data = torch.cat([p.bias for p in projections])
        to.out_proj.load_state_dict(ours.o_proj.state_dict())

    for to, ours in zip(theirs.layers, decoder.layers, strict=True):
        attention(to.self_attn, ours.self_attention)
        attention(to.multihead_attn, ours.cross_attention)
        to.norm1.load_state_dict(ours.layernorm_self.state_dict())
        to.norm2.load_state_dict(ours.layernorm_cross.state_dict())
        to.norm3.load_state_dict(ours.layernorm_mlp.state_dict())
        to.linear1.load_state_dict(ours.mlp.fc1.state_dict())
        to.linear2.load_state_dict(ours.mlp.fc2.state_dict())
    theirs.norm.load_state_dict(decoder.layernorm.state_dict())
    return theirs


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_states_equal_those_of_torchs_decoder(implementation, positions):
    decoder = tiny_decoder(position_kind=positions, max_positions=6)
    decoder.set_attn_implementation(implementation)
    tokens, memory, mask = texts_and_memory()
    at = torch.arange(5)
    places = sinusoids(at, HIDDEN) if positions == "sinusoidal" else decoder.embed_positions(at)
    states = decoder.embed_tokens(tokens) * 4.0 + places  # √16
    later = nn.Transformer.generate_square_subsequent_mask(5)
    expected = torchs_own(decoder)(states, memory, tgt_mask=later, memory_key_padding_mask=(~mask).float() * -1e9)
    ours = decoder(tokens, memory, mask).last_hidden_state
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_waves_are_those_of_the_paper():
    waves = sinusoids(torch.tensor([0, 1, 7]), 6)
    for place, row in zip([0, 1, 7], waves, strict=True):
        angles = torch.tensor([place / 10000 ** (2 * i / 6) for i in range(3)])
        torch.testing.assert_close(row, torch.cat([angles.sin(), angles.cos()]))


def test_a_token_does_not_see_what_follows():
    decoder = tiny_decoder()
    tokens, memory, mask = texts_and_memory()
    whole = decoder(tokens, memory, mask).last_hidden_state
    changed = tokens.clone()
    changed[:, 3:] = 4
    torch.testing.assert_close(decoder(changed, memory, mask).last_hidden_state[:, :3], whole[:, :3])
    assert not torch.allclose(decoder(changed, memory, mask).last_hidden_state[:, 3:], whole[:, 3:])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_hypotheses_that_share_a_memory_read_it_as_their_own(implementation):
    decoder = tiny_decoder()
    decoder.set_attn_implementation(implementation)
    tokens, memory, mask = texts_and_memory(rows=6)
    shared = decoder(tokens, memory, mask, output_attentions=True)
    apart = decoder(tokens, memory.repeat_interleave(3, 0), mask.repeat_interleave(3, 0), output_attentions=True)
    torch.testing.assert_close(shared.last_hidden_state, apart.last_hidden_state, atol=1e-5, rtol=1e-5)
    for one, other in zip(shared.cross_attentions, apart.cross_attentions, strict=True):
        assert one.shape == (6, HEADS, 5, 7)
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_reading_token_by_token_equals_reading_at_once_and_memory_is_kept_once_per_clip():
    decoder, cache = tiny_decoder(), TextCache()
    tokens, memory, mask = texts_and_memory(rows=4)
    whole = decoder(tokens, memory, mask).last_hidden_state
    parts = [decoder(some, memory, mask, **{CACHE: cache}) for some in tokens.split([2, 1, 2], dim=1)]
    torch.testing.assert_close(torch.cat([p.last_hidden_state for p in parts], 1), whole, atol=1e-5, rtol=1e-5)
    assert cache.get_seq_length() == 5
    assert cache.cross_attention_cache.layers[0].keys.shape[0] == 2
    assert cache.self_attention_cache.layers[0].keys.shape[0] == 4


def test_beams_reorder_texts_and_leave_the_memory():
    decoder, cache = tiny_decoder(), TextCache()
    tokens, memory, mask = texts_and_memory(rows=4)
    decoder(tokens[:, :4], memory, mask, **{CACHE: cache})
    beams = torch.tensor([1, 1, 3, 2])
    cache.reorder_cache(beams)
    step = decoder(tokens[:, 4:], memory, mask, **{CACHE: cache}).last_hidden_state
    moved = torch.cat([tokens[beams, :4], tokens[:, 4:]], 1)
    expected = decoder(moved, memory, mask).last_hidden_state[:, 4:]
    torch.testing.assert_close(step, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_weights_sum_to_one_on_what_is_there_and_are_nothing_elsewhere(implementation):
    decoder = tiny_decoder()
    decoder.set_attn_implementation(implementation)
    tokens, memory, mask = texts_and_memory()
    output = decoder(tokens, memory, mask, output_attentions=True)
    plain = decoder(tokens, memory, mask)
    torch.testing.assert_close(output.last_hidden_state, plain.last_hidden_state, atol=1e-5, rtol=1e-5)
    later = torch.ones(5, 5).triu(1).bool()
    for own, crossed in zip(output.attentions, output.cross_attentions, strict=True):
        torch.testing.assert_close(own.sum(-1), torch.ones(2, HEADS, 5))
        torch.testing.assert_close(crossed.sum(-1), torch.ones(2, HEADS, 5))
        assert (own[..., later] == 0).all()
        assert (crossed[1, ..., ~mask[1]] == 0).all()
    assert decoder.config._attn_implementation == implementation


def test_learned_positions_end_and_waves_do_not():
    tokens, memory, mask = torch.ones(2, 9, dtype=torch.long), *texts_and_memory()[1:]
    learned, cache = tiny_decoder(position_kind="learned", max_positions=8), TextCache()
    learned(tokens[:, :8], memory, mask, **{CACHE: cache})
    for again in ({}, {CACHE: cache}):
        with pytest.raises(ValueError, match="decoder_input_ids reach 9 tokens; max_positions=8"):
            learned(tokens[:, :1] if again else tokens, memory, mask, **again)
    assert tiny_decoder()(tokens.repeat(1, 200), memory, mask).last_hidden_state.isfinite().all()


def test_checkpointing_layers_changes_no_gradient():
    tokens, memory, mask = texts_and_memory()
    gradients = []
    for checkpoint in (False, True):
        decoder = tiny_decoder().train()
        if checkpoint:
            decoder.gradient_checkpointing_enable()
        decoder(tokens, memory, mask).last_hidden_state.square().sum().backward()
        gradients.append([parameter.grad for parameter in decoder.parameters()])
    assert all(gradient is not None for gradient in gradients[1])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_dropout_acts_in_training_only():
    decoder = tiny_decoder(hidden_dropout=0.5, attention_dropout=0.5)
    given = texts_and_memory()
    once, again = decoder(*given).last_hidden_state, decoder(*given).last_hidden_state
    assert torch.equal(once, again)
    decoder.train()
    assert not torch.allclose(decoder(*given).last_hidden_state, once)
