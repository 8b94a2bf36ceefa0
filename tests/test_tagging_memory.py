"""Three hours of audio in little memory: a long proof, run by `make test-full`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.test_tagging import CLIPS, MOMENTS, changing, save_tagger

MEMORY = """
import resource, sys
from aural import load_tagger, tag

model, features = load_tagger(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = tag(sys.argv[2], model, features, window=10, hop=5)[0]
events = result.events(0.9, median=0.5)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(round((after - before) / 1024), len(result.scores), round(result.seconds))
"""


def repeated(path: Path, seconds: float, rate: int, channels: int) -> Path:
    """A file of 20 seconds of sound, repeated."""
    part = np.stack([changing(20 * rate / 16_000, seed) for seed in range(channels)], axis=1)
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as file:
        for _ in range(round(seconds / 20)):
            file.write(part)
    return path


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in units of Linux")
@pytest.mark.parametrize(("model_class", "steps"), [(CLIPS, 2_160), (MOMENTS, 107_999)])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2)])
def test_three_hours_need_less_than_500_megabytes_above_the_model(tmp_path, model_class, steps, rate, channels):
    sizes = {"patch_size": [4, 16], "patch_stride": [4, 10], "position_frames": 1024, "num_hidden_layers": 1}
    labels = {index: f"sound {index}" for index in range(527)}  # as many as AudioSet's
    folder = save_tagger(tmp_path / "model", model_class, num_labels=527, id2label=labels, **sizes)
    path = repeated(tmp_path / "hours.wav", 3 * 3600, rate, channels)
    run = subprocess.run([sys.executable, "-c", MEMORY, folder, path], capture_output=True, text=True, check=True)
    megabytes, found, seconds = map(int, run.stdout.split())
    print(model_class.__name__, rate, channels, megabytes)
    path.unlink()
    assert (found, seconds) == (steps, 3 * 3600)
    assert megabytes < 500
