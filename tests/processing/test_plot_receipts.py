"""Pictures of receipts: the numbers behind every axis."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from aural.processing.plot_receipts import plot_curves, plot_receipts, plot_study, roc
from aural.processing.plot_theme import theme

FEATURES = np.random.default_rng(0).normal(size=(40, 8))
SECONDS = np.stack([np.arange(5) * 0.08, np.arange(5) * 0.08 + 0.08], axis=1)


def item(text: str, peak: int, drop: float, flagged: bool) -> SimpleNamespace:
    attention = np.full((1, 5), 0.05)
    attention[0, peak] = 0.8
    evidence = np.zeros((1, 5), dtype=bool)
    evidence[0, peak : peak + 2] = True
    values = {"attention": attention, "evidence": evidence, "drop": drop, "random_drops": (0.1, -0.2, 0.4)}
    return SimpleNamespace(text=text, without_evidence=flagged, **values)


ITEMS = [item("seven", 0, 5.0, False), item("nine", 3, -1.5, True)]


@pytest.mark.parametrize("dark", [False, True])
def test_a_receipt_shows_attention_evidence_and_costs(dark):
    figure = plot_receipts(FEATURES, (0.0, 0.4), (20.0, 8000.0), SECONDS, ITEMS, "seven nine", dark)
    sound, corner, attended, costs = figure.axes
    np.testing.assert_array_equal(sound.images[0].get_array(), FEATURES.T)
    assert sound.get_title(loc="left") == "seven nine" and sound.get_xlim() == attended.get_xlim() == (0.0, 0.4)
    assert [label.get_text() for label in attended.get_yticklabels()] == ["seven", "nine"]
    shares = attended.collections[0].get_array().reshape(2, 5)
    np.testing.assert_allclose(shares, [[1, 1 / 16, 1 / 16, 1 / 16, 1 / 16], [1 / 16] * 3 + [1, 1 / 16]])
    lines = [line.get_xdata().tolist() for line in attended.lines]
    np.testing.assert_allclose(lines, [[0, 0.08], [0.08, 0.16], [0.24, 0.32], [0.32, 0.4]], atol=1e-12)
    names = ["as much elsewhere", "what it attended to", "the same: no evidence in the sound"]
    assert [text.get_text() for text in corner.get_legend().get_texts()] == names
    elsewhere, own, flagged = (each.get_offsets() for each in costs.collections)
    np.testing.assert_allclose(elsewhere, [(d, y) for y in (0.5, 1.5) for d in (0.1, -0.2, 0.4)])
    np.testing.assert_allclose(own, [(5.0, 0.5)])
    np.testing.assert_allclose(flagged, [(-1.5, 1.5)])
    assert costs.get_ylim() == attended.get_ylim() == (2.0, 0.0) and costs.get_xlabel() == "nats lost"
    assert to_rgba(figure.get_facecolor()) == to_rgba(theme(dark).ground)


def test_a_receipt_without_items_or_with_other_columns_is_refused():
    with pytest.raises(ValueError, match="items is empty"):
        plot_receipts(FEATURES, (0, 0.4), (20, 8000), SECONDS, [])
    with pytest.raises(ValueError, match="attention of 'seven' must have 4 columns"):
        plot_receipts(FEATURES, (0, 0.4), (20, 8000), SECONDS[:4], ITEMS)


def test_curves_are_means_with_their_standard_errors():
    curve = np.array([[0.0, 1.0, 3.0], [0.0, 2.0, 7.0]])
    (axes,) = plot_curves((0.0, 0.1, 0.5), {"attention": curve}, "nats", "lost").axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(0, 0), (10, 1.5), (50, 5)])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(5 + 1.96 * np.std([3, 7], ddof=1) / np.sqrt(2))
    assert axes.get_ylabel() == "nats" and axes.get_title(loc="left") == "lost"
    with pytest.raises(ValueError, match="curves"):
        plot_curves((0.0, 0.1), {"attention": curve}, "nats")


def test_the_roc_counts_what_lies_below_every_threshold():
    said, missing = np.array([0.5, 0.9, 0.2]), np.array([0.1, 0.5])
    alarms, found = roc(said, missing)
    lines = [0.1, 0.2, 0.5, 0.9, np.inf]
    np.testing.assert_allclose(alarms, [(said < line).mean() for line in lines])
    np.testing.assert_allclose(found, [(missing < line).mean() for line in lines])
    assert (alarms[0], found[0], alarms[-1], found[-1]) == (0, 0, 1, 1)


def test_a_study_needs_the_same_words_for_both_signals():
    one = {"cut out": (np.array([0.5]), np.array([0.1]))}
    with pytest.raises(ValueError, match="confidence of"):
        plot_study(one, {"noise": one["cut out"]}, 0.2, (0.0, 0.5), {"a": np.zeros((1, 2))})
