"""Enters aural's classes where transformers looks them up, so that Auto classes and pipelines find them."""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES

from .configuration import LasConfig
from .modeling import LasForConditionalGeneration, LasModel
from .processing.features import LogMelFeatureExtractor
from .processing.processor import AuralProcessor


def register() -> None:
    """Register every model type; doing it again changes nothing."""
    AutoConfig.register("las", LasConfig, exist_ok=True)
    AutoModel.register(LasConfig, LasModel, exist_ok=True)
    AutoModelForSpeechSeq2Seq.register(LasConfig, LasForConditionalGeneration, exist_ok=True)
    AutoFeatureExtractor.register(LasConfig, LogMelFeatureExtractor, exist_ok=True)
    AutoProcessor.register(LasConfig, AuralProcessor, exist_ok=True)
    # The speech pipeline tells seq2seq from CTC by class names in this table, which `register` does not write to.
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES["las"] = "LasForConditionalGeneration"
