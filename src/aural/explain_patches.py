"""A clip's way through a patch transformer: `PatchSteps` from one run of a live model.

Notable here:
- patches are cut from the features as the model's own projection cuts them, and everything after is what the model's
  modules gave;
- of positions that are added, the cosine says how alike two places are. Rotary ones add nothing: queries and keys are
  turned, and what is said of two places is what the turning leaves of the product of two equal vectors.
"""

from typing import Any, cast

import numpy as np
import torch

from .explain_attention import patch_boxes
from .explain_calls import watched
from .explain_source import Query, Source, place_of
from .modeling.patches import filled_up
from .modeling.spectrogram_ctc import SpectrogramTransformerForCTC
from .modeling.spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
)
from .processing import AuralProcessor
from .processing.explained import PatchSteps
from .recognition import recognize_batch
from .tag_windows import check_scores, label_names

SHOWN = 4  # patches that are enlarged
POOLINGS = {
    "cls": "the class token",
    "cls_distillation": "the mean of class and distillation token",
    "mean": "the mean of all patches",
    "attention": "a mean of all patches, weighted by a learned query",
}
FRAME_POOLINGS = {
    "mean": "the mean of all moments",
    "max": "the highest of all moments",
    "linear_softmax": "the mean of all moments, each weighted by itself",
}


def cut_patches(source: Source) -> np.ndarray:
    """Patches as cut from the features, in the model's order: `(patches, mels, frames)`."""
    config = cast(Any, source.encoder).config
    (high, wide), (down, along) = config.patch_size, config.patch_stride
    features = filled_up(config, source.features)[0].float().cpu().numpy().T  # (mels, frames)
    every = np.lib.stride_tricks.sliding_window_view(features, (high, wide))[::down, ::along]
    return every.reshape(-1, high, wide)  # (rows * columns, mels, frames)


def loudest(patches: np.ndarray) -> int:
    """The place of the patch with the most energy, of `(patches, mels, frames)`."""
    return int(patches.mean((1, 2)).argmax())


@torch.no_grad()
def patch_steps(source: Source, query: Query | None = None) -> PatchSteps:
    """What becomes of the patches of a clip.

    Args:
        source: A model with an encoder of patches, and its sound.
        query: The place of the patch that is followed, `row * columns + column`, or its seconds and Hz; default: the
            loudest.

    Raises:
        ValueError: A model of another family, a patch that is not there, or numbers that are no scores.
    """
    encoder = source.encoder
    if encoder is None:
        raise ValueError(
            f"model is a {type(source.model).__name__}; `aural explain patches` draws a transformer of patches, and "
            "`aural explain las` Listen-Attend-Spell"
        )
    config = encoder.config
    columns, classes = config.time_patches(source.features.shape[1]), config.num_class_tokens or 0
    patches = cut_patches(source)
    boxes = patch_boxes(source, columns)
    query = loudest(patches) if query is None else place_of(query, boxes, source.sound)
    parts = {f"layer {i}": layer for i, layer in enumerate(encoder.layers)}
    with watched({"projection": encoder.embeddings.patch_projection, **parts}) as calls:
        maps = encoder.attention_maps(source.features)
    embeddings = calls["projection"][0].output.flatten(2)[0].T  # (patches, hidden)
    states = [calls["layer 0"][0].args[0], *(calls[name][0].output for name in parts)]
    norms = torch.stack([each[0, classes:].norm(dim=-1) for each in states])
    cut = encoder.embeddings.cut(encoder.prepare(source.features, None)[0], None)
    turned = calls["layer 0"][0].kwargs.get("rotary")
    positions = None if cut.positions is None else cut.positions[0].float()
    scores, clip_scores, pooled, text = _said(source, maps[f"layers.{len(encoder.layers) - 1}"])
    return PatchSteps(
        sound=source.sound,
        rows=config.frequency_patches,
        columns=columns,
        boxes=boxes,
        patches=patches,
        embeddings=embeddings.float().cpu().numpy(),
        position_kind=config.position_kind,
        positions=None if positions is None else positions.cpu().numpy(),
        alike=_alike(positions, turned, query, classes).cpu().numpy(),
        norms=norms.float().cpu().numpy(),
        maps=torch.stack([each[0, :, classes + query, classes:].mean(0) for each in maps.values()]).cpu().numpy(),
        class_tokens=classes,
        pooling=_pooling(source),
        pooled=pooled,
        labels=() if clip_scores is None else label_names(source.model),
        scores=scores,
        clip_scores=clip_scores,
        text=text,
        query=query,
        shown=_shown(patches, config.frequency_patches, query),
    )


def _alike(positions: torch.Tensor | None, turned: Any, query: int, classes: int) -> torch.Tensor:
    """How alike every place is to that of `query`, `(patches,)`."""
    if positions is not None:
        return torch.nn.functional.cosine_similarity(positions, positions[query][None], dim=-1)
    cosines, sines = (factor[0, 0, classes:].float() for factor in turned)  # (patches, head size)
    return (cosines * cosines[query] + sines * sines[query]).mean(-1)  # the cosine of what lies between two angles


def _shown(patches: np.ndarray, rows: int, query: int) -> tuple[int, ...]:
    """The followed patch, and of one row after the other the loudest at a moment not shown yet."""
    loud = patches.mean((1, 2)).reshape(rows, -1)
    row, column = divmod(query, loud.shape[1])
    places = [query]
    for step in range(1, min(SHOWN, loud.shape[1])):
        loud[:, column] = -np.inf
        other = (row + step) % rows
        column = int(loud[other].argmax())
        places.append(other * loud.shape[1] + column)
    return tuple(places)


def _pooling(source: Source) -> str:
    model = source.model
    if isinstance(model, SpectrogramTransformerForAudioFrameClassification):
        return FRAME_POOLINGS[model.config.frame_pooling]
    if isinstance(model, SpectrogramTransformerForAudioClassification):
        return POOLINGS[model.config.pooling]
    if isinstance(model, SpectrogramTransformerForCTC):
        return "a symbol or a blank of every column"
    return "a decoder reads all patches" if isinstance(source.processor, AuralProcessor) else "nothing is pooled"


def _said(source: Source, last: torch.Tensor) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None, str]:
    """Scores of moments, of the clip, the share of each patch in them, and the text: what the model has of these."""
    model = source.model
    if isinstance(source.processor, AuralProcessor):
        if model.can_generate():
            ids, _ = source.written()
            return None, None, None, source.processor.decode(ids[0].tolist())
        return None, None, None, recognize_batch([source.wave], model, source.processor)[0].text
    heads = (SpectrogramTransformerForAudioClassification, SpectrogramTransformerForAudioFrameClassification)
    if not isinstance(model, heads):
        return None, None, None, ""
    check_scores(model)
    outputs = model(source.features)
    if isinstance(model, SpectrogramTransformerForAudioFrameClassification):
        return outputs.logits[0].sigmoid().cpu().numpy(), outputs.clip_logits[0].sigmoid().cpu().numpy(), None, ""
    config: Any = model.config
    several = config.num_labels == 1 or config.problem_type == "multi_label_classification"
    scores = outputs.logits[0].sigmoid() if several else outputs.logits[0].softmax(-1)
    classes = config.num_class_tokens or 0
    pooled = last[0, :, 0, classes:].mean(0).cpu().numpy() if config.pooling in ("cls", "cls_distillation") else None
    return None, scores.cpu().numpy(), pooled, ""
