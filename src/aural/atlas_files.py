"""An atlas on disk: a table of every number, and a report of what it was measured on.

    write_table(result, "atlas.csv")
    read_table("atlas.csv")[0].name

The table is CSV with a row per head: `layer,head,name`, then the measures of `atlas.MEASURES` and those by source; a
field is empty where nothing was measured. The report is JSON: counts, seed, scores of the whole model, names, notes,
and each head's measures with their intervals.
"""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .atlas import Atlas, Head
from .processing.events import csv_lines
from .processing.files import write_whole
from .processing.head_names import NAMES

FIRST = ("layer", "head", "name")


def write_table(atlas: Atlas, path: str | Path) -> Path:
    """Write every number as CSV, whole or not at all; returns the path.

    Raises:
        OSError: The file cannot be written.
    """
    rows = [
        {
            **dict(zip(FIRST, (head.layer, head.head, head.name), strict=True)),
            **{name: value if np.isfinite(value) else "" for name, value in head.measures.items()},
        }
        for head in atlas
    ]
    return write_whole(path, csv_lines(rows, list(rows[0])))


def read_table(path: str | Path) -> tuple[Head, ...]:
    """The heads of a table that `write_table` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such table.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ())[: len(FIRST)] != FIRST:
            raise ValueError(f"{path} begins with {reader.fieldnames}; a table of heads with {', '.join(FIRST)}")
        heads = []
        for row in reader:
            measures = {name: float(value or "nan") for name, value in row.items() if name not in FIRST}
            heads.append(Head(row["layer"], int(row["head"]), row["name"], measures))
    return tuple(heads)


def report_of(atlas: Atlas, about: str = "") -> dict[str, Any]:
    """An atlas as plain values, ready for JSON; what was not measured is null.

    Args:
        atlas: The atlas.
        about: What the clips are.
    """
    counts = Counter(head.name for head in atlas)
    layers, heads = atlas.shape
    return {
        "title": "Atlas of heads",
        "about": about,
        "layers": layers,
        "heads_per_layer": heads,
        "clips": atlas.clips,
        "pieces": atlas.pieces,
        "source_clips": atlas.source_clips,
        "sources": list(atlas.sources),
        "tests": atlas.tests,
        "threshold": atlas.threshold,
        "seed": atlas.seed,
        "scores": {name: _plain(value) for name, value in atlas.scores.items()},
        "names": {name: counts[name] for name in NAMES if counts[name]},
        "notes": list(atlas.notes),
        "heads": [
            {
                **dict(zip(FIRST, (head.layer, head.head, head.name), strict=True)),
                **{name: _plain(value) for name, value in head.measures.items()},
            }
            for head in atlas
        ],
    }


def write_json(atlas: Atlas, path: str | Path, about: str = "") -> Path:
    """Write `report_of` as JSON, a line per head, whole or not at all; returns the path.

    Raises:
        OSError: The file cannot be written.
    """
    report = report_of(atlas, about)
    heads = ",\n    ".join(json.dumps(head, ensure_ascii=False) for head in report.pop("heads"))
    text = json.dumps({**report, "heads": []}, indent=2, ensure_ascii=False)
    return write_whole(path, text.removesuffix("[]\n}") + f"[\n    {heads}\n  ]\n}}\n")


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return round(float(value), 6) if np.isfinite(value) else None
