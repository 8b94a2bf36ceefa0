"""Whole model folders and sounds for tests of the face."""

from pathlib import Path
from typing import Any

import numpy as np

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from tests.tiny import tiny_las
from tests.tiny_spectrogram import MELS, tiny_spectrogram


def save_folder(path: Path, **overrides: Any) -> Path:
    """A whole model folder: weights, features, tokenizer of nine symbols."""
    tiny_las(**overrides).save_pretrained(path)
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))
    processor.save_pretrained(path)
    return path


def save_tagger(path: Path, **overrides: Any) -> Path:
    """A whole tagging folder: weights of the classifier, features, three names."""
    model = tiny_spectrogram(**overrides)
    model.config.id2label = {0: "bell", 1: "drum", 2: "horn"}
    model.config.label2id = {"bell": 0, "drum": 1, "horn": 2}
    model.save_pretrained(path)
    LogMelFeatureExtractor(num_mel_bins=MELS).save_pretrained(path)
    return path


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise at 16 kHz, `(samples,)` float32."""
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)
