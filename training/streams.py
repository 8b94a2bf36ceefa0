"""Items from a stream of rows: made as they come, by generators of their own, without an end in training.

    rows = open_sources(sources, "text", streaming=True).dataset  # this process's part
    train = stream_items(rows, processor, augment_features=…, skipped=skipped)
    loader = prepare_stream(DataLoader(train, batch_size=16, collate_fn=SpeechCollator()), accelerator)

What a stream cannot do: group clips by length, balance classes, or mix waveforms, all of which want a second look at
the data. The random numbers of an item come from (seed, epoch, process, worker, its number there): with as many
processes and workers, a resumed run hears what an uninterrupted one does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from datasets import IterableDataset
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import IterableDataset as TorchIterableDataset

from .data import Augmentation, prepare_item
from .mixup import Mixup
from .skipping import CorruptClipsError, SkippedClips, clip_name, without_name
from .sound_data import SoundDataset
from .sound_labels import class_names, find_ids, is_multi_label, label_ids
from .world import World

MakeItem = Callable[[Mapping[str, Any], np.random.Generator], Mapping[str, Any]]


class ItemStream(TorchIterableDataset):
    """Items of a stream's rows, corrupt ones left out and told; `stream_items` makes it.

    Args:
        rows: this process's rows, shuffled by (seed, epoch), as `open_sources` gives them.
        make_item: one row and its generator to one item; an OSError, ValueError or TypeError of it is a corrupt clip.
        seed: with epoch, process, worker and number, of an item's generator.
        skipped: what is counted and where a run stops.
        endless: go on with the next epoch at the end, so that no process runs out before another.
        rank: of this process.
    """

    def __init__(
        self,
        rows: IterableDataset,
        make_item: MakeItem,
        seed: int,
        skipped: SkippedClips,
        endless: bool = True,
        rank: int = 0,
    ) -> None:
        self.rows = rows
        self.make_item = make_item
        self.seed = seed
        self.skipped = skipped
        self.endless = endless
        self.rank = rank
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration begins with.

        Args:
            epoch: from 0.
        """
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        told: set[str] = set()  # corrupt clips
        first = int(self._epoch)
        rows = self.rows.with_format(None)  # the same rows, whose epoch is not shared with other workers
        for epoch in count(first):
            rows.set_epoch(epoch)
            used = False
            number = -1
            for number, row in enumerate(rows):
                item = self._item(row, epoch, number, told, counted=epoch == first)
                if item is not None:
                    used = True
                    yield item
            if not self.endless or number < 0:  # the end, or a worker for which there is no file
                return
            if not used:
                raise CorruptClipsError(f"{self.skipped}. No clip can be used: the run stops")

    def _item(
        self, row: Mapping[str, Any], epoch: int, number: int, told: set[str], counted: bool
    ) -> Mapping[str, Any] | None:
        """The row's item, None if it is corrupt; clips are counted in the first epoch, later only new corrupt ones."""
        info = get_worker_info()
        worker = 0 if info is None else info.id
        generator = np.random.default_rng([self.seed, epoch, self.rank, worker, number])
        try:
            item = self.make_item(row, generator)
        except (OSError, ValueError, TypeError) as error:  # a TypeError for no audio at all
            name = clip_name(row, number)
            if name not in told and (counted or name not in self.skipped.clips):  # another worker may have had it
                self.skipped.skip(name, without_name(str(error), name))
            told.add(name)
            return None
        if counted:
            self.skipped.saw()
        return item


def stream_items(
    rows: IterableDataset,
    processing: Any,
    *,
    labels: Sequence[str] | Mapping[int, str] | None = None,
    multi_label: bool | None = None,
    max_seconds: float | None = None,
    random_crop: bool = False,
    mixup: Mixup | None = None,
    augment_audio: Augmentation | None = None,
    augment_features: Augmentation | None = None,
    seed: int = 0,
    skipped: SkippedClips | None = None,
    endless: bool = True,
    rank: int | None = None,
) -> ItemStream:
    """Items for `SpeechCollator` or `SoundCollator` from the rows of a stream.

    Args:
        rows: with `audio` and `text` or `label`, as `open_sources(streaming=True)` gives them.
        processing: an `AuralProcessor` for texts, a `LogMelFeatureExtractor` for labels.
        labels: names by id; needed for labels, and for them alone.
        multi_label, max_seconds, random_crop: as for `SoundDataset`; for labels alone.
        mixup: as for `SoundDataset`, of the kind "spectrogram"; for labels alone.
        augment_audio, augment_features: as for `SpeechDataset`.
        seed: of the items' generators.
        skipped: what is counted and where a run stops; by default one of its own, with its defaults.
        endless: for training, which then needs `max_steps`; False ends after one epoch.
        rank: of this process; by default torchrun's.

    Raises:
        ValueError: labels missing or not wanted, or a mixup of waveforms.
    """
    rank = World.current().rank if rank is None else rank
    skipped = SkippedClips() if skipped is None else skipped
    make_item: MakeItem
    if hasattr(processing, "tokenizer"):
        if labels is not None or mixup is not None or max_seconds is not None or random_crop:
            raise ValueError("labels, mixup, max_seconds and random_crop are for sounds; processing has a tokenizer")
        make_item = _SpeechItem(processing, augment_audio, augment_features)
    else:
        if labels is None:
            raise ValueError("labels is None; give their names by id")
        if mixup is not None and mixup.kind == "waveform":
            raise ValueError("mixup.kind is 'waveform', and a stream has no second clip; allowed: 'spectrogram'")
        multi_label = is_multi_label(rows) if multi_label is None else multi_label
        name = next(iter(label_ids(labels)))
        maker = SoundDataset(
            [{"audio": b"", "label": [name] if multi_label else name}],  # in whose place each row comes
            processing,
            labels,
            multi_label,
            max_seconds,
            random_crop,
            mixup,
            augment_audio,
            augment_features,
        )
        make_item = _SoundItem(maker, class_names(rows))
    return ItemStream(rows, make_item, seed, skipped, endless, rank)


def prepare_stream(loader: DataLoader, accelerator: Accelerator) -> DataLoader:
    """`accelerator.prepare` for a loader of this process's own part of a stream.

    Accelerate would split the stream a second time, or have the first process read for all.

    Args:
        loader: of an `ItemStream`.
        accelerator: whose device the batches are put on.
    """
    return prepare_data_loader(
        loader,
        accelerator.device,
        num_processes=1,
        process_index=0,
        put_on_device=accelerator.device_placement,
        rng_types=None,
        dispatch_batches=False,
        non_blocking=accelerator.non_blocking,
    )


@dataclass(frozen=True)
class _SpeechItem:
    """`prepare_item` of a row; picklable."""

    processor: Any
    augment_audio: Augmentation | None
    augment_features: Augmentation | None

    def __call__(self, row: Mapping[str, Any], generator: np.random.Generator) -> Mapping[str, Any]:
        return prepare_item(row, self.processor, self.augment_audio, self.augment_features, generator)


@dataclass(frozen=True)
class _SoundItem:
    """What `SoundDataset` makes of a row; picklable."""

    maker: SoundDataset
    classes: list[str] | None

    def __call__(self, row: Mapping[str, Any], generator: np.random.Generator) -> Mapping[str, Any]:
        ids = find_ids(row["label"], label_ids(self.maker.labels), self.maker.multi_label, self.classes)
        self.maker.dataset, self.maker.label_ids = [row], [ids]
        return self.maker.make_item(0, generator)
