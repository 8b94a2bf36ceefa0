"""A name for each attention head, by rules with thresholds that are told: the first that holds.

    "class token"     at least half of the attention of patches is on class tokens
    "everywhere"      its attention is spread over at least 0.6 of the keys
    "itself"          at least half on the same patch
    "previous"        … on the column before
    "next"            … on the column after
    "same time"       … on other frequencies of the same column
    "same frequency"  … on the same row at other times
    "same source"     its own source gets 0.1 more than chance and than distance give it, with the 95% interval of the
                      latter above 0
    "silence"         at least half on patches at which nothing sounds
    "nearby"          … within 0.25 s
    "content"         of what is kept when patches are shuffled, at least 0.75 goes with the content
    "position"        at least 0.75 stays with the position
    "mixed"           none of these

Where half is asked, from "itself" to "nearby", it must also be half as much again as the share of such keys. Names are
a way to find heads, not findings: the numbers behind them are in `head_measures.py`.
"""

from collections.abc import Mapping

MOSTLY = 0.5  # share of the attention
WIDE = 0.6  # share of the keys
MORE = 0.1  # above what chance and distance give to a head's own source
LIFT = 1.5  # times the share of such keys
FOLLOWS = 0.75  # of what is kept
PLACES = {
    "itself": "itself",
    "previous": "previous",
    "next": "next",
    "same_time": "same time",
    "same_frequency": "same frequency",
}
NAMES = (
    "class token",
    "everywhere",
    *PLACES.values(),
    "same source",
    "silence",
    "nearby",
    "content",
    "position",
    "mixed",
)


def name_head(measures: Mapping[str, float]) -> str:
    """The name of a head, one of `NAMES`.

    Args:
        measures: By the names of `head_measures.py`, `content`, and `own_low`, the lower end of the interval of `own`
            minus `by_distance`; NaN where a thing was not measured, or is not there.
    """
    told = {name: float(value) for name, value in measures.items()}
    if told["class_token"] >= MOSTLY:
        return "class token"
    if told["spread"] >= WIDE:
        return "everywhere"

    def mostly(measure: str) -> bool:
        return told[measure] >= max(MOSTLY, LIFT * told[f"{measure}_chance"])

    for measure, name in PLACES.items():
        if mostly(measure):
            return name
    more = min(told["own"] - told["chance"], told["own"] - told["by_distance"])  # NaN is not above
    if more >= MORE and told["own_low"] > 0:
        return "same source"
    if mostly("silence"):
        return "silence"
    if mostly("nearby"):
        return "nearby"
    if told["content"] >= FOLLOWS:
        return "content"
    return "position" if told["content"] <= 1 - FOLLOWS else "mixed"
