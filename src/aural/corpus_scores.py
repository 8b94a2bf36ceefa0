"""What the annotated rows of a corpus are worth, where the corpus says what is right: error rates, mean precision."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from datasets import Features

from .annotation import Annotator
from .annotators import Tagger, Transcriber
from .corpus_shards import Shards
from .loading import load_config
from .tag_windows import names_by_id
from .training.metrics import count_edits, error_interval, error_rate
from .training.normalization import load_normalization, normalize_text
from .training.sound_data import SEPARATOR
from .training.sound_labels import class_names, find_ids, label_ids, label_vector
from .training.tag_scores import MULTI, SINGLE, measure_tags, positives

MOST_SCORES = 50_000_000  # clips times labels that are held at once: 400 MB


def scores_of_shards(annotator: Annotator, shards: Shards, column: str) -> dict[str, Any]:
    """The scores of all rows that were heard and have a reference, ready for JSON.

    Args:
        annotator: A `Transcriber` or `Tagger`, whose rows they are.
        shards: All there.
        column: Of the references.

    Returns:
        `scored` rows and the metrics; or `unscored`, the reason why there are none.
    """
    try:
        if isinstance(annotator, Transcriber):
            return _text_scores(annotator, shards, column)
        assert isinstance(annotator, Tagger)
        return _tag_scores(annotator, shards, column)
    except ValueError as error:
        return {"unscored": " ".join(str(error).split())}


def _text_scores(annotator: Transcriber, shards: Shards, column: str) -> dict[str, Any]:
    """Word and character error rate with 95% intervals; references are written as the model learnt to write."""
    normalization = load_normalization(annotator.model) if Path(annotator.model).is_dir() else "none"
    counts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"word": [], "character": []}
    scored = 0
    for shard in range(len(shards)):
        columns = shards.columns(shard, [column, "predicted_text", "error"])
        references, predictions = [], []
        for text, heard, error in zip(columns[column], columns["predicted_text"], columns["error"], strict=True):
            written = normalize_text(text, normalization) if isinstance(text, str) and not error else None
            if written is not None:
                references.append(written)
                predictions.append(heard)
        if references:
            scored += len(references)
            for unit, parts in counts.items():
                parts.append(count_edits(references, predictions, unit))
    if not scored:
        raise ValueError(f"no row has a text in {column!r} and was heard")
    scores: dict[str, Any] = {"scored": scored, "normalization": normalization}
    for unit, name in (("word", "wer"), ("character", "cer")):
        edits = np.concatenate([edits.sum(axis=1) for edits, _ in counts[unit]])
        units = np.concatenate([units for _, units in counts[unit]])
        scores[name] = error_rate(edits, units)
        scores[f"{name}_interval"] = list(error_interval(edits, units, seed=0))
    return scores


def _tag_scores(annotator: Tagger, shards: Shards, column: str) -> dict[str, Any]:
    """Accuracy and mean average precision, as `measure_tags` gives them; labels are matched by name."""
    config = load_config(annotator.model, "tag")
    ids = label_ids(names_by_id(config))
    if annotator.top_k is not None and annotator.top_k < len(ids):
        raise ValueError(f"--top-k {annotator.top_k} of {len(ids)} labels were kept; all are needed for scores")
    if shards.rows * len(ids) > MOST_SCORES:
        raise ValueError(f"{shards.rows:,} rows of {len(ids)} labels are too many to score at once")
    features = Features({"label": shards.features()[column]})
    classes = class_names(SimpleNamespace(features=features))
    present, scores = [], []
    for shard in range(len(shards)):
        columns = shards.columns(shard, [column, "predicted_labels", "predicted_scores", "error"])
        for value, labels, numbers, error in zip(*columns.values(), strict=True):
            if error or value is None or (value == "" and config.problem_type != MULTI):
                continue  # for a model of several labels at once, an empty cell says that there is none
            names = value.split(SEPARATOR) if isinstance(value, str) else value
            found = [name.strip() for name in names if name.strip()] if isinstance(value, str) else value
            row = np.empty(len(ids))
            row[[ids[label] for label in labels]] = numbers
            scores.append(row)
            present.append(label_vector(find_ids(found, ids, True, classes), len(ids)))
    if not scores:
        raise ValueError(f"no row has a label in {column!r} and was heard")
    several = config.problem_type == MULTI or any(row.sum() != 1 for row in present)
    problem = MULTI if several else SINGLE
    measured = measure_tags(positives(np.array(present), len(ids), problem), np.array(scores), problem)
    return {"scored": len(scores), **{name: value for name, value in measured.items() if np.isfinite(value)}}
