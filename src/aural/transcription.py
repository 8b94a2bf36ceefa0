"""From audio files to text in one call: `transcribe`, and what it loads models with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor, PreTrainedModel

from .loading import load_config, no_conversion
from .processing import AuralProcessor, load_audio
from .processing.folders import check_features_fit, check_tokenizer_fits, said_of


@dataclass(frozen=True)
class Transcript:
    """The text of one clip.

    Attributes:
        text: What the model wrote.
        seconds: Length of the audio.
        source: The file, or `"audio 0"`, … for audio given otherwise.
        alignment: Attention `(tokens, listener frames)` of each written token, `<eos>` last; one head, or their mean.
            One column, all ones, from a model without attention (`attention_kind="none"`).
        tokens: The written tokens, as the tokenizer names them.
        seconds_per_frame: Seconds per listener frame of `alignment`.
    """

    text: str
    seconds: float
    source: str
    alignment: torch.Tensor
    tokens: tuple[str, ...]
    seconds_per_frame: float


def load_recognizer(folder: str | Path, device: str | torch.device = "cpu") -> tuple[PreTrainedModel, AuralProcessor]:
    """Load a speech recognition model and its processor from a folder or a Hub id.

    Args:
        folder: A folder that `save_pretrained` wrote, or an id on the Hub.
        device: Where the model goes.

    Raises:
        OSError: There is no such folder, or it holds no whole model.
        ValueError: The model is of another family, or the vocabulary or the features do not fit it.
    """
    config = load_config(folder, "transcribe")
    with said_of(folder):
        processor = AutoProcessor.from_pretrained(folder)
    _check_fit(config, processor, str(folder))  # before the weights, whose shapes would fail with a longer story
    with said_of(folder), no_conversion():
        model = AutoModelForSpeechSeq2Seq.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.to(device).eval(), processor


def _check_fit(config: Any, processor: Any, folder: str) -> None:
    if not isinstance(processor, AuralProcessor):
        raise ValueError(f"{folder} holds a {type(processor).__name__}, not an AuralProcessor")
    check_tokenizer_fits(config, processor.tokenizer, folder)
    check_features_fit(config, processor.feature_extractor, folder)


def transcribe(
    audio: Any,
    model: str | Path | PreTrainedModel,
    processor: AuralProcessor | None = None,
    batch_size: int = 8,
    **generate_kwargs: Any,
) -> list[Transcript]:
    """Transcribe audio files or arrays.

    Args:
        audio: What `load_audio` reads (a path, bytes, an array, …), or a list or tuple of such.
        model: A model folder or Hub id, or a model that is loaded already.
        processor: Needed with a loaded model.
        batch_size: Clips decoded together.
        generate_kwargs: For `model.generate`, such as `num_beams=8`.

    Returns:
        One `Transcript` per clip, in order.

    Raises:
        OSError: A file or the model folder cannot be read.
        ValueError: A clip is not audio, the model does not fit its processor, or an option asks for several texts.

    Example:
        >>> from aural import transcribe
        >>> transcribe("seven.wav", "demo/model")[0].text  # doctest: +SKIP
        'seven'
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    for name, one_text in (("num_return_sequences", 1), ("return_dict_in_generate", False)):
        if (asked := generate_kwargs.get(name) or one_text) != one_text:
            raise ValueError(f"{name}={asked}: transcribe gives one text per clip; use model.generate")
    if not isinstance(model, PreTrainedModel):
        model, processor = load_recognizer(model)
    if processor is None:
        raise ValueError("processor=None: a loaded model needs its processor")
    sources = list(audio) if isinstance(audio, list | tuple) else [audio]
    results: list[Transcript] = []
    for batch in _batches(sources, batch_size):
        results += _transcribe_batch(batch, len(results), model, processor, generate_kwargs)
    return results


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _until_end(ids: list[int], eos_token_id: int) -> list[int]:
    """Tokens up to and with the first `<eos>`; what follows only fills the row."""
    return ids[: ids.index(eos_token_id) + 1] if eos_token_id in ids else ids


@torch.inference_mode()
def _transcribe_batch(
    sources: Sequence[Any], start: int, model: PreTrainedModel, processor: AuralProcessor, generate_kwargs: dict
) -> list[Transcript]:
    rate = processor.feature_extractor.sampling_rate
    waves = [load_audio(source, rate) for source in sources]
    inputs = processor(audio=waves, sampling_rate=rate, return_tensors="pt").to(model.device)
    features, mask = inputs["input_features"], inputs["attention_mask"]
    labels = cast(Any, model).generate(features, attention_mask=mask, **generate_kwargs)[
        :, 1:
    ]  # without the start token
    maps = (
        cast(Any, model).attention_maps(features, mask, labels=labels)["speller"].mean(1)
    )  # (batch, targets, listener frames)
    results = []
    for i, (source, wave) in enumerate(zip(sources, waves, strict=True)):
        ids = _until_end(labels[i].tolist(), model.config.eos_token_id)
        frames = -(-int(mask[i].sum()) // model.config.time_reduction)
        results.append(
            Transcript(
                text=processor.decode(ids),
                seconds=len(wave) / rate,
                source=str(source) if isinstance(source, str | Path) else f"audio {start + i}",
                alignment=maps[i, : len(ids), :frames].cpu(),
                tokens=tuple(processor.tokenizer.convert_ids_to_tokens(ids)),
                seconds_per_frame=model.config.seconds_per_listener_frame,
            )
        )
    return results
