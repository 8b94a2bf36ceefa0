"""The Trainer with batches of like lengths, runs that lose no work, and a card for what it trained.

Models, collator and metrics work with the stock `Seq2SeqTrainer` as well; what is added here:

1. with `frames_per_batch`, batches hold as many clips as that allows, of like lengths (`frame_batches.py`), the same
   clips per step on one process or several;
2. with `train_sampling_strategy="group_by_length"` and a training set that knows its lengths, batches come from
   `LengthGroupedBatchSampler`; with a training set that offers `sample_weights`, from `ClassBalancedBatchSampler`. All
   of these follow from (data_seed or seed, epoch) alone: a resumed run sees the batches of an uninterrupted one, and
   every process of a distributed run its share of the same order;
3. evaluation sets that know their lengths are grouped by them, where the stock Trainer computes the features of every
   item once more to measure it; with either, `predict` then answers in that order, labels beside predictions;
4. the epoch reaches the sampler and the dataset in every case (`EpochCallback`);
5. `layer_decay` lets layers learn the slower the nearer they are to the input (`layer_decay.py`);
6. guided attention, where the model's config has it, fades over the updates that the config names;
7. whole checkpoints, exact resuming, and stops by signal (`resuming.py`);
8. a measured card, and pushes of nothing but a model (`publishing_trainer.py`).
"""

from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.training_args import OptimizerNames

from .frame_batches import FrameBatchSampler, frame_lengths
from .layer_decay import layer_decay_groups
from .publishing_trainer import PublishingTrainer
from .sampler import ClassBalancedBatchSampler, LengthGroupedBatchSampler
from .stopping import start_worker
from .streams import ItemStream, prepare_stream


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


class AuralTrainer(PublishingTrainer):
    """`Seq2SeqTrainer` for clips of many lengths: like lengths together, nothing lost when killed, a measured card.

    Batches by total frames are asked for by `frames_per_batch`, and need a training set with `frames` or `durations`,
    one number per item, such as `SpeechDataset`. Grouping batches of a fixed number of clips is asked for by
    `train_sampling_strategy="group_by_length"` and needs `lengths` or `durations`. Drawing by weight is asked for by
    the training set: by `sample_weights` that are not None, as `SoundDataset(balanced=True)` has them; with either of
    the others or alone. Any other training set is treated as the stock Trainer does.

        trainer = AuralTrainer(model, args, frames_per_batch=24_000, card={"license": "cc-by-4.0", …}, …)
        trainer.train(resume_from_checkpoint=newest_checkpoint(args.output_dir))
        trainer.create_model_card()  # args.output_dir is now ready for `aural publish`
        trainer.push_to_hub()  # or does all of it

    Args:
        model: As for `Seq2SeqTrainer`, as are all others but those below, `checkpoint_files` (see `ResumableTrainer`)
            and `card` (see `PublishingTrainer`).
        args: May push with `hub_strategy` "end" or "every_save"; the commits of the latter hold the model as it is,
            and its card comes with `push_to_hub()`. `Seq2SeqTrainingArguments`, for models that tag as well.
        frames_per_batch: Frames of a padded training batch, at most, on each device;
            `per_device_train_batch_size` and `dataloader_drop_last` then count for nothing. Augmentation may still
            lengthen clips. None: batches of a number of clips.
        layer_decay: Factor of the learning rate from each layer to the one below; None is one rate for all.

    Raises:
        ValueError: `args` hold a token or push whole checkpoints, `card` holds something else than a card's facts, or
            with `args.push_to_hub` a fact or what the card is to be measured with is missing; `frames_per_batch` is
            below 1, or Accelerate is to split batches.
    """

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        *more: Any,
        frames_per_batch: int | None = None,
        layer_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.frames_per_batch = frames_per_batch
        self.layer_decay = layer_decay
        if frames_per_batch is not None:
            _check_frames(frames_per_batch, args)
        super().__init__(model, args, *more, **kwargs)
        self.add_callback(EpochCallback())

    def get_train_dataloader(self) -> DataLoader:
        """Loader of the training set, prepared by Accelerate.

        Raises:
            ValueError: With `frames_per_batch`, the training set does not know its lengths, or an item is too long.
        """
        dataset: Any = self.train_dataset
        if isinstance(dataset, ItemStream):
            return prepare_stream(self._stream_loader(dataset), self.accelerator)
        sampler = self._batch_sampler(dataset)
        if sampler is None:
            return super().get_train_dataloader()
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
            worker_init_fn=partial(start_worker, workers=workers, rank=self.args.process_index),
            # An iterator draws a seed for its workers, from the model's generator if from no other; workers that are
            # kept over epochs draw once, and once more in a run that resumes.
            generator=torch.Generator().manual_seed(self._data_seed()),
        )
        return self.accelerator.prepare(loader)

    def _stream_loader(self, stream: ItemStream) -> DataLoader:
        """Batches of this process's part of a stream, of `per_device_train_batch_size` clips."""
        if self.frames_per_batch is not None:
            raise ValueError(
                f"frames_per_batch is {self.frames_per_batch}, but lengths of a stream are not known: say None, and "
                "per_device_train_batch_size clips make a batch"
            )
        workers = self.args.dataloader_num_workers
        return DataLoader(
            stream,
            batch_size=self._train_batch_size,
            collate_fn=self._get_collator_with_removed_columns(self.data_collator, description="training"),
            num_workers=workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            worker_init_fn=partial(start_worker, workers=workers, rank=self.args.process_index),
            generator=torch.Generator().manual_seed(self._data_seed()),
        )

    def _batch_sampler(self, dataset: Any) -> Sampler[list[int]] | None:
        weights, seed = getattr(dataset, "sample_weights", None), self._data_seed()
        if self.frames_per_batch is not None:
            frames = self.frames_per_batch * max(1, self.args.n_gpu)  # DataParallel splits a batch over its devices
            lengths = frame_lengths(dataset, self.processing_class)
            return FrameBatchSampler(lengths, frames, seed, self._processes(), weights)
        lengths, size, drop_last = self._lengths(dataset), self._train_batch_size, self.args.dataloader_drop_last
        if weights is not None:
            return ClassBalancedBatchSampler(weights, size, seed, drop_last, lengths)
        return None if lengths is None else LengthGroupedBatchSampler(lengths, size, seed, drop_last)

    def _processes(self) -> int:
        """Processes that get different batches."""
        return self.args.world_size // (self.get_tp_size() * self.get_cp_size() * self.get_sp_size())

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

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """As in the stock Trainer; guided attention fades linearly, by the update that a resumed run stands at too.

        Args:
            model, inputs, args, kwargs: As in the stock Trainer.
        """
        trained: Any = self.model
        config = trained.config
        if weight := getattr(config, "guided_attention_weight", 0.0):
            left = max(0.0, 1 - self.state.global_step / config.guided_attention_updates)
            inputs = {**inputs, "guided_attention_weight": weight * left}
        return super().training_step(model, inputs, *args, **kwargs)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer of `args`, its learning rates decayed by layer if that is asked for.

        Args:
            model: As in the stock Trainer.

        Raises:
            ValueError: `layer_decay` with an optimizer that makes its own groups, or a model without layers.
        """
        if self.layer_decay is not None and self.optimizer is None:
            target: Any = self.model if model is None else model
            rate, weight_decay = self.args.learning_rate, self.args.weight_decay
            groups = layer_decay_groups(target, rate, self.layer_decay, weight_decay)
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, target)
            if {"params", "model", "optimizer_dict"} & options.keys():  # GaLore, LOMO and their like
                name = OptimizerNames(self.args.optim).value
                raise ValueError(f"layer_decay with optim={name!r}, which makes its own groups; try 'adamw_torch'")
            self.optimizer = kind(groups, **options)
        return super().create_optimizer(model)


def _check_frames(frames_per_batch: int, args: TrainingArguments | None) -> None:
    if frames_per_batch < 1:
        raise ValueError(f"frames_per_batch is {frames_per_batch}; it must be at least 1, or None")
    config = getattr(args, "accelerator_config", None)
    for name in ("split_batches", "dispatch_batches"):
        if getattr(config, name, None):
            raise ValueError(f"accelerator_config has {name}=True; with frames_per_batch it must be False")
