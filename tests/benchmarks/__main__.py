"""Every benchmark of this folder in one table, on one thread:

    OMP_NUM_THREADS=1 python -m tests.benchmarks            # all
    OMP_NUM_THREADS=1 python -m tests.benchmarks features   # bench_features alone
    OMP_NUM_THREADS=1 python -m tests.benchmarks --out model_cards/bench.json   # keep the rows, as README's source

A benchmark is a module `bench_*.py` with `bench() -> Iterable[dict]`, each row with the keys name, ours, theirs, unit,
ratio (above 1: ours is better) and bar (what the ratio must reach; None: only told). Exits with 1 if one falls short.
"""

import argparse
import importlib
import json
import pkgutil
import platform
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import tests.benchmarks
from aural.processing.files import write_whole


def main(chosen: list[str], out: Path | None = None) -> int:
    """Run the chosen benchmarks (none: all), print the table, keep the rows in `out`, return the exit code."""
    torch.set_num_threads(1)  # two busy threads measure each other's waiting
    found = sorted(module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__))
    names = [name for name in found if name.startswith("bench_") and (not chosen or name[len("bench_") :] in chosen)]
    table = Table(title="ours against theirs: medians of one run, one thread")
    for column in ("what", "ours", "theirs", "unit", "ratio", "bar"):
        table.add_column(column, justify="left" if column in ("what", "unit") else "right")
    short, rows = 0, []
    for name in names:
        for row in importlib.import_module(f"tests.benchmarks.{name}").bench():
            rows.append(row)
            good = row["bar"] is None or row["ratio"] >= row["bar"]
            short += not good
            ratio = f"[{'green' if good else 'red'}]{row['ratio']:.2f}x[/]"
            bar = "" if row["bar"] is None else f"{row['bar']:g}x"
            table.add_row(row["name"], f"{row['ours']:,.4g}", f"{row['theirs']:,.4g}", row["unit"], ratio, bar)
    Console().print(table)
    if out is not None:
        machine = {"threads": torch.get_num_threads(), "processor": platform.machine(), "torch": torch.__version__}
        write_whole(out, json.dumps({"rows": rows, "machine": machine}, indent=2) + "\n")
    return 1 if short or not names else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("chosen", nargs="*", help="benchmarks by name; default: all")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    arguments = parser.parse_args()
    sys.exit(main(arguments.chosen, arguments.out))
