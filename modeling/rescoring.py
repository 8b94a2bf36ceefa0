"""What a text's score is made of, recomputed from the text; and n-best lists sorted anew by it.

Notable here:
- `sequence_parts` scores whole texts, each source by itself: weighted and summed (`joint_score`), its parts are what
  beam search gave the text, whatever beams it went through;
- `rescore` weighs the parts anew: the beam's score, the decoder, CTC over tokens or over phonemes, a language model,
  an n-gram, coverage, length. Chan et al. 2015 gained 4 points of WER so; phoneme losses are from arXiv:2111.10208.

    output = model.generate(encoder_outputs=listened, num_beams=8, num_return_sequences=8, output_scores=True,
                            return_dict_in_generate=True)
    best = rescore(model, listened, output.sequences, {"attention": 1.0, "lm": 0.5}, JointOptions(lm=lm))
    best.sequences[:, 0]  # the best text of each clip
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from .companions import covered
from .joint_decoding import HeardSound, JointOptions, check_coverage, check_language_model, check_table, ctc_prefix
from .labels import IGNORED_LABEL
from .ngram_table import NGramTable

Phonemes = Callable[[list[int]], Sequence[int]]


def text_labels(sequences: torch.Tensor, ends: Sequence[int]) -> torch.Tensor:
    """Labels `(rows, length - 1)` of sequences that open with the start token: up to the first end, then `-100`."""
    labels = sequences[:, 1:]
    end = torch.isin(labels, torch.tensor(list(ends), dtype=labels.dtype, device=labels.device)).long()
    return labels.masked_fill(end.cumsum(-1) - end > 0, IGNORED_LABEL)


@torch.no_grad()
def sequence_parts(
    model: Any,
    listened: HeardSound,
    sequences: torch.Tensor,
    options: JointOptions | None = None,
    phonemes: Phonemes | None = None,
) -> dict[str, torch.Tensor]:
    """What each source says about whole texts, unweighted.

    Args:
        model: A model that writes, of LAS or of patches.
        listened: What its encoder made of the clips (`model.listen`).
        sequences: `(rows, length)` as `generate` returns them, equally many per clip, one clip after the other: the
            start token, tokens, an end; what follows the end does not count. A text without an end is a beginning.
        options: What is scored: every source whose weight is above 0.
        phonemes: The phonemes of a text, from its token ids without start and end; asks for "phoneme_ctc".

    Returns:
        Each `(rows,)`: "attention" is ln p of the decoder; "ctc", "lm", "ngram" and "phoneme_ctc" ln p of theirs;
        "coverage" counts covered keys; "length" counts tokens, with the end.

    Raises:
        ValueError: As in `generate`, for sources that the model does not have.
    """
    options = JointOptions() if options is None else options
    labels = text_labels(sequences, model.config.end_ids)
    inputs, real = sequences[:, :-1], labels != IGNORED_LABEL
    tokens = labels.masked_fill(~real, model.config.blank_id)
    outputs = model(
        decoder_input_ids=inputs,
        encoder_outputs=listened,
        output_attentions=options.coverage_weight > 0,
        use_cache=False,
        return_dict=True,
    )
    parts = {"attention": _of_tokens(outputs.logits, tokens, real), "length": real.sum(-1).double()}
    if options.ctc_weight > 0:
        parts["ctc"] = _ctc(model, listened, labels, f"ctc_weight={options.ctc_weight}")
    if phonemes is not None:
        parts["phoneme_ctc"] = _phoneme_ctc(model, listened, labels, phonemes)
    if options.uses_lm:
        check_language_model(options.lm, model.config.vocab_size, inputs.device)
        parts["lm"] = _of_tokens(options.lm(input_ids=inputs, use_cache=False).logits, tokens, real)
    if options.uses_ngram:
        table = check_table(cast(NGramTable, options.ngram), model.config.vocab_size, inputs.device)
        parts["ngram"] = _ngram(table, tokens, real)
    if options.coverage_weight > 0:
        check_coverage(model, options)
        attention = outputs.cross_attentions[-1].float().mean(1) * real[..., None]  # (rows, targets, keys)
        parts["coverage"] = covered(attention.sum(1), options.coverage_threshold).double()
    return parts


def joint_score(parts: Mapping[str, torch.Tensor], options: JointOptions) -> torch.Tensor:
    """The score that beam search gives texts with these parts, before length normalisation, `(rows,)`."""
    weights = {
        "attention": 1 - options.ctc_weight,
        "ctc": options.ctc_weight,
        "lm": options.lm_weight,
        "ngram": options.ngram_weight,
        "coverage": options.coverage_weight,
    }
    return _weighted(parts, {name: weight for name, weight in weights.items() if name in parts})


@dataclass(frozen=True)
class Rescored:
    """N-best lists sorted anew, the best first.

    Shapes: `sequences` `(clips, n, length)`; `totals` `(clips, n)`; `parts`, per name `(clips, n)`, unweighted;
    `order` `(clips, n)`, where each stood before.
    """

    sequences: torch.Tensor
    totals: torch.Tensor
    parts: dict[str, torch.Tensor]
    order: torch.Tensor


def rescore(
    model: Any,
    listened: HeardSound,
    sequences: torch.Tensor,
    weights: Mapping[str, float],
    options: JointOptions | None = None,
    beam_scores: torch.Tensor | None = None,
    phonemes: Phonemes | None = None,
) -> Rescored:
    """Sort n-best lists by Σ weight · part.

    Args:
        model, listened, sequences, phonemes: As in `sequence_parts`.
        weights: Of "beam", "attention", "ctc", "phoneme_ctc", "lm", "ngram", "coverage", "length". A part of weight 0
            is given, but has no say.
        options: Where "lm" and "ngram" come from, and the threshold of "coverage"; its weights count for nothing here.
        beam_scores: `sequences_scores` of `generate`, `(rows,)`.

    Raises:
        ValueError: A part that is not there; sources that the model does not have.
    """
    options = JointOptions() if options is None else options
    known = ("beam", "attention", "ctc", "phoneme_ctc", "lm", "ngram", "coverage", "length")
    if unknown := set(weights) - set(known):
        raise ValueError(f"weights name {', '.join(sorted(unknown))}; allowed: {', '.join(known)}")
    given = {"beam": beam_scores, "phoneme_ctc": phonemes, "lm": options.lm, "ngram": options.ngram}
    needs = {"beam": "beam_scores", "phoneme_ctc": "phonemes", "lm": "options.lm", "ngram": "options.ngram"}
    for name in weights:
        if name in given and given[name] is None:
            raise ValueError(f"weights name {name!r}, but {needs[name]} is None")
    asked = {name: float(name in weights) for name in ("lm", "ngram", "coverage")}
    sources = JointOptions(
        ctc_weight=0.5 if "ctc" in weights else 0.0,  # any share asks for it
        lm=options.lm,
        lm_weight=asked["lm"],
        ngram=options.ngram,
        ngram_weight=asked["ngram"],
        coverage_weight=asked["coverage"],
        coverage_threshold=options.coverage_threshold,
    )
    parts = sequence_parts(model, listened, sequences, sources, phonemes if "phoneme_ctc" in weights else None)
    if beam_scores is not None:
        parts["beam"] = beam_scores.double()
    clips = len(listened.last_hidden_state)
    totals, order = _weighted(parts, weights).unflatten(0, (clips, -1)).sort(dim=-1, descending=True, stable=True)
    by_clip = sequences.unflatten(0, (clips, -1))
    return Rescored(
        sequences=by_clip.gather(1, order[..., None].expand_as(by_clip)),
        totals=totals,
        parts={name: part.unflatten(0, (clips, -1)).gather(1, order) for name, part in parts.items()},
        order=order,
    )


def _weighted(parts: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    # A weight of 0 leaves out: 0 times minus infinity would be none.
    return sum((w * parts[n] for n, w in weights.items() if w), torch.zeros_like(parts["attention"]))


def _of_tokens(logits: torch.Tensor, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """ln p of `tokens` `(rows, targets)` where they are real, by `logits` `(rows, targets, vocabulary)`: `(rows,)`."""
    each = logits.float().log_softmax(dim=-1).gather(2, tokens[..., None])[..., 0]
    return each.double().masked_fill(~real, 0.0).sum(-1)


def _ctc(model: Any, listened: HeardSound, labels: torch.Tensor, asked: str) -> torch.Tensor:
    """ln p of each text by CTC, or of texts that begin so where it has no end, `(rows,)`."""
    ends = torch.tensor(model.config.end_ids, dtype=torch.long, device=labels.device)
    prefix = ctc_prefix(model, listened, len(labels), ends, asked)
    score = prefix.score
    for tokens in labels.unbind(1):
        end, real = torch.isin(tokens, ends), tokens != IGNORED_LABEL
        score = torch.where(end, prefix.whole(), score)
        prefix.advance(tokens.masked_fill(~real, model.config.blank_id))
        score = torch.where(real & ~end, prefix.score, score)
    return score


def _phoneme_ctc(model: Any, listened: HeardSound, labels: torch.Tensor, phonemes: Phonemes) -> torch.Tensor:
    """ln p of each text's phonemes by CTC, `(rows,)`."""
    prefix = ctc_prefix(
        model, listened, len(labels), torch.tensor([], dtype=torch.long), "phonemes", head="phoneme_head"
    )
    spoken = [list(phonemes(_text(row, model.config.end_ids))) for row in labels.tolist()]
    most, blank = model.config.phoneme_vocab_size - 1, model.config.blank_id
    for row in spoken:
        if wrong := [p for p in row if not 0 <= p <= most or p == blank]:
            raise ValueError(f"phonemes gave {wrong[0]}; allowed are 0 to {most} without the blank, {blank}")
    score = prefix.whole()
    for i in range(max(map(len, spoken))):
        there = torch.tensor([i < len(row) for row in spoken], device=labels.device)
        tokens = torch.tensor([row[i] if i < len(row) else blank for row in spoken])
        prefix.advance(tokens.to(labels.device))
        score = torch.where(there, prefix.whole(), score)
    return score


def _text(labels: list[int], ends: Sequence[int]) -> list[int]:
    return [label for label in labels if label != IGNORED_LABEL and label not in ends]


def _ngram(table: NGramTable, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """ln p of `tokens` `(rows, targets)` where they are real, by the n-gram: `(rows,)`."""
    states, total = table.start_states(len(tokens)), torch.zeros(len(tokens), dtype=torch.double, device=tokens.device)
    for i, token in enumerate(tokens.unbind(1)):
        each = table.scores(states).double().gather(1, token[:, None])[:, 0]
        total = total + each.masked_fill(~real[:, i], 0.0)
        states = table.advance(states, token)
    return total
