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

from .loading import load_config, no_conversion
from .processing import LogMelFeatureExtractor
from .processing.events import THRESHOLD, Event, find_events
from .processing.folders import check_features_fit, said_of
from .processing.streaming import log_mel_stream, open_stream
from .processing.windows import OverlapAverage, Window, windows
from .result_html import tagging_html
from .tag_windows import (
    HEADS,
    SoundModel,
    WindowPlan,
    check_scores,
    clip_scores,
    grid_times,
    is_framewise,
    label_names,
    score_windows,
)


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

    def _repr_html_(self) -> str:
        """For notebooks."""
        return tagging_html(self)

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


def load_tagger(folder: str | Path, device: str | torch.device = "cpu") -> tuple[SoundModel, LogMelFeatureExtractor]:
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
    model: str | Path | SoundModel,
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
    check_scores(model)
    plan = WindowPlan.of(model.config, feature_extractor, is_framewise(model), window, hop)
    sources = list(audio) if isinstance(audio, list | tuple) else [audio]
    names = [str(one) if isinstance(one, str | Path) else f"audio {index}" for index, one in enumerate(sources)]
    recordings = (
        RecordingTags(source, name, model, feature_extractor, plan)
        for source, name in zip(sources, names, strict=True)
    )
    return [_tag_one(recording, model, feature_extractor, plan, batch_size, progress) for recording in recordings]


class RecordingTags:
    """One recording whose windows are scored, alone or among those of others: windows go out, scores come in.

    Args:
        source: As `load_audio` takes it.
        name: Of the recording.
        model, extractor, plan: Whose windows they are, and how they are cut.
    """

    def __init__(
        self, source: Any, name: str, model: SoundModel, extractor: LogMelFeatureExtractor, plan: WindowPlan
    ) -> None:
        self.promised: float | None = None  # seconds, as the header tells them
        self._source, self._name, self._model, self._extractor, self._plan = source, name, model, extractor, plan
        self._grid = OverlapAverage(len(label_names(model)))
        self._samples = 0

    def windows(self) -> Iterator[Window]:
        """Its windows, one after the other, cut as they are asked for.

        Raises:
            OSError, ValueError, TypeError: As `load_audio`; for faults inside the samples once they are reached.
        """
        with open_stream(self._source, self._extractor.sampling_rate) as stream:
            self.promised = stream.seconds
            rows = log_mel_stream(self._counted(stream.blocks), self._extractor.options, self._model.device)
            yield from windows(rows, self._plan.size, self._plan.hop, least=self._model.config.patch_size[1])

    def _counted(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self._samples += len(block)
            yield block

    def add(self, window: Window, scores: np.ndarray, weights: np.ndarray) -> None:
        """Take in what `score_windows` gave for a window; windows in the order in which they went out."""
        self._grid.add(window.start // self._plan.step, scores, weights)

    def result(self) -> Tagging:
        """The scores of the recording, once all windows are in."""
        model, averaged = self._model, self._grid.result()
        seconds = self._samples / self._extractor.sampling_rate
        edges, times = grid_times(len(averaged), self._plan, model, self._extractor.seconds_per_frame, seconds)
        pooling = model.config.frame_pooling if is_framewise(model) else None
        pooled = clip_scores(averaged, edges, pooling)
        return Tagging(self._name, seconds, label_names(model), averaged, times, edges, pooled)


def _tag_one(
    recording: RecordingTags,
    model: SoundModel,
    extractor: LogMelFeatureExtractor,
    plan: WindowPlan,
    batch_size: int,
    progress: Callable[[float, float | None], None] | None,
) -> Tagging:
    for batch in _batches(recording.windows(), batch_size):
        for window, (scores, weights) in zip(batch, score_windows(batch, model, extractor, plan), strict=True):
            recording.add(window, scores, weights)
        if progress is not None:
            heard_to = batch[-1].start + len(batch[-1].features)
            progress(heard_to * extractor.seconds_per_frame, recording.promised)
    return recording.result()


def _batches(items: Iterable[Window], size: int) -> Iterator[list[Window]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
