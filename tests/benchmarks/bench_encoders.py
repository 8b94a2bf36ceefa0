"""Two ways to hear: the BiLSTM listener against spectrogram patches, at as many parameters, by length of the clip."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from aural import LasConfig, SpectrogramTransformerConfig, SpectrogramTransformerModel
from aural.modeling.listener import Listener

from .timing import medians

MELS = 128
ROUNDS = {0.25: 21, 0.5: 21, 1: 15, 4: 7, 15: 3, 60: 1}  # by seconds of the clip
ROWS = (1, 4, 15, 60)  # the others are there for the crossover, which the last row names
HIDDEN = 201  # of the listener, per direction: as many parameters as the tiny preset
TOLERANCE = 0.05  # between the two numbers of parameters


def bench() -> Iterator[dict[str, Any]]:
    """Seconds per forward of one clip, float32; ours are the patches, theirs the listener."""
    torch.manual_seed(0)
    # Sinusoidal positions: those of any length, and no table that counts as parameters but is not computed with.
    patches = SpectrogramTransformerModel(
        SpectrogramTransformerConfig.from_preset("tiny", position_kind="sinusoidal")
    ).eval()
    listener = Listener(LasConfig(num_mel_bins=MELS, listener_hidden_size=HIDDEN)).eval()
    millions = [sum(one.numel() for one in model.parameters()) / 1e6 for model in (patches, listener)]
    assert abs(millions[0] / millions[1] - 1) < TOLERANCE, millions
    sizes = f"patches ({millions[0]:.1f} M) against BiLSTM listener ({millions[1]:.1f} M)"
    ratios: dict[float, float] = {}
    for seconds, rounds in ROUNDS.items():
        clip = torch.randn(1, round(100 * seconds), MELS)
        with torch.inference_mode():
            ours, theirs = medians(rounds, partial(patches, clip), partial(listener, clip))
        ratios[seconds] = theirs / ours
        if seconds in ROWS:
            name = f"encoder forward, {seconds} s clip, {sizes}"
            if seconds == ROWS[-1]:
                name += f"; {_verdict(ratios)}"
            yield {
                "name": name,
                "ours": ours,
                "theirs": theirs,
                "unit": "seconds",
                "ratio": theirs / ours,
                "bar": None,
            }


def _verdict(ratios: dict[float, float]) -> str:
    met = crossover(ratios)
    return f"as fast at {met:.2g} s" if met else f"as fast at no length from {min(ratios):g} s on"


def crossover(ratios: dict[float, float]) -> float:
    """The length at which the ratio passes 1, between two lengths on logarithmic axes; 0 where it does not."""
    for (short, at_short), (long, at_long) in pairwise(ratios.items()):
        if (at_short - 1) * (at_long - 1) <= 0:
            share = math.log(at_short) / (math.log(at_short) - math.log(at_long))
            return short * (long / short) ** share
    return 0.0
