"""Hand-written kernels (`native/`) for LSTMs on a CPU: products of few rows, the nonlinear half, a whole direction.

Notable here:
- they are compiled where aural is installed and a compiler is at hand. Where they are missing (no compiler, another
  processor, code that came along with weights from the Hub) callers use torch's operations: the same function, slower;
- only where torch itself uses AVX2: with AVX-512 oneDNN's kernels are others, which these were not measured against;
- float32 alone, and no gradients: callers with gradients have a backward pass of their own;
- the library is plain C without Python, so it is loaded by path, and waiting for it lets other Python threads run.

Shapes: `units` are LSTM units, gates `(…, 4 units)` in torch's order i, f, g, o. All tensors lie row by row without
gaps, but for what is said to be part of a wider row.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec

import torch

from .checks import on_host

LANES = 8
PLAIN = (torch.Tensor, torch.nn.Parameter)  # what holds numbers where it says; others may not
POINTER, LONG = ctypes.c_void_p, ctypes.c_long
SIGNATURES = {
    "aural_pack": [POINTER, *[LONG] * 7, POINTER],
    "aural_product": [LONG, POINTER, LONG, LONG, LONG, POINTER, LONG, POINTER, POINTER, LONG, POINTER, LONG],
    "aural_cell": [LONG, LONG, *[POINTER] * 7],
    "aural_attend": [*[LONG] * 5, *[POINTER] * 7],
    "aural_lstm": [LONG, POINTER, POINTER, LONG, *[POINTER] * 4, LONG],
    "aural_lstm_back": [LONG, POINTER, POINTER, LONG, *[POINTER] * 4, LONG, POINTER],
}


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they are missing or not for this processor."""
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        return None
    try:
        spec = find_spec("._kernels", __package__)
        found = ctypes.CDLL(spec.origin) if spec and spec.origin else None
    except (ImportError, OSError):  # OSError: a torch without the OpenMP functions that they call
        return None
    for name, arguments in SIGNATURES.items() if found else ():
        function = getattr(found, name)
        function.argtypes, function.restype = arguments, None
    return found


def serves(*tensors: torch.Tensor) -> bool:
    """Whether the kernels can work on these tensors."""
    if not all(type(each) in PLAIN and on_host(each) and each.dtype == torch.float32 for each in tensors):
        return False
    return not (torch.jit.is_tracing() or torch.is_autocast_enabled("cpu")) and library() is not None


def _library() -> ctypes.CDLL:
    found = library()
    assert found is not None, "ask `serves` first"
    return found


class Panels:
    """Matrices as the kernels read them: a copy.

    Args:
        matrices: `(outputs, inputs)` each, side by side: they are multiplied with their inputs joined. Views may be
            passed, transposed ones too. Or `(groups, outputs, inputs)`: rows of inputs come in as many groups, each of
            which has a matrix of its own.
        gates: They are an LSTM's over its hidden states, for `lstm`.
    """

    def __init__(self, *matrices: torch.Tensor, gates: bool = False) -> None:
        stacks = [matrix if matrix.ndim == 3 else matrix[None] for matrix in matrices]
        self.groups, self.outputs = stacks[0].shape[:2]
        self.inputs = sum(stack.shape[2] for stack in stacks)
        self.columns = -(-self.outputs // LANES) * LANES
        self.data = matrices[0].new_empty(self.groups, self.columns * self.inputs)
        first = 0
        for stack in stacks:
            for matrix, data in zip(stack, self.data, strict=True):
                sizes = (*matrix.stride(), *matrix.shape, 4 if gates else 1, first, self.inputs)
                _library().aural_pack(matrix.data_ptr(), *sizes, data.data_ptr())
            first += stack.shape[2]

    def product(self, inputs: torch.Tensor, bias: torch.Tensor, bent: bool = False) -> torch.Tensor:
        """`inputs @ matrix.T + bias`.

        Args:
            inputs: `(rows, inputs)`, which may be part of wider rows.
            bias: `(columns,)`, of which there are 8 or a multiple.
            bent: Take tanh of the result.
        """
        result = inputs.new_empty(len(inputs), self.columns)
        self._multiply(inputs, bias.data_ptr(), bent, result, [len(inputs)])
        return result[:, : self.outputs]

    def add_product(
        self, inputs: torch.Tensor, sums: torch.Tensor, sizes: Sequence[int] | None = None, bent: bool = False
    ) -> torch.Tensor:
        """Add `inputs @ matrix.T` to `sums` `(rows, columns)`, in place, and take tanh of it if `bent`.

        `sizes` are the rows of each group; default: there is one.
        """
        self._multiply(inputs, None, bent, sums, sizes or [len(inputs)])
        return sums

    def _multiply(
        self, inputs: torch.Tensor, start: int | None, bent: bool, into: torch.Tensor, sizes: Sequence[int]
    ) -> None:
        gaps = self.inputs > 1 and inputs.stride(1) != 1
        if inputs.dtype != self.data.dtype or inputs.shape[1] != self.inputs or gaps or not on_host(inputs):
            told = f"{tuple(inputs.shape)} {inputs.dtype} on {inputs.device}{', with gaps' if gaps else ''}"
            raise RuntimeError(f"inputs {told}: (rows, {self.inputs}) float32 on the host are multiplied with this")
        if len(sizes) != self.groups or sum(sizes) != len(inputs) or min(sizes) < 0:
            raise RuntimeError(f"{len(inputs)} rows in groups of {list(sizes)}: {self.groups} groups are multiplied")
        _library().aural_product(
            self.groups, (LONG * self.groups)(*sizes), len(inputs), self.inputs, self.columns,
            inputs.data_ptr(), inputs.stride(0), self.data.data_ptr(),
            start, bent, into.data_ptr(), into.stride(0),
        )  # fmt: skip


def lstm_step(
    sums: torch.Tensor,
    before: torch.Tensor,
    place: torch.Tensor | None = None,
    shares: torch.Tensor | None = None,
    which: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The LSTM's nonlinear half: the next hidden state and cell, `(rows, units)`.

    Args:
        sums: What makes the gates, `(any rows, 4 units)`.
        before: The cells before, `(rows, units)`.
        place: `(rows,)`, the row of `sums` that each takes; default: its own.
        shares: What is added to the gates, `(any rows, 4 units)`.
        which: As `place`, for `shares`.
    """
    sums, before = sums.contiguous(), before.contiguous()
    shares = None if shares is None else shares.contiguous()
    place, which = (None if each is None else each.long().contiguous() for each in (place, which))
    hidden, cell = torch.empty_like(before), torch.empty_like(before)
    pointers = (None if each is None else each.data_ptr() for each in (sums, place, shares, which))
    _library().aural_cell(*cell.shape, *pointers, before.data_ptr(), cell.data_ptr(), hidden.data_ptr())
    return hidden, cell


def can_attend(
    asked: torch.Tensor, keys: torch.Tensor, offsets: torch.Tensor, mask: torch.Tensor, values: torch.Tensor
) -> bool:
    """Whether `attend` can look at this."""
    if not mask.shape == offsets.shape == keys.shape[:2] == values.shape[:2] or asked.shape[::2] != keys.shape[::2]:
        return False
    whole = all(each.is_contiguous() for each in (asked, keys, offsets, mask, values))
    return whole and values.shape[-1] % LANES == 0 and serves(asked, keys, offsets, values)


def attend(
    asked: torch.Tensor, keys: torch.Tensor, offsets: torch.Tensor, mask: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Dot attention: softmax over `asked @ keysᵀ + offsets` where the mask allows it, and the values so mixed.

    Args:
        asked: `(batch, queries, size)`.
        keys: `(batch, keys, size)`.
        offsets: `(batch, keys)`.
        mask: `(batch, keys)`, boolean.
        values: `(batch, keys, width)`, the width a multiple of 8.

    Returns:
        Contexts `(batch, queries, width)` and weights `(batch, queries, keys)`.
    """
    contexts = asked.new_empty(*asked.shape[:2], values.shape[-1])
    weights = asked.new_empty(*asked.shape[:2], keys.shape[1])
    tensors = (asked, keys, offsets, mask, values, weights, contexts)
    sizes = (*weights.shape, asked.shape[-1], values.shape[-1])
    _library().aural_attend(*sizes, *(tensor.data_ptr() for tensor in tensors))
    return contexts, weights


def lstm(
    rows: torch.Tensor,
    places: torch.Tensor,
    over_hidden: torch.Tensor,
    gates: torch.Tensor,
    cells: torch.Tensor,
    hiddens: torch.Tensor,
) -> None:
    """All steps of one direction of a layer, from zeros.

    Args:
        rows: Of each step, `(steps,)` int64, never more than in the step before.
        places: `(entries,)` int64: where a step's rows lie among the entries, step by step.
        over_hidden: `(4 units, units)`.
        gates: What inputs and biases add, `(entries, 4 units)`; become those after their sigmoid or tanh.
        cells: `(entries, units)`, written.
        hiddens: `(entries, units)`, written; it may be part of wider rows.
    """
    panels, units = Panels(over_hidden, gates=True), over_hidden.shape[1]
    _library().aural_lstm(
        len(rows), rows.data_ptr(), places.data_ptr(), units, panels.data.data_ptr(),
        gates.data_ptr(), cells.data_ptr(), hiddens.data_ptr(), hiddens.stride(0),
    )  # fmt: skip


def lstm_backward(
    rows: torch.Tensor,
    places: torch.Tensor,
    over_hidden: torch.Tensor,
    gates: torch.Tensor,
    cells: torch.Tensor,
    d_hiddens: torch.Tensor,
) -> torch.Tensor:
    """The way back through `lstm`: the gradients by the gates before their sigmoid or tanh, `(entries, 4 units)`.

    Args:
        rows, places, over_hidden, gates, cells: As `lstm` left them.
        d_hiddens: By the hidden states, `(entries, units)`; it may be part of wider rows.
    """
    panels, units, d_gates = Panels(over_hidden.t()), over_hidden.shape[1], torch.empty_like(gates)
    _library().aural_lstm_back(
        len(rows), rows.data_ptr(), places.data_ptr(), units, panels.data.data_ptr(),
        gates.data_ptr(), cells.data_ptr(), d_hiddens.data_ptr(), d_hiddens.stride(0), d_gates.data_ptr(),
    )  # fmt: skip
    return d_gates
