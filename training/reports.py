"""The report of a run: the one file that every number in a card or README comes from.

A report is plain JSON, `report.json`, written whole or not at all, and read by `report_reader.py`:

    format        1; a reader refuses a newer one by name
    title, about  what was trained, and what the results do and do not show
    language, license, base_model
    data          [{name, license, hours, source}]; hours may be null
    recipe        {name: value}; seed
    results       [{dataset, split, about, utterances, wer, wer_interval, …, transcripts: [{spoken, written}]}]
    example       {spoken, written}, the clip of the picture beside the report
    limits        [sentence]
    seconds       {training, total}, null where not measured
    machine       what it ran on, with versions
"""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

from ..processing.files import write_whole

REPORT_FORMAT = 1
REPORT_NAME = "report.json"


def machine_facts(threads: int | None = None) -> dict[str, Any]:
    """Processor, cores, threads, device, peak memory in GB and versions, as they are now.

    Args:
        threads: Threads that the run computed on; default: torch's setting now.
    """
    from importlib.metadata import version

    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if threads is None else threads,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "peak_memory_gb": peak_memory(),
        "versions": {
            "aural": version("aural"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def peak_memory() -> float | None:
    """GB that this process and its largest finished child held at most; None on Windows, which does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1e9 if sys.platform == "darwin" else 1e9 / 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    held = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(held / unit, 2)


def write_report(folder: Path, report: dict[str, Any]) -> Path:
    """Write `report` as `report.json` in `folder`, whole or not at all; returns its path.

    Raises:
        TypeError: The report holds something that JSON cannot.
        OSError: The file cannot be written.
    """
    text = json.dumps({"format": REPORT_FORMAT, **report}, indent=2, ensure_ascii=False) + "\n"
    return write_whole(folder / REPORT_NAME, text)
