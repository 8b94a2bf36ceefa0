"""CTC without a search (Graves et al. 2006): the best path of all or of a labeling, the exact probability of one.

A path has one id per frame; its labeling is what is left when repeats are joined and blanks dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

BLANK = 0  # the id of `<pad>`


@dataclass(frozen=True)
class CtcToken:
    """One token of a best path, and where it stood.

    Attributes:
        id: its id.
        start: its first frame.
        end: the frame after its last one.
        log_prob: the highest of its frames, natural.
    """

    id: int
    start: int
    end: int
    log_prob: float


def as_log_probs(log_probs: np.ndarray | torch.Tensor, shape: str) -> torch.Tensor:
    """`log_probs` as a float tensor without gradient, checked.

    Args:
        log_probs: natural logarithms over the vocabulary in the last dimension.
        shape: the expected one in words, such as "(frames, vocabulary)".

    Raises:
        ValueError: another number of dimensions, no vocabulary, NaN, or a probability above 1, as logits have.
    """
    scores = torch.as_tensor(log_probs).detach()
    scores = scores if scores.dtype in (torch.float32, torch.float64) else scores.float()
    if scores.ndim != shape.count(",") + 1 or not scores.shape[-1]:
        raise ValueError(f"log_probs has shape {tuple(scores.shape)}; expected {shape}")
    if scores.numel() and not bool((scores <= 1e-3).all()):  # NaN neither; half precision rounds up to 4e-4 above 0
        raise ValueError(
            f"log_probs goes up to {float(scores.max())}; allowed: at most 0. Logits need log_softmax(-1)"
        )
    return scores


def ctc_greedy(
    log_probs: np.ndarray | torch.Tensor, mask: np.ndarray | torch.Tensor | None = None, blank: int = BLANK
) -> list[list[CtcToken]]:
    """The best path of each clip, collapsed.

    Args:
        log_probs: natural logarithms `(batch, frames, vocabulary)`, on any device.
        mask: `(batch, frames)`, 1 on real frames; all are without it.
        blank: id of the blank.

    Returns:
        Per clip its tokens in order; `[token.id for token in clip]` is the text, the frames are its times.

    Raises:
        ValueError: shapes that do not fit each other, logits instead of log probabilities, or no such blank.
    """
    scores = as_log_probs(log_probs, "(batch, frames, vocabulary)")
    check_blank(blank, scores.shape[-1])
    best, ids = scores.max(dim=-1)  # (batch, frames)
    if mask is not None:
        real = torch.as_tensor(mask).to(scores.device).bool()
        if real.shape != ids.shape:
            raise ValueError(f"mask has shape {tuple(real.shape)}; expected (batch, frames) = {tuple(ids.shape)}")
        ids = ids.masked_fill(~real, blank)
    return [
        _collapse(path, values, blank)
        for path, values in zip(ids.cpu().tolist(), best.float().cpu().tolist(), strict=True)
    ]


def _collapse(path: list[int], values: list[float], blank: int) -> list[CtcToken]:
    """Runs of one id that is not the blank, with the highest value in each."""
    tokens = []
    start = 0
    for frame in range(1, len(path) + 1):
        if frame == len(path) or path[frame] != path[start]:
            if path[start] != blank:
                tokens.append(CtcToken(path[start], start, frame, max(values[start:frame])))
            start = frame
    return tokens


def check_blank(blank: int, size: int) -> None:
    """Refuse a blank that is no id.

    Raises:
        ValueError: it is none.
    """
    if not 0 <= blank < size:
        raise ValueError(f"blank={blank} must be an id, 0 to {size - 1}")


def ctc_align(log_probs: np.ndarray, labeling: Sequence[int], blank: int = BLANK) -> list[CtcToken]:
    """Where each token of a labeling stands on its best path (Viterbi).

    Args:
        log_probs: natural logarithms `(frames, vocabulary)`.
        labeling: ids without blanks.
        blank: id of the blank.

    Returns:
        A token for each id; their frames do not overlap.

    Raises:
        ValueError: there are too few frames for it.
    """
    states = np.full(2 * len(labeling) + 1, blank)  # blank, first id, blank, second id, …
    states[1::2] = labeling
    skips = np.zeros(len(states), dtype=bool)  # over the blank before an id, unless that would join a repeat
    skips[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states) + 2, -np.inf)  # two in front: nothing comes from there
    best[2] = 0.0  # before the first frame: the path may begin in the first blank or the first id
    steps = np.zeros((len(log_probs), len(states)), dtype=np.int8)
    for frame, row in enumerate(log_probs):
        ways = np.stack([best[2:], best[1:-1], np.where(skips, best[:-2], -np.inf)])
        steps[frame] = ways.argmax(axis=0)
        best[2:] = ways.max(axis=0) + row[states]
    state = len(states) - 1 - int(len(labeling) > 0 and best[-2] > best[-1])  # the last blank, or the last id
    if best[state + 2] == -np.inf:
        raise ValueError(f"the labeling {list(labeling)[:20]} does not fit into {len(log_probs)} frames")
    path = np.empty(len(log_probs), dtype=int)
    for frame in range(len(log_probs) - 1, -1, -1):
        path[frame] = state
        state -= int(steps[frame, state])
    found = []
    for place, token in enumerate(labeling):
        own = np.flatnonzero(path == 2 * place + 1)
        found.append(CtcToken(int(token), int(own[0]), int(own[-1]) + 1, float(log_probs[own, token].max())))
    return found


def ctc_log_probs(log_probs: np.ndarray, labelings: Sequence[Sequence[int]], blank: int = BLANK) -> np.ndarray:
    """ln P of labelings, by the forward algorithm, all together.

    Args:
        log_probs: natural logarithms `(frames, vocabulary)`.
        labelings: ids without blanks.
        blank: id of the blank.

    Returns:
        float64 `(labelings,)`; -inf for one that has too few frames.
    """
    lengths = np.array([len(labeling) for labeling in labelings], dtype=np.int64)
    width = 2 * int(lengths.max(initial=0)) + 1
    if not len(labelings) or not len(log_probs):
        return np.where(lengths == 0, 0.0, -np.inf)
    states = np.full((len(labelings), width), blank)  # blank, first id, blank, second id, …
    for row, labeling in zip(states, labelings, strict=True):
        row[1 : 2 * len(labeling) : 2] = labeling
    skips = np.zeros_like(states, dtype=bool)  # over the blank before an id, unless that would join a repeat
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    forward = np.full((len(labelings), width + 2), -np.inf)  # two columns in front: nothing comes from there
    forward[:, 2:4] = log_probs[0][states[:, :2]]
    for row in log_probs[1:]:
        reached = np.logaddexp(forward[:, 2:], forward[:, 1:-1])
        reached = np.where(skips, np.logaddexp(reached, forward[:, :-2]), reached)
        forward[:, 2:] = reached + row[states]
    rows = np.arange(len(labelings))
    last_blank, last_id = forward[rows, 2 + 2 * lengths], forward[rows, 1 + 2 * lengths]
    return np.logaddexp(last_blank, last_id)
