"""Linear layers as decoding uses them: the same small product again and again, with a weight that stays.

Notable here:
- on a CPU a product of a few rows with a matrix of some megabytes is a matter of how the matrix lies. The kernels of
  `kernels.py` have an order of their own, and so has oneDNN where they are missing; both are up to twice as fast as
  the layer itself. The matrix is copied into it once, when decoding begins;
- with many rows it is a matter of multiplying, which the order does not help, and it would be a copy to hold;
- torch has oneDNN's two operations for its compiler, without a promise to keep them: where they are missing, and
  wherever the copies would not be the same function (another device or precision, gradients, hooks, adapters, int8), a
  layer is called as it is.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn

from .modeling_checks import on_host
from .modeling_kernels import LANES, Panels, serves

FEW_ROWS = 32  # up to so many, oneDNN's blocks are worth their memory
SOME_ROWS = 64  # up to so many, the kernels' panels are faster (measured up to here)


def is_plain(part: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a module is of exactly one of `kinds`, and nothing was hung on it that has its say in a call."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    return type(part) in kinds and not any(hooks) and "forward" not in vars(part)


def takes_panels(weight: torch.Tensor, rows: int) -> bool:
    """Whether the kernels' panels can stand in for a weight, and help with so many rows of inputs."""
    return rows <= SOME_ROWS and not torch.is_grad_enabled() and serves(weight)


def takes_blocks(weight: torch.Tensor, rows: int) -> bool:
    """The same for oneDNN's blocks."""
    return (
        rows <= FEW_ROWS
        and on_host(weight)
        and weight.dtype == torch.float32
        and not (torch.is_grad_enabled() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu"))
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class PackedProduct:
    """`inputs @ weight.T`, the weight in an order for few rows where that is possible, from the first call on.

    Args:
        weights: `(outputs, inputs)` each, which must not change while this is in use: side by side they are the
            weight, so the inputs are to be joined in the same way.
        rows: Of the inputs, as a rule.
        bias: `(outputs,)`, or None.
    """

    def __init__(self, weights: Sequence[torch.Tensor], rows: int, bias: torch.Tensor | None = None) -> None:
        self.weights, self.rows, self.bias = tuple(weights), rows, bias
        self.panels: Panels | None = None
        self.blocks: torch.Tensor | None = None
        self.joined: torch.Tensor | None = None

    def _pack(self) -> None:
        """Make the one of the three that a call needs, if it is not there."""
        if not (self.panels is None and self.blocks is None and self.joined is None):
            return
        if all(takes_panels(weight, self.rows) for weight in self.weights):
            self.panels = Panels(*self.weights)
            self.start = self.weights[0].new_zeros(self.panels.columns)
            if self.bias is not None:
                self.start[: len(self.bias)] = self.bias
            return
        weight = self.weights[0] if len(self.weights) == 1 else torch.cat(self.weights, dim=1)
        if takes_blocks(weight, self.rows):
            self.blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), self.rows)
        else:
            self.joined = weight

    def __call__(self, inputs: torch.Tensor, bent: bool = False) -> torch.Tensor:
        """Inputs `(…, inputs)` → `(…, outputs)`, after tanh if `bent`."""
        self._pack()
        if self.panels is not None:
            rows = inputs.reshape(-1, inputs.shape[-1]).contiguous()
            return self.panels.product(rows, self.start, bent).view(*inputs.shape[:-1], self.panels.outputs)
        if self.blocks is not None:
            result = torch.ops.mkldnn._linear_pointwise(inputs, self.blocks, self.bias, "none", [], "")
        else:
            result = nn.functional.linear(inputs, cast(torch.Tensor, self.joined), self.bias)
        return result.tanh() if bent else result

    def add(self, inputs: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
        """Add the product of inputs `(rows, inputs)` to `sums` `(rows, outputs)`, in place."""
        self._pack()
        if self.panels is not None and self.bias is None and self.panels.outputs % LANES == 0:
            return self.panels.add_product(inputs, sums)
        return sums.add_(self(inputs))


Linear = Callable[..., torch.Tensor]  # calls a linear layer with its inputs, and a tanh behind it; as `call` does


class PackedLinears:
    """Calls linear layers, each through a `PackedProduct` that is made at its first call.

    Args:
        rows: Of the inputs, as a rule.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._products: dict[nn.Module, PackedProduct] = {}

    def __call__(self, layer: nn.Module, inputs: torch.Tensor, tanh: nn.Module | None = None) -> torch.Tensor:
        """`layer(inputs)`, or `tanh(layer(inputs))`."""
        product = self._products.get(layer)
        if product is None:
            if not isinstance(layer, nn.Linear) or not self._takes(layer):
                return call(layer, inputs, tanh)
            product = self._products[layer] = PackedProduct([layer.weight], self.rows, layer.bias)
        if tanh is None or is_plain(tanh, nn.Tanh):
            return product(inputs, tanh is not None)
        return tanh(product(inputs))

    def _takes(self, layer: nn.Linear) -> bool:
        weight = layer.weight
        return is_plain(layer, nn.Linear) and (takes_panels(weight, self.rows) or takes_blocks(weight, self.rows))


def call(layer: nn.Module, inputs: torch.Tensor, tanh: nn.Module | None = None) -> torch.Tensor:
    """What `PackedLinears` stands in for."""
    result = layer(inputs)
    return result if tanh is None else tanh(result)
