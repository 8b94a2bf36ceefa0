"""The proof for long audio: the demo's strings as one file, decoded by the demo's model of this repository."""

from pathlib import Path

import pytest

from tests.long_strings import measure, runs_of_edits

MODEL = Path(__file__).parent.parent / "model_cards" / "las-demo"


def check(result: dict) -> None:
    print(result)
    assert result["wer_long"] <= result["wer_alone"] + 0.02
    assert result["longest_run_missing"] <= 1, "a stretch is missing"
    assert result["longest_run_added"] <= 1, "a stretch is there twice"


def test_a_minute_of_strings_is_read_as_the_strings_alone(tmp_path):
    check(measure(MODEL, 60, tmp_path / "minute.wav", seed=1))


@pytest.mark.full
def test_half_an_hour_of_strings_is_read_as_the_strings_alone(tmp_path):
    result = measure(MODEL, 1800, tmp_path / "half-hour.wav")
    check(result)
    assert result["megabytes_above"] < 300


def test_what_is_missing_or_there_twice_shows_as_a_run():
    assert runs_of_edits("a b c d e", "a d e") == (2, 0)
    assert runs_of_edits("a b c", "a b a b c") == (0, 2)
    assert runs_of_edits("a b c", "a x c") == (0, 0)
