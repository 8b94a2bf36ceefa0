"""The score of pre-training: counted from its clips, told, and counted again by who reads the report."""

import json

import pytest

from aural.training.masked_results import masked_result
from aural.training.report_reader import read_report
from aural.training.reports import conversion_report, write_report

RESULT = masked_result(["a.wav", "b.wav"], [10, 30], [1.0, 0.5])


def report(folder, **changes):
    told = {"dataset": "sounds", "split": "test", "about": "Kept out.", **RESULT, **changes}
    values = conversion_report("x", "mit", "f", "0" * 64, "d", "mit") | {
        "converted": None,
        "seed": 0,
        "data": [{"name": "sounds", "license": "mit", "hours": None, "source": "here"}],
        "results": [told],
    }
    write_report(folder, values)
    return folder / "report.json"


def test_the_loss_is_the_mean_over_all_masked_patches(tmp_path):
    assert RESULT["masked_loss"] == pytest.approx((10 * 1.0 + 30 * 0.5) / 40)
    read = read_report(report(tmp_path)).results[0]
    assert read.measures["masked_loss"].value == RESULT["masked_loss"] and read.clips == 2
    assert json.loads((tmp_path / "report.json").read_text())["results"][0]["kind"] == "masked"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"masked_loss": 0.6}, r"masked_loss is 0\.6; it must be what its clips give"),
        ({"clips": 3}, "clips is 3; it must be the number of predictions, which is 2"),
        ({"predictions": [{"name": "a", "patches": 0, "loss": 1.0}], "clips": 1}, "patches is 0"),
    ],
)
def test_a_loss_that_does_not_follow_from_its_clips_is_refused(changes, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        read_report(report(tmp_path, **changes))
