"""Speech recognition by the spectrogram transformer: a symbol or a blank for every moment (CTC, Graves et al. 2006).

Notable here:
- a moment is a column of the grid: with patches of full height it is the patch itself, else the mean over frequency;
- what lies beyond a clip says blank, and nothing else, so that whoever takes the likeliest symbols of a padded batch
  needs no mask: transformers' recognition pipeline does so;
- a column that patchout left out would be a hole in the text. A CTC head takes `patchout_frequency`, which leaves out
  rows, and refuses the two that leave out moments.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_spectrogram_transformer import SpectrogramTransformerConfig
from .modeling_ctc_loss import ctc_loss
from .modeling_labels import check_labels, items_in
from .modeling_spectrogram_transformer import WithEncoder

NEVER = -1e4  # a logit beside 0 whose probability is 0 in every floating point type, and finite in all


@dataclass
class CtcOutput(ModelOutput):
    """What is said at each moment.

    Shapes: `logits` `(batch, columns, vocabulary)`, one row per time patch, blank on padding; `frame_mask` `(batch,
    columns)` boolean, True on real columns; `hidden_states` and `attentions` when asked for, as in transformers.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor = None  # type: ignore[assignment]  # a ModelOutput's fields have defaults
    frame_mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class SpectrogramTransformerForCTC(WithEncoder):
    """Texts from spectrograms, a symbol or a blank for every time patch.

    Args:
        config: With a `vocab_size`.

    Raises:
        ValueError: It has none, or its patchout would leave out moments.
    """

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__(config)
        if config.vocab_size is None:
            raise ValueError("vocab_size=None: a CTC head needs the number of symbols, such as len(tokenizer)")
        for name in ("patchout_time", "patchout_unstructured"):
            if share := getattr(config, name):
                raise ValueError(
                    f"{name}={share} must be 0: a CTC head needs every moment; patchout_frequency leaves out rows"
                )
        self.dropout = nn.Dropout(config.head_dropout)
        self.ctc_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> CtcOutput:
        """Say what each moment is, and with `labels` give the loss. Arguments beside these as in the encoder.

        Args:
            input_features: `(batch, frames, mels)`.
            attention_mask: `(batch, frames)`.
            labels: `(batch, targets)`: tokens, `<eos>`, then -100. CTC leaves out `<eos>`.
            num_items_in_batch: Labels in the whole (accumulated) batch, as transformers' Trainer counts; default:
                those at hand. `<eos>` counts, as it does for models that spell.

        Returns:
            `logits` `(batch, columns, vocabulary)`, `frame_mask`, `loss`: the sum over texts of -ln P, divided by the
            number of labels.

        Raises:
            ValueError: As the encoder; labels of another shape or out of range, or a text that has too few columns.
        """
        if labels is not None:
            check_labels(labels, len(labels if input_features is None else input_features), self.ctc_head.out_features)
        outputs = self.spectrogram_transformer(input_features, attention_mask, **kwargs)
        states, mask = self._columns(outputs, cast(torch.Tensor, input_features).shape[1])
        if attention_mask is not None:  # a clip without a frame has no moment; the encoder gives it one patch
            mask = mask & attention_mask.to(mask.device).bool().any(dim=-1, keepdim=True)
        logits = self._blank_beyond(self.ctc_head(self.dropout(states)), mask)
        loss = None
        if labels is not None:
            labels = labels.to(logits.device)
            loss = ctc_loss(logits, mask, labels, self.config) / items_in(labels, num_items_in_batch)
        return CtcOutput(
            loss=loss,
            logits=logits,
            frame_mask=mask,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _blank_beyond(self, logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits `(batch, columns, vocabulary)` that are surely blank where `mask` `(batch, columns)` is False."""
        blank = torch.arange(logits.shape[-1], device=logits.device) == self.config.blank_id
        return torch.where(mask[..., None], logits, torch.where(blank, 0.0, NEVER).to(logits.dtype))


__all__ = ["CtcOutput", "SpectrogramTransformerForCTC"]
