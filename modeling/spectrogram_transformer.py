"""The spectrogram-patch transformer as transformers models.

Notable here:
- any length at run time: the mask of the patches follows from the mask of the frames, positions from the clip's own
  length (`patches.py`, `positions.py`);
- a clip gives the same result alone and in a padded batch, whatever the padding holds;
- attention through transformers' interface, and `attention_maps` under any of its implementations;
- losses are sums over items divided by `num_items_in_batch` (`sound_loss.py`).
"""

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from ..configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .checks import check_features
from .patches import Patches, SpectrogramEmbeddings
from .pooling import ClipPooling, pool_columns, pool_scores
from .positions import FactorizedPositions, JointPositions
from .self_attention import SelfAttention, SpectrogramLayer
from .sound_loss import clip_loss, frame_loss, problem_type
from .spec_augment import spec_augment
from .spectrogram_outputs import FrameClassifierOutput, SpectrogramTransformerOutput


class SpectrogramTransformerPreTrainedModel(PreTrainedModel):
    """What the spectrogram transformers share: config, initialisation, abilities."""

    config: SpectrogramTransformerConfig
    config_class = SpectrogramTransformerConfig
    base_model_prefix = "spectrogram_transformer"
    main_input_name = "input_features"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SpectrogramEmbeddings", "SpectrogramLayer"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": SpectrogramLayer, "attentions": SelfAttention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        learned: list[torch.Tensor | None] = []
        if isinstance(module, SpectrogramEmbeddings):
            learned = [module.class_tokens]
        elif isinstance(module, JointPositions):
            learned = [module.table]
        elif isinstance(module, FactorizedPositions):
            learned = [module.frequency_table, module.time_table]
        elif isinstance(module, ClipPooling):
            learned = [getattr(module, "query", None)]
        for parameter in learned:
            if parameter is not None:
                init.trunc_normal_(parameter, std=self.config.initializer_range)


class SpectrogramTransformerModel(SpectrogramTransformerPreTrainedModel):
    """The encoder of the [Audio Spectrogram Transformer](https://arxiv.org/abs/2104.01778) for clips of any length.

    Args:
        config: Of the model.
        add_pooling_layer: Also give one vector for a clip; False where nothing would use it.
    """

    def __init__(self, config: SpectrogramTransformerConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = SpectrogramEmbeddings(config)
        self.layers = nn.ModuleList(SpectrogramLayer(config, i) for i in range(config.num_hidden_layers))
        # Not Identity: a model without the norm has no such name, and a checkpoint with one is noticed.
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.final_norm_eps) if config.final_norm else None
        self.pooler = ClipPooling(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The projection of patches."""
        return self.embeddings.patch_projection

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the projection of patches."""
        self.embeddings.patch_projection = cast(nn.Conv2d, value)

    def prepare(
        self, input_features: torch.Tensor | None, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features as they are cut: checked, of the weights' type, 0 on padding; and the boolean mask of frames."""
        if input_features is None:
            raise ValueError("pass input_features (batch, frames, mels)")
        check_features(input_features, attention_mask, self.config.num_mel_bins, empty_rows=True)
        features = input_features.to(self.embeddings.patch_projection.weight.dtype)
        mask = None if attention_mask is None else attention_mask.to(features.device).bool()
        if mask is not None:
            features = features.masked_fill(~mask[..., None], 0.0)
        return features, mask

    def _embed(self, input_features: torch.Tensor | None, attention_mask: torch.Tensor | None) -> Patches:
        """Prepare, augment, cut."""
        features, mask = self.prepare(input_features, attention_mask)
        if self.training and self.config.apply_spec_augment:
            whole = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
            features = spec_augment(features, whole if mask is None else mask, self.config)
        return self.embeddings(features, mask)

    def _encode(self, patches: Patches, eager: bool = False, **kwargs: Any) -> torch.Tensor:
        """All layers and the last norm: `(batch, tokens, hidden)`."""
        config = self.config
        if eager:  # a copy: the model's own choice stays as it is, also for other threads
            config = copy.copy(config)
            config._attn_implementation = "eager"
        states = patches.states
        mask = create_bidirectional_mask(config=config, inputs_embeds=states, attention_mask=patches.mask)
        for layer in self.layers:
            states = layer(states, mask, rotary=patches.rotary, **kwargs)
        return states if self.layernorm is None else self.layernorm(states)

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        patches: Patches | None = None,
        **kwargs: Any,
    ) -> SpectrogramTransformerOutput:
        """Relate every patch of a spectrogram to every other.

        Args:
            input_features: `(batch, frames, mels)` log-mel features, of any number of frames.
            attention_mask: `(batch, frames)`, 1 on real frames, which come first in each row. Default: all real.
            patches: Of `embeddings`, in place of the two: what masked pre-training lets the layers see.
            kwargs: `output_hidden_states`, `output_attentions` and `return_dict` as in transformers; others reach
                the attention implementation.

        Raises:
            ValueError: Features of another number of mels, a mask of another shape, frames that do not come first,
                NaN or infinity.
        """
        if patches is None:
            patches = self._embed(input_features, attention_mask)
        states = self._encode(patches, **kwargs)
        return SpectrogramTransformerOutput(
            last_hidden_state=states,
            pooler_output=None if self.pooler is None else self.pooler(states, patches.mask),
            patch_mask=patches.mask,
            patch_index=patches.index,
        )

    @torch.no_grad()
    def attention_maps(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        layers: Sequence[str] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Where every token attends: `{"layers.0": (batch, heads, tokens, tokens), …}`, under any implementation.

        `maps.as_grid` lays the keys out by frequency and time, `maps.attention_rollout` joins the layers.

        Args:
            input_features: `(batch, frames, mels)`.
            attention_mask: `(batch, frames)`.
            layers: Which maps, by name; default: all.

        Raises:
            ValueError: A layer that the model does not have; bad input as in `forward`.
        """
        names = [f"layers.{i}" for i in range(len(self.layers))]
        if unknown := [name for name in layers or () if name not in names]:
            raise ValueError(f"layers={unknown}: this model attends in {names[0]} to {names[-1]}")
        asked = names if layers is None else list(layers)
        maps: dict[int, torch.Tensor | None] = {names.index(name): None for name in asked}
        self._encode(self._embed(input_features, attention_mask), eager=True, attention_maps=maps)
        return {name: cast(torch.Tensor, maps[names.index(name)]) for name in asked}


class ScoreHead(nn.Module):
    """LayerNorm, dropout and a linear layer: states `(…, hidden)` → logits `(…, labels)`."""

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.head_norm_eps)
        self.dropout = nn.Dropout(config.head_dropout)
        self.dense = nn.Linear(config.hidden_size, cast(int, config.num_labels))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """States to logits."""
        return self.dense(self.dropout(self.layernorm(states)))


class WithEncoder(SpectrogramTransformerPreTrainedModel):
    """What all heads share: an encoder, which shows where it attends.

    Args:
        config: Of the model.
    """

    _pools_clips = False  # an unused parameter would stop a run on several processes

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__(config)
        self.spectrogram_transformer = SpectrogramTransformerModel(config, add_pooling_layer=self._pools_clips)

    def attention_maps(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        layers: Sequence[str] | None = None,
    ) -> dict[str, torch.Tensor]:
        """`SpectrogramTransformerModel.attention_maps` of the encoder."""
        return self.spectrogram_transformer.attention_maps(input_features, attention_mask, layers)

    def _columns(self, outputs: SpectrogramTransformerOutput, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One state per time patch `(batch, columns, hidden)` of features of `frames`, and which are real."""
        config, tokens = self.config, self.config.num_class_tokens or 0
        mask = None if outputs.patch_mask is None else outputs.patch_mask[:, tokens:]
        states, columns = outputs.last_hidden_state[:, tokens:], config.time_patches(frames)
        return pool_columns(states, mask, outputs.patch_index, config.frequency_patches, columns)


class _Classifier(WithEncoder):
    """What the classifiers share: a head that scores states."""

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.classifier = ScoreHead(config)
        self.post_init()


class SpectrogramTransformerForAudioClassification(_Classifier):
    """Which sounds a clip holds: one label of several, or several at once by `config.problem_type`."""

    _pools_clips = True

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Score clips, and with `labels` give the loss. Arguments beside these as in `SpectrogramTransformerModel`.

        Args:
            input_features: `(batch, frames, mels)`.
            attention_mask: `(batch, frames)`.
            labels: `(batch,)` integers, or `(batch, labels)` floats: several labels, or one softly (`sound_loss.py`).
            num_items_in_batch: Entries of labels in the whole (accumulated) batch, as transformers' Trainer counts.

        Returns:
            `logits` `(batch, labels)`, `loss`.

        Raises:
            ValueError: As the encoder; labels of another shape or out of range.
        """
        outputs = self.spectrogram_transformer(input_features, attention_mask, **kwargs)
        logits = self.classifier(outputs.pooler_output)
        loss = None
        if labels is not None:
            kind = problem_type(self.config, labels)
            self.config.problem_type = cast(Any, kind)  # as transformers: saved, and read by pipelines
            loss = clip_loss(logits, labels, self.config, num_items_in_batch)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class SpectrogramTransformerForAudioFrameClassification(_Classifier):
    """Which sounds each moment holds, several at once; and the clip's scores, pooled from its moments'."""

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> FrameClassifierOutput:
        """Score time patches, and with `labels` give the loss. Arguments beside these as in the encoder.

        Args:
            input_features: `(batch, frames, mels)`.
            attention_mask: `(batch, frames)`.
            labels: Floats from 0 to 1: `(batch, columns, labels)` for every time patch, -100 where nothing is known;
                or `(batch, labels)` for whole clips, against the pooled scores.
            num_items_in_batch: Entries of labels in the whole (accumulated) batch, as transformers' Trainer counts.

        Raises:
            ValueError: As the encoder; labels of another shape or out of range.
        """
        outputs = self.spectrogram_transformer(input_features, attention_mask, **kwargs)
        config = self.config
        states, frame_mask = self._columns(outputs, cast(torch.Tensor, input_features).shape[1])
        logits = self.classifier(states)  # (batch, columns, labels)
        clip_logits = pool_scores(logits, frame_mask, config.frame_pooling)
        loss = None
        if labels is not None:
            config.problem_type = "multi_label_classification"
            if labels.ndim == 3:
                loss = frame_loss(logits, labels, frame_mask, num_items_in_batch)
            else:
                loss = clip_loss(clip_logits, labels.float(), config, num_items_in_batch)
        return FrameClassifierOutput(
            loss=loss,
            logits=logits,
            clip_logits=clip_logits,
            frame_mask=frame_mask,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = [
    "SpectrogramTransformerForAudioClassification",
    "SpectrogramTransformerForAudioFrameClassification",
    "SpectrogramTransformerModel",
    "SpectrogramTransformerPreTrainedModel",
]
