"""A patch encoder with a text decoder for whole recognition: six mels, nine symbols, two class tokens."""

from typing import Any

from aural.modeling.spectrogram_seq2seq import SpectrogramTransformerForConditionalGeneration
from tests.tiny_spectrogram import tiny_writer

MELS = 6


def tiny_seq2seq(seed: int = 0, **overrides: Any) -> SpectrogramTransformerForConditionalGeneration:
    """`tiny_writer` of six mels; `overrides` are fields of the encoder."""
    return tiny_writer(seed, mels=MELS, encoder={"pooling": "cls_distillation", **overrides})
