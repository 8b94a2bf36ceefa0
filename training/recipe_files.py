"""Recipes as files: those that come with aural, by name, and anyone's own; one may extend others.

    load_recipe("prompts-en", ["training.max_steps=200", "data.train.split=train"])

`extends: NAME`, or a list of names of which later ones win, lets a file say only what differs. Names in `parts/` are
pieces of recipes, none by themselves.
"""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from .recipe import SETS, Recipe, parse_recipe
from .typed import nearest

SUFFIX = ".yaml"
RECIPES, LAUNCHERS = files(__package__) / "recipes", files(__package__) / "accelerate"
LAUNCHES = ("laptop", "one-gpu", "one-node", "one-node-fsdp", "two-nodes")  # files for `accelerate launch`
EXTENDS = "extends"
PARTS = "parts/"


def recipe_names() -> list[str]:
    """Names of the recipes that come with aural."""
    return sorted(entry.name.removesuffix(SUFFIX) for entry in RECIPES.iterdir() if entry.name.endswith(SUFFIX))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: A YAML file, or the name of a recipe that comes with aural.
        overrides: "section.key=value" each, the value as YAML; they win over the file.

    Raises:
        OSError: There is no such recipe, or the file cannot be read.
        ValueError: The YAML is ill-formed, or a key or value is not allowed.
    """
    values = _read(source, ())
    for override in overrides:
        _override(values, override)
    return parse_recipe(values, str(source))


def launch_file(name: str) -> str:
    """The content of a settings file for `accelerate launch --config_file`.

    Args:
        name: One of `LAUNCHES`.

    Raises:
        ValueError: There is no such file.
    """
    if name not in LAUNCHES:
        raise ValueError(f"{name!r} is no settings file;{nearest(name, LAUNCHES)} allowed: {', '.join(LAUNCHES)}")
    return (LAUNCHERS / f"{name}{SUFFIX}").read_text("utf-8")


class _Loader(yaml.SafeLoader):
    """Safe YAML as its version 1.2 has it: 1e-3 is a number, `no` is a word, and a key stands once."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, form) for tag, form in forms if not tag.endswith(":bool")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key!r} stands twice{node.start_mark}")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a safe loader, see above
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML: {' '.join(str(error).split())}") from error


def _read(source: str | Path, seen: tuple[str, ...]) -> dict[str, Any]:
    """The mapping of a file or of a recipe that comes with aural, merged over what it extends."""
    if str(source) in seen:
        raise ValueError(f"recipes extend each other in a circle: {' → '.join([*seen, str(source)])}")
    path = Path(source)
    ours = RECIPES / f"{source}{SUFFIX}"
    known = str(source) in recipe_names() or (str(source).startswith(PARTS) and ours.is_file())
    if not known and not path.is_file():
        kind = "a folder" if path.is_dir() else "no file and no recipe of aural"
        near = nearest(str(source), recipe_names())
        raise FileNotFoundError(f"{source} is {kind};{near or ' `aural recipes` lists what there is'}")
    try:
        text = (ours if known else path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not text in UTF-8: {error}") from error
    values = _parse(text, str(source))
    if not isinstance(values, dict):
        raise ValueError(f"{source} holds {type(values).__name__}; expected the sections of a recipe")
    bases = values.pop(EXTENDS, [])
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        merged = _merge(merged, _read(base, (*seen, str(source))))
    return _merge(merged, values)


def _merge(base: Any, over: Any) -> Any:
    """`over` on top of `base`: mappings are joined, everything else replaced."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{name: _merge(base.get(name), value) for name, value in over.items()}}


def _override(values: dict[str, Any], override: str) -> None:
    """Write one "section.key=value" into the mapping."""
    name, equals, text = override.partition("=")
    path = [part.strip() for part in name.split(".")]
    if not equals or not all(path):
        raise ValueError(f"--set {override!r}: expected section.key=value, such as training.max_steps=200")
    place: Any = values
    for depth, part in enumerate(path[:-1]):
        if place.get(part) is None:
            place[part] = {}
        elif isinstance(place[part], str) and path[: depth + 1] in [["data", one] for one in SETS]:
            place[part] = {"source": place[part]}
        place = place[part]
        if not isinstance(place, dict):
            raise ValueError(f"--set {override!r}: {'.'.join(path[: depth + 1])} is {place!r}, which has no keys")
    place[path[-1]] = _parse(text, f"--set {name}")
