"""The kinds of model that write, and what a run asks of each: its config, its tokenizer, what its CTC needs.

`Recognition` (`run_recognition.py`) trains them all alike; what differs between them is said here, once per kind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .configuration import (
    LasConfig,
    SpectrogramTransformerConfig,
    SpectrogramTransformerSeq2SeqConfig,
    TextDecoderConfig,
)
from .modeling import (
    LasForConditionalGeneration,
    SpectrogramTransformerForConditionalGeneration,
    SpectrogramTransformerForCTC,
)
from .processing import LogMelFeatureExtractor
from .processing.ctc_tokenizer import CtcTokenizer
from .run_encoders import transformer_config
from .run_features import made_by
from .run_symbols import WEIGHT, Symbols
from .training.bases import load_base
from .training.families import DECODER, ENCODER
from .training.recipe import Recipe
from .training.recipe_fields import check_config, config_fields
from .training.typed import check_keys

Changes = Mapping[str, Any]  # fields of a base's config, in place of its own


@dataclass(frozen=True)
class CtcNeed:
    """What CTC asks of a clip: a state for each symbol, and one more between two of the same.

    Attributes:
        states: From the frames of a clip to those of its CTC head.
        text: Whether CTC learns the text.
        phonemes: Whether it learns phonemes beside the text.
    """

    states: Callable[[int], int]
    text: bool
    phonemes: bool = False


@dataclass(frozen=True)
class TextModel:
    """A kind of model that writes.

    Attributes:
        kind: Its class.
        config: From recipe, symbols and feature extractor to the config of a new model; raises ValueError where a
            field does not exist, follows from the data, or has a wrong value.
        ctc: From a model's config to what its CTC needs; None where it has none.
        tokenizer: From a tokenizer of texts to the one that the model's folder holds.
        new_head: From what a recipe changes of an encoder's config, and a number of symbols, to what `load_base` is
            to change so that the encoder gets a head for them.
    """

    kind: Any
    config: Callable[[Recipe, Symbols, LogMelFeatureExtractor], Any]
    ctc: Callable[[Any], CtcNeed | None]
    tokenizer: Callable[[Any], Any] = lambda tokenizer: tokenizer
    new_head: Callable[[Changes, int], Changes] = lambda changes, symbols: {**changes, "vocab_size": symbols}

    def new(self, recipe: Recipe, symbols: Symbols, extractor: LogMelFeatureExtractor) -> Any:
        """A new model, its weights drawn from torch's generator."""
        return self.kind(self.config(recipe, symbols, extractor))

    def on_encoder(self, recipe: Recipe, symbols: Symbols) -> tuple[Any, LogMelFeatureExtractor]:
        """A new head on the encoder that a recipe has as its base, and the encoder's feature extractor.

        Raises:
            OSError, ValueError: As `load_base`; a change that follows from the data.
        """
        section = recipe.model
        check_keys(section.base_config, config_fields(self.kind.config_class), "model.base_config")
        if "vocab_size" in section.base_config:
            raise ValueError("model.base_config.vocab_size follows from the data: leave it out")
        changes = self.new_head(section.base_config, len(symbols.tokenizer))
        model, processing = load_base(section.base or "", section.revision, section.architecture, **changes)
        return model, getattr(processing, "feature_extractor", processing)


def _las_config(recipe: Recipe, symbols: Symbols, extractor: LogMelFeatureExtractor) -> LasConfig:
    section = recipe.model
    _refuse_preset(recipe)
    if symbols.phonemes is None and section.config.get(WEIGHT):
        raise ValueError(
            f"model.config.{WEIGHT} is {section.config[WEIGHT]!r}, so tokenizer.phonemes must name a language"
        )
    heard = 0 if symbols.phonemes is None else len(symbols.phonemes)
    made = {"vocab_size": len(symbols.tokenizer), "phoneme_vocab_size": heard, **made_by(extractor)}
    check_config(section.config, LasConfig, made)
    return LasConfig(**section.config, **made)


def _las_ctc(config: LasConfig) -> CtcNeed | None:
    if not config.has_ctc:
        return None
    reduction = config.reduction_at(config.resolved_ctc_layer)
    return CtcNeed(lambda frames: frames // reduction, config.ctc_weight > 0, config.phoneme_ctc_weight > 0)


def _ctc_config(recipe: Recipe, symbols: Symbols, extractor: LogMelFeatureExtractor) -> SpectrogramTransformerConfig:
    return transformer_config(recipe, extractor, {"vocab_size": len(symbols.tokenizer)})


def _seq2seq_config(
    recipe: Recipe, symbols: Symbols, extractor: LogMelFeatureExtractor
) -> SpectrogramTransformerSeq2SeqConfig:
    told: dict[str, Any] = dict(recipe.model.config)
    made: dict[str, Any] = {"vocab_size": len(symbols.tokenizer)}
    check_keys(told, config_fields(SpectrogramTransformerSeq2SeqConfig), "model.config")
    decoder = told.pop(DECODER, {})
    check_config(decoder, TextDecoderConfig, made, f"model.config.{DECODER}")
    told[ENCODER] = transformer_config(recipe, extractor, {}, ENCODER)
    return SpectrogramTransformerSeq2SeqConfig(**told, decoder=TextDecoderConfig(**decoder, **made))


def _seq2seq_ctc(config: SpectrogramTransformerSeq2SeqConfig) -> CtcNeed | None:
    return CtcNeed(config.encoder.time_patches, text=True) if config.ctc_weight > 0 else None


def _under_decoder(changes: Changes, symbols: int) -> Changes:
    """What `load_base` is to change so that an encoder gets a decoder of so many symbols."""
    decoder, made = changes.get(DECODER, {}), {"vocab_size": symbols}
    check_config(decoder, TextDecoderConfig, made, f"model.base_config.{DECODER}")
    return {**changes, DECODER: {**decoder, **made}}


def _refuse_preset(recipe: Recipe) -> None:
    name = recipe.model.preset
    if name is not None:
        raise ValueError(f"model.preset is {name!r}, but {recipe.model.architecture} has no presets; use model.config")


TEXT_MODELS: dict[str, TextModel] = {
    one.kind.__name__: one
    for one in (
        TextModel(LasForConditionalGeneration, _las_config, _las_ctc),
        TextModel(
            SpectrogramTransformerForCTC,
            _ctc_config,
            lambda config: CtcNeed(config.time_patches, text=True),
            CtcTokenizer.of,
        ),
        TextModel(
            SpectrogramTransformerForConditionalGeneration, _seq2seq_config, _seq2seq_ctc, new_head=_under_decoder
        ),
    )
}
