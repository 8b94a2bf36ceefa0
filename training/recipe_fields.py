"""Fields of a config that a recipe may tell."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .typed import check_keys


def config_fields(kind: Any) -> list[str]:
    """Names of a config's own fields."""
    return [one.name for one in fields(kind) if one.init]


def check_config(told: Mapping[str, Any], kind: Any, made: Mapping[str, Any]) -> None:
    """Refuse fields of `model.config` that do not exist, or that follow from the data.

    Args:
        told: What a recipe says.
        kind: Class of the config.
        made: What follows from the data.

    Raises:
        ValueError: Names the field.
    """
    check_keys(told, config_fields(kind), "model.config")
    for name in told:
        if name in made:
            raise ValueError(f"model.config.{name} is {told[name]!r}, but it follows from the data: leave it out")
