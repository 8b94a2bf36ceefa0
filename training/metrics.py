"""Word and character error rate, with what an honest report needs beside the number.

1. `WordErrorRate` and `CharacterErrorRate` are `evaluate.Metric`s that work offline (`evaluate.load("wer")` fetches
   code), keep their data in memory and leave nothing in the home directory, so parallel runs cannot collide.
2. Rates are of the corpus: all edits over all reference units. An utterance whose reference is empty adds its
   insertions to the edits and nothing to the units; without any reference unit there is no rate, hence an error.
3. `score_texts` adds a 95% bootstrap interval over utterances (Bisani and Ney 2004, doi:10.1109/ICASSP.2004.1326009).

Texts are compared in NFC. Words are what white space separates; characters are code points, inner spaces included.
The alignment is jiwer's.
"""

import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import evaluate
import jiwer
import numpy as np

from .collator import IGNORED_LABEL

UNITS = ("word", "character")
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # stands in a reference for what the vocabulary lacks


def count_edits(
    references: Sequence[str], predictions: Sequence[str], unit: str = "word"
) -> tuple[np.ndarray, np.ndarray]:
    """Edits and reference units of each utterance.

    Args:
        references: what was said.
        predictions: what was recognised, in the same order.
        unit: "word" or "character".

    Returns:
        Substitutions, deletions and insertions as counts (utterances, 3), and reference units (utterances,).

    Raises:
        ValueError: unknown unit, no texts, or a different number of them.
    """
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r}; allowed: {', '.join(UNITS)}")
    if len(references) != len(predictions) or not references:
        raise ValueError(
            f"{len(references)} references and {len(predictions)} predictions; give as many, at least one"
        )
    spoken, heard = ([_normalised(text, unit) for text in texts] for texts in (references, predictions))
    process = jiwer.process_words if unit == "word" else jiwer.process_characters
    output = process(spoken, heard)
    edits = np.zeros((len(spoken), 3), dtype=np.int64)
    for row, chunks in zip(edits, output.alignments, strict=True):
        for chunk in chunks:
            if chunk.type != "equal":
                length = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
                row[("substitute", "delete", "insert").index(chunk.type)] += length
    return edits, np.array([len(units) for units in output.references], dtype=np.int64)


def _normalised(text: str, unit: str) -> str:
    # jiwer splits at the space alone: a tab or a newline would join two words.
    text = unicodedata.normalize("NFC", text)
    return " ".join(text.split()) if unit == "word" else text.strip()


def error_rate(edits: np.ndarray, units: np.ndarray) -> float:
    """All edits over all reference units; above 1 when insertions abound.

    Args:
        edits: (utterances,) or (utterances, kinds).
        units: (utterances,), reference words or characters.

    Raises:
        ValueError: no reference unit at all.
    """
    total = int(np.sum(units))
    if total == 0:
        raise ValueError("the references hold no words: an error rate over them is not defined")
    return float(np.sum(edits) / total)


def error_interval(
    edits: np.ndarray | Sequence[int], units: np.ndarray | Sequence[int], seed: int, samples: int = 1000
) -> tuple[float, float]:
    """95% interval of the error rate: percentiles over resamples of the utterances, drawn with replacement.

    Resamples that hold no reference unit are left out.

    Args:
        edits: edits of each utterance (utterances,).
        units: reference words or characters of each utterance (utterances,).
        seed: of the generator; the same seed gives the same interval.
        samples: number of resamples.

    Raises:
        ValueError: shapes that differ, or no reference unit at all.
    """
    edits, units = np.asarray(edits), np.asarray(units)
    if edits.shape != units.shape or edits.ndim != 1:
        raise ValueError(f"edits has shape {edits.shape}, units {units.shape}; expected (utterances,) for both")
    error_rate(edits, units)
    generator = np.random.default_rng(seed)
    rates = []
    for _ in range(samples):
        chosen = generator.integers(len(units), size=len(units))
        if total := units[chosen].sum():
            rates.append(edits[chosen].sum() / total)
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def score_texts(references: Sequence[str], predictions: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Word and character error rate with intervals and counts, ready for JSON.

    Args:
        references: what was said.
        predictions: what was recognised, in the same order.
        seed: of the bootstrap.

    Returns:
        `utterances`; `wer`, `wer_interval` (95%, low and high), `words`, `word_substitutions`, `word_deletions`,
        `word_insertions`; and the same as `cer`, `cer_interval`, `characters`, `character_substitutions`, ….

    Raises:
        ValueError: as `count_edits` and `error_rate`.
    """
    scores: dict[str, Any] = {"utterances": len(references)}
    for unit, name in zip(UNITS, ("wer", "cer"), strict=True):
        edits, units = count_edits(references, predictions, unit)
        scores[name] = error_rate(edits, units)
        scores[f"{name}_interval"] = list(error_interval(edits.sum(axis=1), units, seed))
        scores[f"{unit}s"] = int(units.sum())
        for kind, count in zip(("substitutions", "deletions", "insertions"), edits.sum(axis=0), strict=True):
            scores[f"{unit}_{kind}"] = int(count)
    return scores


class OfflineMetric(evaluate.Metric):
    """An `evaluate.Metric` that keeps its data in memory and leaves nothing in the home directory.

    Args:
        kwargs: for `evaluate.Metric`, such as `keep_in_memory` and `cache_dir`.
    """

    def __init__(self, **kwargs: Any) -> None:
        # The base makes a folder even for a metric in memory, by default under the home directory.
        self._folder = tempfile.TemporaryDirectory(prefix="aural-metric-")
        super().__init__(**{"keep_in_memory": True, "cache_dir": self._folder.name, **kwargs})


class _ErrorRate(OfflineMetric):
    """What the two metrics share; subclasses name the key and the unit."""

    key: str
    unit: str

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=f"Edits over reference {self.unit}s, of the corpus.",
            citation="",
            inputs_description="predictions, references: lists of texts in the same order.",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {self.key: error_rate(*count_edits(references, predictions, self.unit))}


class WordErrorRate(_ErrorRate):
    """`WordErrorRate().compute(predictions=[…], references=[…])` gives `{"wer": …}`, a share, not percent.

    Args:
        kwargs: for `evaluate.Metric`, such as `keep_in_memory` and `cache_dir`.

    Raises:
        ValueError: no reference word at all.
    """

    key, unit = "wer", "word"


class CharacterErrorRate(_ErrorRate):
    """`CharacterErrorRate().compute(predictions=[…], references=[…])` gives `{"cer": …}`, a share, not percent.

    Args:
        kwargs: for `evaluate.Metric`, such as `keep_in_memory` and `cache_dir`.

    Raises:
        ValueError: no reference character at all.
    """

    key, unit = "cer", "character"


def compute_metrics(processor: Any) -> Callable[[Any], dict[str, float]]:
    """A function for `Seq2SeqTrainer(compute_metrics=…)` with `predict_with_generate=True`.

    A symbol that the vocabulary lacks stays in the reference as `UNKNOWN` and so counts as an error: dropping it with
    the special tokens would flatter the model.

    Args:
        processor: an `AuralProcessor`, or a tokenizer.

    Returns:
        A function of an `EvalPrediction` with `predictions` (utterances, targets) and `label_ids` (utterances,
        targets), padded by -100 or `<pad>`, that gives `wer` and `cer`. It raises ValueError for logits.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    metrics = (WordErrorRate(), CharacterErrorRate())

    def texts(ids: np.ndarray, unknown: str) -> list[str]:
        # The Trainer pads to the generation's max_length, thousands of ids: away with them before decoding.
        real = (ids != IGNORED_LABEL) & (ids != tokenizer.pad_token_id)  # (utterances, targets)
        return [
            decode_with_unknown(tokenizer, row[kept].tolist(), unknown) for row, kept in zip(ids, real, strict=True)
        ]

    def compute(prediction: Any) -> dict[str, float]:
        ids = prediction.predictions
        if not isinstance(ids, np.ndarray) or ids.ndim != 2:
            raise ValueError("predictions are not token ids (utterances, targets); set predict_with_generate=True")
        pairs = {"predictions": texts(ids, ""), "references": texts(prediction.label_ids, UNKNOWN)}
        return {name: rate for metric in metrics for name, rate in metric.compute(**pairs).items()}

    return compute


def decode_with_unknown(tokenizer: Any, ids: list[int], unknown: str) -> str:
    """Decoded `ids` with `unknown` where the unknown token stands, as a symbol among the others, spaces and all."""
    dropped = set(tokenizer.all_special_ids) - ({tokenizer.unk_token_id} if unknown else set())
    kept = [token for token in ids if token not in dropped]
    symbols = tokenizer.convert_ids_to_tokens(kept)
    written = [unknown if token == tokenizer.unk_token_id else one for token, one in zip(kept, symbols, strict=True)]
    return tokenizer.convert_tokens_to_string(written)
