"""Attention, Listen-Attend-Spell, the spectrogram transformer, and their caches."""

from .attention import MultiHeadAttention, masked_softmax, scaled_dot_product_attention
from .joint_decoding import JointOptions
from .las import LasForConditionalGeneration, LasModel, LasPreTrainedModel
from .las_cache import LasCache
from .listener import Listener
from .maps import as_grid, attention_rollout
from .ngram_table import NGramTable
from .positions import resample_positions
from .rescoring import Rescored, joint_score, rescore, sequence_parts
from .spectrogram_ctc import SpectrogramTransformerForCTC
from .spectrogram_pretraining import SpectrogramTransformerForPreTraining
from .spectrogram_seq2seq import SpectrogramTransformerForConditionalGeneration
from .spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
    SpectrogramTransformerPreTrainedModel,
)
from .speller import Speller

__all__ = [
    "JointOptions",
    "LasCache",
    "LasForConditionalGeneration",
    "LasModel",
    "LasPreTrainedModel",
    "Listener",
    "MultiHeadAttention",
    "NGramTable",
    "Rescored",
    "SpectrogramTransformerForAudioClassification",
    "SpectrogramTransformerForAudioFrameClassification",
    "SpectrogramTransformerForCTC",
    "SpectrogramTransformerForConditionalGeneration",
    "SpectrogramTransformerForPreTraining",
    "SpectrogramTransformerModel",
    "SpectrogramTransformerPreTrainedModel",
    "Speller",
    "as_grid",
    "attention_rollout",
    "joint_score",
    "masked_softmax",
    "resample_positions",
    "rescore",
    "scaled_dot_product_attention",
    "sequence_parts",
]
