"""Sounds with their labels: from a folder or a `datasets` object to the items that a collator takes.

As with speech (`data.py`): `datasets` never decodes, features are computed when an item is asked for, and randomness
follows from (seed, epoch, index).

    dataset = load_sounds("my_sounds", split="train")  # my_sounds/train/metadata.csv with file_name,label
    names = label_names(dataset)
    train = SoundDataset(dataset, feature_extractor, names, mixup=Mixup(), balanced=True)
    train[0]  # {"input_features": (frames, mels), "labels": (labels,) or an id}
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, IterableDataset
from transformers import BatchFeature

from ..processing.audio import load_audio
from .data import AudioDataset, Augmentation, load_rows, refuse_cached
from .mixup import Mixup, mix_labels, mix_waveforms
from .sampler import balancing_weights
from .sound_labels import class_names, find_ids, is_multi_label, label_column, label_ids, label_vector

SEPARATOR = ";"  # between the labels in one cell of metadata.csv: names such as "Speech, child" have commas


def load_sounds(
    source: Any, split: str | None = None, audio_column: str = "audio", label_column: str = "label"
) -> Dataset | IterableDataset:
    """Rows with the columns `audio` (undecoded) and `label`, whatever the source calls them, and its other columns.

    Args:
        source: a `datasets` Dataset, IterableDataset or dict of splits, whose labels are names, a ClassLabel,
            integers, or lists of these; or a folder that holds audio files and a metadata.csv with the columns
            `file_name` and `label_column`, itself or in one sub-folder per split. If any row of it has several labels,
            written "kick;snare", `label` is a list in every row, and an empty cell is a row without labels.
        split: which split of a dict or of a folder with sub-folders; not needed when there is only one.
        audio_column: column of the audio; for a folder it is always made from `file_name`.
        label_column: column of the label or labels.

    Raises:
        OSError: the folder, its metadata.csv or an audio file that it names is missing, or a file stands in its place.
        TypeError: `source` is something else.
        ValueError: an unknown split, a missing column, no rows, an empty label; the message says what is there.
    """
    dataset = load_rows(source, split, audio_column, label_column, "label")
    if not isinstance(source, (str, os.PathLike)):
        return dataset
    cells = [[name for part in cell.split(SEPARATOR) if (name := part.strip())] for cell in dataset["label"]]
    if not any(SEPARATOR in cell for cell in dataset["label"]):
        for number, names in enumerate(cells, start=1):
            if not names:
                raise ValueError(f"{source}: row {number} has no label")
        return dataset.remove_columns("label").add_column("label", [names[0] for names in cells])
    return dataset.remove_columns("label").add_column("label", cells)


def prepare_sound(
    row: Mapping[str, Any],
    feature_extractor: Any,
    labels: Sequence[str] | Mapping[int, str],
    multi_label: bool = False,
    classes: Sequence[str] | None = None,
    max_seconds: float | None = None,
) -> dict[str, Any]:
    """One row with `audio` and `label` to one item, for `IterableDataset.map`; `SoundDataset` can do more.

    Args:
        row: `audio` as `load_audio` takes it, `label` a name, an integer or a list of them.
        feature_extractor, labels, max_seconds: as for `SoundDataset`.
        multi_label: whether there can be any number of labels.
        classes: names of integer labels: `class_names` of the stream.

    Returns:
        `input_features` (frames, mels) float32 and `labels`, an id, or with `multi_label` float32 (labels,).

    Raises:
        OSError: the audio cannot be read.
        ValueError: an unknown label, or not one where one is needed.
    """
    known = label_ids(labels)
    ids = find_ids(row["label"], known, multi_label, classes)
    wave = load_crop(row["audio"], feature_extractor, max_seconds)
    features = whole_features(wave, feature_extractor)
    return {"input_features": features, "labels": label_vector(ids, len(known)) if multi_label else ids[0]}


def load_crop(
    audio: Any, feature_extractor: Any, seconds: float | None = None, generator: np.random.Generator | None = None
) -> np.ndarray:
    """A recording `(samples,)` at the extractor's rate; of a longer one than `seconds` a part.

    Args:
        audio: as `load_audio` takes it.
        feature_extractor: a `LogMelFeatureExtractor`.
        seconds: most that stays; None is all.
        generator: of where the part begins; None is the beginning.

    Raises:
        OSError: the audio cannot be read.
    """
    rate = feature_extractor.sampling_rate
    wave = load_audio(audio, sampling_rate=rate)
    if seconds is None:
        return wave
    samples = max(1, round(seconds * rate))
    start = 0 if generator is None else int(generator.integers(max(1, len(wave) - samples + 1)))
    return wave[start : start + samples]


def whole_features(wave: np.ndarray, feature_extractor: Any) -> np.ndarray:
    """`(frames, mels)`; not padded, whatever the extractor's default: the collator knows then what is padding."""
    rate = feature_extractor.sampling_rate
    return feature_extractor(wave, sampling_rate=rate, padding=False)["input_features"][0]


class SoundDataset(AudioDataset):
    """Items for `SoundCollator`, computed on the fly from rows that `load_sounds` gave.

    An item is a `BatchFeature`: `input_features` (frames, mels) float32 and `labels`, an id, or a vector (labels,)
    float32 if there can be several labels or `mixup` makes them soft. With spectrogram mixup comes `mixup`, what the
    collator needs for it; the Trainer strips keys that it does not know from a plain dict.

    Args:
        dataset: rows with `audio` and `label`; anything with a length and an index, such as a `datasets.Dataset`.
        feature_extractor: a `LogMelFeatureExtractor`.
        labels: names by id, as `label_names` or a config's `id2label` has them. Rows are matched by name.
        multi_label: whether an item can have any number of labels; None: whether the rows' labels are lists.
        max_seconds: cut longer audio; the beginning stays.
        random_crop: what stays of longer audio is drawn instead, for training.
        mixup: which items are mixed, for training.
        augment_audio: changes waveforms (samples,), drawing only from the generator that it is handed; after mixing.
        augment_features: the same for features (frames, mels).
        balanced: offer `sample_weights`, by which `AuralTrainer` draws every class equally often.
        seed: with epoch and index, of that generator.
        cache: a `FeatureCache`, in place of computing features each time; not with `random_crop`, `augment_audio` or
            a mixup of waveforms.

    Raises:
        ValueError: no rows, rows without `audio` and `label`, a label that is unknown (named with its item), not one
            label where one is needed, `max_seconds` not above 0, or a cache where waveforms change.
    """

    def __init__(
        self,
        dataset: Any,
        feature_extractor: Any,
        labels: Sequence[str] | Mapping[int, str],
        multi_label: bool | None = None,
        max_seconds: float | None = None,
        random_crop: bool = False,
        mixup: Mixup | None = None,
        augment_audio: Augmentation | None = None,
        augment_features: Augmentation | None = None,
        balanced: bool = False,
        seed: int = 0,
        cache: Any = None,
    ) -> None:
        super().__init__(dataset, "label", seed)
        if max_seconds is not None and not 0 < max_seconds < float("inf"):
            raise ValueError(f"max_seconds is {max_seconds}; it must be above 0, or None")
        if cache is not None:
            waves = mixup is not None and mixup.kind == "waveform"
            refuse_cached(random_crop=random_crop, mixup=waves, augment_audio=augment_audio)
        ids = label_ids(labels)
        self.cache = cache
        self.feature_extractor = feature_extractor
        self.labels = list(ids)
        self.multi_label = is_multi_label(dataset) if multi_label is None else multi_label
        self.max_seconds = max_seconds
        self.random_crop = random_crop
        self.mixup = mixup
        self.augment_audio = augment_audio
        self.augment_features = augment_features
        self.balanced = balanced
        self.label_ids = self._all_ids(ids)

    def _all_ids(self, ids: Mapping[str, int]) -> list[list[int]]:
        """The ids of every row, found now, so that an unknown label is no surprise in the midst of a run."""
        classes = class_names(self.dataset)
        found = []
        for index, value in enumerate(label_column(self.dataset)):
            try:
                found.append(find_ids(value, ids, self.multi_label, classes))
            except ValueError as error:
                raise ValueError(f"item {index}: {error}") from error
        return found

    def make_item(self, index: int, generator: np.random.Generator) -> BatchFeature:
        """The item, drawing where to cut, whether and with what to mix, and then what the augmentations draw."""
        wave = None if self.cache is not None else self._waveform(index, generator)  # (samples,)
        labels: Any = self._target(index)
        ratio = 1.0 if self.mixup is None else self.mixup.draw(generator)
        if wave is not None and self._mixes_waveforms and ratio < 1 and len(self) > 1:
            other = (index + 1 + int(generator.integers(len(self) - 1))) % len(self)
            wave = mix_waveforms(wave, self._waveform(other, generator), ratio)
            labels = mix_labels(labels, self._target(other), ratio)
        if wave is not None and self.augment_audio is not None:
            wave = self.augment_audio(wave, generator)
        if wave is None:
            features = self.cache.features(self.dataset[index]["audio"], self.feature_extractor, self.max_seconds)
        else:
            features = whole_features(wave, self.feature_extractor)
        if self.augment_features is not None:
            features = self.augment_features(features, generator)
        item = BatchFeature({"input_features": features, "labels": labels})
        if self.mixup is not None and self.mixup.kind == "spectrogram":
            item["mixup"] = (ratio, float(generator.random()))
        return item

    @property
    def _mixes_waveforms(self) -> bool:
        return self.mixup is not None and self.mixup.kind == "waveform"

    def _waveform(self, index: int, generator: np.random.Generator) -> np.ndarray:
        drawn = generator if self.random_crop else None
        return load_crop(self.dataset[index]["audio"], self.feature_extractor, self.max_seconds, drawn)

    def _target(self, index: int) -> Any:
        ids = self.label_ids[index]
        soft = self.multi_label or self.mixup is not None
        return label_vector(ids, len(self.labels)) if soft else ids[0]

    @property
    def durations(self) -> list[float]:
        """Seconds of each item before it is mixed, at most `max_seconds`; see `AudioDataset.durations`."""
        limit = float("inf") if self.max_seconds is None else self.max_seconds
        return [min(seconds, limit) for seconds in super().durations]

    @property
    def sample_weights(self) -> np.ndarray | None:
        """How often to draw each item, `(items,)`, for equally many of each class; None if not `balanced`."""
        return balancing_weights(self.label_ids) if self.balanced else None
