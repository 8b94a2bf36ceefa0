"""Listen, Attend and Spell as transformers models.

Notable here:
- `LasModel`: listener and speller, states out; `LasForConditionalGeneration`: logits, loss, `generate()`;
- labels are tokens then `<eos>`; decoder inputs are made here, and the loss does not shift them again;
- losses are sums over items divided by `num_items_in_batch`, so accumulated batches equal one large batch;
- `generate()` ends every clip at a length that follows from its own frames, whatever it is batched with.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.generation import LogitsProcessorList
from transformers.modeling_outputs import Seq2SeqLMOutput, Seq2SeqModelOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES
from transformers.utils import can_return_tuple

from .configuration_las import LasConfig
from .modeling_checks import check_features
from .modeling_las_cache import CACHE, LasCache, given_cache
from .modeling_las_checks import check_ctc_states, check_labels
from .modeling_las_generation import MAX_LENGTH, MAX_TOKENS_PER_SECOND, NUM_BEAMS, end_by_length
from .modeling_las_loss import las_loss, shift_right
from .modeling_listener import Listener, ListenerOutput, as_listened
from .modeling_spec_augment import spec_augment
from .modeling_speller import Speller


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
        past_key_values: LasCache | None = None,
        **kwargs: Any,
    ) -> Seq2SeqModelOutput:
        """Listen, attend and spell.

        Args:
            input_features: `(batch, frames, mels)` log-mel features; not needed with `encoder_outputs`.
            attention_mask: `(batch, frames)`, 1 on real frames, which come first in each row.
            decoder_input_ids: `(batch, targets)`; all of them without a cache, the new ones with it.
                Default: the start token.
            encoder_outputs: What the listener returned for these clips.
            cache, past_key_values: Two names of one argument: the speller's state after earlier decoder inputs.
            use_cache: Return the cache, under the installed transformers' name for it; default from the config.
            output_attentions: Return the alignment as `cross_attentions`, one tensor `(batch, heads, targets,
                listener frames)`.
            output_hidden_states: Return the states of every layer.
            decoder_attention_mask: Not used: a speller reads its inputs in order, and what follows `<eos>` is ignored.
            sampling_head: Output layer for scheduled sampling in training.
            kwargs: Not used; transformers passes some to every model.

        Returns:
            `last_hidden_state` `(batch, targets, speller_hidden_size + memory_size)`: LSTM output and context.

        Raises:
            ValueError: Another number of mels, a row without frames, frames that do not come first; two caches.
        """
        cache = given_cache(cache, past_key_values)
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if encoder_outputs is None:
            encoder_outputs = self.listen(input_features, attention_mask, output_hidden_states=output_hidden_states)
        encoder_outputs = as_listened(encoder_outputs, attention_mask, self.config.time_reduction)
        if cache is None:
            memory = self.speller.attention.prepare(encoder_outputs.last_hidden_state, encoder_outputs.mask)
            cache = LasCache(memory, self.speller.initial_state(memory))
        if decoder_input_ids is None:
            device = encoder_outputs.last_hidden_state.device
            decoder_input_ids = torch.full((cache.batch_size, 1), self.config.decoder_start_token_id, device=device)
        sampling = self.config.scheduled_sampling if self.training and sampling_head is not None else 0.0
        outputs, attention, layers, cache.state = self.speller(
            decoder_input_ids, cache.memory, cache.state, sampling_head, sampling
        )
        cache.seen_tokens += decoder_input_ids.shape[1]
        keep = self.config.use_cache if use_cache is None else use_cache
        return Seq2SeqModelOutput(
            last_hidden_state=outputs,
            decoder_hidden_states=tuple(layers) if output_hidden_states else None,
            cross_attentions=(attention,) if output_attentions else None,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.hidden_states,
            **{CACHE: cast(Any, cache) if keep else None},
        )


class LasForConditionalGeneration(LasPreTrainedModel, GenerationMixin):
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
        self.post_init()
        self._set_generation_defaults()

    def _set_generation_defaults(self) -> None:
        # _from_model_config: what is set here is saved, not derived again from config.json
        self.generation_config.update(num_beams=NUM_BEAMS, max_length=MAX_LENGTH, _from_model_config=False)
        vars(self.generation_config)["max_tokens_per_second"] = MAX_TOKENS_PER_SECOND

    def adjust_generation_fn(self, *args: Any, **kwargs: Any) -> None:
        """As in transformers; a folder without generation_config.json gets this model's defaults, not 20 tokens."""
        super().adjust_generation_fn(*args, **kwargs)  # type: ignore[misc]
        if self.generation_config._from_model_config:
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

    def prepare_inputs_for_generation(self, input_ids: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """As in transformers; what the cache has read of the text is not read again."""
        cache = given_cache(kwargs.get("cache"), kwargs.get("past_key_values"))
        seen = 0 if cache is None else cache.get_seq_length()
        if 0 < seen < input_ids.shape[1]:
            kwargs["next_sequence_length"] = input_ids.shape[1] - seen
        return super().prepare_inputs_for_generation(input_ids, **kwargs)  # type: ignore[misc]

    def prepare_decoder_input_ids_from_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Decoder inputs `(batch, targets)` for `labels`, for collators of whoever computes the loss outside."""
        return shift_right(labels, self.config.blank_id, self.config.decoder_start_token_id)

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        return self.lm_head(self.output_mlp(states))

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        encoder_outputs: ListenerOutput | None = None,
        cache: LasCache | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        past_key_values: LasCache | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Score texts, and with `labels` give the loss. Arguments beside these as in `LasModel.forward`.

        Args:
            labels: `(batch, targets)`: tokens, then `<eos>`, then `-100`.
            num_items_in_batch: Labels in the whole (accumulated) batch; the summed losses are divided by it.
                Default: the labels at hand.

        Returns:
            `logits` `(batch, targets, vocabulary)`, `loss`, `cross_attentions[0]` the alignment `(batch, heads,
            targets, listener frames)` when asked for.

        Raises:
            ValueError: As `LasModel.forward`; labels outside the vocabulary; with CTC, targets that do not fit the
                frames of the CTC layer.
        """
        if labels is not None:
            given = input_features if encoder_outputs is None else encoder_outputs[0]
            check_labels(labels, len(labels) if given is None else len(given), self.config.vocab_size)
            if decoder_input_ids is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
            use_cache = False if use_cache is None else use_cache
        if encoder_outputs is None:
            encoder_outputs = self.model.listen(
                input_features, attention_mask, output_hidden_states=output_hidden_states
            )
        encoder_outputs = as_listened(encoder_outputs, attention_mask, self.config.time_reduction)
        outputs = self.model(
            decoder_input_ids=decoder_input_ids,
            encoder_outputs=encoder_outputs,
            cache=given_cache(cache, past_key_values),
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            sampling_head=nn.Sequential(self.output_mlp, self.lm_head) if labels is not None else None,
            return_dict=True,
        )
        logits = self._logits(outputs.last_hidden_state)  # (batch, targets, vocabulary)
        loss = None
        if labels is not None:
            ctc_logits = None if self.ctc_head is None else self.ctc_head(check_ctc_states(encoder_outputs.ctc_states))
            loss = las_loss(logits, labels, self.config, ctc_logits, encoder_outputs.ctc_mask, num_items_in_batch)
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            decoder_hidden_states=outputs.decoder_hidden_states,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
            encoder_hidden_states=outputs.encoder_hidden_states,
            **{CACHE: outputs.get(CACHE)},
        )

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: LogitsProcessorList | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """`GenerationMixin.generate`, and a clip's text ends at a length that follows from its own frames.

        Args:
            inputs: `(batch, frames, mels)`, or `input_features=`, with `attention_mask=`.
            generation_config, logits_processor, args, kwargs: As in transformers. `max_tokens_per_second` (a field of
                `generation_config`) sets the limit; None lifts it.

        Raises:
            ValueError: As `forward`; `max_tokens_per_second` is not above 0.
        """
        features = kwargs.get("input_features") if inputs is None else inputs
        encoder_outputs, mask = kwargs.get("encoder_outputs"), kwargs.get("attention_mask")
        if encoder_outputs is not None:
            # A copy: transformers writes what it repeats per beam into the object that it is given.
            encoder_outputs = replace(as_listened(encoder_outputs, mask, self.config.time_reduction))
            kwargs["encoder_outputs"] = encoder_outputs
        elif features is None:
            raise ValueError("pass input_features (batch, frames, mels) to generate")
        else:
            check_features(features, mask, self.config.num_mel_bins)
        cache = given_cache(kwargs.pop("cache", None), kwargs.pop("past_key_values", None))
        if cache is not None:
            kwargs[CACHE] = cache
        if kwargs.get("max_new_tokens") is not None and kwargs.get("max_length") is None:
            # The defaults hold a max_length; as one, the caller's limit replaces it instead of standing beside it.
            prompt = kwargs.get("decoder_input_ids")
            kwargs["max_length"] = kwargs.pop("max_new_tokens") + (1 if prompt is None else prompt.shape[1])
        limit = end_by_length(self.config, [generation_config, self.generation_config], features, **kwargs)
        if limit is not None:
            logits_processor = LogitsProcessorList([*(logits_processor or []), limit])
        return super().generate(inputs, generation_config, logits_processor, *args, **kwargs)  # type: ignore[misc]

    @torch.no_grad()
    def attention_maps(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        layers: Sequence[str] | None = None,
        labels: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Where the speller attended: `{"speller": (batch, heads, targets, listener frames)}`.

        Args:
            input_features: `(batch, frames, mels)`.
            attention_mask: `(batch, frames)`.
            layers: Which maps; a LAS has one, "speller".
            labels: `(batch, targets)`, the text to align; default: what `generate` writes, without the start token.

        Raises:
            ValueError: A layer that a LAS does not have; bad input as in `forward`.
        """
        if unknown := set(layers or ()) - {"speller"}:
            raise ValueError(f"layers={list(unknown)}: a LAS attends in one layer, 'speller'")
        if labels is None:
            labels = self.generate(input_features, attention_mask=attention_mask)[:, 1:]
        inputs = self.prepare_decoder_input_ids_from_labels(labels)
        outputs = self(input_features, attention_mask, inputs, output_attentions=True, use_cache=False)
        return {"speller": outputs.cross_attentions[0]}


# The speech pipeline tells seq2seq from CTC by the class names in this table, which `AutoModel….register` does not
# write to: the model enters itself, from the package or from a copy in a Hub folder.
MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES[LasConfig.model_type] = LasForConditionalGeneration.__name__

__all__ = ["LasForConditionalGeneration", "LasModel", "LasPreTrainedModel"]
