"""The spectrogram transformer: against transformers' AST, and against itself without what makes it faster."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import ASTConfig, ASTForAudioClassification

from aural import SpectrogramTransformerConfig, SpectrogramTransformerForAudioClassification
from aural.modeling.convert_dialect import convert_state_dict
from aural.modeling.quantize import quantize_dynamic
from aural.training.sampler import LengthGroupedBatchSampler
from aural.training.sound_collator import SoundCollator

from .timing import medians

MELS = 128
FRAMES = 1024  # 10 s, as AST pads them
SECOND = 98  # frames of 1 s: windows of 25 ms every 10 ms
CLIPS, BATCH = 64, 8
AS_FAST = round(1 / 1.05, 3)  # at most 1.05 times as long
# torch's int8 kernels reach the bar where there are instructions for int8 products; elsewhere the ratio is only told.
INT8_BAR, WITH = (1.8, "") if torch.cpu._is_vnni_supported() else (None, ", a processor without int8 products")


def bench() -> Iterator[dict[str, Any]]:
    """Seconds per call, all in float32 but for the int8 row."""
    torch.manual_seed(0)
    yield from _against_ast()
    yield _patchout()
    yield _buckets()


def _row(name: str, ours: float, theirs: float, bar: float | None) -> dict[str, Any]:
    return {"name": name, "ours": ours, "theirs": theirs, "unit": "seconds", "ratio": theirs / ours, "bar": bar}


def _against_ast() -> Iterator[dict[str, Any]]:
    """The same weights in transformers' class, in ours, and in our int8 copy."""
    theirs = ASTForAudioClassification(ASTConfig(num_labels=527, max_length=FRAMES, num_mel_bins=MELS)).eval()
    ours = convert_state_dict(theirs.state_dict(), config=theirs.config.to_dict()).build().eval()
    int8 = quantize_dynamic(ours)
    assert ours.config._attn_implementation == theirs.config._attn_implementation == "sdpa"
    clip = torch.randn(1, FRAMES, MELS)
    with torch.inference_mode():
        torch.testing.assert_close(ours(clip).logits, theirs(clip).logits, atol=1e-4, rtol=0)
        ast, same, eight, short = medians(
            5, lambda: theirs(clip), lambda: ours(clip), lambda: int8(clip), lambda: ours(clip[:, :SECOND])
        )
    yield _row("10 s clip, base size, same weights, against transformers' AST", same, ast, AS_FAST)
    yield _row("1 s clip at its own length, against transformers' AST, which pads it to 10 s", short, ast, 10)
    yield _row(f"10 s clip, base size, int8 against float32{WITH}", eight, same, INT8_BAR)


def _patchout() -> dict[str, Any]:
    """Forward and backward of one clip of 10 s."""
    whole = SpectrogramTransformerConfig.from_preset("small", num_labels=527)
    some = SpectrogramTransformerConfig.from_preset(
        "small", num_labels=527, patchout_time=0.4, patchout_frequency=0.33
    )
    clip, labels = torch.randn(1, FRAMES, MELS), torch.tensor([0])
    models = [SpectrogramTransformerForAudioClassification(config).train() for config in (whole, some)]
    with torch.no_grad():
        tokens = [model.spectrogram_transformer(clip).last_hidden_state.shape[1] for model in models]

    def step(model: SpectrogramTransformerForAudioClassification) -> None:
        model.zero_grad()
        model(clip, labels=labels).loss.backward()

    theirs, ours = medians(5, *(partial(step, model) for model in models))
    name = f"training step, small size, 10 s, patchout to {tokens[1]:,} of {tokens[0]:,} tokens, against none"
    return _row(name, ours, theirs, 2.8)


def _buckets() -> dict[str, Any]:
    """Tagging 64 clips of 1 to 10 s, tiny size, in batches of like lengths or all padded to 10 s."""
    model = SpectrogramTransformerForAudioClassification(SpectrogramTransformerConfig.from_preset("tiny")).eval()
    generator = np.random.default_rng(0)
    lengths = generator.integers(SECOND, FRAMES, size=CLIPS, endpoint=True)
    items = [{"input_features": generator.standard_normal((n, MELS), dtype=np.float32)} for n in lengths]
    sampler, collate = LengthGroupedBatchSampler(lengths, BATCH, seed=0), SoundCollator()
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(i["input_features"]) for i in items], batch_first=True)
    padded = torch.nn.functional.pad(padded, (0, 0, 0, FRAMES - padded.shape[1]))

    def grouped() -> None:
        for batch in sampler:
            model(**collate([items[i] for i in batch]))

    def padded_whole() -> None:  # without a mask, as AST does it, which is faster than with one
        for batch in padded.split(BATCH):
            model(batch)

    with torch.inference_mode():
        ours, theirs = medians(1, grouped, padded_whole)
    name = f"{CLIPS} clips of 1 to 10 s, tiny size, batches of {BATCH} of like lengths, against all padded to 10 s"
    return _row(name, ours, theirs, 1.6)
