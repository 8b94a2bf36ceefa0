"""A run whose model writes: its symbols, its data and its metrics, whichever kind of model it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import torch
from rich.console import Console

from .processing import AuralProcessor
from .run_features import make_augmentations, make_cache, make_extractor
from .run_symbols import adapted_base, new_symbols, spoken_of, without_phonemes
from .run_text_models import TEXT_MODELS, CtcNeed, TextModel
from .training.adapters import is_adapter
from .training.bases import keeps_vocabulary
from .training.caption_metrics import caption_metrics
from .training.collator import SpeechCollator
from .training.data import Respelling, SpeechDataset
from .training.metrics import compute_metrics
from .training.phoneme_rows import PhonemeRows
from .training.recipe import Recipe
from .training.references import CaptionDataset, has_references, references_of
from .training.skipping import SkippedClips
from .training.streams import ItemStream, stream_items
from .training.texts import generates_text, said_ids

Answers = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # logits and labels to what is scored


@dataclass(frozen=True)
class Recognition:
    """Speech, or other sound, to text.

    Args:
        recipe: What is trained, or was.
        model: Of a kind in `TEXT_MODELS`.
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

        A base that writes keeps its tokenizer if that spells all training texts; otherwise it learns the texts' own
        symbols, and those that both know keep their weights. A base that only hears keeps encoder and features.

        Args:
            recipe: What is trained.
            rows: Of training, with `text`; None for a stream.
            console: For what takes long.

        Raises:
            ImportError: Phonemes are wanted, and the extra for them is missing.
            OSError: The base cannot be read.
            ValueError: A config field or feature option is wrong, or a stream comes without an alphabet.
        """
        kind, base = TEXT_MODELS[recipe.model.architecture], recipe.model.base
        if base is not None and keeps_vocabulary(base, recipe.model.revision, recipe.model.architecture):
            return cls(recipe, *adapted_base(recipe, rows, console, kind.tokenizer)).checked()
        if base is not None:
            symbols = new_symbols(recipe, rows, console)
            model, extractor = kind.on_encoder(recipe, symbols)
        else:
            extractor = make_extractor(recipe, rows, console)
            symbols = new_symbols(recipe, rows, console)
            model = kind.new(recipe, symbols, extractor)
        processor = AuralProcessor(extractor, kind.tokenizer(symbols.tokenizer), symbols.phonemes)
        return cls(recipe, model, processor, symbols.spoken).checked()

    def checked(self) -> "Recognition":
        """The task itself, if its evaluations can be what the recipe says.

        Raises:
            ValueError: They are to generate, and the model does not.
        """
        if self.recipe.training.get("predict_with_generate") and not generates_text(self.model):
            name = self.recipe.model.architecture
            raise ValueError(
                f"training.predict_with_generate is true, but {name} writes without generate(): say false"
            )
        return self

    @property
    def kind(self) -> TextModel:
        """What differs between the kinds of model."""
        model = self.model.get_base_model() if is_adapter(self.model) else self.model
        return TEXT_MODELS[type(model).__name__]

    @property
    def outputs(self) -> list[str]:
        """Symbols by id."""
        tokenizer = self.processing.tokenizer
        return [str(token) for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]

    def dataset(self, rows: Any, training: bool) -> SpeechDataset:
        """Features and ids; augmented, and with phonemes beside the text, if it is for training.

        Of clips with several texts each, training has one that is drawn anew in each epoch, an evaluation the first.
        """
        extractor = self.processing.feature_extractor
        audio, features = make_augmentations(self.recipe, extractor) if training else (None, None)
        several = {"first": not training} if has_references(rows) else {}
        return (CaptionDataset if several else SpeechDataset)(
            rows,
            self.processing,
            augment_audio=audio,
            augment_features=features,
            seed=self.recipe.seed,
            cache=make_cache(self.recipe),
            respell=self._respelling(rows, training),
            **several,
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
            seed=self.recipe.seed,
            skipped=skipped,
        )

    def misfits(self, rows: Any) -> list[int]:
        """Clips that even CTC's shortest path is too long for, when played as fast as training may play them."""
        need, extractor = self.kind.ctc(self.model.config), self.processing.feature_extractor
        if need is None:
            return []
        fastest = max([1.0, *self.recipe.augmentation.speed])
        found = []
        needed = self._shortest_paths(rows, need)
        for index, (steps, seconds) in enumerate(zip(needed, self.dataset(rows, False).durations, strict=True)):
            states = need.states(extractor.frame_count(int(seconds * extractor.sampling_rate / fastest)))
            if seconds and steps > states:  # 0 s: a damaged header, found out when it is to be heard
                found.append(index)
        return found

    def _shortest_paths(self, rows: Any, need: CtcNeed) -> list[int]:
        """The fewest CTC states that each text, or its phonemes, can be aligned to."""
        spoken = self._spoken()
        needed = [0] * len(rows)
        heard = None
        if spoken is not None:
            spoken.learn(rows)
            heard = [text or "" for text in spoken.spoken(rows)]
        written = heard if spoken is not None and spoken.place == "text" else rows["text"]
        objectives = [(need.text, self.processing.tokenizer, written)]
        objectives.append((need.phonemes, self.processing.phoneme_tokenizer, heard))
        for asked, tokenizer, texts in objectives:
            if asked and tokenizer is not None and texts is not None:
                for index, text in enumerate(texts):  # perhaps several of one clip, of which training draws one
                    ids = tokenizer(references_of(text), add_special_tokens=False).input_ids
                    needed[index] = max(needed[index], *map(_shortest_path, ids))
        return needed

    def collator(self) -> SpeechCollator:
        """Padded with zeros; ids below the vocabulary."""
        extractor, phonemes = self.processing.feature_extractor, self.processing.phoneme_tokenizer
        return SpeechCollator(
            mels=extractor.num_mel_bins,
            vocab_size=len(self.processing.tokenizer),
            phoneme_vocab_size=None if phonemes is None else len(phonemes),
        )

    def metrics(self, items: Any) -> Callable[[Any], dict[str, float]]:
        """`wer` and `cer`; of a model that writes phonemes, `wer` is of symbols, borders of words among them.

        Of clips with several texts each, `bleu_1` to `bleu_4` and `exact` against all of them.

        Raises:
            ValueError: Clips with several texts are to be evaluated in another order than theirs.
        """
        if (references := getattr(items, "references", None)) is not None:
            if self.recipe.training.get("train_sampling_strategy") == "group_by_length":
                raise ValueError(
                    "training.train_sampling_strategy is 'group_by_length', which evaluates clips out of order, and "
                    "their several texts are matched by place: use data.frames_per_batch"
                )
            return caption_metrics(self.processing, references)
        return compute_metrics(self.processing)

    def answers(self) -> Answers | None:
        """The ids of CTC's best path, of a model that writes by it alone."""
        return None if generates_text(self.model) else partial(_said, self.model.config.blank_id)


def _said(blank: int, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return said_ids(logits, blank)


def _shortest_path(ids: Sequence[int]) -> int:
    """States of the shortest CTC path: one for each id, and a blank between two of the same."""
    return len(ids) + sum(one == other for one, other in pairwise(ids))
