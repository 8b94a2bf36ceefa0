"""Linear layers as decoding uses them: the same small product again and again, with a weight that stays.

Notable here:
- on a CPU a product of a few rows with a matrix of some megabytes is a matter of reading the matrix; oneDNN reads it
  up to twice as fast when it lies in blocks of its own making. They are made once, when decoding begins;
- with many rows it is a matter of multiplying, which the blocks do not help, and they would be a copy to hold;
- torch has the two operations for its compiler, without a promise to keep them: where they are missing, and wherever
  the blocks would not be the same function (another device or precision, gradients, hooks, adapters, int8), a layer is
  called as it is.
"""

import torch
from torch import nn

from .modeling_checks import on_host

FEW_ROWS = 32  # up to so many, blocks are worth their memory


def is_plain(part: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a module is of exactly one of `kinds`, and nothing was hung on it that has its say in a call."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    return type(part) in kinds and not any(hooks) and "forward" not in vars(part)


def packs(weight: torch.Tensor, rows: int) -> bool:
    """Whether oneDNN's blocks can stand in for a weight, and help with so many rows of inputs."""
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
    """`inputs @ weight.T`, the weight in blocks where that is possible.

    Args:
        weight: `(outputs, inputs)`; it must not change while this is in use.
        rows: Of the inputs, as a rule.
        bias: `(outputs,)`, or None.
    """

    def __init__(self, weight: torch.Tensor, rows: int, bias: torch.Tensor | None = None) -> None:
        self.weight, self.bias = weight, bias
        self.blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows) if packs(weight, rows) else None

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs `(…, inputs)` → `(…, outputs)`."""
        if self.blocks is None:
            return nn.functional.linear(inputs, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(inputs, self.blocks, self.bias, "none", [], "")


class PackedLinears:
    """Calls linear layers, each through blocks that are made at its first call.

    Args:
        rows: Of the inputs, as a rule.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._products: dict[nn.Module, PackedProduct] = {}

    def __call__(self, layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """`layer(inputs)`."""
        product = self._products.get(layer)
        if product is None:
            if not isinstance(layer, nn.Linear) or not self._takes(layer):
                return layer(inputs)
            product = self._products[layer] = PackedProduct(layer.weight, self.rows, layer.bias)
        return product(inputs)

    def _takes(self, layer: nn.Linear) -> bool:
        return is_plain(layer, nn.Linear) and packs(layer.weight, self.rows)


def call(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What `PackedLinears` stands in for."""
    return layer(inputs)
