"""Log-mel features: `LogMelFeatureExtractor` against transformers' `ASTFeatureExtractor`, 16 clips of 10 s."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from transformers import ASTFeatureExtractor

from aural.processing.features import LogMelFeatureExtractor

RATE = 16_000
CLIPS, SECONDS = 16, 10
ROUNDS = 7
BAR = 3.0  # times as fast


def bench() -> Iterator[dict[str, Any]]:
    """Seconds of audio per processor second, medians of rounds in turn, so that both meet the same machine."""
    rng = np.random.default_rng(0)
    clips = list((0.1 * rng.standard_normal((CLIPS, SECONDS * RATE))).astype(np.float32))
    mean, std = -4.2677393, 4.5689974
    ours = LogMelFeatureExtractor(
        128, RATE, window_type="hanning", waveform_scale=1, normalize="global", mean=mean, std=2 * std
    )
    theirs = ASTFeatureExtractor(max_length=ours.frame_count(SECONDS * RATE))
    calls = (ours, theirs)
    first = [call(clips, sampling_rate=RATE, return_tensors="np") for call in calls]  # warms up, and shows them equal
    np.testing.assert_allclose(first[0]["input_features"], first[1]["input_values"], atol=1e-3)
    seconds = [[_processor_seconds(call, clips) for call in calls] for _ in range(ROUNDS)]
    speeds = [CLIPS * SECONDS / statistics.median(column) for column in zip(*seconds, strict=True)]
    yield {
        "name": "log-mel features, 16 x 10 s, 128 mels, against ASTFeatureExtractor",
        "ours": speeds[0],
        "theirs": speeds[1],
        "unit": "s of audio / processor s",
        "ratio": speeds[0] / speeds[1],
        "bar": BAR,
    }


def _processor_seconds(call: Callable[..., Any], clips: list[np.ndarray]) -> float:
    start = time.process_time()
    call(clips, sampling_rate=RATE, return_tensors="pt")
    return time.process_time() - start
