"""How good captions are: BLEU against several references, and how often one is met word by word.

    score_captions([["a dog barks", "a dog is barking"], ["rain"]], ["a dog barks", "rain falls"])["exact"]  # 0.5

What is notable here:

- BLEU is sacrebleu's (`pip install "aural[captions]"`), as captioning has it: of the corpus, on words as they stand,
  unsmoothed. A clip may have any number of references.
- Texts are compared as given: whoever normalises one side normalises the other.
- CIDEr-D and SPIDEr are not here. SPIDEr has SPICE in it, which every package runs in Java. aac-metrics, the kept
  package with a CIDEr-D of its own in Python, wants transformers below 5 (through msclap) and does not install beside
  this; pycocoevalcap, whose CIDEr-D would run, is unkept since 2020 and 100 MB of Java. The literature on Clotho tells
  SPIDEr: to compare with it, write the captions out (`aural caption --json`) and score them elsewhere.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .metrics import error_interval

ORDERS = (1, 2, 3, 4)
BLEU = tuple(f"bleu_{order}" for order in ORDERS)


def score_captions(references: Sequence[Sequence[str]], predictions: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """BLEU-1 to BLEU-4 and exact match, ready for JSON.

    Args:
        references: of each clip one or more captions.
        predictions: one of each clip, in the same order.
        seed: of the bootstrap over clips.

    Returns:
        `clips`; `bleu_1`, …, `bleu_4`, 0 to 1; `exact`, the share of clips whose caption is one of its references, and
        `exact_interval` (95%, low and high).

    Raises:
        ValueError: another number of predictions, none at all, or a clip without a reference.
        ImportError: sacrebleu is not installed.
    """
    check_references(references, predictions)
    exact = [text in texts for texts, text in zip(references, predictions, strict=True)]
    scores: dict[str, Any] = {"clips": len(predictions)}
    scores |= dict(zip(BLEU, corpus_bleu(references, predictions), strict=True))
    return {**scores, "exact": float(np.mean(exact)), "exact_interval": share_interval(exact, seed)}


def corpus_bleu(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> list[float]:
    """BLEU-1 to BLEU-4 of the corpus, 0 to 1 (Papineni et al. 2002, doi:10.3115/1073083.1073135).

    Args:
        references, predictions: as for `score_captions`.

    Raises:
        ValueError, ImportError: as `score_captions`.
    """
    check_references(references, predictions)
    metric = require_bleu()
    most = max(map(len, references))
    # sacrebleu has one list per reference, not per clip; None where a clip has fewer.
    streams = [[texts[place] if place < len(texts) else None for texts in references] for place in range(most)]
    return [
        metric(max_ngram_order=order, tokenize="none", smooth_method="none")
        .corpus_score(list(predictions), streams)
        .score
        / 100
        for order in ORDERS
    ]


def share_interval(right: Sequence[bool], seed: int) -> list[float]:
    """95% interval of the share of clips that are right, by a bootstrap over clips: low and high.

    Args:
        right: of each clip.
        seed: of the bootstrap.
    """
    return list(error_interval(np.asarray(right, dtype=np.int64), np.ones(len(right), dtype=np.int64), seed))


def check_references(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> None:
    """Refuse captions that cannot be scored.

    Raises:
        ValueError: as `score_captions`; a clip is named by its place.
    """
    if len(references) != len(predictions) or not predictions:
        raise ValueError(
            f"references are of {len(references)} clips and predictions of {len(predictions)}; give as many, at least "
            "one"
        )
    for index, texts in enumerate(references):
        if isinstance(texts, str) or not texts:
            raise ValueError(f"references[{index}] is {texts!r}; expected a list of captions, at least one")


def require_bleu() -> Callable[..., Any]:
    """sacrebleu's metric.

    Raises:
        ImportError: it is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU as Metric
    except ImportError as error:
        raise ImportError('BLEU needs sacrebleu: pip install "aural[captions]"') from error
    return Metric


def caption_metrics(processor: Any, references: Sequence[Sequence[str]]) -> Callable[[Any], dict[str, float]]:
    """A function for `Seq2SeqTrainer(compute_metrics=…)` with `predict_with_generate=True`, of clips with several
    references: a batch's labels hold only one of them.

    Args:
        processor: an `AuralProcessor`.
        references: of each clip of the evaluation set, in its order.

    Returns:
        A function of an `EvalPrediction` whose `predictions` are token ids `(clips, targets)`, that gives `bleu_1` to
        `bleu_4` and `exact`. It raises ValueError for logits or another number of clips.
    """

    def compute(prediction: Any) -> dict[str, float]:
        ids = prediction.predictions
        if not isinstance(ids, np.ndarray) or ids.ndim != 2:
            raise ValueError("predictions are not token ids (clips, targets); set predict_with_generate=True")
        scores = score_captions(references, processor.batch_decode(ids))
        return {name: scores[name] for name in (*BLEU, "exact")}

    return compute
