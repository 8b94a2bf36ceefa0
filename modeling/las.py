"""Listen, Attend and Spell as transformers models.

Notable here:
- `LasModel`: listener and speller, states out; `LasForConditionalGeneration`: logits, loss, `generate()`;
- labels are tokens then `<eos>`; decoder inputs are made here, and the loss does not shift them again;
- losses are sums over items divided by `num_items_in_batch`, so accumulated batches equal one large batch;
- `generate()` ends every clip at a length that follows from its own frames, whatever it is batched with.
"""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import Seq2SeqLMOutput, Seq2SeqModelOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES
from transformers.utils import can_return_tuple

from ..configuration.las import LasConfig
from .checks import check_features
from .labels import shift_right
from .las_cache import CACHE, LasCache, given_cache
from .las_checks import check_ctc_states, check_slots, check_targets
from .las_generation import LasGenerationMixin
from .las_loss import Heard, las_loss
from .listener import Listener, ListenerOutput, as_listened
from .memory_slots import MemorySlots, draw_slots
from .packed_linear import call
from .spec_augment import spec_augment
from .speller import Speller
from .speller_attention import Memory


class LasPreTrainedModel(PreTrainedModel):
    """What the LAS models share: config, initialisation, abilities."""

    config: LasConfig
    config_class = LasConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    input_modalities = "audio"
    _no_split_modules = ["BidirectionalLSTM", "Speller"]  # noqa: RUF012
    _is_stateful = True  # a recurrent state cannot be cropped, so assisted decoding is refused
    supports_gradient_checkpointing = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.LSTMCell):  # the base covers nn.LSTM; a cell is initialised alike
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    init.xavier_uniform_(parameter)
                else:
                    init.zeros_(parameter)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # forward makes a LasCache


class LasModel(LasPreTrainedModel):
    """Listener and speller of [Listen, Attend and Spell](https://arxiv.org/abs/1508.01211): states, no logits."""

    def __init__(self, config: LasConfig) -> None:
        super().__init__(config)
        self.listener = Listener(config)
        self.speller = Speller(config)
        self.memory_slots = None if config.memory_slots is None else MemorySlots(config)
        self.post_init()

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        """The listener."""
        return self.listener if modality is None else self

    def get_decoder(self) -> nn.Module:
        """The speller."""
        return self.speller

    def get_input_embeddings(self) -> nn.Embedding:
        return self.speller.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.speller.embed_tokens = cast(nn.Embedding, value)

    def listen(
        self, input_features: torch.Tensor | None, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> ListenerOutput:
        """Listen to features, with SpecAugment in training. Arguments and errors as in `forward`."""
        if input_features is None:
            raise ValueError("pass input_features (batch, frames, mels) or encoder_outputs")
        if kwargs.get("output_hidden_states") is None:
            kwargs["output_hidden_states"] = self.config.output_hidden_states
        check_features(input_features, attention_mask, self.config.num_mel_bins)
        if self.training and self.config.apply_spec_augment:
            ones = input_features.new_ones(input_features.shape[:2])
            mask = ones if attention_mask is None else attention_mask
            input_features = spec_augment(input_features, mask.bool(), self.config)
        return self.listener(input_features, attention_mask, **kwargs)

    def remember(self, listened: ListenerOutput, slots: int | None = None) -> Memory:
        """What the speller attends to: the listener's states, or the slots that they are pooled into.

        Args:
            listened: What the listener returned.
            slots: How many slots; default: a random number in training, else all.

        Raises:
            ValueError: The model has none, or fewer.
        """
        states, mask, attention = listened.last_hidden_state, listened.mask, self.speller.attention
        most = self.config.memory_slots
        asked = check_slots(slots, most)
        if self.memory_slots is None or most is None or asked is None:
            return attention.prepare(states, mask)
        if self.training and slots is None:
            asked = draw_slots(most)  # on the host: a shape, and nested for the whole batch
        pooled, mask, shares = self.memory_slots(states, mask, asked)
        return replace(attention.prepare(pooled, mask), places=shares)

    def begin(
        self, listened: ListenerOutput, slots: int | None = None, rows: int | None = None, decoding: bool = False
    ) -> LasCache:
        """The cache before the first token.

        Args:
            listened: What the listener returned.
            slots: How many memory slots, as in `remember`.
            rows: Hypotheses, equally many per clip; default: one per clip.
            decoding: Keep the weights as steps use them, with a table of what tokens add to the gates.

        Raises:
            ValueError: As `remember`; rows that are no multiple of the clips.
        """
        memory = self.remember(listened, slots)
        clips = len(memory.values)
        beams, uneven = divmod(clips if rows is None else rows, clips)
        if uneven:
            raise ValueError(f"decoder_input_ids has {rows} rows for {clips} clips: a multiple of them is allowed")
        weights = self.speller.decoding_weights(memory, beams) if decoding else None
        return LasCache(memory, self.speller.initial_state(memory, beams, weights), weights=weights)

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        encoder_outputs: ListenerOutput | None = None,
        cache: LasCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        sampling_head: nn.Module | None = None,
        memory_slots: int | None = None,
        past_key_values: LasCache | None = None,
        output_contexts: bool = True,
        **kwargs: Any,
    ) -> Seq2SeqModelOutput:
        """Listen, attend and spell.

        Args:
            input_features: `(batch, frames, mels)` log-mel features; not needed with `encoder_outputs`.
            attention_mask: `(batch, frames)`, 1 on real frames, which come first in each row.
            decoder_input_ids: `(batch, targets)`; all of them without a cache, the new ones with it. Several rows per
                clip, one after the other, are hypotheses about it. Default: the start token.
            encoder_outputs: What the listener returned for these clips.
            cache, past_key_values: Two names of one argument: the speller's state after earlier decoder inputs.
            use_cache: Return the cache, under the installed transformers' name for it; default from the config.
            output_attentions: Return the alignment as `cross_attentions`, one tensor `(batch, heads, targets,
                listener frames)`.
            output_hidden_states: Return the states of every layer.
            decoder_attention_mask: Not used: a speller reads its inputs in order, and what follows `<eos>` is ignored.
            sampling_head: Output layer for scheduled sampling in training.
            memory_slots: How many of the config's slots to fill; default: a random number in training, else all.
            output_contexts: Give contexts even where decoding does without (`GateWeights.output`).
            kwargs: Not used; transformers passes some to every model.

        Returns:
            `last_hidden_state` `(batch, targets, speller_hidden_size + memory_size)`: LSTM output and context, if any.

        Raises:
            ValueError: Another number of mels, a row without frames, frames that do not come first; two caches.
        """
        cache = given_cache(cache, past_key_values)
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if encoder_outputs is None:
            encoder_outputs = self.listen(input_features, attention_mask, output_hidden_states=output_hidden_states)
        encoder_outputs = as_listened(encoder_outputs, attention_mask, self.config)
        keep = self.config.use_cache if use_cache is None else use_cache
        if cache is None:
            rows = None if decoder_input_ids is None else len(decoder_input_ids)
            cache = self.begin(encoder_outputs, memory_slots, rows, decoding=keep and not torch.is_grad_enabled())
        if decoder_input_ids is None:
            device = encoder_outputs.last_hidden_state.device
            decoder_input_ids = torch.full((cache.batch_size, 1), self.config.decoder_start_token_id, device=device)
        sampling = self.config.scheduled_sampling if self.training and sampling_head is not None else 0.0
        outputs, attention, layers, cache.state = self.speller(
            decoder_input_ids,
            cache.memory,
            cache.state,
            sampling_head,
            sampling,
            cache.weights,
            output_hidden_states,
            output_contexts,
        )
        cache.seen_tokens += decoder_input_ids.shape[1]
        return Seq2SeqModelOutput(
            last_hidden_state=outputs,
            decoder_hidden_states=tuple(layers) if output_hidden_states else None,
            cross_attentions=(cache.memory.over_frames(attention),) if output_attentions else None,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.hidden_states,
            **{CACHE: cast(Any, cache) if keep else None},
        )


class LasForConditionalGeneration(LasPreTrainedModel, LasGenerationMixin):
    """[Listen, Attend and Spell](https://arxiv.org/abs/1508.01211) that transcribes: logits, loss and `generate()`."""

    def __init__(self, config: LasConfig) -> None:
        super().__init__(config)
        self.model = LasModel(config)
        joined = config.speller_hidden_size + config.memory_size
        self.output_mlp = nn.Sequential(
            nn.Linear(joined, config.speller_output_size), nn.Tanh(), nn.Dropout(config.speller_dropout)
        )
        self.lm_head = nn.Linear(config.speller_output_size, config.vocab_size)
        self.ctc_head = nn.Linear(config.memory_size, config.vocab_size) if config.ctc_weight > 0 else None
        phonemes = config.phoneme_vocab_size
        self.phoneme_head = nn.Linear(config.memory_size, phonemes) if phonemes > 0 else None
        if config.ctc_weight == 1:  # CTC alone: what gets no gradient must not be waited for, nor decay
            for part in (self.model.speller, self.output_mlp, self.lm_head):
                part.requires_grad_(False)
        self.post_init()
        self._set_generation_defaults()

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        """The listener."""
        return self.model.listener if modality is None else self

    def get_decoder(self) -> nn.Module:
        """The speller."""
        return self.model.speller

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """As in transformers; the CTC head, where there is one, grows or shrinks with the embeddings."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        if self.ctc_head is not None:
            self.ctc_head = self._get_resized_lm_head(self.ctc_head, embeddings.num_embeddings)
        return embeddings

    def prepare_decoder_input_ids_from_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Decoder inputs `(batch, targets)` for `labels`, for collators of whoever computes the loss outside."""
        return shift_right(labels, self.config.blank_id, self.config.decoder_start_token_id)

    def _logits(self, states: torch.Tensor, cache: LasCache | None = None) -> torch.Tensor:
        linear = call if cache is None or cache.weights is None else cache.weights.linears
        first, tanh, dropout = self.output_mlp
        states = call(first, states, tanh) if cache is None else cache.output(first, tanh, states)
        states = dropout(states) if self.training else states
        return linear(self.lm_head, states)

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        encoder_outputs: ListenerOutput | None = None,
        cache: LasCache | None = None,
        labels: torch.Tensor | None = None,
        phoneme_targets: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        memory_slots: int | None = None,
        guided_attention_weight: float | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        past_key_values: LasCache | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Score texts, and with `labels` give the loss. Arguments beside these as in `LasModel.forward`.

        Args:
            labels: `(batch, targets)`: tokens, then `<eos>`, then `-100`.
            phoneme_targets: `(batch, phonemes)`, then `-100`: what the phoneme head learns, beside `labels`.
            guided_attention_weight: Of the loss on attention off the diagonal; default: the config's in training, 0
                in evaluation.
            num_items_in_batch: Labels in the whole (accumulated) batch; the summed losses are divided by it.
                Default: the labels at hand.

        Returns:
            `logits` `(batch, targets, vocabulary)`, `loss`, `cross_attentions[0]` the alignment `(batch, heads,
            targets, listener frames)` when asked for. In training with `ctc_weight=1` the speller rests: no logits.

        Raises:
            ValueError: As `LasModel.forward`; labels outside the vocabulary; with CTC, targets that do not fit the
                frames of the CTC layer.
        """
        if labels is not None:
            check_targets(
                labels, phoneme_targets, input_features if encoder_outputs is None else encoder_outputs[0], self.config
            )
            if decoder_input_ids is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
            use_cache = False if use_cache is None else use_cache
        if encoder_outputs is None:
            encoder_outputs = self.model.listen(
                input_features, attention_mask, output_hidden_states=output_hidden_states
            )
        encoder_outputs = as_listened(encoder_outputs, attention_mask, self.config)
        if guided_attention_weight is None:
            guided_attention_weight = self.config.guided_attention_weight if self.training else 0.0
        guided = labels is not None and guided_attention_weight > 0
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        cache = given_cache(cache, past_key_values)
        joint = cache if cache is not None and cache.companions else None
        heard = Heard(mask=encoder_outputs.mask)
        if self.training and labels is not None and self.config.ctc_weight == 1:
            outputs = Seq2SeqModelOutput()  # the speller rests
        else:
            outputs = self.model(
                decoder_input_ids=decoder_input_ids,
                encoder_outputs=encoder_outputs,
                cache=cache,
                use_cache=use_cache,
                output_attentions=guided or joint is not None or output_attentions,
                output_hidden_states=output_hidden_states,
                sampling_head=nn.Sequential(self.output_mlp, self.lm_head) if labels is not None else None,
                memory_slots=memory_slots,
                output_contexts=False,
                return_dict=True,
            )
            heard.logits = self._logits(outputs.last_hidden_state, outputs.get(CACHE))  # (batch, targets, vocabulary)
            heard.attention = outputs.cross_attentions[0] if guided else None
            if joint is not None:
                joint.follow(decoder_input_ids, heard.logits[:, -1], outputs.cross_attentions[0])
        loss = None
        if labels is not None:
            self._listen_for_ctc(heard, encoder_outputs)
            weight = float(guided_attention_weight)
            loss = las_loss(heard, labels, self.config, phoneme_targets, weight, num_items_in_batch)
        return Seq2SeqLMOutput(
            loss=loss,
            logits=heard.logits,
            decoder_hidden_states=outputs.decoder_hidden_states,
            cross_attentions=outputs.cross_attentions if output_attentions else None,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.hidden_states,
            **{CACHE: outputs.get(CACHE)},
        )

    def _listen_for_ctc(self, heard: Heard, listened: ListenerOutput) -> None:
        """What the CTC heads make of the listener's states, into `heard`."""
        if self.ctc_head is None and self.phoneme_head is None:
            return
        states = check_ctc_states(listened.ctc_states)
        heard.ctc_mask = listened.ctc_mask
        heard.ctc_logits = None if self.ctc_head is None else self.ctc_head(states)
        heard.phoneme_logits = None if self.phoneme_head is None else self.phoneme_head(states)


# The speech pipeline tells seq2seq from CTC by the class names in this table, which `AutoModel….register` does not
# write to: the model enters itself, from the package or from a copy in a Hub folder.
MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES[LasConfig.model_type] = LasForConditionalGeneration.__name__

__all__ = ["LasForConditionalGeneration", "LasModel", "LasPreTrainedModel"]
