"""What muting costs a model, as a section of its report: a deletion curve of attention, and what cards say of it.

A report's `deletion` is what `aural.receipt_curves.DeletionCurve.told` gives:

    unit, clips, claims, fill
    amounts       shares of a clip that are muted
    attended      nats lost when the most attended is muted first, of each amount
    at_random     the same in random orders
    area_between, area_interval   nats by which the order of attention costs more, over all amounts
"""

from dataclasses import dataclass

from .markdown import table
from .report_record import Record


@dataclass(frozen=True)
class Deletion:
    """A deletion curve.

    Attributes:
        unit: of what is lost.
        clips, claims: how many clips, and words, tags or events of them.
        fill: what muted cells hold.
        amounts, attended, at_random: points of the curves.
        area_between, area_interval: nats between them, with its 95% interval over clips.
    """

    unit: str
    clips: int
    claims: int
    fill: str
    amounts: tuple[float, ...]
    attended: tuple[float, ...]
    at_random: tuple[float, ...]
    area_between: float
    area_interval: tuple[float, float]


def read_deletion(record: Record) -> Deletion:
    """A report's deletion curve.

    Raises:
        ValueError: a field is missing or ill-typed, or the curves have other numbers of points.
    """
    listed = record.values.get("amounts")
    points = len(listed) if isinstance(listed, list) else 0
    if points < 2:
        record.fail("amounts", "a list of at least two shares")
    low, high = record.numbers("area_interval", 2)
    return Deletion(
        unit=record.text("unit"),
        clips=record.whole("clips", least=1),
        claims=record.whole("claims", least=1),
        fill=record.text("fill"),
        amounts=tuple(record.numbers("amounts", points)),
        attended=tuple(record.numbers("attended", points)),
        at_random=tuple(record.numbers("at_random", points)),
        area_between=record.finite("area_between"),
        area_interval=(low, high),
    )


def deletion_section(found: Deletion) -> str:
    """What a card says of it: a table, and the difference in words."""
    rows = zip(found.amounts, found.attended, found.at_random, strict=True)
    cells = [(f"{amount:.0%}", f"{attended:.2f}", f"{random:.2f}") for amount, attended, random in rows]
    low, high = found.area_interval
    verdict = "more" if low > 0 else "less" if high < 0 else "neither more nor less, by its interval,"
    return (
        f"Nats lost per word, tag or event ({found.claims} of them in {found.clips} clips) as more of a clip is "
        "muted:\n\n"
        f"{table(('Muted', 'Most attended first', 'At random'), cells)}\n\n"
        f"Muting in the order of attention costs {verdict} than muting at random: {found.area_between:.2f} nats, mean "
        f"over the amounts (95% interval {low:.2f} to {high:.2f} over clips)."
    )
