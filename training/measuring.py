"""Measuring a Trainer's model on a data set, by the kind of model: what it writes, which sounds it hears, or how much
of what was masked it tells.

Measured is the model as a loader gets it, by one process, item by item in order; nothing is drawn from the global
random generators, and nothing of a training amid which it happens is changed.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..modeling.sound_loss import problem_type
from ..modeling.spectrogram_pretraining import SpectrogramTransformerForPreTraining
from .adapters import is_adapter
from .caption_metrics import score_captions
from .caption_results import CaptionResult
from .collator import IGNORED_LABEL
from .masked_results import masked_result
from .metrics import UNKNOWN, decode_with_unknown, score_texts
from .sound_metrics import clip_labels
from .sound_results import tag_result
from .tag_scores import probabilities
from .texts import writes_text, written_ids


def check_measurable(trainer: Any) -> None:
    """A Trainer has what its model is measured with.

    Raises:
        ValueError: there is no evaluation set, or no processor that fits the model, or the model is one with adapters.
    """
    if is_adapter(trainer.model):
        raise ValueError("the model has adapters, and a card is of a whole model: merge_trained makes it one")
    if not trainer.eval_dataset:
        raise ValueError("eval_dataset is missing: a card needs results, measured on it")
    processor = trainer.processing_class
    if writes_text(trainer.model) and not hasattr(getattr(processor, "tokenizer", processor), "decode"):
        raise ValueError("processing_class has no tokenizer: give the processor, which turns ids into text")
    if processor is None:
        raise ValueError("processing_class is missing: give the feature extractor, without which no folder loads")


def measure(trainer: Any, dataset: Any) -> dict[str, Any]:
    """A result for a report, but for its `dataset`, `split` and `about`.

    Of a model that writes text: scores of its own `generate`, or of the best path of its CTC head, as `score_texts`
    gives them, and all `transcripts`; of clips with several texts each, `score_captions` and all `predictions`. Of a
    model that classifies: `tag_result` of its probabilities. Of one that fills in what is masked: `masked_result`.

    Raises:
        ValueError: The items have no labels, or none that a score can be counted from.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if fills_in(model):
        return _measure_masked(trainer, model, dataset)
    return (_measure_texts if writes_text(model) else _measure_tags)(trainer, model, dataset)


def fills_in(model: Any) -> bool:
    """Whether a model learns without labels, from what is masked."""
    return isinstance(model, SpectrogramTransformerForPreTraining)


def _measure_texts(trainer: Any, model: Any, dataset: Any) -> dict[str, Any]:
    tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    spoken, written = [], []
    for labels, ids in _answers(trainer, model, dataset, partial(written_ids, model)):
        # a symbol that the vocabulary lacks stays in the reference, where it counts as an error
        spoken += [decode_with_unknown(tokenizer, row[row != IGNORED_LABEL].tolist(), UNKNOWN) for row in labels]
        written += [decode_with_unknown(tokenizer, row[row != IGNORED_LABEL].tolist(), "") for row in ids]
    if (references := getattr(dataset, "references", None)) is not None:
        named = zip(clip_names(dataset), references, written, strict=True)
        captions = [{"name": name, "references": texts, "caption": caption} for name, texts, caption in named]
        return {"kind": CaptionResult.kind, **score_captions(references, written), "predictions": captions}
    pairs = [{"spoken": one, "written": other} for one, other in zip(spoken, written, strict=True)]
    return {**score_texts(spoken, written), "transcripts": pairs}


def _measure_tags(trainer: Any, model: Any, dataset: Any) -> dict[str, Any]:
    def logits(**batch: torch.Tensor) -> torch.Tensor:
        output = model(**batch)
        scores = getattr(output, "clip_logits", None)  # of a head that scores moments
        return output.logits if scores is None else scores  # (batch, labels)

    found, scores, kind = [], [], ""
    for labels, values in _answers(trainer, model, dataset, logits):
        kind = problem_type(model.config, labels)
        found.append(clip_labels(labels.cpu().numpy()))
        scores.append(values.float().cpu().numpy())
    classes = [str(model.config.id2label[index]) for index in range(model.config.num_labels)]
    shares = probabilities(np.concatenate(scores), kind)
    return tag_result(clip_names(dataset), np.concatenate(found), shares, classes, kind)


def _measure_masked(trainer: Any, model: Any, dataset: Any) -> dict[str, Any]:
    """Clip by clip, masked as an evaluation amid training is: by seed and place."""
    patches, losses = [], []
    for batch in _batches(trainer, model, dataset, size=1):
        patches.append(int((batch["labels"] != IGNORED_LABEL).sum()))
        with torch.inference_mode():
            losses.append(float(model(**batch).loss))
    return masked_result(clip_names(dataset), patches, losses)


def _answers(
    trainer: Any, model: Any, dataset: Any, answer: Callable[..., torch.Tensor]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Labels and answers of each batch, in the order of the data set."""
    for batch in _batches(trainer, model, dataset, trainer.args.eval_batch_size):
        if (labels := batch.pop("labels", None)) is None:
            raise ValueError("the items of eval_dataset have no labels: a card's results need them")
        with torch.inference_mode():
            answers = answer(**batch)
        yield labels, answers


def _batches(trainer: Any, model: Any, dataset: Any, size: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches in the order of the data set, on the model's device, which is in eval mode meanwhile."""
    collator = trainer._get_collator_with_removed_columns(trainer.data_collator, description="evaluation")
    generator = torch.Generator()  # a loader without one draws from the global generator
    loader = DataLoader(dataset, size, collate_fn=collator, generator=generator)
    training = model.training
    model.eval()
    try:
        for batch in loader:
            yield {name: value.to(model.device) for name, value in batch.items()}
    finally:
        model.train(training)


def clip_names(dataset: Any) -> list[str]:
    """What to call each clip: its file's name where the rows behind a data set tell it, else its number."""
    rows = getattr(dataset, "dataset", None)
    names = []
    for index in range(len(dataset)):
        audio = rows[index].get("audio") if rows is not None else None
        path = audio.get("path") if isinstance(audio, Mapping) else audio if isinstance(audio, str) else None
        names.append(PurePath(path).name if path else f"clip {index + 1}")
    return names
