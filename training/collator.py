"""From items of different lengths to one padded batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..processing.processor import IGNORED_LABEL


@dataclass
class SpeechCollator:
    """Pad features with zeros and labels with -100, and say which frames are real.

    Called with a list of `{"input_features": (frames, mels), "labels": (targets,)}`, and `phoneme_targets` or
    `ctc_targets` of the same form for a second objective; lists, numpy arrays and tensors alike. Other keys are left
    out. Labels of a kind may be absent from every item (prediction), not from some.

    Args:
        mels: mel bands that every item must have; None takes the first item's.
        vocab_size: when given, labels must lie below it.
        pad_to_multiple_of: round the padded frames up to a multiple, so that fewer shapes occur.
        model: when given, its `decoder_input_ids` for the labels are added, as transformers' own seq2seq collator
            does. Only the Trainer's `label_smoothing_factor` needs it, which takes the labels away from the model;
            `LasConfig.label_smoothing` does not.
        phoneme_vocab_size: when given, labels of phonemes must lie below it.

    Returns:
        `input_features` (batch, frames, mels) float32, `attention_mask` (batch, frames) int64 with 1 on real frames,
        and `labels` (batch, targets), `ctc_targets` and `phoneme_targets` int64 if the items have them.

    Raises:
        ValueError: no items, or an item, named by its place in the batch, with a wrong shape, no frames, no labels or
            a label outside the vocabulary.
    """

    mels: int | None = None
    vocab_size: int | None = None
    pad_to_multiple_of: int | None = None
    model: Any = None
    phoneme_vocab_size: int | None = None

    def __post_init__(self) -> None:
        check_counts(mels=self.mels, vocab_size=self.vocab_size, pad_to_multiple_of=self.pad_to_multiple_of)
        check_counts(phoneme_vocab_size=self.phoneme_vocab_size)

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        if not items:
            raise ValueError("the batch has no items")
        features = [item_features(item, index) for index, item in enumerate(items)]
        batch = pad_features(features, self.mels, self.pad_to_multiple_of)
        sizes = {"labels": self.vocab_size, "ctc_targets": self.vocab_size, "phoneme_targets": self.phoneme_vocab_size}
        for name, size in sizes.items():
            if have_labels(items, name):
                labels = [item_labels(item[name], index, name, size) for index, item in enumerate(items)]
                batch[name] = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL)
        if self.model is not None and "labels" in batch:
            batch["decoder_input_ids"] = self.model.prepare_decoder_input_ids_from_labels(batch["labels"])
        return batch


def check_counts(**counts: int | None) -> None:
    """Refuse, by its name, a count below 1; None is allowed."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1, or None")


def item_features(item: Mapping[str, Any], index: int) -> Tensor:
    """`input_features` (frames, mels) float32 of the item at place `index` of a batch, at least one frame."""
    if "input_features" not in item:
        raise ValueError(f"item {index} has no input_features; it has {', '.join(sorted(item)) or 'nothing'}")
    features = torch.as_tensor(item["input_features"], dtype=torch.float32)
    if features.dim() != 2:
        raise ValueError(f"item {index}: input_features is {tuple(features.shape)}; expected (frames, mels)")
    if features.shape[0] == 0:
        raise ValueError(f"item {index}: input_features has no frames")
    return features  # (frames, mels)


def have_labels(items: Sequence[Mapping[str, Any]], name: str = "labels") -> bool:
    """Whether the items have labels under this name: all of them or none."""
    labelled = [index for index, item in enumerate(items) if item.get(name) is not None]
    if labelled and len(labelled) < len(items):
        bare = min(set(range(len(items))) - set(labelled))
        raise ValueError(f"item {bare} has no {name} while item {labelled[0]} has")
    return bool(labelled)


def item_labels(labels: Any, index: int, name: str = "labels", size: int | None = None) -> Tensor:
    """Ids (targets,) int64 of the item at place `index` of a batch: at least one, and below `size` where told."""
    ids = torch.as_tensor(labels)
    if ids.dim() != 1 or ids.numel() == 0:
        raise ValueError(
            f"item {index}: {name} have shape {tuple(ids.shape)}; expected (targets,), at least one (<eos>)"
        )
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"item {index}: {name} are {ids.dtype}; expected integers")
    outside = (ids < 0) & (ids != IGNORED_LABEL)
    if size is not None:
        outside |= ids >= size
    if outside.any():
        limit = "" if size is None else f" and below {size}, the size of the vocabulary"
        raise ValueError(f"item {index}: {name[:-1]} {int(ids[outside][0])}; {name} must be at least 0{limit}")
    return ids.long()  # (targets,)


def pad_features(
    features: Sequence[Tensor], mels: int | None = None, multiple: int | None = None, value: float = 0.0
) -> dict[str, Tensor]:
    """Clips of any lengths as one batch.

    Args:
        features: `(frames, mels)` float32 each.
        mels: bands that every clip must have; None takes the first clip's.
        multiple: round the padded frames up to one.
        value: of the padding.

    Returns:
        `input_features` (batch, frames, mels) and `attention_mask` (batch, frames) int64 with 1 on real frames.

    Raises:
        ValueError: another number of mels, named with the item's place.
    """
    mels = features[0].shape[1] if mels is None else mels
    for index, feature in enumerate(features):
        if feature.shape[1] != mels:
            raise ValueError(f"item {index}: input_features has {feature.shape[1]} mels; expected {mels}")
    frames = max(feature.shape[0] for feature in features)
    if multiple is not None:
        frames = -(-frames // multiple) * multiple
    input_features = torch.full((len(features), frames, mels), value)  # (batch, frames, mels)
    attention_mask = torch.zeros(len(features), frames, dtype=torch.long)  # (batch, frames)
    for row, feature in enumerate(features):
        input_features[row, : feature.shape[0]] = feature
        attention_mask[row, : feature.shape[0]] = 1
    return {"input_features": input_features, "attention_mask": attention_mask}
