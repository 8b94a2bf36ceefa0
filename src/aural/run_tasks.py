"""What a recipe's model learns to tell, the text or the sounds: how each gets its features, model, data and metrics.

One class per kind of target. A run (`runs.py`) knows neither: it opens the rows, asks the task for the parts, and
hands them to the Trainer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Protocol

from rich.console import Console

from .configuration import SpectrogramTransformerConfig
from .modeling import LasForConditionalGeneration, SpectrogramTransformerForAudioClassification
from .processing import AuralProcessor, LogMelFeatureExtractor
from .run_features import made_by, make_augmentations, make_cache, make_extractor
from .run_symbols import adapted_base, las_config, new_symbols, spoken_of, without_phonemes
from .training.bases import load_base
from .training.collator import SpeechCollator
from .training.data import Respelling, SpeechDataset
from .training.fine_tuning import adapt_labels
from .training.metrics import compute_metrics
from .training.phoneme_rows import PhonemeRows
from .training.recipe import Recipe
from .training.recipe_fields import check_config, config_fields
from .training.skipping import SkippedClips
from .training.sound_collator import SoundCollator
from .training.sound_data import SoundDataset
from .training.sound_labels import is_multi_label, label_names, label_options
from .training.sound_metrics import compute_tagging_metrics
from .training.streams import ItemStream, stream_items
from .training.typed import check_keys


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
        spoken: Makes phonemes of training texts; None: where the model writes phonemes, those of its tokenizer.
    """

    recipe: Recipe
    model: Any
    processing: AuralProcessor
    spoken: PhonemeRows | None = None
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
            ImportError: Phonemes are wanted, and the extra for them is missing.
            OSError: The base cannot be read.
            ValueError: A config field or feature option is wrong, or a stream comes without an alphabet.
        """
        if recipe.model.base is not None:
            return cls(recipe, *adapted_base(recipe, rows, console))
        extractor = make_extractor(recipe, rows, console)
        symbols = new_symbols(recipe, rows, console)
        model = LasForConditionalGeneration(las_config(recipe, symbols, made_by(extractor)))
        return cls(recipe, model, AuralProcessor(extractor, symbols.tokenizer, symbols.phonemes), symbols.spoken)

    def dataset(self, rows: Any, training: bool) -> SpeechDataset:
        """Features and ids; augmented, and with phonemes beside the text, if it is for training."""
        extractor = self.processing.feature_extractor
        audio, features = make_augmentations(self.recipe, extractor) if training else (None, None)
        return SpeechDataset(
            rows,
            self.processing,
            audio,
            features,
            seed_of(self.recipe),
            make_cache(self.recipe),
            self._respelling(rows, training),
        )

    def _respelling(self, rows: Any, training: bool) -> Respelling | None:
        """What becomes of a row's text: phonemes in its place, in training also beside it."""
        spoken = self._spoken()
        if spoken is None or (spoken.place != "text" and not training):
            return None if self.processing.phoneme_tokenizer is None else without_phonemes
        spoken.learn(rows)
        return spoken

    def _spoken(self) -> PhonemeRows | None:
        return spoken_of(self.processing) if self.spoken is None else self.spoken

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
        if not config.has_ctc:
            return []
        reduction = config.reduction_at(config.resolved_ctc_layer)
        fastest = max([1.0, *self.recipe.augmentation.speed])
        found = []
        needed = self._shortest_paths(rows)
        for index, (steps, seconds) in enumerate(zip(needed, self.dataset(rows, False).durations, strict=True)):
            states = extractor.frame_count(int(seconds * extractor.sampling_rate / fastest)) // reduction
            if seconds and steps > states:  # 0 s: a damaged header, found out when it is to be heard
                found.append(index)
        return found

    def _shortest_paths(self, rows: Any) -> list[int]:
        """The fewest CTC states that each text, or its phonemes, can be aligned to."""
        config, spoken = self.model.config, self._spoken()
        needed = [0] * len(rows)
        heard = None
        if spoken is not None:
            spoken.learn(rows)
            heard = [text or "" for text in spoken.spoken(rows)]
        written = heard if spoken is not None and spoken.place == "text" else rows["text"]
        objectives = [(config.ctc_weight, self.processing.tokenizer, written)]
        objectives.append((config.phoneme_ctc_weight, self.processing.phoneme_tokenizer, heard))
        for weight, tokenizer, texts in objectives:
            if weight and tokenizer is not None and texts is not None:
                ids = tokenizer(list(texts), add_special_tokens=False).input_ids
                needed = [max(before, _shortest_path(one)) for before, one in zip(needed, ids, strict=True)]
        return needed

    def collator(self) -> SpeechCollator:
        """Padded with zeros; ids below the vocabulary."""
        extractor, phonemes = self.processing.feature_extractor, self.processing.phoneme_tokenizer
        return SpeechCollator(
            mels=extractor.num_mel_bins,
            vocab_size=len(self.processing.tokenizer),
            phoneme_vocab_size=None if phonemes is None else len(phonemes),
        )

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        """`wer` and `cer`; of a model that writes phonemes, `wer` is of symbols, borders of words among them."""
        return compute_metrics(self.processing)


def _shortest_path(ids: Sequence[int]) -> int:
    """States of the shortest CTC path: one for each id, and a blank between two of the same."""
    return len(ids) + sum(one == other for one, other in pairwise(ids))


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


def _transformer_config(
    recipe: Recipe, extractor: LogMelFeatureExtractor, labels: Mapping[str, Any]
) -> SpectrogramTransformerConfig:
    section, made = recipe.model, {**made_by(extractor), **labels}
    check_config(section.config, SpectrogramTransformerConfig, made)
    return SpectrogramTransformerConfig.from_preset(section.preset or "tiny", **section.config, **made)


def seed_of(recipe: Recipe) -> int:
    """Of data and weights."""
    return int(recipe.training.get("seed", 42))
