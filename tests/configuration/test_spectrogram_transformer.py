"""SpectrogramTransformerConfig: the grid, presets, saving, and what it refuses."""

import pytest

from aural import SpectrogramTransformerConfig
from tests.tiny_spectrogram import tiny_spectrogram_config


def test_defaults_are_asts_grid():
    config = SpectrogramTransformerConfig()
    assert config.frequency_patches * config.time_patches(1024) == 1212  # and two tokens: the paper's 1,214
    assert config.num_class_tokens == 2
    assert config.intermediate_size == 3072


@pytest.mark.parametrize(("frames", "columns"), [(1024, 101), (26, 2), (25, 1), (16, 1), (15, 1), (1, 1)])
def test_columns_are_the_whole_patches_of_a_clip_and_at_least_one(frames, columns):
    assert SpectrogramTransformerConfig().time_patches(frames) == columns


def test_patch_centers_are_the_middles_in_seconds():
    config = tiny_spectrogram_config()  # 6 frames every 3, of 10 ms
    assert config.patch_centers(13) == pytest.approx([0.03, 0.06, 0.09])
    assert config.seconds_per_patch == pytest.approx(0.03)


@pytest.mark.parametrize(("name", "width", "heads"), [("tiny", 192, 3), ("small", 384, 6), ("base", 768, 12)])
def test_presets_have_the_widths_of_deit_and_take_overrides(name, width, heads):
    config = SpectrogramTransformerConfig.from_preset(name, patch_stride=[16, 16], num_labels=5)
    assert (config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (width, heads, 12)
    assert (config.intermediate_size, config.patch_stride, config.num_labels) == (4 * width, [16, 16], 5)


def test_an_unknown_preset_is_refused_by_name():
    with pytest.raises(ValueError, match="preset='huge' must be one of tiny, small, base"):
        SpectrogramTransformerConfig.from_preset("huge")


@pytest.mark.parametrize(("pooling", "tokens"), [("cls", 1), ("cls_distillation", 2), ("mean", 0), ("attention", 0)])
def test_pooling_brings_the_class_tokens_it_needs(pooling, tokens):
    assert tiny_spectrogram_config(pooling=pooling).num_class_tokens == tokens
    assert tiny_spectrogram_config(pooling=pooling, num_class_tokens=2).num_class_tokens == 2


def test_save_and_load_keep_every_field(tmp_path):
    config = tiny_spectrogram_config(
        position_kind="rotary", pooling="attention", patch_size=(3, 5), patch_stride=(3, 2), num_labels=2
    )
    config.id2label = {0: "a", 1: "b"}
    config.save_pretrained(tmp_path)
    loaded = SpectrogramTransformerConfig.from_pretrained(tmp_path)
    differing = ("transformers_version", "label2id")  # as saved; the names were given afterwards
    assert {k: v for k, v in loaded.to_dict().items() if k not in differing} == {
        k: v for k, v in config.to_dict().items() if k not in differing
    }
    assert loaded.patch_size == [3, 5]
    assert loaded.id2label == {0: "a", 1: "b"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0 must be at least 1"),
        ({"hidden_size": 15}, "hidden_size=15 must be divisible by num_attention_heads=2"),
        ({"frame_shift_ms": 0}, "frame_shift_ms=0 must be above 0"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps=0.0 must be above 0"),
        ({"patch_size": [4]}, r"patch_size=\[4\] must be two integers"),
        ({"patch_stride": [0, 3]}, r"patch_stride=\[0, 3\] must be two integers"),
        ({"patch_stride": [5, 3]}, "patch_stride=5 along frequency skips over what patch_size=4 covers"),
        ({"patch_stride": [2, 7]}, "patch_stride=7 along time skips over what patch_size=6 covers"),
        ({"patch_size": [9, 6]}, "patch_size=9 along frequency exceeds num_mel_bins=8"),
        ({"patch_size": [4, 21]}, "patch_size=21 along time exceeds position_frames=20"),
        ({"position_kind": "learned"}, "position_kind='learned' must be one of joint, factorized, sinusoidal, rotary"),
        ({"position_fit": "pad"}, "position_fit='pad' must be one of cut, interpolate"),
        ({"position_kind": "sinusoidal", "hidden_size": 18}, "hidden_size=18 must be divisible by 4"),
        ({"position_kind": "rotary", "hidden_size": 20}, "= 10 must be divisible by 4 for rotary"),
        ({"pooling": "last"}, "pooling='last' must be one of cls, cls_distillation, mean, attention"),
        ({"pooling": "cls", "num_class_tokens": 0}, "num_class_tokens=0 must be 1 to 2 for pooling='cls'"),
        ({"pooling": "mean", "num_class_tokens": 3}, "num_class_tokens=3 must be 0 to 2"),
        ({"frame_pooling": "sum"}, "frame_pooling='sum' must be one of mean, max, linear_softmax"),
        ({"patchout_time": 1.0}, r"patchout_time=1.0 must be in \[0, 1\)"),
        ({"drop_path": -0.1}, r"drop_path=-0.1 must be in \[0, 1\)"),
        ({"mask_time_prob": 1.5}, r"mask_time_prob=1.5 must be in \[0, 1\]"),
        ({"aural_format": 99}, "aural_format=99: this aural reads 1 to 1"),
    ],
)
def test_an_impossible_value_is_refused_with_its_numbers(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_spectrogram_config(**fields)


@pytest.mark.parametrize(
    ("stride", "shift", "rate", "samples"), [(4, 10.0, 16_000, 640), (2, 12.5, 16_000, 400), (3, 10, 22_050, 661.5)]
)
def test_samples_from_column_to_column_follow_from_stride_shift_and_rate(stride, shift, rate, samples):
    config = SpectrogramTransformerConfig(patch_stride=[10, stride], frame_shift_ms=shift, sampling_rate=rate)
    assert config.inputs_to_logits_ratio == samples
    assert type(config.inputs_to_logits_ratio) is type(samples)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 0}, "vocab_size=0 must be at least 1"),
        ({"vocab_size": 2}, r"eos_token_id=2 must be in \[0, vocab_size=2\)"),
        ({"pad_token_id": 9}, r"pad_token_id=9 must be in \[0, vocab_size=9\)"),
        ({"eos_token_id": [2, 0]}, r"eos_token_id=\[2, 0\] must name an id, and not pad_token_id"),
        ({"patch_stride": [10, 5]}, r"patch_stride=5 along time; a CTC head .* needs a column every 4 frames at most"),
        ({"sampling_rate": 0}, "sampling_rate=0 must be at least 1"),
    ],
)
def test_a_ctc_head_that_cannot_be_is_refused(fields, message):
    with pytest.raises(Exception, match=message):
        SpectrogramTransformerConfig(**{"vocab_size": 9, "patch_stride": [10, 4], **fields})


def test_without_a_vocabulary_nothing_is_asked_of_ids_and_strides():
    config = SpectrogramTransformerConfig(pad_token_id=None, eos_token_id=None)
    assert (config.vocab_size, config.blank_id, config.end_ids) == (None, 0, [])
    assert SpectrogramTransformerConfig(eos_token_id=[2, 3]).end_ids == [2, 3]
