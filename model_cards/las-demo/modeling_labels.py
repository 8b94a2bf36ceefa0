"""Texts as labels `(batch, targets)`: tokens, `<eos>`, then `-100`; what every head that writes makes of them."""

import torch
from torch import nn

from .modeling_checks import on_host

IGNORED_LABEL = -100  # transformers' own: labels that no loss counts


def shift_right(labels: torch.Tensor, pad_token_id: int, start_token_id: int) -> torch.Tensor:
    """Decoder inputs `(batch, targets)`: the start token, then labels without the last, `-100` read as padding."""
    before = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED_LABEL, pad_token_id)
    return nn.functional.pad(before, (1, 0), value=start_token_id)


def check_labels(labels: torch.Tensor, batch: int, vocab_size: int, name: str = "labels") -> None:
    """Labels are `(batch, targets)`, at least one target, each `-100` or in `[0, vocab_size)`.

    Raises:
        ValueError: Otherwise, naming the label and its row.
    """
    if labels.ndim != 2 or labels.shape[0] != batch or labels.shape[1] == 0:
        raise ValueError(f"{name} {tuple(labels.shape)} must be (batch={batch}, targets), at least one target")
    if not on_host(labels):
        return
    wrong = ((labels != IGNORED_LABEL) & ((labels < 0) | (labels >= vocab_size))).nonzero()
    if len(wrong):
        row, column = (int(index) for index in wrong[0])
        raise ValueError(
            f"{name}[{row}, {column}]={labels[row, column].item()} is outside the vocabulary: "
            f"allowed are 0 to {vocab_size - 1}, and -100 to ignore"
        )


def items_in(labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor | int:
    """What a sum over labels is divided by: the labels of the whole, possibly accumulated, batch.

    Args:
        labels: `(batch, targets)`, `-100` where there is none.
        num_items_in_batch: Labels in the whole batch, as transformers' Trainer counts; default: those at hand.
    """
    if num_items_in_batch is None:
        return (labels != IGNORED_LABEL).sum().clamp(min=1)
    if isinstance(num_items_in_batch, torch.Tensor):
        return num_items_in_batch.to(labels.device)
    return num_items_in_batch
