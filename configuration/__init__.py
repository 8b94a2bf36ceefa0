"""One config class per model type."""

from .las import LasConfig
from .spectrogram_transformer import SpectrogramTransformerConfig

__all__ = ["LasConfig", "SpectrogramTransformerConfig"]
