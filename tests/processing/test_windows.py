"""Windows against slices of the whole, averages against sums written out."""

import numpy as np
import pytest
import torch

from aural.processing.windows import OverlapAverage, windows


def cut(total: int, size: int, hop: int, least: int = 1, block: int = 7) -> list[tuple[int, list[int]]]:
    """Start and frame numbers of each window over `total` frames that come in blocks."""
    rows = torch.arange(total, dtype=torch.float32)[:, None]
    return [(w.start, w.features[:, 0].int().tolist()) for w in windows(rows.split(block), size, hop, least)]


@pytest.mark.parametrize("block", [1, 7, 1_000])
@pytest.mark.parametrize(
    ("total", "size", "hop", "least", "expected"),
    [
        (10, 10, 5, 1, [(0, 10)]),  # just one window
        (3, 10, 5, 1, [(0, 3)]),  # shorter than one
        (3, 10, 5, 6, [(0, 3)]),  # and than a patch
        (11, 10, 5, 1, [(0, 10), (5, 11)]),  # the last keeps its own length
        (15, 10, 5, 1, [(0, 10), (5, 15)]),
        (16, 10, 5, 1, [(0, 10), (5, 15), (10, 16)]),
        (16, 10, 5, 7, [(0, 10), (5, 15)]),  # a rest shorter than `least`
        (23, 10, 10, 4, [(0, 10), (10, 20)]),
        (24, 10, 10, 4, [(0, 10), (10, 20), (20, 24)]),
        (25, 9, 10, 4, [(0, 9), (10, 19), (20, 25)]),  # frames between windows, as between clips that were cut apart
        (20, 9, 10, 1, [(0, 9), (10, 19)]),
        (10, 9, 10, 1, [(0, 9)]),
    ],
)
def test_windows_are_slices_of_the_whole(block, total, size, hop, least, expected):
    expected = [(start, list(range(start, stop))) for start, stop in expected]
    assert cut(total, size, hop, least, block) == expected


def test_a_window_can_be_changed_without_changing_the_next():
    seen = []
    for window in windows([torch.ones(20, 2)], size=10, hop=5):
        seen.append(window.features.sum().item())
        window.features.zero_()
    assert seen == [20, 20, 20]


def test_scores_are_averaged_by_weight_where_they_overlap():
    generator = np.random.default_rng(0)
    grid, sums, weights = OverlapAverage(3), np.zeros((12, 3)), np.zeros(12)
    for first, steps in ((0, 5), (2, 5), (2, 3), (6, 4), (9, 3)):
        scores, weight = generator.random((steps, 3)), generator.random(steps) + 0.1
        grid.add(first, scores, weight)
        for step in range(steps):
            sums[first + step] += scores[step] * weight[step]
            weights[first + step] += weight[step]
    result = grid.result()
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, sums / weights[:, None], rtol=1e-6)


def test_only_steps_that_may_change_are_held_as_sums():
    grid = OverlapAverage(2)
    for first in range(0, 1_000, 5):
        grid.add(first, np.ones((10, 2)), np.ones(10))
        assert len(grid._sums) == 10
    assert grid.result().shape == (1_005, 2)
