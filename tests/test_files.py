"""Atomic files, plain JSON, the cache folder, and paths as people write them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from frcnn.errors import FrcnnError, OutputError
from frcnn.files import (
    cache_folder,
    check_writable,
    escaped,
    expanded,
    filling,
    read_json,
    replacing,
    shortened,
    to_plain_json,
    write_json,
)


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


@pytest.mark.parametrize(("value", "plain"), [
    (None, None), (True, True), ("é", "é"), (2**70, 2**70), (0.1, 0.1),
    (np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a"),
    (np.array([[1, 2]], np.int32), [[1, 2]]), (np.array(1.5), 1.5), ((1, (2,)), [1, [2]]),
    (Path("a") / "b", os.path.join("a", "b")),
    ({"a": [np.float64(1)], 2: {"b": ()}, np.int64(3): None}, {"a": [1.0], 2: {"b": []}, 3: None}),
])  # fmt: skip
def test_values_become_plain(value, plain):
    found = to_plain_json(value)
    assert found == plain and type(found) is type(plain)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(("value", "text"), [
    (float("nan"), "nan"), (np.float32("inf"), "inf"), (-np.inf, "-inf"),
])  # fmt: skip
def test_nan_and_infinity_are_what_the_caller_asks_for(value, text):
    with pytest.raises(ValueError, match=text):
        to_plain_json({"a": [1.0, value]})
    assert to_plain_json({"a": [1.0, value]}, non_finite="null") == {"a": [1.0, None]}
    assert to_plain_json(np.array([1.0, value]), non_finite="text") == [1.0, text]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"a", 1j, np.complex64(1), int, [len]])
def test_what_json_cannot_represent_is_refused(value):
    with pytest.raises(TypeError, match="cannot represent"):
        to_plain_json({"a": value})


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "made" / "it.json"
    write_json(path, {"a": np.float64(1.5), "b": ["é", np.nan]}, non_finite="null")
    assert json.loads(path.read_bytes()) == {"a": 1.5, "b": ["é", None]}
    text = path.read_text()
    assert text.startswith('{\n  "a"') and text.endswith("}\n")
    for bad in (np.nan, object()):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, {"a": bad})
    assert path.read_text() == text and os.listdir(path.parent) == ["it.json"]


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b'"\xe4"', b"9" * 5000])
def test_what_is_not_json_is_one_kind_of_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


def test_the_cache_is_the_systems_or_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.delenv("FRCNN_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder().is_absolute() and "frcnn" in cache_folder().parts
    monkeypatch.setenv("FRCNN_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    assert os.listdir(tmp_path) == []


def test_without_a_home_the_cache_must_be_named(monkeypatch):
    for name in ("FRCNN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(FrcnnError, match="FRCNN_CACHE"):
        cache_folder()
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/frcnn"))
    with pytest.raises(FrcnnError, match="FRCNN_CACHE"):
        cache_folder()


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


# --- whatever is there already ------------------------------------------------------------------


@pytest.mark.parametrize("length", [247, 255])
def test_a_file_may_have_the_longest_name_there_is(tmp_path, length):
    path = tmp_path / ("ä" * 20 + "a" * (length - 40))
    with replacing(path) as temporary:
        temporary.write_text("a")
    assert path.read_text() == "a" and len(os.listdir(tmp_path)) == 1


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("old", "new"):  # "new" does not exist
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "old").write_text("before")
    for name in ("old", "new"):
        write_json(tmp_path / name, [1])
        assert (tmp_path / name).is_symlink()
        assert json.loads((tmp_path / "there" / name).read_text()) == [1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes have names there")
def test_a_pipe_or_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="a device, a pipe or a socket"):
        write_json(tmp_path / "pipe", [])
    assert os.listdir(tmp_path) == ["pipe"]


def test_outputs_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_json("~/a/b.json", [2])
    assert read_json("~/a/b.json") == [2]
    check_writable("~/c")
    assert os.listdir(tmp_path) == ["home"]
    assert sorted(os.listdir(tmp_path / "home")) == ["a", "c"]


def filled(folder):
    with filling(folder) as draft:
        (draft / "more").mkdir()
        (draft / "more" / "a.txt").write_text("a")
        (draft / "b.txt").write_text("b")
        assert not os.path.exists(os.path.join(folder, "b.txt"))
    assert sorted(os.listdir(folder)) == ["b.txt", "more"]
    assert os.listdir(os.path.join(folder, "more")) == ["a.txt"]


def test_a_folder_appears_complete(tmp_path):
    filled(tmp_path / "new" / "folder")
    assert os.listdir(tmp_path / "new") == ["folder"]


def test_an_empty_folder_is_filled_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    number = (tmp_path / "real").stat().st_ino  # as of a mounted volume, which cannot be removed
    (tmp_path / "link").symlink_to(tmp_path / "real")
    filled(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").stat().st_ino == number
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    filled(".")


@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_leaves_a_folder_as_it_was(tmp_path, exists):
    if exists:
        (tmp_path / "a").mkdir()
    with pytest.raises(KeyboardInterrupt), filling(tmp_path / "a") as draft:
        (draft / "b").touch()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["a"] * exists and (not exists or not os.listdir(tmp_path / "a"))


def test_what_another_process_writes_meanwhile_is_kept(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match=r"no longer empty: theirs\.txt"), \
            filling(tmp_path / "a") as draft:
        (draft / "ours.txt").touch()
        (tmp_path / "a" / "theirs.txt").write_text("kept")
    assert os.listdir(tmp_path / "a") == ["theirs.txt"]


def test_a_folder_with_files_and_a_file_are_not_filled(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("mine")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(OutputError, match="not an empty folder"), filling(path):
            pytest.fail("it has begun")
    assert (tmp_path / "a" / "b").read_text() == "mine"


@pytest.mark.parametrize("name, text", [
    ("a b.png", "a b.png"), ("Größe 細胞.png", "Größe 細胞.png"), ("pr\udce4p.png", r"pr\xe4p.png"),
    ("\ud800.png", r"\ud800.png")])
def test_names_as_every_program_can_read_them(name, text):
    assert escaped(name) == text == escaped(text)


@pytest.mark.parametrize("name, size, short", [
    ("abc", 3, "abc"), ("abc", 2, "ab"), ("aä", 2, "a"), ("細胞", 5, "細"), ("", 0, "")])
def test_a_name_is_cut_between_characters(name, size, short):
    assert shortened(name, size) == short
