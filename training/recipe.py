"""A recipe: everything that a training run follows from, as short YAML that anyone can read, change and cite.

    recipe = parse_recipe({"data": {"train": "my_clips"}, "training": {"max_steps": 200}})
    recipe.training["max_steps"]  # 200
    print(dump_recipe(recipe))  # the whole of it

A recipe has the sections `model: data: augmentation: tokenizer: training:`, each one of the dataclasses here;
`training:` holds the names of transformers' `Seq2SeqTrainingArguments` and those of `TrainingSection`. What is
wrong is said with its name and the nearest key. Files, and what comes with aural, are in `recipe_files.py`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_type_hints

import yaml  # type: ignore[import-untyped]
from transformers import Seq2SeqTrainingArguments

from ..processing.tokenizers import check_options
from .mixup import Mixup
from .sources import Source
from .typed import check_keys, convert, fill

SETS = ("train", "eval")  # keys of `data:` that hold a source or a list of them; `test` holds named ones


@dataclass(frozen=True)
class Expected:
    """What the literature reaches, written down before any run.

    Args:
        metric: Its name, such as "WER on test-clean".
        low, high: The range, in the metric's own unit.
        source: Where it stands.
    """

    metric: str
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) through PEFT.

    Args:
        r: Rank.
        alpha: The update is scaled by alpha / r.
        dropout: On the adapters' input.
        targets: Names of the linear layers that get one; None: those that suit the architecture.
    """

    r: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: list[str] | None = None


@dataclass(frozen=True)
class ModelSection:
    """`model:` what is trained.

    Args:
        architecture: Class of the model.
        preset: Name of a config's preset, for a new model of a class that has some; of one with a decoder, of its
            encoder.
        config: Fields of a new model's config; `encoder:` and `decoder:` hold theirs.
        base: Folder or Hub id to start from; `preset`, `config` and `data.features` are then the base's. A base with
            another head of the same encoder gives the encoder alone.
        revision: Of a base on the Hub.
        base_config: Fields of the base's config to change: dropout, SpecAugment, weights of losses.
        freeze: Parts that do not learn, such as "listener" or "layers.0-5".
        lora: Train adapters in place of the weights (PEFT).
    """

    architecture: Literal[
        "LasForConditionalGeneration",
        "SpectrogramTransformerForCTC",
        "SpectrogramTransformerForConditionalGeneration",
        "SpectrogramTransformerForPreTraining",
        "SpectrogramTransformerForAudioClassification",
    ] = "LasForConditionalGeneration"
    preset: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    base: str | None = None
    revision: str | None = None
    base_config: dict[str, Any] = field(default_factory=dict)
    freeze: list[str] = field(default_factory=list)
    lora: Lora | None = None


@dataclass(frozen=True)
class DataSection:
    """`data:` what is heard.

    Args:
        train, eval: One source or several; the evaluation set steers a run (best model, early stopping). Folders for
            pre-training need no table.
        test: Sets that are measured once, at the end, by their names.
        features: Options of the feature extractor, of a new model. `normalize: global` without mean and std
            estimates both on training clips.
        normalization: Of texts, by name; kept beside the model.
        labels: Names of the sounds, in order; None: those of the training data.
        multi_label: Whether a clip can have several; None: whether the rows' labels are lists.
        min_seconds, max_seconds: Drop shorter and longer clips.
        crop_seconds: Of sounds: cut longer clips, at a random place in training.
        frames_per_batch: Padded frames of a batch per process; None: `per_device_train_batch_size` clips.
        balanced: Of sounds: draw every class equally often.
        streaming: Read as the run goes on, in place of listing first; needs `training.max_steps`.
        cache: Folder that keeps features from the first time on; None computes them each time.
        max_corrupt: Share of unreadable clips past which a run stops.
        card: What a model card says of the data and nobody can measure, by the names of `CardFacts`.
    """

    train: list[Source] = field(default_factory=list)
    eval: list[Source] = field(default_factory=list)
    test: dict[str, list[Source]] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)
    normalization: str = "none"
    labels: list[str] | None = None
    multi_label: bool | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    crop_seconds: float | None = None
    frames_per_batch: int | None = None
    balanced: bool = False
    streaming: bool = False
    cache: str | None = None
    max_corrupt: float = 0.01
    card: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AugmentationSection:
    """`augmentation:` changes of training clips; SpecAugment and dropout are fields of the model's config.

    Args:
        speed: Factors of the tempo, one drawn per clip; pitch follows (Ko et al. 2015).
        gain_db: Standard deviation of the level, in dB.
        noise_db: Lowest and highest signal-to-noise ratio of white noise, in dB.
        equalizer_db: Standard deviation of a smooth curve over frequency, in dB.
        mixup: Mix clips and labels, of sounds.
    """

    speed: list[float] = field(default_factory=list)
    gain_db: float = 0.0
    noise_db: list[float] = field(default_factory=list)
    equalizer_db: float = 0.0
    mixup: Mixup | None = None


@dataclass(frozen=True)
class TokenizerSection:
    """`tokenizer:` how text becomes ids. What a base has, it keeps where that writes all training texts.

    Args:
        unit: What an id stands for. None: what it stands for in the base; of a new model, a character.
        alphabet: Of characters: the symbols; None: those of the training texts. A stream needs them.
        vocab_size: Of words and subwords: most symbols, special ones included; None: all words, 1,000 subwords.
        min_count: Of words: how often one must occur in the training texts; None: once.
        kind: Of subwords: "bpe" or "unigram"; None: "bpe".
        phonemes: Language whose phonemes eSpeak NG makes of texts, such as "en-us" or "nl". Of the unit "phoneme", the
            model writes them; None: the texts are phonemes already. Of other units, a second CTC head hears them
            beside the text, by `phoneme_ctc_weight` of the model's config; None: there is no such head. A column
            `phonemes` of the data counts before eSpeak NG.
    """

    unit: Literal["character", "word", "subword", "phoneme"] | None = None
    alphabet: str | None = None
    vocab_size: int | None = None
    min_count: int | None = None
    kind: Literal["bpe", "unigram"] | None = None
    phonemes: str | None = None

    def __post_init__(self) -> None:
        if self.alphabet is not None and self.unit not in (None, "character"):
            raise ValueError(f"alphabet is for the unit character, and unit is {self.unit!r}")
        if self.unit is not None:
            check_options(self.unit, self.options)

    @property
    def options(self) -> dict[str, Any]:
        """What is told of the unit, as `train_tokenizer` takes it."""
        told = {"vocab_size": self.vocab_size, "min_count": self.min_count, "kind": self.kind}
        return {name: value for name, value in told.items() if value is not None}


@dataclass
class TrainingSection(Seq2SeqTrainingArguments):
    """`training:` transformers' arguments, and three that are not among them.

    Args:
        early_stopping_patience: Stop after so many evaluations without a better metric; None: never.
        layer_decay: Factor of the learning rate from each layer to the one below; None: one rate.
        log_examples: Clips whose transcripts, and the first one's alignment, are kept at each evaluation.
    """

    early_stopping_patience: int | None = None
    layer_decay: float | None = None
    log_examples: int = 0


@dataclass(frozen=True)
class Recipe:
    """A recipe, checked.

    Args:
        about: One sentence.
        status: Whether it runs on data that anyone can make at home, or waits for whoever reaches the data.
        make: Command that makes the data, or where they come from.
        expected: What the literature reaches.
        model, data, augmentation, tokenizer: The sections.
        training: Arguments of `TrainingSection`, by name; what is not said is transformers' default.
    """

    about: str = ""
    status: Literal["runs here", "not run here"] = "runs here"
    make: str = ""
    expected: list[Expected] = field(default_factory=list)
    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=DataSection)
    augmentation: AugmentationSection = field(default_factory=AugmentationSection)
    tokenizer: TokenizerSection = field(default_factory=TokenizerSection)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Of data and weights."""
        return int(self.training.get("seed", 42))


def parse_recipe(values: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from a mapping; `train`, `eval` and each of `test` may be one source, or its name alone.

    Raises:
        ValueError: A key or value is not allowed; errors begin with `where`.
    """
    values = dict(values)
    if isinstance(data := values.get("data"), Mapping):
        values["data"] = _with_lists(data)
    values = {name: {} if section is None else section for name, section in values.items()}
    recipe = fill(Recipe, values, where)
    allowed = [one.name for one in fields(TrainingSection) if one.init and one.name != "output_dir"]
    if "output_dir" in recipe.training:
        raise ValueError(f"{where}.training.output_dir is not for a recipe: say --out")
    check_keys(recipe.training, allowed, f"{where}.training")
    hints = get_type_hints(TrainingSection)
    for name, value in recipe.training.items():
        convert(value, hints[name], f"{where}.training.{name}")
    if not recipe.data.train:
        raise ValueError(f"{where}.data.train is missing: name what to train on, such as data.train.source=data/clips")
    return recipe


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """All that a recipe says, as plain values that `parse_recipe` reads to an equal recipe."""
    return asdict(recipe)


def dump_recipe(recipe: Recipe) -> str:
    """`recipe_values` as YAML, in the order of the sections."""
    return yaml.safe_dump(recipe_values(recipe), sort_keys=False, allow_unicode=True, width=119)


def differences(one: Recipe, other: Recipe) -> list[str]:
    """Names of what two recipes say differently, as "training.max_steps"."""
    return sorted(_differences(recipe_values(one), recipe_values(other), ""))


def _differences(one: Any, other: Any, where: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        names = [*one, *(name for name in other if name not in one)]
        pairs = ((name, one.get(name), other.get(name)) for name in names)
        return [found for name, a, b in pairs for found in _differences(a, b, f"{where}.{name}".lstrip("."))]
    return [] if one == other else [where]


def _with_lists(data: Mapping[str, Any]) -> dict[str, Any]:
    """The section with a list of mappings wherever one source, or its name, may stand."""
    data = {name: {} if name == "test" and value is None else value for name, value in data.items()}
    for name in SETS:
        if name in data:
            data[name] = _source_list(data[name])
    if isinstance(data.get("test"), Mapping):
        named = {name: value for name, value in data["test"].items() if value is not None}  # null takes one back
        data["test"] = {name: _source_list(value) for name, value in named.items()}
    return data


def _source_list(value: Any) -> Any:
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    return [{"source": item} if isinstance(item, str) else item for item in items]
