"""One config class per model type."""

from .las import LasConfig
from .spectrogram_seq2seq import SpectrogramTransformerSeq2SeqConfig
from .spectrogram_transformer import SpectrogramTransformerConfig
from .text_decoder import TextDecoderConfig

__all__ = ["LasConfig", "SpectrogramTransformerConfig", "SpectrogramTransformerSeq2SeqConfig", "TextDecoderConfig"]
