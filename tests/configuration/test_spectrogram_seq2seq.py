"""The config of the model that writes: parts from dicts, saved and loaded, refusals by name."""

import pytest
from transformers import AutoConfig, BartConfig, GPT2Config, LlamaConfig

from aural import SpectrogramTransformerConfig, SpectrogramTransformerSeq2SeqConfig, TextDecoderConfig

Config = SpectrogramTransformerSeq2SeqConfig


def test_parts_are_configs_and_what_others_ask_for_is_read_from_them():
    config = Config(
        encoder={"num_mel_bins": 40, "frame_shift_ms": 12.5}, decoder={"vocab_size": 50, "hidden_size": 64}
    )
    assert isinstance(config.encoder, SpectrogramTransformerConfig)
    assert isinstance(config.decoder, TextDecoderConfig)
    assert (config.num_mel_bins, config.frame_shift_ms, config.vocab_size) == (40, 12.5, 50)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (64, 4, 4)
    assert config.get_text_config(decoder=True) is config.decoder
    assert config.decoder_start_token_id == 1
    assert Config().text_limit is None
    assert Config(decoder={"position_kind": "learned", "max_positions": 30}).text_limit == 30


@pytest.mark.parametrize("decoder", [{"vocab_size": 40, "position_kind": "learned"}, GPT2Config(n_embd=24, n_head=2)])
def test_a_saved_config_loads_the_same(tmp_path, decoder):
    config = Config(encoder={"num_mel_bins": 20, "patch_size": [20, 4], "patch_stride": [20, 4]}, decoder=decoder)
    config.ctc_weight = 0.3
    config.save_pretrained(tmp_path)
    for loaded in (Config.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is Config
        assert type(loaded.decoder) is type(config.decoder)
        loaded._name_or_path = ""
        assert loaded.to_dict() == config.to_dict()
        assert loaded.encoder.patch_stride == [20, 4]


def test_a_decoder_of_transformers_is_made_to_take_cross_attention():
    config = Config(decoder=GPT2Config(n_positions=77))
    assert config.decoder.add_cross_attention
    assert config.text_limit == 77
    assert config.tie_word_embeddings
    assert not Config().tie_word_embeddings
    assert not Config(decoder=GPT2Config(), tie_word_embeddings=False).tie_word_embeddings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder": TextDecoderConfig()}, "encoder is a TextDecoderConfig; allowed: Spectrogram"),
        ({"decoder": "gpt2"}, "decoder is a str; allowed: TextDecoderConfig"),
        ({"decoder": LlamaConfig()}, "decoder='llama' takes no cross-attention"),
        ({"decoder": BartConfig()}, "decoder='bart' takes no cross-attention"),
        (
            {"decoder": {"hidden_size": 30, "num_attention_heads": 4}},
            "hidden_size=30 must be divisible",
        ),
        (
            {"decoder": {"position_kind": "rotary"}},
            "position_kind='rotary' must be one of sinusoidal",
        ),
        (
            {"decoder": {"hidden_size": 9, "num_attention_heads": 3}},
            "hidden_size=9 must be even",
        ),
        (
            {"decoder": {"vocab_size": 3}},
            r"unk_token_id=3 must be in \[0, vocab_size=3\)",
        ),
        (
            {"eos_token_id": 0},
            "eos_token_id=0 must name an id, and not pad_token_id",
        ),
        (
            {"bos_token_id": None},
            "decoder_start_token_id=None and bos_token_id=None",
        ),
        ({"ctc_weight": 1.5}, "ctc_weight=1.5"),
        ({"label_smoothing": 1}, "label_smoothing=1 must be in"),
        (
            {"ctc_weight": 0.3},
            r"encoder.patch_stride=10 along time; a CTC head \(ctc_weight=0.3\)",
        ),
        (
            {"ctc_weight": 0.3, "encoder": {"patch_stride": [10, 4], "patchout_time": 0.2}},
            "encoder.patchout_time=0.2 must be 0 with a CTC head",
        ),
        ({"aural_format": 99}, "aural_format=99"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields, message):
    with pytest.raises(Exception, match=message):
        Config(**fields)
