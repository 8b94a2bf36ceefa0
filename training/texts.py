"""Models that write text, whichever way: those that generate it, and those that say a symbol or blank each moment.

What a model wrote is ids `(clips, places)` in both cases, so that one decoding and one set of metrics serve all: of
CTC's best path, -100 stands wherever nothing new is said.
"""

from typing import Any

import torch

from ..processing.processor import IGNORED_LABEL


def generates_text(model: Any) -> bool:
    """Whether a model writes by `generate`."""
    return bool(model.can_generate())


def writes_text(model: Any) -> bool:
    """Whether a model writes: by `generate`, or by a CTC head."""
    return generates_text(model) or getattr(model, "ctc_head", None) is not None


def written_ids(model: Any, **batch: torch.Tensor) -> torch.Tensor:
    """What a model writes of a batch: by its own `generate`, or by the best path of its CTC head.

    Args:
        model: One that writes.
        batch: `input_features` and `attention_mask`.

    Returns:
        Ids `(clips, places)`.
    """
    if generates_text(model):
        return model.generate(**batch)
    return said_ids(model(**batch).logits, model.config.blank_id)


def said_ids(logits: torch.Tensor, blank: int) -> torch.Tensor:
    """The best path of CTC logits `(clips, columns, vocabulary)`: ids `(clips, columns)`, -100 where a blank or a
    repeat stands, so that what is left is the text and doubled letters survive (Graves et al. 2006)."""
    path = logits.argmax(-1)
    before = torch.nn.functional.pad(path[:, :-1], (1, 0), value=blank)
    return path.masked_fill((path == blank) | (path == before), IGNORED_LABEL)
