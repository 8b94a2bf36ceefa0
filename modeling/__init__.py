"""Attention, Listen-Attend-Spell, the spectrogram transformer, and their caches."""

from .attention import MultiHeadAttention, masked_softmax, scaled_dot_product_attention
from .las import LasForConditionalGeneration, LasModel, LasPreTrainedModel
from .las_cache import LasCache
from .listener import Listener
from .maps import as_grid, attention_rollout
from .positions import resample_positions
from .spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
    SpectrogramTransformerPreTrainedModel,
)
from .speller import Speller

__all__ = [
    "LasCache",
    "LasForConditionalGeneration",
    "LasModel",
    "LasPreTrainedModel",
    "Listener",
    "MultiHeadAttention",
    "SpectrogramTransformerForAudioClassification",
    "SpectrogramTransformerForAudioFrameClassification",
    "SpectrogramTransformerModel",
    "SpectrogramTransformerPreTrainedModel",
    "Speller",
    "as_grid",
    "attention_rollout",
    "masked_softmax",
    "resample_positions",
    "scaled_dot_product_attention",
]
