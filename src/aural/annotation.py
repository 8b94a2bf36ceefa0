"""What callables from columns to columns share: batches of like lengths, rows in order, errors as rows.

Models are in `annotators.py`; this is the part of them that knows none.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from transformers import PreTrainedConfig

from .loading import load_config
from .processes import use_one_thread_in_workers
from .processing.audio import audio_duration

BATCH_SIZE = 8  # clips, or windows of a tagger
MODEL_FILES = ("*.safetensors", "*config.json", "tokenizer.json")
UNREADABLE = (OSError, ValueError, TypeError)  # what `load_audio` raises
Item = TypeVar("Item")
Progress = Callable[[int], None]  # called with a number of clips after each batch


class Annotator:
    """What `Transcriber` and `Tagger` share.

    Args:
        command: The command that a model must be for.
        model: A model folder or Hub id.
        batch_size: Clips (for a `Tagger`, windows) together; default: 8, or no limit beside `seconds_per_batch`.
        seconds_per_batch: Most seconds in a batch, padding included; a longer clip has a batch to itself.
        device: Where the model runs; default: the accelerator of this process if there is one, else "cpu".
        audio_column: Column of the audio.

    Raises:
        OSError: There is no such model.
        ValueError: The model is for another command, or a number is not above 0.
    """

    columns: ClassVar[dict[str, Any]]  # that it adds, with what a clip has there that could not be read

    def __init__(
        self,
        command: str,
        model: str | Path,
        batch_size: int | None,
        seconds_per_batch: float | None,
        device: str | None,
        audio_column: str,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if seconds_per_batch is not None and not 0 < seconds_per_batch < math.inf:
            raise ValueError(f"seconds_per_batch={seconds_per_batch} must be above 0")
        self.command = command
        self.model = str(model)
        self.fingerprint = model_fingerprint(model, load_config(model, command))
        self.batch_size = BATCH_SIZE if batch_size is None and seconds_per_batch is None else batch_size
        self.seconds_per_batch = seconds_per_batch
        self.device = device
        self.audio_column = audio_column

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The other columns of `batch` as they are, and those that are added.

        Args:
            batch: Columns by name, lists or arrays of one length. The audio is anything that `load_audio` takes,
                undecoded paths, bytes and `{"bytes", "path"}` among it; bare arrays are at the model's rate.

        Raises:
            TypeError: `batch` is no mapping, such as a pandas DataFrame.
            ValueError: It has no such audio column.
        """
        if not isinstance(batch, Mapping):
            raise TypeError(
                f"batch: {type(batch).__name__}; allowed are columns by name, as batch_format='numpy' gives"
            )
        if self.audio_column not in batch:
            raise ValueError(f"audio_column={self.audio_column!r} is not among the columns {', '.join(batch)}")
        others = {name: batch[name] for name in batch if name != self.audio_column}
        rows = self.annotate(batch[self.audio_column], others.get("duration"))
        return {**others, **{name: [row[name] for row in rows] for name in self.columns}}

    def annotate(
        self, sources: Sequence[Any], durations: Sequence[Any] | None = None, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """One row per clip, in order, of the columns that are added.

        Args:
            sources: The clips, each as `load_audio` takes it; read when its turn comes.
            durations: Their seconds, where known; others are asked of the audio's header.
            progress: Called after each batch with the number of clips in it.
        """
        if isinstance(sources, np.ndarray) and sources.dtype.kind in "OSU":
            sources = sources.tolist()  # numpy's own texts and bytes pass for arrays
        if not len(sources):
            return []
        use_one_thread_in_workers()
        known = [None] * len(sources) if durations is None else durations
        seconds = [_seconds(source, duration) for source, duration in zip(sources, known, strict=True)]
        order = sorted(range(len(sources)), key=lambda index: -seconds[index])  # stable: equal ones keep their order
        rows: dict[int, dict[str, Any]] = {}
        for batch in self._annotated(sources, seconds, order):
            rows.update(batch)
            if progress is not None:
                progress(len(batch))
        return [rows[index] for index in range(len(sources))]

    def _annotated(
        self, sources: Sequence[Any], seconds: list[float], order: list[int]
    ) -> Iterator[dict[int, dict[str, Any]]]:
        """Finished rows by index, some at a time, of clips taken in `order`."""
        raise NotImplementedError

    def _cut(self, items: Iterable[Item], seconds: Callable[[Item], float]) -> Iterator[list[Item]]:
        """Batches of consecutive items, within `batch_size` and `seconds_per_batch`."""
        batch: list[Item] = []
        longest = 0.0
        most = math.inf if self.seconds_per_batch is None else self.seconds_per_batch
        for item in items:
            reach = max(longest, seconds(item))
            if batch and (len(batch) == self.batch_size or reach * (len(batch) + 1) > most):
                yield batch
                batch, reach = [], seconds(item)
            batch.append(item)
            longest = reach
        if batch:
            yield batch

    def load(self) -> None:
        """Load the model into this process now.

        Raises:
            OSError, ValueError: As `load_recognizer` or `load_tagger`, or the options do not fit the model.
        """
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """What, beside model and audio, the rows follow from; ready for JSON."""
        raise NotImplementedError

    def failed(self, error: Exception) -> dict[str, Any]:
        """The row of a clip that could not be read."""
        return {**deepcopy(self.columns), "error": " ".join(str(error).split()) or type(error).__name__}


def model_fingerprint(model: str | Path, config: PreTrainedConfig) -> str:
    """What changes when a model does: its commit on the Hub, or the SHA-256 of a folder's weights and settings.

    Args:
        model: The folder or Hub id.
        config: As it was loaded from there.
    """
    if not Path(model).is_dir():
        return str(getattr(config, "_commit_hash", None) or model)
    digest = hashlib.sha256()
    for path in sorted({path for pattern in MODEL_FILES for path in Path(model).glob(pattern)}):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _seconds(source: Any, known: Any) -> float:
    """Seconds of a clip, for its place in the order; infinite when only decoding would tell."""
    if isinstance(known, Real) and 0 < (seconds := float(known)) < math.inf:
        return seconds
    try:
        return audio_duration(source)
    except UNREADABLE:
        return math.inf
