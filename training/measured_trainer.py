"""A Trainer that measures its pace, and whose evaluations on several processes are those of one.

What is added to `Seq2SeqTrainer`:

1. **Pace** (`pace.py`): audio per second, padding, waiting and memory of every run, resumed ones included.
2. **Each clip once**: the last step of several processes is filled up with clips that came before. `Trainer` drops
   those from what metrics see; `Seq2SeqTrainer` does not, and here they are.
3. **One evaluation loss**: summed over all labels and divided by their number. The stock Trainer's is a mean over
   batches and processes of such means, and changes with their size and number.
4. **Shards** (FSDP2) are the layers that `sharding.py` names.
"""

from typing import Any

import torch
from accelerate.utils import reduce
from transformers import Seq2SeqTrainer

from ..processing.processor import IGNORED_LABEL
from .pace import PaceCallback
from .sharding import shard_by_layers


class MeasuredTrainer(Seq2SeqTrainer):
    """`Seq2SeqTrainer` with figures of its pace, and of its evaluations that do not depend on batches and processes.

        trainer.train()
        print(pace_sentence(trainer.pace.figures()))

    Args:
        args, kwargs: As for `Seq2SeqTrainer`. A `PaceCallback` among `callbacks` is the one that measures.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gather_each_once = self.gather_function
        self._evaluated: torch.Tensor | None = None  # while evaluating: sum of losses, and number of labels
        if not any(isinstance(one, PaceCallback) for one in self.callback_handler.callbacks):
            self.add_callback(PaceCallback())
        shard_by_layers(getattr(self.accelerator.state, "fsdp_plugin", None), self.model)

    @property
    def pace(self) -> PaceCallback:
        """What measures the runs of this Trainer."""
        return next(one for one in self.callback_handler.callbacks if isinstance(one, PaceCallback))

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Any:
        """The batches of the next update, as in the stock Trainer, under the eyes of `pace`.

        Args:
            epoch_iterator, num_batches, device: As in the stock Trainer.
        """
        return super().get_batch_samples(self.pace.watch(epoch_iterator), num_batches, device)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.pace.meet()
        super()._save_checkpoint(model, trial)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """As in the stock Trainer, with each clip once and the loss per label.

        Args:
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix: As in the stock Trainer.
        """
        self.gather_function = self._gather_each_once
        exact = torch.float32 if self.args.device.type == "mps" else torch.float64
        self._evaluated = torch.zeros(2, dtype=exact, device=self.args.device)
        try:
            output: Any = super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
            losses, labels = reduce(self._evaluated, reduction="sum").tolist()
        finally:
            self._evaluated = None
        if labels:
            output.metrics[f"{metric_key_prefix}_loss"] = losses / labels
        return output

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As in the stock Trainer; adds to the loss of the evaluation.

        Args:
            model, inputs, args, kwargs: As in the stock Trainer.
        """
        results: Any = super().prediction_step(model, inputs, *args, **kwargs)
        loss = results[0]
        if loss is not None and self._evaluated is not None and torch.is_tensor(inputs.get("labels")):
            items, loss = self._without_repeated(model, self._prepare_inputs(inputs), loss)
            if items:
                self._evaluated += torch.stack([loss.to(self._evaluated) * items, items.to(self._evaluated)])
        return results

    def _without_repeated(self, model: Any, inputs: dict[str, Any], loss: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """Labels at hand and the mean loss of them, but for clips that only fill up the last step."""
        labels, state = inputs["labels"], self.accelerator.gradient_state
        clips = len(labels)
        if self.accelerator.num_processes == 1 or not state.end_of_dataloader or state.remainder <= 0:
            return (labels != IGNORED_LABEL).sum(), loss
        real = min(clips, max(0, state.remainder - clips * self.accelerator.process_index))
        # On every process, also where none or all are real: a model in shards computes on all or on none.
        kept = {
            name: value[: max(1, real)] if torch.is_tensor(value) and len(value) == clips else value
            for name, value in inputs.items()
        }
        labels = kept["labels"]
        with torch.no_grad(), self.compute_loss_context_manager():
            mean: Any = self.compute_loss(model, kept)
        return (labels != IGNORED_LABEL).sum() if real else 0, mean.detach().mean()

    def _get_num_items_in_batch(self, *args: Any, **kwargs: Any) -> Any:
        if self._evaluated is not None:
            return None  # an evaluation's losses are means over the labels at hand
        return super()._get_num_items_in_batch(*args, **kwargs)
