"""Audio in, log-mel features, tokenizers, processor, pictures."""

from .audio import load_audio
from .features import LogMelFeatureExtractor
from .processor import AuralProcessor
from .tokenizers import train_tokenizer

__all__ = ["AuralProcessor", "LogMelFeatureExtractor", "load_audio", "train_tokenizer"]
