"""How a run's clips become features: the extractor of a new model, what is kept of them, what changes in training."""

from typing import Any

from rich.console import Console

from .processing import LogMelFeatureExtractor
from .training.augmentation import InTurn, RandomEqualizer, RandomGain, RandomNoise, RandomSpeed
from .training.data import Augmentation
from .training.feature_cache import FeatureCache
from .training.feature_statistics import estimate_mean_std, with_statistics
from .training.recipe import Recipe
from .training.typed import check_keys

STATISTICS_CLIPS = 500  # that mean and std of the features are estimated on


def make_extractor(recipe: Recipe, rows: Any, console: Console) -> LogMelFeatureExtractor:
    """The extractor of a new model; with `normalize: global` and no mean, both come from training clips."""
    options = dict(recipe.data.features)
    allowed = [
        name for name in LogMelFeatureExtractor().to_dict() if not name.endswith("_type") or name == "window_type"
    ]
    check_keys(options, allowed, "data.features")
    estimated = options.get("normalize") == "global" and options.get("mean") is None
    if not estimated:
        return LogMelFeatureExtractor(**options)
    if rows is None:
        raise ValueError("data.features.normalize is 'global': a stream needs mean and std beside it")
    raw = LogMelFeatureExtractor(**{**options, "normalize": None})
    mean, std = estimate_mean_std(rows, raw, STATISTICS_CLIPS, progress=console.is_terminal, skip_corrupt=True)
    return with_statistics(raw, mean, std)


def make_cache(recipe: Recipe) -> FeatureCache | None:
    """Where features are kept, if the recipe says so."""
    return None if recipe.data.cache is None else FeatureCache(recipe.data.cache)


def make_augmentations(
    recipe: Recipe, extractor: LogMelFeatureExtractor
) -> tuple[Augmentation | None, Augmentation | None]:
    """What changes waveforms, and what changes features, in training; None for nothing."""
    section = recipe.augmentation
    waves: list[Augmentation] = []
    if section.speed:
        waves.append(RandomSpeed(section.speed))
    if section.gain_db:
        waves.append(RandomGain(section.gain_db))
    if section.noise_db:
        waves.append(RandomNoise(*section.noise_db))
    std = extractor.std if isinstance(extractor.std, float) else 1.0
    features = RandomEqualizer(section.equalizer_db, std) if section.equalizer_db else None
    return InTurn(waves) if waves else None, features


def made_by(extractor: LogMelFeatureExtractor) -> dict[str, Any]:
    """Config fields that follow from the features."""
    return {"num_mel_bins": extractor.num_mel_bins, "frame_shift_ms": extractor.seconds_per_frame * 1000}
