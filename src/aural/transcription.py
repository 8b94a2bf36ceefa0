"""From audio files to text in one call: `transcribe`, for recordings of any length."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from .long_audio import longest_stretch, transcribe_recordings
from .processing import AuralProcessor
from .recognition import load_recognizer, recognize_batch, recognizer_of
from .transcript import Transcript


def transcribe(
    audio: Any,
    model: str | Path | PreTrainedModel,
    processor: AuralProcessor | None = None,
    batch_size: int = 8,
    nbest: int = 1,
    max_seconds: float | None = None,
    vad: str = "energy",
    **generate_kwargs: Any,
) -> list[Transcript]:
    """Transcribe audio files or arrays of any length.

    Args:
        audio: What `load_audio` reads (a path, bytes, an array, …), or a list or tuple of such.
        model: A model folder or Hub id, or a model that is loaded already.
        processor: Needed with a loaded model.
        batch_size: Clips decoded together.
        nbest: Texts to tell of each clip, in `Transcript.alternatives`; more than one takes as many beams.
        max_seconds: Longer recordings are cut at their pauses (`long_audio.py`), and have no alignment and no
            alternatives. Default: the model's `generation_config.max_seconds`, else 15.
        vad: What finds the pauses: "energy", or "silero" with the package silero-vad.
        generate_kwargs: For `model.generate`, such as `num_beams=8`; `lm`, `ngram` and `hot_words` may be given by
            name (`decoding_options`). For a CTC model `num_beams`, `ngram`, `lexicon`, `hot_words` and their like
            (`CtcRecognizer.options`); without any, its best path is taken.

    Returns:
        One `Transcript` per clip, in order.

    Raises:
        OSError: A file or the model folder cannot be read.
        ValueError: A clip is not audio, the model does not fit its processor, `nbest` is more than the beams, or an
            option asks for several texts in another way.

    Example:
        >>> from aural import transcribe
        >>> transcribe("seven.wav", "demo/model")[0].text  # doctest: +SKIP
        'seven'
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    for name, one_text in (("num_return_sequences", 1), ("return_dict_in_generate", False)):
        if (asked := generate_kwargs.get(name) or one_text) != one_text:
            raise ValueError(f"{name}={asked}: transcribe gives one text per clip, and others by nbest")
    if not isinstance(model, PreTrainedModel):
        model, processor = load_recognizer(model)
    if processor is None:
        raise ValueError("processor=None: a loaded model needs its processor")
    sources = list(audio) if isinstance(audio, list | tuple) else [audio]
    options = recognizer_of(model, processor).options(generate_kwargs)

    def recognize(waves: Sequence[np.ndarray], names: Sequence[str]) -> list[Transcript]:
        return recognize_batch(waves, model, processor, options, names, nbest)

    rate = processor.feature_extractor.sampling_rate
    return transcribe_recordings(sources, recognize, rate, longest_stretch(model, max_seconds), vad, batch_size)
