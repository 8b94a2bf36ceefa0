"""tag() against the model's own forward, window by window, and what load_tagger refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import ASTFeatureExtractor

from aural import (
    LogMelFeatureExtractor,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
    Tagging,
    load_audio,
    load_recognizer,
    load_tagger,
    tag,
    tag_windows,
)
from aural.processing import audio, streaming
from aural.tagging import WindowPlan
from tests.tiny_spectrogram import LABELS, MELS, tiny_spectrogram, tiny_spectrogram_config
from tests.whole import save_folder, wave

CLIPS, MOMENTS = SpectrogramTransformerForAudioClassification, SpectrogramTransformerForAudioFrameClassification
SIZE, STRIDE = 6, 3  # of the tiny model's patches, in frames of 10 ms
NORMALIZED: dict[str, dict[str, Any]] = {
    "utterance": {},
    "global": {"normalize": "global", "mean": 5.0, "std": 3.0},
    "none": {"normalize": None},
    "mirrored ends and dither": {"snip_edges": False, "dither": 1.0},
}


def extractor(**options: Any) -> LogMelFeatureExtractor:
    return LogMelFeatureExtractor(num_mel_bins=MELS, **options)


def changing(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise at 16 kHz that grows and fades every 0.3 seconds, so that no window is like the next."""
    time = np.arange(int(seconds * 16_000)) / 16_000
    return (wave(seconds, seed) * (0.02 + np.sin(np.pi * time / 0.3) ** 2)).astype(np.float32)


def save_tagger(path: Path, model_class: type = CLIPS, **overrides: Any) -> Path:
    """A whole folder: weights and feature extractor."""
    tiny_spectrogram(model_class, **overrides).save_pretrained(path)
    extractor().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tagger(tmp_path_factory.mktemp("tagger"), problem_type="multi_label_classification")


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification", None])
@pytest.mark.parametrize("options", NORMALIZED)
def test_a_clip_within_a_window_gets_what_the_model_says_of_it(kind, options):
    model, features = tiny_spectrogram(CLIPS, problem_type=kind), extractor(**NORMALIZED[options])
    for seconds in (0.01, 0.05, 0.6, 0.9995):
        sound = changing(seconds)
        logits = model(**features(sound, sampling_rate=16_000, return_tensors="pt")).logits[0]
        expected = logits.sigmoid() if kind == "multi_label_classification" else logits.softmax(-1)
        result = tag(sound, model, features, window=1.0)[0]
        np.testing.assert_allclose(result.clip_scores, expected.detach(), atol=1e-5)
        np.testing.assert_allclose(result.scores, [expected.tolist()] * len(result.scores), atol=1e-5)
        assert result.seconds == len(sound) / 16_000


@pytest.mark.parametrize("pooling", ["mean", "max", "linear_softmax"])
@pytest.mark.parametrize("options", NORMALIZED)
def test_the_moments_of_a_clip_within_a_window_are_the_models(options, pooling):
    model, features = tiny_spectrogram(MOMENTS, frame_pooling=pooling), extractor(**NORMALIZED[options])
    for seconds in (0.01, 0.05, 0.6, 0.9995):
        sound = changing(seconds)
        outputs = model(**features(sound, sampling_rate=16_000, return_tensors="pt"))
        result = tag(sound, model, features, window=1.0)[0]
        np.testing.assert_allclose(result.scores, outputs.logits[0].sigmoid().detach(), atol=1e-5)
        np.testing.assert_allclose(result.clip_scores, outputs.clip_logits[0].sigmoid().detach(), atol=1e-5)


def normalized(rows: np.ndarray, options: str) -> torch.Tensor:
    """The extractor's normalisation of one window, from its definition."""
    rows = rows.astype(np.float64)
    if options in ("utterance", "mirrored ends and dither"):
        rows = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
    elif options == "global":
        rows = (rows - 5) / 3
    return torch.from_numpy(rows.astype(np.float32))[None]


def raw(sound: np.ndarray, options: str) -> np.ndarray:
    """Log-mel features of the whole recording, `(frames, mels)`."""
    whole = extractor(**{**NORMALIZED[options], "normalize": None, "mean": None, "std": None})
    return whole(sound, sampling_rate=16_000, return_tensors="np").input_features[0]


@pytest.mark.parametrize("hop", [0.25, 0.2, 0.5])
@pytest.mark.parametrize("options", NORMALIZED)
def test_scores_of_windows_are_averaged_over_the_steps_that_they_cover(options, hop):
    model = tiny_spectrogram(CLIPS, problem_type="multi_label_classification")
    sound = changing(2.33)
    rows, step = raw(sound, options), round(hop * 100)
    size = 50 if "mirrored" in options else 48  # frames of half a second; the last 25 ms frame must fit whole
    heard: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(99)]  # step by step: frames, scores
    for start in range(0, len(rows), step):
        stop = min(start + size, len(rows))
        if stop - start < SIZE or (start > 0 and stop == start - step + size):
            break
        scores = model(normalized(rows[start:stop], options)).logits[0].sigmoid().detach().numpy()
        for index in range(start // step, -(-stop // step)):
            heard[index].append((min(stop, (index + 1) * step) - index * step, scores))
        if stop == len(rows):
            break
    expected = [np.average([s for _, s in one], axis=0, weights=[f for f, _ in one]) for one in heard if one]
    result = tag(sound, model, extractor(**NORMALIZED[options]), window=0.5, hop=hop)[0]
    np.testing.assert_allclose(result.scores, expected, atol=1e-5)
    np.testing.assert_allclose(result.edges, [*(np.arange(len(expected)) * hop), 2.33], atol=1e-9)
    durations = np.diff(result.edges)
    np.testing.assert_allclose(result.clip_scores, durations @ np.array(expected) / 2.33, atol=1e-5)


@pytest.mark.parametrize(("hop", "strides"), [(0.25, 8), (0.1, 3), (0.5, 15)])
@pytest.mark.parametrize("options", NORMALIZED)
def test_scores_of_moments_are_averaged_where_windows_overlap(options, hop, strides):
    if "mirrored" in options and hop == 0.5:
        strides = 15  # 50 frames hold 15 patches too: a hop of 16 would leave one out
    model = tiny_spectrogram(MOMENTS)
    sound = changing(2.33)
    rows = raw(sound, options)
    size, patches = (50 if "mirrored" in options else 48), (len(rows) - SIZE) // STRIDE + 1
    sums, counts = np.zeros((patches, LABELS)), np.zeros((patches, 1))
    for start in range(0, len(rows) - SIZE + 1, strides * STRIDE):
        scores = model(normalized(rows[start : start + size], options)).logits[0].sigmoid().detach().numpy()
        sums[start // STRIDE : start // STRIDE + len(scores)] += scores
        counts[start // STRIDE : start // STRIDE + len(scores)] += 1
        if start + size >= len(rows):
            break
    assert counts.min() == 1  # no moment is left out
    result = tag(sound, model, extractor(**NORMALIZED[options]), window=0.5, hop=hop)[0]
    np.testing.assert_allclose(result.scores, sums / counts, atol=1e-5)
    np.testing.assert_allclose(result.times, model.config.patch_centers(len(rows)), atol=1e-9)
    np.testing.assert_allclose(result.edges[1:-1], (result.times[1:] + result.times[:-1]) / 2, atol=1e-9)
    assert (result.edges[0], result.edges[-1]) == (0, 2.33)


def test_a_rest_shorter_than_a_patch_gets_no_window_of_its_own():
    model = tiny_spectrogram(CLIPS)
    result = tag(changing(1.04), model, extractor(), window=0.5, hop=0.5)[0]  # 102 frames: two are left
    np.testing.assert_allclose(result.edges, [0, 0.5, 1.04])
    assert len(tag(changing(1.08), model, extractor(), window=0.5, hop=0.5)[0].scores) == 3  # six are left


def test_one_label_is_scored_by_itself():
    model, sound = tiny_spectrogram(CLIPS, num_labels=1), changing(0.15)
    logits = model(**extractor()(sound, sampling_rate=16_000, return_tensors="pt")).logits
    np.testing.assert_allclose(tag(sound, model, extractor())[0].clip_scores, logits[0].sigmoid().detach(), atol=1e-5)


@pytest.mark.parametrize(("model_class", "pooling"), [(CLIPS, "mean"), (MOMENTS, "mean"), (MOMENTS, "linear_softmax")])
def test_clip_scores_of_a_long_grid_are_taken_part_by_part(monkeypatch, model_class, pooling):
    model, sound = tiny_spectrogram(model_class, frame_pooling=pooling), changing(1.77)
    expected = tag(sound, model, extractor(), window=0.2)[0].clip_scores
    monkeypatch.setattr(tag_windows, "STEPS_AT_ONCE", 2)
    np.testing.assert_allclose(tag(sound, model, extractor(), window=0.2)[0].clip_scores, expected, atol=1e-6)


@pytest.mark.parametrize("model_class", [CLIPS, MOMENTS])
def test_nothing_depends_on_blocks_or_batches(monkeypatch, tmp_path, model_class):
    model, features = tiny_spectrogram(model_class), extractor(dither=0.5)
    path = tmp_path / "a.flac"
    soundfile.write(path, np.stack([changing(3, 1), changing(3, 2)], axis=1), 44_100)
    expected = tag(load_audio(path), model, features, window=0.3)[0]
    for block, batch_size in ((1_234, 1), (30_000, 3), (1 << 20, 100)):
        monkeypatch.setattr(audio, "BLOCK", block)
        monkeypatch.setattr(streaming, "BLOCK_SAMPLES", block)
        result = tag(path, model, features, window=0.3, batch_size=batch_size)[0]
        np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(result.clip_scores, expected.clip_scores, atol=1e-5)
        assert (result.source, result.seconds) == (str(path), expected.seconds)


def test_windows_are_padded_as_the_extractor_pads_clips():
    model, sound = tiny_spectrogram(CLIPS), changing(0.15)
    for options in ({"padding": "max_length", "max_length": 20}, {"padding": False}, {"pad_to_multiple_of": 8}):
        for mask in (True, False):
            features = extractor(return_attention_mask=mask, padding_value=0.5, **options)
            if not mask and "pad_to_multiple_of" in options:
                continue
            expected = model(**features(sound, sampling_rate=16_000, return_tensors="pt")).logits[0].softmax(-1)
            np.testing.assert_allclose(tag(sound, model, features)[0].clip_scores, expected.detach(), atol=1e-5)
    shorter_last = tag(changing(0.5), model, extractor(padding=False, return_attention_mask=False), 0.3)[0]
    np.testing.assert_allclose(shorter_last.scores, tag(changing(0.5), model, extractor(), 0.3)[0].scores, atol=1e-5)


class Loudness(MOMENTS):
    """Hears a sound where its frames are loud: what a trained model would do, known exactly."""

    def forward(self, input_features: torch.Tensor, **kwargs: Any) -> Any:
        outputs = super().forward(input_features, **kwargs)
        loud = input_features.mean(-1).unfold(1, SIZE, STRIDE).mean(-1)  # (batch, time patches)
        outputs.logits = torch.stack([loud - 8, loud * 0 - 9, loud * 0 - 9], dim=-1)
        return outputs


class LoudClips(CLIPS):
    """The same for whole clips: a sound for most of the window."""

    def forward(self, input_features: torch.Tensor, **kwargs: Any) -> Any:
        outputs = super().forward(input_features, **kwargs)
        loud = (input_features.mean(-1) > 8).float().mean(1) * 2 - 1
        outputs.logits = torch.stack([9 * loud, loud * 0 - 9, loud * 0 - 9], dim=-1)
        return outputs


def burst(onset: float, offset: float, seconds: float) -> np.ndarray:
    sound = wave(seconds) * 1e-4
    sound[int(onset * 16_000) : int(offset * 16_000)] += wave(offset - onset, seed=1)
    return sound


@pytest.mark.parametrize(("onset", "offset"), [(0.9, 1.1), (0.45, 1.6), (1.2, 1.9)])
def test_a_sound_that_crosses_the_borders_of_windows_is_one_event(onset, offset):
    torch.manual_seed(0)
    model = Loudness(tiny_spectrogram_config(problem_type="multi_label_classification")).eval()
    for hop in (0.5, 0.25, 0.1):
        result = tag(burst(onset, offset, 3), model, extractor(normalize=None), window=0.5, hop=hop)[0]
        (event,) = result.events()
        assert event.label == "LABEL_0"
        assert abs(event.onset - onset) < 0.06
        assert abs(event.offset - offset) < 0.06


def test_a_model_of_clips_gives_one_event_per_sound_on_the_grid_of_hops():
    torch.manual_seed(0)
    model = LoudClips(tiny_spectrogram_config(problem_type="multi_label_classification")).eval()
    result = tag(burst(1.0, 3.5, 5), model, extractor(normalize=None), window=1.0, hop=0.5)[0]
    (event,) = result.events()
    assert (event.onset, event.offset) == (1.0, 3.5)
    assert result.events(min_duration=3) == []


def test_hop_and_window_follow_from_the_model_where_they_are_not_given():
    config = tiny_spectrogram_config()  # positions for 20 frames
    assert WindowPlan.of(config, extractor(), framewise=False) == WindowPlan(18, 10, 10)
    assert WindowPlan.of(config, extractor(), framewise=True) == WindowPlan(18, 9, 3)
    assert WindowPlan.of(config, extractor(snip_edges=False), framewise=False) == WindowPlan(20, 10, 10)
    longer = tiny_spectrogram_config(position_frames=1024)
    assert WindowPlan.of(longer, extractor(), framewise=False) == WindowPlan(998, 500, 500)  # 10 and 5 seconds
    assert WindowPlan.of(longer, extractor(), False, window=4.0) == WindowPlan(398, 200, 200)
    short = extractor(truncation=True, max_length=100)
    assert WindowPlan.of(longer, short, framewise=False) == WindowPlan(98, 50, 50)


def test_top_sorts_and_names():
    clip_scores = np.array([0.2, 0.9, 0.5], np.float32)
    result = Tagging("a", 1.0, ("x", "y", "z"), clip_scores[None], np.array([0.5]), np.array([0, 1]), clip_scores)
    assert result.top(2) == [("y", pytest.approx(0.9)), ("z", 0.5)]
    assert [label for label, _ in result.top(9)] == ["y", "z", "x"]
    with pytest.raises(ValueError, match="k=0"):
        result.top(0)


def test_events_take_thresholds_by_label():
    model, features = tiny_spectrogram(MOMENTS), extractor()
    result = tag(changing(1), model, features)[0]
    lowest = result.scores.min(axis=0)
    events = result.events({f"LABEL_{i}": float(low) for i, low in enumerate(lowest)})
    assert [(e.label, e.onset, e.offset) for e in events] == [(f"LABEL_{i}", 0, 1) for i in range(LABELS)]
    assert [e.score for e in events] == pytest.approx(result.scores.max(axis=0).tolist())
    with pytest.raises(ValueError, match="no label 'Dog'"):
        result.events({"Dog": 0.5})


def test_many_sources_are_tagged_in_order_and_named(folder, tmp_path):
    soundfile.write(tmp_path / "a.wav", changing(0.4), 16_000, subtype="FLOAT")
    results = tag([tmp_path / "a.wav", changing(0.4), {"array": changing(0.2), "sampling_rate": 8_000}], folder)
    assert [result.source for result in results] == [str(tmp_path / "a.wav"), "audio 1", "audio 2"]
    np.testing.assert_array_equal(results[0].scores, results[1].scores)
    assert results[2].seconds == pytest.approx(0.4)
    assert results[0].labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_progress_tells_seconds_heard_and_in_all(folder, tmp_path):
    soundfile.write(tmp_path / "a.wav", changing(2), 16_000)
    told = []
    tag(tmp_path / "a.wav", folder, batch_size=4, progress=lambda *seconds: told.append(seconds))
    assert [seconds for _, seconds in told] == [2.0] * len(told)
    heard = [seconds for seconds, _ in told]
    assert len(heard) > 3
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(2.0, abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0.0}, "window: 0.0 seconds; allowed is above 0"),
        ({"window": float("nan")}, "window: nan"),
        ({"window": float("inf")}, "window: inf"),
        ({"window": 0.5, "hop": 0.6}, "hop: 0.6 seconds; allowed is above 0 to the window's 0.5"),
        ({"hop": -1.0}, "hop: -1.0"),
        ({"hop": 0.0}, "hop: 0.0"),
        ({"window": 0.05}, "window: 0.05 seconds give 3 frames; allowed is a patch of 6, or more"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"feature_extractor": None}, "feature_extractor=None"),
        ({"feature_extractor": LogMelFeatureExtractor(num_mel_bins=9)}, "gives 9 mels but the model takes 8"),
        ({"feature_extractor": extractor(frame_shift_ms=20.0)}, "every 20 ms but the model's frame_shift_ms is 10"),
        (
            {"window": 3.0, "feature_extractor": extractor(truncation=True, max_length=100)},
            "window: 3 seconds give 298 frames; the feature extractor keeps 100",
        ),
    ],
)
def test_arguments_of_no_use_are_refused_by_name(options, message):
    arguments = {"model": tiny_spectrogram(), "feature_extractor": extractor(), **options}
    with pytest.raises(ValueError, match=message):
        tag(changing(0.1), **arguments)


def test_models_that_give_no_scores_are_refused():
    with pytest.raises(TypeError, match="model: SpectrogramTransformerModel; allowed are a folder, "):
        tag(changing(0.1), tiny_spectrogram(SpectrogramTransformerModel), extractor())
    with pytest.raises(ValueError, match="problem_type='regression'"):
        tag(changing(0.1), tiny_spectrogram(problem_type="regression"), extractor())


def test_audio_of_no_use_is_refused_by_name(folder, tmp_path):
    (tmp_path / "b.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"b\.wav: not audio"):
        tag(tmp_path / "b.wav", folder)
    with pytest.raises(FileNotFoundError, match=r"gone\.wav"):
        tag(tmp_path / "gone.wav", folder)


def test_a_folder_gives_its_own_head_for_reading_in_full_precision(tmp_path):
    for model_class in (CLIPS, MOMENTS):
        tiny_spectrogram(model_class).bfloat16().save_pretrained(tmp_path)
        extractor().save_pretrained(tmp_path)
        model, features = load_tagger(tmp_path)
        assert type(model) is model_class
        assert not model.training
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert features.num_mel_bins == MELS


def test_folders_of_other_families_name_the_command_for_them(folder, tmp_path):
    las = save_folder(tmp_path / "las")
    with pytest.raises(ValueError, match=r"'las', which is not for `aural tag`; `aural transcribe` is the command"):
        load_tagger(las)
    with pytest.raises(ValueError, match=r"not for `aural transcribe`; `aural tag` is the command for it"):
        load_recognizer(folder)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "audio-spectrogram-transformer"}))
    with pytest.raises(ValueError, match=r"`aural convert` is the command for it"):
        load_tagger(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]}))
    with pytest.raises(ValueError, match=r"holds a Wav2Vec2ForCTC; `aural tag` takes SpectrogramTransformerFor"):
        load_tagger(tmp_path)


def test_folders_that_lack_something_say_what(folder, tmp_path):
    tiny_spectrogram(SpectrogramTransformerModel).save_pretrained(tmp_path / "headless")
    with pytest.raises(ValueError, match="headless holds a SpectrogramTransformerModel"):
        load_tagger(tmp_path / "headless")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    tiny_spectrogram(SpectrogramTransformerModel).save_pretrained(copy)
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"cannot load a model from .*copy: the weights lack classifier\.dense\.bias"):
        load_tagger(copy)
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"cannot load a model from .*copy"):
        load_tagger(copy)
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(OSError, match=r"cannot load a model from .*copy"):
        load_tagger(copy)
    ASTFeatureExtractor().save_pretrained(copy)
    with pytest.raises(ValueError, match="holds a ASTFeatureExtractor, not a LogMelFeatureExtractor"):
        load_tagger(copy)
    LogMelFeatureExtractor(num_mel_bins=9).save_pretrained(copy)
    with pytest.raises(ValueError, match="gives 9 mels but the model takes 8"):
        load_tagger(copy)
    with pytest.raises(FileNotFoundError, match=r"it has no config\.json"):
        load_tagger(tmp_path)
