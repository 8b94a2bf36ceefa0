"""Smallest sets, equal sets elsewhere, what lies under them, and curves, against brute force and worked numbers."""

from itertools import combinations

import numpy as np
import pytest

from aural.processing.evidence import (
    check_amounts,
    covered_features,
    dividing_line,
    elsewhere,
    first_of,
    mean_height,
    pieces,
    ranks_above,
    smallest_set,
)


def test_the_smallest_set_is_the_smallest_of_all_sets_that_hold_the_share():
    generator = np.random.default_rng(0)
    for _ in range(20):
        weights = generator.dirichlet(np.full(7, 0.5)).reshape(1, 7)
        found = smallest_set(weights, 0.8)
        assert weights[found].sum() >= 0.8 - 1e-9
        fewer = combinations(range(7), int(found.sum()) - 1)
        assert all(weights[0, list(cells)].sum() < 0.8 for cells in fewer)
        as_many = combinations(range(7), int(found.sum()))
        assert weights[found].sum() == pytest.approx(max(weights[0, list(cells)].sum() for cells in as_many))


def test_equal_cells_are_taken_from_the_first_on_and_no_more_than_are_allowed():
    even = np.full((2, 3), 1 / 6)
    np.testing.assert_array_equal(smallest_set(even, 0.5), [[True, True, True], [False, False, False]])
    np.testing.assert_array_equal(smallest_set(even, 1.0), np.ones((2, 3), bool))
    np.testing.assert_array_equal(smallest_set(np.array([[0.1, 0.5, 0.0, 0.4]]), 0.95, most=2), [[0, 1, 0, 1]])
    np.testing.assert_array_equal(smallest_set(np.array([[0.5, 0.0, 0.5]]), 1.0), [[True, False, True]])


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_a_share_that_cannot_be_is_named(share):
    with pytest.raises(ValueError, match="share="):
        smallest_set(np.ones((1, 2)), share)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [0.5, -0.1], [np.nan, 1.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        smallest_set(np.array(weights), 0.8)


def test_pieces_are_what_touches_by_its_sides():
    mask = np.array([[1, 0, 0, 1, 0], [1, 1, 0, 0, 1], [0, 0, 0, 0, 1]], dtype=bool)
    found = [sorted(map(tuple, piece.tolist())) for piece in pieces(mask)]
    assert found == [[(0, 0), (1, 0), (1, 1)], [(1, 4), (2, 4)], [(0, 3)]]
    assert pieces(np.zeros((2, 2), bool)) == []


@pytest.mark.parametrize("shape", [(1, 30), (4, 9)])
def test_sets_elsewhere_are_as_many_cells_and_none_of_the_evidence(shape):
    generator = np.random.default_rng(1)
    for _ in range(30):
        evidence = generator.random(shape) < generator.uniform(0.05, 0.45)
        if not 0 < 2 * evidence.sum() <= evidence.size:
            continue
        sets = elsewhere(evidence, 5, generator)
        assert sets.shape == (5, *shape) and sets.dtype == bool
        assert (sets.sum(axis=(1, 2)) == evidence.sum()).all()
        assert not (sets & evidence).any()


def test_pieces_keep_their_shapes_where_there_is_room():
    evidence = np.zeros((3, 20), dtype=bool)
    evidence[0:2, 4:6] = evidence[2, 15] = True  # a square and a single cell
    for chosen in elsewhere(evidence, 20, np.random.default_rng(2)):
        square = np.argwhere(chosen)
        shapes = [piece - piece.min(axis=0) for piece in pieces(chosen)]
        if len(shapes) == 2:  # else the two touch
            assert sorted(map(tuple, shapes[0].tolist())) == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert len(square) == 5


def test_every_place_that_is_free_is_drawn_about_as_often():
    evidence = np.zeros((1, 8), dtype=bool)
    evidence[0, 2:4] = True  # a pair fits at 0, 4, 5 and 6
    starts = np.array([chosen[0].argmax() for chosen in elsewhere(evidence, 4000, np.random.default_rng(3))])
    values, counts = np.unique(starts, return_counts=True)
    assert values.tolist() == [0, 4, 5, 6]
    assert (abs(counts - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75)).all()


def test_a_piece_that_fits_nowhere_is_halved_and_an_impossible_amount_refused():
    evidence = np.array([[0, 0, 1, 1, 1, 1, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(elsewhere(evidence, 3, np.random.default_rng(0)), np.stack([~evidence] * 3))
    with pytest.raises(ValueError, match="evidence of 5 cells leaves 3"):
        elsewhere(np.array([[1, 1, 1, 1, 1, 0, 0, 0]], dtype=bool), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="evidence of 2 cells leaves 1"):
        elsewhere(np.array([[1, 1, 0, 0]], bool), 1, np.random.default_rng(0), np.array([True, True, True, False]))


def test_places_that_are_not_allowed_are_left_alone():
    evidence = np.array([[1, 1, 0, 0, 0, 0, 0, 0]] * 2, dtype=bool)
    allowed = np.array([True] * 5 + [False] * 3)
    sets = elsewhere(evidence, 50, np.random.default_rng(4), allowed)
    assert (sets.sum(axis=(1, 2)) == 4).all() and not (sets & ~allowed).any() and not (sets & evidence).any()


def test_a_seed_repeats_the_places():
    evidence = np.arange(40).reshape(4, 10) % 7 == 0
    one, other, third = (elsewhere(evidence, 6, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, other)
    assert (one != third).any()


def test_what_lies_under_cells_is_the_union_of_their_rectangles():
    frames, mels = np.array([[0, 4], [3, 7], [6, 10]]), np.array([[0, 2], [1, 3]])
    cells = np.random.default_rng(6).random((5, 2, 3)) < 0.4
    expected = np.zeros((5, 9, 3), dtype=bool)
    for index, row, column in np.argwhere(cells):
        expected[index, frames[column, 0] : frames[column, 1], mels[row, 0] : mels[row, 1]] = True
    np.testing.assert_array_equal(covered_features(cells, frames, mels, (9, 3)), expected)


def test_the_first_of_an_order_grow_and_stay_inside_it():
    order = np.array([5, 0, 3, 1])
    sets = first_of(order, (0.0, 0.25, 0.5, 1.0), (2, 3))
    assert [sorted(np.flatnonzero(one).tolist()) for one in sets] == [[], [5], [0, 5], [0, 1, 3, 5]]
    assert sets.shape == (4, 2, 3)


def test_the_mean_height_is_the_area_by_trapezoids_over_the_length():
    assert mean_height((0.0, 0.5, 1.0), np.array([0.0, 2.0, 2.0])) == pytest.approx((0.5 + 1.0) / 1.0)
    points = np.sort(np.random.default_rng(7).random(6))
    values = np.random.default_rng(8).normal(size=6)
    expected = np.trapezoid(values, points) / (points[-1] - points[0])
    assert mean_height(points.tolist(), values) == pytest.approx(expected)


@pytest.mark.parametrize("amounts", [[0.1], [0.0, 0.0], [0.2, 0.1], [0.0, 1.2], [-0.1, 0.5]])
def test_points_that_are_no_curve_are_refused(amounts):
    with pytest.raises(ValueError, match="amounts="):
        check_amounts(amounts)


def test_ranks_count_pairs():
    assert ranks_above([3, 1], [2, 1]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    with pytest.raises(ValueError, match="0 values"):
        ranks_above([], [1])


def test_the_dividing_line_tells_the_two_apart_as_well_as_any():
    generator = np.random.default_rng(9)
    for _ in range(20):
        higher, lower = generator.normal(1, 1, 12).round(1), generator.normal(0, 1, 9).round(1)

        def told(line, higher=higher, lower=lower):
            return (lower < line).mean() - (higher < line).mean()

        found = dividing_line(higher, lower)
        assert told(found) == pytest.approx(max(told(line) for line in np.arange(-4, 5, 0.05)))
    assert dividing_line([2.0, 3.0], [0.0, 1.0]) == 1.5
    with pytest.raises(ValueError, match="against 0"):
        dividing_line([1.0], [])
