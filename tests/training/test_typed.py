"""Filling dataclasses from plain mappings: types, nesting, and errors with the nearest key."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import pytest

from aural.training.typed import check_keys, convert, fill


class Pace(Enum):
    slow = "slow"
    fast = "fast"


@dataclass
class Inner:
    size: int
    rate: float = 0.5


@dataclass
class Outer:
    inner: Inner
    many: list[Inner] = field(default_factory=list)
    named: dict[str, Inner] = field(default_factory=dict)
    kind: Literal["dot", "location"] = "dot"
    pace: Pace | str = "slow"
    maybe: int | None = None
    on: bool = False
    free: dict[str, Any] = field(default_factory=dict)


def test_nested_dataclasses_lists_and_mappings_are_filled():
    values = {"inner": {"size": 3, "rate": 1}, "many": [{"size": 1}], "named": {"a": {"size": 2}}, "free": {"x": [1]}}
    filled = fill(Outer, values, "top")
    assert filled == Outer(Inner(3, 1), [Inner(1)], {"a": Inner(2)}, free={"x": [1]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iner": {"size": 1}}, "top has no key 'iner'; did you mean 'inner'? allowed: inner, many"),
        ({"inner": {"sise": 1}}, "top.inner has no key 'sise'; did you mean 'size'?"),
        ({}, "top has no 'inner', which is needed"),
        ({"inner": 3}, "top.inner is 3; expected a mapping of size, rate"),
        ({"inner": {"size": "3"}}, "top.inner.size is '3'; expected a whole number"),
        ({"inner": {"size": True}}, "top.inner.size is True; expected a whole number"),
        ({"inner": {"size": 1, "rate": "fast"}}, "top.inner.rate is 'fast'; expected a number"),
        ({"inner": {"size": 1}, "many": {"size": 1}}, "top.many is {'size': 1}; expected a list of a mapping of size"),
        ({"inner": {"size": 1}, "many": [{"size": 1.5}]}, "top.many[0].size is 1.5; expected a whole number"),
        ({"inner": {"size": 1}, "kind": "dott"}, "top.kind is 'dott'; expected 'dot', 'location'"),
        ({"inner": {"size": 1}, "pace": "fats"}, "top.pace is 'fats'; expected 'slow', 'fast'"),
        ({"inner": {"size": 1}, "maybe": 1.5}, "top.maybe is 1.5; expected a whole number or null"),
        ({"inner": {"size": 1}, "on": 1}, "top.on is 1; expected true or false"),
    ],
)
def test_what_is_wrong_is_said_by_its_whole_name(values, message):
    with pytest.raises(ValueError) as error:
        fill(Outer, values, "top")
    assert message in str(error.value)


def test_a_whole_number_is_a_number_and_names_of_an_enum_are_taken():
    assert convert(2, float, "x") == 2
    assert convert("fast", Pace | str, "x") == "fast"
    assert convert(None, int | None, "x") is None


def test_keys_far_from_any_allowed_get_no_suggestion():
    with pytest.raises(ValueError, match=r"^x has no key 'qqq'; allowed: size$"):
        check_keys(["qqq"], ["size"], "x")


def test_a_dataclass_that_refuses_its_values_is_named():
    @dataclass
    class Strict:
        share: float

        def __post_init__(self) -> None:
            if self.share > 1:
                raise ValueError(f"share is {self.share}; at most 1")

    with pytest.raises(ValueError, match=r"^top: share is 2; at most 1$"):
        fill(Strict, {"share": 2}, "top")
