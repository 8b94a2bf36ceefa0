"""What transformers' beam search does between two steps of the model, with the same result in less time.

Notable here:
- a step of a small model takes milliseconds, and keeping the books of its hypotheses took a fifth of them;
- both methods are transformers' own by name and by what they return. They are not documented there: a version that
  does not call them does without.
"""

from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationMixin

from .modeling_checks import on_host

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    class _Host(PreTrainedModel, GenerationMixin):
        """What the mixin is mixed into."""

        config: Any
else:
    _Host = GenerationMixin


class BeamSearchMixin(_Host):
    """Hypotheses are moved by whole rows, and those that have ended are compared when another ends."""

    @staticmethod
    def _gather_beams(tensor: torch.Tensor, beam_indices: torch.Tensor) -> torch.Tensor:
        """Hypotheses `(batch, beams, …)` at `beam_indices` `(batch, chosen)`: `(batch, chosen, …)`.

        transformers' own looks up every token by itself.
        """
        if tensor.ndim < 3:
            return tensor.gather(1, beam_indices)
        return tensor[torch.arange(len(tensor), device=tensor.device)[:, None], beam_indices]

    def _update_finished_beams(self, **kwargs: Any) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        """As in transformers: what has ended so far, best first; unchanged where no good hypothesis has just ended.

        An accelerator, which would have to be waited for, is not asked.
        """
        ended = kwargs["next_token_hits_stopping_criteria"]
        if on_host(ended) and not (ended & kwargs["top_num_beam_mask"]).any():
            return tuple(kwargs[name] for name in ("sequences", "beam_scores", "beam_indices", "is_sent_finished"))
        return super()._update_finished_beams(**kwargs)  # type: ignore[misc]
