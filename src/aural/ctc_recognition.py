"""Recognition by CTC models: the likeliest symbols, or a search in which n-gram, lexicon and hot words have their say.

    transcribe(files, "models/ctc")  # the best path
    transcribe(files, "models/ctc", num_beams=16, ngram="strings.arpa", hot_words=["tango"])
    transcribe(files, "models/ctc", lexicon="lexicon.txt", ngram="words.arpa")  # the n-gram is over words

A token's frames on the best path of the text say when it was heard, and its highest probability there how surely.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from .decoding import read_ngram
from .processing import AuralProcessor
from .processing.alignment import Path, WordTokens, confidence, time_characters, time_words, word_tokens
from .processing.ctc import CtcToken, ctc_align, ctc_greedy
from .processing.ctc_search import BEAMS, ctc_prefix_search
from .processing.hot_word_model import HotWordModel
from .processing.hot_words import BIAS, hot_phrases, hot_symbols
from .processing.levels import sound_levels
from .processing.lexicon import Lexicon
from .processing.phonemes import BORDER
from .processing.tokenizers import unit_of
from .transcript import Transcript

OPTIONS = ("num_beams", "ngram", "ngram_weight", "lexicon", "token_insertion", "hot_words", "hot_word_bias")
NGRAM_WEIGHT = 0.3  # as beside models that spell


@dataclass(frozen=True)
class _Written:
    """A text of one clip.

    Attributes:
        text: What it says.
        tokens: Its tokens and where they stand.
        words: Which tokens make its words.
        score: Of the search; 0 of a best path.
    """

    text: str
    tokens: list[CtcToken]
    words: list[WordTokens]
    score: float = 0.0


class CtcRecognizer:
    """From waves to transcripts by CTC.

    Args:
        model: In eval mode.
        processor: Of the model.
    """

    def __init__(self, model: PreTrainedModel, processor: AuralProcessor) -> None:
        self.model, self.processor = cast(Any, model), processor
        tokenizer = processor.tokenizer
        self._special = sorted(set(tokenizer.all_special_ids) - {model.config.blank_id})
        self._symbols = list(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
        self._border = BORDER if unit_of(tokenizer) == "phoneme" else None

    def options(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Options for the search, with what was said by name loaded.

        Args:
            said: `num_beams`; `ngram`, the file of an n-gram (ARPA) or a `LanguageModel`, with `ngram_weight` (0.3 by
                default); `lexicon`, a file or a `Lexicon` of the only words that may be written; `token_insertion`,
                added for each token; `hot_words`, with a bias each or all with `hot_word_bias` (5 by default).

        Raises:
            OSError: There is no such file.
            ValueError: It does not fit the symbols, or an option is for models that spell.
        """
        found = {name: value for name, value in said.items() if value is not None}
        if wrong := sorted(set(found) - set(OPTIONS)):
            raise ValueError(f"{wrong[0]} is not for CTC models, which take {', '.join(OPTIONS)}")
        if isinstance(name := found.get("lexicon"), str | PathLike):
            found["lexicon"] = Lexicon.read(str(name))
        lexicon, tokenizer = found.get("lexicon"), self.processor.tokenizer
        if isinstance(name := found.get("ngram"), str | PathLike):
            found["ngram"] = read_ngram(str(name), tokenizer, lexicon)
        if "ngram_weight" in found and "ngram" not in found:
            raise ValueError(f"ngram_weight={found['ngram_weight']} weights an n-gram, and ngram is None")
        words, bias = found.pop("hot_words", None), found.pop("hot_word_bias", BIAS)
        if words:
            tree = hot_symbols(tokenizer, words, bias) if lexicon is None else hot_phrases(words, lexicon, bias)
            found["ngram"] = HotWordModel(tree, found.get("ngram"), found.get("ngram_weight", NGRAM_WEIGHT))
            found["ngram_weight"] = 1.0
        return found

    def beams(self, options: Mapping[str, Any]) -> int:
        """Width of the search; 1 of the best path."""
        return options.get("num_beams") or (BEAMS if _has_companions(options) else 1)

    def texts(self, waves: Sequence[np.ndarray], options: Mapping[str, Any]) -> list[str]:
        """What `recognize` writes, without what else it tells."""
        return [written[0].text for written in self._written(waves, options, 1)]

    def recognize(
        self, waves: Sequence[np.ndarray], sources: Sequence[str], options: Mapping[str, Any], nbest: int
    ) -> list[Transcript]:
        """A transcript of each wave; arguments as of `recognize_batch`."""
        results = []
        for wave, source, several in zip(waves, sources, self._written(waves, options, nbest), strict=True):
            told = self._transcript(wave, source, several[0])
            others = tuple((one.text, one.score) for one in several) if nbest > 1 else ()
            results.append(replace(told, alternatives=others))
        return results

    def _written(self, waves: Sequence[np.ndarray], options: Mapping[str, Any], nbest: int) -> list[list[_Written]]:
        """The best texts of each wave, at least one."""
        options = self.options(options)
        rate, config = self.processor.feature_extractor.sampling_rate, self.model.config
        inputs = self.processor(audio=list(waves), sampling_rate=rate, return_tensors="pt").to(self.model.device)
        outputs = self.model(inputs["input_features"], attention_mask=inputs["attention_mask"])
        log_probs = outputs.logits.float().log_softmax(-1).cpu()  # (batch, columns, vocabulary)
        mask = outputs.frame_mask.cpu()
        beams = self.beams(options)
        if beams == 1 and not _has_companions(options):
            paths = ctc_greedy(log_probs, mask, config.blank_id)
            return [[self._spelled([token for token in path if token.id not in self._special])] for path in paths]
        clips = [rows[: int(real.sum())] for rows, real in zip(log_probs, mask, strict=True)]
        return [self._searched(clip, options, beams, nbest) for clip in clips]

    def _searched(self, clip: torch.Tensor, options: Mapping[str, Any], beams: int, nbest: int) -> list[_Written]:
        """The best texts of one clip's `(columns, vocabulary)`, an empty one where none can be."""
        lexicon, ngram = options.get("lexicon"), options.get("ngram")
        separator = self._border or " "
        found = ctc_prefix_search(
            clip,
            blank=self.model.config.blank_id,
            beams=beams,
            ngram=ngram,
            ngram_weight=0.0 if ngram is None else options.get("ngram_weight", NGRAM_WEIGHT),
            token_insertion=options.get("token_insertion", 0.0),
            lexicon=lexicon,
            symbols=self._symbols,
            nbest=beams,
            word_separator=separator if lexicon is not None and separator in self._symbols else None,
            excluded=self._special,
        )
        texts: dict[str, _Written] = {}  # two that differ in spaces at their ends are one
        for one in found:
            tokens = ctc_align(clip.numpy(), one.ids, self.model.config.blank_id)
            written = self._spelled(tokens)
            if lexicon is not None:
                spelled = [self._symbols[token] for token in one.ids]
                written = replace(
                    written, text=" ".join(one.tokens), words=lexicon_words(one.tokens, spelled, lexicon)
                )
            texts.setdefault(written.text, replace(written, score=one.score))
            if len(texts) == nbest:
                break
        return list(texts.values()) or [_Written("", [], [])]

    def _spelled(self, tokens: list[CtcToken]) -> _Written:
        """The text of tokens."""

        def decode(ids: Sequence[int]) -> str:
            return self.processor.decode(list(ids), group_tokens=False)

        ids = [token.id for token in tokens]
        return _Written(decode(ids).strip(), tokens, word_tokens(ids, decode, self._border))

    def _transcript(self, wave: np.ndarray, source: str, written: _Written) -> Transcript:
        rate, config = self.processor.feature_extractor.sampling_rate, self.model.config
        step, seconds = config.seconds_per_patch, len(wave) / rate
        names = tuple(self._symbols[token.id] for token in written.tokens)
        chances = np.exp([token.log_prob for token in written.tokens])
        told = Transcript(
            text=written.text,
            seconds=seconds,
            source=source,
            alignment=torch.zeros(0, 0),
            tokens=names,
            seconds_per_frame=step,
            confidence=confidence(chances),
        )
        if not written.tokens:
            return told
        # A column hears a patch, which may be wider than the way to the next one: its own time is around its middle.
        early = config.patch_centers(1)[0] - step / 2
        starts, ends = (
            np.clip(np.array([getattr(token, edge) for token in written.tokens]) * step + early, 0.0, seconds)
            for edge in ("start", "end")
        )
        path = Path(starts, ends, (starts + ends) / 2)
        words = time_words(path, written.words, chances, sound_levels(wave, rate), step, seconds)
        return replace(
            told, words=words, token_times=time_characters(path, written.words, words, names, chances, seconds)
        )


def _has_companions(options: Mapping[str, Any]) -> bool:
    """Whether more than the model has a say."""
    said = ("ngram", "lexicon", "token_insertion", "hot_words")
    return any(options.get(name) is not None for name in said)


def lexicon_words(words: Sequence[str], symbols: Sequence[str], lexicon: Lexicon) -> list[WordTokens]:
    """Which symbols wrote each word of a lexicon; those between words belong to none.

    Args:
        words: As a search found them.
        symbols: That it read them from; what stands between two words is in no pronunciation.
        lexicon: Of the words.
    """
    ways: dict[int, list[WordTokens]] = {0: []}  # place after the words so far: where they stand
    for word in words:
        after: dict[int, list[WordTokens]] = {}
        for place, before in ways.items():
            first = place
            while first < len(symbols) and symbols[first] not in lexicon.symbols:
                first += 1
            for pronunciation in lexicon.pronunciations[word]:
                end = first + len(pronunciation)
                if tuple(symbols[first:end]) == pronunciation:
                    after.setdefault(end, [*before, WordTokens(word, first, end)])
        ways = after
    return ways[len(symbols)]
