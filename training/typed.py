"""Plain mappings, as YAML and command lines give them, to typed dataclasses, with errors that a person can act on.

`HfArgumentParser.parse_dict` is flat and checks no types: `learning_rate: fast` would be found an hour later. Here a
wrong key or type is refused by its whole name, with what is allowed and the nearest key.

    fill(Source, {"source": "data/clips", "splt": "train"}, "data.train")
    # ValueError: data.train has no key 'splt'; did you mean 'split'? Allowed: source, split, …
"""

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a mapping"}


def fill(kind: type[T], values: Any, where: str) -> T:
    """An instance of a dataclass from a mapping; nested dataclasses, lists and mappings of them are filled too.

    Args:
        kind: A dataclass.
        values: Its fields by name; those with a default may be absent.
        where: What errors call the mapping.

    Raises:
        ValueError: `values` is no mapping, has an unknown key, lacks a needed one, or has a value of another type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {values!r}; expected a mapping of {', '.join(_names(kind))}")
    check_keys(values, _names(kind), where)
    hints = get_type_hints(kind)
    filled = {name: convert(value, hints[name], f"{where}.{name}") for name, value in values.items()}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.init and field.name not in filled and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where} has no {field.name!r}, which is needed")
    try:
        return kind(**filled)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def check_keys(given: Iterable[Any], allowed: Sequence[str], where: str) -> None:
    """Refuse a key that is not allowed, and say which is nearest.

    Raises:
        ValueError: With the allowed keys.
    """
    for key in given:
        if key not in allowed:
            near = nearest(str(key), allowed)
            raise ValueError(f"{where} has no key {key!r};{near} allowed: {', '.join(allowed)}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """' did you mean …?' with the closest of the allowed names, or nothing if none is close."""
    close = get_close_matches(name, list(allowed), n=1)
    return f" did you mean {close[0]!r}?" if close else ""


def convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type of a field: checked, nested dataclasses filled, whole numbers taken for numbers.

    Raises:
        ValueError: It is of another type.
    """
    for choice in _choices(hint):
        fits, converted = _fit(value, choice, where)
        if fits:
            return converted
    raise ValueError(f"{where} is {value!r}; expected {' or '.join(_said(choice) for choice in _choices(hint))}")


def _choices(hint: Any) -> list[Any]:
    """The types of a union; `SchedulerType | str`, as transformers writes it, is the names of the enum alone."""
    if get_origin(hint) not in (Union, types.UnionType):
        return [hint]
    choices = [choice for part in get_args(hint) for choice in _choices(part)]
    enums = any(isinstance(choice, type) and issubclass(choice, Enum) for choice in choices)
    return [choice for choice in choices if not (enums and choice is str)]


def _fit(value: Any, hint: Any, where: str) -> tuple[bool, Any]:
    """Whether `value` is of a type that is no union, and what it then becomes."""
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Any or origin is object:
        return True, value
    if origin in (type(None), None):
        return value is None, None
    if origin is Literal:
        return value in arguments, value
    if is_dataclass(origin) and isinstance(origin, type):
        return (True, fill(origin, value, where)) if isinstance(value, Mapping) else (False, None)
    if not isinstance(origin, type):
        return True, value  # a type that YAML cannot hold: whoever takes it checks it
    if issubclass(origin, Enum):
        return value in [member.value for member in origin], value
    if origin is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool), value
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    if issubclass(origin, (list, tuple)) or origin is Sequence:
        return _fit_list(value, origin, arguments, where)
    if issubclass(origin, (dict, Mapping)):
        return _fit_mapping(value, arguments, where)
    return isinstance(value, origin), value


def _fit_list(value: Any, origin: type, arguments: tuple[Any, ...], where: str) -> tuple[bool, Any]:
    if not isinstance(value, (list, tuple)):
        return False, None
    hint = arguments[0] if arguments else Any
    items = [convert(item, hint, f"{where}[{index}]") for index, item in enumerate(value)]
    return True, tuple(items) if issubclass(origin, tuple) else items


def _fit_mapping(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[bool, Any]:
    if not isinstance(value, Mapping):
        return False, None
    hint = arguments[1] if len(arguments) == 2 else Any
    return True, {key: convert(item, hint, f"{where}.{key}") for key, item in value.items()}


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind) if field.init]  # type: ignore[arg-type]


def _said(hint: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in (type(None), None):
        return "null"
    if origin is Literal:
        return ", ".join(map(repr, arguments))
    if isinstance(origin, type) and issubclass(origin, Enum):
        return ", ".join(repr(member.value) for member in origin)
    if isinstance(origin, type) and issubclass(origin, (list, tuple)):
        return f"a list of {_said(arguments[0])}" if arguments else "a list"
    if is_dataclass(origin) and isinstance(origin, type):
        return f"a mapping of {', '.join(_names(origin))}"
    return PLAIN.get(origin, getattr(origin, "__name__", str(origin)))
