"""A patch encoder with a text decoder, small enough for tests."""

from typing import Any

import torch

from aural.configuration.spectrogram_seq2seq import SpectrogramTransformerSeq2SeqConfig
from aural.configuration.text_decoder import TextDecoderConfig
from aural.modeling.spectrogram_seq2seq import SpectrogramTransformerForConditionalGeneration
from tests.tiny_spectrogram import tiny_spectrogram_config

MELS = 6
VOCABULARY = 9


def tiny_seq2seq(seed: int = 0, **overrides: Any) -> SpectrogramTransformerForConditionalGeneration:
    """A model in eval mode of six mels and nine symbols, whose weights are drawn so that nothing is near zero.

    Args:
        seed: Of the weights.
        overrides: Fields of the encoder.
    """
    torch.manual_seed(seed)
    encoder = tiny_spectrogram_config(**{"num_mel_bins": MELS, **overrides}).to_dict()
    decoder = TextDecoderConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    config = SpectrogramTransformerSeq2SeqConfig(encoder=encoder, decoder=decoder.to_dict())
    model = SpectrogramTransformerForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    return model
