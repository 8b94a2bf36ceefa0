"""What makers of corpora share; tests of `prompts-en` and `drums` cover the rest."""

import shutil
from pathlib import Path

import pytest

from aural.training.corpus_files import (
    CorpusSummary,
    common_licence,
    licence_text,
    run_tool,
    unpacked,
    write_table,
    written_whole,
)


def test_summary_counts_words_only_where_there_are_texts_and_shows_every_count():
    options = {"name": "c", "folder": Path("out"), "source": "s", "licence": "l"}
    options |= {"clips": {"a": 2}, "minutes": {"a": 0.5}}
    assert "3 different words" in str(CorpusSummary(**options, words=3))
    shown = str(CorpusSummary(**options, words=None, counts={"label": {"kick": 2, "tom": 0}}, skipped={"late": 4}))
    assert "words" not in shown
    assert "by label: kick 2, tom 0" in shown
    assert "left out, late: 4" in shown


def test_folder_takes_its_place_whole_or_leaves_nothing(tmp_path):
    with written_whole(tmp_path / "made" / "deep") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "made" / "deep").exists()
    assert (tmp_path / "made" / "deep" / "file").read_text() == "x"
    with pytest.raises(RuntimeError), written_whole(tmp_path / "failed") as folder:
        (folder / "file").write_text("x")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_table_quotes_what_needs_it(tmp_path):
    write_table(tmp_path / "t.csv", ("a", "b"), [("x, y", 1)])
    assert (tmp_path / "t.csv").read_text() == 'a,b\n"x, y",1\n'


def test_licence_is_cut_out_of_the_copyright_file_with_its_empty_lines(tmp_path):
    docs = tmp_path / "usr/share/doc/pack"
    docs.mkdir(parents=True)
    text = "Files: *\nLicense: X-1\n\nLicense: X-1\n First.\n .\n  Indented.\n\nLicense: X-10\n Another.\n"
    (docs / "copyright").write_text(text)
    assert licence_text(tmp_path, "pack", "X-1") == "First.\n\n Indented.\n"
    with pytest.raises(OSError, match="does not hold the text of X-2"):
        licence_text(tmp_path, "pack", "X-2")


def test_common_licence_is_taken_from_the_unpacked_packages_first(tmp_path):
    folder = tmp_path / "usr/share/common-licenses"
    folder.mkdir(parents=True)
    (folder / "GPL-2").write_text("text")
    assert common_licence(tmp_path, "GPL-2") == "text"
    assert common_licence(tmp_path, "NO-SUCH-1") is None


def test_tools_that_are_missing_or_fail_are_one_error(monkeypatch):
    with pytest.raises(OSError, match=r"`false x` failed: exit status 1; try y"):
        run_tool("false", "x", hint="; try y")
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(FileNotFoundError, match="true is not on this machine: do z"):
        run_tool("true", missing="do z")


def test_missing_packages_are_named(monkeypatch, tmp_path):
    with pytest.raises(OSError, match=r"holds neither usr/share/x nor \.deb files of one"):
        unpacked(["one", "two"], tmp_path, Path("usr/share/x")).__enter__()
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(OSError, match="give packages=FOLDER, where one and two lie unpacked"):
        unpacked(["one", "two"], None, Path("usr/share/x")).__enter__()
