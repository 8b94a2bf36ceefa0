"""`LogMelFeatureExtractor`: waveforms to log-mel features, as transformers' feature extractors do it.

- Kaldi's filter bank (`log_mel.py`), computed in torch on the device that the audio is on.
- Normalised over a clip's own real frames first, padded after: what a clip becomes does not depend on its batch.
- Saved as plain JSON; windows and filters are rebuilt where they are needed and live outside the object.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils import PaddingStrategy, TensorType, logging

from .configuration_travel import TravelsWithCode
from .processing_log_mel import LogMelOptions, log_mel

logger = logging.get_logger(__name__)

NORMALIZATIONS = ("utterance", "global", None)
VARIANCE_FLOOR = 1e-5  # added to the variance of each mel: silence becomes 0, speech (variance 2 to 20) stays as it is


class LogMelFeatureExtractor(TravelsWithCode, SequenceFeatureExtractor):
    """Kaldi-compatible log-mel features for any model of this package.

    Mono audio with full scale 1 becomes `input_features (batch, frames, mels)` float32 and
    `attention_mask (batch, frames)` int64, 1 on real frames.

    Args:
        num_mel_bins: mel filters, at most half the FFT length.
        sampling_rate: of the audio, in Hz.
        frame_length_ms, frame_shift_ms: Kaldi's 25 and 10 ms; fractions of a sample are dropped.
        window_type: "povey" (Kaldi), "hanning" (AST) or "hamming".
        preemphasis: y[t] = x[t] - preemphasis * x[t - 1] within a frame; 0 for none.
        remove_dc_offset: subtract each frame's mean.
        snip_edges: only frames that fit whole; False gives one frame per shift and mirrors the audio at its ends.
            A clip shorter than one frame gives one frame: padded with zeros, or mirrored.
        low_freq, high_freq: edges of the mel filters in Hz; `high_freq` 0 or negative counts down from Nyquist.
        mel_floor: smallest energy before the log; digital silence gives its log.
        waveform_scale: 32768 as Kaldi and speech models; 1 as AST.
        dither: standard deviation of gaussian noise on each (scaled) sample.
        normalize: "utterance" (mean 0 and variance 1 per mel over the clip's own kept frames), "global"
            ((x - mean) / std) or None.
        mean, std: for "global", a float or one per mel. `std` is what is divided by: for AST's (x - mean) / (2 * s)
            give 2 * s.
        padding_value: of padded frames, after normalisation; padding is always on the right. AST pads before it
            normalises, which is `padding_value = -mean / std`.
        padding, truncation, max_length, pad_to_multiple_of, return_attention_mask: defaults for calls; lengths are in
            frames.
        feature_size: transformers' name for `num_mel_bins`; if given, equal to it.
        kwargs: further attributes to store and save, such as transformers' own `processor_class`.

    Raises:
        ValueError: an option outside what is allowed, named with its value.
    """

    model_input_names: ClassVar[list[str]] = ["input_features", "attention_mask"]

    def __init__(
        self,
        num_mel_bins: int = 80,
        sampling_rate: int = 16_000,
        frame_length_ms: float = 25.0,
        frame_shift_ms: float = 10.0,
        window_type: str = "povey",
        preemphasis: float = 0.97,
        remove_dc_offset: bool = True,
        snip_edges: bool = True,
        low_freq: float = 20.0,
        high_freq: float = 0.0,
        mel_floor: float = 1.1920929e-07,
        waveform_scale: float = 32_768.0,
        dither: float = 0.0,
        normalize: str | None = "utterance",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        padding_value: float = 0.0,
        padding: bool | str = True,
        truncation: bool = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool = True,
        feature_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        if feature_size not in (None, num_mel_bins):
            raise ValueError(f"feature_size: {feature_size}; allowed is num_mel_bins, {num_mel_bins}")
        if kwargs.get("padding_side", "right") != "right":
            raise ValueError(f"padding_side: {kwargs['padding_side']!r}; allowed is 'right'")
        super().__init__(
            num_mel_bins, sampling_rate, padding_value, return_attention_mask=return_attention_mask, **kwargs
        )
        self.num_mel_bins = num_mel_bins
        self.frame_length_ms = frame_length_ms
        self.frame_shift_ms = frame_shift_ms
        self.window_type = window_type
        self.preemphasis = preemphasis
        self.remove_dc_offset = remove_dc_offset
        self.snip_edges = snip_edges
        self.low_freq = low_freq
        self.high_freq = high_freq
        self.mel_floor = mel_floor
        self.waveform_scale = waveform_scale
        self.dither = dither
        self.normalize = normalize
        self.mean = _plain(mean)
        self.std = _plain(std)
        self.padding = padding
        self.truncation = truncation
        self.max_length = max_length
        self.pad_to_multiple_of = pad_to_multiple_of
        _ = self.options
        self._check_normalize()

    @property
    def options(self) -> LogMelOptions:
        """What the filter bank computes, from the attributes as they stand now."""
        return LogMelOptions(**{name: getattr(self, name) for name in LogMelOptions.__dataclass_fields__})

    @property
    def seconds_per_frame(self) -> float:
        """Time between frames in seconds: whole samples of shift over the sampling rate."""
        return self.options.frame_shift / self.sampling_rate

    def frame_count(self, samples: int) -> int:
        """Frames that a clip of `samples` gives."""
        return self.options.frame_count(samples)

    def frame_times(self, frames: int) -> np.ndarray:
        """Centres of the first `frames` frames in seconds, `(frames,)`."""
        options = self.options
        first = options.frame_length / 2 if self.snip_edges else options.frame_shift / 2
        return (np.arange(frames) * options.frame_shift + first) / self.sampling_rate

    def __call__(
        self,
        raw_speech: Any,
        sampling_rate: int | None = None,
        padding: bool | str | PaddingStrategy | None = None,
        truncation: bool | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
    ) -> BatchFeature:
        """Features of one clip or of a batch; always a batch comes out.

        Args:
            raw_speech: floating mono audio, full scale 1: `(samples,)` or a list of floats for one clip; `(batch,
                samples)` or a list of clips of any lengths for a batch. numpy or torch, on any device.
            sampling_rate: of `raw_speech` in Hz, to be sure that it is the extractor's.
            padding: True or "longest" to the longest clip, "max_length", or False. None: the stored default, as for
                the next four.
            truncation: keep the first `max_length` frames; utterance statistics are then theirs.
            max_length: in frames.
            pad_to_multiple_of: round the padded length up, in frames.
            return_attention_mask: whether `attention_mask` comes along.
            return_tensors: "pt" (on the audio's device), "np", or None for lists of one numpy array per clip.
            generator: of the dither's noise; None repeats the same noise for each clip.
            device: where to compute; None is where the audio is.

        Raises:
            ValueError: another sampling rate, an empty clip, one with NaN or infinity or more axes (named by its
                index), or unequal lengths asked for as one tensor.
            TypeError: integer audio, whose full scale is not known.
        """
        self._check_rate(sampling_rate)
        self._check_normalize()
        waves = _clips(raw_speech, device)
        truncation = self.truncation if truncation is None else truncation
        max_length = self.max_length if max_length is None else max_length
        multiple = self.pad_to_multiple_of if pad_to_multiple_of is None else pad_to_multiple_of
        kept = None
        if truncation:
            if max_length is None:
                raise ValueError("max_length: None; truncation needs a number of frames")
            kept = _round_up(max_length, multiple)
        features = log_mel(waves, self.options, kept, generator)
        return self.finish(features, padding, max_length, multiple, return_attention_mask, return_tensors)

    def finish(
        self,
        features: Sequence[torch.Tensor],
        padding: bool | str | PaddingStrategy | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
    ) -> BatchFeature:
        """What a call does after the filter bank: normalise, pad, batch. For features that were computed elsewhere,
        such as the windows of a long recording.

        Args:
            features: log-mel features `(frames, mels)` of each clip, not normalised; they are changed in place.
            padding, max_length, pad_to_multiple_of, return_attention_mask, return_tensors: as in a call.

        Raises:
            ValueError: unequal lengths asked for as one tensor.
        """
        self._check_normalize()
        max_length = self.max_length if max_length is None else max_length
        multiple = self.pad_to_multiple_of if pad_to_multiple_of is None else pad_to_multiple_of
        strategy = self._get_padding_strategies(self.padding if padding is None else padding, max_length)
        if max_length is not None:
            max_length = _round_up(max_length, multiple)
        features = [self._normalized(clip) for clip in features]

        counts = [len(clip) for clip in features]
        lengths = counts
        if strategy is not PaddingStrategy.DO_NOT_PAD:
            least = max_length if strategy is PaddingStrategy.MAX_LENGTH else max(counts)
            lengths = [_round_up(max(count, least or 0), multiple) for count in counts]
        features = [self._padded(clip, length) for clip, length in zip(features, lengths, strict=True)]
        data = {"input_features": features}
        if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
            data["attention_mask"] = [
                (torch.arange(length, device=clip.device) < count).long()
                for clip, count, length in zip(features, counts, lengths, strict=True)
            ]
        return _batch(data, return_tensors)

    def _normalized(self, features: torch.Tensor) -> torch.Tensor:
        """`features (frames, mels)` with the chosen statistics taken out, in place."""
        if self.normalize == "utterance":
            # The first frame goes first: then silence is exactly 0, and float32 sums stay exact over an hour.
            features.sub_(features[0].clone())
            features.sub_(features.mean(0))
            return features.div_(features.var(0, correction=0).add_(VARIANCE_FLOOR).sqrt_())
        if self.normalize == "global":
            mean, std = (
                torch.tensor(value, dtype=torch.float32, device=features.device) for value in (self.mean, self.std)
            )
            return features.sub_(mean).div_(std)
        return features

    def _padded(self, features: torch.Tensor, length: int) -> torch.Tensor:
        if length == len(features):
            return features
        return torch.nn.functional.pad(features, (0, 0, 0, length - len(features)), value=self.padding_value)

    def _check_rate(self, sampling_rate: int | None) -> None:
        if sampling_rate is None:
            logger.warning(
                f"It is strongly recommended to pass the `sampling_rate` argument to `{type(self).__name__}()`. "
                "Failing to do so can result in silent errors that might be hard to debug."
            )
        elif sampling_rate != self.sampling_rate:
            raise ValueError(f"sampling_rate: {sampling_rate} Hz; allowed is {self.sampling_rate} Hz: resample first")

    def _check_normalize(self) -> None:
        if self.normalize not in NORMALIZATIONS:
            raise ValueError(f"normalize: {self.normalize!r}; allowed are 'utterance', 'global' and None")
        if self.normalize != "global":
            return
        for name in ("mean", "std"):
            value = np.asarray(getattr(self, name), dtype=np.float64)  # None becomes NaN
            if value.shape not in ((), (self.num_mel_bins,)) or not np.isfinite(value).all():
                allowed = f"a finite number, or {self.num_mel_bins} of them, for normalize='global'"
                raise ValueError(f"{name}: {getattr(self, name)!r}; allowed is {allowed}")
            if name == "std" and not (value > 0).all():
                raise ValueError(f"std: {self.std!r}; allowed is above 0")


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists, which JSON can hold."""
    return value.tolist() if hasattr(value, "tolist") else list(value) if isinstance(value, tuple) else value


def _round_up(frames: int, multiple: int | None) -> int:
    return frames if not multiple else -(-frames // multiple) * multiple


def _clips(raw_speech: Any, device: str | torch.device | None) -> list[torch.Tensor]:
    """The clips as finite float32 tensors `(samples,)` on one device."""
    if isinstance(raw_speech, np.ndarray) and raw_speech.dtype == object:  # a ragged batch
        raw_speech = list(raw_speech)
    if isinstance(raw_speech, (np.ndarray, torch.Tensor)):
        if raw_speech.ndim not in (1, 2):
            raise ValueError(f"raw_speech: {raw_speech.ndim} axes; allowed are (samples,) and (batch, samples), mono")
        clips = [raw_speech] if raw_speech.ndim == 1 else list(raw_speech)
    elif isinstance(raw_speech, (list, tuple)):
        if not len(raw_speech):
            raise ValueError("raw_speech: no clips; at least one is needed")
        many = isinstance(raw_speech[0], (list, tuple)) or np.ndim(raw_speech[0]) > 0
        clips = list(raw_speech) if many else [raw_speech]
    else:
        raise TypeError(f"raw_speech: {type(raw_speech).__name__}; allowed are arrays, tensors and lists of samples")
    if not clips:
        raise ValueError("raw_speech: no clips; at least one is needed")
    waves: list[torch.Tensor] = []
    for index, clip in enumerate(clips):
        wave = _wave(clip, index)
        waves.append(wave.to(device or (waves[0].device if waves else wave.device), torch.float32))
    # The extremes carry a NaN or infinity on; one transfer tells it of the whole batch.
    extremes = torch.stack([torch.stack(torch.aminmax(wave)) for wave in waves])
    for index, finite in enumerate(extremes.isfinite().all(1).tolist()):
        if not finite:
            raise ValueError(f"clip {index}: holds NaN or infinity; allowed is finite audio")
    return waves


def _wave(clip: Any, index: int) -> torch.Tensor:
    """One clip as a floating tensor `(samples,)` with at least one sample."""
    clip = clip if isinstance(clip, (np.ndarray, torch.Tensor)) else np.asarray(clip, dtype=np.float32)
    floating = clip.is_floating_point() if isinstance(clip, torch.Tensor) else clip.dtype.kind == "f"
    if not floating:
        raise TypeError(f"clip {index}: dtype {clip.dtype}; allowed is floating audio with full scale 1")
    if clip.ndim != 1:
        raise ValueError(f"clip {index}: {clip.ndim} axes; allowed is (samples,), mono")
    if not len(clip):
        raise ValueError(f"clip {index}: empty; at least one sample is needed")
    if isinstance(clip, torch.Tensor):
        return clip.detach()
    return torch.from_numpy(np.require(clip, np.float32, ["C", "W"]))  # torch takes no read-only or reversed array


def _batch(data: dict[str, list[torch.Tensor]], return_tensors: str | TensorType | None) -> BatchFeature:
    """One tensor or array per name, or with None a list of numpy arrays."""
    kind = None if return_tensors is None else TensorType(return_tensors)
    if kind is None:
        return BatchFeature({name: [clip.cpu().numpy() for clip in clips] for name, clips in data.items()})
    lengths = {len(clip) for clip in data["input_features"]}
    if len(lengths) > 1:
        raise ValueError(
            f"padding: the clips give {min(lengths)} to {max(lengths)} frames; allowed for one tensor is True"
        )
    stacked = {name: torch.stack(clips) for name, clips in data.items()}
    if kind is TensorType.PYTORCH:
        return BatchFeature(stacked)
    if kind is TensorType.NUMPY:
        return BatchFeature({name: tensor.cpu().numpy() for name, tensor in stacked.items()})
    raise ValueError(f"return_tensors: {return_tensors!r}; allowed are 'pt', 'np' and None")
