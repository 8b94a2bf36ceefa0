"""The voices of `synthetic-en`: four of flite and 24 of eSpeak NG, asked for one clause at a time.

    audio, rate = Espeak().speak("en-us+f2", "the same text is the same samples", rate=1.1)

What is notable here:

- flite is the program of Debian's package, run from where it was unpacked: nothing is installed;
- eSpeak NG is a library, of the PyPI package `espeakng-loader` or of the system, in this process: 5 ms a clause;
- eSpeak NG carries its random state from one text to the next, so it is loaded anew for each: a clip depends on
  nothing that was said before it, and any number of processes makes the same corpus.
"""

import _ctypes
import ctypes
import ctypes.util
import importlib
import importlib.util
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ESPEAK_RATE = 150  # words a minute at rate 1
ESPEAK_MISSING = (
    "synthetic-en needs eSpeak NG, which is not on this machine: `pip install espeakng-loader` (the extra `phonemes` "
    "of aural), or Debian's package espeak-ng"
)


@dataclass(frozen=True)
class Voice:
    """One voice.

    Attributes:
        engine: "flite" or "espeak".
        name: what the engine calls it; of eSpeak NG an accent and a variant, "en-gb-scotland+f4".
        seen: whether `train` has it; voices that it has not are the voices of `test-voices`.
    """

    engine: str
    name: str
    seen: bool

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"


def _voices(engine: str, seen: str, unseen: str) -> tuple[Voice, ...]:
    names = [(name, True) for name in seen.split()] + [(name, False) for name in unseen.split()]
    return tuple(Voice(engine, name, among) for name, among in names)


VOICES = _voices("flite", "kal16 awb slt", "rms") + _voices(
    "espeak",
    "en-us+m1 en+m2 en-gb-scotland+m3 en-029+m4 en-us+m6 en-gb-x-rp+m7 en-us-nyc+m8 en-gb-x-gbclan+Andy en-us+Michael "
    "en-us+klatt2 en+gustave en-us+f1 en-gb-scotland+anika en-us-nyc+Andrea en-029+Annie en-us+linda en-gb-x-rp+steph "
    "en-us+aunty en-us+shelby en+grandma",
    "en-us+f4 en-gb-x-rp+m5 en-gb-x-gbcwmd+belinda en-us+adam",
)


class Flite:
    """flite's program, from Debian's packages flite, libflite1 and libasound2, unpacked.

    Args:
        root: of the unpacked packages.

    Raises:
        OSError: the packages hold no program, or it does not run on this machine; names it.
    """

    def __init__(self, root: Path) -> None:
        self.program = root / "usr/bin/flite"
        libraries = [str(folder) for folder in sorted((root / "usr/lib").glob("*")) if folder.is_dir()]
        kept = os.environ.get("LD_LIBRARY_PATH")
        self._environment = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join([*libraries, *([kept] if kept else [])])}
        if not self.program.is_file():
            raise FileNotFoundError(f"{self.program} is missing; it is in Debian's package flite")
        self._run("-lv")

    def speak(self, name: str, text: str, rate: float = 1.0) -> tuple[np.ndarray, int]:
        """What voice `name` makes of `text` at `rate` times its own pace: float32 `(samples,)` and its rate in Hz.

        Raises:
            OSError: the program fails; with its last complaint.
        """
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            stretch = f"duration_stretch={1 / rate:.6f}"
            self._run("-voice", name, "--setf", stretch, "-t", text, "-o", file.name)
            audio, sampling_rate = soundfile.read(file.name, dtype="float32")
        return audio, sampling_rate

    def _run(self, *arguments: str) -> None:
        command = [str(self.program), *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
            raise OSError(f"flite does not run: {lines[-1]}")


class Espeak:
    """eSpeak NG's library, by ctypes.

    Raises:
        OSError: neither `espeakng-loader` nor the system has the library; says what to install.
    """

    def __init__(self) -> None:
        self._library, self._data = _find_espeak()
        _ctypes.dlclose(ctypes.CDLL(self._library)._handle)  # it opens; whoever holds it open keeps its state

    def speak(self, name: str, text: str, rate: float = 1.0) -> tuple[np.ndarray, int]:
        """What voice `name` makes of `text` at `rate` times 150 words a minute: float32 `(samples,)`, its rate in Hz.

        Raises:
            OSError: there is no such accent.
        """
        blocks: list[bytes] = []

        def take(samples: Any, count: int, events: Any) -> int:
            if samples and count > 0:
                blocks.append(ctypes.string_at(samples, 2 * count))
            return 0

        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(take)
        ctypes.CDLL(None).srand(1)
        library = ctypes.CDLL(self._library)
        try:
            # 2: synchronous, samples to the callback; 1 << 15: an error comes back and does not end the process
            sampling_rate = library.espeak_Initialize(2, 0, self._data, 1 << 15)
            library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(name.encode()):
                raise OSError(f"eSpeak NG has no voice {name!r}")
            library.espeak_SetParameter(1, round(ESPEAK_RATE * rate), 0)  # 1: espeakRATE
            data = text.encode() + b"\0"
            library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, 1, None, None)  # 0 to the end, in UTF-8
        finally:
            library.espeak_Terminate()
            _ctypes.dlclose(library._handle)
        return np.frombuffer(b"".join(blocks), "<i2").astype(np.float32) / 32768, sampling_rate


def _find_espeak() -> tuple[str, bytes | None]:
    """The library's path, and its data's; None where the library knows the place itself."""
    if importlib.util.find_spec("espeakng_loader") is not None:
        loader = importlib.import_module("espeakng_loader")
        return loader.get_library_path(), loader.get_data_path().encode()
    installed = ctypes.util.find_library("espeak-ng")
    if installed is None:
        raise FileNotFoundError(ESPEAK_MISSING)
    return installed, None
