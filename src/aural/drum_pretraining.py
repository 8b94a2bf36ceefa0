"""One fold of the drums with a tenth of the labels: what masked pre-training on the others is worth.

A masked autoencoder hears the hits of the training kits, without their labels. Then two clip classifiers learn from
the same tenth of these labels, with the same updates from the same head: one starts from that encoder, one from
scratch. Both name the hits of kits that neither has heard.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import BatchFeature, set_seed

from .configuration import SpectrogramTransformerConfig
from .drum_folds import (
    HITS,
    STROKE_SECONDS,
    DrumPlan,
    fit,
    make_config,
    measure_classifier,
    split_hits,
    stroke_features,
)
from .modeling import SpectrogramTransformerForAudioClassification, SpectrogramTransformerForPreTraining
from .processing.plot_studies import plot_reconstruction
from .processing.plots import save_figure
from .training.drum_labels import LABELS
from .training.drums import DrumHit
from .training.strokes import DrumStrokes, StrokeOptions
from .training.tag_scores import SINGLE, measure_tags, positives
from .training.unlabelled_data import UnlabelledCollator, masks_of

SHARE = 0.1  # of the labels
UNKNOWN = "hit"  # the one label of hits whose labels are not looked at
PRETRAINED, SCRATCH = "pre-trained", "from scratch"
MEASURES = ("accuracy", "macro_recall")
MASKS = 1  # in the seeds of masks, which thus differ from those of strokes
TOLD = 64  # strokes of unseen kits that are masked and told


@dataclass(frozen=True)
class PretrainingPlan:
    """How much is learnt, per fold.

    Args:
        unlabelled: Hits heard in pre-training.
        pool: Ways in which they are heard; after so many the same come again, masked anew.
        strokes: Hits heard in fine-tuning, by each of the two.
        pretraining_batch, batch: Hits per update.
        pretraining_rate, rate: Peak learning rates.
        draws: How often a tenth of the labels is drawn anew.
        model: Config fields in place of the tiny preset's.
        masks: Config fields of the pre-training.
    """

    unlabelled: int
    pool: int
    strokes: int
    pretraining_batch: int = 32
    batch: int = 8
    pretraining_rate: float = 2e-3
    rate: float = 1.5e-3
    draws: int = 1
    model: dict[str, Any] = field(default_factory=dict)
    masks: dict[str, Any] = field(default_factory=dict)


class UnlabelledStrokes(Dataset):
    """The hits of `DrumStrokes` without labels, with masks: items for `UnlabelledCollator`.

    Args:
        hits: Drawn alike, whatever they are.
        extractor, equalizer: Of `stroke_features`; the latter None where features are to stay as they are.
        config: Of the model.
        count: Items.
        strokes: Different ones; after so many items the same are heard again, and masked anew.
        seed: With the index, of what is drawn.
    """

    def __init__(
        self,
        hits: Sequence[DrumHit],
        extractor: Any,
        equalizer: Any,
        config: SpectrogramTransformerConfig,
        count: int,
        strokes: int,
        seed: int,
    ) -> None:
        nameless = [replace(hit, label=UNKNOWN) for hit in hits]
        self.strokes = DrumStrokes(
            nameless,
            extractor,
            min(strokes, count),
            seed,
            labels=(UNKNOWN,),
            seconds=STROKE_SECONDS,
            options=StrokeOptions(power=1.0),
            augment_features=equalizer,
        )
        self.config, self.count, self.seed = config, count, seed
        self._heard: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> BatchFeature:
        place = index % len(self.strokes)
        if place not in self._heard:
            self._heard[place] = self.strokes[place]["input_features"]
        features = self._heard[place]
        masks = masks_of(self.config, len(features), np.random.default_rng([self.seed, MASKS, index]))
        return BatchFeature({"input_features": features, "masks": masks})


def labelled_share(hits: Sequence[DrumHit], share: float, seed: int) -> list[DrumHit]:
    """A share of the hits of each class, at least one of it, drawn by `seed`; in the order that they had."""
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in LABELS:
        of_label = [index for index, hit in enumerate(hits) if hit.label == label]
        count = max(1, round(share * len(of_label))) if of_label else 0
        chosen += [int(index) for index in rng.permutation(of_label)[:count]]
    return [hits[index] for index in sorted(chosen)]


def run_fold(
    hits: Sequence[DrumHit], fold: int, plan: PretrainingPlan, seed: int, picture: Path | None = None
) -> dict[str, Any]:
    """Pre-train, learn and measure with the kits of one fold held out.

    Args:
        hits: Of all folds.
        fold: The one that is held out.
        plan: How much.
        seed: What everything follows from.
        picture: Where the reconstruction of a hit is drawn; None: nowhere.

    Returns:
        Plain values: `scores` by start and measure, a list over draws of the labels; the number of `unlabelled`,
        `labelled` and `tested` hits; the learner's `error` on tested hits before and after; processor `seconds`.
    """
    torch.set_num_threads(1)  # as one of several processes would
    started = time.process_time()
    seen, unseen = split_hits(hits, f"{HITS} {fold}")
    features = stroke_features(seen)
    config = make_config(features[0], DrumPlan(0, 0, 0, 0, model=plan.model), multi_label=False)
    learner, errors = _pretrain(config, seen, unseen, features, plan, seed, picture)
    encoder = learner.spectrogram_transformer.state_dict()
    scores: dict[str, dict[str, list[float]]] = {
        name: {each: [] for each in MEASURES} for name in (PRETRAINED, SCRATCH)
    }
    for draw in range(seed, seed + plan.draws):
        labelled = labelled_share(seen, SHARE, draw)
        strokes = DrumStrokes(
            labelled, features[0], plan.strokes, draw, seconds=STROKE_SECONDS, augment_features=features[1]
        )
        items = [strokes[index] for index in range(len(strokes))]  # made once, heard by both
        for start, own in scores.items():
            set_seed(draw)
            model = SpectrogramTransformerForAudioClassification(config)
            if start == PRETRAINED:
                model.spectrogram_transformer.load_state_dict(encoder)
            fit(model, items, _updates(plan, plan.batch, plan.rate), draw)
            answers = measure_classifier(model.eval(), features[0], unseen)
            measured = measure_tags(positives(answers.labels, len(LABELS), SINGLE), answers.scores, SINGLE)
            for name, values in own.items():
                values.append(round(measured[name], 4))
    counts = {"unlabelled": len(seen), "labelled": len(labelled), "tested": len(unseen)}
    return {"scores": scores, **counts, "error": errors, "seconds": round(time.process_time() - started, 1)}


def _pretrain(
    config: SpectrogramTransformerConfig,
    seen: Sequence[DrumHit],
    unseen: Sequence[DrumHit],
    features: tuple[Any, Any],
    plan: PretrainingPlan,
    seed: int,
    picture: Path | None,
) -> tuple[SpectrogramTransformerForPreTraining, list[float]]:
    """A masked autoencoder of the hits that are seen; and its error on those that are not, before and after."""
    extractor, equalizer = features
    learner = _learner(config, plan, seed)
    heard = UnlabelledStrokes(seen, extractor, equalizer, learner.config, plan.unlabelled, plan.pool, seed)
    collate = UnlabelledCollator(learner.config)
    tested = UnlabelledStrokes(unseen, extractor, None, learner.config, TOLD, TOLD, seed)
    batch = collate([tested[index] for index in range(len(tested))])
    errors = [_error(learner, batch)]
    fit(learner, heard, _updates(plan, plan.pretraining_batch, plan.pretraining_rate), seed, collator=collate)
    errors.append(_error(learner, batch))
    if picture is not None:
        _draw(learner, batch, extractor.seconds_per_frame, picture)
    return learner, errors


def _learner(
    config: SpectrogramTransformerConfig, plan: PretrainingPlan, seed: int
) -> SpectrogramTransformerForPreTraining:
    """The masked autoencoder, with the classifiers' encoder."""
    own = copy.deepcopy(config)
    for name, value in {"drop_path": 0.0, **plan.masks}.items():
        setattr(own, name, value)
    set_seed(seed)
    return SpectrogramTransformerForPreTraining(own)


def _updates(plan: PretrainingPlan, batch: int, rate: float) -> DrumPlan:
    return DrumPlan(0, plan.strokes, 0, 0, batch_size=batch, learning_rate=rate, model=plan.model)


@torch.no_grad()
def _error(learner: SpectrogramTransformerForPreTraining, batch: dict[str, torch.Tensor]) -> float:
    """Mean squared error of what was masked."""
    return round(float(learner.eval()(**batch).loss), 4)


def _draw(
    learner: SpectrogramTransformerForPreTraining, batch: dict[str, torch.Tensor], seconds: float, path: Path
) -> None:
    """The first clip of a batch, masked and told."""
    features, mask = batch["input_features"][:1], batch["attention_mask"][:1]
    told = learner.eval().reconstruct(features, mask, mask=batch["labels"][:1] == 1)
    frames = int(mask.sum())
    original, masked, reconstructed = (
        each[0, :frames].numpy() for each in (told.original, told.masked, told.reconstructed)
    )
    title = "A drum of a kit that the model never heard"
    save_figure(plot_reconstruction(original, masked, reconstructed, seconds, title), path)
