"""Which classes a fine-tuning knows, and which folders each can start from.

- A family shares an encoder: a head that its base lacks is new, what both have keeps its weights.
- The patch transformer that writes has a model type of its own, and its encoder is of the other heads' family: each is
  a base of the other.
"""

from typing import Any

from ..modeling.las import LasForConditionalGeneration, LasModel
from ..modeling.spectrogram_ctc import SpectrogramTransformerForCTC
from ..modeling.spectrogram_pretraining import SpectrogramTransformerForPreTraining
from ..modeling.spectrogram_seq2seq import SpectrogramTransformerForConditionalGeneration
from ..modeling.spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
)
from .typed import nearest

TRAINABLE: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        LasForConditionalGeneration,
        SpectrogramTransformerForAudioClassification,
        SpectrogramTransformerForAudioFrameClassification,
        SpectrogramTransformerForCTC,
        SpectrogramTransformerForConditionalGeneration,
        SpectrogramTransformerForPreTraining,
    )
}
HEADLESS: dict[str, Any] = {kind.__name__: kind for kind in (LasModel, SpectrogramTransformerModel)}
WRITING = (  # their folders hold a tokenizer
    LasModel,
    LasForConditionalGeneration,
    SpectrogramTransformerForCTC,
    SpectrogramTransformerForConditionalGeneration,
)
CONVERTIBLE = "audio-spectrogram-transformer"
ENCODER, DECODER = "encoder", "decoder"  # configs within the config of a model that has both


def saved_class(settings: dict[str, Any]) -> Any:
    """The class whose weights a folder holds, by its config.json; None for one that this aural does not know."""
    return (TRAINABLE | HEADLESS).get((settings.get("architectures") or [""])[0])


def encodes_for(kind: Any) -> str:
    """The model type of a class's encoder, where that is another than its own."""
    return getattr(kind.config_class, "sub_configs", {}).get(ENCODER, kind.config_class).model_type


def class_of(settings: dict[str, Any], architecture: str | None, source: Any) -> Any:
    """The class to load a base with, which shares at least the encoder with what was saved.

    Args:
        settings: The base's config.json.
        architecture: What is wanted; None: what was saved.
        source: What errors call the base.

    Raises:
        ValueError: There is no such class, or it shares nothing with the base.
    """
    model_type = settings.get("model_type")
    found = (settings.get("architectures") or [f"model of type {model_type!r}"])[0]
    if architecture is not None and architecture not in TRAINABLE:
        near = nearest(architecture, TRAINABLE)
        raise ValueError(f"architecture={architecture!r};{near} allowed: {', '.join(TRAINABLE)}")
    families = {kind.config_class.model_type for kind in TRAINABLE.values()}
    if model_type not in families:
        hint = "; `aural convert` makes a base of it" if model_type == CONVERTIBLE else ""
        raise ValueError(f"{source} holds a {found}, which is none of {', '.join(TRAINABLE)}{hint}")
    if architecture is None:
        if found not in TRAINABLE:
            raise ValueError(f"{source} holds a {found}: name the architecture, one of {', '.join(TRAINABLE)}")
        return TRAINABLE[found]
    kind = TRAINABLE[architecture]
    saved = saved_class(settings)
    if encodes_for(kind) != (encodes_for(saved) if saved is not None else model_type):
        raise ValueError(f"{source} holds a {found}, which is no base for {architecture}: they share no weights")
    if saved is None:
        raise ValueError(f"{source} holds a {found}, which this aural does not know")
    return kind
