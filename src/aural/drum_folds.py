"""One split of the drums: models learn from some kits, and are measured on others beside the linear baseline.

- The *moment classifier* hears which sounds of a mix begin when. It learns from mixes, composed as training goes on: a
  few hundred recordings are little, their combinations are many. Its clip scores also say what a single hit is.
- The *clip classifier* says what a single hit is, and learns from single hits alone.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, Seq2SeqTrainingArguments, TrainerCallback, set_seed

from .configuration import SpectrogramTransformerConfig
from .modeling import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
)
from .processing import LogMelFeatureExtractor
from .processing.events import find_events
from .processing.files import write_whole
from .training.augmentation import RandomEqualizer
from .training.drum_labels import KITS, LABELS
from .training.drums import SAMPLING_RATE, DrumHit
from .training.event_scores import Event
from .training.feature_statistics import estimate_mean_std, with_statistics
from .training.linear_baseline import LinearBaseline, hit_features
from .training.mix_scores import TUNED, HeardMixes, hear_with_baseline, heard_mixes, pick_threshold, tested_mixes
from .training.mixes import SECONDS, DrumMixes, MixOptions, step_edges
from .training.sound_collator import SoundCollator
from .training.sound_labels import label_options
from .training.strokes import DrumStrokes
from .training.trainer import AuralTrainer

SPEEDS = tuple(2 ** (step / 8) for step in range(-2, 3))  # a quarter of an octave down to one up
EQUALIZER_DB = 6.0
STROKE_SECONDS, STROKE_EQUALIZER_DB = 2.0, 3.0  # of single hits, whose end tells a ride from a crash
LEAD, PEAK = 0.05, 10 ** (-10 / 20)  # how a single hit is presented, as a mix would: seconds before it, loudest sample
# Energies of a mel up to this one, where white noise of -55 dB of full scale lies, are heard as one silence: there
# hits differ in how they were recorded and cut, and digital silence lies far below anything met in training.
STROKE_FLOOR = float(np.exp(13.0))
MOMENT_PATCH, STROKE_PATCH = [16, 8], [16, 16]  # mels and frames: 80 ms to tell when; to tell what, 160 will do
CLIPS_FOR_STATISTICS = 200
KEPT = "kept"  # the split of the model that is kept
KEPT_FOLD = 1  # whose kits it does not hear
SHARED = "GPL-2"  # it hears kits under this licence or a later version of it, and carries it
MIXES, HITS = "mixes of fold", "hits of fold"  # splits, by what is learnt there; and their systems
MOMENTS, CLIPS = "moment classifier", "clip classifier"
BASELINE = "linear model on log-mel statistics"
PRESENTED = "linear model, hits presented as to the classifiers"


@dataclass(frozen=True)
class DrumPlan:
    """How much is trained and measured, per split.

    Args:
        mixes: Mixes that the moment classifier trains on.
        strokes: Single hits that the clip classifier trains on.
        test: Mixes to measure on, and as many to pick the events' threshold on.
        baseline: Mixes that the linear baseline learns from.
        seconds: Length of a training mix; those that are measured are 2 s long.
        batch_size: Mixes, or hits, per update.
        learning_rate: Peak, after the warm-up.
        model: Config fields in place of the tiny preset's.
    """

    mixes: int
    strokes: int
    test: int
    baseline: int
    seconds: float = 1.2
    batch_size: int = 8
    learning_rate: float = 5e-4
    model: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Heard:
    """What one system made of one split.

    Attributes:
        hits: Names of the single hits.
        labels: Their classes' indices, `(hits,)`.
        scores: `(hits, labels)` from 0 to 1.
        mixes: What it heard in mixes, if it can hear several at once.
    """

    hits: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    mixes: HeardMixes | None = None


def split_hits(hits: Sequence[DrumHit], name: str) -> tuple[list[DrumHit], list[DrumHit]]:
    """Hits to learn from and to be tested on: of a name that ends in a fold's number, or of the model that is kept."""
    if name == KEPT:
        heard = {kit for kit, facts in KITS.items() if facts.licence.startswith(SHARED) and facts.fold != KEPT_FOLD}
    else:
        heard = {kit for kit, facts in KITS.items() if not name.endswith(f" {facts.fold}")}
    return [hit for hit in hits if hit.kit in heard], [hit for hit in hits if hit.kit not in heard]


def make_config(extractor: LogMelFeatureExtractor, plan: DrumPlan, multi_label: bool) -> SpectrogramTransformerConfig:
    """The tiny preset on patches of 16 mels by 80 or 160 ms; rotary positions, to which all lengths are alike."""
    patch = MOMENT_PATCH if multi_label else STROKE_PATCH
    options: dict[str, Any] = {
        "num_mel_bins": extractor.num_mel_bins,
        "patch_size": patch,
        "patch_stride": patch,
        "position_kind": "rotary",
        "pooling": "mean",
        "drop_path": 0.05 if multi_label else 0.1,
        **label_options(LABELS, multi_label),
    }
    return SpectrogramTransformerConfig.from_preset("tiny", **{**options, **plan.model})


def train_tagger(
    hits: Sequence[DrumHit], plan: DrumPlan, seed: int, callbacks: Sequence[TrainerCallback] = ()
) -> tuple[SpectrogramTransformerForAudioFrameClassification, LogMelFeatureExtractor]:
    """Train on mixes of `hits`, through the Trainer; the same seed gives the same weights."""
    options = MixOptions(speeds=SPEEDS)
    heard = DrumMixes(hits, min(plan.mixes, CLIPS_FOR_STATISTICS), seed, seconds=plan.seconds, options=options)
    extractor = LogMelFeatureExtractor(num_mel_bins=64, low_freq=30.0, normalize=None)
    waves = [heard.compose(index).audio for index in range(len(heard))]
    mean, std = estimate_mean_std(waves, extractor, progress=False)
    extractor = with_statistics(extractor, mean, std)
    config = make_config(extractor, plan, multi_label=True)
    set_seed(seed)
    model = SpectrogramTransformerForAudioFrameClassification(config)
    frames = extractor.frame_count(round(plan.seconds * SAMPLING_RATE))
    mixes = DrumMixes(
        hits,
        plan.mixes,
        seed,
        extractor,
        edges=step_edges(config.patch_centers(frames), plan.seconds),
        seconds=plan.seconds,
        options=options,
        augment_features=RandomEqualizer(EQUALIZER_DB, std=std),
    )
    fit(model, mixes, plan, seed, callbacks)
    return model.eval(), extractor


def train_classifier(
    hits: Sequence[DrumHit], plan: DrumPlan, seed: int, callbacks: Sequence[TrainerCallback] = ()
) -> tuple[SpectrogramTransformerForAudioClassification, LogMelFeatureExtractor]:
    """Train on single `hits`, through the Trainer; the same seed gives the same weights."""
    extractor, equalizer = stroke_features(hits)
    set_seed(seed)
    model = SpectrogramTransformerForAudioClassification(make_config(extractor, plan, multi_label=False))
    strokes = DrumStrokes(hits, extractor, plan.strokes, seed, seconds=STROKE_SECONDS, augment_features=equalizer)
    fit(model, strokes, plan, seed, callbacks)
    return model.eval(), extractor


def stroke_features(hits: Sequence[DrumHit]) -> tuple[LogMelFeatureExtractor, RandomEqualizer]:
    """The features of single hits, normalised by those at hand, and how training varies them."""
    extractor = LogMelFeatureExtractor(num_mel_bins=64, low_freq=30.0, normalize=None, mel_floor=STROKE_FLOOR)
    waves = [presented(hit)[: round(STROKE_SECONDS * SAMPLING_RATE)] for hit in hits]
    mean, std = estimate_mean_std(waves, extractor, progress=False)
    return with_statistics(extractor, mean, std), RandomEqualizer(STROKE_EQUALIZER_DB, std=std)


def fit(
    model: Any,
    dataset: Any,
    plan: DrumPlan,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    collator: Any = None,
) -> None:
    """Train a model on every item of a set once, through the Trainer.

    Args:
        model: of sounds; changed in place.
        dataset: Its items, in the order of the updates.
        plan: Says how many make an update, and how fast is learnt.
        seed: Of what the model draws.
        callbacks: Of the Trainer.
        collator: From items to batches; default: that of labelled sounds.
    """
    with TemporaryDirectory() as folder:
        trainer = AuralTrainer(
            model,
            _arguments(folder, len(dataset), plan, seed),
            data_collator=collator or SoundCollator(len(LABELS), time_patches=model.config.time_patches),
            train_dataset=dataset,
            callbacks=list(callbacks),
        )
        trainer.pop_callback(PrinterCallback)  # whoever waits sees the bars
        trainer.train_whole()


def _arguments(folder: str, items: int, plan: DrumPlan, seed: int) -> Seq2SeqTrainingArguments:
    updates = -(-items // plan.batch_size)
    return Seq2SeqTrainingArguments(
        folder,
        num_train_epochs=1,  # each item is heard once
        per_device_train_batch_size=plan.batch_size,
        train_sampling_strategy="sequential",  # every batch has mixes of one to four sounds
        learning_rate=plan.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=updates * 3 // 20,
        weight_decay=0.05,
        max_grad_norm=1.0,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=seed,
    )


@torch.inference_mode()
def hear(
    model: SpectrogramTransformerForAudioFrameClassification, features: Sequence[np.ndarray], batch_size: int = 32
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Scores from 0 to 1 of clips `(frames, mels)`: `(clips, labels)`, and `(columns, labels)` of each."""
    collate = SoundCollator()
    clip_scores, step_scores = [], []
    for start in range(0, len(features), batch_size):
        chosen = features[start : start + batch_size]
        outputs = model(**collate([{"input_features": clip} for clip in chosen]))
        clip_scores.append(outputs.clip_logits.sigmoid().numpy())
        real = [row[mask].sigmoid().numpy() for row, mask in zip(outputs.logits, outputs.frame_mask, strict=True)]
        step_scores += real
    return np.concatenate(clip_scores), step_scores


def presented(hit: DrumHit) -> np.ndarray:
    """A single hit `(samples,)` as a mix would present it: after a moment of silence, at one level."""
    level = PEAK / max(float(np.abs(hit.audio).max()), 1e-9)
    return np.concatenate([np.zeros(round(LEAD * SAMPLING_RATE), np.float32), hit.audio * np.float32(level)])


def measure_model(
    model: SpectrogramTransformerForAudioFrameClassification,
    extractor: LogMelFeatureExtractor,
    seen: Sequence[DrumHit],
    unseen: Sequence[DrumHit],
    plan: DrumPlan,
    seed: int,
) -> tuple[Heard, float]:
    """What a model makes of kits that it has not heard; and the events' threshold, picked on those it has."""
    single = [extractor(presented(hit), sampling_rate=SAMPLING_RATE, padding=False) for hit in unseen]
    scores, _ = hear(model, [np.asarray(each["input_features"][0]) for each in single])
    edges = step_edges(model.config.patch_centers(extractor.frame_count(round(SECONDS * SAMPLING_RATE))), SECONDS)
    tuned = DrumMixes(seen, plan.test, seed + TUNED, extractor)
    items = [tuned[index] for index in range(plan.test)]
    _, steps = hear(model, [item["input_features"] for item in items])
    threshold = pick_threshold(np.stack(steps), [item["events"] for item in items], edges, LABELS)
    tested = tested_mixes(unseen, plan.test, seed, extractor, LABELS)
    items = [tested[index] for index in range(plan.test)]
    clip_scores, steps = hear(model, [item["input_features"] for item in items])
    mixes = heard_mixes(items, clip_scores, [find_events(step, edges, LABELS, threshold) for step in steps])
    return _heard(unseen, scores, mixes), threshold


@torch.inference_mode()
def measure_classifier(
    model: SpectrogramTransformerForAudioClassification, extractor: LogMelFeatureExtractor, unseen: Sequence[DrumHit]
) -> Heard:
    """What a clip classifier makes of hits of kits that it has not heard."""
    collate, scores = SoundCollator(), []
    for start in range(0, len(unseen), 32):
        waves = [presented(hit)[: round(STROKE_SECONDS * SAMPLING_RATE)] for hit in unseen[start : start + 32]]
        features = extractor(waves, sampling_rate=SAMPLING_RATE, padding=False)["input_features"]
        scores.append(model(**collate([{"input_features": clip} for clip in features])).logits.softmax(-1).numpy())
    return _heard(unseen, np.concatenate(scores))


def measure_baseline(seen: Sequence[DrumHit], unseen: Sequence[DrumHit], plan: DrumPlan, seed: int) -> Heard:
    """What the linear baseline makes of the same hits and mixes."""
    model = LinearBaseline(LABELS).fit(hit_features(seen), [LABELS.index(hit.label) for hit in seen])
    mixes = hear_with_baseline(seen, unseen, plan.baseline, plan.test, seed)
    return _heard(unseen, model.scores(hit_features(unseen)), mixes)


def measure_presented(seen: Sequence[DrumHit], unseen: Sequence[DrumHit]) -> Heard:
    """What the linear baseline makes of single hits that it gets as the clip classifier does."""
    told, asked = (
        hit_features([replace(hit, audio=presented(hit)[: round(STROKE_SECONDS * SAMPLING_RATE)]) for hit in hits])
        for hits in (seen, unseen)
    )
    model = LinearBaseline(LABELS).fit(told, [LABELS.index(hit.label) for hit in seen])
    return _heard(unseen, model.scores(asked))


def _heard(unseen: Sequence[DrumHit], scores: np.ndarray, mixes: HeardMixes | None = None) -> Heard:
    labels = np.array([LABELS.index(hit.label) for hit in unseen])
    return Heard(tuple(hit.name for hit in unseen), labels, scores, mixes)


def save_heard(path: Path, heard: dict[str, Heard], facts: dict[str, Any]) -> None:
    """Write what several systems heard, with facts of the run, whole or not at all."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.tolist()
        return [value.label, value.onset, value.offset]  # an event

    systems = {name: {**vars(each), "mixes": each.mixes and vars(each.mixes)} for name, each in heard.items()}
    write_whole(path, json.dumps({"facts": facts, "heard": systems}, default=plain) + "\n")


def load_heard(path: Path) -> tuple[dict[str, Heard], dict[str, Any]]:
    """What `save_heard` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    heard = {}
    for name, each in content["heard"].items():
        mixes = None if each["mixes"] is None else _read_mixes(each["mixes"])
        labels, scores = np.array(each["labels"]), np.array(each["scores"])
        heard[name] = Heard(tuple(each["hits"]), labels, scores, mixes)
    return heard, content["facts"]


def _read_mixes(mixes: dict[str, Any]) -> HeardMixes:
    references, predictions = (
        tuple(tuple(Event(*event) for event in clip) for clip in mixes[kind]) for kind in ("references", "predictions")
    )
    labels, scores = np.array(mixes["labels"]), np.array(mixes["scores"])
    return HeardMixes(tuple(mixes["names"]), labels, scores, references, predictions)


def plan_facts(plan: DrumPlan) -> dict[str, Any]:
    """A plan as plain values, flat."""
    return {name: value for name, value in {**asdict(plan), **plan.model}.items() if name != "model"}
