"""What a decoder learns from: cross entropy of its texts, and CTC on the encoder beside it."""

from typing import Any

import torch
from torch import nn

from .modeling_ctc_loss import ctc_loss
from .modeling_labels import IGNORED_LABEL, items_in


def summed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """The cross entropy of logits `(batch, targets, vocabulary)`, summed over labels `(batch, targets)` that count."""
    return nn.functional.cross_entropy(
        logits.flatten(0, 1).float(),
        labels.flatten(),
        ignore_index=IGNORED_LABEL,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def seq2seq_loss(
    logits: torch.Tensor | None,
    ctc_logits: torch.Tensor | None,
    ctc_mask: torch.Tensor | None,
    labels: torch.Tensor,
    config: Any,
    num_items_in_batch: torch.Tensor | int | None = None,
    ctc_targets: torch.Tensor | None = None,
) -> torch.Tensor:
    """(1 - w) cross entropy + w CTC per label, w being `config.ctc_weight` (Kim et al. 2016, arXiv:1609.06773).

    Args:
        logits: Of the decoder, `(batch, targets, vocabulary)`, aligned with the labels; None: it has no say.
        ctc_logits: Of the CTC head, `(batch, ctc frames, vocabulary)`; None: there is none.
        ctc_mask: `(batch, ctc frames)`, True on real frames.
        labels: `(batch, targets)`, tokens, `<eos>`, then `-100`.
        config: Gives `ctc_weight`, `label_smoothing` and special ids.
        num_items_in_batch: Labels in the whole batch; default: those at hand.
        ctc_targets: `(batch, ctc targets)`, of the labels' form: what the CTC head learns; default: the labels.

    Raises:
        ValueError: A clip has too few CTC frames for its text, or a text holds the blank.
    """
    device = next(x.device for x in (logits, ctc_logits) if x is not None)
    labels, weight = labels.to(device), config.ctc_weight
    loss = torch.zeros((), device=device)
    if logits is not None and weight < 1:
        loss = loss + (1 - weight) * summed_cross_entropy(logits, labels, config.label_smoothing)
    if ctc_logits is not None and ctc_mask is not None and weight > 0:
        said = labels if ctc_targets is None else ctc_targets.to(device)
        loss = loss + weight * ctc_loss(ctc_logits, ctc_mask, said, config)
    return loss / items_in(labels, num_items_in_batch)
