"""Spectrogram transformers small enough for tests, with weights large enough that every part changes the output."""

from typing import Any

import torch

from aural import (
    SpectrogramTransformerConfig,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerForConditionalGeneration,
    SpectrogramTransformerModel,
    SpectrogramTransformerSeq2SeqConfig,
)

MELS = 8
LABELS = 3
Tiny = (
    SpectrogramTransformerModel
    | SpectrogramTransformerForAudioClassification
    | SpectrogramTransformerForAudioFrameClassification
)


def tiny_spectrogram_config(**overrides: Any) -> SpectrogramTransformerConfig:
    """A few thousand weights: rectangular overlapping patches, three rows, positions for 20 frames."""
    options: dict[str, Any] = {
        "num_mel_bins": MELS,
        "patch_size": [4, 6],
        "patch_stride": [2, 3],
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "position_frames": 20,
        "num_labels": LABELS,
    }
    return SpectrogramTransformerConfig(**{**options, **overrides})


def tiny_spectrogram(
    model_class: type = SpectrogramTransformerForAudioClassification,
    seed: int = 0,
    scale: float = 0.5,
    **overrides: Any,
) -> Tiny:
    """A model in eval mode whose weights are drawn with standard deviation `scale`, so that nothing is near zero."""
    torch.manual_seed(seed)
    model = model_class(tiny_spectrogram_config(**overrides)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, scale)
    return model


def tiny_writer_config(
    mels: int = MELS, vocab_size: int = 9, decoder: Any = None, encoder: Any = None, **overrides: Any
) -> SpectrogramTransformerSeq2SeqConfig:
    """A tiny encoder and a decoder of two layers, of another width; `encoder` and `decoder` are further fields."""
    written = {"vocab_size": vocab_size, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    heard = tiny_spectrogram_config(**{"num_mel_bins": mels, "pooling": "mean", **(encoder or {})})
    return SpectrogramTransformerSeq2SeqConfig(encoder=heard, decoder={**written, **(decoder or {})}, **overrides)


def tiny_writer(seed: int = 0, scale: float = 0.5, **overrides: Any) -> SpectrogramTransformerForConditionalGeneration:
    """A model that writes, in eval mode, whose weights are drawn with standard deviation `scale`."""
    torch.manual_seed(seed)
    model = SpectrogramTransformerForConditionalGeneration(tiny_writer_config(**overrides)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, scale)
        for norm in model.modules():  # about 1, so that a text is heard over the bias
            if isinstance(norm, torch.nn.LayerNorm):
                norm.weight.normal_(1, 0.3)
                norm.bias.normal_(0, 0.3)
    return model


def spectrograms(lengths: list[int], mels: int = MELS, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(batch, frames, mels)`, 0 on padding, and mask `(batch, frames)` of clips of the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(lengths), max(lengths), mels, generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return features * mask[..., None], mask
