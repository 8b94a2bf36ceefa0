"""Attention receipts: is what a model says of a recording owed to what it attended to?

    from aural import receipts

    told = receipts("seven.wav", "models/las", text="seven nine")
    [(one.text, one.drop, one.worth, one.without_evidence) for one in told.items]

For each word or tag, the features under the smallest set of cells that holds a share of its attention, but no more
than a third of all, are muted and the same text is scored again; so is the text with as much muted elsewhere, at
random. Of an event what sounds at its moments is muted.

Notable here:
- one function for models that write (LAS, text decoders) and for taggers of clips and of moments (`receipt_readers.py`
  asks them);
- the text stays as it is, word after word, so that only the sound changes;
- the drop is in nats: what the word's log probability loses. Attention that does not matter (Jain and Wallace 2019,
  arXiv:1902.10186) shows as a drop no larger than that of muting anything else;
- what the evidence is *worth* is in points of confidence: a word that is unlikely anyhow gains and loses several nats
  by chance, and hardly any confidence;
- a word whose confidence does not fall with its evidence is marked: it is known from the text, from what else sounds,
  or made up. How well this tells words that nobody said is measured (`receipt_study.py`): nearly all are found, and a
  sixth of the words of right texts are marked too. It is a reason to listen, and no proof.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from .looking import load_looker
from .processing import AuralProcessor, LogMelFeatureExtractor
from .processing.evidence import elsewhere, smallest_set
from .receipt_readers import BATCH_SIZE, Claim, Reader, reader_of

SHARE = 0.8  # of a word's attention, that its evidence holds
MOST = 1 / 3  # of the cells, however attention is spread: so that as much is left elsewhere, and a choice of places
DRAWS = 8  # of an equal amount elsewhere
THRESHOLD = 0.16  # of what evidence is worth; chosen in the study on strings that it was not measured on


@dataclass(frozen=True, eq=False)
class Receipt:
    """What one word, tag or event owes to what it attended to.

    Attributes:
        text: The word, or the label.
        start, end: Seconds at which it was said or sounded; None where the model tells no times.
        score: Log probability in nats, of a word the sum over its tokens.
        tokens: Tokens of a word; 1 of a label.
        attention: `(rows, columns)` over the cells, which sums to 1.
        evidence: Boolean `(rows, columns)`: the cells that were muted.
        drop: What the score loses when the evidence is muted, in nats; below 0 where it gains.
        random_drops: The same with an equal amount elsewhere; none where nothing is left elsewhere.
        threshold: Evidence that is worth less is none.
    """

    text: str
    start: float | None
    end: float | None
    score: float
    tokens: int
    attention: np.ndarray
    evidence: np.ndarray
    drop: float
    random_drops: tuple[float, ...]
    threshold: float

    @property
    def confidence(self) -> float:
        """Geometric mean of the probabilities of its tokens, 0 to 1."""
        return self._confidence(0.0)

    @property
    def random_mean(self) -> float | None:
        """Mean of the random drops in nats."""
        return float(np.mean(self.random_drops)) if self.random_drops else None

    @property
    def random_spread(self) -> float | None:
        """Standard deviation of the random drops in nats."""
        return float(np.std(self.random_drops)) if self.random_drops else None

    @property
    def faithfulness(self) -> float | None:
        """Nats by which muting the evidence costs more than muting as much elsewhere, on average."""
        return self.drop - float(np.mean(self.random_drops)) if self.random_drops else None

    @property
    def share_below(self) -> float | None:
        """Share of the random drops that are smaller than that of the evidence, 0 to 1; equal ones count half."""
        if not self.random_drops:
            return None
        others = np.array(self.random_drops)
        return float(((others < self.drop) + 0.5 * (others == self.drop)).mean())

    @property
    def worth(self) -> float:
        """What the evidence is worth, -1 to 1: the confidence that is left with as much muted elsewhere, on average,
        less that with the evidence muted. Without random drops: less the confidence with nothing muted."""
        others = self.random_drops or (0.0,)
        kept, *elsewhere_kept = (self._confidence(drop) for drop in (self.drop, *others))
        return float(np.mean(elsewhere_kept)) - kept

    @property
    def without_evidence(self) -> bool:
        """Whether its confidence does not fall when what it attended to is muted."""
        return self.worth < self.threshold

    def _confidence(self, drop: float) -> float:
        return float(np.exp((self.score - drop) / max(self.tokens, 1)))


@dataclass(frozen=True, eq=False)
class Receipts:
    """The receipts of one recording.

    Attributes:
        source: The file, or "audio" for audio given otherwise.
        model: The model's folder, or its class.
        kind: "las", "writer" or "tagger".
        text: What was written or given; of a tagger its labels, with commas between.
        seconds: Length of the recording.
        items: One receipt per word, tag or event, in order.
        column_seconds: `(columns, 2)`, start and end of the cells; neighbours overlap where patches do.
        row_hertz: `(rows, 2)`, lowest and highest frequency of the cells.
        features: float32 `(frames, mels)`, as the model got them.
        seconds_per_feature, feature_start: From one frame to the next, and where the first one's time starts.
        share, draws, seed, fill: As they were asked for.
    """

    source: str
    model: str
    kind: str
    text: str
    seconds: float
    items: tuple[Receipt, ...]
    column_seconds: np.ndarray
    row_hertz: np.ndarray
    features: np.ndarray
    seconds_per_feature: float
    feature_start: float
    share: float
    draws: int
    seed: int
    fill: str

    @property
    def without_evidence(self) -> tuple[str, ...]:
        """What has no evidence in the sound, in order."""
        return tuple(item.text for item in self.items if item.without_evidence)

    def evidence_seconds(self, item: Receipt) -> tuple[tuple[float, float], ...]:
        """The stretches of the recording that an item's evidence lies in, each start and end in seconds."""
        stretches: list[list[float]] = []
        for column in np.flatnonzero(item.evidence.any(axis=0)):
            start, end = (min(max(float(edge), 0.0), self.seconds) for edge in self.column_seconds[column])
            if stretches and start <= stretches[-1][1] + 1e-9:
                stretches[-1][1] = max(stretches[-1][1], end)
            else:
                stretches.append([start, end])
        return tuple((start, end) for start, end in stretches)

    def told(self) -> dict[str, Any]:
        """All that is told, without the arrays, ready for JSON."""
        return {
            "file": self.source,
            "text": self.text,
            "share": self.share,
            "draws": self.draws,
            "seed": self.seed,
            "fill": self.fill,
            "without_evidence": list(self.without_evidence),
            "items": [self._row(item) for item in self.items],
        }

    def _row(self, item: Receipt) -> Mapping[str, Any]:
        def rounded(value: float | None) -> float | None:
            return None if value is None else round(value, 4)

        return {
            "text": item.text,
            "start": rounded(item.start),
            "end": rounded(item.end),
            "log_probability": rounded(item.score),
            "confidence": rounded(item.confidence),
            "evidence": [[rounded(start), rounded(end)] for start, end in self.evidence_seconds(item)],
            "cells": int(item.evidence.sum()),
            "drop": rounded(item.drop),
            "random_mean": rounded(item.random_mean),
            "random_spread": rounded(item.random_spread),
            "faithfulness": rounded(item.faithfulness),
            "share_below": rounded(item.share_below),
            "worth": rounded(item.worth),
            "without_evidence": item.without_evidence,
        }


def receipts(
    audio: Any,
    model: str | Path | PreTrainedModel,
    processor: AuralProcessor | LogMelFeatureExtractor | None = None,
    *,
    text: str | None = None,
    share: float = SHARE,
    draws: int = DRAWS,
    seed: int = 0,
    fill: str = "mean",
    threshold: float = THRESHOLD,
    batch_size: int = BATCH_SIZE,
) -> Receipts:
    """Mute what each word, tag or event attended to, and see what is left of it.

    Args:
        audio: What `load_audio` reads, no longer than the model takes at once.
        model: A model folder or Hub id, or a model that is loaded already, in eval mode.
        processor: Needed with a loaded model; of a tagger its feature extractor.
        text: The text that is scored, in place of what the model writes; of a tagger labels, with commas between.
        share: Of a word's attention, that its evidence holds: above 0, up to 1.
        draws: Times that an equal amount is muted elsewhere; 0 for none.
        seed: What the places elsewhere follow from.
        fill: What muted features hold: the clip's "mean", or digital "silence", to which many models are not used.
        threshold: Evidence that is worth less is none. The default was chosen in the study (`aural demo receipts`), on
            strings other than those that it was measured on; of another model it is a guess.
        batch_size: Muted copies of the recording that are scored together.

    Raises:
        OSError: The audio or the model folder cannot be read.
        TypeError: A model of another family.
        ValueError: A model without attention to what it says (CTC), a recording that is too long, a text that the
            model cannot write, or an argument that cannot be.

    Example:
        >>> from aural import receipts
        >>> receipts("seven.wav", "demo/model", text="seven nine").without_evidence  # doctest: +SKIP
        ('nine',)
    """
    check_asked(share, draws, batch_size)
    if not np.isfinite(threshold):
        raise ValueError(f"threshold={threshold!r} must be a finite number, of confidence")
    if not isinstance(model, PreTrainedModel):
        model, processor = load_looker(model)
    if processor is None:
        raise ValueError("processor=None: a loaded model needs its processor, or its feature extractor")
    return receipts_of(reader_of(audio, model, processor, text, fill), share, draws, seed, threshold, batch_size)


def receipts_of(
    reader: Reader,
    share: float = SHARE,
    draws: int = DRAWS,
    seed: int = 0,
    threshold: float = THRESHOLD,
    batch_size: int = BATCH_SIZE,
) -> Receipts:
    """The receipts of a clip that is read already; arguments as of `receipts`."""
    items = tuple(_receipts(reader, share, draws, seed, threshold, batch_size))
    seen = reader.seen
    return Receipts(
        source=seen.source,
        model=seen.model,
        kind=seen.kind,
        text=reader.text,
        seconds=seen.seconds,
        items=items,
        column_seconds=reader.seconds,
        row_hertz=reader.hertz,
        features=seen.features,
        seconds_per_feature=seen.seconds_per_feature,
        feature_start=seen.feature_start,
        share=share,
        draws=draws,
        seed=seed,
        fill=reader.filled_with,
    )


def check_asked(share: float, draws: int, batch_size: int) -> None:
    """Refuse numbers that cannot be.

    Raises:
        ValueError: Names the argument, its value and what is allowed.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share!r} must be above 0 and at most 1")
    for name, value, least in (("draws", draws, 0), ("batch_size", batch_size, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")


def _receipts(
    reader: Reader, share: float, draws: int, seed: int, threshold: float, batch_size: int
) -> Iterator[Receipt]:
    """All sets of all claims are scored as one sequence of batches; the first is the empty set."""
    if not reader.claims:
        return
    most = int(MOST * reader.own.sum()) * len(reader.hertz)
    evidence = [
        smallest_set(claim.attention, share, most) if claim.evidence is None else claim.evidence
        for claim in reader.claims
    ]
    sets = [np.zeros((1, *evidence[0].shape), dtype=bool)]
    for place, held in enumerate(evidence):
        sets += [held[None], _equal_amounts(held, reader.own, draws, seed, place)]
    scores = reader.scores_muted(np.concatenate(sets), batch_size)  # (sets, claims)
    at = 1
    for place, (claim, held) in enumerate(zip(reader.claims, evidence, strict=True)):
        others = len(sets[2 + 2 * place])
        own = scores[at : at + 1 + others, place]
        drops = scores[0, place] - own
        yield _receipt(claim, held, float(scores[0, place]), drops, threshold)
        at += 1 + others


def _equal_amounts(evidence: np.ndarray, own: np.ndarray, draws: int, seed: int, place: int) -> np.ndarray:
    """`elsewhere`, with a generator of the seed and the claim's place; none where the evidence leaves too little."""
    if 2 * int(evidence.sum()) > int(own.sum()) * len(evidence):
        return np.zeros((0, *evidence.shape), dtype=bool)
    return elsewhere(evidence, draws, np.random.default_rng((seed, place)), own)


def _receipt(claim: Claim, evidence: np.ndarray, score: float, drops: np.ndarray, threshold: float) -> Receipt:
    return Receipt(
        text=claim.text,
        start=claim.start,
        end=claim.end,
        score=score,
        tokens=claim.tokens,
        attention=claim.attention.astype(np.float32),
        evidence=evidence,
        drop=float(drops[0]),
        random_drops=tuple(float(drop) for drop in drops[1:]),
        threshold=threshold,
    )
