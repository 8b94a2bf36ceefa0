"""`aural atlas` as typed: files and corpora, every output, errors before the work, nothing half written."""

import csv
import json

import numpy as np
import pytest
import soundfile

import aural
from aural import cli_atlas
from aural.atlas_clips import described_mixes, taught_clips, unheard_hits
from aural.atlas_files import read_table
from aural.training.drum_labels import KITS
from tests.test_cli import error_line, run
from tests.test_tagging import CLIPS, MOMENTS, changing, save_tagger
from tests.whole import save_folder

LABELS = ("hihat", "kick", "snare", "tom")
KIT = sorted(KITS)[:2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two kits of a hit of each family, in the form of `aural corpora drums`."""
    folder = tmp_path_factory.mktemp("drums")
    rows = []
    for number, (kit, label) in enumerate((kit, label) for kit in KIT for label in LABELS):
        time = np.arange(4_000) / 16_000
        soundfile.write(
            folder / f"{number}.flac", np.sin(600 * (number + 1) * time) * np.exp(-15 * time) * 0.5, 16_000
        )
        rows.append((f"{number}.flac", label, kit, 1))
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file_name", "label", "kit", "fold"), *rows])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of moments, whose report names one of the kits as heard."""
    folder = save_tagger(
        tmp_path_factory.mktemp("model"), MOMENTS, position_frames=400, id2label=dict(enumerate(LABELS[:3]))
    )
    data = [{"name": f"drum hits of 1 kits: {KIT[0]}", "license": "gpl-2.0", "hours": 1, "source": "here"}]
    (folder / "report.json").write_text(json.dumps({"data": data}))
    return folder


@pytest.fixture
def sounds(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for seed, path in enumerate(paths):
        soundfile.write(path, changing(0.3, seed), 16_000)
    return paths


def test_help_holds_an_example(capsys, monkeypatch):
    code, out, _ = run(capsys, monkeypatch, "atlas", "--help")
    assert code == 0
    assert "Example: aural atlas yard.wav" in " ".join(out.replace("`", "").split())


def test_files_give_names_a_table_and_a_picture(capsys, monkeypatch, model, sounds, tmp_path):
    written = [tmp_path / name for name in ("atlas.svg", "heads.csv", "heads.json")]
    options = ("-o", written[0], "--csv", written[1], "--report", written[2])
    code, out, err = run(capsys, monkeypatch, "atlas", *sounds, "--model", model, "--seed", 2, *options)
    assert code == 0
    found = aural.atlas(model, [str(path) for path in sounds], seed=2)
    assert out == "".join(f"layers.{i}: {', '.join(row)}\n" for i, row in enumerate(found.names))
    assert err.splitlines() == [f"not measured: {note}" for note in found.notes]
    assert len(found.notes) == 2
    for head, kept in zip(read_table(written[1]), found, strict=True):
        np.testing.assert_array_equal(list(head.measures.values()), list(kept.measures.values()))
    assert json.loads(written[2].read_text())["about"] == "2 files"
    assert "<svg" in written[0].read_text()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_corpus_tells_sources_and_worth_on_kits_that_were_not_heard(capsys, monkeypatch, model, corpus, tmp_path):
    options = ("--clips", 6, "--tests", 5, "--threshold", 0.6, "--csv", tmp_path / "heads.csv")
    report = tmp_path / "heads.json"
    code, out, err = run(
        capsys, monkeypatch, "atlas", "--corpus", corpus, "--model", model, *options, "--report", report
    )
    assert (code, err) == (0, "")
    hits = unheard_hits(corpus, model)
    assert {hit.kit for hit in hits} == {KIT[1]}
    mixes, tests = described_mixes(hits, None, 6, 0), taught_clips(hits, LABELS[:3], False, 5, 0)
    assert len(tests) == 5
    found = aural.atlas(model, mixes, tests=tests, threshold=0.6)
    for head, kept in zip(read_table(tmp_path / "heads.csv"), found, strict=True):
        np.testing.assert_array_equal(list(head.measures.values()), list(kept.measures.values()))
    assert found.sources == ("cymbal", "kick", "snare", "tom")
    told = json.loads(report.read_text())
    assert told["about"].endswith("worth on 5 clips of the same kits with the model's own labels")
    assert (told["clips"], told["tests"]) == (6, 5)
    score = found.scores["map"]
    low, high = found.scores["map_interval"]
    assert f"map of the whole model: {score:.3f} ({low:.3f} to {high:.3f}), 5 clips\n" in out


def test_hits_are_tests_of_a_model_of_one_label_and_none_where_labels_are_others(corpus, model):
    hits = unheard_hits(corpus)
    assert {hit.kit for hit in hits} == set(KIT)
    tests = taught_clips(hits, LABELS, True, 5, 0)
    assert [len(clip.events) for clip in tests] == [1] * 5
    assert len({clip.name for clip in tests}) == 5
    assert taught_clips(hits, ("dog", "tom"), False, 5, 0) == []
    mixes = described_mixes(hits, None, 4, 1)
    assert all(len({event.label for event in clip.events}) >= 2 for clip in mixes)
    names = ", ".join(sorted(KIT))
    (model / "report.json").rename(model / "kept.json")
    (model / "report.json").write_text(json.dumps({"data": [{"name": f"drum hits of 2 kits: {names}"}]}))
    try:
        with pytest.raises(ValueError, match="the model's report names all its kits as heard"):
            unheard_hits(corpus, model)
    finally:
        (model / "kept.json").replace(model / "report.json")


def test_trouble_is_said_before_the_work(capsys, monkeypatch, model, corpus, sounds, tmp_path):
    def refused(*arguments):
        code, out, err = run(capsys, monkeypatch, "atlas", *arguments, "--model", model)
        assert (code, out) == (2, "")
        return " ".join(err.replace("│", " ").split())

    assert "give audio files, or --corpus, and not both" in refused()
    assert "give audio files, or --corpus, and not both" in refused(sounds[0], "--corpus", corpus)
    assert "--effects: only beside --corpus" in refused(sounds[0], "--effects", corpus)
    assert "a picture's name ends in .png, .svg or .pdf" in refused(sounds[0], "-o", tmp_path / "atlas.gif")
    assert "there is no folder" in refused(sounds[0], "--csv", tmp_path / "nowhere" / "heads.csv")
    assert "is one of the audio files" in refused(sounds[0], "--report", sounds[0])
    _, _, err = run(capsys, monkeypatch, "atlas", tmp_path / "none.wav", "--model", model)
    assert "none.wav" in error_line(err)
    las = save_folder(tmp_path / "las")
    _, _, err = run(capsys, monkeypatch, "atlas", sounds[0], "--model", las)
    assert "which is not for `aural atlas`" in error_line(err)


def test_an_interrupt_leaves_no_file(capsys, monkeypatch, sounds, tmp_path):
    model = save_tagger(tmp_path / "model", CLIPS)

    def interrupted(figure, path, **options):
        path.write_bytes(b"half of a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", interrupted)
    monkeypatch.setattr(
        "sys.argv", ["aural", "atlas", str(sounds[0]), "--model", str(model), "-o", str(tmp_path / "a.png")]
    )
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        aural.cli.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav", "model"]


def test_the_bar_is_for_a_person_who_waits(as_in_a_terminal, capsys):
    with cli_atlas.atlas_bar(quiet=True) as show:
        show("clips", 1, 2)
    with cli_atlas.atlas_bar(quiet=False) as show:  # into a file
        show("clips", 1, 2)
    assert capsys.readouterr() == ("", "")
    as_in_a_terminal()
    with cli_atlas.atlas_bar(quiet=False) as show:
        show("clips", 1, 2)
        show("heads", 0, 4)
    shown = capsys.readouterr().err
    assert "clips" in shown and "1/2" in shown and "heads" in shown and "0/4" in shown
