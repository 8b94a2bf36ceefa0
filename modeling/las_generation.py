"""`generate()` of a LAS, and where it attended: what listener and speller add to `joint_generation.py`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..configuration.las import LasConfig
from .companion_cache import CACHE, given_cache
from .joint_generation import JointGenerationMixin
from .las_cache import LasCache
from .listener import ListenerOutput, as_listened

NOT_FORWARDED = ("labels", "next_sequence_length", "is_first_iteration")  # transformers' own keep these too


class LasGenerationMixin(JointGenerationMixin):
    """What `LasForConditionalGeneration` adds to `GenerationMixin`."""

    if TYPE_CHECKING:
        config: LasConfig
        model: Any
        prepare_decoder_input_ids_from_labels: Any

    def listen(
        self, input_features: torch.Tensor | None, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> ListenerOutput:
        """`LasModel.listen`: what the listener makes of features, for `encoder_outputs`."""
        return self.model.listen(input_features, attention_mask, **kwargs)

    def prepare_inputs_for_generation(self, input_ids: Any, **kwargs: Any) -> dict[str, Any]:
        """What `forward` takes for a step: the tokens that the cache has not read, the rest as it came.

        transformers' own looks for positions and masks beside, which a speller has none of; that took a twentieth of a
        greedy step.
        """
        cache = given_cache(kwargs.pop("cache", None), kwargs.pop("past_key_values", None))
        tokens = input_ids[:, -self._unread(input_ids, cache) :]
        rest = {name: value for name, value in kwargs.items() if name not in NOT_FORWARDED}
        return {**rest, "decoder_input_ids": tokens.contiguous(), CACHE: cache}

    def _as_heard(self, outputs: Any, attention_mask: torch.Tensor | None) -> ListenerOutput:
        return as_listened(outputs, attention_mask, self.config)

    def _begin(self, heard: ListenerOutput, rows: int, kwargs: Mapping[str, Any]) -> LasCache:
        return self.model.begin(heard, kwargs.get("memory_slots"), rows, decoding=True)

    def _seconds(self, heard: ListenerOutput) -> torch.Tensor:
        return heard.mask.sum(-1) * self.config.seconds_per_listener_frame

    def _most_seconds(self, heard: ListenerOutput) -> float:
        return heard.last_hidden_state.shape[1] * self.config.seconds_per_listener_frame

    @torch.no_grad()
    def attention_maps(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        layers: Sequence[str] | None = None,
        labels: torch.Tensor | None = None,
        memory_slots: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """Where the speller attended: `{"speller": (batch, heads, targets, listener frames)}`.

        Args:
            input_features: `(batch, frames, mels)`.
            attention_mask: `(batch, frames)`.
            layers: Which maps; a LAS has one, "speller".
            labels: `(batch, targets)`, the text to align; default: what `generate` writes, without the start token.
            memory_slots: As in `forward`.

        Raises:
            ValueError: A layer that a LAS does not have; bad input as in `forward`.
        """
        if unknown := set(layers or ()) - {"speller"}:
            raise ValueError(f"layers={list(unknown)}: a LAS attends in one layer, 'speller'")
        if labels is None:
            labels = self.generate(input_features, attention_mask=attention_mask, memory_slots=memory_slots)[:, 1:]
        options = {"memory_slots": memory_slots, "output_attentions": True, "use_cache": False}
        outputs = self(input_features, attention_mask, self.prepare_decoder_input_ids_from_labels(labels), **options)
        return {"speller": outputs.cross_attentions[0]}
