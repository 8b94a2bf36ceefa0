"""Attention, Listen-Attend-Spell, and their caches."""

from .attention import MultiHeadAttention, masked_softmax, scaled_dot_product_attention
from .las import LasForConditionalGeneration, LasModel, LasPreTrainedModel
from .las_cache import LasCache
from .listener import Listener
from .speller import Speller

__all__ = [
    "LasCache",
    "LasForConditionalGeneration",
    "LasModel",
    "LasPreTrainedModel",
    "Listener",
    "MultiHeadAttention",
    "Speller",
    "masked_softmax",
    "scaled_dot_product_attention",
]
