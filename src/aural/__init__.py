"""aural: attention in audio on the Hugging Face stack.

Importing it registers its models with transformers' Auto classes and pipelines.
"""

from .annotators import Tagger, Transcriber
from .configuration import LasConfig, SpectrogramTransformerConfig
from .modeling import (
    LasForConditionalGeneration,
    LasModel,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
)
from .processing import AuralProcessor, LogMelFeatureExtractor, hot_words, load_audio, train_tokenizer
from .recognition import load_recognizer
from .registration import register
from .tagging import Tagging, load_tagger, tag
from .transcript import Transcript
from .transcription import transcribe
from .version import __version__

register()

__all__ = [
    "AuralProcessor",
    "LasConfig",
    "LasForConditionalGeneration",
    "LasModel",
    "LogMelFeatureExtractor",
    "SpectrogramTransformerConfig",
    "SpectrogramTransformerForAudioClassification",
    "SpectrogramTransformerForAudioFrameClassification",
    "SpectrogramTransformerModel",
    "Tagger",
    "Tagging",
    "Transcriber",
    "Transcript",
    "__version__",
    "hot_words",
    "load_audio",
    "load_recognizer",
    "load_tagger",
    "tag",
    "train_tokenizer",
    "transcribe",
]
