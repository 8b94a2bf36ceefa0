"""The folder that inference over a corpus fills: parquet shards that are whole or not there, and what they are of.

    OUT/run.json                        the model, the corpus and the options, written once
    OUT/part-00003-of-00012.parquet     rows 3,000 to 3,999 of the corpus
    OUT/summary.json                    what is in all of them, once they are there

What is in a shard follows from its number alone, and shard k is the work of process k % processes. So a run that was
stopped goes on with another number of processes, and several give, file by file, what one gives.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from .processing.files import write_whole
from .training.world import World

SHARD_ROWS = 1000
TYPES = {  # of the columns that annotators add, and of the place in the corpus
    "row": pa.int64(),
    "file": pa.string(),
    "predicted_text": pa.string(),
    "predicted_labels": pa.list_(pa.string()),
    "predicted_scores": pa.list_(pa.float32()),
    "duration": pa.float64(),
    "error": pa.string(),
}
MANIFEST, SUMMARY = "run.json", "summary.json"
TOLD = ("aural", "model", "source")  # in the manifest for who reads it: the fingerprints are what counts


@dataclass(frozen=True)
class Shards:
    """The shards of a corpus in a folder.

    Attributes:
        folder: Where they are.
        rows: Of the corpus.
        shard_rows: Of each shard but the last.
    """

    folder: Path
    rows: int
    shard_rows: int = SHARD_ROWS

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise ValueError(f"shard_rows={self.shard_rows} must be at least 1")

    def __len__(self) -> int:
        return -(-self.rows // self.shard_rows)

    def path(self, shard: int) -> Path:
        """The file of a shard, 0 to the number of shards less 1."""
        return self.folder / f"part-{shard:05d}-of-{len(self):05d}.parquet"

    def span(self, shard: int) -> range:
        """Its rows in the corpus."""
        return range(shard * self.shard_rows, min(self.rows, (shard + 1) * self.shard_rows))

    def missing(self, world: World | None = None) -> list[int]:
        """The shards that are not there whole, of all or of this process's."""
        world = world or World()
        return [shard for shard in range(world.rank, len(self), world.size) if not self.is_whole(shard)]

    def is_whole(self, shard: int) -> bool:
        """Whether the shard is there, with a footer that counts the rows that it must have."""
        try:
            return pq.read_metadata(self.path(shard)).num_rows == len(self.span(shard))
        except (OSError, pa.ArrowException):
            return False

    def write(self, shard: int, table: pa.Table) -> None:
        """Write a shard beside its place and rename it.

        Two runs may write one shard at a time, unknown to each other, so that each writes a file of its own.

        Raises:
            OSError: It cannot be written.
        """
        path = self.path(shard)
        part = path.with_name(f".{path.name}.{os.uname().nodename}-{os.getpid()}.part")
        try:
            pq.write_table(table, part)
            part.replace(path)
        except FileNotFoundError:
            if not self.is_whole(shard):  # else the other run was first, and has cleared away
                raise
        finally:
            part.unlink(missing_ok=True)
        for left in self.folder.glob(f".{path.name}.*.part"):  # by a process that was killed
            left.unlink(missing_ok=True)

    def columns(self, shard: int, names: list[str]) -> dict[str, list[Any]]:
        """Columns of a shard that is whole, of those `names` that it has."""
        there = [name for name in names if name in pq.read_schema(self.path(shard)).names]
        return pq.read_table(self.path(shard), columns=there).to_pydict()

    def features(self) -> Features:
        """The columns and their types, as `datasets` reads them."""
        return Features.from_arrow_schema(pq.read_schema(self.path(0)))


def with_columns(kept: pa.Table, features: Features, added: Mapping[str, list[Any]]) -> pa.Table:
    """The columns added, then those kept of the corpus under other names, in a table that `datasets` reads as it was.

    Args:
        kept: Of the corpus.
        features: Of `kept`.
        added: Columns named in `TYPES`.
    """
    columns = {name: pa.array(values, TYPES[name]) for name, values in added.items()}
    others = [name for name in kept.column_names if name not in columns]
    known = Features.from_arrow_schema(pa.schema([(name, TYPES[name]) for name in columns]))
    schema = Features({**known, **{name: features[name] for name in others}}).arrow_schema
    return pa.Table.from_arrays([*columns.values(), *(kept[name] for name in others)], schema=schema)


def open_folder(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make the folder and say in it what it is for, or see that it is for this.

    Raises:
        OSError: It is a file, cannot be written, or holds something else.
        ValueError: It holds the rows of another run; what differs is named.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--out {folder}: is a file; a folder is needed")
    path = folder / MANIFEST
    if not path.exists():
        others = sorted(one.name for one in folder.iterdir() if one.name[0] != ".") if folder.is_dir() else []
        if others and not path.exists():  # another process may have begun meanwhile
            raise FileExistsError(
                f"--out {folder}: holds {', '.join(others[:3])} but no {MANIFEST}; give a new folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        _write_once(path, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error}); give a new folder") from error
    different = [name for name in manifest if name not in TOLD and there.get(name) != manifest[name]]
    if different:
        told = "; ".join(f"{_told(name)} {_shown(there, name)}, not {_shown(manifest, name)}" for name in different)
        raise ValueError(f"--out {folder}: holds the rows of another run: {told}; give a new folder")


def _told(name: str) -> str:
    return f"{name.removesuffix('_fingerprint')} is" if name.endswith("_fingerprint") else f"{name} is"


def _shown(manifest: Mapping[str, Any], name: str) -> str:
    if not name.endswith("_fingerprint"):
        return repr(manifest.get(name))
    return f"{manifest.get(name.removesuffix('_fingerprint'))!r} with fingerprint {str(manifest.get(name))[:8]}"


def _write_once(path: Path, text: str) -> None:
    """Write a file whole unless it is there; the processes of one run write the same, and the first counts."""
    part = path.with_name(f"{path.name}.{os.uname().nodename}-{os.getpid()}")
    part = write_whole(part.with_name(f".{part.name}"), text)
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
