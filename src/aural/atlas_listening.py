"""What the heads of a model do while it listens to clips: `measure_heads`, the numbers behind an atlas.

What is notable here:
- a clip longer than what the model hears at once is cut into pieces of that length, each measured by itself;
- every piece goes through the encoder beside a twin whose patches are shuffled, drawn from (seed, piece), and one
  layer's maps are read at a time;
- measures are taken of each piece without its padding, so they do not depend on what it was batched with.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .modeling.head_knockout import encoder_of
from .modeling.head_maps import own_patches, padded_places, read_maps
from .processing import LogMelFeatureExtractor
from .processing.audio import load_audio
from .processing.grid import patch_grid
from .processing.head_measures import PatchPlaces, column_sources, measure_maps, measure_shuffle, measure_sources
from .tag_windows import WindowPlan
from .training.event_scores import Event

WEIGHTS_AT_ONCE = 25_000_000  # of one layer of a batch and its twin: some 100 MB, twice while softmax is taken
CLIPS_AT_ONCE = 16
Progress = Callable[[int, int], None]  # done, of how many


@dataclass(frozen=True, eq=False)
class Piece:
    """What a model hears at once.

    Attributes:
        features: float32 `(frames, mels)`.
        events: What sounds in it, in seconds from its beginning; None where that is not known.
    """

    features: np.ndarray
    events: tuple[Event, ...] | None


def cut_pieces(
    name: str, audio: Any, events: tuple[Event, ...] | None, model: Any, extractor: LogMelFeatureExtractor
) -> list[Piece]:
    """A clip as the model hears it; a rest shorter than a patch is left out, but for a clip that is no longer.

    Args:
        name: For errors.
        audio: What `load_audio` reads.
        events: What sounds in it.
        model: With an encoder of patches.
        extractor: Makes its features.

    Raises:
        OSError, ValueError, TypeError: As `load_audio`; an event without an offset.
    """
    config, rate = encoder_of(model).config, extractor.sampling_rate
    wave = load_audio(audio, rate)
    size = WindowPlan.of(config, extractor, framewise=True).size
    samples = round(size * extractor.seconds_per_frame * rate)
    while extractor.frame_count(samples) < size:  # a frame is longer than the step to the next
        samples += extractor.options.frame_shift
    pieces = []
    for start in range(0, max(1, len(wave)), samples):
        part = wave[start : start + samples]
        if start and extractor.frame_count(len(part)) < config.patch_size[1]:
            break
        features = np.asarray(extractor(part, sampling_rate=rate, padding=False)["input_features"][0])
        pieces.append(Piece(features, _within(name, events, start / rate, (start + samples) / rate)))
    return pieces


def _within(name: str, events: tuple[Event, ...] | None, start: float, end: float) -> tuple[Event, ...] | None:
    """The events of a part of a clip, with times from its start."""
    if events is None:
        return None
    if missing := [event for event in events if event.offset is None]:
        raise ValueError(f"{name}: {missing[0]} has no offset; where a source sounds must be known from start to end")
    parts = ((each.label, max(each.onset, start), min(each.offset or 0.0, end)) for each in events)
    return tuple(Event(label, first - start, last - start) for label, first, last in parts if last > first)


def measure_heads(
    model: Any,
    extractor: LogMelFeatureExtractor,
    pieces: Sequence[Piece],
    sources: Sequence[str],
    seed: int,
    progress: Progress = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Every measure of `head_measures.py`, each `(pieces, layers, heads)`; NaN where a piece has none.

    Args:
        model: With an encoder of patches, in eval mode.
        extractor: Made the pieces' features.
        pieces: At least one.
        sources: Labels of the events, by index.
        seed: Of the shuffles.
        progress: Called with the pieces that are done, and with all.
    """
    config = encoder_of(model).config
    shape = (len(pieces), config.num_hidden_layers, config.num_attention_heads)
    measures: dict[str, np.ndarray] = {}

    def keep(piece: int, layer: int, found: dict[str, torch.Tensor]) -> None:
        for name, values in found.items():
            measures.setdefault(name, np.full(shape, np.nan))[piece, layer] = values.numpy()

    done = 0
    for batch in _batches(pieces, config, extractor):
        _measure_batch(model, extractor, [(index, pieces[index]) for index in batch], sources, seed, keep)
        done += len(batch)
        progress(done, len(pieces))
    return measures


def _batches(pieces: Sequence[Piece], config: Any, extractor: LogMelFeatureExtractor) -> Iterator[list[int]]:
    """Pieces of like lengths together, as many as one layer's weights allow."""
    batch: list[int] = []
    for index in sorted(range(len(pieces)), key=lambda i: len(pieces[i].features)):
        frames = _padded_length([pieces[index].features], extractor)
        tokens = config.frequency_patches * config.time_patches(frames) + 2
        weights = 2 * (len(batch) + 1) * config.num_attention_heads * tokens**2
        if len(batch) == CLIPS_AT_ONCE or (batch and weights > WEIGHTS_AT_ONCE):
            yield batch
            batch = []
        batch.append(index)
    yield batch


def _measure_batch(
    model: Any,
    extractor: LogMelFeatureExtractor,
    batch: Sequence[tuple[int, Piece]],
    sources: Sequence[str],
    seed: int,
    keep: Callable[[int, int, dict[str, torch.Tensor]], None],
) -> None:
    config, count = encoder_of(model).config, len(batch)
    rows, classes = config.frequency_patches, config.num_class_tokens or 0
    features, mask = _padded([piece.features for _, piece in batch], extractor)
    frames = [features.shape[1]] * count if mask is None else mask.sum(-1).tolist()
    grids = [patch_grid(config, extractor, length) for length in frames]
    places = [PatchPlaces.of(grid, config.patch_stride[0], classes) for grid in grids]
    goes = [_shuffle(len(each.row), seed, index) for each, (index, _) in zip(places, batch, strict=True)]
    width = config.time_patches(features.shape[1])
    stay = torch.arange(rows * width).expand(count, -1)
    twins = torch.cat([stay, padded_places(goes, rows, width)])
    labels = [
        None if piece.events is None else column_sources(grid.seconds, piece.events, sources)
        for (_, piece), grid in zip(batch, grids, strict=True)
    ]

    def read(layer: int, weights: torch.Tensor) -> None:
        for place, (index, _) in enumerate(batch):
            own = own_patches(rows, len(grids[place].seconds), width) + classes
            own = torch.cat([torch.arange(classes), own])
            as_is, shuffled = (
                weights[at].cpu()[:, own][:, :, own] for at in (place, place + count)
            )  # (heads, tokens, tokens)
            found = measure_maps(as_is, places[place])
            found |= measure_shuffle(as_is, shuffled, goes[place], places[place])
            if (known := labels[place]) is not None:
                found |= measure_sources(as_is, known, places[place], sources)
            keep(index, layer, found)

    device = encoder_of(model).device
    double_mask = None if mask is None else mask.repeat(2, 1).to(device)
    read_maps(model, features.repeat(2, 1, 1).to(device), double_mask, read, twins.to(device))


def _padded(features: list[np.ndarray], extractor: LogMelFeatureExtractor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Features `(batch, frames, mels)` and mask `(batch, frames)` or None, padded as `tag` pads windows."""
    length = _padded_length(features, extractor)
    padded = torch.full((len(features), length, extractor.num_mel_bins), float(extractor.padding_value))
    for row, clip in zip(padded, features, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    if extractor.padding == "max_length" and not extractor.return_attention_mask:  # as AST: padding is heard
        return padded, None
    return padded, (torch.arange(length) < torch.tensor([len(clip) for clip in features])[:, None]).long()


def _padded_length(features: list[np.ndarray], extractor: LogMelFeatureExtractor) -> int:
    longest = max(map(len, features))
    return max(longest, extractor.max_length or 0) if extractor.padding == "max_length" else longest


def _shuffle(patches: int, seed: int, index: int) -> torch.Tensor:
    """Where the content of each of a piece's patches goes."""
    return torch.from_numpy(np.random.default_rng((seed, index)).permutation(patches))
