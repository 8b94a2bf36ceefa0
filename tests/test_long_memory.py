"""Three hours of speech in little memory: a long proof, run by `make test-full`."""

import subprocess
import sys

import pytest
import soundfile

from tests.test_long_audio import spoken
from tests.whole import save_folder

MEMORY = """
import resource, sys
from aural import load_recognizer
from aural.long_audio import transcribe_long

model, processor = load_recognizer(sys.argv[1])
options = {"max_seconds": 6.0, "num_beams": 1, "max_new_tokens": 4}
list(transcribe_long(sys.argv[2], model, processor, **options))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
segments = sum(1 for _ in transcribe_long(sys.argv[3], model, processor, **options))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(round((after - before) / 1024), segments)
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in units of Linux")
def test_three_hours_need_less_than_200_megabytes_above_a_minute(tmp_path):
    folder, part = save_folder(tmp_path / "model"), spoken()
    for name, times in (("minute.wav", 3), ("hours.wav", round(3 * 3600 * 16_000 / len(part)))):
        with soundfile.SoundFile(tmp_path / name, "w", 16_000, 1, "PCM_16") as file:
            for _ in range(times):
                file.write(part)
    arguments = [sys.executable, "-c", MEMORY, folder, tmp_path / "minute.wav", tmp_path / "hours.wav"]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    megabytes, segments = map(int, run.stdout.split())
    print(megabytes, segments)
    assert segments == 6 * times
    assert megabytes < 200
