"""`generate()` of a LAS: transformers' own, with what a listener and a recurrent speller need beside it.

Notable here:
- the listener's states, and the keys made of them, are held once per utterance: only tokens and the speller's state
  are repeated per beam;
- every clip's text ends at a length that follows from its own frames, whatever it is batched with (`las_limits.py`);
- CTC, language models, n-grams and coverage have their say through the cache, which moves what they know of each
  hypothesis with it (`joint_decoding.py`, `companions.py`); nothing is kept on the model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, GenerationMixin
from transformers.generation import LogitsProcessor, LogitsProcessorList

from .configuration_las import LasConfig
from .modeling_checks import check_features
from .modeling_companions import AddCompanions
from .modeling_joint_decoding import JointOptions, companions
from .modeling_las_cache import CACHE, LasCache, given_cache
from .modeling_las_limits import (
    MAX_LENGTH,
    MAX_TOKENS_PER_SECOND,
    MIN_LIMIT,
    NUM_BEAMS,
    EndThreshold,
    end_by_length,
    end_ids,
    first_said,
    ids_on,
)
from .modeling_listener import ListenerOutput, as_listened

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    class _Host(PreTrainedModel, GenerationMixin):
        """What the mixin is mixed into."""

        config: LasConfig
        model: Any
        prepare_decoder_input_ids_from_labels: Any
else:
    _Host = GenerationMixin


class LasGenerationMixin(_Host):
    """What `LasForConditionalGeneration` adds to `GenerationMixin`."""

    def _set_generation_defaults(self) -> None:
        # _from_model_config: what is set here is saved, not derived again from config.json
        self.generation_config.update(num_beams=NUM_BEAMS, max_length=MAX_LENGTH, _from_model_config=False)
        vars(self.generation_config)["max_tokens_per_second"] = MAX_TOKENS_PER_SECOND

    def adjust_generation_fn(self, *args: Any, **kwargs: Any) -> None:
        """As in transformers; a folder without generation_config.json gets this model's defaults, not 20 tokens."""
        super().adjust_generation_fn(*args, **kwargs)  # type: ignore[misc]
        if self.generation_config._from_model_config:
            self._set_generation_defaults()

    def prepare_inputs_for_generation(self, input_ids: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """As in transformers; what the cache has read of the text is not read again."""
        cache = given_cache(kwargs.get("cache"), kwargs.get("past_key_values"))
        seen = 0 if cache is None else cache.get_seq_length()
        if 0 < seen < input_ids.shape[1]:
            kwargs["next_sequence_length"] = input_ids.shape[1] - seen
        return super().prepare_inputs_for_generation(input_ids, **kwargs)  # type: ignore[misc]

    def _expand_inputs_for_generation(  # type: ignore[override]
        self, expand_size: int = 1, **kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """As in transformers, but hypotheses share the listener's output of their utterance."""
        listened, kwargs["is_encoder_decoder"] = kwargs.pop("encoder_outputs", None), False
        input_ids, expanded = super()._expand_inputs_for_generation(expand_size=expand_size, **kwargs)  # type: ignore[misc]
        return input_ids, {**expanded, "encoder_outputs": listened}

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: LogitsProcessorList | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """`GenerationMixin.generate`, with companions of the speller, and limits that follow from each clip's frames.

        Args:
            inputs: `(batch, frames, mels)`, or `input_features=`, with `attention_mask=`.
            generation_config, logits_processor, args, kwargs: As in transformers. Beside them `max_tokens_per_second`,
                which sets the limit (None lifts it), and everything that `JointOptions` says: `ctc_weight`, `lm`,
                `lm_weight`, `ngram`, `ngram_weight`, `coverage_weight`, `coverage_threshold`, `eos_threshold`,
                `ctc_candidates`. The numbers may stand in `generation_config`.

        Raises:
            TypeError, ValueError: As `forward` and `JointOptions`; `max_tokens_per_second` is not above 0; companions
                without a cache, or that the model or the cache do not have.
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
        configs = [vars(c) for c in (generation_config, self.generation_config) if c is not None]
        if self.config.ctc_weight == 1:  # CTC alone: the speller has learned nothing
            configs.append({"ctc_weight": 1.0})
        options, said = JointOptions.taken_from(kwargs, configs), [kwargs, *configs]
        # Limits first: what only they leave must pass the threshold, and companions add to what both leave.
        processors: list[LogitsProcessor | None] = [end_by_length(self.config, said, features, mask, encoder_outputs)]
        if options.eos_threshold is not None:
            processors.append(EndThreshold(options.eos_threshold, self._are_ends(end_ids(self.config, said))))
        if options.beside_speller or (cache is not None and cache.companions):
            kwargs[CACHE] = cache = self._joint_cache(options, features, kwargs, said)
            processors.append(AddCompanions(cache))
        logits_processor = LogitsProcessorList([*(logits_processor or []), *(p for p in processors if p is not None)])
        return super().generate(inputs, generation_config, logits_processor, *args, **kwargs)  # type: ignore[misc]

    def _are_ends(self, ends: Sequence[int]) -> torch.Tensor:
        """Which tokens end a text, `(vocabulary,)` boolean."""
        tokens = torch.arange(self.config.vocab_size, device=self.device)
        return torch.isin(tokens, ids_on(self.device, ends))

    def _joint_cache(
        self,
        options: JointOptions,
        features: torch.Tensor | None,
        kwargs: dict[str, Any],
        said: Sequence[Mapping[str, Any]],
    ) -> LasCache:
        """The cache whose companions score the texts of one `generate` call: the caller's, or a new one.

        What the listener heard is put into `kwargs`, so that it listens once.
        """
        if first_said("use_cache", said) is False:
            raise ValueError("use_cache=False: what scores beside the speller follows hypotheses in the cache")
        if (cache := kwargs.get(CACHE)) is not None:
            if not cache.companions:
                raise ValueError(f"{CACHE} holds nothing that scores beside the speller: it was made without")
            if differing := cache.options.differing(options):
                raise ValueError(f"{CACHE} was made with other options: {', '.join(differing)}; pass them as then")
            return cache
        if kwargs.get("encoder_outputs") is None:
            assert features is not None
            mask = kwargs.get("attention_mask")
            kwargs["encoder_outputs"] = self.model.listen(
                features.to(self.device),
                None if mask is None else mask.to(self.device),
                output_hidden_states=first_said("output_hidden_states", said),
            )
        listened: ListenerOutput = kwargs["encoder_outputs"]
        if options.uses_lm:
            self._check_positions(options.lm, listened, said)
        beams = max(first_said("num_beams", said, 1), first_said("num_return_sequences", said, 1))
        rows = len(listened.last_hidden_state) * beams
        cache = self.model.begin(listened, kwargs.get("memory_slots"), rows, decoding=True)
        cache.companions = companions(self, options, listened, rows, end_ids(self.config, said))
        cache.options = options
        return cache

    def _check_positions(self, lm: Any, listened: ListenerOutput, said: Sequence[Mapping[str, Any]]) -> None:
        """The language model has a position for every token that the longest text may have."""
        positions = getattr(lm.config.get_text_config(decoder=True), "max_position_embeddings", None)
        rate = next((d["max_tokens_per_second"] for d in said if "max_tokens_per_second" in d), MAX_TOKENS_PER_SECOND)
        longest = min(first_said("max_length", said, MAX_LENGTH) - 1, first_said("max_new_tokens", said, MAX_LENGTH))
        if rate is not None:
            seconds = listened.last_hidden_state.shape[1] * self.config.seconds_per_listener_frame
            longest = min(longest, max(math.ceil(seconds * rate), MIN_LIMIT) + 1)
        if positions is not None and positions < longest:
            raise ValueError(
                f"lm ({type(lm).__name__}) has {positions} positions, a text may have {longest} tokens: "
                f"pass max_length={positions + 1}, or shorter clips"
            )

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
