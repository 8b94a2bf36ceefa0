"""Data, collators, metrics, and the thin Trainer."""

from .collator import SpeechCollator
from .data import SpeechDataset, load_speech
from .metrics import CharacterErrorRate, WordErrorRate, compute_metrics, score_texts
from .trainer import AuralTrainer

__all__ = [
    "AuralTrainer",
    "CharacterErrorRate",
    "SpeechCollator",
    "SpeechDataset",
    "WordErrorRate",
    "compute_metrics",
    "load_speech",
    "score_texts",
]
