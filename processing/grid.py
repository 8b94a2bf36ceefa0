"""Where the patches of a spectrogram lie, in seconds and Hz: axes for attention maps and pictures."""

from dataclasses import dataclass

import numpy as np

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .features import LogMelFeatureExtractor
from .log_mel import mel_edges


@dataclass(frozen=True)
class PatchGrid:
    """Edges of the rows and columns of patches.

    Attributes:
        seconds: `(columns, 2)`, start and end of every time patch; neighbours overlap where the stride is below the
            size.
        hertz: `(rows, 2)`, lowest and highest frequency under every row, low mels first.
    """

    seconds: np.ndarray
    hertz: np.ndarray


def patch_grid(
    config: SpectrogramTransformerConfig, feature_extractor: LogMelFeatureExtractor, frames: int
) -> PatchGrid:
    """Place the grid of a clip of `frames` on its spectrogram.

    Args:
        config: Of the model.
        feature_extractor: Made the features.
        frames: Of the clip.

    Raises:
        ValueError: Model and extractor differ in mels.
    """
    if config.num_mel_bins != feature_extractor.num_mel_bins:
        raise ValueError(
            f"the model takes {config.num_mel_bins} mels, the feature extractor gives {feature_extractor.num_mel_bins}"
        )
    (high, wide), (down, along) = config.patch_size, config.patch_stride
    first = np.arange(config.time_patches(frames)) * along
    # A frame speaks for the shift around its middle.
    middles, shift = feature_extractor.frame_times(first[-1] + wide), feature_extractor.seconds_per_frame
    seconds = np.stack([middles[first] - shift / 2, middles[first + wide - 1] + shift / 2], axis=1)
    edges = mel_edges(feature_extractor.options)  # (mels, 2)
    lowest = np.arange(config.frequency_patches) * down
    return PatchGrid(seconds, np.stack([edges[lowest, 0], edges[lowest + high - 1, 1]], axis=1))
