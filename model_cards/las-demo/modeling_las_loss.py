"""What LAS learns from: cross entropy of the speller, joined with CTC on the listener when that is weighted.

Both are *sums* divided by the number of labels in the whole, possibly accumulated, batch, so that accumulating four
batches equals one of four times the size.
"""

import torch
from torch import nn

from .configuration_las import LasConfig
from .modeling_las_checks import IGNORED_LABEL, check_ctc_targets


def shift_right(labels: torch.Tensor, pad_token_id: int, start_token_id: int) -> torch.Tensor:
    """Decoder inputs `(batch, targets)`: the start token, then labels without the last, `-100` read as padding."""
    before = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED_LABEL, pad_token_id)
    return nn.functional.pad(before, (1, 0), value=start_token_id)


def las_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    config: LasConfig,
    ctc_logits: torch.Tensor | None = None,
    ctc_mask: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """(1 - w) cross entropy + w CTC per label, w being `config.ctc_weight` (Kim et al. 2016, arXiv:1609.06773).

    Args:
        logits: `(batch, targets, vocabulary)`, aligned with `labels`: nothing is shifted here.
        labels: `(batch, targets)`, tokens, `<eos>`, then `-100`.
        config: Gives the weight, label smoothing and special ids.
        ctc_logits, ctc_mask: `(batch, ctc frames, vocabulary)` and `(batch, ctc frames)` when CTC is weighted.
        num_items_in_batch: Labels in the whole batch; default: those at hand.

    Raises:
        ValueError: A clip has too few CTC frames for its text, or a text holds the blank.
    """
    labels = labels.to(logits.device)
    items = (labels != IGNORED_LABEL).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
    if isinstance(items, torch.Tensor):
        items = items.to(logits.device)
    loss = nn.functional.cross_entropy(
        logits.flatten(0, 1).float(),
        labels.flatten(),
        ignore_index=IGNORED_LABEL,
        reduction="sum",
        label_smoothing=config.label_smoothing,
    )
    if ctc_logits is not None and ctc_mask is not None:
        ctc = ctc_loss(ctc_logits, ctc_mask, labels, config)
        loss = (1 - config.ctc_weight) * loss + config.ctc_weight * ctc
    return loss / items


def ctc_loss(logits: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor, config: LasConfig) -> torch.Tensor:
    """Sum over clips of the CTC loss (Graves et al. 2006) of the labels without `<eos>`; the blank is pad."""
    ends = torch.tensor(config.end_ids, dtype=labels.dtype, device=labels.device)
    real = (labels != IGNORED_LABEL) & ~torch.isin(labels, ends)
    targets = labels.masked_fill(~real, config.blank_id)
    lengths, frames = real.sum(-1), mask.sum(-1)
    check_ctc_targets(targets, lengths, frames, config.blank_id)
    log_probs = logits.float().log_softmax(dim=-1).transpose(0, 1)  # (ctc frames, batch, vocabulary)
    return nn.functional.ctc_loss(log_probs, targets, frames, lengths, blank=config.blank_id, reduction="sum")
