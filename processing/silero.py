"""Speech told from silence by Silero VAD, a small network, by choice: `pip install silero-vad`.

- Only the network's file is read from the package, by torch; the package itself, which sets torch's number of threads
  as it is imported and in older versions wants torchaudio, is not imported.
- It hears 32 ms at a time and remembers what came before.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .speech_energy import FRAMES_PER_SECOND, SILENCE, SPEECH

HEARINGS = {16_000: 512, 8_000: 256}  # samples that the network hears at a time, by sampling rate in Hz
BEGINS, ENDS = 0.5, 0.35  # probabilities: from the first up there is speech, until it falls below the second


class SileroDetector:
    """A `processing.speech_energy.Detector` that asks Silero VAD (Silero Team 2021, github.com/snakers4/silero-vad).

    Args:
        sampling_rate: 8,000 or 16,000 Hz.

    Raises:
        ImportError: The package silero-vad is not installed.
        ValueError: Another sampling rate.
    """

    def __init__(self, sampling_rate: int) -> None:
        if sampling_rate not in HEARINGS:
            raise ValueError(f"vad='silero' hears 8,000 or 16,000 Hz, not {sampling_rate}; vad='energy' hears any")
        self._rate, self._size = sampling_rate, HEARINGS[sampling_rate]
        self._hop = sampling_rate // FRAMES_PER_SECOND
        self._network = load_network()
        self._rest = np.zeros(0, np.float32)  # samples of the next hearing
        self._found: list[int] = []  # what each hearing found, from that of the first frame not yet told
        self._before = 0  # hearings before these
        self._samples = self._told = 0  # samples heard, frames told
        self._speaking = False

    def add(self, block: np.ndarray) -> np.ndarray:
        """As `Detector.add`."""
        self._samples += len(block)
        held = np.concatenate([self._rest, block.astype(np.float32)])
        whole = len(held) // self._size * self._size
        self._hear(held[:whole])
        self._rest = held[whole:].copy()
        return self._tell()

    def rest(self) -> np.ndarray:
        """As `Detector.rest`."""
        self._hear(np.pad(self._rest, (0, self._size - len(self._rest))))
        return self._tell()

    @torch.inference_mode()
    def _hear(self, wave: np.ndarray) -> None:
        for part in wave.reshape(-1, self._size):
            probability = float(self._network(torch.from_numpy(part)[None], self._rate))
            self._speaking = probability >= (ENDS if self._speaking else BEGINS)
            self._found.append(SPEECH if self._speaking else SILENCE)

    def _tell(self) -> np.ndarray:
        """Of the whole frames, those whose middle lies in a hearing."""
        frames = np.arange(self._told, self._samples // self._hop)
        hearings = (frames * self._hop + self._hop // 2) // self._size - self._before
        hearings = hearings[hearings < len(self._found)]
        told = np.array(self._found, np.int8)[hearings]
        self._told += len(told)
        unneeded = min(len(self._found), self._told * self._hop // self._size - self._before)
        self._found = self._found[unneeded:]
        self._before += unneeded
        return told


def load_network() -> Any:
    """The network, as it is before any sound.

    Raises:
        ImportError: The package silero-vad is not installed, or holds no such network.
    """
    found = find_spec("silero_vad")
    folders = list(found.submodule_search_locations or []) if found else []
    path = Path(folders[0]) / "data" / "silero_vad.jit" if folders else None
    if path is None or not path.is_file():
        raise ImportError("vad='silero' needs the package silero-vad: pip install silero-vad; vad='energy' needs none")
    network = torch.jit.load(str(path), map_location="cpu")
    network.eval()
    network.reset_states()
    return network
