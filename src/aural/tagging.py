"""Which sounds a recording holds, and when: `tag`, for audio of any length, and what it loads models with.

- The audio is read in blocks and its log-mel features are computed once; windows are cut from the features, normalised
  each by itself as the feature extractor says, and scored in batches.
- Scores of windows that overlap are averaged on one grid in time, so no border of a window is seen in them. Only this
  grid grows with the recording.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoFeatureExtractor

from .loading import check_features_fit, load_config, no_conversion, said_of
from .modeling.spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
)
from .processing import LogMelFeatureExtractor
from .processing.events import THRESHOLD, Event, find_events
from .processing.streaming import log_mel_stream, open_stream
from .processing.windows import OverlapAverage, Window, windows

Tagger = SpectrogramTransformerForAudioClassification | SpectrogramTransformerForAudioFrameClassification
HEADS = {
    "SpectrogramTransformerForAudioClassification": SpectrogramTransformerForAudioClassification,
    "SpectrogramTransformerForAudioFrameClassification": SpectrogramTransformerForAudioFrameClassification,
}
WINDOW = 10.0  # seconds: a clip of AudioSet
STEPS_AT_ONCE = 4096  # of a grid taken together: a grid of hours is not held twice


@dataclass(frozen=True, eq=False)
class Tagging:
    """The scores of one recording.

    Attributes:
        source: The file, or `"audio 0"`, … for audio given otherwise.
        seconds: Length of the audio.
        labels: Names of the labels.
        scores: float32 `(steps, labels)` from 0 to 1, averaged where windows overlap. A step is a hop long for a model
            that scores whole clips, and a time patch for one that scores moments.
        times: `(steps,)` seconds, the middle of what each step heard.
        edges: `(steps + 1,)` seconds from 0 to `seconds`; step t lasts from `edges[t]` to `edges[t + 1]`.
        clip_scores: float32 `(labels,)`. For a model of whole clips the mean of `scores` over time, every second
            counting once; for one of moments their pooling by the config's `frame_pooling`.
    """

    source: str
    seconds: float
    labels: tuple[str, ...]
    scores: np.ndarray
    times: np.ndarray
    edges: np.ndarray
    clip_scores: np.ndarray

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` labels with the highest clip scores and these scores, the highest first.

        Raises:
            ValueError: `k` is below 1.
        """
        if k < 1:
            raise ValueError(f"k={k} must be at least 1")
        order = np.argsort(-self.clip_scores, kind="stable")[:k]
        return [(self.labels[index], float(self.clip_scores[index])) for index in order]

    def events(
        self,
        threshold: float | Mapping[str, float] = THRESHOLD,
        median: float = 0.0,
        min_duration: float = 0.0,
        min_gap: float = 0.0,
    ) -> list[Event]:
        """The sounds from onset to offset; arguments, order and errors are those of `processing.events.find_events`.

        Args:
            threshold: A step counts from this score up; one for all labels, or by label (0.5 where not named).
            median: Length of the median filter in seconds; 0 for none.
            min_duration: Seconds; shorter events are dropped.
            min_gap: Seconds; events of one label with no longer gap between them become one.
        """
        return find_events(self.scores, self.edges, self.labels, threshold, median, min_duration, min_gap)


def load_tagger(folder: str | Path, device: str | torch.device = "cpu") -> tuple[Tagger, LogMelFeatureExtractor]:
    """Load a model that tags sounds, and its feature extractor, from a folder or a Hub id.

    Args:
        folder: A folder that `save_pretrained` of both wrote, or an id on the Hub.
        device: Where the model goes.

    Raises:
        OSError: There is no such folder, or it holds no whole model.
        ValueError: The model is of another family, has no head for tags, or its features do not fit it.
    """
    config = load_config(folder, "tag")
    name = (config.architectures or ["model without a head"])[0]
    if name not in HEADS:
        raise ValueError(f"{folder} holds a {name}; `aural tag` takes {' or '.join(HEADS)}")
    with said_of(folder):
        extractor = AutoFeatureExtractor.from_pretrained(folder)
    if not isinstance(extractor, LogMelFeatureExtractor):
        raise ValueError(f"{folder} holds a {type(extractor).__name__}, not a LogMelFeatureExtractor")
    check_features_fit(config, extractor, folder)
    with said_of(folder), no_conversion():
        model, report = cast(Any, HEADS[name]).from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        if missing := sorted(report["missing_keys"]):  # transformers would draw them at random
            raise ValueError(f"the weights lack {', '.join(missing[:3])} and {len(missing)} in all")
    return model.to(device).eval(), extractor


def tag(
    audio: Any,
    model: str | Path | Tagger,
    feature_extractor: LogMelFeatureExtractor | None = None,
    window: float | None = None,
    hop: float | None = None,
    batch_size: int = 8,
    progress: Callable[[float, float | None], None] | None = None,
) -> list[Tagging]:
    """Tag audio files or arrays of any length.

    Args:
        audio: What `load_audio` reads (a path, bytes, an array, …), or a list or tuple of such.
        model: A model folder or Hub id, or a model that is loaded already.
        feature_extractor: Needed with a loaded model.
        window: Seconds that the model hears at once. Default: 10, or the length that its positions are made for if
            that is less. The last window of a recording keeps its own length, and so does a shorter recording; a rest
            shorter than a patch gets no window of its own.
        hop: Seconds from one window to the next, at most `window`; by default half of it. A model of moments gets the
            nearest whole number of time patches, and no larger hop than leaves none of them out.
        batch_size: Windows scored together.
        progress: Called after each batch with the seconds heard of the recording and its length (None if its header
            tells none).

    Returns:
        One `Tagging` per recording, in order. Scores are softmax for one label of several, else sigmoid.

    Raises:
        OSError: A file or the model folder cannot be read.
        ValueError: A recording is not audio, the model does not fit its feature extractor, or windows that cannot be.

    Example:
        >>> from aural import tag
        >>> tag("yard.wav", "models/sounds")[0].top(1)  # doctest: +SKIP
        [('Dog', 0.93)]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    if isinstance(model, str | Path):
        model, feature_extractor = load_tagger(model)
    if not isinstance(model, tuple(HEADS.values())):
        raise TypeError(f"model: {type(model).__name__}; allowed are a folder, {', '.join(HEADS)}")
    if feature_extractor is None:
        raise ValueError("feature_extractor=None: a loaded model needs its feature extractor")
    if model.config.problem_type == "regression":
        raise ValueError("problem_type='regression' gives numbers, not scores; allowed are the classifications")
    plan = WindowPlan.of(model.config, feature_extractor, is_framewise(model), window, hop)
    sources = list(audio) if isinstance(audio, list | tuple) else [audio]
    names = [str(one) if isinstance(one, str | Path) else f"audio {index}" for index, one in enumerate(sources)]
    return [
        _tag_one(source, name, model, feature_extractor, plan, batch_size, progress)
        for source, name in zip(sources, names, strict=True)
    ]


def label_names(model: Tagger) -> tuple[str, ...]:
    """The labels, in the order of the scores."""
    names = cast(dict[int, str], model.config.id2label)
    return tuple(names[index] for index in sorted(names))


def is_framewise(model: Tagger) -> bool:
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
def _tag_one(
    source: Any,
    name: str,
    model: Tagger,
    extractor: LogMelFeatureExtractor,
    plan: WindowPlan,
    batch_size: int,
    progress: Callable[[float, float | None], None] | None,
) -> Tagging:
    labels = label_names(model)
    grid = OverlapAverage(len(labels))
    samples = 0

    def counted(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    with open_stream(source, extractor.sampling_rate) as stream:
        rows = log_mel_stream(counted(stream.blocks), extractor.options, model.device)
        for batch in _batches(windows(rows, plan.size, plan.hop, least=model.config.patch_size[1]), batch_size):
            for window, (scores, weights) in zip(batch, _scores(batch, model, extractor, plan), strict=True):
                grid.add(window.start // plan.step, scores, weights)
            if progress is not None:
                heard_to = batch[-1].start + len(batch[-1].features)
                progress(heard_to * extractor.seconds_per_frame, stream.seconds)
    averaged, seconds = grid.result(), samples / extractor.sampling_rate
    edges, times = _grid_times(len(averaged), plan, model, extractor.seconds_per_frame, seconds)
    pooling = model.config.frame_pooling if is_framewise(model) else None
    return Tagging(name, seconds, labels, averaged, times, edges, _clip_scores(averaged, edges, pooling))


def _batches(items: Iterable[Window], size: int) -> Iterator[list[Window]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _scores(
    batch: list[Window], model: Tagger, extractor: LogMelFeatureExtractor, plan: WindowPlan
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each window its scores by step, `(steps, labels)`, and the weight of each step: how much of it was heard."""
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
    for row, frames in zip(scores, lengths, strict=True):
        if is_framewise(model):  # (time patches, labels)
            patches = config.time_patches(frames)
            yield row[:patches], np.ones(patches)
        else:  # (labels,), for all of the window
            ends = np.minimum(np.arange(plan.step, frames + plan.step, plan.step), frames)
            yield np.broadcast_to(row, (len(ends), len(row))), np.diff(ends, prepend=0).astype(np.float64)


def _grid_times(
    steps: int, plan: WindowPlan, model: Tagger, seconds_per_frame: float, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Edges `(steps + 1,)` and middles `(steps,)` of the grid's steps in seconds."""
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


def _clip_scores(scores: np.ndarray, edges: np.ndarray, pooling: str | None) -> np.ndarray:
    """Scores of the recording, float32 `(labels,)`, from the grid `(steps, labels)`: by the pooling of the frame head,
    or for None the mean over time."""
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
