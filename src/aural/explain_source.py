"""What `aural explain` runs: a model that is given, named or kept in the repository, and a sound that fits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from .loading import load_config
from .looking import load_looker
from .modeling.las import LasForConditionalGeneration
from .modeling.spectrogram_transformer import SpectrogramTransformerModel
from .processing import AuralProcessor, LogMelFeatureExtractor, load_audio
from .processing.explained import Sound
from .processing.folders import check_features_fit
from .processing.log_mel import mel_edges
from .training.clips import clips_folder

CARDS = Path(__file__).resolve().parents[2] / "model_cards"  # in a clone; not in a wheel
KEPT = {"attention": "drums", "las": "las-demo", "patches": "drums"}  # the kept model of each figure
SPOKEN = ("digits-7", "phonetic-t_p")  # what is heard where nothing is given: "seven tango"
Query = int | tuple[float, float]  # the place of a token or a patch; or of a patch its seconds and Hz
LONGEST = 30.0  # seconds: every map of a longer clip would be larger than anybody reads


@dataclass(frozen=True, eq=False)
class Source:
    """A model and what it hears.

    Attributes:
        model: In eval mode.
        extractor: Made the features.
        processor: Of a model that writes, else None.
        named: The model and the sound, as titles name them.
        wave: float32 `(samples,)`.
        features: `(1, frames, mels)`, on the model's device.
        sound: The same features as an array, with their seconds and Hz.
    """

    model: Any
    extractor: LogMelFeatureExtractor
    processor: AuralProcessor | None
    named: str
    wave: np.ndarray
    features: torch.Tensor
    sound: Sound

    @property
    def encoder(self) -> SpectrogramTransformerModel | None:
        """The encoder of patches, where there is one."""
        if isinstance(self.model, SpectrogramTransformerModel):
            return self.model
        return getattr(self.model, "spectrogram_transformer", None)

    @property
    def spells(self) -> bool:
        """Whether the model is Listen-Attend-Spell."""
        return isinstance(self.model, LasForConditionalGeneration)

    def written(self) -> tuple[torch.Tensor, tuple[str, ...]]:
        """What a model that decodes writes: ids `(1, targets)` up to the end, and their tokens."""
        ids = self.model.generate(self.features)[:, 1:]  # without the start token
        row, ends = ids[0].tolist(), self.model.config.end_ids
        last = next((place for place, token in enumerate(row) if token in ends), len(row) - 1)
        tokenizer = cast(AuralProcessor, self.processor).tokenizer
        return ids[:, : last + 1], tuple(tokenizer.convert_ids_to_tokens(row[: last + 1]))


def open_source(
    figure: str,
    model: str | Path | PreTrainedModel | None,
    audio: Any = None,
    processor: AuralProcessor | LogMelFeatureExtractor | None = None,
) -> Source:
    """Load what is named, and choose what is not.

    Args:
        figure: "attention", "las" or "patches", whose kept model stands in for None.
        model: A folder, a Hub id, or a loaded model.
        audio: What `load_audio` reads; None for a recording that comes with aural and fits the model.
        processor: Of a loaded model.

    Raises:
        OSError: No such folder or file; no model is given and none is kept here.
        ValueError: A model of another family, a model without its processor, or sound of more than `LONGEST` seconds.
    """
    named = type(model).__name__
    if not isinstance(model, PreTrainedModel):
        folder = kept_model(figure) if model is None else model
        named = "/".join(Path(folder).parts[-2:])  # of a Hub id all of it
        load_config(folder, "explain")  # a model of another family is refused for this command
        model, processor = load_looker(folder)
    if processor is None:
        raise ValueError("processor=None: a loaded model needs its processor or feature extractor")
    writes = isinstance(processor, AuralProcessor)
    extractor = cast(Any, processor).feature_extractor if writes else processor
    if not isinstance(extractor, LogMelFeatureExtractor):
        raise TypeError(f"processor: {type(processor).__name__}; allowed are AuralProcessor, LogMelFeatureExtractor")
    config: Any = model.config
    check_features_fit(getattr(config, "encoder", config), extractor, "processor")
    wave, heard = _sound(audio, writes, extractor.sampling_rate)
    if (seconds := len(wave) / extractor.sampling_rate) > LONGEST:
        raise ValueError(
            f"{heard} lasts {seconds:.1f} s; at most {LONGEST:g} s are explained, so cut a part out of it"
        )
    inputs = extractor(wave, sampling_rate=extractor.sampling_rate, padding=False, return_tensors="pt")
    features = inputs["input_features"].to(model.device)
    middles = mel_edges(extractor.options).mean(1)
    sound = Sound(features[0].float().cpu().numpy(), extractor.seconds_per_frame, middles)
    return Source(
        model.eval(),
        extractor,
        cast(AuralProcessor, processor) if writes else None,
        f"{named}, {heard}",
        wave,
        features,
        sound,
    )


def kept_model(figure: str) -> Path:
    """The folder of the small model that the repository keeps for a figure.

    Raises:
        OSError: aural does not run from a clone of its repository.
    """
    folder = CARDS / KEPT[figure]
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"no --model is given, and {folder.name}, which the repository keeps for this figure, is not here: name a "
            "folder; `aural demo` trains a speech model in some ten minutes, `aural demo drums` one of sounds"
        )
    return folder


def place_of(query: Query, boxes: np.ndarray, sound: Sound) -> int:
    """The place of a patch.

    Args:
        query: Itself, or (seconds, Hz).
        boxes: Where patches lie, `(patches, 4)` as of `processing.explained`.
        sound: What they were cut from.

    Raises:
        ValueError: There is no such patch.
    """
    if isinstance(query, int):
        if not 0 <= query < len(boxes):
            raise ValueError(f"query={query}: the clip has {len(boxes)} patches; allowed are 0 to {len(boxes) - 1}")
        return query
    seconds, hertz = query
    band = float(np.interp(hertz, sound.hertz, np.arange(len(sound.hertz)) + 0.5))
    middles, sizes = (boxes[:, ::2] + boxes[:, 1::2]) / 2, boxes[:, 1::2] - boxes[:, ::2]
    away = np.abs((middles - (seconds, band)) / sizes).max(1)  # 0.5 at a patch's edge
    nearest, last = int(away.argmin()), boxes[:, 1].max()
    if away[nearest] > 1 or not 0 <= hertz <= 2 * sound.hertz[-1]:
        there = f"the clip has patches from 0 to {last:.2f} s and up to {sound.hertz[-1]:.0f} Hz"
        raise ValueError(f"query={seconds:g},{hertz:g}: {there}")
    return nearest


def _sound(audio: Any, writes: bool, sampling_rate: int) -> tuple[np.ndarray, str]:
    """Samples, and what titles name them."""
    if audio is not None:
        named = Path(audio).name if isinstance(audio, str | Path) else "audio"
        return load_audio(audio, sampling_rate), named
    loop = CARDS / "drum-loop.flac"
    if not writes and loop.is_file():
        return load_audio(loop, sampling_rate), loop.name
    return joined_clips(SPOKEN, sampling_rate), " and ".join(SPOKEN)


def joined_clips(names: Sequence[str], sampling_rate: int) -> np.ndarray:
    """Shipped recordings one after the other, `(samples,)`."""
    return np.concatenate([load_audio(clips_folder() / f"{name}.opus", sampling_rate) for name in names])
