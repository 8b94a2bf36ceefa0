"""What muting costs, in a report and on a card: the numbers are the report's, and a wrong curve is refused by name."""

import json
from typing import Any

import pytest

from aural.receipt_curves import write_deletion
from aural.training.cards import render_card
from aural.training.report_reader import read_report
from tests.training.test_cards import make_report, save_report, section

TITLE = "What attention is worth"
CURVE: dict[str, Any] = {
    "unit": "nats",
    "clips": 3,
    "claims": 11,
    "draws": 4,
    "seed": 0,
    "fill": "mean",
    "amounts": [0.0, 0.25, 0.5],
    "attended": [0.0, 1.234, 4.0],
    "at_random": [0.0, -0.5, 2.0],
    "attended_last": [0.0, 0.1, 0.2],
    "area_between": 1.367,
    "area_interval": [0.4, 2.0],
}


def test_a_curve_goes_into_report_and_card(tmp_path):
    save_report(tmp_path, make_report())
    assert TITLE not in str(render_card(tmp_path))
    write_deletion(tmp_path, CURVE)
    assert json.loads((tmp_path / "report.json").read_text())["deletion"] == CURVE
    assert read_report(tmp_path / "report.json").deletion.attended == (0.0, 1.234, 4.0)
    said = section((tmp_path / "README.md").read_text(), TITLE)
    for row in ("| 0% | 0.00 | 0.00 |", "| 25% | 1.23 | -0.50 |", "| 50% | 4.00 | 2.00 |"):
        assert row in said
    assert "11 of them in 3 clips" in said
    assert "costs more than muting at random: 1.37 nats" in said and "0.40 to 2.00" in said


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [([-2.0, -0.1], "costs less than"), ([-0.1, 0.2], "costs neither more nor less, by its interval, than")],
)
def test_a_card_says_more_only_where_the_interval_does(tmp_path, interval, verdict):
    save_report(tmp_path, make_report())
    write_deletion(tmp_path, {**CURVE, "area_interval": interval})
    assert verdict in section((tmp_path / "README.md").read_text(), TITLE)


@pytest.mark.parametrize(
    ("field", "value"), [("attended", [0.0, 1.0]), ("amounts", [0.0]), ("clips", 0), ("area_interval", None)]
)
def test_a_wrong_curve_is_refused_and_the_report_stays(tmp_path, field, value):
    path = save_report(tmp_path, make_report()) / "report.json"
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"deletion\.{field}"):
        write_deletion(tmp_path, {**CURVE, field: value})
    assert path.read_bytes() == before and not (tmp_path / "README.md").exists()
    with pytest.raises(FileNotFoundError, match=r"report\.json"):
        write_deletion(tmp_path / "nowhere", CURVE)
