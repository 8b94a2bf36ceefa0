"""Results of masked pre-training: how well an encoder tells what was masked, the only score it has without labels.

A result of *masked patches* (kind "masked") is what `masked_result` gives:

    clips, masked_loss
    predictions   [{name, patches, loss}], one per clip: its masked patches, and the mean loss over them
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .report_record import Record, Result, read_head, read_measure

MASKED_NOTE = (
    "The loss is the mean over all masked patches, by the model's own objective and masks; it tells how pre-training "
    "went, and is no score of any task."
)


@dataclass(frozen=True, eq=False)
class MaskedResult(Result):
    """How much of what was masked a model told: `masked_loss`."""

    kind: ClassVar[str] = "masked"


def masked_result(names: Sequence[str], patches: Sequence[int], losses: Sequence[float]) -> dict[str, Any]:
    """A result for a report, but for its `dataset`, `split` and `about`.

    Args:
        names: of the clips.
        patches: masked, of each.
        losses: of each, a mean over its masked patches.
    """
    clips = [
        {"name": name, "patches": count, "loss": loss}
        for name, count, loss in zip(names, patches, losses, strict=True)
    ]
    return {"kind": "masked", "clips": len(clips), "masked_loss": _mean(patches, losses), "predictions": clips}


def read_masked(record: Record) -> MaskedResult:
    """A result of masked patches.

    Raises:
        ValueError: a field is missing or ill-typed, or the loss does not follow from those of the clips.
    """
    clips = record.records("predictions")
    if record.whole("clips", least=1) != len(clips):
        record.fail("clips", f"the number of predictions, which is {len(clips)}: all are needed")
    counted = _mean([clip.whole("patches", least=1) for clip in clips], [clip.finite("loss") for clip in clips])
    measures = {"masked_loss": read_measure(record, "masked_loss", counted, "clips", interval=False)}
    return MaskedResult(**read_head(record), clips=len(clips), measures=measures)


def _mean(patches: Sequence[int], losses: Sequence[float]) -> float:
    return sum(count * loss for count, loss in zip(patches, losses, strict=True)) / sum(patches)
