"""What is heard, in a sentence: `caption`, for audio files of any length, and what it loads models with.

- A recording up to the length that the model was trained on gets one caption. A longer one is cut into windows of that
  length, the last of which reaches back to have it too: one caption per window, with its times.
- The encoder hears a batch once. `generate` writes the captions, and one pass of the decoder over them gives every
  word's probability and where it looked, on the grid of patches, in seconds and Hz.
- Only one batch of windows lies in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from .loading import load_writer
from .modeling.maps import as_grid
from .modeling.spectrogram_seq2seq import SpectrogramTransformerForConditionalGeneration
from .processing import AuralProcessor
from .processing.alignment import confidence, word_tokens
from .processing.grid import PatchGrid, patch_grid
from .processing.streaming import open_stream
from .result_html import caption_html

MAX_SECONDS = 30.0  # of a window, unless the model's generation_config sets another `max_seconds`; Clotho's longest

CaptionModel = SpectrogramTransformerForConditionalGeneration
Progress = Callable[[float, float | None], None]


@dataclass(frozen=True, eq=False)
class CaptionWord:
    """One word of a caption.

    Attributes:
        text: As it stands in the caption.
        confidence: Geometric mean of the probabilities of its tokens, 0 to 1.
        attention: Where it looked, float32 `(rows, columns)`, which sums to 1: mean over its tokens and the heads of
            the last decoder layer.
    """

    text: str
    confidence: float
    attention: np.ndarray


@dataclass(frozen=True, eq=False)
class Caption:
    """What is heard in one recording, or in one window of it.

    Attributes:
        text: The caption.
        source: The file, or `"audio 0"`, … for audio given otherwise.
        start, end: Seconds from the start of the recording.
        words: Of the caption, in order.
        grid: Where rows and columns of the words' attention lie, in Hz and in seconds from `start`.
        confidence: Geometric mean of the probabilities of all tokens, the end among them, 0 to 1.
        alternatives: Captions and their scores, best first, `text` among them, when several were asked for.
    """

    text: str
    source: str
    start: float
    end: float
    words: tuple[CaptionWord, ...]
    grid: PatchGrid
    confidence: float
    alternatives: tuple[tuple[str, float], ...] = ()

    @property
    def seconds(self) -> float:
        """Length of what was heard."""
        return self.end - self.start

    def _repr_html_(self) -> str:
        """For notebooks."""
        return caption_html(self)


@dataclass(frozen=True, eq=False)
class AudioWindow:
    """A part of a recording.

    Attributes:
        source: Name of the recording.
        start: Seconds from its start.
        wave: float32 `(samples,)`.
        promised: Length of the recording in seconds, as its header tells it.
    """

    source: str
    start: float
    wave: np.ndarray
    promised: float | None


def load_captioner(folder: str | Path, device: str | torch.device = "cpu") -> tuple[CaptionModel, AuralProcessor]:
    """Load a model that captions, and its processor, from a folder or a Hub id.

    Args:
        folder: A folder that `save_pretrained` of both wrote, or an id on the Hub.
        device: Where the model goes.

    Raises:
        OSError: There is no such folder, or it holds no whole model.
        ValueError: The model is of another family, or the vocabulary or the features do not fit it.
    """
    model, processor = load_writer(folder, "caption", device)
    return cast(CaptionModel, model), processor


def longest_window(model: CaptionModel, max_seconds: float | None = None) -> float:
    """Seconds of audio that a model hears at once.

    Args:
        model: Its `generation_config.max_seconds` decides, where there is one; else it is 30.
        max_seconds: Decides before it.

    Raises:
        ValueError: Not a number of seconds above 0.
    """
    chosen = max_seconds
    if chosen is None:
        chosen = getattr(model.generation_config, "max_seconds", None) or MAX_SECONDS
    if not 0 < chosen < float("inf"):
        raise ValueError(f"max_seconds={chosen!r} must be a number of seconds above 0")
    return float(chosen)


def caption(
    audio: Any,
    model: str | Path | CaptionModel,
    processor: AuralProcessor | None = None,
    batch_size: int = 8,
    nbest: int = 1,
    max_seconds: float | None = None,
    progress: Progress | None = None,
    **generate_kwargs: Any,
) -> list[Caption]:
    """Say what is heard in audio files or arrays of any length.

    Args:
        audio: What `load_audio` reads (a path, bytes, an array, …), or a list or tuple of such.
        model: A model folder or Hub id, or a model that is loaded already.
        processor: Needed with a loaded model.
        batch_size: Windows captioned together.
        nbest: Captions to tell of each window, in `Caption.alternatives`; more than one takes as many beams.
        max_seconds: Longer recordings are cut into windows of this length. Default: the model's
            `generation_config.max_seconds`, else 30.
        progress: Called after each batch with the seconds heard of a recording and its length (None if its header
            tells none).
        generate_kwargs: For `model.generate`, such as `num_beams=8`, `no_repeat_ngram_size=3` or
            `repetition_penalty=1.2`; the model's `generation_config` may say them too.

    Returns:
        One `Caption` per recording, in order, or several in a row of a longer one.

    Raises:
        OSError: A file or the model folder cannot be read.
        TypeError: The model is none that captions.
        ValueError: A recording is not audio, the model does not fit its processor, or `nbest` is more than the beams.

    Example:
        >>> from aural import caption
        >>> caption("yard.wav", "demo-captions/model")[0].text  # doctest: +SKIP
        'a dog then two snares'
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    if isinstance(model, str | Path):
        model, processor = load_captioner(model)
    if not isinstance(model, CaptionModel):
        raise TypeError(f"model: {type(model).__name__}; allowed are a folder and {CaptionModel.__name__}")
    if processor is None:
        raise ValueError("processor=None: a loaded model needs its processor")
    longest, rate = longest_window(model, max_seconds), processor.feature_extractor.sampling_rate
    sources = list(audio) if isinstance(audio, list | tuple) else [audio]
    names = [str(one) if isinstance(one, str | Path) else f"audio {index}" for index, one in enumerate(sources)]
    windows = chain.from_iterable(
        audio_windows(source, name, rate, longest) for source, name in zip(sources, names, strict=True)
    )
    found: list[Caption] = []
    for batch in _batches(windows, batch_size):
        found += caption_batch(batch, model, processor, generate_kwargs, nbest)
        if progress is not None:
            progress(found[-1].end, batch[-1].promised)
    return found


def audio_windows(source: Any, name: str, sampling_rate: int, seconds: float) -> Iterator[AudioWindow]:
    """A recording cut into windows as it is read: a short one whole; of a longer one the last reaches back.

    Args:
        source: As `load_audio` takes it.
        name: Of the recording.
        sampling_rate: Of the windows, in Hz.
        seconds: Length of a window at most.

    Raises:
        OSError, ValueError, TypeError: As `load_audio`; for faults inside the samples once they are reached.
    """
    size = max(1, round(seconds * sampling_rate))
    with open_stream(source, sampling_rate) as stream:
        held, before, at = np.zeros(0, np.float32), np.zeros(0, np.float32), 0  # `before` ends where `held` starts
        for block in stream.blocks:
            held = np.concatenate([held, block])
            while len(held) > size:
                yield AudioWindow(name, at / sampling_rate, held[:size], stream.seconds)
                before, held, at = held[:size], held[size:], at + size
        reached = min(size - len(held), len(before))
        wave = np.concatenate([before[len(before) - reached :], held])
        yield AudioWindow(name, (at - reached) / sampling_rate, wave, stream.seconds)


@torch.inference_mode()
def caption_batch(
    windows: Sequence[AudioWindow],
    model: CaptionModel,
    processor: AuralProcessor,
    generate_kwargs: Mapping[str, Any] | None = None,
    nbest: int = 1,
) -> list[Caption]:
    """Caption one batch of windows; `caption` is built on this.

    Args:
        windows: At the rate of the processor's feature extractor.
        model: In eval mode.
        processor: Of the model.
        generate_kwargs: For `model.generate`.
        nbest: Captions to tell of each window, at most as many as there are beams.

    Raises:
        ValueError: `nbest` is less than 1 or more than the beams.
    """
    options = dict(generate_kwargs or {})
    beams = options.get("num_beams") or (options.get("generation_config") or model.generation_config).num_beams or 1
    if not 1 <= nbest <= beams:
        raise ValueError(f"nbest={nbest} must be in 1 to num_beams={beams}")
    extractor = processor.feature_extractor
    inputs = processor(
        audio=[window.wave for window in windows], sampling_rate=extractor.sampling_rate, return_tensors="pt"
    ).to(model.device)
    features, mask = inputs["input_features"], inputs["attention_mask"]
    heard = model.listen(features, mask)
    options |= {"num_return_sequences": nbest, "return_dict_in_generate": True, "output_scores": nbest > 1}
    written = cast(Any, model).generate(features, attention_mask=mask, encoder_outputs=heard, **options)
    rows = written.sequences[:, 1:]  # without the start token
    captions = _told(windows, model, processor, (heard, mask), rows[::nbest])
    if nbest == 1:
        return captions
    return [
        replace(one, alternatives=_alternatives(written, rows, i, nbest, model, processor))
        for i, one in enumerate(captions)
    ]


@torch.inference_mode()
def read_caption(window: AudioWindow, ids: Sequence[int], model: CaptionModel, processor: AuralProcessor) -> Caption:
    """The caption of a window as if the model had written it: what is in doubt is seen in confidence and attention.

    Args:
        window: At the rate of the processor's feature extractor.
        ids: Tokens of the caption, `<eos>` last.
        model: In eval mode.
        processor: Of the model.
    """
    inputs = processor(
        audio=[window.wave], sampling_rate=processor.feature_extractor.sampling_rate, return_tensors="pt"
    ).to(model.device)
    mask = inputs["attention_mask"]
    heard = model.listen(inputs["input_features"], mask)
    return _told([window], model, processor, (heard, mask), torch.tensor([list(ids)], device=model.device))[0]


def _told(
    windows: Sequence[AudioWindow],
    model: CaptionModel,
    processor: AuralProcessor,
    listened: tuple[Any, torch.Tensor],
    rows: torch.Tensor,
) -> list[Caption]:
    """What is told of windows, heard with a mask `(batch, frames)`, whose captions are `rows` `(batch, targets)`."""
    (heard, mask), extractor = listened, processor.feature_extractor
    maps, chances = _read_again(model, heard, mask, rows)
    results = []
    for i, window in enumerate(windows):
        ids, frames = _until_end(rows[i].tolist(), model), int(mask[i].sum())
        grid = patch_grid(model.config.encoder, extractor, frames)
        attention = maps[i, : len(ids), :, : len(grid.seconds)].cpu().numpy()
        likely = chances[i, : len(ids)].cpu().numpy()
        results.append(
            Caption(
                text=processor.decode(ids),
                source=window.source,
                start=window.start,
                end=window.start + len(window.wave) / extractor.sampling_rate,
                words=_words(ids, attention, likely, processor),
                grid=grid,
                confidence=confidence(likely),
            )
        )
    return results


def _read_again(
    model: CaptionModel, heard: Any, mask: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention `(batch, targets, rows, columns)` of the last layer, and probability `(batch, targets)`, of texts."""
    outputs = model(
        attention_mask=mask,
        encoder_outputs=heard,
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(labels),
        output_attentions=True,
        use_cache=False,
    )
    chances = outputs.logits.float().softmax(-1).gather(-1, labels[..., None])[..., 0]
    seen = as_grid(outputs.cross_attentions[-1].float().mean(1), model.config.encoder)
    return seen / seen.sum((-2, -1), keepdim=True).clamp(min=1e-9), chances  # class tokens have no place on the grid


def _until_end(ids: list[int], model: CaptionModel) -> list[int]:
    """Tokens up to and with the first `<eos>`; what follows only fills the row."""
    ends = [place for place, token in enumerate(ids) if token in model.config.end_ids]
    return ids[: ends[0] + 1] if ends else ids


def _words(
    ids: list[int], attention: np.ndarray, chances: np.ndarray, processor: AuralProcessor
) -> tuple[CaptionWord, ...]:
    """The words of a caption from the attention `(tokens, rows, columns)` and probability of its tokens."""
    return tuple(
        CaptionWord(
            word.text,
            confidence(chances[word.first : word.last]),
            attention[word.first : word.last].mean(axis=0),
        )
        for word in word_tokens(ids, processor.decode)
    )


def _alternatives(
    written: Any, rows: torch.Tensor, index: int, nbest: int, model: CaptionModel, processor: AuralProcessor
) -> tuple[tuple[str, float], ...]:
    places = range(index * nbest, (index + 1) * nbest)
    texts = [processor.decode(_until_end(rows[place].tolist(), model)) for place in places]
    return tuple((text, float(written.sequences_scores[place])) for text, place in zip(texts, places, strict=True))


def _batches(items: Iterable[AudioWindow], size: int) -> Iterator[list[AudioWindow]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
