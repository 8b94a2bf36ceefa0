"""From labelled sounds of different lengths to one padded batch, mixed where the items ask for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..processing.processor import IGNORED_LABEL
from .collator import check_counts, have_labels, item_features, pad_features
from .mixup import mix_batch

FORMS = {0: "()", 1: "(labels,)", 2: "(time patches, labels)"}


@dataclass
class SoundCollator:
    """Pad features, say which frames are real, and stack labels; mix clips whose items have the key `mixup`.

    Called with a list of `{"input_features": (frames, mels), "labels": …}`; lists, numpy arrays and tensors alike.
    Labels are in every item of one form, or in none (prediction):

    1. an id: integer;
    2. one number in [0, 1] per label: float `(labels,)`, for several labels at once or soft ones;
    3. the same for each time patch: float `(time patches, labels)`, -100 where unknown.

    Mixing is that of `Mixup(kind="spectrogram")`, whose random numbers the items carry: they follow from an item's
    seed, epoch and index. Other keys are left out.

    Args:
        num_labels: labels of the model; None takes the first item's, and does not look at the size of ids.
        mels: mel bands that every item must have; None takes the first item's.
        pad_to_multiple_of: round the padded frames up to a multiple, so that fewer shapes occur.
        padding_value: of features after a clip's end: the feature extractor's.
        time_patches: a config's `time_patches`, from frames to time patches: labels per time patch are then checked
            against it, and padded as the model sees the batch.

    Returns:
        `input_features` (batch, frames, mels) float32, `attention_mask` (batch, frames) int64 with 1 on real frames,
        and `labels` if the items have them: (batch,) int64, or (batch, labels) or (batch, time patches, labels)
        float32, the last padded with -100.

    Raises:
        ValueError: no items, or an item, named by its place in the batch, with a wrong shape, no frames, no labels,
            labels of another form or width, outside their range, or NaN.
    """

    num_labels: int | None = None
    mels: int | None = None
    pad_to_multiple_of: int | None = None
    padding_value: float = 0.0
    time_patches: Callable[[int], int] | None = None

    def __post_init__(self) -> None:
        check_counts(num_labels=self.num_labels, mels=self.mels, pad_to_multiple_of=self.pad_to_multiple_of)

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        if not items:
            raise ValueError("the batch has no items")
        features = [item_features(item, index) for index, item in enumerate(items)]
        for index, feature in enumerate(features):
            if not feature.isfinite().all():
                raise ValueError(f"item {index}: input_features hold NaN or infinity")
        labels: list[Tensor] = []
        if have_labels(items):
            labels = [self._labels(item["labels"], index, len(features[index])) for index, item in enumerate(items)]
            _check_forms(labels)
        if any(item.get("mixup") is not None for item in items):
            features, labels = self._mixed(features, labels, items)
        batch = pad_features(features, self.mels, self.pad_to_multiple_of, self.padding_value)
        if labels:
            batch["labels"] = self._stacked(labels, batch["input_features"].shape[1])
        return batch

    def _labels(self, labels: Any, index: int, frames: int) -> Tensor:
        """One item's labels as int64 `()`, float32 `(labels,)` or `(time patches, labels)`, checked by themselves."""
        tensor = torch.as_tensor(labels)
        if tensor.dim() not in FORMS or tensor.numel() == 0:
            allowed = ", ".join(FORMS.values())
            raise ValueError(f"item {index}: labels have shape {tuple(tensor.shape)}; expected one of {allowed}")
        if tensor.dim() == 0:
            return self._id(tensor, index)
        if not tensor.is_floating_point():
            raise ValueError(f"item {index}: labels are {tensor.dtype}; expected floats from 0 to 1, one per label")
        if self.num_labels is not None and tensor.shape[-1] != self.num_labels:
            raise ValueError(f"item {index}: labels are {tensor.shape[-1]} wide; expected {self.num_labels}")
        wrong = ~((tensor >= 0) & (tensor <= 1))  # NaN too
        if tensor.dim() == 2:
            wrong &= tensor != IGNORED_LABEL
            if self.time_patches is not None and len(tensor) != self.time_patches(frames):
                patches = f"{frames} frames have {self.time_patches(frames)} time patches"
                raise ValueError(f"item {index}: labels are {len(tensor)} time patches long; {patches}")
        if wrong.any():
            raise ValueError(f"item {index}: label {tensor[wrong][0].item()}; labels must be from 0 to 1")
        return tensor.float()

    def _id(self, label: Tensor, index: int) -> Tensor:
        if label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
            raise ValueError(f"item {index}: label {label.item()!r} is no integer")
        if label < 0 or (self.num_labels is not None and label >= self.num_labels):
            limit = "" if self.num_labels is None else f" and below {self.num_labels}, the number of labels"
            raise ValueError(f"item {index}: label {label.item()}; labels must be at least 0{limit}")
        return label.long()

    def _mixed(
        self, features: list[Tensor], labels: list[Tensor], items: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        draws = []
        for index, item in enumerate(items):
            if item.get("mixup") is None:
                raise ValueError(f"item {index} has no mixup while others have")
            draws.append(item["mixup"])
        if not labels or labels[0].dim() == 0:
            raise ValueError("items with mixup need soft labels: floats (labels,) or (time patches, labels)")
        widths = [feature.shape[1] for feature in features]
        if len(set(widths)) > 1:
            raise ValueError(f"input_features have {min(widths)} to {max(widths)} mels; expected as many in each item")
        return mix_batch(features, labels, draws, self.padding_value)

    def _stacked(self, labels: list[Tensor], frames: int) -> Tensor:
        if labels[0].dim() < 2:
            return torch.stack(labels)  # (batch,) or (batch, labels)
        padded = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL)
        rest = 0 if self.time_patches is None else self.time_patches(frames) - padded.shape[1]
        return torch.nn.functional.pad(padded, (0, 0, 0, rest), value=IGNORED_LABEL)  # (batch, time patches, labels)


def _check_forms(labels: list[Tensor]) -> None:
    """Labels of one form and one width in the whole batch."""
    for index, one in enumerate(labels):
        if one.dim() != labels[0].dim():
            raise ValueError(f"item {index}: labels are {FORMS[one.dim()]}; item 0 has {FORMS[labels[0].dim()]}")
        if one.shape[-1:] != labels[0].shape[-1:]:
            raise ValueError(f"item {index}: labels are {one.shape[-1]} wide; item 0 has {labels[0].shape[-1]}")
