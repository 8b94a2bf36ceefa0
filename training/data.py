"""Speech with its text: from a folder or a `datasets` object to the items that a collator takes.

What sounds with labels need as well (`sound_data.py`) is here too: `load_rows` and `AudioDataset`.

- Audio is never decoded by `datasets`, which wants torchcodec and FFmpeg even to *list* an audiofolder: columns are
  cast with `Audio(decode=False)`, a folder's metadata.csv is read here, and `load_audio` does the decoding.
- A folder's texts stay what they are: "007" and "null" are transcripts, not a number and a missing value.
- Features are computed when an item is asked for; randomness follows from (seed, epoch, index), so that neither the
  number of workers nor a resumed run changes what is heard.

    dataset = load_speech("my_clips")  # my_clips/metadata.csv with file_name,text
    train = SpeechDataset(dataset, processor)
    train[0]  # {"input_features": (frames, mels), "labels": [ids, <eos>]}
"""

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Audio, Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Value
from torch.utils.data import Dataset as TorchDataset

from ..processing.audio import audio_duration, load_audio

METADATA = "metadata.csv"
UNDECODED = {"bytes": Value("binary"), "path": Value("string")}
Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Respelling = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # a row to a row with another text, or with phonemes


def load_speech(
    source: Any, split: str | None = None, audio_column: str = "audio", text_column: str = "text"
) -> Dataset | IterableDataset:
    """Rows with the columns `audio` (undecoded) and `text`, whatever the source calls them, and its other columns.

    Args:
        source: a `datasets` Dataset, IterableDataset or dict of splits; or a folder that holds audio files and a
            metadata.csv with the columns `file_name` and `text_column`, itself or in one sub-folder per split.
        split: which split of a dict or of a folder with sub-folders; not needed when there is only one.
        audio_column: column of the audio; for a folder it is always made from `file_name`.
        text_column: column of the transcript.

    Raises:
        OSError: the folder, its metadata.csv or an audio file that it names is missing, or a file stands in its place.
        TypeError: `source` is something else.
        ValueError: an unknown split, a missing column, no rows; the message says what is there.
    """
    return load_rows(source, split, audio_column, text_column, "text")


def load_rows(
    source: Any, split: str | None, audio_column: str, target_column: str, target: str
) -> Dataset | IterableDataset:
    """`load_speech` for any target: `target_column` becomes the column `target`, as it is.

    Args:
        source, split, audio_column: as for `load_speech`.
        target_column: column of what a model is to learn.
        target: its name in the result.

    Raises:
        OSError, TypeError, ValueError: as `load_speech`.
    """
    if isinstance(source, (str, os.PathLike)):
        source, audio_column = _read_folder(Path(source), split, target_column), "audio"
    elif isinstance(source, (DatasetDict, IterableDatasetDict)):
        source = source[_choose(split, list(source), "the dataset")]
    if not isinstance(source, (Dataset, IterableDataset)):
        raise TypeError(f"source is a {type(source).__name__}; expected a folder or a datasets Dataset")
    if isinstance(source, Dataset) and len(source) == 0:
        raise ValueError("the dataset is empty")
    dataset = undecoded(source, audio_column)
    columns = _columns(dataset)
    for column in (audio_column, target_column):
        if column not in columns:
            raise ValueError(f"the dataset has no column {column!r}; it has {', '.join(columns)}")
    names = {audio_column: "audio", target_column: target}
    taken = [new for old, new in names.items() if old != new and new in columns]
    renamed = {old: new for old, new in names.items() if old != new}
    return dataset.remove_columns(taken).rename_columns(renamed)


def _choose(split: str | None, splits: list[str], where: str) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split not in splits:
        raise ValueError(f"split is {split!r}; {where} has {', '.join(splits) or 'none'}")
    return split


def _columns(dataset: Dataset | IterableDataset) -> list[str]:
    if dataset.column_names is not None:
        return list(dataset.column_names)
    row = next(iter(dataset), None)  # a stream does not know its columns before its first row
    if row is None:
        raise ValueError("the dataset is empty")
    return list(row)


def undecoded(dataset: Dataset | IterableDataset, column: str) -> Dataset | IterableDataset:
    """The audio column as paths or `{"bytes", "path"}`; arrays in a struct are decoded already and stay.

    Args:
        dataset: rows.
        column: of the audio.
    """
    feature = (dataset.features or {}).get(column)
    if isinstance(dataset, IterableDataset):
        # Renaming or mapping a stream encodes its Audio columns again, even undecoded ones, and that wants torchcodec.
        return dataset.cast_column(column, UNDECODED) if isinstance(feature, Audio) else dataset
    if isinstance(feature, Audio) or feature == Value("string"):
        return dataset.cast_column(column, Audio(decode=False))  # no copy, unlike a cast to UNDECODED
    return dataset


def _read_folder(folder: Path, split: str | None, target_column: str) -> Dataset:
    """Rows of the folder's metadata.csv, `file_name` becoming the column `audio` with full paths."""
    if not folder.exists():
        raise FileNotFoundError(f"no such folder: {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder that holds {METADATA}")
    if not (folder / METADATA).is_file():
        splits = sorted(path.parent.name for path in folder.glob(f"*/{METADATA}"))
        if not splits:
            found = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
            raise FileNotFoundError(f"{folder} has no {METADATA}; it holds {found}")
        folder = folder / _choose(split, splits, str(folder))
    elif split is not None:
        raise ValueError(f"split is {split!r}; {folder} has {METADATA} itself, so no splits")
    table = folder / METADATA
    columns, rows = read_table(table)
    for column in ("file_name", target_column):
        if column not in columns:
            raise ValueError(f"{table} has no column {column!r}; it has {', '.join(columns) or 'none'}")
    if not rows:
        raise ValueError(f"{table} has no rows")
    for number, row in enumerate(rows, start=1):
        if not (folder / row["file_name"]).is_file():
            raise FileNotFoundError(f"{table}: row {number} names {row['file_name']!r}, which is not in {folder}")
    content: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in columns if name != "file_name"}
    if "duration" in content:
        content["duration"] = [_duration(row["duration"], f"{table}: row {i}") for i, row in enumerate(rows, start=1)]
    return Dataset.from_dict({**content, "audio": [str(folder / row["file_name"]) for row in rows]})


def read_table(table: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a metadata.csv, every cell as it is written.

    Args:
        table: CSV in UTF-8 with a line of names.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else, or a row has another number of fields.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="", restval=None)
            columns, rows = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} is not CSV in UTF-8: {error}") from error
    for number, row in enumerate(rows, start=1):
        if "" in row or None in row.values():
            raise ValueError(f"{table}: row {number} does not have {len(columns)} fields; quote texts with commas")
    return columns, rows


def _duration(value: str, where: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{where}: duration is {value!r}; expected seconds above 0")
    return seconds


def prepare_item(
    row: Mapping[str, Any],
    processor: Any,
    augment_audio: Augmentation | None = None,
    augment_features: Augmentation | None = None,
    generator: np.random.Generator | None = None,
    cache: Any = None,
) -> dict[str, Any]:
    """One row with `audio` and `text` to one item; also for `IterableDataset.map`.

    Args:
        row: `audio` as `load_audio` takes it, `text` a string, and `phonemes`, symbols separated by spaces, where they
            are known; a processor without a tokenizer for them leaves them alone.
        processor: an `AuralProcessor`.
        augment_audio: waveform (samples,) and generator to waveform.
        augment_features: features (frames, mels) and generator to features.
        generator: handed to the augmentations; needed with them.
        cache: a `FeatureCache` that features are taken from; not with `augment_audio`.

    Returns:
        `input_features` (frames, mels) float32 and `labels`, a list of ids ending in `<eos>`; `phoneme_targets` of the
        same form where the row has phonemes and the processor a tokenizer for them.

    Raises:
        OSError: the audio cannot be read.
        ValueError: the text or the phonemes are not a string, or augmentations have no generator.
    """
    texts = {"text": row["text"]}
    if row.get("phonemes") is not None and getattr(processor, "phoneme_tokenizer", None) is not None:
        texts["phonemes"] = row["phonemes"]
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{name} is {text!r}, not a string")
    if generator is None and (augment_audio is not None or augment_features is not None):
        raise ValueError("generator is None: augmentations draw from the generator that they are handed")
    if cache is not None:
        refuse_cached(augment_audio=augment_audio)
        features = cache.features(row["audio"], processor.feature_extractor)  # (frames, mels)
        item = processor(**texts)
    else:
        rate = processor.feature_extractor.sampling_rate
        waveform = load_audio(row["audio"], sampling_rate=rate)  # (samples,)
        if augment_audio is not None and generator is not None:
            waveform = augment_audio(waveform, generator)
        item = processor(audio=waveform, sampling_rate=rate, **texts)
        features = np.asarray(item["input_features"][0], dtype=np.float32)  # (frames, mels)
    if augment_features is not None and generator is not None:
        features = augment_features(features, generator)
    labels = {name: item[name] for name in ("labels", "phoneme_targets") if name in item}
    return {"input_features": features, **labels}


def refuse_cached(**changes: Any) -> None:
    """Refuse, by its name, what changes waveforms: cached features are those of the clips as they are."""
    for name, change in changes.items():
        if change is not None and change is not False:
            raise ValueError(f"{name} changes waveforms and features come from a cache: choose one of them")


class AudioDataset(TorchDataset):
    """What datasets of audio share: the generator of an item, the epoch, the lengths, and errors that name the item.

    A subclass says how an item is made, in `make_item`.

    Args:
        dataset: rows with `audio` and `target`; anything with a length and an index, such as a `datasets.Dataset`.
        target: name of the column that a model is to learn; None where there is none.
        seed: with epoch and index, of an item's generator.

    Raises:
        ValueError: no rows, or rows without these columns.
    """

    def __init__(self, dataset: Any, target: str | None, seed: int = 0) -> None:
        if len(dataset) == 0:
            raise ValueError("the dataset is empty")
        columns = list(getattr(dataset, "column_names", None) or dataset[0])
        if not {"audio", target or "audio"} <= set(columns):
            needed = "audio is" if target is None else f"audio and {target} are"
            raise ValueError(f"the dataset has the columns {', '.join(columns)}; {needed} needed")
        self.dataset = dataset
        self.seed = seed
        # In shared memory, so that workers kept over epochs see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._durations: list[float] | None = None

    def make_item(self, index: int, generator: np.random.Generator) -> Mapping[str, Any]:
        """The item at `index`, 0 to the length less 1, whose random choices come from `generator` alone."""
        raise NotImplementedError

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentations the items get; Accelerate's loaders and `EpochCallback` call it.

        Args:
            epoch: from 0.
        """
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside a dataset of {len(self)} items")
        index = int(index) % len(self)
        generator = np.random.default_rng([self.seed, int(self._epoch), index])
        try:
            return self.make_item(index, generator)
        except (OSError, ValueError) as error:
            kind = OSError if isinstance(error, OSError) else ValueError
            raise kind(f"item {index}: {error}") from error

    @property
    def durations(self) -> list[float]:
        """Seconds of each item, for grouping by length: from the column `duration`, else from the audio's headers."""
        if self._durations is None:
            columns = getattr(self.dataset, "column_names", None) or ()
            if "duration" in columns:
                self._durations = [float(duration) for duration in self.dataset["duration"]]
            else:
                self._durations = [_seconds(self.dataset[index]["audio"]) for index in range(len(self))]
        return self._durations


class SpeechDataset(AudioDataset):
    """Items for `SpeechCollator`, computed on the fly from rows that `load_speech` gave.

    Args:
        dataset: rows with `audio` and `text`; anything with a length and an index, such as a `datasets.Dataset`.
        processor: an `AuralProcessor`.
        augment_audio: changes waveforms (samples,), drawing only from the generator that it is handed.
        augment_features: the same for features (frames, mels).
        seed: with epoch and index, of that generator.
        cache: a `FeatureCache`, in place of computing features each time; not with `augment_audio`.
        respell: changes a row before all else, such as `PhonemeRows`; None leaves rows as they are.

    Raises:
        ValueError: no rows, rows without `audio` and `text`, or a cache where waveforms change.
    """

    def __init__(
        self,
        dataset: Any,
        processor: Any,
        augment_audio: Augmentation | None = None,
        augment_features: Augmentation | None = None,
        seed: int = 0,
        cache: Any = None,
        respell: Respelling | None = None,
    ) -> None:
        super().__init__(dataset, "text", seed)
        if cache is not None:
            refuse_cached(augment_audio=augment_audio)
        self.cache = cache
        self.processor = processor
        self.augment_audio = augment_audio
        self.augment_features = augment_features
        self.respell = respell

    def make_item(self, index: int, generator: np.random.Generator) -> dict[str, Any]:
        """As `prepare_item` makes it."""
        row = self.dataset[index] if self.respell is None else self.respell(self.dataset[index])
        return prepare_item(row, self.processor, self.augment_audio, self.augment_features, generator, self.cache)


def _seconds(audio: Any) -> float:
    """Length of `audio` in seconds; decoded only where the header does not tell."""
    try:
        return audio_duration(audio)
    except ValueError:
        return len(load_audio(audio, sampling_rate=16_000)) / 16_000
