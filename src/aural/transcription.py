"""From audio files to text in one call: `transcribe`, and what it loads models with."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForSpeechSeq2Seq, AutoProcessor, PreTrainedModel

from .processing import AuralProcessor, load_audio


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
        ValueError: The vocabulary or the features do not fit the model.
    """
    path = Path(folder)
    if not str(folder).strip():
        raise ValueError(f"model={str(folder)!r} names nothing; give a model folder or a Hub id")
    if path.is_file():
        raise NotADirectoryError(f"{folder} is a file; a model is a folder with config.json, weights and processor")
    if path.is_dir() and not (path / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is not a model folder: it has no config.json")
    with _said_of(folder):
        config = AutoConfig.from_pretrained(folder)
        processor = AutoProcessor.from_pretrained(folder)
    _check_fit(config, processor, str(folder))  # before the weights, whose shapes would fail with a longer story
    with _said_of(folder), _no_conversion():
        model = AutoModelForSpeechSeq2Seq.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.to(device).eval(), processor


@contextmanager
def _said_of(folder: str | Path) -> Iterator[None]:
    """Whatever reading a folder raises becomes one line that names the folder and keeps the reason."""
    try:
        yield
    except Exception as error:  # damaged weights and JSON raise whatever their reader raises
        reason: BaseException = error
        if isinstance(error, StrictDataclassError) and error.__cause__ is not None:
            reason = error.__cause__  # the config's own words
        text = " ".join(str(reason).split()) or type(reason).__name__
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"cannot load a model from {folder}: {text}") from error


@contextmanager
def _no_conversion() -> Iterator[None]:
    """Pickled weights are refused; transformers would else ask a service to convert them, in public and unasked."""
    name = "DISABLE_SAFETENSORS_CONVERSION"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _check_fit(config: Any, processor: AuralProcessor, folder: str) -> None:
    """A model that loads beside another vocabulary would transcribe garbage without a word."""
    if not isinstance(processor, AuralProcessor):
        raise ValueError(f"{folder} holds a {type(processor).__name__}, not an AuralProcessor")
    symbols, rows = len(processor.tokenizer), config.vocab_size
    if symbols != rows:
        raise ValueError(f"{folder}: the tokenizer has {symbols} symbols but the model's vocab_size is {rows}")
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        ours, theirs = getattr(processor.tokenizer, name), getattr(config, name)
        if ours != theirs:
            raise ValueError(f"{folder}: the tokenizer's {name} is {ours} but the model's is {theirs}")
    mels, wanted = processor.feature_extractor.num_mel_bins, config.num_mel_bins
    if mels != wanted:
        raise ValueError(f"{folder}: the feature extractor gives {mels} mels but the model takes {wanted}")
    shift = processor.feature_extractor.seconds_per_frame * 1000
    if abs(shift - config.frame_shift_ms) > 1e-6:
        raise ValueError(
            f"{folder}: the feature extractor gives a frame every {shift:g} ms but the model's frame_shift_ms is "
            f"{config.frame_shift_ms:g}"
        )


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
