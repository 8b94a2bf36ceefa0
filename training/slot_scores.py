"""How much of a mix's caption is right, slot by slot: which sources, in which order, how many, overlapping or not.

A caption is exactly right when all slots are, in whichever wording: when it is one of the mix's captions. A slot is
judged by itself: the order only counts where the sources are right, so that one mistake is not told twice.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .caption_metrics import share_interval
from .mix_grammar import Description, parse

SLOTS = ("sources", "order", "counts", "overlap")


def score_slots(told: Sequence[Description], predictions: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Accuracy of each slot, with 95% intervals over clips, ready for JSON.

    Args:
        told: what was mixed, clip by clip.
        predictions: the captions, in the same order.
        seed: of the bootstrap.

    Returns:
        For each of `SLOTS` its share and `…_interval`; a slot that no clip is judged by is left out:

        - `sources`: the same set of sources, over all clips;
        - `order`: their order, over clips of several parts whose sources are right;
        - `counts`: the number of sounds of a source, over all clips' sources that were named;
        - `overlap`: over clips of several parts that were told of several.

    Raises:
        ValueError: another number of predictions, or none.
    """
    if len(told) != len(predictions) or not told:
        raise ValueError(f"{len(told)} descriptions and {len(predictions)} predictions; give as many, at least one")
    judged: dict[str, list[bool]] = {name: [] for name in SLOTS}
    for right, text in zip(told, predictions, strict=True):
        for name, verdicts in judge(right, text).items():
            judged[name] += verdicts
    scores: dict[str, Any] = {}
    for name, verdicts in judged.items():
        if verdicts:
            scores[name] = float(np.mean(verdicts))
            scores[f"{name}_interval"] = share_interval(verdicts, seed)
    return scores


def judge(right: Description, text: str) -> dict[str, list[bool]]:
    """The verdicts on one caption, by slot; none where a slot cannot be judged.

    Args:
        right: what was mixed.
        text: the caption; one that the grammar does not write has no slot right.
    """
    said = parse(text)
    if said is None:
        return {"sources": [False]}
    sources = set(said.sources) == set(right.sources)
    verdicts = {
        "sources": [sources],
        "counts": [said.counts[one] == count for one, count in right.counts.items() if one in said.counts],
    }
    if len(right.parts) > 1 and sources:
        verdicts["order"] = [said.sources == right.sources]
    if len(right.parts) > 1 and len(said.parts) > 1:
        verdicts["overlap"] = [said.overlapping == right.overlapping]
    return verdicts
