"""Sounds that nobody labelled: from a folder of recordings to batches for masked pre-training, masks included.

As everywhere (`data.py`), features are computed when an item is asked for, and randomness follows from (seed, epoch,
index): where a recording is cut, and what is masked of it. The masks reach the model as `labels`, by which
transformers' Trainer counts what the loss counts: batches that are accumulated, or spread over processes, then give
the gradient of one large batch, whatever their clips' lengths.

    rows = load_unlabelled("recordings")  # every audio file below the folder
    train = UnlabelledDataset(rows, feature_extractor, model.config, crop_seconds=10)
    trainer = AuralTrainer(model, arguments, data_collator=UnlabelledCollator(model.config), train_dataset=train)
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from torch import Tensor
from transformers import BatchFeature

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from ..modeling.patch_masks import draw_masks
from ..processing.audio import ENDINGS
from ..processing.processor import IGNORED_LABEL
from .collator import check_counts, item_features, pad_features
from .data import AudioDataset, Augmentation, load_rows, refuse_cached
from .sound_data import load_crop, whole_features


def load_unlabelled(source: Any, split: str | None = None, audio_column: str = "audio") -> Dataset | IterableDataset:
    """Rows with the column `audio` (undecoded), and whatever other columns the source has.

    Args:
        source: a folder, of which every audio file counts, those in sub-folders too, by name and without any table; or
            a `datasets` Dataset, IterableDataset or dict of splits.
        split: sub-folder, or split of a dict; not needed of a dict that has only one.
        audio_column: column of the audio; for a folder it is always made.

    Raises:
        OSError: there is no such folder, or it holds no audio files.
        TypeError: `source` is something else.
        ValueError: an unknown split, a missing column, no rows; the message says what is there.
    """
    if not isinstance(source, (str, os.PathLike)):
        return load_rows(source, split, audio_column, audio_column, "audio")
    folder = Path(source) if split is None else Path(source, split)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    if not files:
        raise FileNotFoundError(f"{folder} holds no audio files ({' '.join(ENDINGS)})")
    return Dataset.from_dict({"audio": [str(path) for path in files]})


class UnlabelledDataset(AudioDataset):
    """Items for `UnlabelledCollator`, computed on the fly from rows with audio; labels and texts are not looked at.

    An item is a `BatchFeature`: `input_features` (frames, mels) float32, and `masks` (masks, rows, columns) boolean,
    True on patches to tell.

    Args:
        dataset: rows with `audio`; anything with a length and an index, such as a `datasets.Dataset`.
        feature_extractor: a `LogMelFeatureExtractor`.
        config: of the model, which says how it cuts patches and what it masks.
        crop_seconds: cut longer audio.
        random_crop: what stays of longer audio is drawn; otherwise it is the beginning.
        augment_audio: changes waveforms (samples,), drawing only from the generator that it is handed.
        augment_features: the same for features (frames, mels).
        seed: with epoch and index, of that generator.
        cache: a `FeatureCache`, in place of computing features each time; with `crop_seconds` only of the beginnings,
            and not with `augment_audio`.

    Raises:
        ValueError: no rows, rows without `audio`, `crop_seconds` not above 0, an extractor of another number of mels
            than the model's, or a cache where waveforms change.
    """

    def __init__(
        self,
        dataset: Any,
        feature_extractor: Any,
        config: SpectrogramTransformerConfig,
        crop_seconds: float | None = None,
        random_crop: bool = True,
        augment_audio: Augmentation | None = None,
        augment_features: Augmentation | None = None,
        seed: int = 0,
        cache: Any = None,
    ) -> None:
        super().__init__(dataset, None, seed)
        if crop_seconds is not None and not crop_seconds > 0:
            raise ValueError(f"crop_seconds is {crop_seconds}; it must be above 0, or None")
        if config.num_mel_bins != feature_extractor.num_mel_bins:
            mels = f"{feature_extractor.num_mel_bins} mels, and the model takes num_mel_bins={config.num_mel_bins}"
            raise ValueError(f"feature_extractor gives {mels}")
        if cache is not None:
            refuse_cached(random_crop=random_crop and crop_seconds is not None, augment_audio=augment_audio)
        self.feature_extractor, self.config, self.cache = feature_extractor, config, cache
        self.crop_seconds, self.random_crop = crop_seconds, random_crop
        self.augment_audio, self.augment_features = augment_audio, augment_features

    def make_item(self, index: int, generator: np.random.Generator) -> BatchFeature:
        """The item, drawing where to cut, what the augmentations draw, and then the masks."""
        audio = self.dataset[index]["audio"]
        if self.cache is not None:
            features = self.cache.features(audio, self.feature_extractor, self.crop_seconds)
        else:
            wave = load_crop(audio, self.feature_extractor, self.crop_seconds, generator if self.random_crop else None)
            if self.augment_audio is not None:
                wave = self.augment_audio(wave, generator)
            features = whole_features(wave, self.feature_extractor)
        if self.augment_features is not None:
            features = self.augment_features(features, generator)
        return BatchFeature({"input_features": features, "masks": masks_of(self.config, len(features), generator)})

    @property
    def durations(self) -> list[float]:
        """Seconds of each item, at most `crop_seconds`; see `AudioDataset.durations`."""
        limit = float("inf") if self.crop_seconds is None else self.crop_seconds
        return [min(seconds, limit) for seconds in super().durations]


def masks_of(config: SpectrogramTransformerConfig, frames: int, generator: np.random.Generator) -> np.ndarray:
    """Masks of a clip of `frames`, drawn from `generator`: boolean `(masks, rows, columns)`."""
    seeded = torch.Generator().manual_seed(int(generator.integers(2**63)))
    real = torch.ones(1, config.time_patches(frames), dtype=torch.bool)
    return draw_masks(config, real, seeded)[0].unflatten(1, (config.frequency_patches, -1)).numpy()


@dataclass
class UnlabelledCollator:
    """Pad features, say which frames are real, and lay the masks out on the batch's grid.

    Called with a list of items of `UnlabelledDataset`.

    Args:
        config: of the model.
        pad_to_multiple_of: round the padded frames up to a multiple, so that fewer shapes occur.
        padding_value: of features after a clip's end: the feature extractor's.

    Returns:
        `input_features` (batch, frames, mels) float32, `attention_mask` (batch, frames) int64 with 1 on real frames,
        and `labels` (batch, masks, rows * columns) int64: 1 on patches to tell, -100 elsewhere.

    Raises:
        ValueError: no items, or an item, named by its place in the batch, with a wrong shape, no frames, NaN or
            infinity, or masks of another grid.
    """

    config: SpectrogramTransformerConfig
    pad_to_multiple_of: int | None = None
    padding_value: float = 0.0

    def __post_init__(self) -> None:
        check_counts(pad_to_multiple_of=self.pad_to_multiple_of)

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        if not items:
            raise ValueError("the batch has no items")
        features = [item_features(item, index) for index, item in enumerate(items)]
        for index, feature in enumerate(features):
            if not feature.isfinite().all():
                raise ValueError(f"item {index}: input_features hold NaN or infinity")
        batch = pad_features(features, self.config.num_mel_bins, self.pad_to_multiple_of, self.padding_value)
        rows, columns = self.config.frequency_patches, self.config.time_patches(batch["input_features"].shape[1])
        masks = self.config.masks_per_clip
        labels = torch.full((len(items), masks, rows, columns), IGNORED_LABEL)
        for index, (item, feature) in enumerate(zip(items, features, strict=True)):
            drawn, own = torch.as_tensor(item["masks"]), self.config.time_patches(len(feature))
            if drawn.shape != (masks, rows, own):
                raise ValueError(
                    f"item {index}: masks are {tuple(drawn.shape)}; expected (masks, rows, columns) = "
                    f"{(masks, rows, own)} for {len(feature)} frames"
                )
            labels[index, :, :, :own].masked_fill_(drawn, 1)
        return {**batch, "labels": labels.flatten(2)}
