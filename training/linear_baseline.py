"""What a linear classifier makes of sounds: the bar that a model with attention has to clear.

Log-mel features are summed up over time, as the mean and the standard deviation of each band; these are standardised
and go into a logistic regression (scikit-learn). It knows nothing of the order of things. For events, the same model
looks through a window that slides over the clip, and scores each time step.

    model = LinearBaseline(LABELS).fit(hit_features(hits), ids)
    model.scores(hit_features(others))  # (clips, labels)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..processing.features import LogMelFeatureExtractor
from .drums import SAMPLING_RATE, DrumHit

REGULARIZATION = 0.1  # inverse strength, C; scikit-learn's 1.0 overfits a few hundred clips of 160 numbers
WINDOW = 0.2  # seconds around a time step's middle


def baseline_features() -> LogMelFeatureExtractor:
    """80 log-mel bands every 10 ms, not normalised: how loud a clip is may tell what it is."""
    return LogMelFeatureExtractor(normalize=None)


class LinearBaseline:
    """A linear classifier of clips, by the mean and the standard deviation over time of each log-mel band.

    Args:
        labels: names by id.
        multi_label: whether a clip can have any number of labels; each then has a classifier of its own.
        regularization: inverse strength of the L2 penalty.
    """

    def __init__(
        self, labels: Sequence[str], multi_label: bool = False, regularization: float = REGULARIZATION
    ) -> None:
        self.labels, self.multi_label, self.regularization = tuple(labels), multi_label, regularization
        self._models: list[Any] = []  # one for a single label, else one per label

    def fit(self, features: Sequence[np.ndarray], targets: Sequence[Any] | np.ndarray) -> "LinearBaseline":
        """Learn from clips, and return itself.

        Args:
            features: `(frames, mels)` of each clip, of any length.
            targets: ids `(clips,)`; or 0 and 1 `(clips, labels)` with `multi_label`.

        Raises:
            ValueError: no clips, or targets of another shape.
        """
        self._fit(np.stack([statistics(clip) for clip in features]) if len(features) else np.zeros((0, 0)), targets)
        return self

    def scores(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities `(clips, labels)` of clips `(frames, mels)`; a label that was never seen has 0.

        Raises:
            ValueError: nothing has been learnt yet.
        """
        return self._scores(np.stack([statistics(clip) for clip in features]))

    def _fit(self, rows: np.ndarray, targets: Any) -> None:
        """Learn from statistics `(clips, 2 * mels)`."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        targets = np.asarray(targets)
        shape = (len(rows), len(self.labels)) if self.multi_label else (len(rows),)
        if not len(rows) or targets.shape != shape:
            raise ValueError(f"targets of shape {targets.shape} for {len(rows)} clips; expected {shape}, not empty")
        # One column of ids, or one of 0 and 1 per label.
        columns = targets.reshape(len(rows), -1).astype(np.int64).T
        self._models = []
        for column in columns:
            if (column == column[0]).all():  # nothing to tell apart
                self._models.append(int(column[0]))
                continue
            regression = LogisticRegression(C=self.regularization, max_iter=2_000)
            self._models.append(make_pipeline(StandardScaler(), regression).fit(rows, column))

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities `(clips, labels)` from statistics `(clips, 2 * mels)`."""
        if not self._models:
            raise ValueError("the baseline has learnt nothing yet: call fit first")
        scores = np.zeros((len(rows), len(self.labels)))
        for label, model in enumerate(self._models):
            if self.multi_label:
                scores[:, label] = model if isinstance(model, int) else model.predict_proba(rows)[:, 1]
            elif isinstance(model, int):
                scores[:, model] = 1.0
            else:
                scores[:, model.classes_] = model.predict_proba(rows)
        return scores


class LinearFrameBaseline(LinearBaseline):
    """The same classifier on a window that slides over a clip: scores for each time step, several labels at once.

    Args:
        labels: names by id.
        frame_times: centres of a clip's frames in seconds, `(frames,)`: a feature extractor's `frame_times`.
        edges: of the time steps in seconds, `(steps + 1,)`.
        window: seconds that are looked at around the middle of a step.
        regularization: inverse strength of the L2 penalty.
    """

    def __init__(
        self,
        labels: Sequence[str],
        frame_times: np.ndarray,
        edges: np.ndarray,
        window: float = WINDOW,
        regularization: float = REGULARIZATION,
    ) -> None:
        super().__init__(labels, multi_label=True, regularization=regularization)
        self.frame_times, self.edges, self.window = np.asarray(frame_times), np.asarray(edges), window

    def fit(self, features: Sequence[np.ndarray], targets: Sequence[Any] | np.ndarray) -> "LinearFrameBaseline":
        """Learn from clips of one length, and return itself.

        Args:
            features: `(frames, mels)` of each clip.
            targets: 0 and 1 `(steps, labels)` of each clip, as `frame_targets` gives them.

        Raises:
            ValueError: no clips, or features or targets of another shape.
        """
        rows = [self._windows(clip) for clip in features]
        self._fit(np.concatenate(rows) if rows else np.zeros((0, 0)), np.concatenate(list(targets) or [[]]))
        return self

    def scores(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities `(clips, steps, labels)` of clips `(frames, mels)`.

        Raises:
            ValueError: nothing has been learnt yet, or a clip has another number of frames.
        """
        scores = self._scores(np.concatenate([self._windows(clip) for clip in features]))
        return scores.reshape(len(features), len(self.edges) - 1, len(self.labels))

    def _windows(self, clip: np.ndarray) -> np.ndarray:
        """Statistics of the window around each step, `(steps, 2 * mels)`."""
        if len(clip) != len(self.frame_times):
            raise ValueError(f"a clip has {len(clip)} frames; expected {len(self.frame_times)}, as frame_times")
        rows = []
        for middle in (self.edges[1:] + self.edges[:-1]) / 2:
            away = np.abs(self.frame_times - middle)
            rows.append(statistics(clip[away <= max(self.window / 2, away.min())]))  # the nearest frame at least
        return np.stack(rows)


def statistics(features: np.ndarray) -> np.ndarray:
    """Mean and standard deviation over time of each band: `(frames, mels)` to `(2 * mels,)`."""
    return np.concatenate([features.mean(axis=0), features.std(axis=0)])


def hit_features(hits: Sequence[DrumHit], feature_extractor: Any = None) -> list[np.ndarray]:
    """Features `(frames, mels)` of each hit, by `baseline_features` or another feature extractor."""
    extractor = feature_extractor or baseline_features()
    extract = (extractor(hit.audio, sampling_rate=SAMPLING_RATE, padding=False) for hit in hits)
    return [np.asarray(features["input_features"][0]) for features in extract]
