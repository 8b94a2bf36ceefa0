"""aural: attention in audio on the Hugging Face stack.

Importing it registers its models with transformers' Auto classes and pipelines.
"""

from .annotators import Tagger, Transcriber
from .atlas import Atlas, atlas
from .captioning import Caption, caption, load_captioner
from .configuration import (
    LasConfig,
    SpectrogramTransformerConfig,
    SpectrogramTransformerSeq2SeqConfig,
    TextDecoderConfig,
)
from .looking import Look, look
from .modeling import (
    LasForConditionalGeneration,
    LasModel,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerForConditionalGeneration,
    SpectrogramTransformerForCTC,
    SpectrogramTransformerForPreTraining,
    SpectrogramTransformerModel,
)
from .processing import AuralProcessor, CtcTokenizer, LogMelFeatureExtractor, hot_words, load_audio, train_tokenizer
from .receipting import Receipts, receipts
from .recognition import load_recognizer
from .registration import register
from .tagging import Tagging, load_tagger, tag
from .transcript import Transcript
from .transcription import transcribe
from .version import __version__

register()

__all__ = [
    "Atlas",
    "AuralProcessor",
    "Caption",
    "CtcTokenizer",
    "LasConfig",
    "LasForConditionalGeneration",
    "LasModel",
    "LogMelFeatureExtractor",
    "Look",
    "Receipts",
    "SpectrogramTransformerConfig",
    "SpectrogramTransformerForAudioClassification",
    "SpectrogramTransformerForAudioFrameClassification",
    "SpectrogramTransformerForCTC",
    "SpectrogramTransformerForConditionalGeneration",
    "SpectrogramTransformerForPreTraining",
    "SpectrogramTransformerModel",
    "SpectrogramTransformerSeq2SeqConfig",
    "Tagger",
    "Tagging",
    "TextDecoderConfig",
    "Transcriber",
    "Transcript",
    "__version__",
    "atlas",
    "caption",
    "hot_words",
    "load_audio",
    "load_captioner",
    "load_recognizer",
    "load_tagger",
    "look",
    "receipts",
    "tag",
    "train_tokenizer",
    "transcribe",
]
