"""A run without labels: masked pre-training of an encoder, which every head can then begin from (`model.base`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from rich.console import Console

from .configuration import SpectrogramTransformerConfig
from .modeling import SpectrogramTransformerForPreTraining
from .processing import LogMelFeatureExtractor
from .run_encoders import transformer_config
from .run_features import make_augmentations, make_cache, make_extractor
from .training.bases import load_base
from .training.recipe import Recipe
from .training.recipe_fields import config_fields
from .training.skipping import SkippedClips
from .training.streams import ItemStream
from .training.typed import check_keys
from .training.unlabelled_data import UnlabelledCollator, UnlabelledDataset
from .training.world import World


@dataclass(frozen=True)
class Pretraining:
    """Sounds to what was masked of them.

    Args:
        recipe: What is trained, or was.
        model: A spectrogram-patch transformer with a head for masked patches.
        processing: Its feature extractor.
    """

    recipe: Recipe
    model: Any
    processing: LogMelFeatureExtractor
    target: ClassVar[str] = "audio"

    @classmethod
    def start(cls, recipe: Recipe, rows: Any, console: Console) -> "Pretraining":
        """The task as a run begins it: a new model, or a base of whatever head, whose encoder goes on learning.

        Args:
            recipe, rows, console: As for `Recognition.start`; rows have `audio`.

        Raises:
            OSError, ValueError: As `Recognition.start`.
        """
        section = recipe.model
        if section.base is None:
            extractor = make_extractor(recipe, rows, console)
            model = SpectrogramTransformerForPreTraining(transformer_config(recipe, extractor, {}))
            return cls(recipe, model, extractor)
        check_keys(section.base_config, config_fields(SpectrogramTransformerConfig), "model.base_config")
        return cls(recipe, *load_base(section.base, section.revision, section.architecture, **section.base_config))

    @property
    def outputs(self) -> list[str]:
        """None: it tells no symbols and no labels."""
        return []

    def dataset(self, rows: Any, training: bool) -> UnlabelledDataset:
        """Features and masks; in training of another part of a long clip, and masked in another way, each epoch."""
        audio, features = make_augmentations(self.recipe, self.processing) if training else (None, None)
        crop = self.recipe.data.crop_seconds
        return UnlabelledDataset(
            rows,
            self.processing,
            self.model.config,
            crop,
            random_crop=training and crop is not None,
            augment_audio=audio,
            augment_features=features,
            seed=self.recipe.seed,
            cache=make_cache(self.recipe),
        )

    def stream(self, rows: Any, skipped: SkippedClips) -> ItemStream:
        """Training items of a stream, without end."""
        maker = self.dataset([{"audio": b""}], training=True)  # in whose place each row comes
        return ItemStream(rows, _StreamItem(maker), self.recipe.seed, skipped, True, World.current().rank)

    def misfits(self, rows: Any) -> list[int]:
        """None: of any clip something can be masked."""
        return []

    def collator(self) -> UnlabelledCollator:
        """Padded with the extractor's own value."""
        return UnlabelledCollator(self.model.config, padding_value=self.processing.padding_value)

    def metrics(self, items: Any) -> None:
        """None: an evaluation is of the loss."""

    def answers(self) -> None:
        """None: the loss is all there is."""


@dataclass(frozen=True)
class _StreamItem:
    """What `UnlabelledDataset` makes of a row; picklable."""

    maker: UnlabelledDataset

    def __call__(self, row: Mapping[str, Any], generator: np.random.Generator) -> Mapping[str, Any]:
        self.maker.dataset = [row]
        return self.maker.make_item(0, generator)
