"""Mean and standard deviation of features: those of all frames at once, in an extractor that saves them."""

import json

import numpy as np
import pytest
import soundfile

from aural import LogMelFeatureExtractor
from aural.training.data import load_speech
from aural.training.feature_statistics import estimate_mean_std, with_statistics
from aural.training.mixup import Mixup
from aural.training.sound_data import SoundDataset

RATE = 16_000  # Hz
AST = {"num_mel_bins": 32, "window_type": "hanning", "waveform_scale": 1.0}


def clips():
    generator = np.random.default_rng(0)
    levels = (0.5, 0.01, 0.1, 0.0)  # loud, soft, short, digital silence
    seconds = (0.7, 1.1, 0.2, 0.3)
    return [
        (level * generator.normal(size=int(length * RATE))).clip(-1, 1).astype(np.float32)
        for level, length in zip(levels, seconds, strict=True)
    ]


def all_frames(extractor_options=AST, waves=None):
    extractor = LogMelFeatureExtractor(**extractor_options, normalize=None)
    parts = [extractor(wave, sampling_rate=RATE, padding=False)["input_features"][0] for wave in waves or clips()]
    return np.concatenate(parts).astype(np.float64)


@pytest.mark.parametrize(
    "options", [{}, {"normalize": "global", "mean": 3.0, "std": 9.0, "truncation": True, "max_length": 8}]
)
def test_statistics_are_those_of_all_frames(options):
    extractor = LogMelFeatureExtractor(**AST, padding="max_length" if options else True, **options)
    frames = all_frames()
    mean, std = estimate_mean_std(clips(), extractor, progress=False)
    assert (type(mean), type(std)) == (float, float)
    assert (mean, std) == (pytest.approx(frames.mean(), rel=1e-9), pytest.approx(frames.std(), rel=1e-9))
    mean, std = estimate_mean_std(clips(), extractor, per_mel=True, progress=False)
    np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-9)
    np.testing.assert_allclose(std, frames.std(0), rtol=1e-9)


def test_rows_files_and_datasets_count_alike(tmp_path):
    table = ["file_name,text,label"]
    for index, wave in enumerate(clips()):
        soundfile.write(tmp_path / f"{index}.wav", wave, RATE, subtype="FLOAT")
        table.append(f"{index}.wav,x,x")
    (tmp_path / "metadata.csv").write_text("\n".join(table))
    rows, extractor = load_speech(tmp_path), LogMelFeatureExtractor(**AST)
    dataset = SoundDataset(rows, extractor, ["x"], max_seconds=0.1, mixup=Mixup(share=1.0))
    expected = estimate_mean_std(clips(), extractor, progress=False)
    assert estimate_mean_std(rows, extractor, progress=False) == pytest.approx(expected)
    assert estimate_mean_std(dataset, extractor, progress=False) == pytest.approx(expected)


def test_some_clips_are_drawn_by_the_seed():
    extractor, waves = LogMelFeatureExtractor(**AST), clips()
    single = [estimate_mean_std([wave], extractor, progress=False) for wave in waves]
    seen = [estimate_mean_std(waves, extractor, clips=1, seed=seed, progress=False) for seed in range(12)]
    assert {round(mean, 6) for mean, _ in seen} == {round(mean, 6) for mean, _ in single}
    assert estimate_mean_std(waves, extractor, clips=2, seed=3, progress=False) == estimate_mean_std(
        waves, extractor, clips=2, seed=3, progress=False
    )
    assert estimate_mean_std(waves, extractor, clips=9, progress=False) == estimate_mean_std(
        waves, extractor, progress=False
    )


@pytest.mark.parametrize("per_mel", [False, True])
def test_an_extractor_with_them_gives_mean_0_and_std_1(per_mel, tmp_path):
    extractor = LogMelFeatureExtractor(**AST, padding_value=-0.5)
    mean, std = estimate_mean_std(clips(), extractor, per_mel=per_mel, progress=False)
    changed = with_statistics(extractor, mean, std)
    assert (extractor.normalize, extractor.mean) == ("utterance", None)
    difference = set(_flat(changed.to_dict())) ^ set(_flat(extractor.to_dict()))
    assert {name for name, _ in difference} == {"normalize", "mean", "std"}
    changed.save_pretrained(tmp_path)
    loaded = LogMelFeatureExtractor.from_pretrained(tmp_path)
    frames = np.concatenate([loaded(w, sampling_rate=RATE, padding=False)["input_features"][0] for w in clips()])
    assert frames.mean() == pytest.approx(0, abs=1e-5)
    assert frames.std() == pytest.approx(1, abs=1e-5)


def _flat(settings):
    return [(name, json.dumps(value)) for name, value in settings.items()]


def test_a_progress_bar_is_shown(capsys):
    estimate_mean_std(clips(), LogMelFeatureExtractor(**AST))
    assert "mean and std" in capsys.readouterr().out
    estimate_mean_std(clips(), LogMelFeatureExtractor(**AST), progress=False)
    assert capsys.readouterr().out == ""


def test_errors_name_the_clip_or_the_argument():
    extractor = LogMelFeatureExtractor(**AST)
    with pytest.raises(ValueError, match="item 1: array: holds NaN"):
        estimate_mean_std([clips()[0], np.array([0.0, np.nan])], extractor, progress=False)
    with pytest.raises(OSError, match="item 0: nowhere"):
        estimate_mean_std([{"audio": "nowhere.wav"}], extractor, progress=False)
    with pytest.raises(ValueError, match="empty"):
        estimate_mean_std([], extractor)
    with pytest.raises(ValueError, match="clips is 0"):
        estimate_mean_std(clips(), extractor, clips=0)
    with pytest.raises(ValueError, match=r"std: 0\.0; allowed is above 0"):
        with_statistics(extractor, 0.0, 0.0)


def test_clips_that_cannot_be_read_are_left_out_where_asked_for(tmp_path):
    extractor = LogMelFeatureExtractor(**AST)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    rows = [{"audio": wave} for wave in clips()]
    with_broken = [rows[0], {"audio": str(broken)}, *rows[1:]]
    with pytest.raises((OSError, ValueError), match="item 1"):
        estimate_mean_std(with_broken, extractor, progress=False)
    found = estimate_mean_std(with_broken, extractor, progress=False, skip_corrupt=True)
    assert found == estimate_mean_std(rows, extractor, progress=False)
    with pytest.raises(ValueError, match="no clip can be read"):
        estimate_mean_std([{"audio": str(broken)}], extractor, progress=False, skip_corrupt=True)
