"""The Trainer with batches of like lengths.

Models, collator and metrics work with the stock `Seq2SeqTrainer` as well; what is added here:

1. with `train_sampling_strategy="group_by_length"` and a training set that knows its lengths, batches come from
   `LengthGroupedBatchSampler`, whose order follows from (data_seed or seed, epoch) alone: a resumed run sees the
   batches of an uninterrupted one, and every process of a distributed run its share of the same order;
2. evaluation sets that know their lengths are grouped by them, where the stock Trainer computes the features of every
   item once more to measure it;
3. the epoch reaches the sampler and the dataset in every case (`EpochCallback`).
"""

from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from transformers import Seq2SeqTrainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import seed_worker

from .sampler import LengthGroupedBatchSampler


class EpochCallback(TrainerCallback):
    """Tell the training loader's samplers and dataset which epoch begins.

    Accelerate's loaders miss one or the other: `DataLoaderShard.set_epoch` passes the dataset by when a wrapped
    sampler took the epoch, and the loader of a resumed epoch hides the sampler behind one wrapper more.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called by the Trainer, also for the epoch in whose midst a run resumes.

        Args:
            args: of the run.
            state: its `epoch` is a whole number at a beginning, and has a fraction when a run resumes.
            control: left alone.
            kwargs: `train_dataloader` is used.
        """
        loader = kwargs["train_dataloader"]
        sampler = getattr(loader, "batch_sampler", None)
        targets: list[Any] = [getattr(loader, "dataset", None)]
        while sampler is not None:
            targets.append(sampler)
            sampler = getattr(sampler, "batch_sampler", None)
        for target in targets:
            if hasattr(target, "set_epoch"):
                target.set_epoch(int(state.epoch or 0))


class AuralTrainer(Seq2SeqTrainer):
    """`Seq2SeqTrainer` whose batches hold utterances of like lengths, repeatably.

    Takes the arguments of `Seq2SeqTrainer`. Grouping is asked for by `train_sampling_strategy="group_by_length"` and
    needs a training set with `lengths` or `durations`, one number per item, such as `SpeechDataset`; any other
    training set is treated as the stock Trainer does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(EpochCallback())

    def get_train_dataloader(self) -> DataLoader:
        """Loader of the training set, prepared by Accelerate."""
        dataset: Any = self.train_dataset
        lengths = self._lengths(dataset)
        if lengths is None:
            return super().get_train_dataloader()
        sampler = LengthGroupedBatchSampler(
            lengths, self._train_batch_size, self._data_seed(), drop_last=self.args.dataloader_drop_last
        )
        workers = self.args.dataloader_num_workers
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=self._get_collator_with_removed_columns(self.data_collator, description="training"),
            num_workers=workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            multiprocessing_context=self.args.dataloader_multiprocessing_context,
            in_order=self.args.dataloader_in_order,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            worker_init_fn=partial(seed_worker, num_workers=workers, rank=self.args.process_index),
        )
        return self.accelerator.prepare(loader)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler | None:
        lengths = self._lengths(eval_dataset)
        if lengths is None:
            return super()._get_eval_sampler(eval_dataset)
        generator = torch.Generator().manual_seed(self._data_seed())
        return LengthGroupedSampler(self.args.eval_batch_size, lengths=list(lengths), generator=generator)

    def _lengths(self, dataset: Any) -> Any:
        """The dataset's lengths if grouping is asked for and it has some."""
        if self.args.train_sampling_strategy != "group_by_length":
            return None
        lengths = getattr(dataset, "lengths", None)
        return getattr(dataset, "durations", None) if lengths is None else lengths

    def _data_seed(self) -> int:
        return self.args.seed if self.args.data_seed is None else self.args.data_seed
