"""Products with contexts, made from what attention mixes contexts of: both steps are linear, so their order is free.

Notable here:
- where many hypotheses ask few keys, what a matrix makes of each value is multiplied once, instead of what it makes of
  each hypothesis's context at every step: a third of the products of a beam search with 8 hypotheses;
- the kernels of `kernels.py` alone make this pay.
"""

from collections.abc import Sequence

import torch
from torch import nn

from .modeling_kernels import LANES, Panels, serves

MANY = 8  # hypotheses of an utterance, from which on it was measured to pay


def mixes(values: torch.Tensor, hypotheses: int, *weights: torch.Tensor) -> bool:
    """Whether a `MixedProduct` can stand in, and pays.

    With a quarter as many keys as a value has numbers it takes 25 steps of 8 hypotheses to gain what it costs.

    Args:
        values: `(utterances, keys, size)`.
        hypotheses: Of each utterance.
        weights: `(outputs, …)`, and their biases.
    """
    keys, size = values.shape[1:]
    if hypotheses < MANY or 4 * keys > size or any(len(weight) % LANES for weight in weights):
        return False
    return not torch.is_grad_enabled() and serves(values, *weights)


class MixedProduct:
    """`inputs @ weight.T + bias` for inputs that are a context and something else.

    Args:
        over_context: `(outputs, size)`, the weight's columns of the context; a view may be passed.
        over_rest: `(outputs, rest)`, the other columns.
        values: `(utterances, keys, size)`, what contexts are mixed from.
        bias: `(outputs,)`.
    """

    def __init__(
        self,
        over_context: torch.Tensor,
        over_rest: torch.Tensor,
        values: torch.Tensor,
        bias: torch.Tensor | None = None,
    ) -> None:
        self.utterances, self.keys = values.shape[:2]
        self.mixed = Panels(nn.functional.linear(values, over_context).transpose(1, 2))
        self.rest = Panels(over_rest)
        self.bias = values.new_zeros(len(over_rest)) if bias is None else bias

    def __call__(
        self, weights: torch.Tensor, rest: torch.Tensor, sizes: Sequence[int] | None = None, bent: bool = False
    ) -> torch.Tensor:
        """`(rows, outputs)`, after tanh if `bent`.

        Args:
            weights: `(rows, keys)`, of which the contexts are mixed.
            rest: `(rows, rest)`.
            sizes: How many rows each utterance has, one after the other; default: equally many.
        """
        sizes = sizes or [len(weights) // self.utterances] * self.utterances
        sums = self.mixed.add_product(weights, self.bias.repeat(len(weights), 1), sizes)
        return self.rest.add_product(rest, sums, bent=bent)
