"""Connectionist temporal classification (Graves et al. 2006) for every head that says something at each moment."""

from typing import Protocol

import torch
from torch import nn

from .modeling_labels import IGNORED_LABEL


class CtcIds(Protocol):
    """What a config tells of its ids."""

    @property
    def blank_id(self) -> int:
        """The blank: pad."""

    @property
    def end_ids(self) -> list[int]:
        """What ends a text, which CTC leaves out."""


def ctc_loss(
    logits: torch.Tensor,
    mask: torch.Tensor,
    labels: torch.Tensor,
    config: CtcIds,
    name: str = "labels",
    reduction: str = "sum",
) -> torch.Tensor:
    """The CTC loss (Graves et al. 2006) of the labels without `<eos>`; the blank is pad.

    Args:
        logits: `(batch, ctc frames, vocabulary)`.
        mask: `(batch, ctc frames)`, True on real frames.
        labels: `(batch, targets)`, tokens, perhaps an end, then `-100`.
        config: Gives `blank_id` and `end_ids`.
        name: What errors call the labels.
        reduction: "sum" over clips, or "none": one per clip.

    Raises:
        ValueError: A clip has too few frames for its text, or a text holds the blank.
    """
    ends = torch.tensor(config.end_ids, dtype=labels.dtype, device=labels.device)
    real = (labels != IGNORED_LABEL) & ~torch.isin(labels, ends)
    targets = labels.masked_fill(~real, config.blank_id)
    lengths, frames = real.sum(-1), mask.sum(-1)
    check_ctc_targets(targets, lengths, frames, config.blank_id, name)
    log_probs = logits.float().log_softmax(dim=-1).transpose(0, 1)  # (ctc frames, batch, vocabulary)
    return nn.functional.ctc_loss(log_probs, targets, frames, lengths, blank=config.blank_id, reduction=reduction)


def check_ctc_targets(
    targets: torch.Tensor, lengths: torch.Tensor, frames: torch.Tensor, blank: int, name: str = "labels"
) -> None:
    """A CTC path needs a frame per token, and one more between two equal tokens.

    Runs on every device: `ctc_loss` brings the lengths to the host anyway.

    Args:
        targets: `(batch, targets)`, `blank` beyond `lengths`.
        lengths, frames: `(batch,)`.
        blank: Id that no target may be.
        name: What errors call the targets.

    Raises:
        ValueError: A clip has too few frames, or a target is the blank.
    """
    if torch.compiler.is_compiling():
        return
    inside = torch.arange(targets.shape[1], device=targets.device) < lengths[:, None]
    if (inside & (targets == blank)).any():
        raise ValueError(f"{name} hold {blank}, the CTC blank (pad), which no text may contain")
    repeats = ((targets[:, 1:] == targets[:, :-1]) & inside[:, 1:]).sum(-1)
    needed = lengths + repeats
    short = (needed > frames).nonzero()
    if len(short):
        row = int(short[0])
        raise ValueError(
            f"{name} row {row} cannot be aligned by CTC: its {lengths[row].item()} tokens need {needed[row].item()} "
            f"frames of the CTC layer, the clip has {frames[row].item()} (tokens {targets[row][:20].tolist()})"
        )
