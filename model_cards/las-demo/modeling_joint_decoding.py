"""Joint decoding in words: which companions `generate` is asked for, checked by name, and made for its hypotheses.

    model.generate(features, num_beams=8, ctc_weight=0.3, lm=lm, lm_weight=0.2, eos_threshold=1.5)

The numbers may also stand in `generation_config`, with which they are saved.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from .modeling_companion_cache import Companion
from .modeling_companions import CoverageScores, CtcScores, LanguageModelScores, NGramScores, cache_name
from .modeling_ctc_prefix import CtcPrefix
from .modeling_ngram_table import NGramTable
from .modeling_text_limits import ids_on


class HeardSound(Protocol):
    """What an encoder made of clips, whichever it is.

    Shapes: `last_hidden_state` `(clips, keys, hidden)`; `ctc_states` `(clips, ctc frames, hidden)`, what lies under
    the CTC heads, with `ctc_mask` `(clips, ctc frames)`, True on real frames; None where there is no such head.
    """

    last_hidden_state: torch.Tensor
    ctc_states: torch.Tensor | None
    ctc_mask: torch.Tensor | None


@dataclass(frozen=True)
class JointOptions:
    """What scores a text beside the decoder, and how much of it.

    The score of a text is (1 - ctc_weight) ln p_decoder + ctc_weight ln p_CTC + lm_weight ln p_lm + ngram_weight
    ln p_ngram + coverage_weight · covered keys. Keys are what a text attends to: listener frames, or patches.

    Args:
        ctc_weight: Share of CTC (Watanabe et al. 2017), 0 to 1; 1 decodes by CTC alone.
        ctc_candidates: CTC looks at so many of the decoder's likeliest tokens at each step and leaves the others
            out, which saves time with vocabularies of thousands. Default: at all, exactly.
        lm: A causal language model of transformers over the same ids (shallow fusion).
        lm_weight: Its weight, at least 0.
        ngram: An `NGramTable` over the same ids.
        ngram_weight: Its weight, at least 0.
        coverage_weight: Per key that the text's attention covers (arXiv:1612.02695), at least 0.
        coverage_threshold: How much attention, summed over the text, covers a key; above 0.
        eos_threshold: A text ends only where ln p(end) > eos_threshold · max ln p(other) by the decoder
            (arXiv:1904.02619), above 0. Default: anywhere.

    Raises:
        TypeError: `lm` is no model of transformers, or `ngram` no table.
        ValueError: A number outside its range.
    """

    ctc_weight: float = 0.0
    ctc_candidates: int | None = None
    lm: Any = None
    lm_weight: float = 0.3
    ngram: NGramTable | None = None
    ngram_weight: float = 0.3
    coverage_weight: float = 0.0
    coverage_threshold: float = 0.5
    eos_threshold: float | None = None

    def __post_init__(self) -> None:
        _check_number("ctc_weight", self.ctc_weight, "from 0 to 1", lambda x: 0 <= x <= 1)
        for name in ("lm_weight", "ngram_weight", "coverage_weight"):
            _check_number(name, getattr(self, name), "at least 0", lambda x: x >= 0)
        _check_number("coverage_threshold", self.coverage_threshold, "above 0", lambda x: x > 0)
        if self.eos_threshold is not None:
            _check_number("eos_threshold", self.eos_threshold, "above 0, or None", lambda x: x > 0)
        candidates = self.ctc_candidates
        if candidates is not None and not (type(candidates) is int and candidates > 0):
            raise ValueError(f"ctc_candidates={candidates!r} must be a whole number above 0, or None for all")
        if self.ctc_weight == 1:
            for name in ("ctc_candidates", "eos_threshold"):
                if (value := getattr(self, name)) is not None:
                    raise ValueError(f"{name}={value} goes by the decoder, which has no say at ctc_weight=1")
        if self.lm is not None and not isinstance(self.lm, PreTrainedModel):
            raise TypeError(f"lm is a {type(self.lm).__name__}; allowed: a causal language model of transformers")
        if self.ngram is not None and not isinstance(self.ngram, NGramTable):
            raise TypeError(f"ngram is a {type(self.ngram).__name__}; allowed: an NGramTable over the model's ids")

    @classmethod
    def taken_from(cls, kwargs: dict[str, Any], said: Sequence[Mapping[str, Any]] = ()) -> "JointOptions":
        """The options among what a caller passed, which are taken out, and else among what is said elsewhere.

        Args:
            kwargs: The caller's. None there means the default, whatever is said elsewhere.
            said: Generation configs as dicts; they hold numbers, no models. The first that says something counts.

        Raises:
            ValueError: A weight without its model.
        """
        given = {field.name: kwargs.pop(field.name) for field in fields(cls) if field.name in kwargs}
        for model in ("lm", "ngram"):
            if given.get(f"{model}_weight") and given.get(model) is None:
                raise ValueError(f"{model}_weight={given[f'{model}_weight']} without {model}: pass {model}= too")
        for field in fields(cls):
            if field.name not in given and field.name not in ("lm", "ngram"):
                given[field.name] = next((d[field.name] for d in said if d.get(field.name) is not None), None)
        return cls(**{name: value for name, value in given.items() if value is not None})

    @property
    def beside_decoder(self) -> bool:
        """Whether anything is added to the decoder's scores."""
        return self.ctc_weight > 0 or self.uses_lm or self.uses_ngram or self.coverage_weight > 0

    @property
    def uses_lm(self) -> bool:
        """Whether a language model has a say."""
        return self.lm is not None and self.lm_weight > 0

    @property
    def uses_ngram(self) -> bool:
        """Whether an n-gram has a say."""
        return self.ngram is not None and self.ngram_weight > 0

    def differing(self, other: "JointOptions") -> list[str]:
        """Names of the options that a cache holds and that differ from `other`'s."""
        names = [field.name for field in fields(self) if field.name != "eos_threshold"]  # that one is no companion
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def _check_number(name: str, value: Any, allowed: str, fits: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not fits(value):
        raise ValueError(f"{name}={value!r} must be a number {allowed}")


def companions(
    model: Any, options: JointOptions, listened: HeardSound, rows: int, ends: Sequence[int]
) -> list[Companion]:
    """The companions of `rows` hypotheses, empty so far.

    Args:
        model: A model that writes.
        options: What is asked for.
        listened: What its encoder made of the clips.
        rows: Hypotheses, equally many per clip.
        ends: Ids that end a text.

    Raises:
        ValueError: The model, the language model or the n-gram cannot do what is asked.
    """
    device = listened.last_hidden_state.device
    made: list[Companion] = []
    if options.ctc_weight > 0:
        end = ids_on(device, ends)
        prefix = ctc_prefix(model, listened, rows, end, f"ctc_weight={options.ctc_weight}")
        no_words = ids_on(device, [*ends, model.config.blank_id])
        made.append(CtcScores(prefix, float(options.ctc_weight), options.ctc_candidates, no_words))
    if options.uses_lm:
        check_language_model(options.lm, model.config.vocab_size, device)
        made.append(LanguageModelScores(options.lm, float(options.lm_weight)))
    if options.uses_ngram:
        table = check_table(cast(NGramTable, options.ngram), model.config.vocab_size, device)
        made.append(NGramScores(table, float(options.ngram_weight), rows))
    if options.coverage_weight > 0:
        check_coverage(model, options)
        made.append(CoverageScores(float(options.coverage_weight), float(options.coverage_threshold)))
    return made


def ctc_prefix(
    model: Any, listened: HeardSound, rows: int, ends: torch.Tensor, asked: str, head: str = "ctc_head"
) -> CtcPrefix:
    """The CTC state of `rows` empty hypotheses, after one of the model's CTC heads.

    Args:
        model, listened, rows: As in `companions`.
        ends: Ids that end a text, `(ends,)`.
        asked: What asks for it, for the message.
        head: "ctc_head" or "phoneme_head".

    Raises:
        ValueError: The model has no such head, or its encoder's output lacks the states under it.
    """
    module: nn.Module | None = getattr(model, head)
    if module is None:
        trained = "ctc_weight above 0" if head == "ctc_head" else "phoneme_vocab_size above 0"
        raise ValueError(f"{asked}: this model has no {head}; its config needs {trained}")
    if listened.ctc_states is None or listened.ctc_mask is None:
        raise ValueError(f"{asked}: encoder_outputs hold no ctc_states; pass what model.listen returned, whole")
    return CtcPrefix(module(listened.ctc_states), listened.ctc_mask, rows, model.config.blank_id, ends)


def check_language_model(lm: Any, vocab_size: int, device: torch.device) -> None:
    """A language model can score a recogniser's tokens.

    Raises:
        ValueError: Another vocabulary or device, dropout on, an encoder, or no cache.
    """
    name, theirs = f"lm ({type(lm).__name__})", lm.config.get_text_config(decoder=True).vocab_size
    if theirs != vocab_size:
        raise ValueError(f"{name} has vocab_size={theirs}, the recogniser {vocab_size}: the ids must be the same")
    if lm.config.is_encoder_decoder:
        raise ValueError(f"{name} is an encoder-decoder; allowed: a causal language model")
    if lm.device != device:
        raise ValueError(f"{name} is on {lm.device}, the recogniser's states on {device}: move one of them")
    if lm.training:
        raise ValueError(f"{name} is in training mode, so that its scores are random; call lm.eval()")
    if cache_name(lm) is None:
        raise ValueError(f"{name} takes no cache, and so cannot follow hypotheses from token to token")


def check_table(table: NGramTable, vocab_size: int, device: torch.device) -> NGramTable:
    """The n-gram where the hypotheses are.

    Raises:
        ValueError: It is over another vocabulary.
    """
    if table.vocab_size != vocab_size:
        raise ValueError(f"ngram has {table.vocab_size} tokens, the recogniser {vocab_size}: the ids must be the same")
    return table.to(device)


def check_coverage(model: Any, options: JointOptions) -> None:
    """The decoder attends.

    Raises:
        ValueError: It does not.
    """
    if getattr(model.config, "attention_kind", None) == "none":
        raise ValueError(f"coverage_weight={options.coverage_weight}: attention_kind='none' covers no frames")
