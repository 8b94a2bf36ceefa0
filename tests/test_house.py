"""The house: packages, public names, imports, and the tree's own rules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aural

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "configuration": "aural.configuration",
    "modeling": "aural.modeling",
    "processing": "aural.processing",
    "training": "aural.training",
    "model_cards": "aural.model_cards",
    "src/aural": "aural",
}
TRAVELLING = {"numpy", "torch", "transformers", "tokenizers", "huggingface_hub"} | set(sys.stdlib_module_names)
ROOMS_THAT_TRAVEL = [
    *sorted((ROOT / "configuration").glob("*.py")),
    *sorted((ROOT / "modeling").glob("*.py")),
    *(
        ROOT / "processing" / f"{name}.py"
        for name in ("features", "log_mel", "tokenizers", "tokenizer_units", "ctc_tokenizer", "processor")
    ),
]


def test_packages_in_pyproject_are_those_of_the_tree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {"aural.clips"}  # recordings only
    for folder, name in FOLDERS.items():
        for path in (ROOT / folder).rglob("__init__.py"):
            below = path.parent.relative_to(ROOT / folder).parts
            found.add(".".join([name, *below]))
    assert set(project["tool"]["setuptools"]["packages"]) == found
    assert project["project"]["version"] == aural.__version__


def test_every_public_name_exists():
    for name in aural.__all__:
        assert getattr(aural, name) is not None


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Top-level imports as (relative level, module)."""
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append((node.level, node.module or ""))
    return names


@pytest.mark.parametrize("path", ROOMS_THAT_TRAVEL, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_that_travel_import_only_what_a_remote_machine_has(path):
    for level, module in imports_of(path):
        assert level or module.split(".")[0] in TRAVELLING, module


ALLOWED = {
    "configuration": set(),
    "modeling": {"configuration"},
    "processing": {"configuration"},
    "training": {"configuration", "modeling", "processing"},
    "model_cards": set(),
}


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_room_imports_only_the_rooms_below_it(folder):
    for path in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):  # imports inside functions too
            if isinstance(node, ast.ImportFrom) and node.level > 1:
                assert node.level == 2, f"{path}:{node.lineno} leaves the package"
                assert (node.module or "").split(".")[0] in ALLOWED[folder], f"{path}:{node.lineno}"
            elif isinstance(node, ast.ImportFrom | ast.Import):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                relative = isinstance(node, ast.ImportFrom) and node.level
                assert relative or not any(n.split(".")[0] == "aural" for n in names), f"{path}: imports are relative"


def test_importing_aural_pulls_in_nothing_of_weight():
    code = (
        "import sys, aural, aural.app, aural.cli; "
        "print([m for m in ('torchaudio', 'torchcodec', 'matplotlib', 'gradio', 'phonemizer') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def test_type_information_is_shipped():
    assert (Path(aural.__file__).parent / "py.typed").is_file()
