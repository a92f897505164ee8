"""Which files are detected in, in which order and under which ids."""

import datetime
import decimal
import json

import numpy as np
import pytest
from PIL import Image

from frcnn.data.intensity import Intensity
from frcnn.errors import FrcnnError, ImageError, MissingExtraError
from frcnn.shards import inputs
from frcnn.shards.inputs import Item, find_items, read_item

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "slides/more").mkdir(parents=True)
    for name in ("b.png", "a.png", "more/c.png"):
        Image.new("RGB", (8, 6), (200, 100, 50)).save(tmp_path / "slides" / name)
    (tmp_path / "slides/old.json").write_text("[]")
    (tmp_path / "slides/.hidden").write_text("")
    return tmp_path / "slides"


def table(file, /, **columns):
    parquet.write_table(pyarrow.table(columns), file)
    return str(file)


def test_a_folder_with_its_folders_in_order_without_results(folder):
    assert [item.path for item in find_items([str(folder)])] == [
        str(folder / name) for name in ("a.png", "b.png", "more/c.png")]


def test_patterns_files_and_lists_each_file_once(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text(f"{folder / 'b.png'}\n\n  gone.png \n")
    found = find_items([str(folder / "*.png"), str(folder / "a.png"), str(tmp_path / "list.txt")])
    assert found == [Item(str(folder / "a.png")), Item(str(folder / "b.png")),
                     Item(str(tmp_path / "gone.png"))]


def test_local_paths_are_absolute_whatever_names_them(folder, tmp_path, monkeypatch):
    """A worker, or a later call, may run in another folder."""
    (folder / "list.txt").write_text("slides/a.png\n./slides/../slides/b.png\nfar://x/../a.png\n~c\n")
    table(folder / "table.parquet", path=["slides/a.png", "far://a/b.png"], image_id=["p", None])
    image, home = str(folder / "a.png"), tmp_path / "home"
    home.mkdir()
    (home / "d.png").write_bytes((folder / "a.png").read_bytes())
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.txt").write_text("~/d.png")
    given = {"slides/a.png": [image], "slides/../slides/a.png": [image], "slides/a*.png": [image],
             "~/d.png": [str(home / "d.png")], "e.txt": [str(home / "d.png")],
             "slides/more": [str(folder / "more/c.png")],
             "slides/table.parquet": [image, "far://a/b.png"],
             "slides/list.txt": [image, str(folder / "b.png"), "far://x/../a.png",
                                 str(tmp_path / "~c")]}
    for text, paths in given.items():
        assert [item.path for item in find_items([text])] == paths, text
    monkeypatch.chdir(folder)
    assert [item.path for item in find_items(["a.png", image, "../slides/a.png"])] == [image]
    with pytest.raises(FrcnnError, match=f"{image} has the ids None and p; list each file once"):
        monkeypatch.chdir(tmp_path)
        find_items(["slides/a.png", "slides/table.parquet"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_of_any_editor_in_utf8(tmp_path, encoding, end):
    paths = [str(tmp_path / name) for name in ("Präparat.png", "b.png")]
    (tmp_path / "a.txt").write_bytes(end.join(paths).encode(encoding))
    assert [item.path for item in find_items([str(tmp_path / "a.txt")])] == paths


@pytest.mark.parametrize(("content", "message"), [
    ("a.png\nbä.png\n".encode("latin-1"), "line 2 has the byte 0xe4; save the list in UTF-8"),
    ("a.png\n".encode("utf-16"), "line 1 has the byte 0xff; save the list in UTF-8"),
    ("a.png\n".encode("utf-16-le"), "it has zero bytes; save the list in UTF-8"),
    (b"\x89PNG\r\n\x1a\n\0\0", "line 1 has the byte 0x89"),
])
def test_lists_that_are_not_utf8(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(FrcnnError) as raised:
        find_items([str(tmp_path / "a.txt")])
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [
    datetime.datetime(2024, 1, 2), datetime.date(2024, 1, 2), datetime.timedelta(1),
    decimal.Decimal("1.5"), b"id", [1], {"a": 1}, float("nan"), float("inf")])
def test_ids_that_json_does_not_have(tmp_path, value):
    path = table(tmp_path / "a.parquet", path=["a.png", "b.png"], image_id=[None, value])
    with pytest.raises(FrcnnError, match=r"row 1 has the image_id .*; write ids as texts or num"):
        find_items([path])


@pytest.mark.parametrize("value", ["p1", "", "ü", 0, 7, 2**40, 1.5, True])
def test_ids_that_json_has(tmp_path, value):
    path = table(tmp_path / "a.parquet", path=["/a.png", "/b.png"], image_id=[None, value])
    assert find_items([path]) == [Item("/a.png"), Item("/b.png", value)]
    assert json.loads(json.dumps(value)) == value


def test_a_table_has_paths_and_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = table(tmp_path / "a.parquet", path=["x.png", "y.png"], image_id=["p1", "p2"])
    assert find_items([path]) == [Item(str(tmp_path / "x.png"), "p1"),
                                 Item(str(tmp_path / "y.png"), "p2")]
    path = table(tmp_path / "b.parquet", path=["x.png"], image_id=[7], patient=["M"])
    assert find_items([path]) == [Item(str(tmp_path / "x.png"), 7)]


def test_remote_files(folder):
    memory = fsspec.filesystem("memory")
    for name in ("slides/a.png", "slides/more/b.png"):
        memory.pipe(f"/{name}", (folder / "a.png").read_bytes())
    found = find_items(["memory://slides"])
    assert [item.path for item in found] == ["memory:///slides/a.png", "memory:///slides/more/b.png"]
    assert find_items(["memory://slides/*.png"]) == found[:1]
    pixels = read_item(found[0], 3, Intensity())
    np.testing.assert_array_equal(pixels[0, 0], [200, 100, 50])
    memory.pipe("/slides/text.png", b"text")
    with pytest.raises(ImageError, match=r"memory://slides/text.png: the image cannot be read"):
        read_item(Item("memory://slides/text.png"), 3, Intensity())
    with pytest.raises(FileNotFoundError, match=r"memory://slides/none.png: there is no such file"):
        read_item(Item("memory://slides/none.png"), 3, Intensity())


@pytest.mark.parametrize(("columns", "message"), [
    ({"file": ["a"]}, "has the columns file; it needs 'path', and may have 'image_id'"),
    ({"path": ["a", None]}, "row 1 has the path None"),
    ({"path": [3]}, "row 0 has the path 3"),
    ({"path": ["a", "a"], "image_id": [1, 2]}, "a has the ids 1 and 2; list each file once"),
])
def test_tables_that_are_no_lists_of_files(tmp_path, columns, message):
    with pytest.raises(FrcnnError, match=message):
        find_items([table(tmp_path / "a.parquet", **columns)])


def test_what_is_no_table_or_no_file(tmp_path):
    (tmp_path / "a.parquet").write_text("text")
    with pytest.raises(FrcnnError, match="cannot be read as a Parquet table"):
        find_items([str(tmp_path / "a.parquet")])
    for name in ("none.parquet", "none.txt", "none.png", "*.png"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            find_items([str(tmp_path / name)])
    with pytest.raises(OSError, match=r"nosuch://a cannot be read \(ValueError: Protocol"):
        find_items(["nosuch://a"])


def test_without_the_libraries_the_error_has_the_line_to_type(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(inputs.importlib, "import_module", missing)
    for text in ("a.parquet", "s3://a/*.png"):
        with pytest.raises(MissingExtraError, match=r'pip install "frcnn\[shards\]"'):
            find_items([text])
