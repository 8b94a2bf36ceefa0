"""Looking over a live model's shoulder: what its modules were called with and gave, for the length of a block.

Notable here:
- the numbers are the model's own, of one run, and nothing is computed a second time in another way;
- hooks are gone when the block ends, and calls of other threads are not taken for ours.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Call:
    """One call of a module: what went in, by place and by name, and what came out."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


@contextmanager
def watched(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, list[Call]]]:
    """All calls of modules inside the block.

        with watched({"q": layer.attention.q_proj}) as calls:
            model(features)
        calls["q"][0].output

    Args:
        modules: By the names that their calls go under.
    """
    calls: dict[str, list[Call]] = {name: [] for name in modules}
    thread = get_ident()

    def hook(name: str) -> Any:
        def take(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if get_ident() == thread:
                calls[name].append(Call(args, kwargs, output))

        return take

    handles = [module.register_forward_hook(hook(name), with_kwargs=True) for name, module in modules.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
