"""What a run's model makes of texts: the symbols that it writes, and the phonemes that it hears beside them.

- A new model learns the symbols of the training texts; a base keeps its tokenizer where that spells all of them, and
  learns the texts' own where it does not: what both know keeps its weights.
- Texts become phonemes once, before the training starts; the language stays with the tokenizer. Only training texts
  have phonemes beside them: an evaluation, and its loss, is of the text.
- A stream's texts are not known before its end: it needs an alphabet, or a base.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from .processing import AuralProcessor, train_tokenizer
from .processing.tokenizers import kind_of, language_of, unit_of, unknown_share
from .training.bases import load_base
from .training.families import TRAINABLE
from .training.fine_tuning import adapt_phonemes, adapt_vocabulary
from .training.phoneme_rows import COLUMN, PhonemeRows
from .training.recipe import Recipe
from .training.recipe_fields import config_fields
from .training.references import all_texts
from .training.typed import check_keys

PHONEME = "phoneme"
WEIGHT = "phoneme_ctc_weight"
STREAMED = "the texts of a stream are not known before its end"


@dataclass(frozen=True)
class Symbols:
    """What texts become.

    Attributes:
        tokenizer: Of what the model writes.
        phonemes: Of what a second CTC head hears; None: there is none.
        spoken: Makes phonemes of texts; None where none are wanted.
    """

    tokenizer: Any
    phonemes: Any
    spoken: PhonemeRows | None


def new_symbols(recipe: Recipe, rows: Any, console: Console) -> Symbols:
    """The symbols of a new model.

    Args:
        recipe: What is trained.
        rows: Of training, with `text`; None for a stream.
        console: Where words that the vocabulary lacks are told.

    Raises:
        ImportError, OSError: Phonemes are wanted, and there is no eSpeak NG.
        ValueError: An option is wrong, a stream comes without an alphabet, or phonemes have no weight.
    """
    section = recipe.tokenizer
    unit = section.unit or "character"
    if not hasattr(TRAINABLE[recipe.model.architecture].config_class, WEIGHT):
        _refuse_phonemes(recipe, unit)
    if unit == PHONEME or section.phonemes is None:
        spoken = PhonemeRows(section.phonemes, "text") if unit == PHONEME else None
        return Symbols(_trained(recipe, unit, rows, spoken, console), None, spoken)
    if not recipe.model.config.get(WEIGHT):
        raise ValueError(f"tokenizer.phonemes is {section.phonemes!r}, so model.config.{WEIGHT} must be above 0")
    spoken = PhonemeRows(section.phonemes)
    phonemes = train_tokenizer(_spoken_texts(spoken, rows), PHONEME, language=section.phonemes)
    return Symbols(_trained(recipe, unit, rows, None, console), phonemes, spoken)


def adapted_base(
    recipe: Recipe, rows: Any, console: Console, written: Callable[[Any], Any]
) -> tuple[Any, AuralProcessor, PhonemeRows | None]:
    """A base that writes, its processor and what makes its phonemes, fit for the training texts.

    Args:
        recipe, rows, console: As for `new_symbols`.
        written: From a new tokenizer to the one that the model's folder holds.

    Raises:
        ImportError, OSError, ValueError: As `new_symbols`, and as `load_base`.
    """
    section, changes = recipe.tokenizer, dict(recipe.model.base_config)
    check_keys(changes, config_fields(TRAINABLE[recipe.model.architecture].config_class), "model.base_config")
    weight = changes.pop(WEIGHT, None)  # the base may have no head for phonemes yet
    model: Any
    model, processor = load_base(recipe.model.base or "", recipe.model.revision, recipe.model.architecture, **changes)
    unit = section.unit or unit_of(processor.tokenizer)
    tokenizer, spoken = processor.tokenizer, None
    if unit == PHONEME:
        spoken = PhonemeRows(section.phonemes or language_of(tokenizer), "text")
    if unit != unit_of(tokenizer) or not _spells(recipe, tokenizer, rows, spoken):
        tokenizer = written(_trained(recipe, unit, rows, spoken, console, base=tokenizer))
        adapt_vocabulary(model, processor.tokenizer, tokenizer)
    phonemes = processor.phoneme_tokenizer
    if not hasattr(model.config, WEIGHT):
        _refuse_phonemes(recipe, unit)
        return model, AuralProcessor(processor.feature_extractor, tokenizer), spoken
    weight = model.config.phoneme_ctc_weight if weight is None else weight
    if unit != PHONEME and (section.phonemes is not None or (phonemes is not None and weight)):
        if not weight:
            raise ValueError(
                f"tokenizer.phonemes is {section.phonemes!r}, so model.base_config.{WEIGHT} must be above 0"
            )
        spoken = PhonemeRows(section.phonemes or language_of(phonemes))
        if rows is not None or phonemes is None:
            phonemes = _adapted_phonemes(model, phonemes, spoken, rows)
    elif weight and phonemes is None:
        raise ValueError(f"model.base_config.{WEIGHT} is {weight!r}, so tokenizer.phonemes must name a language")
    model.config.phoneme_ctc_weight = weight
    return model, AuralProcessor(processor.feature_extractor, tokenizer, phonemes), spoken


def spoken_of(processor: AuralProcessor) -> PhonemeRows | None:
    """What makes phonemes of the texts that a trained model is measured on; None where it does not write phonemes.

    Args:
        processor: Of the model.
    """
    if unit_of(processor.tokenizer) != PHONEME:
        return None
    return PhonemeRows(language_of(processor.tokenizer), "text")


def without_phonemes(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for an evaluation, which is of the text."""
    return {name: value for name, value in row.items() if name != COLUMN}


def _refuse_phonemes(recipe: Recipe, unit: str) -> None:
    """Only a LAS hears phonemes beside the text."""
    language = recipe.tokenizer.phonemes
    if unit != PHONEME and language is not None:
        raise ValueError(
            f"tokenizer.phonemes is {language!r}, but {recipe.model.architecture} has no head for phonemes beside "
            f"the text; tokenizer.unit=phoneme writes them"
        )


def _adapted_phonemes(model: Any, known: Any, spoken: PhonemeRows, rows: Any) -> Any:
    """The tokenizer of a base's second head: its own where that spells all phonemes, else one of the texts."""
    texts = _spoken_texts(spoken, rows)
    if known is not None and language_of(known) == spoken.language and not unknown_share(known, texts)[0]:
        return known
    phonemes = train_tokenizer(texts, PHONEME, language=spoken.language)
    adapt_phonemes(model, known, phonemes)
    return phonemes


def _trained(
    recipe: Recipe, unit: str, rows: Any, spoken: PhonemeRows | None, console: Console, base: Any = None
) -> Any:
    """A tokenizer of the training texts; of subwords, of the kind and size of a base's, unless told."""
    options: dict[str, Any] = dict(recipe.tokenizer.options)
    if base is not None and unit == unit_of(base) == "subword":
        options = {"kind": kind_of(base), "vocab_size": len(base), **options}
    if unit == PHONEME and spoken is not None:
        options["language"] = spoken.language
    tokenizer = train_tokenizer(_texts(recipe, unit, rows, spoken), unit, **options)
    if unit == "word":
        unknown, words = unknown_share(tokenizer, list(all_texts(rows)))
        _say(console, f"{unknown:,} of {words:,} words of the training texts ({unknown / words:.1%}) are <unk>")
    return tokenizer


def _spells(recipe: Recipe, tokenizer: Any, rows: Any, spoken: PhonemeRows | None) -> bool:
    """Whether a tokenizer has symbols for all that a model is to write; of a stream that is not known."""
    unit = unit_of(tokenizer)
    if rows is None and unit != "character":
        if spoken is not None and spoken.language is not None:
            raise ValueError(f"data.streaming: phonemes are made before the training starts, and {STREAMED}")
        return True
    return not unknown_share(tokenizer, _texts(recipe, unit, rows, spoken))[0]


def _texts(recipe: Recipe, unit: str, rows: Any, spoken: PhonemeRows | None) -> list[str]:
    """What a tokenizer is trained on: of characters, the symbols by themselves."""
    alphabet = recipe.tokenizer.alphabet
    if unit == "character" and alphabet is not None:
        return sorted(set(alphabet))
    if rows is None:
        wanted = "tokenizer.alphabet is missing" if unit == "character" else f"tokenizer.unit is {unit!r}"
        raise ValueError(f"{wanted}: {STREAMED}")
    if spoken is not None:
        return _spoken_texts(spoken, rows)
    if unit == "character":
        return sorted({symbol for text in all_texts(rows) for symbol in text})
    return list(all_texts(rows))


def _spoken_texts(spoken: PhonemeRows, rows: Any) -> list[str]:
    """The phonemes of all training texts that have some."""
    if rows is None:
        raise ValueError(f"tokenizer.phonemes is {spoken.language!r}: {STREAMED}")
    spoken.learn(rows)
    return [text for text in spoken.spoken(rows) if text]


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
