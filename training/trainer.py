"""The Trainer with batches of like lengths, and a card for what it trained.

Models, collator and metrics work with the stock `Seq2SeqTrainer` as well; what is added here:

1. with `train_sampling_strategy="group_by_length"` and a training set that knows its lengths, batches come from
   `LengthGroupedBatchSampler`, whose order follows from (data_seed or seed, epoch) alone: a resumed run sees the
   batches of an uninterrupted one, and every process of a distributed run its share of the same order;
   With a training set that offers `sample_weights`, batches come from `ClassBalancedBatchSampler` in the same way;
2. evaluation sets that know their lengths are grouped by them, where the stock Trainer computes the features of every
   item once more to measure it; with either, `predict` then answers in that order, labels beside predictions;
3. the epoch reaches the sampler and the dataset in every case (`EpochCallback`);
4. `layer_decay` lets layers learn the slower the nearer they are to the input (`layer_decay.py`);
5. `create_model_card` measures the model and writes `report.json` and the card from it, and `push_to_hub` sends both
   beside the model; `training_args.bin`, a pickle that would hold a `hub_token`, goes into checkpoints alone, and
   neither it nor anything else that is no part of a model is ever sent.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import upload_folder
from torch.utils.data import DataLoader, Sampler
from transformers import Seq2SeqTrainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy, seed_worker
from transformers.training_args import OptimizerNames
from transformers.utils.hub import PushInProgress

from .cards import write_card
from .layer_decay import layer_decay_groups
from .measuring import check_measurable, writes_text
from .publishing import KINDS, NAMES, TRAINERS_OWN
from .reports import write_report
from .sampler import ClassBalancedBatchSampler, LengthGroupedBatchSampler
from .trainer_report import FACTS, CardFacts, base_of, card_facts, trainer_report


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
    """`Seq2SeqTrainer` whose batches hold clips of like lengths, or of all classes, repeatably, with a measured card.

    Grouping is asked for by `train_sampling_strategy="group_by_length"` and needs a training set with `lengths` or
    `durations`, one number per item, such as `SpeechDataset`. Drawing by class is asked for by the training set: by
    `sample_weights` that are not None, as `SoundDataset(balanced=True)` has them. Both can be had at once. Any other
    training set is treated as the stock Trainer does.

        trainer = AuralTrainer(model, args, card={"license": "cc-by-4.0", "language": "en", "dataset": "my clips"}, …)
        trainer.train()
        trainer.create_model_card()  # args.output_dir is now ready for `aural publish`
        trainer.push_to_hub()  # or does all of it

    Args:
        model: As for `Seq2SeqTrainer`, as are all others but `card` and `layer_decay`.
        args: May push with `hub_strategy` "end" or "every_save"; the commits of the latter hold the model as it is,
            and its card comes with `push_to_hub()`. `Seq2SeqTrainingArguments`, for models that tag as well.
        card: Defaults for `create_model_card`, by the names of `CardFacts`; needed with `args.push_to_hub`.
        layer_decay: Factor of the learning rate from each layer to the one below; None is one rate for all.

    Raises:
        ValueError: `args` hold a token or push whole checkpoints, `card` holds something else than a card's facts, or
            with `args.push_to_hub` a fact or what the card is to be measured with is missing.
    """

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        *more: Any,
        card: Mapping[str, Any] | None = None,
        layer_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.layer_decay = layer_decay
        self.card = dict(card or {})
        if unknown := sorted(self.card.keys() - set(FACTS)):
            raise ValueError(f"card has {unknown[0]!r}; allowed: {', '.join(FACTS)}")
        _refuse_what_must_not_be_sent(args)
        super().__init__(model, args, *more, **kwargs)
        self.base_model = base_of(self.model, self._output())
        self.optimizer_was_given = self.optimizer is not None
        self.add_callback(EpochCallback())

    def get_train_dataloader(self) -> DataLoader:
        """Loader of the training set, prepared by Accelerate."""
        dataset: Any = self.train_dataset
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
            worker_init_fn=partial(seed_worker, num_workers=workers, rank=self.args.process_index),
        )
        return self.accelerator.prepare(loader)

    def _batch_sampler(self, dataset: Any) -> Sampler[list[int]] | None:
        lengths, weights = self._lengths(dataset), getattr(dataset, "sample_weights", None)
        size, seed, drop_last = self._train_batch_size, self._data_seed(), self.args.dataloader_drop_last
        if weights is not None:
            return ClassBalancedBatchSampler(weights, size, seed, drop_last, lengths)
        return None if lengths is None else LengthGroupedBatchSampler(lengths, size, seed, drop_last)

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

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
        **facts: Any,
    ) -> None:
        """Save the model, measure it on `eval_dataset`, and write `report.json` and the card beside it.

        One process measures, by the model's `generate` or its probabilities; the others return. No picture is made.

        Args:
            language, license, model_name, finetuned_from, dataset_tags, dataset: As in `CardFacts`.
            tags, tasks, dataset_args: Of the stock Trainer; the card's follow from the model type.
            facts: The others of `CardFacts`: `data_license`, `about`, `limits`.

        Raises:
            ValueError: A fact is missing or ill-formed, here and in `card`; there is no evaluation set or processor,
                or the model is sharded over processes.
            OSError: A file cannot be written.
        """
        told = {"language": language, "license": license, "model_name": model_name, "finetuned_from": finetuned_from}
        known = self._facts(**told, dataset_tags=dataset_tags, dataset=dataset, **facts)
        self.save_model(_internal_call=True)  # so that card and weights belong together
        if not self.is_world_process_zero():
            return
        write_report(self._output(), trainer_report(self, known, self.base_model))
        write_card(self._output(), self.hub_model_id)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **facts: Any,
    ) -> Any:
        """Send the model with a card made now to `args.hub_model_id`, in one commit.

        Args:
            commit_message, blocking, token, revision, private: As in the stock Trainer.
            facts: As for `create_model_card`.

        Returns:
            The commit; a future of it if not `blocking`; None on all processes but the first.

        Raises:
            ValueError: As `create_model_card`, before anything is sent.
            OSError: The Hub refuses or cannot be reached.
        """
        self._facts(**{name: value for name, value in facts.items() if name not in ("tags", "tasks", "dataset_args")})
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        self.create_model_card(**facts)
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        return self._upload(self._output(), commit_message, blocking, token, revision)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository; with `args.push_to_hub` called at construction, and refused if no card can follow.

        Args:
            token, private: As in the stock Trainer.

        Raises:
            ValueError: As `create_model_card`.
        """
        if self.args.push_to_hub:
            self._facts()
        super().init_hf_repo(token, private)

    def _output(self) -> Path:
        return Path(str(self.args.output_dir))

    def _facts(self, **told: Any) -> CardFacts:
        """What is told for a card, once it is sure that the rest can be measured."""
        told = self.card | {name: value for name, value in told.items() if value is not None}
        facts = card_facts(told, writes_text(self.model))
        check_measurable(self)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError("a model in shards cannot be measured: save it, and make the card in a single process")
        return facts

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        running: Any = self.push_in_progress
        busy = running is not None and not running.is_done()
        if busy and not self.args.hub_always_push:
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        message = f"Training in progress, step {self.state.global_step}"
        job = self._upload(Path(checkpoint_folder), message, blocking=False)
        jobs: Any = [*(running.jobs if busy else ()), job]
        self.push_in_progress = PushInProgress(jobs)  # type: ignore[assignment]

    def _upload(
        self,
        folder: Path,
        message: str | None,
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
    ) -> Any:
        """Send those files of a folder that a model is made of: the kinds that `aural publish` sends, flat."""
        return upload_folder(  # type: ignore[call-overload]
            repo_id=str(self.hub_model_id),
            folder_path=folder,
            commit_message=message,
            token=token,
            revision=revision or self.args.hub_revision,
            run_as_future=not blocking,
            allow_patterns=[*(f"*{kind}" for kind in KINDS), *NAMES],
            ignore_patterns=["*/*", *TRAINERS_OWN],
        )

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        folder = self._output() if output_dir is None else Path(output_dir)
        if self.args.should_save and not folder.name.startswith(PREFIX_CHECKPOINT_DIR):
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)


def _refuse_what_must_not_be_sent(args: TrainingArguments | None) -> None:
    if args is None:
        return
    if args.hub_token is not None:
        raise ValueError("hub_token would be saved in training_args.bin: log in with `hf auth login` or set HF_TOKEN")
    if args.push_to_hub and args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
        raise ValueError(
            f"hub_strategy={HubStrategy(args.hub_strategy).value!r} sends pickles, which run when loaded; "
            "allowed: 'end', 'every_save'"
        )
