"""The derivative of an LSTM's nonlinear half, for loops with a backward pass of their own.

With c' = f c + i g and h = o tanh(c'), the gates being after their sigmoid or tanh (Hochreiter & Schmidhuber 1997; the
equations of `torch.nn.LSTM`), everything that the gradients of a step are multiplied with follows from the forward
pass. It is made for all steps at once.
"""

from typing import NamedTuple

import torch


class Slopes(NamedTuple):
    """What gradients are multiplied with, all of one shape.

    Those of `i`, `f` and `g` (before their sigmoid or tanh) are the gradient by the new cell times these; that of `o`
    the gradient by the hidden state times this; `cell` times the gradient by the hidden state goes to the new cell,
    and `kept` times that of the new cell to the cell before.
    """

    i: torch.Tensor
    f: torch.Tensor
    g: torch.Tensor
    o: torch.Tensor
    cell: torch.Tensor
    kept: torch.Tensor

    @classmethod
    def of(cls, gates: tuple[torch.Tensor, ...], before: torch.Tensor, after: torch.Tensor) -> "Slopes":
        """From gates i, f, g, o after their sigmoid or tanh, the cells before a step and those after it."""
        i, f, g, o = gates
        said = after.tanh()
        slopes = (g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), said * o * (1 - o))
        return cls(*slopes, cell=o * (1 - said * said), kept=f)
