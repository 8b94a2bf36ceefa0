"""Recordings window by window: how one is cut, what a model says of its windows, and where in time that stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .modeling.spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
)
from .processing import LogMelFeatureExtractor
from .processing.folders import check_features_fit
from .processing.windows import Window

SoundModel = SpectrogramTransformerForAudioClassification | SpectrogramTransformerForAudioFrameClassification
HEADS = {
    "SpectrogramTransformerForAudioClassification": SpectrogramTransformerForAudioClassification,
    "SpectrogramTransformerForAudioFrameClassification": SpectrogramTransformerForAudioFrameClassification,
}
WINDOW = 10.0  # seconds: a clip of AudioSet
STEPS_AT_ONCE = 4096  # of a grid taken together: a grid of hours is not held twice


def check_scores(model: SoundModel) -> None:
    """Refuse a model whose numbers are no scores.

    Raises:
        ValueError: Its problem type is regression.
    """
    if model.config.problem_type == "regression":
        raise ValueError("problem_type='regression' gives numbers, not scores; allowed are the classifications")


def label_names(model: SoundModel) -> tuple[str, ...]:
    """The labels, in the order of the scores."""
    return names_by_id(model.config)


def names_by_id(config: Any) -> tuple[str, ...]:
    """The labels of a config, in the order of their ids."""
    return tuple(config.id2label[index] for index in sorted(config.id2label))


def is_framewise(model: SoundModel) -> bool:
    """Whether the model scores moments, not whole clips."""
    return isinstance(model, SpectrogramTransformerForAudioFrameClassification)


@dataclass(frozen=True)
class WindowPlan:
    """How a recording is cut, in frames of its features.

    Attributes:
        size: Frames of a window.
        hop: Frames from the start of one window to the next.
        step: Frames of a step of the grid that scores are averaged on; divides `hop`.
    """

    size: int
    hop: int
    step: int

    @classmethod
    def of(
        cls,
        config: Any,
        extractor: LogMelFeatureExtractor,
        framewise: bool,
        window: float | None = None,
        hop: float | None = None,
    ) -> "WindowPlan":
        """The plan that follows from seconds; arguments as in `tag`.

        Raises:
            ValueError: A window or hop that cannot be, or features that do not fit the model.
        """
        check_features_fit(config, extractor, "feature_extractor")
        shift = extractor.seconds_per_frame
        longest = extractor.max_length if extractor.truncation else None
        if window is None:
            window = min(WINDOW, min(config.position_frames, longest or config.position_frames) * shift)
        hop = window / 2 if hop is None else hop
        if not 0 < window < float("inf"):
            raise ValueError(f"window: {window!r} seconds; allowed is above 0")
        if not 0 < hop <= window:
            raise ValueError(f"hop: {hop!r} seconds; allowed is above 0 to the window's {window:g}")
        size = extractor.frame_count(round(window * extractor.sampling_rate))
        least, stride = config.patch_size[1], config.patch_stride[1]
        if size < least:
            raise ValueError(f"window: {window:g} seconds give {size} frames; allowed is a patch of {least}, or more")
        if longest is not None and size > longest:
            raise ValueError(f"window: {window:g} seconds give {size} frames; the feature extractor keeps {longest}")
        if not framewise:
            frames = max(1, round(hop / shift))
            return cls(size, frames, frames)
        patches = min(max(1, round(hop / shift / stride)), config.time_patches(size))
        return cls(size, patches * stride, stride)


@torch.inference_mode()
def score_windows(
    batch: Sequence[Window], model: SoundModel, extractor: LogMelFeatureExtractor, plan: WindowPlan
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each window its scores by step, `(steps, labels)`, and the weight of each step: how much of it was heard.

    Args:
        batch: Windows, of one recording or of several.
        model, extractor, plan: Whose windows they are, and how they were cut.
    """
    lengths = [len(window.features) for window in batch]
    # Padded as the extractor pads whole clips; without a mask only where it pads every clip to one length, as AST's.
    fixed = extractor.padding == "max_length"
    inputs = extractor.finish(
        [window.features for window in batch],
        padding="max_length" if fixed else True,
        return_attention_mask=extractor.return_attention_mask or not fixed,
        return_tensors="pt",
    )
    logits, config = model(**inputs).logits.float(), model.config
    several = is_framewise(model) or config.num_labels == 1 or config.problem_type == "multi_label_classification"
    scores = (logits.sigmoid() if several else logits.softmax(-1)).cpu().numpy()
    results = []
    for row, frames in zip(scores, lengths, strict=True):
        if is_framewise(model):  # (time patches, labels)
            patches = config.time_patches(frames)
            results.append((row[:patches], np.ones(patches)))
        else:  # (labels,), for all of the window
            ends = np.minimum(np.arange(plan.step, frames + plan.step, plan.step), frames)
            weights = np.diff(ends, prepend=0).astype(np.float64)
            results.append((np.broadcast_to(row, (len(ends), len(row))), weights))
    return results


def grid_times(
    steps: int, plan: WindowPlan, model: SoundModel, seconds_per_frame: float, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Edges `(steps + 1,)` and middles `(steps,)` of the grid's steps in seconds.

    Args:
        steps: Of the grid.
        plan, model: Whose grid it is.
        seconds_per_frame: Of the features.
        seconds: Length of the recording, where the last step ends.
    """
    starts = np.arange(steps + 1) * plan.step  # in frames
    if is_framewise(model):
        size, stride = model.config.patch_size[1], model.config.patch_stride[1]
        edges = (starts + (size - stride) / 2) * seconds_per_frame  # midway between the middles of patches
        times = (starts[:-1] + size / 2) * seconds_per_frame
    else:
        edges = starts * seconds_per_frame
        times = (edges[:-1] + np.minimum(edges[1:], seconds)) / 2
    edges[0], edges[-1] = 0, seconds
    return edges, np.minimum(times, seconds)


def clip_scores(scores: np.ndarray, edges: np.ndarray, pooling: str | None) -> np.ndarray:
    """Scores of the recording, float32 `(labels,)`.

    Args:
        scores: The grid, `(steps, labels)`.
        edges: Of its steps in seconds, `(steps + 1,)`.
        pooling: The config's `frame_pooling` for a model of moments; None for the mean over time.
    """
    if pooling == "max":
        return scores.max(axis=0)
    total, weight = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for start in range(0, len(scores), STEPS_AT_ONCE):
        part = scores[start : start + STEPS_AT_ONCE].astype(np.float64)
        if pooling == "mean":  # of the logits
            part = np.clip(part, 1e-30, 1 - 1e-7)
            total += np.log(part / (1 - part)).sum(axis=0)
            weight += len(part)
        elif pooling == "linear_softmax":
            total += (part**2).sum(axis=0)
            weight += part.sum(axis=0)
        else:
            durations = np.diff(edges[start : start + len(part) + 1])
            total += durations @ part
            weight += durations.sum()
    pooled = total / np.maximum(weight, np.finfo(np.float64).tiny)
    return (1 / (1 + np.exp(-pooled)) if pooling == "mean" else pooled).astype(np.float32)
