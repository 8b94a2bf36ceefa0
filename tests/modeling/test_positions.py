"""Positions: at their own length exact, at another length interpolated as torch does, rotary relative."""

import math

import pytest
import torch

from aural.modeling.positions import (
    FactorizedPositions,
    JointPositions,
    SinusoidalPositions,
    TimeCoordinates,
    resample_positions,
    rotary_factors,
    rotate,
    time_coordinates,
)
from tests.tiny_spectrogram import tiny_spectrogram_config

LEARNED = 5  # columns of 20 frames: (20 - 6) // 3 + 1
ROWS = 3


def learned(kind: type, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    positions = kind(tiny_spectrogram_config(**options))
    for parameter in positions.parameters():
        parameter.data.normal_()
    return positions


def stretched(table: torch.Tensor, columns: int) -> torch.Tensor:
    """`table` `(rows, columns, hidden)` by torch's own linear interpolation along its columns."""
    moved = torch.nn.functional.interpolate(table.transpose(1, 2), size=columns, mode="linear", align_corners=False)
    return moved.transpose(1, 2)


def test_a_shorter_clip_uses_the_first_columns_where_the_config_says_cut():
    positions, config = learned(JointPositions), tiny_spectrogram_config()
    for columns in (1, 3, LEARNED):
        time = time_coordinates(config, columns, None, torch.device("cpu"))
        assert torch.equal(positions(time)[0], positions.table[:, :columns])


@pytest.mark.parametrize("columns", [6, 9, 23])
def test_a_longer_clip_stretches_the_table_over_its_length(columns):
    positions, config = learned(JointPositions), tiny_spectrogram_config()
    time = time_coordinates(config, columns, None, torch.device("cpu"))
    torch.testing.assert_close(positions(time)[0], stretched(positions.table, columns))


@pytest.mark.parametrize("columns", [2, 4, LEARNED, 11])
def test_interpolation_stretches_the_table_over_every_clips_own_length(columns):
    config = tiny_spectrogram_config(position_fit="interpolate")
    positions = learned(JointPositions)
    time = time_coordinates(config, columns, None, torch.device("cpu"))
    expected = stretched(positions.table, columns)
    torch.testing.assert_close(positions(time)[0], expected)
    if columns == LEARNED:
        assert torch.equal(positions(time)[0], positions.table)


@pytest.mark.parametrize("fit", ["cut", "interpolate"])
@pytest.mark.parametrize("kind", [JointPositions, FactorizedPositions])
def test_in_a_batch_every_clip_gets_the_positions_it_has_alone(kind, fit):
    config, positions = tiny_spectrogram_config(position_fit=fit), learned(kind)
    own = [9, 7, 3]
    time = time_coordinates(config, 9, torch.tensor(own), torch.device("cpu"))
    together = positions(time)
    for row, columns in enumerate(own):
        alone = positions(time_coordinates(config, columns, None, torch.device("cpu")))
        torch.testing.assert_close(together[row, :, :columns], alone[0])


def test_factorized_positions_are_the_sum_of_row_and_column():
    positions = learned(FactorizedPositions)
    got = positions(TimeCoordinates(torch.arange(4.0)[None], stretched=False))
    for row in range(ROWS):
        for column in range(4):
            expected = positions.frequency_table[row] + positions.time_table[column]
            torch.testing.assert_close(got[0, row, column], expected)


def test_sinusoidal_positions_are_sines_and_cosines_of_row_and_column():
    positions = SinusoidalPositions(tiny_spectrogram_config())
    got = positions(TimeCoordinates(torch.arange(40.0)[None], stretched=False))
    assert got.shape == (1, ROWS, 40, 16)
    for row, column in ((0, 0), (2, 37)):
        expected = []
        for place in (row, column):
            angles = [place / 10_000 ** (k / 4) for k in range(4)]
            expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        torch.testing.assert_close(got[0, row, column], torch.tensor(expected))


def test_rotary_products_depend_on_the_distance_along_both_axes_alone():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8, generator=generator)

    def product(at_query: list[float], at_key: list[float]) -> float:
        turned = [rotate(x, rotary_factors(torch.tensor([[p]]), 8)) for x, p in ((query, at_query), (key, at_key))]
        return (turned[0] * turned[1]).sum().item()

    assert product([1.0, 2.0], [3.0, 7.0]) == pytest.approx(product([4.0, 10.0], [6.0, 15.0]), abs=1e-5)
    assert product([1.0, 2.0], [3.0, 7.0]) != pytest.approx(product([1.0, 2.0], [3.0, 8.0]), abs=1e-3)
    assert product([1.0, 2.0], [3.0, 7.0]) != pytest.approx(product([1.0, 2.0], [2.0, 7.0]), abs=1e-3)
    assert product([0.0, 0.0], [0.0, 0.0]) == pytest.approx((query * key).sum().item(), abs=1e-6)


def test_a_table_resampled_to_its_own_size_is_bit_equal():
    table = torch.randn(4, 7, 3)
    for fit in ("interpolate", "cut"):
        assert torch.equal(resample_positions(table, 4, 7, fit), table)


@pytest.mark.parametrize(("rows", "columns"), [(4, 12), (8, 7), (3, 5), (6, 20)])
def test_resampling_is_bilinear(rows, columns):
    table = torch.randn(4, 7, 3)
    image = table.permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(image, size=(rows, columns), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resample_positions(table, rows, columns), expected[0].permute(1, 2, 0))


def test_cutting_takes_the_middle_as_the_ast_authors_do():
    table = torch.arange(24.0)[None, :, None].expand(2, 24, 1)
    assert resample_positions(table, 2, 7, "cut")[0, :, 0].tolist() == [9, 10, 11, 12, 13, 14, 15]  # 24 // 2 - 7 // 2
    longer = resample_positions(table, 2, 48, "cut")  # nothing to cut: interpolated
    torch.testing.assert_close(longer, resample_positions(table, 2, 48))


def test_a_wrong_fit_or_size_is_refused():
    with pytest.raises(ValueError, match="fit='pad' must be 'interpolate' or 'cut'"):
        resample_positions(torch.zeros(2, 2, 1), 2, 2, "pad")
    with pytest.raises(ValueError, match="rows=0, columns=2 must be at least 1"):
        resample_positions(torch.zeros(2, 2, 1), 0, 2)
