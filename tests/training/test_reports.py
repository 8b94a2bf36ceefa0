"""report.json: whole or not at all, readable as it stands, and what it says of the machine."""

import json
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aural.training.reports import machine_facts, peak_memory, write_report


def test_a_report_is_json_that_can_be_read_by_eye(tmp_path):
    path = write_report(tmp_path, {"title": "été"})
    assert "été" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == {"format": 1, "title": "été"}
    assert list(tmp_path.iterdir()) == [tmp_path / "report.json"]


def test_a_report_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    def full(self, target):
        raise OSError("disk full")

    path = write_report(tmp_path, {"seed": 1})
    with pytest.raises(TypeError):
        write_report(tmp_path, {"seed": object()})
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path, {"seed": 2})
    assert json.loads(path.read_text(encoding="utf-8"))["seed"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_the_machine_names_the_threads_of_the_run():
    assert machine_facts(threads=7)["threads"] == 7
    assert machine_facts()["threads"] == torch.get_num_threads()


def test_peak_memory_is_that_of_the_process_and_its_largest_child(monkeypatch):
    held = {resource.RUSAGE_SELF: 976_562, resource.RUSAGE_CHILDREN: 488_281}  # KiB, as Linux tells it: 1 and 0.5 GB
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=held[who]))
    assert peak_memory() == 1.5
