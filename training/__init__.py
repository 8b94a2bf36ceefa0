"""Data, collators, metrics, and the thin Trainer."""

from .collator import SpeechCollator
from .data import SpeechDataset, load_speech
from .feature_statistics import estimate_mean_std, with_statistics
from .layer_decay import layer_decay_groups
from .metrics import CharacterErrorRate, WordErrorRate, compute_metrics, score_texts
from .mixup import Mixup
from .sound_collator import SoundCollator
from .sound_data import SoundDataset, load_sounds
from .sound_labels import label_names, label_options
from .sound_metrics import (
    Accuracy,
    DPrime,
    EventF1,
    MacroRecall,
    MeanAveragePrecision,
    compute_tagging_metrics,
)
from .trainer import AuralTrainer

__all__ = [
    "Accuracy",
    "AuralTrainer",
    "CharacterErrorRate",
    "DPrime",
    "EventF1",
    "MacroRecall",
    "MeanAveragePrecision",
    "Mixup",
    "SoundCollator",
    "SoundDataset",
    "SpeechCollator",
    "SpeechDataset",
    "WordErrorRate",
    "compute_metrics",
    "compute_tagging_metrics",
    "estimate_mean_std",
    "label_names",
    "label_options",
    "layer_decay_groups",
    "load_sounds",
    "load_speech",
    "score_texts",
    "with_statistics",
]
