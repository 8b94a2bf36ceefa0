"""Layer-wise learning-rate decay: the nearer to the input, the slower a pre-trained weight moves.

ELECTRA (Clark et al. 2020, arXiv:2003.10555) introduced it for fine-tuning, BEiT (Bao et al. 2022, arXiv:2106.08254)
took it to patch transformers, from where audio has it (AudioMAE, EAT). Values from 0.65 to 0.9 are usual.
"""

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
DECODER = re.compile(r"^decoder\.")  # what writes or fills in comes after the layers that hear
EMBEDDINGS = re.compile(r"(?:^|\.)embeddings\.")
NEVER_DECAYED = re.compile(r"(?:^|\.)(class_tokens|query|positions\.\w+)$")  # learned tokens, tables, as in BEiT


def layer_decay_groups(
    model: nn.Module, learning_rate: float, decay: float, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimizer, each with its own learning rate.

    Of L layers of the encoder, `layers.i` learns at learning_rate * decay ** (L - i), what is in `embeddings` at
    learning_rate * decay ** (L + 1), and what comes after the layers (final norm, pooling, head,
    decoder) at learning_rate.
    Vectors (norms, biases), learned tokens and position tables have no weight decay. Schedulers scale groups alike.

    Args:
        model: with parameters named `…layers.<i>.…` and `…embeddings.…`; frozen ones are left out.
        learning_rate: of the head.
        decay: in (0, 1]; 1 is the same rate everywhere.
        weight_decay: of everything else.

    Returns:
        Dicts with `params`, `lr` and `weight_decay`, the head's first, whose rate is the one that the Trainer logs.

    Raises:
        ValueError: no such layers, or a decay outside (0, 1].
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer decay is {decay}; it must be above 0 and at most 1")
    parameters = dict(model.named_parameters())
    layers = _layer_count(parameters)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        if parameter.requires_grad:
            decayed = parameter.dim() > 1 and not NEVER_DECAYED.search(name)
            groups.setdefault((_depth(name, layers), decayed), []).append(parameter)
    return [
        {
            "params": members,
            "lr": learning_rate * decay ** (layers + 1 - depth),
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (depth, decayed), members in sorted(groups.items(), key=lambda group: group[0], reverse=True)
    ]


def _layer_count(names: Iterable[str]) -> int:
    numbers = [int(found[1]) for name in names if not DECODER.search(name) and (found := LAYER.search(name))]
    if not numbers:
        raise ValueError("the model has no parameters named layers.<number>: its layers cannot be told apart")
    return max(numbers) + 1


def _depth(name: str, layers: int) -> int:
    """0 for embeddings, i + 1 for layer i, and one more for what comes after the layers."""
    if DECODER.search(name):
        return layers + 1
    if found := LAYER.search(name):
        return int(found[1]) + 1
    return 0 if EMBEDDINGS.search(name) else layers + 1
