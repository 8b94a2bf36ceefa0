"""What LAS learns from: cross entropy of the speller, CTC on the listener, and what leads attention along.

All are *sums* divided by the number of labels in the whole, possibly accumulated, batch, so that accumulating four
batches equals one of four times the size.
"""

from dataclasses import dataclass

import torch

from .configuration_las import LasConfig
from .modeling_ctc_loss import ctc_loss
from .modeling_labels import IGNORED_LABEL, items_in
from .modeling_seq2seq_loss import summed_cross_entropy


@dataclass
class Heard:
    """What the heads of one forward pass gave; None where a head is not there or has nothing to learn.

    Shapes: `logits` `(batch, targets, vocabulary)`, aligned with the labels; `ctc_logits` and `phoneme_logits`
    `(batch, ctc frames, vocabulary or phonemes)` with `ctc_mask` `(batch, ctc frames)`; `attention` `(batch, heads,
    targets, listener frames)` with `mask` `(batch, listener frames)`, True on real states.
    """

    logits: torch.Tensor | None = None
    ctc_logits: torch.Tensor | None = None
    phoneme_logits: torch.Tensor | None = None
    ctc_mask: torch.Tensor | None = None
    attention: torch.Tensor | None = None
    mask: torch.Tensor | None = None


def las_loss(
    heard: Heard,
    labels: torch.Tensor,
    config: LasConfig,
    phoneme_targets: torch.Tensor | None = None,
    guided_attention_weight: float = 0.0,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """(1 - w) cross entropy + w CTC per label, w being `config.ctc_weight` (Kim et al. 2016, arXiv:1609.06773).

    To it come, where they are weighted, the CTC loss of the phonemes (multi-objective training, arXiv:2111.10208) and
    the guided attention loss.

    Args:
        heard: What the heads gave.
        labels: `(batch, targets)`, tokens, `<eos>`, then `-100`.
        config: Gives the weights, label smoothing and special ids.
        phoneme_targets: `(batch, phonemes)`, then `-100`.
        guided_attention_weight: Of the loss on attention off the diagonal.
        num_items_in_batch: Labels in the whole batch; default: those at hand.

    Raises:
        ValueError: A clip has too few CTC frames for its text or phonemes, or one of them holds the blank.
    """
    device = next(x.device for x in (heard.logits, heard.ctc_logits) if x is not None)
    labels = labels.to(device)
    loss = torch.zeros((), device=device)
    if heard.logits is not None and config.ctc_weight < 1:
        spelled = summed_cross_entropy(heard.logits, labels, config.label_smoothing)
        loss = loss + (1 - config.ctc_weight) * spelled
    if heard.ctc_mask is not None:
        if heard.ctc_logits is not None and config.ctc_weight > 0:
            loss = loss + config.ctc_weight * ctc_loss(heard.ctc_logits, heard.ctc_mask, labels, config)
        if heard.phoneme_logits is not None and phoneme_targets is not None and config.phoneme_ctc_weight > 0:
            spoken = phoneme_targets.to(device)
            phonemes = ctc_loss(heard.phoneme_logits, heard.ctc_mask, spoken, config, "phoneme_targets")
            loss = loss + config.phoneme_ctc_weight * phonemes
    if heard.attention is not None and heard.mask is not None and guided_attention_weight > 0:
        strayed = guided_attention_loss(heard.attention, labels, heard.mask, config.guided_attention_sigma)
        loss = loss + guided_attention_weight * strayed
    return loss / items_in(labels, num_items_in_batch)


def guided_attention_loss(
    attention: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor, sigma: float
) -> torch.Tensor:
    """How much attention strays from the diagonal of clip and text (Tachibana et al. 2017, arXiv:1710.08969, eq. 5).

    Sum over labels of the attention weighted by `1 - exp(-(n / N - t / T)² / 2 sigma²)`, n of N being the label, t of
    T the frame, both at their middles; the mean over heads.

    Args:
        attention: `(batch, heads, targets, frames)`.
        labels: `(batch, targets)`, `-100` where there is none.
        mask: `(batch, frames)`, True on real frames.
        sigma: How far is far, as a share of the clip.
    """
    real = labels != IGNORED_LABEL
    written = (torch.arange(labels.shape[1], device=labels.device) + 0.5) / real.sum(-1, keepdim=True).clamp(min=1)
    heard = (torch.arange(mask.shape[1], device=mask.device) + 0.5) / mask.sum(-1, keepdim=True).clamp(min=1)
    away = 1 - (-((written[:, :, None] - heard[:, None]) ** 2) / (2 * sigma**2)).exp()  # (batch, targets, frames)
    strayed = (attention.float().mean(1) * away).sum(-1)  # (batch, targets)
    return strayed.masked_fill(~real, 0.0).sum()
