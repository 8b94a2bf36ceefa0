"""The spectrogram-patch transformer that writes: one model for recognition and for captioning.

Notable here:
- an encoder of patches (`spectrogram_transformer.py`) and a decoder of text: our own (`text_decoder.py`), or one of
  transformers that takes cross-attention, such as GPT-2, with its weights kept (`from_encoder_decoder`);
- labels are tokens then `<eos>`; decoder inputs are made here, and the loss does not shift them again;
- a CTC head on the columns beside the decoder, which learns with it and has its say in `generate()`, by choice;
- every token's attention lies on the spectrogram: `attention_maps`, laid out by `maps.as_grid`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import EncoderDecoderCache, GenerationConfig
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES
from transformers.utils import can_return_tuple

from ..configuration.spectrogram_seq2seq import SpectrogramTransformerSeq2SeqConfig
from ..configuration.text_decoder import TextDecoderConfig
from .checks import check_features
from .companion_cache import CACHE, TextCache, given_cache
from .decoder_weights import decoder_from, encoder_from, keep_decoder, make_decoder
from .heard_patches import HeardPatches, as_heard
from .joint_generation import JointGenerationMixin
from .labels import check_labels, shift_right
from .seq2seq_loss import seq2seq_loss
from .spectrogram_transformer import SpectrogramTransformerModel, SpectrogramTransformerPreTrainedModel
from .text_limits import MAX_LENGTH


class SpectrogramTransformerForConditionalGeneration(JointGenerationMixin, SpectrogramTransformerPreTrainedModel):
    """Texts about spectrograms: what was said, or what is heard; logits, loss and `generate()`.

    Args:
        config: Of encoder and decoder.
    """

    config: SpectrogramTransformerSeq2SeqConfig  # type: ignore[assignment]
    config_class = cast(Any, SpectrogramTransformerSeq2SeqConfig)
    _no_split_modules = ["SpectrogramEmbeddings", "SpectrogramLayer", "TextDecoderLayer"]  # noqa: RUF012
    _can_compile_fullgraph = False  # a cache of its own
    _supports_flex_attn = False  # untried with folded beams

    def __init__(self, config: SpectrogramTransformerSeq2SeqConfig) -> None:
        super().__init__(cast(Any, config))
        heard, written = config.encoder.hidden_size, config.decoder.hidden_size
        self.spectrogram_transformer = SpectrogramTransformerModel(config.encoder, add_pooling_layer=False)
        self.decoder = make_decoder(config.decoder)
        self.memory_proj = nn.Linear(heard, written) if heard != written else None
        self.lm_head = nn.Linear(written, config.vocab_size, bias=self._decodes_itself)
        self.ctc_dropout = nn.Dropout(config.encoder.head_dropout)
        self.ctc_head = nn.Linear(heard, config.vocab_size) if config.ctc_weight > 0 else None
        embeddings = self.decoder.get_input_embeddings()
        name = next(name for name, module in self.decoder.named_modules() if module is embeddings)
        self._tied_weights_keys = {"lm_head.weight": f"decoder.{name}.weight"}
        if config.ctc_weight == 1:  # CTC alone: what gets no gradient must not be waited for, nor decay
            for part in (self.decoder, self.memory_proj, self.lm_head):
                if part is not None:
                    part.requires_grad_(False)
        self.post_init()
        self._set_generation_defaults()

    @property
    def _decodes_itself(self) -> bool:
        """Whether the decoder is our own."""
        return self.config.decoder.model_type == TextDecoderConfig.model_type

    @classmethod
    def from_encoder_decoder(
        cls, encoder: Any, decoder: Any, **config_changes: Any
    ) -> "SpectrogramTransformerForConditionalGeneration":
        """A model whose encoder and decoder keep the weights that they have learned apart.

        Cross-attention, and a projection where the widths differ, are new.

        Args:
            encoder: A spectrogram transformer, with any head or none, or its folder or Hub id.
            decoder: A causal language model of transformers that can take cross-attention, such as
                `GPT2LMHeadModel`, or its folder or Hub id; or a `TextDecoderConfig`, for a decoder of new weights.
            config_changes: Fields of the config. Special ids are by default those of the language model.

        Raises:
            TypeError, ValueError: An encoder or decoder of another kind; a decoder that is more than states and a
                linear output layer.

        Example:
            >>> model = SpectrogramTransformerForConditionalGeneration.from_encoder_decoder(
            ...     "my-tagger", TextDecoderConfig(vocab_size=32)
            ... )  # doctest: +SKIP
        """
        heard = encoder_from(encoder)
        writer, ids = decoder_from(decoder)
        settings = {"encoder": heard.config.to_dict(), "decoder": writer.config.to_dict(), **ids, **config_changes}
        model = cls(SpectrogramTransformerSeq2SeqConfig(**settings))
        kept = {name: weight for name, weight in heard.state_dict().items() if not name.startswith("pooler.")}
        model.spectrogram_transformer.load_state_dict(kept)
        keep_decoder(model, writer)
        return model.eval()

    def _prepare_cache_for_generation(
        self, generation_config: GenerationConfig, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """As in transformers, but a `TextCache` where nobody asks for another."""
        asked = generation_config.cache_implementation
        if model_kwargs.get(CACHE) is None and generation_config.use_cache is not False and asked in (None, "dynamic"):
            model_kwargs[CACHE] = TextCache()
            return None
        hand_on: Any = super()._prepare_cache_for_generation  # type: ignore[misc]
        return hand_on(generation_config, model_kwargs, *args, **kwargs)

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        """The encoder of spectrograms."""
        return self.spectrogram_transformer if modality is None else self

    def get_decoder(self) -> nn.Module:
        """The decoder of text."""
        return self.decoder

    def get_input_embeddings(self) -> nn.Module:
        return self.decoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.decoder.set_input_embeddings(value)

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
        return shift_right(labels, self.config.blank_id, cast(int, self.config.decoder_start_token_id))

    def listen(
        self, input_features: torch.Tensor | None, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> HeardPatches:
        """What the encoder makes of features, for `encoder_outputs`. Arguments and errors as in `forward`."""
        if input_features is None:
            raise ValueError("pass input_features (batch, frames, mels) or encoder_outputs")
        check_features(input_features, attention_mask, self.config.num_mel_bins)
        outputs = self.spectrogram_transformer(input_features, attention_mask, **{**kwargs, "return_dict": True})
        ctc, frames = self.ctc_head is not None, input_features.shape[1]
        if attention_mask is None:
            attention_mask = torch.ones(input_features.shape[:2], dtype=torch.long, device=input_features.device)
        return as_heard(outputs, self.config.encoder, ctc, attention_mask, frames)

    def _as_heard(self, outputs: Any, attention_mask: torch.Tensor | None) -> HeardPatches:
        return as_heard(outputs, self.config.encoder, self.ctc_head is not None, attention_mask)

    def _begin(self, heard: HeardPatches, rows: int, kwargs: Mapping[str, Any]) -> TextCache:
        return TextCache()

    def _seconds(self, heard: HeardPatches) -> torch.Tensor:
        return cast(torch.Tensor, heard.frames) * (self.config.frame_shift_ms / 1000)

    def _most_seconds(self, heard: HeardPatches) -> float:
        encoder = self.config.encoder
        columns = heard.last_hidden_state.shape[1] // encoder.frequency_patches
        return (columns * encoder.patch_stride[1] + encoder.patch_size[1]) * encoder.frame_shift_ms / 1000

    def _longest_text(self) -> int:
        limit = self.config.text_limit
        return MAX_LENGTH if limit is None else min(MAX_LENGTH, limit + 1)  # the last token is not read

    def _read(
        self, heard: HeardPatches, input_ids: torch.Tensor, cache: EncoderDecoderCache | None, **kwargs: Any
    ) -> Any:
        """What the decoder makes of texts `(rows, targets)`, of which several may be about one clip."""
        memory, mask, clips = heard.last_hidden_state, heard.mask, len(heard.last_hidden_state)
        beams, uneven = divmod(len(input_ids), clips)
        if uneven or not beams:
            raise ValueError(f"decoder_input_ids has {len(input_ids)} rows for {clips} clips: a multiple is allowed")
        made = cache is not None and cache.is_updated.get(0)  # then only the memory's shape counts
        if self.memory_proj is not None and not made:
            memory = self.memory_proj(memory)
        shares = self._decodes_itself and (cache is None or isinstance(cache, TextCache))
        if beams > 1 and not shares:
            memory = memory.repeat_interleave(beams, dim=0)
            mask = None if mask is None else mask.repeat_interleave(beams, dim=0)
        if not self._decodes_itself:
            kwargs["use_cache"] = cache is not None
        return self.decoder(
            input_ids=input_ids,
            encoder_hidden_states=memory,
            encoder_attention_mask=mask,
            **{CACHE: cast(Any, cache)},
            **kwargs,
        )

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        encoder_outputs: HeardPatches | None = None,
        cache: EncoderDecoderCache | None = None,
        labels: torch.Tensor | None = None,
        ctc_targets: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Score texts about spectrograms, and with `labels` give the loss.

        Args:
            input_features: `(batch, frames, mels)` log-mel features; not needed with `encoder_outputs`.
            attention_mask: `(batch, frames)`, 1 on real frames, which come first in each row.
            decoder_input_ids: `(batch, targets)`; all of them without a cache, the new ones with it. Several rows per
                clip, one after the other, are hypotheses about it. Default: the start token.
            encoder_outputs: What `listen` returned for these clips.
            cache, past_key_values: Two names of one argument: the decoder's keys and values of earlier inputs.
            labels: `(batch, targets)`: tokens, then `<eos>`, then `-100`.
            ctc_targets: `(batch, ctc targets)`, of the same form: what the CTC head learns where that is another text
                than the labels, such as what sounded, sound by sound, beside a caption.
            use_cache: Return the cache, under the installed transformers' name for it; default from the config, and
                False with labels.
            output_attentions: Return the weights of every layer, of our own decoder under any implementation.
            output_hidden_states: Return the states of every layer.
            decoder_attention_mask: `(batch, targets so far)`, 0 on tokens that none may attend to.
            num_items_in_batch: Labels in the whole (accumulated) batch; the summed losses are divided by it. Default:
                the labels at hand.
            kwargs: Not used; transformers passes some to every model.

        Returns:
            `logits` `(batch, targets, vocabulary)`, `loss`. In training with `ctc_weight=1` the decoder rests: no
            logits.

        Raises:
            ValueError: Another number of mels, a row without frames, frames that do not come first; two caches; labels
                outside the vocabulary; `ctc_targets` without a CTC head; more tokens than positions; with CTC, targets
                that do not fit the columns.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        shown = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        if labels is not None:
            clips = input_features if encoder_outputs is None else encoder_outputs[0]
            for said in (labels,) if ctc_targets is None else (labels, ctc_targets):
                check_labels(said, len(labels if clips is None else clips), config.vocab_size)
            if ctc_targets is not None and self.ctc_head is None:
                raise ValueError("ctc_targets are given, and ctc_weight=0: there is no CTC head to learn them")
            if decoder_input_ids is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if encoder_outputs is None:
            heard = self.listen(input_features, attention_mask, **shown)
        else:
            heard = as_heard(
                encoder_outputs, config.encoder, labels is not None and config.ctc_weight > 0, attention_mask
            )
        cache = given_cache(cache, past_key_values)
        if cache is None and (use_cache if use_cache is not None else config.use_cache and labels is None):
            cache = TextCache()
        joint = cache if isinstance(cache, TextCache) and cache.companions else None
        written, logits = None, None
        if not (self.training and labels is not None and config.ctc_weight == 1):
            if decoder_input_ids is None:
                start, device = cast(int, config.decoder_start_token_id), heard.last_hidden_state.device
                decoder_input_ids = torch.full((len(heard.last_hidden_state), 1), start, device=device)
            if joint is not None and joint.reads_attention:
                shown["output_attentions"] = True
            written = self._read(heard, decoder_input_ids, cache, attention_mask=decoder_attention_mask, **shown)
            logits = self.lm_head(written.last_hidden_state)  # (batch, targets, vocabulary)
            if joint is not None:
                read = self._crossed(written)[-1] if joint.reads_attention else None
                joint.follow(decoder_input_ids, logits[:, -1], read)
        loss = None
        if labels is not None:
            ctc = (self._ctc_logits(heard), heard.ctc_mask)
            loss = seq2seq_loss(logits, *ctc, labels, config, num_items_in_batch, ctc_targets)
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            decoder_hidden_states=None if written is None else written.hidden_states,
            decoder_attentions=written.attentions if written is not None and output_attentions else None,
            cross_attentions=written.cross_attentions if written is not None and output_attentions else None,
            encoder_last_hidden_state=heard.last_hidden_state,
            encoder_hidden_states=heard.hidden_states,
            encoder_attentions=heard.attentions,
            **{CACHE: cast(Any, cache)},
        )

    def _ctc_logits(self, heard: HeardPatches) -> torch.Tensor | None:
        """What the CTC head says of the columns, `(batch, columns, vocabulary)`; None where there is no head."""
        return None if self.ctc_head is None else self.ctc_head(self.ctc_dropout(heard.ctc_states))

    def _crossed(self, written: Any) -> tuple[torch.Tensor, ...]:
        """Where every layer attended, each `(rows, heads, targets, tokens)`.

        Raises:
            ValueError: The decoder is of transformers, and its attention implementation gives no weights.
        """
        crossed = written.cross_attentions
        if not crossed or crossed[0] is None:
            raise ValueError(
                f"attention of a {self.config.decoder.model_type!r} decoder under "
                f"{self.config.decoder._attn_implementation!r}: load the model with attn_implementation='eager'"
            )
        return crossed

    @torch.no_grad()
    def attention_maps(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        layers: Sequence[str] | None = None,
        labels: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Where encoder and decoder attend, under any implementation of our own.

        "layers.0" is the encoder's first, `(batch, heads, tokens, tokens)`; "decoder.0.self" `(batch, heads, targets,
        targets)` and "decoder.0.cross" `(batch, heads, targets, tokens)` are the decoder's first. `maps.as_grid` lays
        tokens out by frequency and time: `as_grid(maps["decoder.0.cross"], model.config.encoder)`.

        Args:
            input_features: `(batch, frames, mels)`.
            attention_mask: `(batch, frames)`.
            layers: Which maps, by name; default: cross-attention of every decoder layer.
            labels: `(batch, targets)`, the text to follow; default: what `generate` writes, without the start token.

        Raises:
            ValueError: A layer that the model does not have; bad input as in `forward`; a decoder of transformers
                whose attention implementation gives no weights.
        """
        count = self.config.decoder.num_hidden_layers
        known = [f"decoder.{i}.{kind}" for i in range(count) for kind in ("self", "cross")]
        heard = [name for name in layers or () if name.startswith("layers.")]
        asked = [name for name in known if name.endswith("cross")] if layers is None else list(layers)
        if unknown := [name for name in asked if name not in known and name not in heard]:
            raise ValueError(f"layers={unknown}: allowed are {', '.join(known)}, and layers.0 and on of the encoder")
        maps: dict[str, torch.Tensor] = {}
        if heard:
            maps.update(self.spectrogram_transformer.attention_maps(input_features, attention_mask, heard))
        if len(heard) < len(asked):
            if labels is None:
                labels = self.generate(input_features, attention_mask=attention_mask)[:, 1:]
            inputs = self.prepare_decoder_input_ids_from_labels(labels)
            written = self._read(self.listen(input_features, attention_mask), inputs, None, output_attentions=True)
            crossed = self._crossed(written)
            for i in range(count):
                maps[f"decoder.{i}.self"], maps[f"decoder.{i}.cross"] = written.attentions[i], crossed[i]
        return {name: maps[name] for name in asked}


# The speech pipeline tells seq2seq from CTC by the class names in this table, which `AutoModel….register` does not
# write to: the model enters itself, from the package or from a copy in a Hub folder.
MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES[SpectrogramTransformerSeq2SeqConfig.model_type] = (
    SpectrogramTransformerForConditionalGeneration.__name__
)

__all__ = ["SpectrogramTransformerForConditionalGeneration"]
