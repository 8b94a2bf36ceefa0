"""The spectrogram transformer learns from sound that nobody labelled: parts are hidden, and it tells what they hold.

Notable here:
- a masked autoencoder (AudioMAE, Huang et al. 2022, arXiv:2207.06405), whose encoder sees the kept patches alone, and
  so costs a fraction of a supervised step; and SSAST's joint objective (Gong et al. 2021, arXiv:2110.09784), whose
  encoder sees every place, with one learned vector where a patch is masked;
- several masks per clip (EAT, arXiv:2401.03497, after data2vec 2.0): a clip is cut and projected once, and each mask
  is a row of its own in the layers;
- the encoder is the attribute that every head has: `from_pretrained` of a head takes it over, tensor by tensor;
- the loss is a sum over masked patches divided by their number, that of the whole accumulated batch where it is given;
- the masks are the only augmentation here: patchout and SpecAugment rest.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_spectrogram_transformer import SpectrogramTransformerConfig
from .modeling_checks import on_host
from .modeling_patch_contents import (
    contrastive_error,
    lay_out,
    mean_and_deviation,
    normalized,
    patch_contents,
    squared_error,
)
from .modeling_patch_masks import draw_masks, most_kept
from .modeling_patches import CutPatches
from .modeling_positions import TimeCoordinates
from .modeling_pretraining_heads import MaskedPatchHeads, PatchDecoder
from .modeling_spectrogram_outputs import SpectrogramTransformerOutput
from .modeling_spectrogram_transformer import WithEncoder


@dataclass
class SpectrogramPreTrainingOutput(ModelOutput):
    """What was told of masked patches.

    Shapes: `logits` `(batch, masks, places, content)`, the contents told of every place, those of masked ones being
    what the loss counts, of the kind that `config.pretraining_normalize_patches` says; `mask` `(batch, masks, places)`
    boolean, True on masked patches; `hidden_states` and `attentions` of the encoder, a row for each mask of each clip.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor = None  # type: ignore[assignment]  # a ModelOutput's fields have defaults
    mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class Reconstruction:
    """A spectrogram, what of it was masked, and what the model makes of that.

    Shapes: all `(batch, frames, mels)` float32. `reconstructed` holds what the model tells of masked patches and the
    original elsewhere, the mean where patches overlap; `masked` the share, 0 to 1, of the patches over a point that
    were masked.
    """

    original: torch.Tensor
    masked: torch.Tensor
    reconstructed: torch.Tensor


class SpectrogramTransformerForPreTraining(WithEncoder):
    """Masked pre-training, by `config.pretraining_objective`.

    Args:
        config: Of the model. `mask_kind`, `mask_ratio` and `masks_per_clip` say what is masked.

    Raises:
        ValueError: The decoder's width and heads do not fit each other.
    """

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__(config)
        heads = {"masked_autoencoder": PatchDecoder, "discriminative_generative": MaskedPatchHeads}
        self.decoder = heads[config.pretraining_objective](config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PatchDecoder):
            init.normal_(module.mask_token, std=self.config.initializer_range)
        elif isinstance(module, MaskedPatchHeads):
            init.normal_(module.mask_embedding, std=self.config.initializer_range)

    def set_attn_implementation(self, *args: Any, **kwargs: Any) -> None:
        """As in transformers; the decoder's layers follow."""
        super().set_attn_implementation(*args, **kwargs)
        if isinstance(self.decoder, PatchDecoder):
            self.decoder.config._attn_implementation = self.config._attn_implementation

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> SpectrogramPreTrainingOutput:
        """Mask clips and tell what was masked. Arguments beside these as in `SpectrogramTransformerModel`.

        Masks are, in this order: `mask`; those of `labels`; drawn from `generator`; in training drawn from torch's own
        generator; else fixed ones, which follow from places alone (`patch_masks.py`), so that evaluation repeats.

        Args:
            input_features: `(batch, frames, mels)`.
            attention_mask: `(batch, frames)`.
            mask: Boolean `(batch, places)` or `(batch, masks, places)`, True on patches to mask, place `row * columns
                + column`; what it says of padding is passed over. Several masks need not keep equally many.
            labels: The same as a collator draws it (`training.unlabelled_data`), integers: 1 on masked patches, -100
                elsewhere; by it, transformers' Trainer counts what the loss counts.
            generator: On any device.
            num_items_in_batch: Masked patches of the whole (accumulated) batch, over all masks; default: of this one.

        Returns:
            `loss`, of which the mean is over masked patches; `logits` and `mask`.

        Raises:
            ValueError: As the encoder; masks of another shape, both of them, or ones that keep more than the config
                says.
        """
        encoder = self.spectrogram_transformer
        features, frames = encoder.prepare(input_features, attention_mask)
        cut = encoder.embeddings.cut(features, frames)
        masked = self._masks(cut, mask, labels, generator)  # (batch, masks, places)
        if isinstance(self.decoder, PatchDecoder):
            outputs, logits = self._fill_in(cut, masked, self._most(masked, cut, mask), **kwargs)
            told = logits
        else:
            outputs, told, logits = self._recognize(cut, masked, **kwargs)
        contents = patch_contents(self.config, features)[:, None]  # (batch, 1, places, content)
        if self.config.pretraining_normalize_patches:
            contents = normalized(contents)
        loss = squared_error(logits, contents, masked)
        if told is not logits:
            loss = self.config.pretraining_generative_weight * loss + contrastive_error(told, contents, masked)
        items = masked.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return SpectrogramPreTrainingOutput(
            loss=loss / items,
            logits=logits,
            mask=masked,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _masks(
        self,
        cut: CutPatches,
        mask: torch.Tensor | None,
        labels: torch.Tensor | None,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Boolean `(batch, masks, places)`, True on a clip's own patches that are masked."""
        batch, places = cut.states.shape[:2]
        if mask is not None and labels is not None:
            raise ValueError("mask and labels both say what is masked; pass one of them")
        if mask is None and labels is None:
            fixed = generator is None and not self.training
            return draw_masks(self.config, _real_columns(cut), generator, fixed)
        name, chosen = ("mask", mask) if mask is not None else ("labels", labels)
        chosen = cast(torch.Tensor, chosen)
        shape = tuple(chosen.shape)
        if len(shape) == 2:
            chosen = chosen[:, None]
        if chosen.ndim != 3 or (chosen.shape[0], chosen.shape[2]) != (batch, places) or not chosen.shape[1]:
            allowed = f"(batch={batch}, places={places}) or (batch={batch}, masks, places={places})"
            raise ValueError(f"{name} {shape} must be {allowed}")
        return (chosen.to(cut.states.device) > 0) & _real_places(cut, self.config.frequency_patches)[:, None]

    def _most(self, masked: torch.Tensor, cut: CutPatches, mask: torch.Tensor | None) -> int:
        """Tokens that the encoder gets for a row: enough for every kept patch, told without waiting for a device."""
        columns = masked.shape[-1] // self.config.frequency_patches
        usual = most_kept(self.config, columns)
        if not on_host(masked):  # masks of one's own may keep everything
            return usual if mask is None else masked.shape[-1]
        real = _real_places(cut, self.config.frequency_patches)[:, None]
        most = int((real & ~masked).sum(-1).max())
        if mask is None and most > usual:
            allowed = f"mask_kind={self.config.mask_kind!r} at mask_ratio={self.config.mask_ratio} keeps {usual}"
            raise ValueError(f"labels keep {most} patches of a clip, where {allowed} at most; pass them as mask")
        return max(most, 1)

    def _fill_in(
        self, cut: CutPatches, masked: torch.Tensor, most: int, **kwargs: Any
    ) -> tuple[SpectrogramTransformerOutput, torch.Tensor]:
        """The masked autoencoder: the encoder on kept patches, the decoder on all; contents of all places."""
        batch, masks, places = masked.shape
        real = _real_places(cut, self.config.frequency_patches)
        kept = (real[:, None] & ~masked).flatten(0, 1)  # (batch * masks, places)
        index = (~kept).to(torch.uint8).argsort(dim=-1, stable=True)[:, :most]  # kept places first, ascending
        used = kept.gather(1, index)
        width = cut.states.shape[-1]
        states = cut.placed()[:, None].expand(-1, masks, -1, -1)
        places_of = index.view(batch, masks, most, 1).expand(-1, -1, -1, width)
        states = states.gather(2, places_of).flatten(0, 1)
        time, encoder = _for_each_mask(cut.time, masks), self.spectrogram_transformer
        outputs = encoder(patches=encoder.embeddings.tokens(states, used, index, time), **kwargs)
        own = None if cut.real is None else real.repeat_interleave(masks, dim=0)
        told = self.decoder(outputs.last_hidden_state, index, used, own, time)
        return outputs, told.view(batch, masks, places, -1)

    def _recognize(
        self, cut: CutPatches, masked: torch.Tensor, **kwargs: Any
    ) -> tuple[SpectrogramTransformerOutput, torch.Tensor, torch.Tensor]:
        """SSAST: the encoder on every place; what tells masked patches apart, and contents of all places."""
        masks, rows = masked.shape[1], self.config.frequency_patches
        heads = cast(MaskedPatchHeads, self.decoder)
        states = heads.hide(cut.states[:, None], masked)  # (batch, masks, places, hidden)
        if cut.positions is not None:
            states = states + cut.positions[:, None]
        real = None if cut.real is None else _real_places(cut, rows).repeat_interleave(masks, dim=0)
        time, encoder = _for_each_mask(cut.time, masks), self.spectrogram_transformer
        outputs = encoder(patches=encoder.embeddings.tokens(states.flatten(0, 1), real, None, time), **kwargs)
        found = outputs.last_hidden_state[:, self.config.num_class_tokens or 0 :]
        found = found.view(*masked.shape, -1)
        return outputs, heads.discriminator(found), heads.generator(found)

    @torch.no_grad()
    def reconstruct(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Reconstruction:
        """Spectrograms as the model completes them, to draw (`processing.plot_studies.plot_reconstruction`).

        Where contents are told with mean 0 and variance 1, each patch is given the mean and deviation that it has.

        Args:
            input_features, attention_mask, generator: As in `forward`.
            mask: As in `forward`; of several masks of a clip the first counts.

        Raises:
            ValueError: As `forward`.
        """
        told = self(input_features, attention_mask, mask=mask, generator=generator)
        features, _ = self.spectrogram_transformer.prepare(input_features, attention_mask)
        contents, masked = patch_contents(self.config, features), told.mask[:, 0, :, None]
        filled = told.logits[:, 0].float()
        if self.config.pretraining_normalize_patches:
            mean, deviation = mean_and_deviation(contents)
            filled = filled * deviation + mean
        return Reconstruction(
            original=features.float(),
            masked=lay_out(self.config, masked.float().expand_as(contents), torch.zeros_like(features)),
            reconstructed=lay_out(self.config, torch.where(masked, filled, contents), features),
        )


def _real_columns(cut: CutPatches) -> torch.Tensor:
    """Boolean `(batch, columns)`, True on a clip's own columns."""
    if cut.real is not None:
        return cut.real
    return torch.ones(cut.states.shape[0], cut.time.at.shape[1], dtype=torch.bool, device=cut.states.device)


def _real_places(cut: CutPatches, rows: int) -> torch.Tensor:
    """Boolean `(batch, places)`, True on a clip's own patches."""
    return _real_columns(cut)[:, None].expand(-1, rows, -1).flatten(1)


def _for_each_mask(time: TimeCoordinates, masks: int) -> TimeCoordinates:
    """Coordinates of the columns, a row for each mask of each clip."""
    if time.at.shape[0] == 1 or masks == 1:
        return time
    return TimeCoordinates(time.at.repeat_interleave(masks, dim=0), time.stretched)


__all__ = ["SpectrogramTransformerForPreTraining"]
