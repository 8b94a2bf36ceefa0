"""Pictures: both panels over the same seconds, tokens from top to bottom, files whole or not at all."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from aural.processing.events import Event
from aural.processing.plots import plot_alignment, plot_events, plot_pages, plot_training, save_figure


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


def test_losses_and_scores_stand_at_their_updates():
    figure = plot_training({50: 3.0, 100: 2.0}, {"WER": {100: 0.9, 200: 0.4}, "CER": {100: 0.5}}, "a run")
    loss, scores = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[50, 3.0], [100, 2.0]])
    assert [line.get_label() for line in scores.lines] == ["WER", "CER"]
    np.testing.assert_array_equal(scores.lines[0].get_xydata(), [[100, 0.9], [200, 0.4]])
    assert scores.get_ylim()[0] == 0 and loss.get_title() == "a run"
    assert len(plot_training({1: 1.0}, {}).axes) == 1


def test_pages_keep_their_order_and_empty_places_stay_blank(tmp_path):
    paths = []
    for shade in (0.0, 0.5, 1.0):
        axes = (figure := Figure(figsize=(1, 1))).add_axes((0, 0, 1, 1))
        axes.imshow(np.full((2, 2), shade), cmap="gray", vmin=0, vmax=1)
        axes.axis("off")
        paths.append(tmp_path / f"{shade}.png")
        save_figure(figure, paths[-1], dpi=20)
    grid = plot_pages(paths).axes
    assert [round(float(axes.images[0].get_array()[5, 5, 0]), 1) for axes in grid[:3]] == [0.0, 0.5, 1.0]
    assert not grid[3].images and not grid[3].axison
    with pytest.raises(ValueError, match="at least one"):
        plot_pages([])
