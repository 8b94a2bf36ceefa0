"""How a clip is asked again: what a model says of it, where it looked for each of that, and how sure it would be of
the same on other features. `receipts.py` mutes and compares.

Notable here:
- a `Reader` is one clip with one model, made from a `Look` at it (`looking.py`); models that write, that tag clips and
  that tag moments have one each, and what is muted, drawn and compared knows only readers;
- all scores are log probabilities in nats: of a word the sum over its tokens, given the text before it; of a tag its
  own; of an event the mean over its moments;
- a word's attention is that of the speller, or of the last decoder layer, heads and tokens averaged; a tag's is the
  attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928) of the clip, the same for all its tags;
- of an event the moments are known: its evidence is all that sounds in them. The rollout of a moment's patches spreads
  over the whole clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from .look_maps import Map
from .looking import Look, look
from .processing import AuralProcessor, LogMelFeatureExtractor
from .processing.events import THRESHOLD, Event
from .processing.evidence import covered_features
from .processing.features import VARIANCE_FLOOR
from .processing.grid import PatchGrid
from .processing.log_mel import log_mel
from .tag_windows import HEADS as TAGGERS
from .tag_windows import is_framewise

FILLS = ("silence", "mean")
BATCH_SIZE = 32  # muted copies of a clip that are scored together


@dataclass(frozen=True, eq=False)
class Claim:
    """Something that a model says of a clip.

    Attributes:
        text: The word, or the label.
        start, end: Seconds at which it was said or sounded; None where the model tells no times.
        tokens: Tokens of a word; 1 of a label.
        attention: `(rows, columns)` over the cells, which sums to 1.
        evidence: Boolean `(rows, columns)`, where it is known without attention.
    """

    text: str
    start: float | None
    end: float | None
    tokens: int
    attention: np.ndarray
    evidence: np.ndarray | None = None


class Reader:
    """One clip as one model hears it: what the kinds share.

    Args:
        seen: The clip, looked at.
        model: In eval mode.
        extractor: Of the model.
        fill: "silence" or "mean".

    Attributes:
        text: What was written; of a tagger its labels, with commas between.
        features: `(frames, mels)` on the model's device.
        filled_with: "silence" or "mean".
        fill: `(mels,)`, what a muted feature holds.
        seconds: `(columns, 2)`, start and end of the cells.
        hertz: `(rows, 2)`, lowest and highest frequency of the cells.
        frames: `(columns, 2)`, first frame under each column of cells and the one after the last.
        mels: `(rows, 2)`, in the same way.
        own: Boolean `(columns,)`, False where a column lies on padding alone, which some taggers hear.
        claims: What is asked again.
    """

    def __init__(self, seen: Look, model: PreTrainedModel, extractor: LogMelFeatureExtractor, fill: str) -> None:
        self.seen, self.model = seen, cast(Any, model)
        self.text, self.filled_with = seen.text, fill
        self.features = torch.from_numpy(seen.features).to(model.device)
        self.real = min(len(seen.features), extractor.frame_count(len(seen.audio)))  # frames
        held = self.features[: self.real].mean(0) if fill == "mean" else silence(seen.audio, extractor)
        self.fill = held.to(self.features)
        self.seconds, self.hertz = np.zeros((0, 2)), np.zeros((0, 2))
        self.frames, self.mels = np.zeros((0, 2), dtype=int), np.zeros((0, 2), dtype=int)
        self.own = np.zeros(0, dtype=bool)
        self.claims: tuple[Claim, ...] = ()

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        """Log probability of every claim, `(batch, claims)`, on features `(batch, frames, mels)` like the clip's."""
        raise NotImplementedError

    @torch.inference_mode()
    def scores_muted(self, cells: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Log probability of every claim when the features under sets of cells are muted: `(sets, claims)`.

        Args:
            cells: Boolean `(sets, rows, columns)`.
            batch_size: Sets scored together.
        """
        shape = (self.features.shape[0], self.features.shape[1])
        found = [np.zeros((0, len(self.claims)))]
        for first in range(0, len(cells), batch_size):
            muted = covered_features(cells[first : first + batch_size], self.frames, self.mels, shape)
            features = torch.where(torch.from_numpy(muted).to(self.fill.device), self.fill, self.features)
            found.append(self.scores(features).double().cpu().numpy())
        return np.concatenate(found)

    def _place(self, seen: Map | PatchGrid, size: Sequence[int], stride: Sequence[int]) -> None:
        """Where the cells of a map or grid lie, of `size` and at every `stride`, both in mels and frames."""
        self.seconds, self.hertz = seen.seconds, seen.hertz
        self.mels = spans(len(seen.hertz), size[0], stride[0])
        self.frames = spans(len(seen.seconds), size[1], stride[1])
        self.own = self.frames[:, 1] <= max(self.real, self.frames[0, 1])

    def _shares(self, attention: np.ndarray) -> np.ndarray:
        """Attention `(rows, columns)` over the clip's own cells, to sum to 1; what class tokens get has no place."""
        own = np.where(self.own, attention, 0.0).astype(np.float64)
        return own / max(own.sum(), np.finfo(np.float64).tiny)


def spans(count: int, size: int, stride: int) -> np.ndarray:
    """First place under each of `count` cells and the one after the last, `(count, 2)`."""
    first = np.arange(count) * stride
    return np.stack([first, first + size], axis=1)


def silence(wave: np.ndarray, extractor: LogMelFeatureExtractor) -> torch.Tensor:
    """What the features of a clip hold where its sound is digital silence, `(mels,)`.

    Args:
        wave: float32 `(samples,)`, the clip: normalised by its own statistics, silence is what it is among its sounds.
        extractor: Makes the features.
    """
    floor = torch.full((1, extractor.num_mel_bins), float(np.log(extractor.mel_floor)))
    if extractor.normalize != "utterance":
        return extractor.finish([floor], padding=False, return_tensors="pt")["input_features"][0, 0]
    kept = extractor.max_length if extractor.truncation else None
    raw = log_mel([torch.from_numpy(np.require(wave, np.float32, ["C", "W"]))], extractor.options, kept)[0]
    return (floor[0] - raw.mean(0)) / (raw.var(0, correction=0) + VARIANCE_FLOOR).sqrt()


class WordReader(Reader):
    """The words of a text, by LAS or by a decoder over patches."""

    def __init__(self, seen: Look, model: PreTrainedModel, processor: AuralProcessor, fill: str) -> None:
        super().__init__(seen, model, processor.feature_extractor, fill)
        ids = processor.tokenizer.convert_tokens_to_ids(list(seen.tokens))
        self._labels = torch.tensor([ids], dtype=torch.long, device=model.device)
        config = self.model.config
        if config.ctc_weight == 1:
            raise ValueError(f"{seen.model}: its decoder never learned (ctc_weight=1), and CTC attends to nothing")
        if not seen.words:
            return
        if seen.kind == "las":
            attended = seen.map("alignment")
            self._place(attended, [self.features.shape[1], config.time_reduction], [0, config.time_reduction])
            self.own[:] = True  # the last state may hear less than the others
        else:
            attended = seen.map(f"decoder.{config.decoder.num_hidden_layers - 1}.cross")
            self._place(attended, config.encoder.patch_size, config.encoder.patch_stride)
        weights = attended.of_head()  # (tokens, rows, columns)
        self.claims = tuple(
            Claim(word.text, word.start, word.end, word.last - word.first, self._shares(weights[_tokens(word)].sum(0)))
            for word in seen.words
        )

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        labels = self._labels.expand(len(features), -1)
        mask = torch.ones(features.shape[:2], dtype=torch.long, device=features.device)
        inputs = self.model.prepare_decoder_input_ids_from_labels(labels)
        logits = self.model(features, attention_mask=mask, decoder_input_ids=inputs, use_cache=False).logits
        chances = logits.double().log_softmax(-1).gather(-1, labels[..., None])[..., 0]  # (batch, targets)
        return torch.stack([chances[:, _tokens(word)].sum(-1) for word in self.seen.words], dim=1)


def _tokens(word: Any) -> slice:
    return slice(word.first, word.last)


class _TagReader(Reader):
    """What taggers share."""

    def __init__(
        self, seen: Look, model: PreTrainedModel, extractor: LogMelFeatureExtractor, fill: str, text: str | None
    ) -> None:
        super().__init__(seen, model, extractor, fill)
        self._place(cast(Any, seen.grid), self.model.config.patch_size, self.model.config.patch_stride)
        said = None if text is None else named_labels(text, seen.labels)
        self.claims = self._claims(said)
        self.text = ", ".join(dict.fromkeys(claim.text for claim in self.claims))
        self._labels = torch.tensor([seen.labels.index(one.text) for one in self.claims], device=model.device)

    def _claims(self, said: Sequence[str] | None) -> tuple[Claim, ...]:
        raise NotImplementedError

    def _chances(self, features: torch.Tensor) -> torch.Tensor:
        """Log probability of each label, `(batch, …, labels)`."""
        logits, config = self.model(features).logits.double(), self.model.config
        several = is_framewise(self.model) or config.num_labels == 1
        if several or config.problem_type == "multi_label_classification":
            return torch.nn.functional.logsigmoid(logits)
        return logits.log_softmax(-1)


class ClipReader(_TagReader):
    """The tags of a clip: what it is said to hold, else its best."""

    def _claims(self, said: Sequence[str] | None) -> tuple[Claim, ...]:
        scores, labels = self.seen.scores, self.seen.labels
        heard = [labels[int(scores.argmax())]]
        if self.model.config.problem_type == "multi_label_classification":
            heard = [labels[i] for i in np.argsort(-scores, kind="stable") if scores[i] >= THRESHOLD] or heard
        attention = self._shares(self.seen.map("rollout").of_head()[0])
        return tuple(Claim(label, None, None, 1, attention) for label in (heard if said is None else said))

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        return self._chances(features)[:, self._labels]


class MomentReader(_TagReader):
    """The sounds of a clip from onset to offset; a label that is asked for and not heard, over all of the clip."""

    def _claims(self, said: Sequence[str] | None) -> tuple[Claim, ...]:
        seen = self.seen
        edges = cast(Any, seen.tagging).edges
        events = list(seen.events)
        if said is not None:
            heard = {label: [event for event in events if event.label == label] for label in said}
            events = [event for label in said for event in heard[label] or [Event(0.0, edges[-1], label, 0.0)]]
        middles = (edges[1:] + edges[:-1]) / 2  # (columns,)
        self._moments = [(event.onset <= middles) & (middles < event.offset) for event in events]
        claims = []
        for event, moments in zip(events, self._moments, strict=True):
            at = np.pad(moments, (0, len(self.seconds) - len(moments)))  # a padded clip has further columns
            evidence = np.broadcast_to(at, (len(self.hertz), len(self.seconds)))
            attention = evidence / max(evidence.sum(), 1)
            claims.append(Claim(event.label, event.onset, event.offset, 1, attention, evidence))
        return tuple(claims)

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        chances = self._chances(features)  # (batch, columns, labels)
        found = []
        for moments, label in zip(self._moments, self._labels, strict=True):
            at = torch.from_numpy(np.flatnonzero(moments)).to(chances.device)
            found.append(chances[:, at, label].mean(1))
        return torch.stack(found, dim=1) if found else chances.new_zeros(len(chances), 0)


def named_labels(text: str, labels: Sequence[str]) -> list[str]:
    """The labels that a text names, with commas between.

    Raises:
        ValueError: None, or one that the model does not know.
    """
    if text in labels:  # a label may hold commas
        return [text]
    named = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if wrong := [name for name in named if name not in labels]:
        near = get_close_matches(wrong[0], labels, n=3, cutoff=0.5) or list(labels[:3])
        raise ValueError(f"text={text!r}: no label {wrong[0]!r} among {len(labels)}; near it are {', '.join(near)}")
    if not named:
        raise ValueError(f"text={text!r} names no label; labels have commas between, such as {labels[0]!r}")
    return named


def reader_of(
    audio: Any,
    model: PreTrainedModel,
    processor: AuralProcessor | LogMelFeatureExtractor,
    text: str | None = None,
    fill: str = "mean",
) -> Reader:
    """The reader of a clip.

    Args:
        audio: What `load_audio` reads.
        model: In eval mode.
        processor: Of the model; of a tagger the feature extractor.
        text: What is asked; default: what the model writes or hears. Of a tagger labels, with commas between.
        fill: "silence" or "mean".

    Raises:
        OSError: The audio cannot be read.
        ValueError: A model without attention from what it says to what it heard; more audio than it takes at once; a
            text that it cannot say; an unknown fill.
    """
    if fill not in FILLS:
        raise ValueError(f"fill={fill!r} must be one of {', '.join(FILLS)}")
    if isinstance(model, tuple(TAGGERS.values())):
        extractor: Any = getattr(processor, "feature_extractor", processor)
        kind = MomentReader if is_framewise(cast(Any, model)) else ClipReader
        return kind(look(audio, model, extractor), model, extractor, fill, text)
    if text is not None and not text.strip():
        raise ValueError(f"text={text!r} holds no word; a receipt is of a word")
    seen = look(audio, model, processor, text=text)
    if seen.kind == "ctc":
        raise ValueError(
            f"{seen.model}: a CTC head says its words at their moments and attends to nothing; receipts take models "
            "with attention from words, tags or events to sound"
        )
    return WordReader(seen, model, cast(AuralProcessor, processor), fill)
