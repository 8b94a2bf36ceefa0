"""Enters aural's classes where transformers looks them up, so that Auto classes and pipelines find them.

The tables are the one list of what aural offers: what is registered here is also what travels to the Hub.
"""

import transformers
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig

from .bundle import Bundler
from .configuration import LasConfig, SpectrogramTransformerConfig, SpectrogramTransformerSeq2SeqConfig
from .configuration.travel import TravelsWithCode
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
from .processing import AuralProcessor, CtcTokenizer, LogMelFeatureExtractor

MODELS: dict[type[PreTrainedConfig], dict[str, type]] = {
    LasConfig: {"AutoModel": LasModel, "AutoModelForSpeechSeq2Seq": LasForConditionalGeneration},
    SpectrogramTransformerConfig: {
        "AutoModel": SpectrogramTransformerModel,
        "AutoModelForAudioClassification": SpectrogramTransformerForAudioClassification,
        "AutoModelForAudioFrameClassification": SpectrogramTransformerForAudioFrameClassification,
        "AutoModelForCTC": SpectrogramTransformerForCTC,
        "AutoModelForPreTraining": SpectrogramTransformerForPreTraining,
    },
    SpectrogramTransformerSeq2SeqConfig: {"AutoModelForSpeechSeq2Seq": SpectrogramTransformerForConditionalGeneration},
}
OTHERS: dict[str, type] = {"AutoFeatureExtractor": LogMelFeatureExtractor, "AutoProcessor": AuralProcessor}
# Tokenizers with code of their own; all others are plain JSON, which loads without any.
TOKENIZERS: dict[type[PreTrainedConfig], type] = {SpectrogramTransformerConfig: CtcTokenizer}


def register() -> None:
    """Register every model type and hand in the code writer; doing it again changes nothing."""
    for config, models in MODELS.items():
        AutoConfig.register(config.model_type, config, exist_ok=True)
        for name, registered in {**models, **OTHERS}.items():
            getattr(transformers, name).register(config, registered, exist_ok=True)
    for config, tokenizer in TOKENIZERS.items():
        AutoTokenizer.register(config, tokenizer_class=tokenizer, exist_ok=True)
    TravelsWithCode.code_writer = Bundler(MODELS, OTHERS, TOKENIZERS.values())
