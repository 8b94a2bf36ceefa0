"""A model over a whole corpus, by one process or by many: rows in parquet shards, each clip once.

    from aural import Transcriber
    from aural.corpus_inference import annotate_corpus

    annotate_corpus(Transcriber("models/las", seconds_per_batch=120), "data/speech", "out/speech")

    aural transcribe --dataset data/speech --model models/las --out out/speech
    torchrun --nproc_per_node 8 -m aural tag --dataset 'data/*.parquet' --model models/ast --out out/tags

No process waits for another: which shards are whose follows from `RANK` and `WORLD_SIZE` alone (`corpus_shards.py`).
Whoever finds all of them there when it has done its own sums them up.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from .annotation import Annotator
from .annotators import Transcriber
from .corpus_rows import Corpus, open_corpus
from .corpus_scores import scores_of_shards
from .corpus_shards import SHARD_ROWS, SUMMARY, Shards, open_folder, with_columns
from .processing.files import write_whole
from .training.world import World
from .version import __version__


@dataclass
class Work:
    """What one process has done.

    Attributes:
        shards, rows: Written.
        errors: Rows among them whose clip could not be heard.
        seconds: Of audio heard.
        elapsed: Seconds that it took, once the model was loaded.
        missing: Shards of all processes that are not there yet.
        summary: Of all shards, if they are there and no other process was first to say so.
    """

    shards: int = 0
    rows: int = 0
    errors: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    missing: int = 0
    summary: dict[str, Any] | None = None


class Watcher:
    """What is told of the work while it goes on; a subclass shows it."""

    def begins(self, world: World, shards: Shards, missing: int, mine: list[int]) -> None:
        """Called once: `missing` shards of all are to do, `mine` by this process."""

    def heard(self, clips: int) -> None:
        """Called after each batch."""

    def wrote(self, shard: int, work: Work) -> None:
        """Called after each shard, with the work so far."""


def annotate_corpus(
    annotator: Annotator,
    source: str,
    out: str | Path,
    split: str | None = None,
    subset: str | None = None,
    shard_rows: int = SHARD_ROWS,
    target_column: str | None = None,
    watcher: Watcher | None = None,
) -> Work:
    """Annotate a corpus into a folder of parquet shards; what is there already is not done again.

    A shard has the columns `row` (place in the corpus), `file`, those that the annotator adds, and those of the corpus
    beside the audio. Started by a launcher that sets `RANK` and `WORLD_SIZE`, this process does its part.

    Args:
        annotator: A `Transcriber` or `Tagger`.
        source, split, subset: As for `open_corpus`; the audio column is the annotator's.
        out: The folder.
        shard_rows: Rows of a shard; the same in every run into the folder.
        target_column: Column of the reference to score against; default: "text" or "label", if it is there.
        watcher: Told of the work while it goes on.

    Raises:
        OSError: The corpus is not there, or the folder cannot be written or is something else.
        ValueError: The folder holds the rows of another model, corpus or options; or a wrong argument.
    """
    world, watcher = World.from_environment(), watcher or Watcher()
    if Path(out).exists() and not Path(out).is_dir():  # before the minutes that a corpus may take to be listed
        raise NotADirectoryError(f"--out {out}: is a file; a folder is needed")
    corpus = open_corpus(source, split, subset, annotator.audio_column)
    if target_column is not None and target_column not in corpus.rows.column_names:
        there = ", ".join(name for name in corpus.rows.column_names if name != "audio")
        raise ValueError(f"target_column={target_column!r} is not in the corpus, which has {there}")
    shards = Shards(Path(out), len(corpus.rows), shard_rows)
    open_folder(shards.folder, manifest(annotator, source, split, subset, corpus, shards))
    missing, mine = shards.missing(), shards.missing(world)
    if missing and world.rank == 0:
        (shards.folder / SUMMARY).unlink(missing_ok=True)
    watcher.begins(world, shards, len(missing), mine)
    work = _annotate(annotator, corpus, shards, mine, watcher)
    work.missing = len(shards.missing())
    if not work.missing and (work.shards or world.rank == 0):
        work.summary = _summed_up(annotator, shards, target_column, again=not missing)
    return work


def manifest(
    annotator: Annotator, source: str, split: str | None, subset: str | None, corpus: Corpus, shards: Shards
) -> dict[str, Any]:
    """What the rows follow from, ready for JSON. Batches are not part of it: they change no row."""
    return {
        "aural": __version__,
        "task": annotator.command,
        "model": annotator.model,
        "model_fingerprint": annotator.fingerprint,
        "source": source,
        "split": split,
        "subset": subset,
        "source_fingerprint": corpus.fingerprint,
        "rows": shards.rows,
        "shard_rows": shards.shard_rows,
        "options": annotator.options(),
    }


def _annotate(annotator: Annotator, corpus: Corpus, shards: Shards, mine: list[int], watcher: Watcher) -> Work:
    work = Work()
    if not mine:
        return work
    annotator.load()
    start = time.perf_counter()
    for shard in mine:
        if shards.is_whole(shard):  # by another run since
            continue
        table = _shard_table(annotator, corpus.rows, shards.span(shard), watcher)
        shards.write(shard, table)
        work.shards += 1
        work.rows += len(table)
        work.errors += sum(error != "" for error in table["error"].to_pylist())
        work.seconds += sum(table["duration"].to_pylist())
        work.elapsed = time.perf_counter() - start
        watcher.wrote(shard, work)
    return work


def _shard_table(annotator: Annotator, rows: Dataset, span: range, watcher: Watcher) -> pa.Table:
    part = rows.select(span)
    durations = part["duration"][:] if "duration" in part.column_names else None
    found = annotator.annotate(part["audio"], durations, watcher.heard)
    added: dict[str, list[Any]] = {"row": list(span)}
    if "file" not in part.column_names:
        added["file"] = _paths(part)
    else:
        added["file"] = part["file"][:]
    added |= {name: [row[name] for row in found] for name in annotator.columns}
    kept = part.remove_columns(["audio"])
    table = kept.with_format("arrow")[:] if kept.column_names else pa.table({})
    return with_columns(table, kept.features, added)


def _paths(part: Dataset) -> list[str | None]:
    """The path beside each clip's bytes, without reading those; None where there is none."""
    column = part.select_columns(["audio"]).with_format("arrow")[:]["audio"]
    if not pa.types.is_struct(column.type) or column.type.get_field_index("path") < 0:
        return [None] * len(part)
    return pa.chunked_array([chunk.field("path") for chunk in column.chunks], pa.string()).to_pylist()


def _summed_up(annotator: Annotator, shards: Shards, target_column: str | None, again: bool) -> dict[str, Any] | None:
    """The summary, written into the folder; None where another process of this run has begun to."""
    path = shards.folder / SUMMARY
    if not again:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return None
    summary = sum_up(annotator, shards, target_column)
    write_whole(path, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def sum_up(annotator: Annotator, shards: Shards, target_column: str | None = None) -> dict[str, Any]:
    """What is in all shards: `rows`, `errors`, `first_error`, `seconds` of audio; `scores` where there are references.

    Args:
        annotator: Whose rows they are.
        shards: All there.
        target_column: Of the references; default: "text" or "label", if it is there.
    """
    rows, errors, seconds, first = 0, 0, 0.0, ""
    for shard in range(len(shards)):
        columns = shards.columns(shard, ["error", "duration"])
        failed = [error for error in columns["error"] if error]
        rows, errors, seconds = rows + len(columns["error"]), errors + len(failed), seconds + sum(columns["duration"])
        first = first or (failed[0] if failed else "")
    summary: dict[str, Any] = {"rows": rows, "errors": errors, "first_error": first, "seconds": round(seconds, 3)}
    column = target_column or ("text" if isinstance(annotator, Transcriber) else "label")
    if column in shards.features() and errors < rows:
        summary["scores"] = scores_of_shards(annotator, shards, column)
    return summary


def told(summary: Mapping[str, Any]) -> list[str]:
    """The lines that say a summary."""
    counts = f"{counted(summary['rows'], 'row')}, {counted(summary['errors'], 'error')}"
    lines = [f"{counts}, {summary['seconds']:,.0f} s of audio"]
    if summary["first_error"]:
        lines.append(f"the first error: {summary['first_error']}")
    scores = dict(summary.get("scores", {}))
    if "unscored" in scores:
        return [*lines, f"not scored: {scores['unscored']}"]
    scored = scores.pop("scored", 0)
    if "wer" in scores:
        rates = [(name.upper(), scores[name], *scores[f"{name}_interval"]) for name in ("wer", "cer")]
        parts = [f"{name} {rate:.2%} (95%: {low:.2%} to {high:.2%})" for name, rate, low, high in rates]
        lines.append(f"{', '.join(parts)} over {counted(scored, 'row')} with a text")
    elif scores:
        lines.append(
            f"{', '.join(f'{name} {value:.4f}' for name, value in scores.items())} over {counted(scored, 'row')}"
        )
    return lines


def counted(number: int, noun: str) -> str:
    """Such as "1 row" and "2,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
