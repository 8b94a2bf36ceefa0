"""The listener's BiLSTM against packed sequences, forward and backward."""

import statistics
import time
from collections.abc import Callable, Iterable

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from aural.modeling.listener import BidirectionalLSTM

BATCH, FRAMES, MELS, HIDDEN = 8, 400, 80, 256
REPEATS = 5


def bench() -> Iterable[dict]:
    """Seconds for 8 x 400 x 80 → 256 per direction, rows of different lengths."""
    torch.manual_seed(0)
    lengths = torch.linspace(FRAMES, FRAMES // 2, BATCH).long()
    mask = torch.arange(FRAMES) < lengths[:, None]
    states = torch.randn(BATCH, FRAMES, MELS)
    ours, theirs = BidirectionalLSTM(MELS, HIDDEN), torch.nn.LSTM(MELS, HIDDEN, batch_first=True, bidirectional=True)

    def run_ours() -> None:
        ours(states, mask).sum().backward()

    def run_packed() -> None:
        packed = pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False)
        pad_packed_sequence(theirs(packed)[0], batch_first=True)[0].sum().backward()

    mine, packed = _median(run_ours), _median(run_packed)
    yield {
        "name": "BiLSTM on padded rows, forward + backward, against packed",
        "ours": mine,
        "theirs": packed,
        "unit": "seconds",
        "ratio": packed / mine,
        "bar": 5.0,
    }


def _median(run: Callable[[], None]) -> float:
    run()  # warm up
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times)
