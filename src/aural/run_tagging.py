"""A run whose model tells sounds: its labels, its data and its metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Console

from .configuration import SpectrogramTransformerConfig
from .modeling import SpectrogramTransformerForAudioClassification
from .processing import LogMelFeatureExtractor
from .run_encoders import transformer_config
from .run_features import make_augmentations, make_cache, make_extractor
from .training.bases import load_base
from .training.fine_tuning import adapt_labels
from .training.recipe import Recipe
from .training.recipe_fields import config_fields
from .training.skipping import SkippedClips
from .training.sound_collator import SoundCollator
from .training.sound_data import SoundDataset
from .training.sound_labels import is_multi_label, label_names, label_options
from .training.sound_metrics import compute_tagging_metrics
from .training.streams import ItemStream, stream_items
from .training.typed import check_keys


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
            config = transformer_config(recipe, extractor, label_options(labels, multi_label))
            return cls(recipe, SpectrogramTransformerForAudioClassification(config), extractor)
        changes = recipe.model.base_config
        check_keys(changes, config_fields(SpectrogramTransformerConfig), "model.base_config")
        model, extractor = load_base(recipe.model.base, recipe.model.revision, recipe.model.architecture, **changes)
        adapt_labels(model, labels, multi_label)
        return cls(recipe, model, extractor)

    @property
    def outputs(self) -> list[str]:
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
            return SoundDataset(rows, extractor, self.outputs, self.multi_label, crop, cache=make_cache(self.recipe))
        audio, features = make_augmentations(self.recipe, extractor)
        return SoundDataset(
            rows,
            extractor,
            self.outputs,
            self.multi_label,
            crop,
            random_crop=crop is not None,
            mixup=self.recipe.augmentation.mixup,
            augment_audio=audio,
            augment_features=features,
            balanced=section.balanced,
            seed=self.recipe.seed,
            cache=make_cache(self.recipe),
        )

    def stream(self, rows: Any, skipped: SkippedClips) -> ItemStream:
        """Training items of a stream, without end."""
        audio, features = make_augmentations(self.recipe, self.processing)
        crop = self.recipe.data.crop_seconds
        return stream_items(
            rows,
            self.processing,
            labels=self.outputs,
            multi_label=self.multi_label,
            max_seconds=crop,
            random_crop=crop is not None,
            mixup=self.recipe.augmentation.mixup,
            augment_audio=audio,
            augment_features=features,
            seed=self.recipe.seed,
            skipped=skipped,
        )

    def misfits(self, rows: Any) -> list[int]:
        """None: any clip can have any labels."""
        return []

    def collator(self) -> SoundCollator:
        """Padded with the extractor's own value."""
        extractor = self.processing
        return SoundCollator(len(self.outputs), extractor.num_mel_bins, padding_value=extractor.padding_value)

    def metrics(self, items: Any) -> Callable[[Any], dict[str, float]]:
        """Accuracy, macro recall and mAP of one label each; mAP, AUC and d' of several."""
        return compute_tagging_metrics(self.model.config.problem_type)

    def answers(self) -> None:
        """All of the logits are scored."""
