"""A spectrogram transformer whose heads are set by hand, and clips that it reads exactly.

Every token is a sum of two one-hot codes, of its content and of its place (a class token has two of its own), so that
all have one mean and one variance and the LayerNorms can be undone. Values and MLPs are 0: what comes in goes out, and
every layer sees the codes. A head is a table of scores between codes, times a number so large that softmax is exact.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from aural import (
    LogMelFeatureExtractor,
    SpectrogramTransformerConfig,
    SpectrogramTransformerForAudioFrameClassification,
)
from aural.atlas_clips import KnownClip
from aural.training.event_scores import Event

ROWS, COLUMNS, CONTENTS = 2, 12, 6  # contents: source (A, B, silence) times one more bit
PLACES = ROWS * COLUMNS
HEAD_DIM, RATE, FRAME = 24, 16_000, 1_600  # a column is a frame of 0.1 s
SHARP = 60.0
SOURCES = "AB"
NAMES = [
    ["previous", "next", "everywhere", "content", "same source", "class token"],
    ["itself", "same time", "same frequency", "position", "silence", "nearby"],
]


class WrittenFeatures(LogMelFeatureExtractor):
    """Features that stand in the audio itself: the first samples of every frame."""

    def __call__(self, raw_speech: Any, **kwargs: Any) -> Any:
        return {"input_features": [np.asarray(raw_speech).reshape(-1, FRAME)[:, : self.num_mel_bins].copy()]}


def extractor() -> WrittenFeatures:
    return WrittenFeatures(num_mel_bins=ROWS * CONTENTS, frame_length_ms=100, frame_shift_ms=100, normalize=None)


def place(condition: Callable[[int, int], bool]) -> torch.Tensor:
    """Scores `(places, places)`: 1 where the key lies so: `condition(rows higher, columns later)`."""
    spots = [divmod(index, COLUMNS) for index in range(PLACES)]
    return torch.tensor([[float(condition(r2 - r, c2 - c)) for r2, c2 in spots] for r, c in spots])


def content(condition: Callable[[int, int], bool]) -> torch.Tensor:
    """Scores `(contents, contents)`: 1 where `condition(content of the query, of the key)`."""
    return torch.tensor([[float(condition(a, b)) for b in range(CONTENTS)] for a in range(CONTENTS)])


HEADS: dict[str, tuple[str, torch.Tensor]] = {
    "previous": ("place", place(lambda higher, later: (higher, later) == (0, -1))),
    "next": ("place", place(lambda higher, later: (higher, later) == (0, 1))),
    "everywhere": ("content", content(lambda a, b: False)),
    "content": ("content", content(lambda a, b: a % 2 == b % 2)),
    "same source": ("content", content(lambda a, b: a // 2 == b // 2)),
    "class token": ("class", torch.ones(1, 1)),
    "itself": ("place", place(lambda higher, later: (higher, later) == (0, 0))),
    "same time": ("place", place(lambda higher, later: higher != 0 and later == 0)),
    "same frequency": ("place", place(lambda higher, later: higher == 0 and later != 0)),
    "position": ("place", place(lambda higher, later: higher != 0 and later == 3)),
    "silence": ("content", content(lambda a, b: b // 2 == 2)),
    "nearby": ("place", place(lambda higher, later: abs(later) <= 2)),
}


@torch.no_grad()
def hand_set_model() -> SpectrogramTransformerForAudioFrameClassification:
    """Two layers of six heads, those of `NAMES`."""
    heads = len(NAMES[0])
    config = SpectrogramTransformerConfig(
        num_mel_bins=ROWS * CONTENTS,
        frame_shift_ms=100,
        patch_size=[CONTENTS, 1],
        patch_stride=[CONTENTS, 1],
        hidden_size=heads * HEAD_DIM,
        num_attention_heads=heads,
        num_hidden_layers=len(NAMES),
        intermediate_size=4,
        position_frames=COLUMNS,
        pooling="cls",
        num_labels=2,
    )
    model = SpectrogramTransformerForAudioFrameClassification(config).eval()
    encoder = model.spectrogram_transformer
    for parameter in encoder.parameters():
        parameter.zero_()
    codes = {"content": range(CONTENTS), "place": range(CONTENTS, CONTENTS + PLACES)}
    first_class = CONTENTS + PLACES
    for code in codes["content"]:  # the patch that holds a 1 in its place
        encoder.embeddings.patch_projection.weight[code, 0, code, 0] = 1
    encoder.embeddings.positions.table.view(PLACES, -1)[:, CONTENTS : CONTENTS + PLACES] = torch.eye(PLACES)
    encoder.embeddings.class_tokens[0, first_class : first_class + 2] = 1
    mean = 2 / config.hidden_size
    deviation = (mean * (1 - mean) + config.layer_norm_eps) ** 0.5
    for layer, names in zip(encoder.layers, NAMES, strict=True):
        layer.layernorm_before.weight.fill_(deviation)
        layer.layernorm_before.bias.fill_(mean)
        for head, name in enumerate(names):
            rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
            kind, scores = HEADS[name]
            query, key = layer.attention.q_proj, layer.attention.k_proj
            strength = SHARP * HEAD_DIM**0.5
            if kind == "class":
                query.bias[head * HEAD_DIM] = strength
                key.weight[head * HEAD_DIM, first_class] = 1
                continue
            width = len(scores)
            query.weight[rows][:width, list(codes[kind])] = strength * scores.T
            key.weight[rows][:width, list(codes[kind])] = torch.eye(width)
    return model


def hand_made_clip(seed: int) -> KnownClip:
    """Silence, A, B, A, B and silence by turns of two or three columns, each patch with a bit drawn at random."""
    sources = [2, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 2]
    bits = np.random.default_rng(seed).integers(2, size=(ROWS, COLUMNS))
    wave = np.zeros((COLUMNS, FRAME), dtype=np.float32)
    for row in range(ROWS):
        for column, source in enumerate(sources):
            wave[column, row * CONTENTS + 2 * source + bits[row, column]] = 1
    events = [
        Event(SOURCES[source], column / 10, (column + 1) / 10) for column, source in enumerate(sources) if source < 2
    ]
    return KnownClip(f"clip {seed}", wave.ravel(), tuple(events))
