"""A Trainer that publishes what it trained: measured, with a card, and nothing sent that runs when it is loaded.

1. `create_model_card` measures the model and writes `report.json` and the card from it;
2. `push_to_hub` sends both beside the model, and the pushes amid training the model alone;
3. `training_args.bin`, a pickle that would hold a `hub_token`, goes into checkpoints alone, and neither it nor
   anything else that is no part of a model is ever sent.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import upload_folder
from transformers import TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy
from transformers.utils.hub import PushInProgress

from .cards import write_card
from .checkpointing import UNFINISHED
from .measuring import check_measurable
from .publishing import KINDS, NAMES, TRAINERS_OWN
from .reports import write_report
from .resuming import ResumableTrainer
from .texts import writes_text
from .trainer_report import FACTS, CardFacts, base_of, card_facts, trainer_report


class PublishingTrainer(ResumableTrainer):
    """`ResumableTrainer` that makes the card of what it trained.

    Args:
        model: As for `ResumableTrainer`, as are all others but `card`.
        args: May push with `hub_strategy` "end" or "every_save".
        card: Defaults for `create_model_card`, by the names of `CardFacts`; needed with `args.push_to_hub`.

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
        **kwargs: Any,
    ) -> None:
        self.card = dict(card or {})
        if unknown := sorted(self.card.keys() - set(FACTS)):
            raise ValueError(f"card has {unknown[0]!r}; allowed: {', '.join(FACTS)}")
        _refuse_what_must_not_be_sent(args)
        super().__init__(model, args, *more, **kwargs)
        self.base_model = base_of(self.model, self._output())
        self.optimizer_was_given = self.optimizer is not None

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
        if Path(checkpoint_folder).parent.name == UNFINISHED:  # its turn comes when it is whole
            return
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

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, each file whole or not at all; no pickle beside it, except in a checkpoint.

        Args:
            output_dir, _internal_call: As in `ResumableTrainer`.

        Raises:
            OSError: A file cannot be written; those that stood there are untouched.
        """
        super().save_model(output_dir, _internal_call)
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
