"""Data by name: recipes' sources, opened, filtered, written in one way and put together.

rows = open_sources([Source("fillets-nl", split="train")], "text", max_seconds=15, normalization="letters")
rows.dropped  # {"longer than 15 s": 3}
train = SpeechDataset(rows.dataset, processor)

shares = [Source("prompts-en", "train", weight=3), Source("synthetic/*.parquet", weight=1)]
rows = open_sources(shares, "text")  # rows.weights: three draws of four are prompts
rows = open_sources(shares, "text", streaming=True)  # rows.dataset is an IterableDataset, this process's part of it
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Audio, Dataset, Features, IterableDataset, Value, concatenate_datasets, interleave_datasets
from datasets.distributed import split_dataset_by_node

from .fingerprints import digest, row_marks
from .normalization import check_normalization
from .row_rules import RowRules, seconds_of
from .row_targets import TargetForm, common_form
from .source_files import read_source
from .world import World

TARGETS = ("text", "label", "audio")  # audio: sound that nobody labelled
SHUFFLE_BUFFER = 500  # rows of a stream that wait to be drawn: encoded clips, 100 MB or so of speech
NUMBERS = [Value(kind) for kind in ("float64", "float32", "int64", "int32")]  # types of `duration`, in seconds
UNTOLD = 0.0  # the duration of a clip whose header is damaged: it is told when it is to be heard


@dataclass(frozen=True)
class Source:
    """One entry of a recipe's `data.train`, `data.eval` or `data.test`.

    Args:
        source: a folder with metadata.csv (an audiofolder); a path or pattern of .parquet or .arrow files, or of
            WebDataset's .tar files (`*`, `?`, `{000..009}`); or the id of a data set on the Hub.
        split: which one, of a Hub data set or a folder with several.
        subset: a Hub data set's configuration.
        revision: a Hub data set's commit, tag or branch.
        weight: share of the clips that are drawn, beside the other sources': all sources have one, or none. Without,
            each clip comes once an epoch.
        audio_column: of the audio; in a tar the first of wav, flac, mp3, ogg, opus that there is.
        target_column: of the text or label, by default "text" or "label"; in a tar also txt or cls, or a key of json.
            With `*`, such as "caption_*", several columns that hold a caption each (`references.py`).
        where: values to keep, by column, such as `{"fold": [1, 2, 3, 4]}`.
    """

    source: str
    split: str | None = None
    subset: str | None = None
    revision: str | None = None
    weight: float | None = None
    audio_column: str = "audio"
    target_column: str | None = None
    where: dict[str, list] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """What sources hold.

    Attributes:
        dataset: a `Dataset` with the columns `audio` (undecoded), the target, `duration` (seconds; 0 where the header
            is damaged), and whatever other columns all sources have in common; or an `IterableDataset` with `audio`,
            the target, and `duration` where all have it.
        weights: how often to draw each row of a Dataset, float64 `(rows,)`; None: each once an epoch.
        dropped: rows left out, by reason. Of a stream: by this process so far, once more in each epoch.
        fingerprint: sha256 of the data: names, sizes and samples of the audio, targets, order and weights; of a stream
            its files or its id, and the settings. The same data elsewhere on the disk has the same.
        seconds: of all clips in sum; None for a stream.
    """

    dataset: Dataset | IterableDataset
    weights: np.ndarray | None
    dropped: Mapping[str, int]
    fingerprint: str
    seconds: float | None


def open_sources(
    sources: Source | Sequence[Source],
    target: str,
    *,
    streaming: bool = False,
    min_seconds: float | None = None,
    max_seconds: float | None = None,
    normalization: str | None = None,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    shuffle_buffer: int = SHUFFLE_BUFFER,
) -> Rows:
    """Open sources by name and put them together.

    Rows are left out, and counted by reason, that `where` does not name, that are too short or too long, that have no
    target, or whose text is empty or has no spelling by the normalization. Lengths are those of the column `duration`,
    else of the headers; a clip whose header is damaged stays, with 0 s, until it is to be heard. Labels of several
    sources are matched by name. Texts and labels are one column of one type afterwards.

    A stream is shuffled by a buffer in an order that follows from (seed, epoch), and split: each process sees its own
    rows, together they see each row once an epoch. Streams with weights are drawn until each source has been seen
    whole, the shorter ones more than once.

    Args:
        sources: one or more.
        target: "text", "label" or "audio", of which nothing but the sound is used; a folder then needs no table.
        streaming: read as the rows are asked for, in place of listing and indexing all first.
        min_seconds, max_seconds: shortest and longest clip, both kept.
        normalization: of texts, a name of `NORMALIZATIONS`; None is "none".
        seed: of a stream's order.
        rank, world_size: of this process, for a stream; by default as torch.distributed or torchrun has them.
        shuffle_buffer: rows of a stream to shuffle among; 0 leaves the order as it is, for evaluation.

    Raises:
        OSError: a source is not there or cannot be read.
        ValueError: a source that is none of what is allowed, an unknown split or column, weights of some sources only
            or not above 0, a wrong limit or name, or no row left; the message names it and what is allowed.
    """
    sources = [sources] if isinstance(sources, Source) else list(sources)
    weights = _checked_weights(sources, target)
    normalization = check_normalization(normalization)
    opened = [_open(source, target, streaming, normalization, min_seconds, max_seconds) for source in sources]
    if streaming:
        parts = _in_one_form([part.rows for part in opened], target, normalization)
        world = _place(rank, world_size)
        dataset = _joined_streams(parts, weights, seed, shuffle_buffer)
        dataset = split_dataset_by_node(dataset, rank=world.rank, world_size=world.size)
        settings = [target, normalization, min_seconds, max_seconds, seed, shuffle_buffer, weights]
        mark = digest([settings, *(part.marks for part in opened)])
        return Rows(dataset, None, _Sums([part.rules.dropped for part in opened]), mark, None)
    dropped = _Sums([part.rules.dropped for part in opened])
    for source, part in zip(sources, opened, strict=True):
        if not len(part.rows):
            raise ValueError(f"{source.source} has no row left; dropped: {dict(part.rules.dropped)}")
    parts = _in_one_form([part.rows for part in opened], target, normalization)
    dataset = concatenate_datasets(parts)
    shares = None
    if weights is not None:
        shares = np.concatenate([np.full(len(part), w / len(part)) for part, w in zip(parts, weights, strict=True)])
    targets = [] if target == "audio" else [digest([value]) for value in dataset[target]]
    mark = digest([target, weights, targets, *(part.marks for part in opened)])
    return Rows(dataset, shares, dict(dropped), mark, float(sum(dataset["duration"])))


@dataclass(frozen=True)
class _Opened:
    """One source's rows that are used, the rules that chose them, and what its fingerprint is made of."""

    rows: Any
    rules: RowRules
    marks: list[Any]


def _open(
    source: Source,
    target: str,
    streaming: bool,
    normalization: str,
    min_seconds: float | None,
    max_seconds: float | None,
) -> _Opened:
    rows, marks = read_source(source, target, streaming)
    renamed = {source.target_column: target, source.audio_column: "audio"}
    where = {renamed.get(column, column): values for column, values in source.where.items()}
    try:
        rules = RowRules(where, target, normalization, min_seconds, max_seconds, rows.features)
    except ValueError as error:
        raise ValueError(f"{source.source}: {error}") from error
    if not streaming:
        marks = row_marks(rows)
        kept, rows = _chosen(rows, rules)
        return _Opened(rows.select(kept), rules, [marks[index] for index in kept])
    settings = [source.target_column, source.audio_column, where]
    return _Opened(rows.filter(rules), rules, [settings, *marks])


def _chosen(rows: Dataset, rules: RowRules) -> tuple[list[int], Dataset]:
    """Indices of the rows that are used, and the rows with their lengths in the column `duration`."""
    if "duration" in rows.column_names and rows.features["duration"] not in NUMBERS:
        rows = rows.remove_columns("duration")  # "0:03", say
    told = "duration" in rows.column_names
    looked_at = [name for name in rows.column_names if name in (*rules.where, rules.target, "duration")]
    measured = _measured(rows) if not told and rows.cache_files else None
    kept, durations = [], [UNTOLD] * len(rows)
    for index, row in enumerate(rows.select_columns(looked_at)):
        if not rules.counted(rules.fault(row)):
            continue
        if measured is not None:
            seconds = measured[index]
        else:
            seconds = seconds_of(row if row.get("duration") is not None else {"audio": rows[index]["audio"]})
        if not rules.counted(rules.wrong_length(seconds)):
            continue
        durations[index] = UNTOLD if seconds is None else seconds
        kept.append(index)
    return kept, (rows.remove_columns("duration") if told else rows).add_column("duration", durations)


def _measured(rows: Dataset) -> list[float | None]:
    """Seconds of every row of files; kept in the cache of `datasets`, since all that they hold is read for it."""
    options = {"remove_columns": ["audio"], "features": Features({"duration": Value("float64")})}
    return rows.select_columns(["audio"]).map(_length, desc="lengths", **options)["duration"][:]


def _length(row: Mapping[str, Any]) -> dict[str, float | None]:
    return {"duration": seconds_of(row)}


def _in_one_form(parts: list[Any], target: str, normalization: str) -> list[Any]:
    """Sources with the same columns of the same types, texts normalised and labels matched by name."""
    form = common_form(parts, target, normalization)
    return [_in_form(part, form) for part in _with_common_columns([form.applied(part) for part in parts], target)]


def _with_common_columns(parts: list[Any], target: str) -> list[Any]:
    """Rows with the columns that all have, of the same type; a stream's are `audio`, the target and `duration`."""
    needed = list(dict.fromkeys(["audio", target]))
    offered = ["duration"] if isinstance(parts[0], IterableDataset) else list(parts[0].column_names)
    for name in offered:
        kinds = [(part.features or {}).get(name) for part in parts]
        same = kinds[0] is not None and all(kind == kinds[0] for kind in kinds)
        if name not in needed and (same or (name == "duration" and all(kind in NUMBERS for kind in kinds))):
            needed.append(name)
    return [part.select_columns(needed) for part in parts]


def _in_form(part: Any, form: TargetForm) -> Any:
    """Durations as float64, and audio of a Dataset as `Audio(decode=False)`, where there is more than one source."""
    features = part.features or {}
    if not form.several:
        return part
    if "duration" in features and features["duration"] != Value("float64"):
        part = part.cast_column("duration", Value("float64"))
    if isinstance(part, Dataset) and not isinstance(features["audio"], Audio):
        part = part.cast_column("audio", Audio(decode=False))
    return part


def _joined_streams(parts: list[Any], weights: list[float] | None, seed: int, buffer: int) -> IterableDataset:
    if weights is not None and len(parts) > 1:
        shares = (np.array(weights) / sum(weights)).tolist()
        joined = interleave_datasets(parts, probabilities=shares, seed=seed, stopping_strategy="all_exhausted")
    else:
        joined = concatenate_datasets(parts)
    return joined.shuffle(seed=seed, buffer_size=buffer) if buffer else joined


def _checked_weights(sources: list[Source], target: str) -> list[float] | None:
    if target not in TARGETS:
        raise ValueError(f"target is {target!r}; allowed: {', '.join(TARGETS)}")
    if not sources:
        raise ValueError("sources is empty; give at least one")
    weights = [source.weight for source in sources if source.weight is not None]
    if not weights:
        return None
    if len(weights) < len(sources):
        bare = next(source.source for source in sources if source.weight is None)
        raise ValueError(f"{bare} has no weight while others have; give one to every source, or to none")
    for source in sources:
        if not 0 < (source.weight or 0) < float("inf"):
            raise ValueError(f"{source.source}: weight is {source.weight}; it must be above 0")
    return weights


def _place(rank: int | None, world_size: int | None) -> World:
    """This process among those that train together, as far as it is not told."""
    if rank is None or world_size is None:
        here = World.current()
        rank, world_size = here.rank if rank is None else rank, here.size if world_size is None else world_size
    if not 0 <= rank < world_size:
        raise ValueError(f"rank is {rank} and world_size {world_size}; rank must be from 0 to {world_size - 1}")
    return World(rank, world_size)


class _Sums(Mapping[str, int]):
    """Several sources' counts, as they stand when they are looked at."""

    def __init__(self, counts: list[Mapping[str, int]]) -> None:
        self.counts = counts

    def _sums(self) -> dict[str, int]:
        sums: dict[str, int] = {}
        for counts in self.counts:
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + count
        return sums

    def __getitem__(self, name: str) -> int:
        return self._sums()[name]

    def __iter__(self) -> Any:
        return iter(self._sums())

    def __len__(self) -> int:
        return len(self._sums())

    def __repr__(self) -> str:
        return repr(self._sums())
