"""Files written whole or not at all."""

from pathlib import Path

import pytest

from aural.processing.files import replaced_whole, write_whole


def test_text_is_written_as_it_is(tmp_path):
    assert write_whole(str(tmp_path / "a.txt"), "one\r\ntwo\nä") == tmp_path / "a.txt"
    assert (tmp_path / "a.txt").read_bytes() == "one\r\ntwo\nä".encode()
    write_whole(tmp_path / "a.txt", "three")
    assert (tmp_path / "a.txt").read_bytes() == b"three"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_failure_while_writing_leaves_what_was_there(tmp_path):
    write_whole(tmp_path / "a.txt", "before")

    def write_half() -> None:
        with replaced_whole(tmp_path / "a.txt") as part:
            part.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_failure_while_renaming_leaves_what_was_there(tmp_path, monkeypatch):
    write_whole(tmp_path / "a.txt", "before")

    def full(*_: Path) -> None:
        raise OSError("disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="disk is full"):
            write_whole(tmp_path / "a.txt", "after")
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "a.txt", "text")
