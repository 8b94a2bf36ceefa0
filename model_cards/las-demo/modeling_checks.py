"""What every model refuses, in words: each check names the argument, the row and what is allowed.

Checks of values wait for the host, so on an accelerator only those run that cost no synchronisation; the collator
checks the same things where the data still lie on the host.
"""

import torch


def on_host(tensor: torch.Tensor) -> bool:
    """Whether looking at the values of `tensor` costs no synchronisation and breaks no graph."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def check_features(
    features: torch.Tensor, mask: torch.Tensor | None, num_mel_bins: int, empty_rows: bool = False
) -> None:
    """Features are `(batch, frames, num_mel_bins)` and finite, every row has frames, and the real ones come first.

    Args:
        features: What a model is given; its padding may hold anything.
        mask: `(batch, frames)`, 1 on real frames, or None.
        num_mel_bins: What the model takes.
        empty_rows: Rows that are all padding are allowed.

    Raises:
        ValueError: Otherwise.
    """
    if features.ndim != 3 or features.shape[-1] != num_mel_bins:
        raise ValueError(f"input_features {tuple(features.shape)} must be (batch, frames, {num_mel_bins})")
    if features.shape[1] == 0:
        raise ValueError("input_features have no frames")
    if mask is not None:
        _check_mask(features, mask, empty_rows)
    if not on_host(features) or torch.isfinite(features.sum()):  # a sum carries NaN and infinity on, and is cheap
        return
    wrong = ~features.isfinite().all(-1)
    wrong = (wrong if mask is None else wrong & mask.bool()).nonzero()
    if len(wrong):
        row, frame = (int(index) for index in wrong[0])
        raise ValueError(f"input_features hold NaN or infinity, first at row {row}, frame {frame}; allowed is finite")


def check_tokens(tokens: torch.Tensor, vocabulary: int) -> None:
    """Tokens are from 0 to `vocabulary` - 1; for a host's, as an embedding says it.

    Raises:
        IndexError: Otherwise.
    """
    least, most = tokens.aminmax()
    if least < 0 or most >= vocabulary:
        raise IndexError(f"token {int(least if least < 0 else most)} is not in the vocabulary: 0 to {vocabulary - 1}")


def _check_mask(features: torch.Tensor, mask: torch.Tensor, empty_rows: bool) -> None:
    if mask.shape != features.shape[:2]:
        raise ValueError(f"attention_mask {tuple(mask.shape)} must be (batch, frames) = {tuple(features.shape[:2])}")
    if not on_host(mask):
        return
    real = mask.bool()
    empty = (~real.any(-1)).nonzero()
    if len(empty) and not empty_rows:
        raise ValueError(f"attention_mask row {empty[0].item()} is all padding; every clip needs a frame")
    if (real[:, 1:] & ~real[:, :-1]).any():
        raise ValueError("attention_mask must be padded on the right: real frames (1) first, then padding (0)")
