"""The spectrogram-patch transformer that a recipe describes, under whichever head."""

from collections.abc import Mapping
from typing import Any

from .configuration import SpectrogramTransformerConfig
from .processing import LogMelFeatureExtractor
from .run_features import made_by
from .training.recipe import Recipe
from .training.recipe_fields import check_config

SMALLEST = "tiny"  # the preset where a recipe names none


def transformer_config(
    recipe: Recipe, extractor: LogMelFeatureExtractor, made: Mapping[str, Any], part: str | None = None
) -> SpectrogramTransformerConfig:
    """The config of a new model, or of the encoder in one.

    Args:
        recipe: Its `model.preset` and `model.config` tell what does not follow from the data.
        extractor: Of its features.
        made: Further fields that follow from the data, such as those of the labels.
        part: Field of `model.config` that holds the encoder's; None: `model.config` is the encoder's.

    Raises:
        ValueError: A field does not exist, follows from the data, or has a wrong value.
    """
    section = recipe.model
    told = section.config if part is None else section.config.get(part, {})
    made = {**made_by(extractor), "sampling_rate": extractor.sampling_rate, **made}
    check_config(told, SpectrogramTransformerConfig, made, ".".join(filter(None, ("model.config", part))))
    return SpectrogramTransformerConfig.from_preset(section.preset or SMALLEST, **told, **made)
