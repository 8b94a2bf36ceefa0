"""The package's own sources as one flat set of files, so that a Hub folder loads without aural.

transformers loads code from a Hub folder only when it is flat and its files import each other as `from .file import
Name`. The files written here are the package's sources, byte for byte but for the module in their relative imports:
`from ..configuration.las import LasConfig` becomes `from .configuration_las import LasConfig`. The same sources give
the same bytes, and nothing outside the package is included.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from transformers import PreTrainedConfig

from .processing.files import write_whole

# Where the field has a customary name for a file, it is used; all others are FOLDER_FILE.py.
CUSTOMARY = {"processing.features": "feature_extraction_log_mel", "processing.processor": "processing_aural"}
PACKAGE = __package__ or "aural"


def flat_name(module: str) -> str:
    """Name of the flat module for `module`: `"aural.modeling.las"` → `"modeling_las"`."""
    inside = module.removeprefix(f"{PACKAGE}.")
    return CUSTOMARY.get(inside, inside.replace(".", "_"))


def bundle(classes: Iterable[type]) -> dict[str, str]:
    """File names and texts of the flat code that defines `classes`.

    Args:
        classes: Classes of aural; what their modules import of aural comes along.

    Raises:
        ValueError: A class, or something it imports, is not in a module of aural that can travel.
    """
    waiting, files = sorted({c.__module__ for c in classes}), {}
    while waiting:
        module = waiting.pop()
        name = f"{flat_name(module)}.py"
        if name in files:
            continue
        files[name], needed = _flatten(module)
        waiting += needed
    return dict(sorted(files.items()))


@cache
def _flatten(module: str) -> tuple[str, tuple[str, ...]]:
    """The source of `module` with flat imports, and the modules of aural that it imports."""
    if not module.startswith(f"{PACKAGE}."):
        raise ValueError(f"{module} is not part of {PACKAGE}: only {PACKAGE}'s own code travels")
    source = _source(module)
    lines = source.splitlines(keepends=True)
    needed = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        parts = module.split(".")[: -node.level]
        target = ".".join([*parts, node.module or ""])
        if not node.module or _is_package(target):
            raise ValueError(f"{module}, line {node.lineno}: import from the file, not from the package {target}")
        written = re.compile(rf"from \.{{{node.level}}}{re.escape(node.module)} import")
        lines[node.lineno - 1], count = written.subn(f"from .{flat_name(target)} import", lines[node.lineno - 1])
        if count != 1:
            raise ValueError(f"{module}, line {node.lineno}: expected `from …{node.module} import` on one line")
        needed.append(target)
    return "".join(lines), tuple(needed)


def _source(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"{module} has no source file")
    return Path(spec.origin).read_text(encoding="utf-8")


def _is_package(module: str) -> bool:
    spec = find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None


class Bundler:
    """Writes the code beside what is saved (`configuration.travel.CodeWriter`).

    Args:
        models: Per config class, its model classes by the Auto class that loads them.
        others: Feature extractors and processors by the Auto class that loads them.
        tokenizers: Those that have code of their own.
    """

    def __init__(
        self,
        models: dict[type[PreTrainedConfig], dict[str, type]],
        others: dict[str, type],
        tokenizers: Iterable[type] = (),
    ) -> None:
        self.models = models
        self.others = others
        self.tokenizers = list(tokenizers)

    def _saved_with(self, travels: type) -> dict[str, type]:
        """What a folder in which a `travels` was saved must be able to load, by Auto class."""
        if travels in self.models:
            return {"AutoConfig": travels, **self.models[travels]}
        if travels in self.tokenizers:
            return {"AutoTokenizer": travels}
        # A processor's folder is also asked for its parts; a tokenizer with code writes that itself.
        if travels is self.others.get("AutoProcessor"):
            return self.others
        return {name: other for name, other in self.others.items() if other is travels}

    def auto_map(self, travels: type) -> dict[str, str]:
        """Auto class → `file.Class`; empty for a class that aural does not know, such as a user's subclass."""
        return {
            name: f"{flat_name(each.__module__)}.{each.__name__}" for name, each in self._saved_with(travels).items()
        }

    def write(self, travels: type, folder: Path) -> None:
        """Write the flat code into `folder`, each file whole or not at all."""
        for name, text in bundle(self._saved_with(travels).values()).items():
            write_whole(folder / name, text)


__all__ = ["Bundler", "bundle", "flat_name"]
