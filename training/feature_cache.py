"""Features kept on disk, computed once: for runs of many epochs whose waveforms nothing changes.

    cache = FeatureCache("features")
    train = SpeechDataset(rows, processor, augment_features=…, cache=cache)
    bytes_per_hour(processor.feature_extractor)  # 115 MB with 80 mels and 100 frames a second

- A clip's features lie in a file of their own, `features/3f/3f9a….npy`, named by the sha256 of all that they follow
  from: the extractor's settings, where the audio is cut, and which audio it is. What has changed has another name, so
  that nothing stale is served; what lies there from before is only space, and the folder can be deleted at any time.
- Files are written beside their place and renamed: processes and workers may share a folder.
- Where the disk has no room left, features are computed each time, and checkpoints keep the room that is there.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..processing.audio import load_audio
from .shared_counts import SharedCounts

FORMAT = 1  # of the files and their names; to be raised when features are computed in another way
RESERVE = 2 << 30  # bytes of the disk that the cache leaves to others
BYTES = 4  # of a float32
OF_FOLDERS = ("auto_map", "processor_class")  # what an extractor gets when it is saved, and no feature follows from


class FeatureCache:
    """Log-mel features of clips, from a folder or computed and put there. Picklable for workers.

    Args:
        folder: where they lie; made if it is not there.
        reserve: bytes that stay free on its disk: nothing is written once there are fewer.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path, reserve: int = RESERVE) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.reserve = reserve
        self.counts = SharedCounts(["found", "computed", "written", "bytes"])

    def features(self, audio: Any, feature_extractor: Any, max_seconds: float | None = None) -> np.ndarray:
        """Features of one clip, float32 `(frames, mels)`.

        Args:
            audio: as for `load_audio`.
            feature_extractor: a `LogMelFeatureExtractor` without dither.
            max_seconds: cut longer audio; the beginning stays.

        Raises:
            OSError, ValueError: the audio cannot be read; or the extractor has dither, which differs each time.
        """
        if getattr(feature_extractor, "dither", 0.0):
            raise ValueError(f"dither is {feature_extractor.dither}; features that are kept must have none")
        path = self._path(audio, feature_extractor, max_seconds)
        with contextlib.suppress(FileNotFoundError, ValueError, EOFError):  # another program's file is written over
            features = np.load(path, allow_pickle=False)
            self.counts.add("found")
            return features
        rate = feature_extractor.sampling_rate
        wave = load_audio(audio, sampling_rate=rate)
        if max_seconds is not None:
            wave = wave[: max(1, round(max_seconds * rate))]
        features = feature_extractor(wave, sampling_rate=rate, padding=False)["input_features"][0]
        features = np.ascontiguousarray(features, dtype=np.float32)
        self.counts.add("computed")
        self._write(path, features)
        return features

    def _path(self, audio: Any, feature_extractor: Any, max_seconds: float | None) -> Path:
        settings = {key: value for key, value in feature_extractor.to_dict().items() if key not in OF_FOLDERS}
        extractor = [type(feature_extractor).__name__, settings]
        known = [FORMAT, extractor, max_seconds, _identity(audio)]
        name = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.npy"

    def _write(self, path: Path, features: np.ndarray) -> None:
        """Write whole, in a part of its own: two workers may have the same clip."""
        part = None
        try:
            if shutil.disk_usage(self.folder).free - features.nbytes < self.reserve:
                raise OSError(f"less than {self.reserve / 1e9:.1f} GB are free")
            path.parent.mkdir(exist_ok=True)
            handle, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                np.save(file, features, allow_pickle=False)
            os.replace(part, path)
            self.counts.add("written")
            self.counts.add("bytes", features.nbytes)
        except OSError as error:
            if part is not None:
                Path(part).unlink(missing_ok=True)
            warnings.warn(f"{self.folder}: features are not kept ({error}); they are computed each time", stacklevel=3)


def bytes_per_hour(feature_extractor: Any) -> float:
    """What an hour of audio takes up in a cache.

    Args:
        feature_extractor: a `LogMelFeatureExtractor`.
    """
    return 3600 / feature_extractor.seconds_per_frame * feature_extractor.num_mel_bins * BYTES


def _identity(audio: Any) -> list[Any]:
    """Which audio it is: a file by its place, size and time of change; bytes and arrays by all that they hold."""
    if isinstance(audio, Mapping):
        if audio.get("array") is not None:
            return [*_identity(np.asarray(audio["array"])), audio.get("sampling_rate")]
        audio = audio["bytes"] if audio.get("bytes") is not None else audio.get("path")
    if isinstance(audio, (bytes, bytearray, memoryview)):
        return ["bytes", hashlib.sha256(audio).hexdigest()]
    if isinstance(audio, (str, os.PathLike)):
        path = Path(audio).resolve()
        stat = path.stat()
        return ["file", str(path), stat.st_size, stat.st_mtime_ns]
    array = np.ascontiguousarray(audio)
    return ["array", str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
