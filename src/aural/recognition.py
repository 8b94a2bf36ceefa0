"""Speech recognition of one batch, and the models that do it: what `transcribe` and long recordings are built on.

Two kinds of model write, each in a room of its own: those that spell (`spelling.py`) and those that say a symbol or
nothing at each moment (`ctc_recognition.py`). Both are a `Recognizer`, and whoever recognises asks for one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import MODEL_FOR_CTC_MAPPING, PreTrainedModel

from .ctc_recognition import CtcRecognizer
from .loading import load_writer
from .processing import AuralProcessor
from .spelling import SpellingRecognizer
from .transcript import Transcript


class Recognizer(Protocol):
    """A model with its processor that turns waves into texts."""

    def options(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Options for the other methods, with what was said by name loaded; one that the model lacks is refused."""

    def beams(self, options: Mapping[str, Any]) -> int:
        """Width of the search."""

    def texts(self, waves: Sequence[np.ndarray], options: Mapping[str, Any]) -> list[str]:
        """Texts alone."""

    def recognize(
        self, waves: Sequence[np.ndarray], sources: Sequence[str], options: Mapping[str, Any], nbest: int
    ) -> list[Transcript]:
        """A transcript of each wave."""


def recognizer_of(model: PreTrainedModel, processor: AuralProcessor) -> Recognizer:
    """What recognises with a model.

    Args:
        model: In eval mode.
        processor: Of the model.

    Raises:
        ValueError: The model does not write.
    """
    if model.can_generate():
        return SpellingRecognizer(model, processor)
    if MODEL_FOR_CTC_MAPPING.get(type(model.config), None) is not type(model):
        raise ValueError(f"model is a {type(model).__name__}, which does not recognise speech")
    return CtcRecognizer(model, processor)


def load_recognizer(folder: str | Path, device: str | torch.device = "cpu") -> tuple[PreTrainedModel, AuralProcessor]:
    """Load a speech recognition model and its processor from a folder or a Hub id.

    Args:
        folder: A folder that `save_pretrained` wrote, or an id on the Hub.
        device: Where the model goes.

    Raises:
        OSError: There is no such folder, or it holds no whole model.
        ValueError: The model is of another family, or the vocabulary or the features do not fit it.
    """
    return load_writer(folder, "transcribe", device)


@torch.inference_mode()
def recognize_batch(
    waves: Sequence[np.ndarray],
    model: PreTrainedModel,
    processor: AuralProcessor,
    generate_kwargs: Mapping[str, Any] | None = None,
    sources: Sequence[str] | None = None,
    nbest: int = 1,
) -> list[Transcript]:
    """Transcribe one batch of waves; the other ways into recognition are built on this.

    Args:
        waves: Each float32 `(samples,)` at the rate of the processor's feature extractor.
        model: In eval mode.
        processor: Of the model.
        generate_kwargs: For `model.generate`, such as `{"num_beams": 8}`, or for the search of a CTC model.
        sources: A name per wave; default: `"audio 0"`, …
        nbest: Texts to tell of each wave, at most as many as there are beams.

    Returns:
        One `Transcript` per wave, in order; times count from the start of its wave.

    Raises:
        ValueError: `nbest` is less than 1 or more than the beams, or the model does not write.
    """
    recognizer, options = recognizer_of(model, processor), dict(generate_kwargs or {})
    beams = recognizer.beams(options)
    if not 1 <= nbest <= beams:
        raise ValueError(f"nbest={nbest} must be in 1 to num_beams={beams}")
    names = [f"audio {index}" for index in range(len(waves))] if sources is None else sources
    return recognizer.recognize(waves, names, options, nbest)
