"""`aural demo pretraining` on made-up tones: labels unused, starts alike but for the encoder, the report."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aural.cli import app
from aural.drum_folds import make_config, split_hits, stroke_features
from aural.drum_pretraining import PRETRAINED, SCRATCH, UnlabelledStrokes, labelled_share
from aural.drum_pretraining_report import DIFFERENCE, PLANS, compare, run_pretraining, summary
from aural.training.drum_labels import LABELS
from aural.training.drums import DrumHit, load_drums
from tests.test_drum_demo import corpus  # noqa: F401  # a fixture


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory) -> Path:  # noqa: F811
    return run_pretraining(corpus, tmp_path_factory.mktemp("run") / "pretraining", PLANS["tiny"])


def test_what_is_heard_before_does_not_follow_from_labels(corpus):  # noqa: F811
    hits = load_drums(corpus)
    extractor, equalizer = stroke_features(hits)
    config = make_config(extractor, PLANS["tiny"], multi_label=False)
    relabelled = [replace(hit, label=LABELS[0]) for hit in hits]
    heard, again, others = (
        UnlabelledStrokes(each, extractor, equalizer, config, 6, 4, seed)
        for each, seed in ((hits, 0), (relabelled, 0), (hits, 1))
    )
    for index in range(6):
        assert set(heard[index]) == {"input_features", "masks"}
        for name in heard[index]:
            np.testing.assert_array_equal(heard[index][name], again[index][name])
    assert any(not np.array_equal(heard[i]["input_features"], others[i]["input_features"]) for i in range(6))
    np.testing.assert_array_equal(heard[4]["input_features"], heard[0]["input_features"])  # the fifth of four
    assert len(heard) == 6


def test_a_tenth_of_the_labels_has_every_class_and_is_drawn_by_seed():
    counts = {"snare": 40, "kick": 26, "shaker": 3}
    hits = [
        DrumHit(f"{label} {number}", label, "kit", 1, np.zeros(1, np.float32))
        for label, count in counts.items()
        for number in range(count)
    ]
    drawn = labelled_share(hits, 0.1, seed=0)
    assert [sum(hit.label == label for hit in drawn) for label in counts] == [4, 3, 1]
    assert [hit.name for hit in drawn] == [hit.name for hit in labelled_share(hits, 0.1, seed=0)]
    assert {hit.name for hit in drawn} != {hit.name for hit in labelled_share(hits, 0.1, seed=1)}


def test_means_spreads_and_differences_are_over_folds():
    folds = {
        "1": {
            PRETRAINED: {"accuracy": [0.5, 0.7], "macro_recall": [0.1]},
            SCRATCH: {"accuracy": [0.4], "macro_recall": [0.3]},
        },
        "2": {
            PRETRAINED: {"accuracy": [0.8], "macro_recall": [0.3]},
            SCRATCH: {"accuracy": [0.3, 0.5], "macro_recall": [0.1]},
        },
    }
    results = compare(folds)
    assert results["accuracy"][PRETRAINED] == {
        "mean": 0.7,
        "spread": pytest.approx(0.1414, abs=1e-4),
        "folds": [0.6, 0.8],
    }
    assert results["accuracy"][DIFFERENCE] == {
        "mean": 0.3,
        "spread": pytest.approx(0.1414, abs=1e-4),
        "folds": [0.2, 0.4],
    }
    assert results["macro_recall"][DIFFERENCE]["mean"] == 0


def test_the_report_has_five_folds_of_kits_that_neither_heard(finished, corpus):  # noqa: F811
    report = json.loads(finished.read_text())
    assert list(report["folds"]) == ["1", "2", "3", "4", "5"]
    hits = load_drums(corpus)
    for fold, content in report["folds"].items():
        seen, unseen = split_hits(hits, f"hits of fold {fold}")
        assert (content["unlabelled"], content["tested"]) == (len(seen), len(unseen))
        assert content["labelled"] == len(labelled_share(seen, 0.1, 0))
        assert {start: {len(v) for v in own.values()} for start, own in content["scores"].items()} == {
            PRETRAINED: {1},
            SCRATCH: {1},
        }
    assert report["results"] == compare({fold: content["scores"] for fold, content in report["folds"].items()})
    lines = summary(finished).splitlines()
    assert len(lines) == 3 and lines[1].startswith("accuracy: pre-trained 0.") and "difference" in lines[2]
    assert (finished.parent / "reconstruction.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_goes_on_where_it_stopped_and_says_the_same(finished, corpus):  # noqa: F811
    def without_times(report):
        return {fold: {k: v for k, v in each.items() if k != "seconds"} for fold, each in report["folds"].items()}

    before = json.loads(finished.read_text())
    (finished.parent / "folds" / "2.json").unlink()
    again = run_pretraining(corpus, finished.parent, PLANS["tiny"])
    assert without_times(json.loads(again.read_text())) == without_times(before)
    with pytest.raises(FileExistsError, match=r"1.json is of a run with other settings"):
        run_pretraining(corpus, finished.parent, PLANS["tiny"], seed=1)


def test_the_kept_report_holds_what_its_folds_say():
    kept = Path(__file__).parent.parent / "model_cards" / "drums-pretraining.json"
    report = json.loads(kept.read_text())
    assert report["results"] == compare({fold: content["scores"] for fold, content in report["folds"].items()})
    assert report["plan"] == asdict(PLANS["standard"])
    assert summary(kept).count("\n") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Missing option '--corpus'"),
        (["--corpus", "nowhere", "--processes", "2"], "No such option: --processes"),
        (["--corpus", "nowhere", "--long"], "No such option: --long"),
    ],
)
def test_the_command_refuses_what_it_does_not_take(options, message):
    result = CliRunner().invoke(app, ["demo", "pretraining", *options])
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")


def test_a_corpus_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no metadata\.csv: make it with `aural corpora drums"):
        run_pretraining(tmp_path / "nowhere", tmp_path / "out", PLANS["tiny"])
