"""What LAS refuses beside what every model refuses (`checks.py`): each check names the argument, the row and what is
allowed.
"""

import torch

from .configuration_las import LasConfig
from .modeling_labels import check_labels


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
