"""Models small enough for tests of what is seen: a LAS with two heads, a tagger, CTC, a text decoder; and hand-made
looks, whose weights are set by hand."""

from typing import Any

import numpy as np

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from aural.look_maps import LazyMaps, Map, Query, alignment_map, patch_queries
from aural.looking import Look, LookedWord
from aural.processing.alignment import TimedToken
from aural.processing.grid import PatchGrid
from tests.tiny import MELS as LAS_MELS
from tests.tiny import tiny_las
from tests.tiny_spectrogram import MELS, tiny_spectrogram, tiny_writer

RATE = 16_000


def las() -> tuple[Any, AuralProcessor]:
    """A LAS of two heads that writes a, b, c, d and spaces."""
    model = tiny_las(seed=1, attention_kind="multihead", attention_heads=2)
    return model, AuralProcessor(LogMelFeatureExtractor(num_mel_bins=LAS_MELS), train_tokenizer(["abcd "]))


def tagger(**overrides: Any) -> tuple[Any, LogMelFeatureExtractor]:
    """A tagger of three sounds, with a class token where the pooling has one."""
    fields = {"problem_type": "multi_label_classification", "position_frames": 100, **overrides}
    model = tiny_spectrogram(**fields)
    return model, LogMelFeatureExtractor(num_mel_bins=MELS)


def captioner() -> tuple[Any, AuralProcessor]:
    """A text decoder of words over overlapping patches."""
    tokenizer = train_tokenizer(["a dog then two cats"], "word")
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=MELS), tokenizer)
    model = tiny_writer(seed=3, vocab_size=len(processor.tokenizer))
    vars(model.generation_config).update(max_seconds=2.0, num_beams=2)
    return model, processor


def hand_made(text: str = "ab c") -> Look:
    """A second of sound, whose four tokens look at frames 0, 2, 5 and 9 of ten, alone."""
    tokens = (*text, "<eos>")[:5]
    weights = np.zeros((1, len(tokens), 10), dtype=np.float32)
    weights[0, range(len(tokens)), (0, 2, 4, 5, 9)[: len(tokens)]] = 1.0
    times = tuple(TimedToken(token, 0.2 * i, 0.2 * i + 0.2, 0.5) for i, token in enumerate(tokens))
    queries = tuple(Query(token, "token", (time.start, time.end)) for token, time in zip(tokens, times, strict=True))
    first = len(text.split()[0])
    words = (
        LookedWord(text.split()[0], 0.0, 0.4, 0.5, 0, first),
        LookedWord(text.split()[-1], 0.6, 0.8, 0.25, first + 1, len(text)),
    )
    found = alignment_map(weights, queries, 0.1, (100.0, 6000.0))
    return _sound(
        text=text, tokens=tokens, token_times=times, words=words, maps=LazyMaps({"alignment": lambda: found})
    )


def hand_made_patches(bright: tuple[int, int] = (1, 3), name: str = "tagger") -> Look:
    """A second of sound in 2 x 5 patches; both heads of its only layer look at one of them alone, from wherever."""
    grid = PatchGrid(
        np.array([[0.2 * i, 0.2 * i + 0.2] for i in range(5)]), np.array([[100.0, 1000.0], [1000.0, 6000.0]])
    )
    queries = patch_queries(grid)
    weights = np.zeros((2, len(queries), 2, 5), dtype=np.float32)
    weights[:, :, bright[0], bright[1]] = 1.0
    weights[1, 1 + 5 + 2] = 0.1  # head 1, from the patch in row 1 and column 2: everywhere alike
    nothing = np.zeros(weights.shape[:2], dtype=np.float32)

    def layer(which: str, heads: np.ndarray) -> Map:
        return Map(which, heads, queries, grid.seconds, grid.hertz, nothing[: len(heads)])

    maps = {"layers.0": lambda: layer("layers.0", weights), "rollout": lambda: layer("rollout", weights[:1])}
    return _sound(kind="tagger", model=name, grid=grid, maps=LazyMaps(maps))


def _sound(**fields: Any) -> Look:
    audio = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32) * 0.3
    features = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    edges = np.linspace(100, 6000, 9)
    plain: dict[str, Any] = {
        "source": "hand.wav",
        "model": "hand",
        "kind": "las",
        "audio": audio,
        "sampling_rate": RATE,
        "features": features,
        "seconds_per_feature": 0.01,
        "feature_start": 0.0,
        "hertz": np.stack([edges[:-1], edges[1:]], axis=1),
    }
    return Look(**{**plain, **fields})
