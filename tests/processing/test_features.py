"""`LogMelFeatureExtractor` against kaldi-native-fbank, against transformers' extractors, and against itself."""

import copy
import json
import pickle

import kaldi_native_fbank
import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor, Speech2TextFeatureExtractor

from aural.processing import log_mel as log_mel_module
from aural.processing.features import LogMelFeatureExtractor

RATE = 16_000
AST = {"num_mel_bins": 128, "window_type": "hanning", "waveform_scale": 1.0}
AST_MEAN, AST_STD = -4.2677393, 4.5689974


def vowel(samples: int = 24_077, rate: int = RATE) -> np.ndarray:
    """A voice of 120 Hz with two formants over room noise, as 16-bit audio would hold it."""
    time = np.arange(samples) / rate
    wave = np.random.default_rng(7).standard_normal(samples) * 2e-3
    for harmonic in range(1, 30):
        pitch = 120 * harmonic
        loudness = np.exp(-(((pitch - 700) / 300) ** 2)) + 0.4 * np.exp(-(((pitch - 1_700) / 300) ** 2)) + 0.01
        wave += 0.1 * loudness * np.sin(2 * np.pi * pitch * time + harmonic**2) * np.sin(np.pi * time * 3) ** 2
    return (np.round(wave * 32_768) / 32_768).astype(np.float32)


def noise(samples: int = 20_011, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


SIGNALS = {"vowel": vowel(), "noise": noise(), "silence": np.zeros(8_000, np.float32)}


def kaldi(wave: np.ndarray, **frame_or_mel: object) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80
    for name, value in frame_or_mel.items():
        setattr(options.frame_opts if hasattr(options.frame_opts, name) else options.mel_opts, name, value)
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(options.frame_opts.samp_freq, (wave * 32_768).tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(index) for index in range(bank.num_frames_ready)])


def features(wave: object, call: dict | None = None, **options: object) -> np.ndarray:
    extractor = LogMelFeatureExtractor(**{"normalize": None, **options})
    return extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="np", **(call or {})).input_features


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"window_type": "hanning"}, {"window_type": "hanning"}),
        ({"window_type": "hamming"}, {"window_type": "hamming"}),
        ({"snip_edges": False}, {"snip_edges": False}),
        ({"snip_edges": False, "frame_shift_ms": 30.0}, {"snip_edges": False, "frame_shift_ms": 30.0}),
        ({"high_freq": -400.0, "low_freq": 64.0}, {"high_freq": -400.0, "low_freq": 64.0}),
        ({"num_mel_bins": 23, "high_freq": 3_800.0}, {"num_bins": 23, "high_freq": 3_800.0}),
        ({"preemphasis": 0.5}, {"preemph_coeff": 0.5}),
        ({"remove_dc_offset": False}, {"remove_dc_offset": False}),
        ({"sampling_rate": 8_000, "num_mel_bins": 40}, {"samp_freq": 8_000, "num_bins": 40}),
        ({"sampling_rate": 22_050}, {"samp_freq": 22_050}),
        ({"frame_length_ms": 32.0, "frame_shift_ms": 12.5}, {"frame_length_ms": 32.0, "frame_shift_ms": 12.5}),
    ],
)
def test_features_are_kaldis(signal, ours, theirs):
    wave = SIGNALS[signal]
    expected = kaldi(wave, **theirs)
    got = features(wave, **ours)[0]
    assert got.shape == expected.shape
    # Kaldi computes in float32: a filter with less than a millionth of the frame's loudest energy holds the rounding
    # of the FFT too, by which Kaldi itself differs from float64 (1.3e-3 here), and processors from each other.
    lost = expected < expected.max(axis=1, keepdims=True) - np.log(1e6)
    assert lost.mean() < 0.1
    assert np.abs(got - expected)[~lost].max() < 1e-3
    assert np.abs(got - expected).max() < 1e-2


@pytest.mark.parametrize("signal", SIGNALS)
def test_features_are_those_of_ast(signal):
    wave = SIGNALS[signal]
    ast = ASTFeatureExtractor(max_length=180)(wave, sampling_rate=RATE, return_tensors="np").input_values
    padded = {"padding": "max_length", "max_length": 180, "truncation": True}
    scaled = {"normalize": "global", "mean": AST_MEAN, "std": 2 * AST_STD, "padding_value": -AST_MEAN / (2 * AST_STD)}
    got = features(wave, **AST, **padded, **scaled)
    assert got.shape == ast.shape == (1, 180, 128)
    assert np.abs(got - ast).max() < 1e-3


def test_utterance_normalisation_is_that_of_speech_to_text():
    waves = [vowel(), noise(9_000)]
    theirs = Speech2TextFeatureExtractor()(waves, sampling_rate=RATE, padding=True, return_tensors="np")
    ours = LogMelFeatureExtractor()(waves, sampling_rate=RATE, return_tensors="np")
    assert np.abs(ours.input_features - theirs.input_features).max() < 1e-3
    np.testing.assert_array_equal(ours.attention_mask, theirs.attention_mask)


def test_silence_is_the_log_of_the_floor_and_normalises_to_zero():
    silence = np.zeros(RATE, np.float32)
    np.testing.assert_array_equal(features(silence), np.log(np.float32(1.1920929e-07)))
    np.testing.assert_array_equal(features(silence, normalize="utterance"), 0)
    offset = np.full(RATE, 1_234 / 32_768, np.float32)
    np.testing.assert_array_equal(features(offset), np.log(np.float32(1.1920929e-07)))


@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("normalize", ["utterance", None])
def test_a_clip_in_a_batch_gives_what_it_gives_alone(snip_edges, normalize):
    extractor = LogMelFeatureExtractor(snip_edges=snip_edges, normalize=normalize, dither=1.0)
    waves = [noise(n, seed=n) for n in (1, 77, 399, 400, 401, 559, 560, 16_000)] + [vowel(), vowel(100_000)]
    batch = extractor(waves, sampling_rate=RATE, return_tensors="pt")
    for index, wave in enumerate(waves):
        alone = extractor(wave, sampling_rate=RATE, return_tensors="pt")
        frames = alone.input_features.shape[1]
        assert frames == extractor.frame_count(len(wave)) == batch.attention_mask[index].sum()
        assert (batch.input_features[index, :frames] - alone.input_features[0]).abs().max() < 1e-5
        assert (batch.input_features[index, frames:] == 0).all()
        assert (batch.attention_mask[index, :frames] == 1).all()


def test_utterance_statistics_are_of_the_real_frames():
    extractor = LogMelFeatureExtractor()
    batch = extractor([noise(), noise(60_000)], sampling_rate=RATE, return_tensors="pt")
    for clip, mask in zip(batch.input_features, batch.attention_mask, strict=True):
        real = clip[mask.bool()]
        assert real.mean(0).abs().max() < 1e-4
        assert (real.var(0, correction=0) - 1).abs().max() < 1e-3


def test_global_normalisation_takes_one_value_or_one_per_mel():
    plain = features(noise())
    np.testing.assert_allclose(features(noise(), normalize="global", mean=2.0, std=4.0), (plain - 2) / 4, atol=1e-5)
    mean, std = np.linspace(0, 9, 80, dtype=np.float32), np.linspace(1, 5, 80, dtype=np.float32)
    got = features(noise(), normalize="global", mean=mean, std=torch.from_numpy(std))
    np.testing.assert_allclose(got, (plain - mean) / std, atol=1e-5)


def test_every_kind_of_input_gives_one_answer():
    wave = noise(8_000)
    expected = features(wave)
    tensor = torch.from_numpy(wave)
    read_only = wave.copy()
    read_only.flags.writeable = False
    ones = [wave, wave.tolist(), tensor, wave.astype(np.float64), tensor.double(), tensor[None], wave[None], read_only]
    ones += [tensor.clone().requires_grad_(), wave[::-1].copy()[::-1], [wave], [tensor], (wave.tolist(),)]
    for one in ones:
        np.testing.assert_array_equal(features(one), expected)
    for two in ([wave, wave], [wave.tolist(), wave.tolist()], np.stack([wave, wave]), torch.stack([tensor, tensor])):
        np.testing.assert_array_equal(features(two), np.concatenate([expected, expected]))


@pytest.mark.parametrize(
    ("call", "frames"),
    [
        ({}, [98, 48]),
        ({"padding": "longest"}, [98, 98]),
        ({"padding": True, "pad_to_multiple_of": 16}, [112, 112]),
        ({"padding": "max_length", "max_length": 120}, [120, 120]),
        ({"padding": "max_length", "max_length": 60}, [98, 60]),
        ({"padding": "max_length", "max_length": 60, "truncation": True}, [60, 60]),
        ({"padding": "max_length", "max_length": 60, "truncation": True, "pad_to_multiple_of": 16}, [64, 64]),
        ({"padding": False, "max_length": 60, "truncation": True}, [60, 48]),
    ],
)
def test_lengths_follow_the_calls_arguments_and_the_stored_ones(call, frames):
    waves = [noise(16_000), noise(8_000)]
    by_call = LogMelFeatureExtractor(padding=False)(waves, sampling_rate=RATE, **call)
    by_store = LogMelFeatureExtractor(**{"padding": False, **call})(waves, sampling_rate=RATE)
    for got in (by_call, by_store):
        assert [clip.shape for clip in got.input_features] == [(length, 80) for length in frames]
        assert [len(mask) for mask in got.attention_mask] == frames
        kept = [min(98, frames[0]), 48]
        assert [mask.sum() for mask in got.attention_mask] == kept


def test_what_comes_out_is_of_the_kind_asked_for():
    extractor = LogMelFeatureExtractor()
    as_torch = extractor(noise(), sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
    assert list(as_torch) == ["input_features", "attention_mask"]
    assert (as_torch.input_features.dtype, as_torch.attention_mask.dtype) == (torch.float32, torch.int64)
    as_numpy = extractor(noise(), sampling_rate=RATE, return_tensors="np", return_attention_mask=False)
    assert list(as_numpy) == ["input_features"]
    assert isinstance(as_numpy.input_features, np.ndarray)
    assert isinstance(extractor(noise(), sampling_rate=RATE).input_features, list)
    with pytest.raises(ValueError, match="padding: the clips give 48 to 98 frames"):
        extractor([noise(16_000), noise(8_000)], sampling_rate=RATE, padding=False, return_tensors="pt")
    with pytest.raises(ValueError, match="max_length"):
        extractor(noise(), sampling_rate=RATE, truncation=True)


def test_dither_is_kaldis_noise_from_the_given_generator():
    silence = np.zeros(160_000, np.float32)
    state = torch.random.get_rng_state()

    def drawn(seed: int) -> np.ndarray:
        return features(silence, {"generator": torch.Generator().manual_seed(seed)}, dither=2.0)

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert np.abs(drawn(1) - drawn(2)).max() > 0.1
    np.testing.assert_array_equal(features(silence, dither=2.0), features(silence, dither=2.0))
    assert torch.equal(torch.random.get_rng_state(), state)
    gaussian = (2 / 32_768 * np.random.default_rng(3).standard_normal(160_000)).astype(np.float32)
    assert np.abs(drawn(1).mean((0, 1)) - kaldi(gaussian).mean(0)).max() < 0.2


def test_frames_are_placed_in_seconds():
    extractor = LogMelFeatureExtractor()
    assert extractor.seconds_per_frame == 0.01
    np.testing.assert_allclose(extractor.frame_times(3), [0.0125, 0.0225, 0.0325])
    np.testing.assert_allclose(LogMelFeatureExtractor(snip_edges=False).frame_times(2), [0.005, 0.015])
    click = np.zeros(RATE, np.float32)
    click[8_000] = 0.5  # half a second in
    for snip_edges in (True, False):
        extractor = LogMelFeatureExtractor(snip_edges=snip_edges, normalize=None)
        energy = extractor(click, sampling_rate=RATE, return_tensors="np").input_features[0].mean(1)
        assert abs(extractor.frame_times(len(energy))[energy.argmax()] - 0.5) <= extractor.seconds_per_frame


def test_saving_and_loading_keep_every_number(tmp_path):
    extractor = LogMelFeatureExtractor(**AST, normalize="global", mean=np.zeros(128), std=2.0, max_length=99)
    before = extractor(noise(), sampling_rate=RATE, return_tensors="np")
    extractor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["feature_size"] == saved["num_mel_bins"] == 128
    assert not [
        name for name, value in saved.items() if name not in ("mean", "auto_map") and isinstance(value, (list, dict))
    ]
    loaded = LogMelFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == extractor.to_dict()
    for other in (loaded, copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        after = other(noise(), sampling_rate=RATE, return_tensors="np")
        np.testing.assert_array_equal(after.input_features, before.input_features)
    assert not [value for value in vars(extractor).values() if isinstance(value, (torch.Tensor, np.ndarray))]


def test_changed_attributes_take_effect():
    extractor = LogMelFeatureExtractor(normalize=None)
    extractor(noise(), sampling_rate=RATE)
    extractor.window_type = "hamming"
    got = extractor(noise(), sampling_rate=RATE, return_tensors="np").input_features
    np.testing.assert_array_equal(got, features(noise(), window_type="hamming"))


def test_a_missing_sampling_rate_warns_and_a_wrong_one_raises(caplog):
    extractor = LogMelFeatureExtractor()
    extractor(noise())
    assert "`sampling_rate`" in caplog.text
    with pytest.raises(ValueError, match=r"sampling_rate: 8000 Hz; allowed is 16000 Hz"):
        extractor(noise(), sampling_rate=8_000)


@pytest.mark.parametrize(
    ("wave", "error", "message"),
    [
        ([], ValueError, "no clips"),
        (np.zeros((0, 400)), ValueError, "no clips"),
        (np.zeros(0), ValueError, "clip 0: empty"),
        ([np.zeros(400), np.zeros(0)], ValueError, "clip 1: empty"),
        ([np.zeros(400), np.full(400, np.nan)], ValueError, "clip 1: holds NaN or infinity"),
        (torch.tensor([0.0, -torch.inf, 0.0]), ValueError, "clip 0: holds NaN or infinity"),
        (np.array([1e300, 0.0]), ValueError, "clip 0: holds NaN or infinity"),
        (np.zeros((2, 2, 400)), ValueError, "raw_speech: 3 axes"),
        ([np.zeros((2, 400))], ValueError, "clip 0: 2 axes"),
        (np.zeros(400, np.int16), TypeError, "clip 0: dtype int16"),
        (torch.zeros(400, dtype=torch.int32), TypeError, "clip 0: dtype torch.int32"),
        ("speech.wav", TypeError, "raw_speech: str"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_waveforms_of_no_use_are_refused_by_name(wave, error, message):
    with pytest.raises(error, match=message):
        LogMelFeatureExtractor()(wave, sampling_rate=RATE)


@pytest.mark.parametrize(
    "options",
    [
        {"window_type": "blackman"},
        {"normalize": "batch"},
        {"high_freq": 8_001.0},
        {"high_freq": -7_990.0},
        {"low_freq": 8_000.0},
        {"low_freq": -1.0},
        {"num_mel_bins": 0},
        {"num_mel_bins": 257},
        {"frame_length_ms": 0.0},
        {"frame_shift_ms": 0.0},
        {"preemphasis": 1.5},
        {"mel_floor": 0.0},
        {"waveform_scale": 0.0},
        {"dither": -1.0},
        {"feature_size": 81},
        {"padding_side": "left"},
        {"mean": None, "normalize": "global"},
        {"std": 0.0, "mean": 0.0, "normalize": "global"},
        {"mean": [0.0, 1.0], "std": 1.0, "normalize": "global"},
    ],
)
def test_options_outside_what_is_allowed_are_refused_by_name(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: .*allowed"):
        LogMelFeatureExtractor(**options)


def test_long_audio_is_never_a_whole_matrix_of_frames(monkeypatch):
    seen = []
    power = log_mel_module._power
    monkeypatch.setattr(
        log_mel_module, "_power", lambda frames, *rest: seen.append(len(frames)) or power(frames, *rest)
    )
    got = features(noise(RATE * 60))
    assert got.shape == (1, 5_998, 80)
    assert sum(seen) == 5_998
    assert max(seen) <= 512


def test_neither_autocast_nor_matmul_precision_blurs_features():
    expected = features(noise())
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = features(noise())
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(got, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_an_accelerator_gives_what_the_processor_gives():
    waves = [torch.from_numpy(vowel()), torch.from_numpy(noise())]
    extractor = LogMelFeatureExtractor(normalize=None)
    here = extractor(waves, sampling_rate=RATE, return_tensors="pt").input_features
    there = extractor([wave.cuda() for wave in waves], sampling_rate=RATE, return_tensors="pt").input_features
    assert there.device.type == "cuda"
    assert (there.cpu() - here).abs().max() < 1e-3


def test_a_truncated_clip_is_normalised_over_the_frames_it_keeps():
    extractor = LogMelFeatureExtractor()
    wave = noise(32_000) * np.linspace(0.1, 1, 32_000, dtype=np.float32)  # the end is louder
    cut = extractor(wave, sampling_rate=RATE, max_length=60, truncation=True, return_tensors="np").input_features
    alone = extractor(wave[: 59 * 160 + 400], sampling_rate=RATE, return_tensors="np").input_features
    np.testing.assert_allclose(cut, alone, atol=1e-5)


def test_seconds_follow_from_whole_samples():
    extractor = LogMelFeatureExtractor(sampling_rate=22_050)  # a shift of 220.5 samples is one of 220
    assert extractor.seconds_per_frame == 220 / 22_050
    assert np.diff(extractor.frame_times(2)) == pytest.approx(220 / 22_050)


def test_the_mask_can_be_left_out_for_good():
    extractor = LogMelFeatureExtractor(return_attention_mask=False)
    assert list(extractor(noise(), sampling_rate=RATE)) == ["input_features"]
    assert list(extractor(noise(), sampling_rate=RATE, return_attention_mask=True))[1:] == ["attention_mask"]


def test_a_clip_shorter_than_a_frame_is_filled_up_with_silence():
    short = noise(200)
    filled = np.concatenate([short, np.zeros(200, np.float32)])
    np.testing.assert_array_equal(features(short), features(filled))


def test_an_attribute_changed_to_what_is_not_allowed_is_refused_at_the_call():
    extractor = LogMelFeatureExtractor()
    for name, value in (("normalize", "batch"), ("window_type", "blackman")):
        setattr(extractor, name, value)
        with pytest.raises(ValueError, match=f"{name}: '{value}'; allowed"):
            extractor(noise(), sampling_rate=RATE)
        setattr(extractor, name, getattr(LogMelFeatureExtractor(), name))
