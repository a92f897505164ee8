"""Files that are either whole or not there, and paths as people write them."""

import os
from pathlib import Path

import pytest

from frcnn.files import check_writable, expanded, replacing


def test_the_new_content_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "made" / "it.txt"
    for text in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent  # so that replacing is one step of the disk
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["it.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_content_and_nothing_more(tmp_path, error):
    path = tmp_path / "it.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half of the ne")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["it.txt"]


def test_a_tilde_is_the_home_folder_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert expanded("~/a.png") == tmp_path / "home" / "a.png"
    assert expanded("~no-such-user.png") == Path("~no-such-user.png")
    Path("~").mkdir()
    Path("~/a.png").touch()
    assert expanded("~/a.png") == Path("~/a.png")


def test_a_folder_is_tried_before_it_is_needed(tmp_path):
    check_writable(tmp_path / "made" / "here", "results.json")
    assert os.listdir(tmp_path / "made") == ["here"] and not os.listdir(tmp_path / "made/here")
    (tmp_path / "file").touch()
    for folder, name in (("file", "a"), ("file/in", "a"), ("made", "a" * 300)):
        with pytest.raises(OSError):
            check_writable(tmp_path / folder, name)
    assert os.listdir(tmp_path / "made") == ["here"]
