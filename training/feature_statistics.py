"""Mean and standard deviation of a dataset's log-mel features, for an extractor that normalises by them.

    mean, std = estimate_mean_std(dataset, extractor)
    extractor = with_statistics(extractor, mean, std)
    extractor.save_pretrained(folder)

AST divides by twice the standard deviation: give `with_statistics` 2 * std for that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.progress import track

from ..processing.audio import load_audio
from ..processing.features import LogMelFeatureExtractor
from .data import AudioDataset


def estimate_mean_std(
    dataset: Any,
    feature_extractor: LogMelFeatureExtractor,
    clips: int | None = None,
    seed: int = 0,
    per_mel: bool = False,
    progress: bool = True,
    skip_corrupt: bool = False,
) -> tuple[Any, Any]:
    """Mean and standard deviation over all frames of whole clips, whatever the extractor's own normalisation is.

    One clip is in memory at a time; per clip, sums are merged in float64 (Chan et al. 1979).

    Args:
        dataset: a `SoundDataset`, rows with `audio`, or waveforms `(samples,)` at the extractor's rate: anything with
            a length and an index. Of a `SoundDataset` only the rows count, not how it cuts, mixes or augments.
        feature_extractor: whose settings the features have.
        clips: how many clips to look at, drawn without replacement; None takes all.
        seed: of that draw.
        per_mel: one mean and std per mel instead of one for all.
        progress: show a progress bar.
        skip_corrupt: leave clips out that cannot be read, in place of raising; whoever trains on them tells of them.

    Returns:
        `(mean, std)`: two floats, or two lists of floats, one per mel.

    Raises:
        OSError: audio cannot be read.
        ValueError: no clips, or audio that is damaged; the clip is named.
    """
    rows: Any = dataset.dataset if isinstance(dataset, AudioDataset) else dataset
    if len(rows) == 0:
        raise ValueError("the dataset is empty")
    if clips is not None and clips < 1:
        raise ValueError(f"clips is {clips}; it must be at least 1, or None")
    chosen = np.arange(len(rows))
    if clips is not None and clips < len(rows):
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), size=clips, replace=False))
    raw = _copy(feature_extractor, normalize=None, truncation=False)
    count, mean, squares = 0, np.zeros(raw.num_mel_bins), np.zeros(raw.num_mel_bins)  # (mels,)
    for index in track(chosen, description="mean and std", disable=not progress):
        try:
            frames = _frames(rows[int(index)], raw, int(index))
        except (OSError, ValueError):
            if not skip_corrupt:
                raise
            continue
        total = count + len(frames)
        difference = frames.mean(0) - mean
        squares += ((frames - frames.mean(0)) ** 2).sum(0) + difference**2 * count * len(frames) / total
        mean += difference * len(frames) / total
        count = total
    if not count:
        raise ValueError("no clip can be read")
    variance = squares / count
    if per_mel:
        return mean.tolist(), np.sqrt(variance).tolist()
    return float(mean.mean()), float(np.sqrt((variance + (mean - mean.mean()) ** 2).mean()))


def with_statistics(
    feature_extractor: LogMelFeatureExtractor, mean: float | Sequence[float], std: float | Sequence[float]
) -> LogMelFeatureExtractor:
    """A new extractor with the same settings that gives (x - mean) / std.

    Args:
        feature_extractor: stays as it is.
        mean, std: numbers, or one per mel.

    Raises:
        ValueError: not finite, a std of 0, or another number of them than of mels.
    """
    return _copy(feature_extractor, normalize="global", mean=mean, std=std)


def _copy(feature_extractor: LogMelFeatureExtractor, **changes: Any) -> LogMelFeatureExtractor:
    return type(feature_extractor)(**{**feature_extractor.to_dict(), **changes})


def _frames(item: Any, extractor: LogMelFeatureExtractor, index: int) -> np.ndarray:
    """Log-mel `(frames, mels)` float64 of a row or a waveform."""
    source = item["audio"] if isinstance(item, Mapping) and "audio" in item else item
    rate = extractor.sampling_rate
    try:
        wave = load_audio(source, sampling_rate=rate)
    except (OSError, ValueError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"item {index}: {error}") from error
    features = extractor(wave, sampling_rate=rate, padding=False)["input_features"][0]
    return np.asarray(features, dtype=np.float64)
