"""What LAS refuses beside what every model refuses (`checks.py`): each check names the argument, the row and what is
allowed.
"""

import torch

from ..configuration.las import LasConfig
from .checks import on_host

IGNORED_LABEL = -100  # transformers' own: labels that no loss counts


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


def check_targets(
    labels: torch.Tensor, phoneme_targets: torch.Tensor | None, heard: torch.Tensor | None, config: LasConfig
) -> None:
    """What a LAS is to learn fits the clips and its vocabularies.

    Args:
        labels: `(batch, targets)`.
        phoneme_targets: `(batch, phonemes)`, or None.
        heard: Features or listener states, the batch first; None where they come otherwise.
        config: The model's.

    Raises:
        ValueError: As `check_labels`.
    """
    clips = len(labels) if heard is None else len(heard)
    check_labels(labels, clips, config.vocab_size)
    if phoneme_targets is not None:
        check_labels(phoneme_targets, clips, config.phoneme_vocab_size, "phoneme_targets")


def check_ctc_states(states: torch.Tensor | None) -> torch.Tensor:
    """The states under the CTC head, which only the listener itself gives.

    Raises:
        ValueError: There are none.
    """
    if states is None:
        raise ValueError("encoder_outputs hold no ctc_states: for a CTC loss pass what the listener returned, whole")
    return states


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


def check_slots(slots: int | None, most: int | None) -> int | None:
    """How many memory slots to fill: what was asked for, or all there are.

    Raises:
        ValueError: The model has none, or fewer.
    """
    if slots is None:
        return most
    if most is None:
        raise ValueError(f"memory_slots={slots}: this model has none; it attends to every state")
    if not 1 <= slots <= most:
        raise ValueError(f"memory_slots={slots} must be in 1 to {most}, the slots of this model")
    return slots
