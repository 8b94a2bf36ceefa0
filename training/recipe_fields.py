"""Fields of a config that a recipe may tell."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .typed import check_keys


def config_fields(kind: Any) -> list[str]:
    """Names of a config's own fields."""
    return [one.name for one in fields(kind) if one.init]


def check_config(told: Mapping[str, Any], kind: Any, made: Mapping[str, Any], where: str = "model.config") -> None:
    """Refuse fields of a config that do not exist, or that follow from the data.

    Args:
        told: What a recipe says.
        kind: Class of the config.
        made: What follows from the data.
        where: The recipe says it.

    Raises:
        ValueError: Names the field.
    """
    check_keys(told, config_fields(kind), where)
    for name in told:
        if name in made:
            raise ValueError(f"{where}.{name} is {told[name]!r}, but it follows from the data: leave it out")
