"""Look at a recording with a model: what it hears, and where it looks, in seconds and Hz.

    from aural import look, plots

    seen = look("seven.wav", "models/las")
    seen.text, seen.words, seen.maps["alignment"].weights.shape
    plots.figure(seen).savefig("seven.png")
    seen  # in a notebook: a page with audio, a moving cursor, and weights under the mouse

Notable here:
- One call for every model: LAS and text decoders (a text, and where each token looked), CTC (a text with times, and
  self-attention), clip and frame taggers (labels, events, self-attention).
- `text` forces what is written: what does the model attend to when it is made to say a word that was not said?
- Weights are those of `attention_maps` for this clip alone; pictures (`plots.py`) and page (`attention_page.py`) are
  made from a `Look`, and compute nothing of their own.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from .captioning import AudioWindow, Caption, CaptionModel, longest_window, read_caption
from .ctc_recognition import CtcRecognizer
from .following import follow
from .loading import load_config, load_writer
from .long_audio import longest_stretch
from .look_data import Look, LookedWord
from .look_maps import LazyMaps, Map, alignment_map, crossed_makers, spectrogram_makers, token_queries
from .processing import AuralProcessor, LogMelFeatureExtractor, load_audio
from .processing.alignment import TimedWord, word_tokens
from .processing.events import THRESHOLD
from .processing.grid import patch_grid
from .processing.log_mel import mel_edges
from .processing.phonemes import BORDER
from .processing.tokenizers import unit_of
from .recognition import recognize_batch, recognizer_of
from .tag_windows import HEADS as TAGGERS
from .tag_windows import WindowPlan, is_framewise
from .tagging import load_tagger, tag
from .transcript import Transcript

TASKS = ("transcribe", "caption")
SOUNDS: Any = tuple(TAGGERS.values())  # classes of models that tag


def load_looker(
    folder: str | Path, device: str | torch.device = "cpu"
) -> tuple[PreTrainedModel, AuralProcessor | LogMelFeatureExtractor]:
    """Load any model that can be looked at, with its processor or, of a tagger, its feature extractor.

    Args:
        folder: A folder that `save_pretrained` of both wrote, or an id on the Hub.
        device: Where the model goes.

    Raises:
        OSError: There is no such folder, or it holds no whole model.
        ValueError: The model is of another family, or what it comes with does not fit it.
    """
    config = load_config(folder, "attention")
    heads = config.architectures or [""]
    if config.model_type == "spectrogram_transformer" and heads[0] != "SpectrogramTransformerForCTC":
        return load_tagger(folder, device)
    return load_writer(folder, "attention", device)


def look(
    audio: Any,
    model: str | Path | PreTrainedModel,
    processor: AuralProcessor | LogMelFeatureExtractor | None = None,
    *,
    text: str | None = None,
    num_beams: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    task: str | None = None,
    threshold: float = THRESHOLD,
    device: str | torch.device = "cpu",
    **options: Any,
) -> Look:
    """See what a model makes of one clip, and where it looks.

    Args:
        audio: What `load_audio` reads: a path, bytes, an array, …
        model: A model folder or Hub id, or a model that is loaded already, in eval mode. The `Look` keeps it, and asks
            it when a map is asked for.
        processor: Needed with a loaded model; of a tagger its feature extractor.
        text: What the model is made to write, in place of what it would.
        num_beams: Width of the search; default: the model's.
        start, end: Seconds of the recording to look at; default: all of it. Times count from `start`.
        task: Of a text decoder, "transcribe" (words have times) or "caption"; default: "caption" where its tokens are
            words.
        threshold: Of a tagger's events.
        device: Where a model goes that is loaded here.
        options: For `generate`, or for the search of a CTC model, as of `transcribe`; `memory_slots` of a LAS.

    Raises:
        OSError: A file or the model folder cannot be read.
        TypeError: A model of another family.
        ValueError: No audio, more of it than the model takes at once, a text that it cannot write, or options that are
            not for this model.

    Example:
        >>> from aural import look
        >>> look("seven.wav", "demo/model").maps["alignment"].weights.shape  # doctest: +SKIP
        (1, 6, 1, 9)
    """
    name = type(model).__name__
    if isinstance(model, str | Path):
        name = Path(model).resolve().name if Path(model).is_dir() else str(model)
        model, processor = load_looker(model, device)
    if processor is None:
        raise ValueError("processor=None: a loaded model needs its processor, or its feature extractor")
    if not hasattr(model, "attention_maps") and not isinstance(model, PreTrainedModel):
        raise TypeError(f"model: {type(model).__name__}; allowed are a folder and models of aural")
    extractor: Any = getattr(processor, "feature_extractor", processor)
    wave = _part(load_audio(audio, extractor.sampling_rate), extractor.sampling_rate, start, end)
    source = str(audio) if isinstance(audio, str | Path) else "audio"
    _check_length(wave, source, model, extractor)
    options = {key: value for key, value in {**options, "num_beams": num_beams}.items() if value is not None}
    if isinstance(model, SOUNDS):
        if text is not None or task is not None or options:
            wrong = "text" if text is not None else "task" if task is not None else sorted(options)[0]
            raise ValueError(f"{wrong} is for models that write; {name} tags sounds")
        return _tagged(wave, source, name, model, extractor, threshold)
    if not isinstance(processor, AuralProcessor):
        raise ValueError(f"processor: {type(processor).__name__}; {name} writes, and needs its AuralProcessor")
    return _written(wave, source, name, model, processor, text, task, options)


def _part(wave: np.ndarray, rate: int, start: float, end: float | None) -> np.ndarray:
    seconds = len(wave) / rate
    last = seconds if end is None else min(end, seconds)
    if not 0 <= start < last:
        raise ValueError(f"start={start:g}, end={end}: a part of 0 to {seconds:.2f} s, start before end")
    return wave[round(start * rate) : round(last * rate)]


def _check_length(wave: np.ndarray, source: str, model: Any, extractor: LogMelFeatureExtractor) -> None:
    """Refuse more than the model takes at once: its attention was never over more."""
    if isinstance(model, SOUNDS):
        longest = WindowPlan.of(model.config, extractor, is_framewise(model)).size * extractor.seconds_per_frame
    else:
        longest = longest_window(model) if isinstance(model, CaptionModel) else longest_stretch(model)
    if (seconds := len(wave) / extractor.sampling_rate) > longest + 0.05:
        raise ValueError(
            f"{source}: {seconds:.1f} s, and the model takes {longest:g} s at once; choose a part by start and end"
        )


def _features(wave: np.ndarray, extractor: LogMelFeatureExtractor) -> np.ndarray:
    """Features `(frames, mels)` of a clip alone; padded only where the model is to see padding, as AST does."""
    whole = extractor.padding == "max_length" and not extractor.return_attention_mask
    made = extractor(wave, sampling_rate=extractor.sampling_rate, padding="max_length" if whole else False)
    return np.asarray(made["input_features"][0])


def _seen(wave: np.ndarray, source: str, name: str, kind: str, extractor: LogMelFeatureExtractor) -> Look:
    """A Look at audio and features alone."""
    shift = extractor.seconds_per_frame
    return Look(
        source=source,
        model=name,
        kind=kind,
        audio=wave,
        sampling_rate=extractor.sampling_rate,
        features=_features(wave, extractor),
        seconds_per_feature=shift,
        feature_start=float(extractor.frame_times(1)[0]) - shift / 2,
        hertz=mel_edges(extractor.options),
    )


def _tagged(
    wave: np.ndarray, source: str, name: str, model: Any, extractor: LogMelFeatureExtractor, threshold: float
) -> Look:
    seen = _seen(wave, source, name, "tagger", extractor)
    tagging = replace(tag(wave, model, extractor)[0], source=source)
    grid = patch_grid(model.config, extractor, len(seen.features))
    features = torch.from_numpy(seen.features)[None].to(model.device)
    maps = LazyMaps(spectrogram_makers(model, model.config, features, grid))
    return replace(seen, grid=grid, maps=maps, tagging=tagging, events=tuple(tagging.events(threshold)))


def _written(
    wave: np.ndarray,
    source: str,
    name: str,
    model: Any,
    processor: AuralProcessor,
    text: str | None,
    task: str | None,
    options: dict[str, Any],
) -> Look:
    recognizer = recognizer_of(model, processor)
    options = recognizer.options(options)
    if text is None:
        told = recognize_batch([wave], model, processor, options, [source])[0]
    else:
        told = follow(wave, source, text, model, processor, options)
    ids = list(processor.tokenizer.convert_tokens_to_ids(list(told.tokens)))
    extractor = processor.feature_extractor
    kind = "ctc" if isinstance(recognizer, CtcRecognizer) else "writer" if isinstance(model, CaptionModel) else "las"
    if task is not None and (kind != "writer" or task not in TASKS):
        raise ValueError(f"task={task!r}: of a text decoder {' or '.join(TASKS)}; of a {type(model).__name__} none")
    seen = replace(_seen(wave, source, name, kind, extractor), text=told.text, tokens=told.tokens)
    if kind == "writer" and (task or ("caption" if unit_of(processor.tokenizer) == "word" else "")) == "caption":
        caption = read_caption(AudioWindow(source, 0.0, wave, None), ids, model, processor)
        words = _untimed_words(ids, caption, processor)
        return _with_maps(replace(seen, words=words, caption=caption), told, ids, model, extractor, options)
    words = _timed_words(told, ids, processor, kind)
    seen = replace(seen, words=words, token_times=told.token_times, transcript=told)
    return _with_maps(seen, told, ids, model, extractor, options)


def _untimed_words(ids: list[int], caption: Caption, processor: AuralProcessor) -> tuple[LookedWord, ...]:
    groups = word_tokens(ids, processor.decode)
    return tuple(
        LookedWord(group.text, None, None, word.confidence, group.first, group.last)
        for group, word in zip(groups, caption.words, strict=True)
    )


def _timed_words(told: Transcript, ids: list[int], processor: AuralProcessor, kind: str) -> tuple[LookedWord, ...]:
    """Words with times and tokens; by CTC, where a lexicon may have had a say, a word's are those in its time."""
    if kind == "ctc":
        middles = np.array([(token.start + token.end) / 2 for token in told.token_times])
        return tuple(_looked(word, *_between(middles, word)) for word in told.words)
    border = BORDER if unit_of(processor.tokenizer) == "phoneme" else None
    groups = word_tokens(ids, processor.decode, border)
    if not told.words:  # nothing tells times
        return tuple(LookedWord(group.text, None, None, told.confidence, group.first, group.last) for group in groups)
    return tuple(_looked(word, group.first, group.last) for word, group in zip(told.words, groups, strict=True))


def _looked(word: TimedWord, first: int, last: int) -> LookedWord:
    return LookedWord(word.text, word.start, word.end, word.confidence, first, last)


def _between(middles: np.ndarray, word: TimedWord) -> tuple[int, int]:
    own = np.flatnonzero((word.start <= middles) & (middles <= word.end))
    return (int(own[0]), int(own[-1]) + 1) if len(own) else (0, 0)


def _with_maps(
    seen: Look,
    told: Transcript,
    ids: list[int],
    model: Any,
    extractor: LogMelFeatureExtractor,
    options: Mapping[str, Any],
) -> Look:
    """The Look with what computes its maps."""
    features = torch.from_numpy(seen.features)[None].to(model.device)
    queries = token_queries(told.tokens, seen.token_times)
    band = (float(seen.hertz.min()), float(seen.hertz.max()))
    labels = torch.tensor([ids], device=model.device)
    if seen.kind == "las":
        if model.config.attention_kind == "none" or model.config.ctc_weight == 1:
            reason = "attention_kind='none'" if model.config.attention_kind == "none" else "ctc_weight=1"
            return replace(seen, blind=f"it has no attention to show ({reason})")
        slots = {"memory_slots": options.get("memory_slots")}

        def aligned() -> Map:
            weights = model.attention_maps(features, labels=labels, **slots)["speller"][0]
            return alignment_map(weights.float().cpu().numpy(), queries, told.seconds_per_frame, band)

        return replace(seen, maps=LazyMaps({"alignment": aligned}))
    encoder = model.config.encoder if seen.kind == "writer" else model.config
    grid = patch_grid(encoder, extractor, len(seen.features))
    listens = model.spectrogram_transformer
    makers = spectrogram_makers(listens, encoder, features, grid)
    if seen.kind == "writer" and model.config.ctc_weight != 1 and told.alignment.numel():
        weights = told.alignment.numpy()[None]

        def over_time() -> Map:
            return replace(alignment_map(weights, queries, 1.0, band), seconds=grid.seconds)

        makers = {"alignment": over_time, **crossed_makers(model, features, labels, queries, grid), **makers}
    return replace(seen, grid=grid, maps=LazyMaps(makers))
