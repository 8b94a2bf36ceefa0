"""Corrupt clips: counted, named and skipped, and the end of a run when there are too many.

    skipped = SkippedClips(max_corrupt=0.01)
    train = SkippingDataset(SpeechDataset(rows, processor), skipped)
    dev = without_corrupt(SpeechDataset(dev_rows, processor), skipped)
    …
    print(skipped)  # 2 of 1,107 clips could not be used: a.ogg (truncated, …); b.ogg (empty, 0 bytes)

- In training another clip takes the place of a corrupt one, the nearest by length that can be read: batches keep their
  size and processes their number of steps, and which it is follows from the index alone, so that a resumed run hears
  what an uninterrupted one does.
- In evaluation nothing takes its place: scores are those of the clips that can be read.
- Counts and names lie in shared memory, each data worker writing in a place of its own.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ..processing.audio import load_audio
from ..processing.files import write_whole
from .data import AudioDataset, SpeechDataset, prepare_item
from .references import first_reference
from .row_rules import seconds_of
from .shared_counts import SLOTS, SharedCounts, worker_slot

NAMED = 50  # corrupt clips that each worker names; more are only counted
NOTE = 600  # bytes of a name and its reason
SHOWN = 10  # clips that a message names
REDRAWS = 10  # times that a clip is mixed with another partner, when one of them cannot be read


class CorruptClipsError(ValueError):
    """Too many clips of a run cannot be used."""


class SkippedClips:
    """Clips that a process and its data workers have seen, and those that could not be used. Picklable for workers.

    Args:
        max_corrupt: share of the clips seen that may be corrupt; past it the run stops. 0 stops at the first.
        handful: corrupt clips that are let pass whatever the share, since the first of a run would be all of it.

    Raises:
        ValueError: a share outside 0 to 1, a negative handful.
    """

    def __init__(self, max_corrupt: float = 0.01, handful: int = 5) -> None:
        if not 0 <= max_corrupt <= 1:
            raise ValueError(f"max_corrupt is {max_corrupt}; it must be from 0 to 1")
        if handful < 0:
            raise ValueError(f"handful is {handful}; it must not be negative")
        self.max_corrupt, self.handful = max_corrupt, handful
        self._counts = SharedCounts(["seen", "corrupt"])
        self._noted = torch.zeros(SLOTS, dtype=torch.int64).share_memory_()
        self._notes = torch.zeros(SLOTS, NAMED, NOTE, dtype=torch.uint8).share_memory_()

    @property
    def seen(self) -> int:
        """Clips so far, corrupt ones among them."""
        return self._counts.get("seen", 0)

    @property
    def corrupt(self) -> int:
        """Clips that could not be used."""
        return self._counts.get("corrupt", 0)

    @property
    def clips(self) -> dict[str, str]:
        """Why they could not be used, by their names; the first 50 of each worker."""
        found = {}
        for slot, count in enumerate(self._noted.tolist()):
            for note in self._notes[slot, :count]:
                name, reason = json.loads(bytes(note.tolist()).rstrip(b"\0"))
                found[name] = reason
        return found

    def saw(self) -> None:
        """Count a clip that can be used."""
        self._counts.add("seen")

    def skip(self, name: str, reason: str) -> None:
        """Count a clip that cannot be used, and name it.

        Args:
            name: of its file, or where it stands.
            reason: what is wrong with it.

        Raises:
            CorruptClipsError: with this one there are too many; names them.
        """
        slot = worker_slot()
        self._counts.add("seen")
        self._counts.add("corrupt")
        if (place := int(self._noted[slot])) < NAMED:
            note = json.dumps([name[-100:], reason[: NOTE // 3]], ensure_ascii=False).encode()
            if len(note) > NOTE:  # a script of three bytes a letter
                note = json.dumps([name[-30:], reason[:100]], ensure_ascii=False).encode()
            self._notes[slot, place, : len(note)] = torch.frombuffer(bytearray(note), dtype=torch.uint8)
            self._noted[slot] += 1
        allowed = max(self.handful, self.max_corrupt * self.seen) if self.max_corrupt else 0
        if self.corrupt > allowed:
            raise CorruptClipsError(f"{self}. More than max_corrupt={self.max_corrupt:g} of the clips: the run stops")

    def summary(self) -> dict[str, Any]:
        """`seen`, `corrupt`, and `clips`: reasons by name; plain, to be saved."""
        return {"seen": self.seen, "corrupt": self.corrupt, "clips": self.clips}

    def gathered(self) -> dict[str, Any]:
        """The summary over all processes of a distributed run; each of them has to ask."""
        import torch.distributed as processes

        parts: list[Any] = [self.summary()]
        if processes.is_available() and processes.is_initialized():
            parts = [None] * processes.get_world_size()
            processes.all_gather_object(parts, self.summary())
        clips = {name: reason for part in parts for name, reason in part["clips"].items()}
        return {name: sum(part[name] for part in parts) for name in ("seen", "corrupt")} | {"clips": clips}

    def save(self, path: str | Path) -> Path:
        """Write the summary of this process as JSON, whole; returns the path.

        Raises:
            OSError: the file cannot be written.
        """
        return write_whole(path, json.dumps(self.summary(), indent=2, ensure_ascii=False) + "\n")

    def __str__(self) -> str:
        return describe(self.summary())


def describe(summary: Mapping[str, Any]) -> str:
    """One line on a `SkippedClips.summary()`."""
    if not summary["corrupt"]:
        return f"All {summary['seen']:,} clips could be used"
    named = [f"{name} ({reason})" for name, reason in list(summary["clips"].items())[:SHOWN]]
    rest = summary["corrupt"] - len(named)
    more = f"; and {rest} more" if rest > 0 else ""
    return f"{summary['corrupt']} of {summary['seen']:,} clips could not be used: {'; '.join(named)}{more}"


class SkippingDataset(AudioDataset):
    """A training set in which another clip takes the place of one that is corrupt.

    The other is the nearest that can be read in the order of the column `duration`, shorter ones first, else of the
    rows. Whatever it draws comes from a generator of (seed, epoch, index, attempt). Where an item is mixed with
    another clip that is corrupt, it draws again. Each clip is counted once, however often it is asked for.

    Args:
        clips: a `SpeechDataset` or `SoundDataset`.
        skipped: what is counted and where a run stops.
        weights: how often to draw each clip, `(items,)`: offered as `sample_weights`, where `clips` has none.

    Raises:
        ValueError: another number of weights than of clips, or weights where `clips` has its own.
    """

    def __init__(self, clips: AudioDataset, skipped: SkippedClips, weights: np.ndarray | None = None) -> None:
        super().__init__(clips.dataset, "audio", clips.seed)
        own = getattr(clips, "sample_weights", None)
        if weights is not None and own is not None:
            raise ValueError("weights are given and the clips are drawn by class: choose one of them")
        if weights is not None and len(weights) != len(clips):
            raise ValueError(f"weights has {len(weights)} entries; expected {len(clips)}, one per clip")
        self.clips = clips
        self.skipped = skipped
        self.sample_weights = own if weights is None else weights
        self._epoch = clips._epoch  # one epoch for both
        self._known = torch.zeros(len(clips), dtype=torch.uint8).share_memory_()  # 1: counted
        columns = getattr(clips.dataset, "column_names", None) or ()
        lengths = np.asarray(clips.dataset["duration"]) if "duration" in columns else np.zeros(len(clips))
        self._order = np.lexsort((np.arange(len(clips)), lengths))  # indices from the shortest to the longest
        self._places = np.argsort(self._order)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside a dataset of {len(self)} items")
        index = int(index) % len(self)
        attempt = redraws = 0
        candidates = self._candidates(index)
        chosen = next(candidates)
        while True:
            try:
                item = self._item(chosen, index, attempt)
            except (OSError, ValueError, TypeError) as error:  # a TypeError for no audio at all
                attempt += 1
                fault = fault_of(self.clips, chosen)
                if fault is None:  # it is that of a clip it was mixed with
                    redraws += 1
                    if redraws > REDRAWS:
                        raise
                    continue
                self._skip(chosen, fault)
                following = next(candidates, None)
                if following is None:
                    raise CorruptClipsError(f"{self.skipped}. No clip can be used: the run stops") from error
                chosen = following
            else:
                self._saw(chosen)
                return item

    def _item(self, chosen: int, index: int, attempt: int) -> Mapping[str, Any]:
        if attempt == 0:
            return self.clips[index]
        generator = np.random.default_rng([self.seed, int(self._epoch), index, attempt])
        return self.clips.make_item(chosen, generator)

    def _candidates(self, index: int) -> Iterator[int]:
        """The clip itself, then shorter ones, the nearest first, then longer ones."""
        place = int(self._places[index])
        yield from (int(self._order[at]) for at in range(place, -1, -1))
        yield from (int(self._order[at]) for at in range(place + 1, len(self._order)))

    def _saw(self, index: int) -> None:
        if not self._known[index]:
            self._known[index] = 1
            self.skipped.saw()

    def _skip(self, index: int, fault: str) -> None:
        if not self._known[index]:
            self._known[index] = 1
            name = clip_name(self.dataset[index], index)
            self.skipped.skip(name, without_name(fault, name))

    @property
    def durations(self) -> list[float]:
        """Seconds of each item, as `AudioDataset.durations`; 0 where a header is damaged."""
        if self._durations is None:
            limit = getattr(self.clips, "max_seconds", None) or float("inf")
            columns = getattr(self.dataset, "column_names", None) or ()
            if "duration" in columns:
                seconds = self.dataset["duration"][:]
            else:
                seconds = [seconds_of({"audio": self.dataset[index]["audio"]}) or 0.0 for index in range(len(self))]
            self._durations = [min(float(one), limit) for one in seconds]
        return self._durations


def without_corrupt(clips: AudioDataset, skipped: SkippedClips, workers: int = 1) -> AudioDataset:
    """An evaluation set without its corrupt clips, found by reading every clip once.

    Args:
        clips: a `SpeechDataset` or `SoundDataset`; stays as it is.
        skipped: where they are counted and named.
        workers: threads that read.

    Returns:
        `clips` itself if all can be used.

    Raises:
        CorruptClipsError: more of them than `skipped` allows, or no clip that can be used.
    """
    with ThreadPoolExecutor(workers) as pool:
        faults = list(pool.map(lambda index: fault_of(clips, index), range(len(clips))))
    for fault in faults:
        if fault is None:
            skipped.saw()
    for index, fault in enumerate(faults):
        if fault is not None:
            name = clip_name(clips.dataset[index], index)
            skipped.skip(name, without_name(fault, name))
    kept = [index for index, fault in enumerate(faults) if fault is None]
    if not kept:
        raise CorruptClipsError(f"{skipped}. No clip can be used")
    if len(kept) == len(faults):
        return clips
    left = copy.copy(clips)
    rows = clips.dataset
    left.dataset = rows.select(kept) if isinstance(rows, Dataset) else [rows[index] for index in kept]
    left._durations = None
    if hasattr(left, "label_ids"):
        left.label_ids = [left.label_ids[index] for index in kept]
    return left


def fault_of(clips: AudioDataset, index: int) -> str | None:
    """What is wrong with one clip by itself: its audio, or a text that cannot be encoded; None if nothing is."""
    try:
        row = clips.dataset[index]
        if isinstance(clips, SpeechDataset):
            prepare_item({**row, "text": first_reference(row["text"])}, clips.processor)
            return None
        extractor = clips.feature_extractor  # type: ignore[attr-defined]
        wave = load_audio(row["audio"], sampling_rate=extractor.sampling_rate)
        extractor(wave, sampling_rate=extractor.sampling_rate, padding=False)
    except (OSError, ValueError, TypeError) as error:
        return str(error)
    return None


def clip_name(row: Mapping[str, Any], index: int) -> str:
    """What to call a clip: the name of its file, else where it stands."""
    audio = row.get("audio")
    path = audio.get("path") if isinstance(audio, Mapping) else audio if isinstance(audio, str) else None
    return PurePath(path).name if path else f"clip {index}"


def without_name(fault: str, name: str) -> str:
    """A fault without the path that it opens with, which names the clip a second time."""
    head, colon, rest = fault.partition(": ")
    return rest if colon and PurePath(head).name == name else fault
