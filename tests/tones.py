"""A language of pure tones, a pitch for each letter, and a CTC model of a few thousand weights that learns it in
seconds: a recogniser whose right answers are known."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aural import (
    AuralProcessor,
    CtcTokenizer,
    LogMelFeatureExtractor,
    SpectrogramTransformerConfig,
    SpectrogramTransformerForCTC,
    train_tokenizer,
)

HERTZ = {"s": 300, "e": 700, "n": 1300, "o": 2200, "a": 3400, "b": 5000}
LETTER, PAUSE = 0.1, 0.05  # seconds; a letter follows a pause, and a space is a letter without sound
TEXTS = ("seen on", "noon bee", "a son", "see a bean", "abba on sea")
RATE = 16_000


def sung(text: str, rate: int = RATE) -> np.ndarray:
    """The text in tones, `(samples,)` float32."""
    time = np.arange(round(LETTER * rate)) / rate
    parts = []
    for letter in text:
        parts.append(np.zeros(round(PAUSE * rate)))
        parts.append(np.sin(2 * np.pi * HERTZ[letter] * time) * 0.3 if letter != " " else 0.0 * time)
    return np.concatenate([*parts, np.zeros(round(PAUSE * rate))]).astype(np.float32)


def spoken(text: str) -> list[tuple[str, float, float]]:
    """Words with the seconds at which their first tone begins and their last one ends."""
    words, at = [], 0
    for word in text.split(" "):
        start = at * (LETTER + PAUSE) + PAUSE
        words.append((word, start, start + len(word) * (LETTER + PAUSE) - PAUSE))
        at += len(word) + 1
    return words


def tone_config(**overrides: Any) -> SpectrogramTransformerConfig:
    """One layer over patches of full height, a column every 40 ms."""
    options: dict[str, Any] = {
        "num_mel_bins": 8,
        "patch_size": [8, 4],
        "patch_stride": [8, 4],
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 4 + len(HERTZ) + 1,
        "pooling": "mean",
        "position_kind": "sinusoidal",
    }
    return SpectrogramTransformerConfig(**{**options, **overrides})


def tone_processor() -> AuralProcessor:
    """Features that depend on no other part of a clip, and the letters."""
    tokenizer = CtcTokenizer.of(train_tokenizer(["".join(HERTZ) + " "]))
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=8, normalize=None), tokenizer)


@cache
def tone_model() -> SpectrogramTransformerForCTC:
    """A model that has learned to write what is sung, in eval mode; not to be changed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SpectrogramTransformerForCTC(tone_config())
        inputs = tone_processor()(
            audio=[sung(text) for text in TEXTS], text=list(TEXTS), sampling_rate=RATE, return_tensors="pt"
        )
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        for _ in range(200):
            optimizer.zero_grad()
            model(**inputs).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.eval()


def save_tones(path: Path) -> Path:
    """The whole folder of a model that writes what is sung."""
    tone_model().save_pretrained(path)
    tone_processor().save_pretrained(path)
    return path
