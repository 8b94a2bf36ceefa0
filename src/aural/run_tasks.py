"""What a recipe's model learns to tell, the text or the sounds: how each gets its features, model, data and metrics.

One class per kind of target. A run (`runs.py`) knows neither: it opens the rows, asks the task for the parts, and
hands them to the Trainer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Protocol

from rich.console import Console

from .configuration import LasConfig, SpectrogramTransformerConfig
from .modeling import LasForConditionalGeneration, SpectrogramTransformerForAudioClassification
from .processing import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from .training.augmentation import InTurn, RandomEqualizer, RandomGain, RandomNoise, RandomSpeed
from .training.bases import load_base
from .training.collator import SpeechCollator
from .training.data import Augmentation, SpeechDataset
from .training.feature_cache import FeatureCache
from .training.feature_statistics import estimate_mean_std, with_statistics
from .training.fine_tuning import adapt_labels, adapt_vocabulary
from .training.metrics import compute_metrics
from .training.recipe import Recipe
from .training.skipping import SkippedClips
from .training.sound_collator import SoundCollator
from .training.sound_data import SoundDataset
from .training.sound_labels import is_multi_label, label_names, label_options
from .training.sound_metrics import compute_tagging_metrics
from .training.streams import ItemStream, stream_items
from .training.typed import check_keys

STATISTICS_CLIPS = 500  # that mean and std of the features are estimated on


class Task(Protocol):
    """What a run asks of a kind of target."""

    target: ClassVar[str]

    @property
    def recipe(self) -> Recipe:
        """What is trained, or was."""

    @property
    def model(self) -> Any:
        """What is trained."""

    @property
    def processing(self) -> Any:
        """What makes its features, and its ids if it writes."""

    def dataset(self, rows: Any, training: bool) -> Any:
        """Items of a set; augmented if it is for training."""

    def stream(self, rows: Any, skipped: SkippedClips) -> ItemStream:
        """Training items of a stream, without end."""

    def misfits(self, rows: Any) -> list[int]:
        """Rows that the model's losses cannot take."""

    def collator(self) -> Any:
        """From items to batches."""

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        """Scores of an evaluation amid training."""


@dataclass(frozen=True)
class Recognition:
    """Speech to text.

    Args:
        recipe: What is trained, or was.
        model: A LAS.
        processing: Its processor.
    """

    recipe: Recipe
    model: Any
    processing: AuralProcessor
    target: ClassVar[str] = "text"

    @classmethod
    def start(cls, recipe: Recipe, rows: Any, console: Console) -> "Recognition":
        """The task as a run begins it: a new model with the symbols of the training texts, or a base.

        A base keeps its tokenizer if that spells all training texts; otherwise it learns the texts' own symbols, and
        those that both know keep their weights.

        Args:
            recipe: What is trained.
            rows: Of training, with `text`; None for a stream.
            console: For what takes long.

        Raises:
            OSError: The base cannot be read.
            ValueError: A config field or feature option is wrong, or a stream comes without an alphabet.
        """
        if recipe.model.base is None:
            extractor = make_extractor(recipe, rows, console)
            processor = AuralProcessor(extractor, train_tokenizer(_symbols(recipe, rows)))
            return cls(recipe, LasForConditionalGeneration(_las_config(recipe, processor)), processor)
        changes = recipe.model.base_config
        check_keys(changes, config_fields(LasConfig), "model.base_config")
        model, processor = load_base(recipe.model.base, recipe.model.revision, recipe.model.architecture, **changes)
        symbols = _symbols(recipe, rows)
        if processor.tokenizer.unk_token_id in processor.tokenizer("".join(symbols)).input_ids:
            tokenizer = train_tokenizer(symbols)
            adapt_vocabulary(model, processor.tokenizer, tokenizer)
            processor = AuralProcessor(processor.feature_extractor, tokenizer)
        return cls(recipe, model, processor)

    def dataset(self, rows: Any, training: bool) -> SpeechDataset:
        """Features and ids; augmented if it is for training."""
        extractor = self.processing.feature_extractor
        audio, features = make_augmentations(self.recipe, extractor) if training else (None, None)
        return SpeechDataset(rows, self.processing, audio, features, seed_of(self.recipe), make_cache(self.recipe))

    def stream(self, rows: Any, skipped: SkippedClips) -> ItemStream:
        """Training items of a stream, without end."""
        audio, features = make_augmentations(self.recipe, self.processing.feature_extractor)
        return stream_items(
            rows,
            self.processing,
            augment_audio=audio,
            augment_features=features,
            seed=seed_of(self.recipe),
            skipped=skipped,
        )

    def misfits(self, rows: Any) -> list[int]:
        """Clips that even CTC's shortest path is too long for, when played as fast as training may play them."""
        config, extractor = self.model.config, self.processing.feature_extractor
        if not config.ctc_weight:
            return []
        reduction = config.reduction_at(config.resolved_ctc_layer)
        fastest = max([1.0, *self.recipe.augmentation.speed])
        found = []
        for index, (text, seconds) in enumerate(zip(rows["text"], self.dataset(rows, False).durations, strict=True)):
            states = extractor.frame_count(int(seconds * extractor.sampling_rate / fastest)) // reduction
            repeats = sum(one == other for one, other in pairwise(text))
            if seconds and len(text) + repeats > states:  # 0 s: a damaged header, found out when it is to be heard
                found.append(index)
        return found

    def collator(self) -> SpeechCollator:
        """Padded with zeros; ids below the vocabulary."""
        extractor = self.processing.feature_extractor
        return SpeechCollator(mels=extractor.num_mel_bins, vocab_size=len(self.processing.tokenizer))

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        """`wer` and `cer`."""
        return compute_metrics(self.processing)


@dataclass(frozen=True)
class Tagging:
    """Sounds to labels.

    Args:
        recipe: What is trained, or was.
        model: A spectrogram-patch transformer with one score per label.
        processing: Its feature extractor.
    """

    recipe: Recipe
    model: Any
    processing: LogMelFeatureExtractor
    target: ClassVar[str] = "label"

    @classmethod
    def start(cls, recipe: Recipe, rows: Any, console: Console) -> "Tagging":
        """The task as a run begins it: a new model for the labels of the training data, or a base.

        A base keeps its head for the labels that it knows by name; others start fresh.

        Args:
            recipe, rows, console: As for `Recognition.start`; rows have `label`.

        Raises:
            OSError, ValueError: As `Recognition.start`.
        """
        section = recipe.data
        if rows is None and (section.labels is None or section.multi_label is None):
            raise ValueError("data.labels and data.multi_label are needed: a stream's are not known before its end")
        labels = label_names(rows) if section.labels is None else section.labels
        multi_label = is_multi_label(rows) if section.multi_label is None else section.multi_label
        if recipe.model.base is None:
            extractor = make_extractor(recipe, rows, console)
            config = _transformer_config(recipe, extractor, label_options(labels, multi_label))
            return cls(recipe, SpectrogramTransformerForAudioClassification(config), extractor)
        changes = recipe.model.base_config
        check_keys(changes, config_fields(SpectrogramTransformerConfig), "model.base_config")
        model, extractor = load_base(recipe.model.base, recipe.model.revision, recipe.model.architecture, **changes)
        adapt_labels(model, labels, multi_label)
        return cls(recipe, model, extractor)

    @property
    def labels(self) -> list[str]:
        """Names by id."""
        return [str(self.model.config.id2label[index]) for index in range(self.model.config.num_labels)]

    @property
    def multi_label(self) -> bool:
        """Whether a clip can have several labels."""
        return self.model.config.problem_type == "multi_label_classification"

    def dataset(self, rows: Any, training: bool) -> SoundDataset:
        """Features and ids or vectors of labels; cropped, mixed and augmented if it is for training."""
        section, extractor = self.recipe.data, self.processing
        crop = section.crop_seconds
        if not training:
            return SoundDataset(rows, extractor, self.labels, self.multi_label, crop, cache=make_cache(self.recipe))
        audio, features = make_augmentations(self.recipe, extractor)
        return SoundDataset(
            rows,
            extractor,
            self.labels,
            self.multi_label,
            crop,
            random_crop=crop is not None,
            mixup=self.recipe.augmentation.mixup,
            augment_audio=audio,
            augment_features=features,
            balanced=section.balanced,
            seed=seed_of(self.recipe),
            cache=make_cache(self.recipe),
        )

    def stream(self, rows: Any, skipped: SkippedClips) -> ItemStream:
        """Training items of a stream, without end."""
        audio, features = make_augmentations(self.recipe, self.processing)
        crop = self.recipe.data.crop_seconds
        return stream_items(
            rows,
            self.processing,
            labels=self.labels,
            multi_label=self.multi_label,
            max_seconds=crop,
            random_crop=crop is not None,
            mixup=self.recipe.augmentation.mixup,
            augment_audio=audio,
            augment_features=features,
            seed=seed_of(self.recipe),
            skipped=skipped,
        )

    def misfits(self, rows: Any) -> list[int]:
        """None: any clip can have any labels."""
        return []

    def collator(self) -> SoundCollator:
        """Padded with the extractor's own value."""
        extractor = self.processing
        return SoundCollator(len(self.labels), extractor.num_mel_bins, padding_value=extractor.padding_value)

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        """Accuracy, macro recall and mAP of one label each; mAP, AUC and d' of several."""
        return compute_tagging_metrics(self.model.config.problem_type)


TASKS: dict[str, type[Recognition] | type[Tagging]] = {
    "LasForConditionalGeneration": Recognition,
    "SpectrogramTransformerForAudioClassification": Tagging,
}


def load_task(folder: str | Path, recipe: Recipe | None) -> Task:
    """The task that a model folder is for, with model and processing as they lie there.

    Args:
        folder: A model folder or Hub id.
        recipe: What stands beside it, if anything: how sounds are cropped.

    Raises:
        OSError, ValueError: It cannot be loaded, or is for no task here.
    """
    model, processing = load_base(folder)
    name = type(model).__name__
    if name not in TASKS:
        raise ValueError(f"{folder} holds a {name}; allowed: {', '.join(TASKS)}")
    return TASKS[name](Recipe() if recipe is None else recipe, model, processing)


def make_extractor(recipe: Recipe, rows: Any, console: Console) -> LogMelFeatureExtractor:
    """The extractor of a new model; with `normalize: global` and no mean, both come from training clips."""
    options = dict(recipe.data.features)
    allowed = [
        name for name in LogMelFeatureExtractor().to_dict() if not name.endswith("_type") or name == "window_type"
    ]
    check_keys(options, allowed, "data.features")
    estimated = options.get("normalize") == "global" and options.get("mean") is None
    if not estimated:
        return LogMelFeatureExtractor(**options)
    if rows is None:
        raise ValueError("data.features.normalize is 'global': a stream needs mean and std beside it")
    raw = LogMelFeatureExtractor(**{**options, "normalize": None})
    mean, std = estimate_mean_std(rows, raw, STATISTICS_CLIPS, progress=console.is_terminal, skip_corrupt=True)
    return with_statistics(raw, mean, std)


def make_cache(recipe: Recipe) -> FeatureCache | None:
    """Where features are kept, if the recipe says so."""
    return None if recipe.data.cache is None else FeatureCache(recipe.data.cache)


def make_augmentations(
    recipe: Recipe, extractor: LogMelFeatureExtractor
) -> tuple[Augmentation | None, Augmentation | None]:
    """What changes waveforms, and what changes features, in training; None for nothing."""
    section = recipe.augmentation
    waves: list[Augmentation] = []
    if section.speed:
        waves.append(RandomSpeed(section.speed))
    if section.gain_db:
        waves.append(RandomGain(section.gain_db))
    if section.noise_db:
        waves.append(RandomNoise(*section.noise_db))
    std = extractor.std if isinstance(extractor.std, float) else 1.0
    features = RandomEqualizer(section.equalizer_db, std) if section.equalizer_db else None
    return InTurn(waves) if waves else None, features


def _las_config(recipe: Recipe, processor: AuralProcessor) -> LasConfig:
    section, extractor = recipe.model, processor.feature_extractor
    if section.preset is not None:
        raise ValueError(f"model.preset is {section.preset!r}, but a LAS has no presets; use model.config")
    made = {"vocab_size": len(processor.tokenizer), **_made_by(extractor)}
    _check_config(section.config, LasConfig, made)
    return LasConfig(**section.config, **made)


def _transformer_config(
    recipe: Recipe, extractor: LogMelFeatureExtractor, labels: Mapping[str, Any]
) -> SpectrogramTransformerConfig:
    section, made = recipe.model, {**_made_by(extractor), **labels}
    _check_config(section.config, SpectrogramTransformerConfig, made)
    return SpectrogramTransformerConfig.from_preset(section.preset or "tiny", **section.config, **made)


def _made_by(extractor: LogMelFeatureExtractor) -> dict[str, Any]:
    """Config fields that follow from the features."""
    return {"num_mel_bins": extractor.num_mel_bins, "frame_shift_ms": extractor.seconds_per_frame * 1000}


def config_fields(kind: Any) -> list[str]:
    """Names of a config's own fields."""
    return [one.name for one in fields(kind) if one.init]


def seed_of(recipe: Recipe) -> int:
    """Of data and weights."""
    return int(recipe.training.get("seed", 42))


def _check_config(told: Mapping[str, Any], kind: Any, made: Mapping[str, Any]) -> None:
    """Fields of `model.config` exist, and do not tell what follows from the data."""
    check_keys(told, config_fields(kind), "model.config")
    for name in told:
        if name in made:
            raise ValueError(f"model.config.{name} is {told[name]!r}, but it follows from the data: leave it out")


def _symbols(recipe: Recipe, rows: Any) -> list[str]:
    """The symbols that a model is to write: the alphabet, or those of the training texts."""
    if recipe.tokenizer.alphabet is not None:
        return sorted(set(recipe.tokenizer.alphabet))
    if rows is None:
        raise ValueError("tokenizer.alphabet is missing: the texts of a stream are not known before its end")
    return sorted({symbol for text in rows["text"] for symbol in text})
