"""`generate()` of a model that writes what it hears: transformers' own, with what sounds and companions need beside.

Notable here:
- what the encoder heard is held once per utterance: only tokens and the decoder's state are repeated per beam;
- every clip's text ends at a length that follows from its own frames, whatever it is batched with (`text_limits.py`);
- CTC, language models, n-grams and coverage have their say through the cache, which moves what they know of each
  hypothesis with it (`joint_decoding.py`, `companions.py`); nothing is kept on the model.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation import LogitsProcessor, LogitsProcessorList

from .modeling_beam_search import BeamSearchMixin
from .modeling_checks import check_features
from .modeling_companion_cache import CACHE, given_cache
from .modeling_companions import AddCompanions
from .modeling_joint_decoding import JointOptions, companions
from .modeling_text_limits import (
    MAX_LENGTH,
    MAX_TOKENS_PER_SECOND,
    MIN_LIMIT,
    NUM_BEAMS,
    EndThreshold,
    end_by_length,
    end_ids,
    first_said,
    frame_counts,
    ids_on,
    said_rate,
)


class JointGenerationMixin(BeamSearchMixin):
    """What a model that hears adds to `GenerationMixin`; a subclass says how it listens and begins."""

    @abstractmethod
    def listen(
        self, input_features: torch.Tensor | None, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> Any:
        """What the encoder makes of features, for `encoder_outputs`: a dataclass that is a `HeardSound`."""

    @abstractmethod
    def _as_heard(self, outputs: Any, attention_mask: torch.Tensor | None) -> Any:
        """What stands for `encoder_outputs` elsewhere in transformers, as what `listen` returns."""

    @abstractmethod
    def _begin(self, heard: Any, rows: int, kwargs: Mapping[str, Any]) -> Any:
        """The cache of `rows` hypotheses about what was heard, before the first token."""

    @abstractmethod
    def _seconds(self, heard: Any) -> torch.Tensor:
        """How long each clip is that was heard, `(clips,)`."""

    @abstractmethod
    def _most_seconds(self, heard: Any) -> float:
        """How long a clip can be at most, by the shape of what was heard."""

    def _longest_text(self) -> int:
        """Tokens of the longest text by default, the start token counted."""
        return MAX_LENGTH

    def _set_generation_defaults(self) -> None:
        # _from_model_config: what is set here is saved, not derived again from config.json
        longest = self._longest_text()
        self.generation_config.update(num_beams=NUM_BEAMS, max_length=longest, _from_model_config=False)
        vars(self.generation_config)["max_tokens_per_second"] = MAX_TOKENS_PER_SECOND

    def adjust_generation_fn(self, *args: Any, **kwargs: Any) -> None:
        """As in transformers; a folder without generation_config.json gets this model's defaults, not 20 tokens."""
        super().adjust_generation_fn(*args, **kwargs)  # type: ignore[misc]
        if self.generation_config._from_model_config:
            self._set_generation_defaults()

    def prepare_inputs_for_generation(self, input_ids: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """As in transformers; what the cache has read of the text is not read again."""
        cache = given_cache(kwargs.get("cache"), kwargs.get("past_key_values"))
        if (unread := self._unread(input_ids, cache)) < input_ids.shape[1]:
            kwargs["next_sequence_length"] = unread
        return super().prepare_inputs_for_generation(input_ids, **kwargs)  # type: ignore[misc]

    @staticmethod
    def _unread(input_ids: torch.Tensor, cache: Any) -> int:
        """How many of the last tokens the cache has not read; all, where it has read none or as many."""
        seen = 0 if cache is None else cache.get_seq_length()
        return input_ids.shape[1] - (seen if seen < input_ids.shape[1] else 0)

    def _expand_inputs_for_generation(  # type: ignore[override]
        self, expand_size: int = 1, **kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """As in transformers, but hypotheses share what was heard of their utterance."""
        heard, kwargs["is_encoder_decoder"] = kwargs.pop("encoder_outputs", None), False
        input_ids, expanded = super()._expand_inputs_for_generation(expand_size=expand_size, **kwargs)  # type: ignore[misc]
        return input_ids, {**expanded, "encoder_outputs": heard}

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: LogitsProcessorList | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """`GenerationMixin.generate`, with companions of the decoder, and limits that follow from each clip's frames.

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
        seconds = self._check_heard(features, kwargs)
        cache = given_cache(kwargs.pop("cache", None), kwargs.pop("past_key_values", None))
        if cache is not None:
            kwargs[CACHE] = cache
        if kwargs.get("max_new_tokens") is not None and kwargs.get("max_length") is None:
            # The defaults hold a max_length; as one, the caller's limit replaces it instead of standing beside it.
            prompt = kwargs.get("decoder_input_ids")
            kwargs["max_length"] = kwargs.pop("max_new_tokens") + (1 if prompt is None else prompt.shape[1])
        configs = [vars(c) for c in (generation_config, self.generation_config) if c is not None]
        if self.config.ctc_weight == 1:  # CTC alone: the decoder has learned nothing
            configs.append({"ctc_weight": 1.0})
        options, said = JointOptions.taken_from(kwargs, configs), [kwargs, *configs]
        # Limits first: what only they leave must pass the threshold, and companions add to what both leave.
        processors: list[LogitsProcessor | None] = [end_by_length(self.config, said, seconds)]
        if options.eos_threshold is not None:
            processors.append(EndThreshold(options.eos_threshold, self._are_ends(end_ids(self.config, said))))
        if options.beside_decoder or getattr(cache, "companions", None):
            kwargs[CACHE] = cache = self._joint_cache(options, features, kwargs, said)
            processors.append(AddCompanions(cache))
        logits_processor = LogitsProcessorList([*(logits_processor or []), *(p for p in processors if p is not None)])
        return super().generate(inputs, generation_config, logits_processor, *args, **kwargs)  # type: ignore[misc]

    def _check_heard(self, features: torch.Tensor | None, kwargs: dict[str, Any]) -> torch.Tensor:
        """Seconds per clip `(clips,)` of the features, or of `encoder_outputs`, which are made ours in `kwargs`.

        Raises:
            ValueError: There are neither, or features that the model does not take.
        """
        mask = kwargs.get("attention_mask")
        if kwargs.get("encoder_outputs") is not None:
            # A copy: transformers writes what it repeats per beam into the object that it is given.
            kwargs["encoder_outputs"] = heard = replace(self._as_heard(kwargs["encoder_outputs"], mask))
            return self._seconds(heard)
        if features is None:
            raise ValueError("pass input_features (batch, frames, mels) to generate")
        check_features(features, mask, self.config.num_mel_bins)
        return frame_counts(features, mask) * (self.config.frame_shift_ms / 1000)

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
    ) -> Any:
        """The cache whose companions score the texts of one `generate` call: the caller's, or a new one.

        What the encoder heard is put into `kwargs`, so that it listens once.
        """
        if first_said("use_cache", said) is False:
            raise ValueError("use_cache=False: what scores beside the decoder follows hypotheses in the cache")
        if (cache := kwargs.get(CACHE)) is not None:
            if not getattr(cache, "companions", None):
                raise ValueError(f"{CACHE} holds nothing that scores beside the decoder: it was made without")
            if differing := cache.options.differing(options):
                raise ValueError(f"{CACHE} was made with other options: {', '.join(differing)}; pass them as then")
            return cache
        if kwargs.get("encoder_outputs") is None:
            assert features is not None
            mask = kwargs.get("attention_mask")
            kwargs["encoder_outputs"] = self.listen(
                features.to(self.device),
                None if mask is None else mask.to(self.device),
                output_hidden_states=first_said("output_hidden_states", said),
            )
        heard = kwargs["encoder_outputs"]
        if options.uses_lm:
            self._check_positions(options.lm, heard, said)
        beams = max(first_said("num_beams", said, 1), first_said("num_return_sequences", said, 1))
        rows = len(heard.last_hidden_state) * beams
        cache = self._begin(heard, rows, kwargs)
        cache.companions = companions(self, options, heard, rows, end_ids(self.config, said))
        cache.options = options
        return cache

    def _check_positions(self, lm: Any, heard: Any, said: Sequence[Mapping[str, Any]]) -> None:
        """The language model has a position for every token that the longest text may have."""
        positions = getattr(lm.config.get_text_config(decoder=True), "max_position_embeddings", None)
        rate = said_rate(said)
        longest = min(first_said("max_length", said, MAX_LENGTH) - 1, first_said("max_new_tokens", said, MAX_LENGTH))
        if rate is not None:
            longest = min(longest, max(math.ceil(self._most_seconds(heard) * rate), MIN_LIMIT) + 1)
        if positions is not None and positions < longest:
            raise ValueError(
                f"lm ({type(lm).__name__}) has {positions} positions, a text may have {longest} tokens: "
                f"pass max_length={positions + 1}, or shorter clips"
            )
