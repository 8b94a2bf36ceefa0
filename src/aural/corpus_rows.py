"""A corpus to be annotated: rows with their audio undecoded, whether or not they have a text or a label.

Training's sources (`training/sources.py`) want a target in every row and files that are there. Here a folder of audio
is enough, and a file that is missing is a row like any other, which will say so.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset, load_from_disk

from .processing.audio import ENDINGS
from .training.data import METADATA, read_table, undecoded
from .training.fingerprints import digest, file_marks
from .training.source_files import FORMATS, find_source, read_hub


@dataclass(frozen=True)
class Corpus:
    """Rows in their order.

    Attributes:
        rows: With the column `audio`, undecoded, and the others of the source; `file`, for a folder.
        fingerprint: What changes when rows or files do: from names, sizes and texts, not from the samples.
    """

    rows: Dataset
    fingerprint: str


def open_corpus(
    source: str, split: str | None = None, subset: str | None = None, audio_column: str = "audio"
) -> Corpus:
    """The rows that a name stands for.

    Args:
        source: A folder with a metadata.csv, itself or in one sub-folder per split; a folder of audio files, in
            sub-folders or not; a folder that `save_to_disk` wrote; .parquet or .arrow files by folder, path or
            pattern; or the id of a data set on the Hub.
        split: Of a folder with several, or of a data set on the Hub.
        subset: Configuration of a data set on the Hub.
        audio_column: Column of the audio; in a folder it is made from the files.

    Raises:
        OSError: Nothing is there.
        ValueError: An unknown split or column, no rows, or a file of another kind.
    """
    kind, found = find_source(source)
    if kind != "hub" and subset is not None:
        raise ValueError(f"--subset {subset}: only for a data set on the Hub; {source} is none")
    if kind == "folder":
        kind, found = _in_folder(Path(found[0]))
    if kind == "folder":
        rows, fingerprint = _folder_rows(Path(found[0]), split)
        return _checked(rows, "audio", source, fingerprint)
    if kind == "hub":
        rows = _chosen(read_hub(source, subset, split), split, source)
        return _checked(rows, audio_column, source, str(rows._fingerprint))
    if kind == "saved":
        rows = _chosen(load_from_disk(found[0]), split, source)
        return _checked(rows, audio_column, source, str(rows._fingerprint))
    if split is not None:
        raise ValueError(f"--split {split}: {source} has no splits")
    if kind not in ("parquet", "arrow"):
        raise ValueError(f"{source}: {kind} files; allowed are .parquet and .arrow")
    rows = load_dataset(kind, data_files=found, split="train")
    return _checked(rows, audio_column, source, digest(file_marks(found)))


def _in_folder(folder: Path) -> tuple[str, list[str]]:
    """What a folder is: "saved" by `save_to_disk`, files of one of `FORMATS`, or a "folder" of audio."""
    if (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file():
        return "saved", [str(folder)]
    if not (folder / METADATA).is_file():
        for ending in FORMATS:
            if any(folder.glob(f"*{ending}")):
                return find_source(str(folder / f"*{ending}"))
    return "folder", [str(folder)]


def _folder_rows(folder: Path, split: str | None) -> tuple[Dataset, str]:
    """Rows of a folder with the columns `file`, relative to it, and `audio`, and a fingerprint."""
    tables = sorted(folder.glob(f"*/{METADATA}"))
    if not (folder / METADATA).is_file() and tables:
        splits = [table.parent.name for table in tables]
        if split is None and len(splits) > 1:
            raise ValueError(f"--split is not given; {folder} has {', '.join(splits)}")
        if split is not None and split not in splits:
            raise ValueError(f"--split {split}: {folder} has {', '.join(splits)}")
        folder = folder / (split or splits[0])
    elif split is not None:
        raise ValueError(f"--split {split}: {folder} has no splits")
    if (folder / METADATA).is_file():
        columns = _table(folder / METADATA)
        columns = {
            "file": columns.pop("file_name"),
            **{n: v for n, v in columns.items() if n not in ("file", "audio")},
        }
    else:
        names = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
        columns = {"file": sorted(name.as_posix() for name in names if name.name[0] != ".")}
        if not columns["file"]:
            raise FileNotFoundError(f"{folder} holds neither {METADATA} nor audio files ({' '.join(ENDINGS)})")
    sizes = [_size(folder / name) for name in columns["file"]]
    rows = Dataset.from_dict({**columns, "audio": [str(folder / name) for name in columns["file"]]})
    return rows, digest([columns, sizes])


def _size(path: Path) -> int:
    """Bytes; -1 for a file that is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _table(path: Path) -> dict[str, list[Any]]:
    """The columns of a metadata.csv, as text; `duration` as numbers, None where it is none."""
    names, rows = read_table(path)
    if "file_name" not in names:
        raise ValueError(f"{path} has no column 'file_name'; it has {', '.join(names) or 'none'}")
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in names}
    if "duration" in columns:
        columns["duration"] = [_number(value) for value in columns["duration"]]
    return columns


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _chosen(data: Any, split: str | None, source: str) -> Dataset:
    """The one split of several."""
    if not isinstance(data, dict):
        return data
    name = next(iter(data)) if split is None and len(data) == 1 else split
    if name not in data:
        raise ValueError(f"--split is {split}; {source} has {', '.join(data)}")
    return data[name]


def _checked(rows: Dataset, audio_column: str, source: str, fingerprint: str) -> Corpus:
    """The audio undecoded, in the column `audio`; other columns of media left out."""
    if audio_column not in rows.column_names:
        raise ValueError(f"--audio-column {audio_column}: {source} has the columns {', '.join(rows.column_names)}")
    if not len(rows):
        raise ValueError(f"--dataset {source}: holds no clips")
    others = [name for name, kind in rows.features.items() if hasattr(kind, "decode_example") and name != audio_column]
    taken = ["audio"] if audio_column != "audio" and "audio" in rows.column_names else []
    rows = rows.remove_columns(sorted({*others, *taken}))
    rows = undecoded(rows, audio_column)
    if audio_column != "audio":
        rows = rows.rename_column(audio_column, "audio")
    return Corpus(rows, hashlib.sha256(f"{fingerprint} {audio_column} {len(rows)}".encode()).hexdigest())
