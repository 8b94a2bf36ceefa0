"""Pictures: both panels over the same seconds, tokens from top to bottom, files whole or not at all."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from aural.processing.events import Event
from aural.processing.plots import plot_alignment, plot_events, save_figure


def test_both_panels_keep_their_own_seconds_and_text_reads_downwards():
    features, alignment = np.random.default_rng(0).normal(size=(35, 8)), np.eye(4)[[0, 2, 3]]
    figure = plot_alignment(features, alignment, ["a", "b", "<eos>"], 0.01, 0.1)  # 0.35 s, of four states of 0.1 s
    sound, attention = (axes.images[0] for axes in figure.axes[:2])
    assert sound.get_extent() == pytest.approx([0, 0.35, 0, 8])
    assert sound.origin == "lower"
    assert attention.get_extent() == pytest.approx([0, 0.4, 2.5, -0.5])
    np.testing.assert_array_equal(sound.get_array(), features.T)
    assert figure.axes[1].get_ylim() == (2.5, -0.5)


def test_events_are_outlined_in_the_row_of_their_label_over_the_scores_of_that_time():
    features, scores = np.random.default_rng(0).normal(size=(35, 8)), np.random.default_rng(1).random((3, 2))
    edges = np.array([0.0, 0.1, 0.2, 0.35])
    figure = plot_events(features, scores, edges, ["bell", "horn"], 0.01, [Event(0.12, 0.3, "horn", 1.0)], "one horn")
    sound, table = figure.axes[:2]
    assert sound.images[0].get_extent() == pytest.approx([0, 0.35, 0, 8])
    assert sound.get_title("left") == "one horn"
    np.testing.assert_array_equal(table.collections[0].get_array().reshape(2, 3), scores.T)
    assert [text.get_text() for text in table.get_yticklabels()] == ["bell", "horn"]
    (outline,) = table.patches
    assert outline.get_bbox().bounds == pytest.approx((0.12, 1, 0.18, 1))  # from 0.12 s for 0.18 s, second row
    assert table.get_ylim() == (2, 0)


def test_scores_and_events_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"scores \(3, 2\) must be \(steps, labels\) = \(3, 1\)"):
        plot_events(np.zeros((9, 2)), np.zeros((3, 2)), np.arange(4.0), ["bell"], 0.01)
    with pytest.raises(ValueError, match="the label 'horn'; allowed are bell"):
        plot_events(np.zeros((9, 2)), np.zeros((3, 1)), np.arange(4.0), ["bell"], 0.01, [Event(0, 1, "horn", 1.0)])


def test_a_picture_is_written_whole_or_not_at_all(tmp_path):
    for name, head in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF")):
        save_figure(Figure(), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(head)
    (tmp_path / "b.png").mkdir()
    with pytest.raises(OSError):
        save_figure(Figure(), tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.jpg: a picture's name ends in \.png, \.svg or \.pdf"):
        save_figure(Figure(), tmp_path / "b.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.PDF", "a.png", "a.svg", "b.png"]
