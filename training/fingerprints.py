"""Marks by which data are known again: cheap, the same wherever the data lie, another when they change."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
from datasets import Dataset

SAMPLE = 256  # bytes from the middle of each clip: tell clips of equal length apart
BLOCKS, BLOCK = 256, 4_096  # bytes of a file of many clips that are looked at: evenly spread, 1 MiB, or all
BATCH = 1_000  # rows


def digest(values: Iterable[Any]) -> str:
    """sha256 of plain values, in their order: numbers, texts, lists and mappings of them, None."""
    text = json.dumps(list(values), sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def file_marks(files: Sequence[str]) -> list[Any]:
    """Of each file that holds many clips its name without folders, its size, and what stands at places all over it."""
    return [_shard_mark(Path(file)) for file in files]


def _shard_mark(path: Path) -> list[Any]:
    size, content = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        for index in range(BLOCKS):
            file.seek(max(index * BLOCK, index * size // BLOCKS))
            content.update(file.read(BLOCK))
    return [path.name, size, content.hexdigest()]


def row_marks(rows: Dataset) -> list[str]:
    """Of each row's audio its name without folders, its size in bytes, and what its middle holds.

    A file that is not there has size -1.

    Args:
        rows: with the column `audio`: paths, bytes, or `{"bytes", "path"}`; arrays are marked by all that they hold.
    """
    tables = rows.select_columns(["audio"]).with_format("arrow").iter(BATCH)
    return [digest(_mark(audio)) for table in tables for audio in table.column("audio")]


def _mark(audio: Any) -> list[Any]:
    """The mark of one Arrow value; its bytes are not copied."""
    if isinstance(audio, pa.StructScalar) and "bytes" in audio:
        path = audio["path"].as_py() if "path" in audio else None
        if not audio["bytes"].is_valid:
            return _file_mark(path)
        return [PurePath(path or "").name, *_content_mark(audio["bytes"])]
    if isinstance(audio, (pa.BinaryScalar, pa.LargeBinaryScalar)) and not isinstance(
        audio, (pa.StringScalar, pa.LargeStringScalar)
    ):
        return ["", *_content_mark(audio)]
    value = audio.as_py()
    return _file_mark(value) if isinstance(value, str) else [str(value)]


def _content_mark(content: Any) -> list[Any]:
    view = memoryview(content.as_buffer())
    middle = max(0, len(view) - SAMPLE) // 2
    return [len(view), hashlib.sha256(view[middle : middle + SAMPLE]).hexdigest()]


def _file_mark(path: str | None) -> list[Any]:
    try:
        with Path(path or "").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - SAMPLE) // 2)
            return [PurePath(path or "").name, size, hashlib.sha256(file.read(SAMPLE)).hexdigest()]
    except OSError:
        return [PurePath(path or "").name, -1, ""]
