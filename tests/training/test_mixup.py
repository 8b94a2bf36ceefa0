"""Mixup: draws from the generator it is handed, loudness as in between-class learning, labels mixed softly."""

import numpy as np
import pytest
import torch

from aural.training.mixup import Mixup, mix_batch, mix_labels, mix_waveforms

TIME = np.arange(8_000) / 8_000  # seconds


def tone(hertz, level, samples=8_000):
    return (level * np.sin(2 * np.pi * hertz * TIME[:samples])).astype(np.float32)


def amplitudes(mix):
    """Amplitudes of the tones of 100 and 250 Hz, which are orthogonal over the second."""
    return [2 * float(np.dot(mix, np.sin(2 * np.pi * hertz * TIME))) / len(TIME) for hertz in (100, 250)]


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.9])
def test_clips_are_heard_in_the_proportion_of_their_labels(ratio):
    quiet, loud = tone(100, 0.01), tone(250, 0.5)
    first, second = amplitudes(mix_waveforms(quiet, loud, ratio))
    # Section 3.2 of arXiv:1711.10282, from levels in dB.
    decibels = 20 * np.log10(0.01 / 0.5)
    p = 1 / (1 + 10 ** (decibels / 20) * (1 - ratio) / ratio)
    norm = np.sqrt(p**2 + (1 - p) ** 2)
    assert first == pytest.approx(p * 0.01 / norm, rel=1e-4)
    assert second == pytest.approx((1 - p) * 0.5 / norm, rel=1e-4)
    assert first / (first + second) == pytest.approx(ratio, rel=1e-4)


def test_clips_of_one_level_keep_their_energy():
    mixed = mix_waveforms(tone(100, 0.2), tone(250, 0.2), 0.4)
    assert np.sqrt(np.mean(mixed**2)) == pytest.approx(0.2 / np.sqrt(2), rel=1e-4)


@pytest.mark.parametrize("swap", [False, True])
def test_the_shorter_clip_is_followed_by_silence(swap):
    clips = [tone(100, 0.2, 4_000), tone(250, 0.2)]
    mixed = mix_waveforms(*(reversed(clips) if swap else clips), 0.5)
    assert mixed.dtype == np.float32
    assert len(mixed) == 8_000
    alone = tone(250, 0.2) * 0.5 / np.sqrt(0.5)
    np.testing.assert_allclose(mixed[4_000:], alone[4_000:], atol=1e-6)
    np.testing.assert_allclose((mixed - alone)[:4_000], clips[0] * 0.5 / np.sqrt(0.5), atol=1e-6)


def test_means_are_taken_out():
    mixed = mix_waveforms(tone(100, 0.2) + 0.3, tone(250, 0.2) - 0.1, 0.5)
    np.testing.assert_allclose(mixed, mix_waveforms(tone(100, 0.2), tone(250, 0.2), 0.5), atol=1e-6)


def test_silence_mixes_by_plain_weights():
    silence, clip = np.zeros(8_000, dtype=np.float32), tone(100, 0.2)
    norm = np.hypot(0.3, 0.7)
    np.testing.assert_allclose(mix_waveforms(silence, clip, 0.3), 0.7 * clip / norm, atol=1e-6)
    np.testing.assert_allclose(mix_waveforms(clip, silence, 0.3), 0.3 * clip / norm, atol=1e-6)
    assert not mix_waveforms(silence, silence, 0.3).any()


def test_labels_stay_within_0_and_1():
    first, second = np.array([1, 0, 1], dtype=np.float32), np.array([1, 1, 0], dtype=np.float32)
    for ratio in np.random.default_rng(0).random(1000):
        mixed = mix_labels(first, second, ratio)
        assert mixed.dtype == np.float32 and mixed[0] == 1 and mixed.min() >= 0 and mixed.max() <= 1
        np.testing.assert_allclose(mixed, [1, 1 - ratio, ratio], atol=1e-6)


def test_draws_follow_beta_and_the_share():
    generator = np.random.default_rng(0)
    ratios = np.array([Mixup(alpha=10, share=0.3).draw(generator) for _ in range(20_000)])
    mixed = ratios[ratios < 1]
    assert len(mixed) / len(ratios) == pytest.approx(0.3, abs=0.02)
    assert mixed.mean() == pytest.approx(0.5, abs=0.01)
    assert mixed.var() == pytest.approx(1 / (4 * (2 * 10 + 1)), rel=0.05)  # of Beta(a, a)
    assert {Mixup(share=0).draw(generator) for _ in range(50)} == {1.0}
    assert Mixup().draw(np.random.default_rng(4)) == Mixup().draw(np.random.default_rng(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "image"}, "kind is 'image'; allowed are 'waveform', 'spectrogram'"),
        ({"alpha": 0}, "alpha is 0; it must be above 0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"share": 1.1}, "share is 1.1; allowed is 0 to 1"),
    ],
)
def test_bad_options_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Mixup(**options)


def test_a_batch_is_mixed_with_its_own_unmixed_clips():
    features = [torch.full((frames, 2), float(value)) for frames, value in ((2, 1), (3, 10), (1, 100))]
    labels = list(torch.eye(3))
    # Of two others, 0 to 0.5 is the next one, 0.5 to 1 the one after it.
    draws = [(0.25, 0.0), (1.0, 0.7), (0.5, 0.9)]
    mixed, soft = mix_batch(features, labels, draws, padding_value=4.0)
    assert [one[:, 0].tolist() for one in mixed] == [[7.75, 7.75, 8.5], [10, 10, 10], [55, 7, 7]]
    assert [one.tolist() for one in soft] == [[0.25, 0.75, 0], [0, 1, 0], [0, 0.5, 0.5]]
    assert features[0].tolist() == [[1, 1], [1, 1]]  # as it was


def test_labels_of_moments_are_mixed_as_silence_after_the_end_and_stay_unknown():
    labels = [torch.tensor([[1.0], [-100.0]]), torch.tensor([[0.0], [0.0], [1.0], [-100.0]])]
    features = [torch.zeros(2, 1), torch.zeros(4, 1)]
    _, mixed = mix_batch(features, labels, [(0.75, 0.0), (0.75, 0.0)])
    assert mixed[0][:, 0].tolist() == [0.75, -100, 0.25, -100]
    assert mixed[1][:, 0].tolist() == [0.25, -100, 0.75, -100]


def test_a_clip_alone_stays_as_it_is():
    features, labels = [torch.ones(2, 2)], [torch.ones(3)]
    assert mix_batch(features, labels, [(0.5, 0.5)]) == (features, labels)
