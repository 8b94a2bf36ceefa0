"""What each head is worth: tags and onsets of known clips, with the head and without it.

What is notable here:
- clips are heard as `tag` hears them, windows, pooling, events and all; their windows are cut once, and each head is
  then silenced in turn (`head_knockout.py`);
- a drop has a *paired* interval over the clips (`knockout_scores.py`). Of many heads some exclude 0 by chance alone:
  one in twenty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .atlas_clips import KnownClip
from .modeling.head_knockout import encoder_of, knocked_out
from .processing import LogMelFeatureExtractor
from .processing.audio import load_audio
from .processing.windows import OverlapAverage, Window
from .tag_windows import WindowPlan, check_scores, is_framewise, label_names, score_windows
from .tagging import RecordingTags, Tagging
from .training.knockout_scores import EVENT_SCORE, TAG_SCORE, Draws, Drop, event_draws, paired_drop, tag_draws
from .training.tag_scores import MULTI, SINGLE

BATCH_SIZE = 16  # windows


@dataclass(frozen=True, eq=False)
class Worth:
    """What heads are worth.

    Attributes:
        scores: Of the whole model, by name: the value, and `…_interval` (95%, low and high).
        tags, onsets: Of each head `("layers.3", 2)`, what is lost of tags and of onsets; empty where not measured.
    """

    scores: dict[str, Any] = field(default_factory=dict)
    tags: dict[tuple[str, int], Drop] = field(default_factory=dict)
    onsets: dict[tuple[str, int], Drop] = field(default_factory=dict)


class _KeptRecording(RecordingTags):
    """A recording whose windows are cut once and scored again and again."""

    def __init__(self, clip: KnownClip, model: Any, extractor: LogMelFeatureExtractor, plan: WindowPlan) -> None:
        audio = load_audio(clip.audio, extractor.sampling_rate)
        super().__init__(audio, clip.name, model, extractor, plan)
        self.kept = list(self.windows())
        self.again()

    def again(self) -> None:
        """Forget the scores."""
        self._grid = OverlapAverage(len(label_names(self._model)))


def is_single(model: Any) -> bool:
    """Whether a model of tags names one label of several."""
    config = model.config
    several = is_framewise(model) or config.num_labels == 1 or config.problem_type == MULTI
    return not several


def measure_worth(
    model: Any,
    extractor: LogMelFeatureExtractor,
    tests: Sequence[KnownClip],
    threshold: float,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Worth:
    """Silence each head in turn and count what is lost.

    Args:
        model: Of tags, in eval mode.
        extractor: Of the model.
        tests: Clips with events whose labels are the model's; of a model that names one label, one event each.
        threshold: From which an event counts, of a model of moments.
        seed: Of the bootstrap.
        progress: Called with the heads that are done, and with all.

    Raises:
        OSError, ValueError: As `tag`; a test without events, or with a label that is not the model's.
    """
    check_scores(model)
    plan = WindowPlan.of(model.config, extractor, is_framewise(model))
    present = _present(model, tests)
    recordings = [_KeptRecording(clip, model, extractor, plan) for clip in tests]

    def heard() -> list[Draws]:
        found = _heard(recordings, model, extractor, plan)
        scores = np.stack([each.clip_scores for each in found])
        draws = [tag_draws(present, scores, SINGLE if is_single(model) else MULTI, seed)]
        if is_framewise(model):
            events = [each.events(threshold) for each in found]
            draws.append(event_draws([clip.events or () for clip in tests], events, label_names(model), seed))
        return draws

    names = [TAG_SCORE[SINGLE if is_single(model) else MULTI], EVENT_SCORE]
    whole = heard()
    worth = Worth()
    for name, draws in zip(names, whole, strict=False):
        worth.scores.update({name: draws.value, f"{name}_interval": draws.interval})
    encoder = encoder_of(model)
    heads = [(f"layers.{i}", h) for i in range(len(encoder.layers)) for h in range(encoder.config.num_attention_heads)]
    progress(0, len(heads))
    for done, head in enumerate(heads, 1):
        with knocked_out(model, [head]):
            without = heard()
        for kept, before, after in zip((worth.tags, worth.onsets), whole, without, strict=False):
            kept[head] = paired_drop(before, after)
        progress(done, len(heads))
    return worth


def _present(model: Any, tests: Sequence[KnownClip]) -> np.ndarray:
    """Which labels each test has, `(clips, labels)`."""
    names = list(label_names(model))
    present = np.zeros((len(tests), len(names)), dtype=bool)
    for row, clip in zip(present, tests, strict=True):
        labels = {event.label for event in clip.events or ()}
        if not labels or labels - set(names) or (is_single(model) and len(labels) > 1):
            what = f"{', '.join(sorted(labels)) or 'no event'}"
            allowed = "one label" if is_single(model) else "at least one label"
            raise ValueError(f"tests: {clip.name} has {what}; needed is {allowed} of {', '.join(names)}")
        row[[names.index(label) for label in labels]] = True
    return present


def _heard(
    recordings: Sequence[_KeptRecording], model: Any, extractor: LogMelFeatureExtractor, plan: WindowPlan
) -> list[Tagging]:
    windows: list[tuple[_KeptRecording, Window]] = []
    for recording in recordings:
        recording.again()
        # Copies: scoring normalises features in place.
        windows += [(recording, Window(each.start, each.features.clone())) for each in recording.kept]
    for start in range(0, len(windows), BATCH_SIZE):
        batch = windows[start : start + BATCH_SIZE]
        scored = score_windows([window for _, window in batch], model, extractor, plan)
        for (recording, window), (scores, weights) in zip(batch, scored, strict=True):
            recording.add(window, scores, weights)
    return [recording.result() for recording in recordings]
