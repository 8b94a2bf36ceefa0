"""Results of sounds: what is written is read back, and a number that its predictions do not give is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aural.processing import events as heard
from aural.training.event_scores import Event, score_events
from aural.training.report_reader import read_report
from aural.training.reports import conversion_report, write_report
from aural.training.sound_results import EventResult, TagResult, event_result, tag_result
from aural.training.tag_scores import MULTI, SINGLE, score_tags

CLASSES = ["kick", "snare", "hihat"]
LABELS = [0, 0, 1, 1, 2, 2]
SCORES = [
    [0.9, 0.06, 0.04],
    [0.4, 0.5, 0.1],
    [0.2, 0.7, 0.1],
    [0.1, 0.8, 0.1],
    [0.3, 0.3, 0.4],
    [0.123456789, 0.6, 0.276543211],
]
FILES = [f"{name}.wav" for name in "abcdef"]
REFERENCES = [[Event("kick", 0.1, 0.3), Event("snare", 0.5, 0.9)], [Event("hihat", 0.2, 0.25)], []]
HEARD = [[Event("kick", 0.15, 0.3), Event("snare", 0.9, 1.0)], [Event("hihat", 0.2, 0.3)], [Event("kick", 1.0, 1.1)]]


def tags(problem_type: str = SINGLE, **fields: Any) -> dict[str, Any]:
    labels = LABELS if problem_type == SINGLE else np.eye(3)[LABELS] + np.eye(3)[[0, 1, 1, 0, 2, 2]] > 0
    result = tag_result(FILES, labels, SCORES, CLASSES, problem_type)
    return {"dataset": "drums", "split": "five folds", "about": "Kits it never heard.", **result, **fields}


def events(offset_share: float | None = None, **fields: Any) -> dict[str, Any]:
    result = event_result(FILES[:3], REFERENCES, HEARD, CLASSES, offset_share=offset_share)
    return {"dataset": "mixes", "split": "two sounds", "about": "Kits it never heard.", **result, **fields}


def sound_report(*results: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "title": "Drums",
        "about": "Hears drums.",
        "license": "cc-by-sa-3.0",
        "base_model": None,
        "data": [{"name": "kits", "license": ["GPL-2", "CC0-1.0"], "hours": 0.2, "source": "hydrogen"}],
        "recipe": {"updates": 100},
        "seed": 0,
        "seconds": {"training": 60.0, "total": 70.0},
        "machine": {
            "processor": "x86_64",
            "cores": 2,
            "threads": 1,
            "device": "cpu",
            "peak_memory_gb": 1.0,
            "versions": {"aural": "0.2.0"},
        },
        "limits": ["Single hits."],
        "results": list(results),
        **fields,
    }


def converted(**fields: Any) -> dict[str, Any]:
    given = {
        "title": "AST",
        "license": "bsd-3-clause",
        "file": "audioset_0.4593.pth",
        "sha256": "0123456789abcdef" * 4,
        "dialect": "original AST",
        "source_license": "BSD-3-Clause",
    }
    return conversion_report(**{**given, **fields})


def test_tags_are_read_as_they_were_scored(tmp_path):
    report = read_report(write_report(tmp_path, sound_report(tags(), tags(MULTI, split="several"))))
    single, several = report.results
    assert isinstance(single, TagResult)
    expected = score_tags(LABELS, np.round(SCORES, 6), CLASSES)
    for name in ("accuracy", "macro_recall", "map"):
        assert single.measures[name].value == pytest.approx(expected[name])
        assert single.measures[name].interval == pytest.approx(tuple(expected[f"{name}_interval"]))
    assert single.names == tuple(FILES) and single.classes == tuple(CLASSES)
    assert single.present.argmax(axis=1).tolist() == LABELS
    assert single.scores == pytest.approx(np.array(SCORES), abs=1e-6)
    assert (single.clips, single.system, single.kind) == (6, None, "tags")
    assert several.present.sum() == 8
    assert several.measures.keys() == {"map", "auc", "d_prime"}
    assert several.measures["auc"].interval is None


@pytest.mark.parametrize("offset_share", [None, 0.5])
def test_events_are_read_as_they_were_scored(tmp_path, offset_share):
    result = read_report(write_report(tmp_path, sound_report(events(offset_share)))).results[0]
    assert isinstance(result, EventResult)
    expected = score_events(REFERENCES, HEARD, CLASSES, offset_share=offset_share)
    for name in ("event_f1_macro", "event_f1_micro"):
        assert result.measures[name].value == pytest.approx(expected[name])
        assert result.measures[name].interval == tuple(expected[f"{name}_interval"])
    assert result.counts.sum(axis=(0, 1)).tolist() == [2, 3, 4]
    assert [list(clip) for clip in result.references] == REFERENCES
    assert (result.collar, result.offset_share, result.clips) == (0.2, offset_share, 3)


def test_what_is_kept_is_what_is_scored(tmp_path):
    """Six digits join two scores that double precision keeps apart; a time is kept to a tenth of a millisecond."""
    scores = [[0.50000001, 0.4], [0.5, 0.4], [0.1, 0.9]]
    result = tag_result(FILES[:3], [0, 1, 0], scores, ["a", "b"])
    assert result["map"] == score_tags([0, 1, 0], np.round(scores, 6), ["a", "b"])["map"]
    assert result["map"] != score_tags([0, 1, 0], scores, ["a", "b"])["map"]
    found = [heard.Event(onset=0.20004999, offset=1 / 3, label="kick", score=0.7)]
    result = event_result(["a"], [[Event("kick", 0.0)]], [found], ["kick"])
    assert result["predictions"] == [
        {"name": "a", "reference": [["kick", 0.0, None]], "predicted": [["kick", 0.2, 0.3333]]}
    ]
    assert result["matched_events"] == 1


def test_a_clip_takes_a_line_and_texts_stay_what_they_are(tmp_path):
    odd = 'a "b", [\n  {c}, \u2028 ]\\.wav'
    result = {**tags(), "predictions": [{**clip, "name": odd} for clip in tags()["predictions"]]}
    text = write_report(tmp_path, sound_report(result, events())).read_text(encoding="utf-8")
    assert json.loads(text)["results"] == [result, events()]
    lines = [line for line in text.split("\n") if '"scores": [0.9, 0.06, 0.04]' in line]
    assert len(lines) == 1 and lines[0].startswith('        {"name": ')
    assert lines[0].endswith("}, ") is False and lines[0].endswith("},")
    assert '        {"name": "c.wav", "reference": [], "predicted": [["kick", 1.0, 1.1]]}\n' in text
    assert '          "spoken"' not in text


def test_an_earlier_aural_is_told_that_it_cannot_read_this(tmp_path):
    for report, number in (
        (sound_report(tags()), 2),
        (converted(), 2),
        (sound_report({"kind": "texts"}), 1),
        (sound_report({}), 1),
        (sound_report({"system": "baseline"}), 2),
    ):
        assert json.loads(write_report(tmp_path, report).read_text())["format"] == number


def test_numbers_that_are_none_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(tmp_path, sound_report(tags(map=float("nan"))))
    assert not list(tmp_path.iterdir())


def change(report: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    *path, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    place: Any = report
    for part in path:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return report


def save(folder: Path, report: dict[str, Any]) -> Path:
    path = folder / "report.json"
    path.write_text(json.dumps({"format": 2, **report}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("results.0.kind", "tones", r"results\[0\]\.kind is 'tones'; it must be one of texts, tags, events"),
        ("results.0.accuracy", 0.9, r"results\[0\]\.accuracy is 0\.9; it must be what its predictions give, 0\.66"),
        ("results.0.macro_recall", 0.9, r"results\[0\]\.macro_recall is 0\.9; it must be what its predictions give"),
        ("results.0.map", 0.9, r"results\[0\]\.map is 0\.9; it must be what its predictions give"),
        ("results.0.map", None, r"results\[0\]\.map is None; it must be a number"),
        ("results.0.map_interval", ..., r"results\[0\]\.map_interval is missing"),
        ("results.0.predictions.5.labels", ["snare"], r"accuracy is .* it must be what its predictions give, 0\.83"),
        (
            "results.0.predictions.0.labels",
            ["tom"],
            r"predictions\[0\]\.labels is .* some of the classes, kick, snare",
        ),
        ("results.0.predictions.0.labels", [], r"predictions\[0\]\.labels is \[\]; it must be one class"),
        ("results.0.predictions.0.labels", ["kick", "snare"], r"predictions\[0\]\.labels is .* must be one class"),
        ("results.0.predictions.1.scores", [1, 2], r"predictions\[1\]\.scores is \[1, 2\]; .* a list of 3 numbers"),
        ("results.0.predictions.1.scores", [1, 2, True], r"predictions\[1\]\.scores is .* a list of 3 numbers"),
        ("results.0.predictions.1.name", "", r"predictions\[1\]\.name is ''"),
        ("results.0.clips", 7, r"results\[0\]\.clips is 7; .* the number of predictions, which is 6"),
        ("results.0.scored_classes", 2, r"scored_classes is 2; .* which is 3"),
        ("results.0.classes", ["kick", "kick", "hihat"], r"classes is .* different texts"),
        ("results.0.problem_type", "regression", r"problem_type is 'regression'; it must be one of single_label"),
        ("results.0.system", "", r"results\[0\]\.system is ''"),
        ("results.1.auc", 0.5, r"results\[1\]\.auc is 0\.5; it must be what its predictions give"),
        ("results.1.d_prime", None, r"results\[1\]\.d_prime is None"),
        ("results.2.event_f1_macro", 0.9, r"results\[2\]\.event_f1_macro is 0\.9; .* what its predictions give"),
        ("results.2.event_f1_micro", 0.9, r"results\[2\]\.event_f1_micro is 0\.9; .* what its predictions give"),
        ("results.2.matched_events", 3, r"matched_events is 3; it must be what its predictions hold, 2"),
        ("results.2.reference_events", 4, r"reference_events is 4; it must be what its predictions hold, 3"),
        ("results.2.predicted_events", 3, r"predicted_events is 3; it must be what its predictions hold, 4"),
        ("results.2.collar", 0, r"results\[2\]\.predictions: collar is 0"),
        ("results.2.offset_share", ..., r"results\[2\]\.offset_share is missing"),
        ("results.2.predictions.0.predicted.0", ["tom", 0, 1], r"results\[2\]\.predictions: .* unknown class"),
        ("results.2.predictions.0.predicted.0", ["kick", 0], r"predictions\[0\]\.predicted is .* each \[class, onset"),
        ("results.2.predictions.0.predicted.0", ["kick", None, 1], r"predictions\[0\]\.predicted is .* in seconds"),
        ("results.2.predictions.0.predicted.0", ["kick", "0", 1], r"predictions\[0\]\.predicted is .* in seconds"),
        ("results.2.predictions.0.reference", None, r"predictions\[0\]\.reference is None"),
        ("results.2.clips", 4, r"results\[2\]\.clips is 4; .* which is 3"),
        ("results", [], r"results is \[\]"),
        ("data", [], r"data is \[\]"),
        ("data.0.license", [], r"data\[0\]\.license is \[\]"),
        ("data.0.license", ["GPL-2", ""], r"data\[0\]\.license is .* none of them empty"),
        ("seed", None, "seed is None"),
        ("language", "english", "language is 'english'"),
        ("example", {"caption": ""}, r"example\.caption is ''"),
        ("converted", {"file": "a.pth"}, r"converted\.sha256 is missing"),
    ],
)
def test_a_wrong_report_names_file_and_field(tmp_path, field, value, message):
    report = sound_report(tags(), tags(MULTI, split="several"), events())
    assert read_report(save(tmp_path, report)).results
    path = save(tmp_path, change(report, field, value))
    with pytest.raises(ValueError, match=message) as error:
        read_report(path)
    assert str(error.value).startswith(str(path))


def test_scores_that_are_not_defined_are_null_and_nothing_else(tmp_path):
    result = {**tags(), **tag_result(["a", "b"], [[1, 0], [0, 1]], [[0.9, 0.1], [0.1, 0.9]], ["a", "b"], MULTI)}
    measures = read_report(save(tmp_path, sound_report(result))).results[0].measures
    assert (measures["d_prime"].value, measures["auc"].value) == (None, 1)
    with pytest.raises(ValueError, match=r"d_prime is 9; it must be null: its predictions do not define it"):
        read_report(save(tmp_path, sound_report({**result, "d_prime": 9})))


def test_as_many_names_as_clips():
    with pytest.raises(ValueError, match="there are 1 names of clips and 6 clips"):
        tag_result(["a"], LABELS, SCORES, CLASSES)
    with pytest.raises(ValueError, match="there are 1 names of clips and 3 clips"):
        event_result(["a"], REFERENCES, HEARD, CLASSES)


def test_a_conversion_needs_no_result_but_the_sources_licence(tmp_path):
    path = write_report(tmp_path, converted(unused=["v.head.weight"], base_model="MIT/ast"))
    report = read_report(path)
    assert (report.results, report.data, report.seed, report.language) == ((), (), None, None)
    assert report.converted is not None
    assert report.converted.unused == ("v.head.weight",)
    assert (report.converted.license, report.converted.note) == ("BSD-3-Clause", None)
    assert report.base_model == "MIT/ast"
    for name, value, message in (
        ("license", "", r"converted\.license is ''"),
        ("license", ..., r"converted\.license is missing"),
        ("sha256", "abc", r"converted\.sha256 is 'abc'; it must be 64 hexadecimal digits"),
        ("unused", ..., r"converted\.unused is missing; it must be a list of texts"),
    ):
        with pytest.raises(ValueError, match=message):
            read_report(save(tmp_path, change(converted(), f"converted.{name}", value)))
    with pytest.raises(ValueError, match="licence field required"):
        read_report(save(tmp_path, converted(license="")))


def test_a_converted_model_may_be_measured_later(tmp_path):
    report = {**converted(), "results": [tags()]}
    assert len(read_report(save(tmp_path, report)).results) == 1


def test_texts_need_a_language_and_an_example(tmp_path):
    kept = json.loads((Path(__file__).parents[2] / "model_cards" / "las-demo" / "report.json").read_text())
    assert read_report(save(tmp_path, {**kept, "format": 1})).example == kept["example"]
    for name in ("language", "example"):
        with pytest.raises(ValueError, match=f"{name} is None"):
            read_report(save(tmp_path, {**kept, name: None}))
