"""Losses of the models that tag sounds: sums over items divided by the number of items.

An *item* is what transformers' Trainer counts in `num_items_in_batch`: an entry of `labels` that is not -100. So
batches that are accumulated give the gradient of one large batch, for every kind of label:

- one label per clip, `(batch,)` integers: cross-entropy, an item is a clip;
- one label per clip, mixed (`(batch, labels)` floats that sum to 1, as mixup makes them): cross-entropy with soft
  targets; the Trainer counts `labels` entries a clip, and so does the division;
- several labels per clip or moment, floats from 0 to 1: binary cross-entropy, an item is one label of one clip or
  moment.
"""

from typing import Any

import torch
from torch import nn

from .modeling_checks import on_host

IGNORED_LABEL = -100  # transformers' own: labels that no loss counts


def problem_type(config: Any, labels: torch.Tensor) -> str:
    """The config's problem type; where it has none, what follows from the labels, by transformers' rule.

    Args:
        config: Has `problem_type` and `num_labels`.
        labels: Of a batch.
    """
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def check_clip_labels(labels: torch.Tensor, batch: int, config: Any) -> None:
    """Labels of clips have the shape and range that the problem type asks for.

    Raises:
        ValueError: Otherwise; names the row and what is allowed.
    """
    kind, width = problem_type(config, labels), config.num_labels
    if kind == "single_label_classification" and not labels.is_floating_point():
        if labels.shape != (batch,):
            raise ValueError(f"labels {tuple(labels.shape)} must be (batch={batch},) for {kind}")
        _check_range(labels, labels != IGNORED_LABEL, width - 1)
    elif kind == "regression":
        if labels.numel() != batch * width:
            raise ValueError(f"labels {tuple(labels.shape)} must hold batch={batch} times num_labels={width} numbers")
    else:
        if labels.shape != (batch, width):
            raise ValueError(f"labels {tuple(labels.shape)} must be (batch={batch}, num_labels={width}) for {kind}")
        _check_range(labels, torch.ones_like(labels, dtype=torch.bool), 1)


def _check_range(labels: torch.Tensor, counted: torch.Tensor, largest: int) -> None:
    if not on_host(labels):
        return
    wrong = (counted & ~((labels >= 0) & (labels <= largest))).nonzero()  # NaN is wrong too
    if len(wrong):
        at = tuple(int(index) for index in wrong[0])
        value = labels[at].item()
        raise ValueError(f"labels[{', '.join(map(str, at))}]={value:g} is outside what is allowed, 0 to {largest}")


def clip_loss(
    logits: torch.Tensor, labels: torch.Tensor, config: Any, num_items: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Loss of one vector of logits per clip.

    Args:
        logits: `(batch, labels)`.
        labels: As described above, by `config.problem_type`; `"regression"` takes floats and their squared error.
        config: Has `problem_type` and `num_labels`.
        num_items: Entries of labels in the whole (accumulated) batch; default: those at hand.

    Raises:
        ValueError: Labels of another shape or out of range.
    """
    check_clip_labels(labels, len(logits), config)
    kind, logits, labels = problem_type(config, labels), logits.float(), labels.to(logits.device)
    items = (labels != IGNORED_LABEL).sum().clamp(min=1) if num_items is None else num_items
    if kind == "multi_label_classification":
        losses = nn.functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    elif kind == "regression":
        losses = (logits.view(-1) - labels.float().view(-1)) ** 2
    elif labels.is_floating_point():  # soft targets: `num_labels` entries a clip
        losses = nn.functional.cross_entropy(logits, labels.float(), reduction="none") * config.num_labels
    else:
        losses = nn.functional.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED_LABEL)
    return losses.sum() / items


def frame_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    mask: torch.Tensor,
    num_items: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Binary cross-entropy of every label in every real time patch.

    Args:
        logits: `(batch, columns, labels)`.
        labels: Floats from 0 to 1, `(batch, columns, labels)`; -100 where nothing is known.
        mask: Boolean `(batch, columns)`, True on real columns.
        num_items: Entries of labels that are not -100 in the whole (accumulated) batch; default: those at hand.

    Raises:
        ValueError: Labels of another shape or out of range.
    """
    if labels.shape != logits.shape:
        raise ValueError(f"labels {tuple(labels.shape)} must be (batch, time patches, labels) = {tuple(logits.shape)}")
    labels = labels.to(logits.device)
    known = labels != IGNORED_LABEL
    _check_range(labels, known, 1)
    counted = known & mask[..., None]  # patchout may have left out columns whose labels are known
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.float(), labels.float().clamp(0, 1), reduction="none"
    )
    items = known.sum().clamp(min=1) if num_items is None else num_items
    return losses.masked_fill(~counted, 0.0).sum() / items
