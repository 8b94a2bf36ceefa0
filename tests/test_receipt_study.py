"""`aural demo receipts` on a small untrained model: what is cut and counted, and that all follows from the file."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from transformers import set_seed
from typer.testing import CliRunner

from aural.cli import app
from aural.demo import WORDS, make_model, make_processor
from aural.receipt_curves import DeletionCurve
from aural.receipt_report import SIGNALS, TROUBLED, VARIANTS, draw_study, make_report, told
from aural.receipt_study import PLANS, AskedWord, ReceiptPlan, cut_string, cut_strings, run_receipts
from aural.receipting import THRESHOLD
from aural.training.clips import load_clips
from aural.training.compose import Spoken, is_held_out

ROOT = Path(__file__).parent.parent
RATE = 16_000
PLAN = ReceiptPlan(cases=2, tuning=1, curve=1, draws=1)


@pytest.fixture(scope="module")
def clips():
    return load_clips(WORDS)


@pytest.fixture(scope="module")
def processor(clips):
    return make_processor([clip.text for clip in clips])


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    set_seed(0)
    path = tmp_path_factory.mktemp("model")
    model = make_model(processor, 8).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.5)  # so that words differ
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    text = run_receipts(folder, out, PLAN, seed=1, console=Console(quiet=True))
    return out, text, json.loads((out / "report.json").read_text())


def test_what_is_cut_is_the_sound_of_one_recording_and_all_its_words():
    audio = np.arange(RATE, dtype=np.float32) / RATE
    spoken = (Spoken("one two", 0.1, 0.3), Spoken("three", 0.4, 0.6), Spoken("four", 0.7, 0.8))
    cuts = {}
    for seed in range(20):
        one = cut_string(audio, spoken, RATE, np.random.default_rng(seed))
        place = {(0, 1): 0, (2,): 1, (3,): 2}[one.cut]
        start, end = round(spoken[place].start * RATE), round(spoken[place].end * RATE)
        assert one.text == "one two three four"
        np.testing.assert_array_equal(one.sounds["whole"], audio)
        np.testing.assert_array_equal(one.sounds["removed"], np.delete(audio, np.arange(start, end)))
        noise = one.sounds["noise"]
        np.testing.assert_array_equal(np.delete(noise, np.arange(start, end)), one.sounds["removed"])
        assert noise[start:end].std() == pytest.approx(audio[:320].std(), rel=0.1)  # that of the first pause
        cuts[place] = True
    assert sorted(cuts) == [0, 1, 2]


def test_strings_are_held_out_and_others_for_another_seed(clips, processor):
    one, again, other = (list(cut_strings(clips, processor, 3, seed)) for seed in (5, 5, 6))
    assert all(is_held_out(string.text) for string in [*one, *other])
    assert [string.text for string in one] == [string.text for string in again]
    assert {string.text for string in one}.isdisjoint(string.text for string in other)
    for first, second in zip(one, again, strict=True):
        assert first.cut == second.cut
        np.testing.assert_array_equal(first.sounds["noise"], second.sounds["noise"])


def test_rates_follow_from_the_words_beside_them(study):
    _, _, report = study
    whole = [word for one in report["words"]["whole"] for word in one]
    assert all(word["said"] for word in whole)
    for variant in VARIANTS:
        result, words = report["results"][variant], [word for one in report["words"][variant] for word in one]
        assert [word["text"] for word in words] == [word["text"] for word in whole]
        assert result["strings"] == 2 and result["cut_words"] == sum(not word["said"] for word in words) >= 2
        for name in (*SIGNALS, TROUBLED):

            def marked(word, name=name):
                return word["troubled"] if name == TROUBLED else word[name] < report["thresholds"][name]

            one = result["signals"][name]
            for key, some in (
                ("found", [word for word in words if not word["said"]]),
                ("false_alarms", [word for word in words if word["said"]]),
                ("false_alarms_whole", whole),
            ):
                assert one[key]["words"] == len(some)
                assert one[key]["marked"] == sum(map(marked, some))
                assert one[key]["rate"] == pytest.approx(one[key]["marked"] / len(some), abs=1e-4)
                low, high = one[key]["interval"]
                assert 0 <= low <= one[key]["rate"] + 1e-4 and one[key]["rate"] - 1e-4 <= high <= 1
        sure = [w for w in words if not w["said"] and w["confidence"] >= report["thresholds"]["confidence"]]
        assert result["sure_and_found_by_worth"]["words"] == len(sure)
    assert report["deletion"]["clips"] == len(report["curves"]["attended"]) == 1


def asked(said, worth, confidence, troubled=False):
    return AskedWord("a", said, confidence, worth, 10 * worth, 5 * worth, troubled)


def test_thresholds_are_of_the_tuning_and_signals_are_counted_one_by_one():
    tuning = {name: [[asked(True, 0.5, 0.9), asked(False, 0.1, 0.3)]] for name in VARIANTS}
    one = [asked(True, 0.6, 0.5), asked(False, 0.2, 0.8), asked(True, 0.25, 0.95)]
    other = [asked(False, 0.4, 0.2, troubled=True), asked(True, 0.4, 0.7)]
    cases = {"removed": [one, other], "noise": [other], "whole": [[asked(True, 0.29, 0.9)], [asked(True, 0.9, 0.9)]]}
    rows = np.array([[0.0, 1.0], [0.0, 3.0]])
    curve = DeletionCurve((0.0, 0.5), rows, rows / 2, rows / 4, np.array([2, 3]), 1, 0, "mean")
    report = make_report(tuning, cases, curve, {}, seed=0)
    assert report["thresholds"] == {"worth": 0.3, "confidence": 0.6, "drop": 3.0, "faithfulness": 1.5}
    removed = report["results"]["removed"]
    worth, trouble = removed["signals"]["worth"], removed["signals"][TROUBLED]
    assert [worth[key]["marked"] for key in ("found", "false_alarms", "false_alarms_whole")] == [1, 1, 1]
    assert [worth[key]["words"] for key in ("found", "false_alarms", "false_alarms_whole")] == [2, 3, 2]
    assert [trouble[key]["marked"] for key in ("found", "false_alarms", "false_alarms_whole")] == [1, 0, 0]
    assert worth["ranks_said_above"] == pytest.approx((2 + 1 + 1.5) / 6)  # 0.6, 0.25, 0.4 against 0.2, 0.4
    assert removed["sure_and_found_by_worth"]["marked"] == removed["sure_and_found_by_worth"]["words"] == 1
    assert report["deletion"]["area_between"] == pytest.approx((0.25 + 0.75) / 2)
    assert "evidence finds 1 of 1 where the sound is cut out and 0 of 0 under noise" in told(report)


def test_table_and_picture_are_of_the_file_alone(study):
    out, text, report = study
    assert told(report) in text and f"{out}/report.json" in text
    rows = re.findall(r"^\| (cut out|noise in its place) \| ([^|]+) \| (\d+)% ", text, re.MULTILINE)
    expected = [
        (title, SIGNALS.get(name, name), f"{report['results'][variant]['signals'][name]['found']['rate']:.0%}"[:-1])
        for variant, title in VARIANTS.items()
        for name in (*SIGNALS, TROUBLED)
    ]
    assert rows == expected
    assert (out / "study.png").stat().st_size > 20_000
    left, found, curve = draw_study(report).axes
    words = [word for one in report["words"]["removed"] for word in one if word["said"]]
    np.testing.assert_allclose(left.collections[0].get_offsets()[:, 0], [word["worth"] for word in words])
    assert [line.get_label() for line in found.lines][:2] == ["worth, cut out", "confidence, cut out"]
    np.testing.assert_allclose(curve.lines[0].get_xdata(), 100 * np.array(report["deletion"]["amounts"]))
    np.testing.assert_allclose(curve.lines[0].get_ydata(), report["deletion"]["attended"], atol=1e-4)


def test_the_threshold_in_use_is_that_of_the_kept_study():
    kept = json.loads((ROOT / "model_cards" / "receipts" / "report.json").read_text(encoding="utf-8"))
    assert kept["thresholds"]["worth"] == THRESHOLD
    assert kept["plan"] == asdict(PLANS["standard"]) and kept["results"]["removed"]["strings"] == 100
    assert kept["results"]["removed"]["signals"]["worth"]["found"]["rate"] > 0.9  # what the module says of it
    assert 0.15 < kept["results"]["removed"]["signals"]["worth"]["false_alarms_whole"]["rate"] < 0.18


def test_a_seed_repeats_the_study(study, folder, tmp_path):
    _, _, report = study
    run_receipts(folder, tmp_path / "again", PLAN, seed=1, console=Console(quiet=True))
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    changing = {"seconds", "machine"}
    assert {key: report[key] for key in report.keys() - changing} == {
        key: again[key] for key in again.keys() - changing
    }


def test_the_command_refuses_a_file_for_a_folder(folder, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ["demo", "receipts", "--model", str(folder), "--out", str(tmp_path / "file"), "--tiny"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, NotADirectoryError) and (tmp_path / "file").is_file()
