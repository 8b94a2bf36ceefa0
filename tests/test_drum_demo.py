"""`aural demo drums` on a made-up corpus of tones: splits, reports, the kept model, going on after an interruption."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import aural
from aural.cli import app
from aural.drum_demo import PLANS, run_drums
from aural.drum_folds import (
    BASELINE,
    CLIPS,
    KEPT,
    MOMENTS,
    PRESENTED,
    load_heard,
    measure_presented,
    split_hits,
    train_classifier,
)
from aural.training.drum_labels import KITS, LABELS
from aural.training.drums import load_drums
from aural.training.linear_baseline import LinearBaseline, hit_features
from aural.training.report_reader import read_report

LOST = ("mixes-of-fold-3", "hits-of-fold-3", "kept")  # of a run that is taken up again


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Every kit has four labels, each a tone of its own; every label is in some kit of every fold."""
    folder = tmp_path_factory.mktemp("drums")
    rows = ["file_name,label,kit,fold,instrument,velocity,duration,licence"]
    for place, (kit, facts) in enumerate(KITS.items()):
        for number in range(4):
            label = LABELS[(place * 4 + number) % len(LABELS)]
            time = np.arange(3_200) / 16_000
            tone = 0.5 * np.cos(2 * np.pi * (300 + 500 * LABELS.index(label)) * time) * np.exp(-time * 10)
            name = f"{place}-{number}.wav"
            soundfile.write(folder / name, tone, 16_000)
            rows.append(f"{name},{label},{kit},{facts.fold},{label},,0.2,{facts.licence}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory) -> Path:
    return run_drums(corpus, tmp_path_factory.mktemp("run") / "drums", PLANS["tiny"], processes=1)


def test_no_split_hears_the_kits_it_is_tested_on(corpus):
    hits = load_drums(corpus)
    for name in (*(f"hits of fold {fold}" for fold in range(1, 6)), KEPT):
        seen, unseen = split_hits(hits, name)
        assert len(seen) + len(unseen) == len(hits)
        assert not {hit.kit for hit in seen} & {hit.kit for hit in unseen}
        if name == KEPT:
            assert {KITS[hit.kit].licence[:5] for hit in seen} == {"GPL-2"}
            assert 1 not in {hit.fold for hit in seen}
        else:
            assert {hit.fold for hit in unseen} == {int(name[-1])}


def test_the_clip_classifier_hears_no_noise_under_a_hit(corpus):
    hits = load_drums(corpus)
    model, extractor = train_classifier(hits, PLANS["tiny"], seed=0)
    assert model.config.patch_size == [16, 16]
    wave = np.concatenate([np.zeros(800, np.float32), hits[0].audio * np.float32(0.6), np.zeros(16_000, np.float32)])
    noisy = wave + np.random.default_rng(0).normal(0, 10 ** (-85 / 20), len(wave)).astype(np.float32)
    plain, other = (extractor(each, sampling_rate=16_000)["input_features"][0] for each in (wave, noisy))
    np.testing.assert_array_equal(plain[-90:], other[-90:])  # after the hit
    assert len(np.unique(plain[-90:])) == 1
    assert plain[:20].max() > plain[-90:].max() + 1


def test_the_linear_model_may_hear_hits_at_one_level_after_silence_as_the_classifiers_do(corpus):
    hits = load_drums(corpus)
    seen, unseen = hits[::2], hits[1::2]
    softer = [replace(hit, audio=hit.audio * np.float32(0.01)) for hit in unseen]
    alike, other = measure_presented(seen, unseen), measure_presented(seen, softer)
    np.testing.assert_allclose(alike.scores, other.scores, atol=1e-4)
    waves = [
        np.concatenate([np.zeros(800, np.float32), hit.audio / np.abs(hit.audio).max() * 10**-0.5]) for hit in hits
    ]
    features = hit_features([replace(hit, audio=wave) for hit, wave in zip(hits, waves, strict=True)])
    labels = [LABELS.index(hit.label) for hit in hits]
    model = LinearBaseline(LABELS).fit(features[::2], labels[::2])
    np.testing.assert_allclose(alike.scores, model.scores(features[1::2]), atol=1e-4)


def test_the_report_over_all_folds_holds_every_hit_once_beside_the_baseline(finished, corpus):
    report = read_report(finished / "report.json")  # counts every score again
    hits = [result for result in report.results if result.dataset == "drum hits"]
    assert [result.system for result in hits] == [CLIPS, MOMENTS, BASELINE, PRESENTED]
    for result in hits:
        assert sorted(result.names) == sorted(hit.name for hit in load_drums(corpus))
    mixes = {result.dataset for result in report.results} - {"drum hits"}
    assert mixes == {f"drum mixes, {number} at once" for number in (1, 2, 3, 4)}
    model, baseline = (
        [r for r in report.results if r.system == s and r.kind == "events"] for s in (MOMENTS, BASELINE)
    )
    for one, other in zip(model, baseline, strict=True):  # the same mixes
        assert one.references == other.references


def test_the_kept_model_is_a_whole_folder_with_card_and_picture(finished):
    folder = finished / "model"
    assert (folder / "events.png").read_bytes().startswith(b"\x89PNG")
    assert "license: gpl-2.0" in (folder / "README.md").read_text()
    tagging = aural.tag(np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32), folder)[0]
    assert tagging.labels == LABELS
    heard = CliRunner().invoke(app, ["publish", str(folder), "user/drums", "--dry-run"])
    assert heard.exit_code == 0, heard.output


def test_a_run_goes_on_where_it_stopped_and_is_the_same(finished, corpus, tmp_path):
    (tmp_path / "splits").mkdir(parents=True)
    for path in (finished / "splits").iterdir():
        if path.stem not in LOST:
            (tmp_path / "splits" / path.name).write_bytes(path.read_bytes())
    run_drums(corpus, tmp_path, PLANS["tiny"], processes=1)
    for name in LOST:
        again, first = (load_heard(folder / "splits" / f"{name}.json")[0] for folder in (tmp_path, finished))
        for system, heard in first.items():
            np.testing.assert_array_equal(again[system].scores, heard.scores)
            assert heard.mixes is None or again[system].mixes.predictions == heard.mixes.predictions
    seconds = [read_report(folder / "report.json").seconds["total"] for folder in (tmp_path, finished)]
    assert seconds[0] is None and seconds[1] > 0  # of the whole run, or not known
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (tmp_path, finished)]
    assert weights[0] == weights[1]


def test_results_of_other_settings_are_not_mixed_in(finished, corpus):
    with pytest.raises(
        FileExistsError, match=r"mixes-of-fold-1\.json is of a run with other settings; choose another --out"
    ):
        run_drums(corpus, finished, PLANS["tiny"], seed=1, processes=1)


def test_two_processes_give_what_one_gives(finished, corpus, tmp_path):
    (tmp_path / "splits").mkdir()
    for path in sorted((finished / "splits").iterdir()):
        if path.stem not in ("hits-of-fold-1", "hits-of-fold-2"):
            (tmp_path / "splits" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model").mkdir()
    for path in (finished / "model").iterdir():
        (tmp_path / "model" / path.name).write_bytes(path.read_bytes())
    run_drums(corpus, tmp_path, PLANS["tiny"], processes=2)
    ours, theirs = (json.loads((folder / "report.json").read_text())["results"] for folder in (tmp_path, finished))
    assert ours == theirs


def test_a_folder_without_a_corpus_and_flags_of_the_other_demo_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="make it with `aural corpora drums"):
        run_drums(tmp_path, tmp_path / "out", PLANS["tiny"])
    assert not (tmp_path / "out").exists()
    for flags, said in (
        (["drums"], "Missing option '--corpus'"),
        (["drums", "--long", "--corpus", "x"], "No such option: --long"),
        (["strings", "--corpus", "x"], "No such option: --corpus"),
        (["--tiny", "drums"], "options of `aural demo drums` come after its name"),
    ):
        result = CliRunner().invoke(app, ["demo", *flags])
        assert result.exit_code == 2
        assert said in result.output.replace("\n", " ").replace("│", "").replace("  ", " "), result.output
