"""What a source's name stands for, and its rows: folders, parquet, arrow and tar files, data sets of the Hub.

A name is looked at in this order: what exists here; a pattern (`*`, `?`, `{000..009}`) or a file ending; an id
`namespace/name` of the Hub. `datasets` never decodes audio, also where it would want torchcodec merely to list or to
rename: `Audio` columns are taken as `{"bytes", "path"}`, and tars are listed as a stream that is then written down.
"""

import glob
import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, IterableDataset, load_dataset

from .data import METADATA, UNDECODED, load_rows, load_speech, read_table, undecoded
from .fingerprints import file_marks, row_marks
from .references import gather_references, is_pattern, matching_columns
from .sound_data import load_sounds
from .unlabelled_data import load_unlabelled

FORMATS = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}  # file endings, and builders of `datasets`
AUDIO_FIELDS = ("wav", "flac", "mp3", "ogg", "opus")  # names of WebDataset's cells, which are file endings
TARGET_FIELDS = {"text": ("text", "txt", "transcript"), "label": ("label", "cls")}
STREAM_SHARDS = 64  # at most, of a folder that is streamed: as many processes times workers can share it
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_ALLOWED = (
    "a folder with metadata.csv; a path or pattern of .parquet, .arrow or .tar files, such as 'data/*.parquet' or "
    "'shards/{000..009}.tar'; or the id of a data set on the Hub, such as 'openslr/librispeech_asr'"
)


def find_source(source: str) -> tuple[str, list[str]]:
    """What `source` names.

    Returns:
        Its kind ("folder", "parquet", "arrow", "webdataset" or "hub"), and the folder, the files in the order of
        their names, or the id.

    Raises:
        FileNotFoundError: a path or pattern that nothing matches.
        ValueError: files of another kind or of several, or a name that is none of what is allowed; all is named.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return "folder", [str(path)]
    pattern = str(path)
    if path.is_file() or glob.has_magic(pattern) or _BRACES.search(pattern) or path.suffix in FORMATS:
        return _find_files(source, pattern)
    if _HUB_ID.fullmatch(source):
        return "hub", [source]
    if path.is_absolute() or source.startswith((".", "~")) or source.count(os.sep) > 1:
        raise FileNotFoundError(f"source is {source!r}, and nothing is there; allowed: {_ALLOWED}")
    raise ValueError(f"source is {source!r}; allowed: {_ALLOWED}")


def _find_files(source: str, pattern: str) -> tuple[str, list[str]]:
    found: list[str] = []
    for one in expand_braces(pattern):
        matches = [one] if os.path.isfile(one) else sorted(filter(os.path.isfile, glob.glob(one, recursive=True)))
        if not matches:
            raise FileNotFoundError(f"source is {source!r}, and no file matches {one}")
        found.extend(matches)
    kinds = {Path(file).suffix for file in found}
    if len(kinds) > 1 or not kinds <= FORMATS.keys():
        endings = ", ".join(kind or "none" for kind in sorted(kinds))
        raise ValueError(f"source is {source!r}, files with the endings {endings}; allowed: {_ALLOWED}")
    return FORMATS[kinds.pop()], found


def expand_braces(pattern: str) -> list[str]:
    """Every name that the braces of a pattern stand for, as in a shell: "{08..10}" is 08, 09, 10; "{a,b}" is a, b."""
    parts = _BRACES.split(pattern)  # text, what is in braces, text, …
    choices = [_alternatives(part) if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(choice) for choice in product(*choices)]


def _alternatives(inside: str) -> list[str]:
    if match := _RANGE.fullmatch(inside):
        first, last = match.groups()
        step = 1 if int(first) <= int(last) else -1
        return [str(number).zfill(len(first)) for number in range(int(first), int(last) + step, step)]
    return inside.split(",")


def read_source(source: Any, target: str, streaming: bool) -> tuple[Dataset | IterableDataset, list[Any]]:
    """The rows of one `Source` with the columns `audio` (undecoded) and `target`, and of a stream its data's marks.

    Args:
        source: a `Source`.
        target: "text", "label" or "audio".
        streaming: whether an `IterableDataset` is wanted.

    Returns:
        The rows, and plain values that change when a stream's data do; none for a `Dataset`, whose rows have marks.

    Raises:
        OSError: files that are not there or cannot be read, or a Hub that does not have the data or is out of reach.
        ValueError: an unknown kind, split or column; `split`, `subset` or `revision` where there is no such thing.
    """
    kind, found = find_source(source.source)
    for name in ("subset", "revision") + (("split",) if kind not in ("hub", "folder") else ()):
        if kind != "hub" and getattr(source, name) is not None:
            raise ValueError(
                f"{name} is {getattr(source, name)!r}; {source.source} is no data set of the Hub: it has none"
            )
    if kind == "folder":
        return _read_folder(found[0], source, target, streaming)
    if kind == "hub":
        raw = _one_split(read_hub(source.source, source.subset, source.split, source.revision, streaming), source)
    elif kind == "webdataset":
        raw = _tar_stream(found) if streaming else _tar_rows(found)
    else:
        raw = load_dataset(kind, data_files=found, split="train", streaming=streaming)
    if isinstance(raw, IterableDataset):
        raw = _flattened(raw)
    audio = _column(raw, source.audio_column, "audio", AUDIO_FIELDS)
    if target == "audio":
        wanted = audio
    elif is_pattern(source.target_column):
        raw, wanted = gather_references(raw, source.target_column, target), target
    else:
        wanted = _column(raw, source.target_column or target, target, TARGET_FIELDS[target])
    rows = load_rows(raw, None, audio, wanted, target)
    if not streaming:
        return rows, []
    return rows, _told(rows, source) if kind == "hub" else file_marks(found)


def _told(stream: IterableDataset, source: Any) -> list[Any]:
    """What a data set of the Hub tells of itself without being read."""
    splits = {name: split.num_examples for name, split in (stream.info.splits or {}).items()}
    named = [source.source, source.subset, source.split, source.revision]
    return [*named, str(stream.features), stream.info.dataset_size, splits, str(stream.info.version)]


def _one_split(raw: Any, source: Any) -> Dataset | IterableDataset:
    """The one split of a dict of splits, where no split was asked for."""
    if not isinstance(raw, dict):
        return raw
    if len(raw) != 1:
        raise ValueError(f"split is None; {source.source} has {', '.join(raw)}")
    return next(iter(raw.values()))


def _read_folder(
    folder: str, source: Any, target: str, streaming: bool
) -> tuple[Dataset | IterableDataset, list[Any]]:
    read = load_speech if target == "text" else load_sounds
    if target == "audio":
        rows = undecoded(load_unlabelled(folder, source.split), "audio")
    elif is_pattern(source.target_column):
        first, *others = matching_columns(_folder_columns(folder, source.split), source.target_column)
        rows = read(folder, source.split, **{f"{target}_column": first})
        rows = gather_references(rows, [target, *others], target)
    else:
        rows = read(folder, source.split, **{f"{target}_column": source.target_column or target})
    if not streaming:
        return rows, []
    stream = rows.to_iterable_dataset(num_shards=min(STREAM_SHARDS, len(rows)))
    told = [] if target == "audio" else rows[target]
    return stream.cast_column("audio", UNDECODED), [*row_marks(rows), *told]


def _folder_columns(folder: str, split: str | None) -> list[str]:
    """The columns of a folder's metadata.csv; none where it is not where it should be, which reading it tells."""
    places = [Path(folder, METADATA), Path(folder, split or "", METADATA), *sorted(Path(folder).glob(f"*/{METADATA}"))]
    found = next((table for table in places if table.is_file()), None)
    return [] if found is None else read_table(found)[0]


def read_hub(
    name: str,
    subset: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
) -> Any:
    """A data set of the Hub, or a dict of its splits.

    Args:
        name, subset, split, revision: as for `Source`.
        streaming: read as it is asked for.

    Raises:
        OSError: it is not there, or the Hub is out of reach.
    """
    try:
        return load_dataset(name, name=subset, split=split, revision=revision, streaming=streaming)
    except OSError as error:  # not found, or no way there
        raise OSError(f"source is {name!r}: no such folder here, and from the Hub: {error}") from error


def _tar_stream(files: list[str]) -> IterableDataset:
    stream = load_dataset("webdataset", data_files=files, split="train", streaming=True)
    for name in stream.features:
        if name in AUDIO_FIELDS:
            stream = stream.cast_column(name, UNDECODED)
    return stream


def _tar_rows(files: list[str]) -> Dataset:
    """Tars as a Dataset, written into the cache of `datasets`, which knows by size and time whether it is there."""
    stamps = [[(stat := os.stat(file)).st_size, stat.st_mtime_ns] for file in files]
    stream = _flattened(_tar_stream(files))
    known = {"files": files, "stamps": stamps}
    return Dataset.from_generator(_tar_examples, features=stream.features, gen_kwargs=known)


def _tar_examples(files: list[str], stamps: list[list[int]]) -> Iterator[dict[str, Any]]:
    yield from _flattened(_tar_stream(files))


def _flattened(stream: IterableDataset) -> IterableDataset:
    """A stream whose cell `json` is spread over columns of their own."""
    features = dict(stream.features or {})
    inner = features.pop("json", None)
    if not isinstance(inner, dict):
        return stream
    added = {name: feature for name, feature in inner.items() if name not in features}
    for name, feature in features.items():  # mapping would encode an Audio column, and want torchcodec
        if hasattr(feature, "decode_example"):
            stream = stream.cast_column(name, UNDECODED)
            features[name] = UNDECODED
    options = {"remove_columns": ["json"], "features": Features({**features, **added})}
    return stream.map(_spread, fn_kwargs={"names": list(added)}, **options)


def _spread(row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    inner = row["json"] or {}
    return {name: inner.get(name) for name in names}


def _column(rows: Dataset | IterableDataset, asked: str, default: str, others: tuple[str, ...]) -> str:
    """The column asked for; where that is the default and is not there, the first of the others that is."""
    columns = rows.column_names or ()
    if asked in columns or asked != default:
        return asked
    return next((name for name in others if name in columns), asked)
