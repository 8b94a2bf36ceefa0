"""LasConfig: derived values, saving, and what it refuses."""

import pytest

from aural import LasConfig
from tests.tiny import clips, tiny_las


def test_defaults_are_the_papers_pyramid():
    config = LasConfig()
    assert config.listener_layers == 4
    assert config.time_reduction == 8
    assert config.seconds_per_listener_frame == pytest.approx(0.08)
    assert config.resolved_ctc_layer == 2  # 1, 2, 4, 8 frames per state: the third layer is the deepest at most 4x


def test_names_that_transformers_reads_point_to_ours():
    config = LasConfig(speller_hidden_size=20, speller_layers=3)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (20, 3, 1)
    assert config.is_encoder_decoder


def test_a_trainer_gathers_logits_and_nothing_that_is_no_tensor():
    features, mask = clips([20, 9])
    assert set(tiny_las()(features, mask).keys()) - set(LasConfig.keys_to_ignore_at_inference) == {"logits"}


def test_save_and_load_keep_every_field(tmp_path):
    config = LasConfig(listener_time_reductions=(3, 2), attention_kind="none", ctc_weight=0.25, vocab_size=77)
    config.save_pretrained(tmp_path)
    loaded = LasConfig.from_pretrained(tmp_path)
    assert {**loaded.to_dict(), "transformers_version": ""} == {**config.to_dict(), "transformers_version": ""}
    assert loaded.listener_time_reductions == [3, 2]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_size", 0),
        ("num_mel_bins", 0),
        ("frame_shift_ms", 0),
        ("listener_hidden_size", -1),
        ("listener_time_reductions", []),
        ("listener_time_reductions", [1, 0]),
        ("listener_dropout", 1.0),
        ("attention_kind", "additiv"),
        ("attention_size", 0),
        ("attention_heads", 2),
        ("location_kernel_size", 4),
        ("speller_layers", 0),
        ("speller_dropout", -0.1),
        ("label_smoothing", 1.5),
        ("scheduled_sampling", 2),
        ("ctc_weight", 1.1),
        ("ctc_layer", 4),
        ("pad_token_id", 32),
        ("eos_token_id", [2, 32]),
        ("mask_time_length", 0),
        ("mask_feature_prob", 1.2),
        ("mask_time_min_masks", -3),
        ("frame_shift_ms", float("nan")),
        ("frame_shift_ms", float("inf")),
        ("initializer_range", -1),
        ("eos_token_id", []),
        ("pad_token_id", 2),
        ("eos_token_id", [2, 99]),
        ("query_layer", "middle"),
        ("memory_slots", 0),
        ("phoneme_vocab_size", -1),
        ("phoneme_ctc_weight", float("inf")),
        ("phoneme_ctc_weight", 0.3),  # and no phonemes
        ("guided_attention_weight", -1),
        ("guided_attention_sigma", 0),
        ("guided_attention_updates", 0),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(Exception, match=field):
        LasConfig(**{field: value})


@pytest.mark.parametrize(("heads", "size"), [(3, 12), (2, 15)])
def test_heads_divide_the_attention_and_the_listeners_states(heads, size):
    with pytest.raises(Exception, match=f"attention_heads={heads} must divide attention_size={size} and twice"):
        LasConfig(attention_kind="multihead", attention_heads=heads, attention_size=size, listener_hidden_size=8)


def test_a_ctc_head_on_a_layer_with_too_few_states_is_refused():
    with pytest.raises(Exception, match=r"8x.*at most 4x"):
        LasConfig(ctc_weight=0.3, ctc_layer=3)
    with pytest.raises(Exception, match="6x"):
        LasConfig(ctc_weight=0.3, listener_time_reductions=[6])
    assert LasConfig(ctc_weight=0.3, ctc_layer=1).resolved_ctc_layer == 1


def test_a_wrong_type_is_refused_by_name():
    with pytest.raises(Exception, match="speller_layers"):
        LasConfig(speller_layers="two")
