"""Results of many images: every image once, in order, whatever was interrupted."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from places import PROJECT
from shard_tools import Bright, write_images

from frcnn.errors import OutputError
from frcnn.shards import local
from frcnn.shards.inputs import Item
from frcnn.shards.store import Store, unfinished
from frcnn.shards.worker import Task, Worker

pytest.importorskip("pyarrow")

ABOUT = {"checkpoint": "abc", "class_names": ["BG", "a", "b"]}


@pytest.fixture
def items(tmp_path):
    return [Item(path, number) for number, path in
            enumerate(write_images(tmp_path / "images", 7), start=100)]


def detect(store, shards):
    task = Task(str(store.folder), "", "")
    return list(local.run(task, unfinished(shards), model=Bright()))


def test_every_image_has_a_row_in_order(tmp_path, items):
    store = Store(tmp_path / "out")
    shards = store.begin(items, 3, ABOUT)
    assert [len(shard.items) for shard in shards] == [3, 3, 1]
    assert [done.images for _, done in detect(store, shards)] == [3, 3, 1]
    rows = list(store.rows())
    assert [row["path"] for row in rows] == [item.path for item in items]
    assert [json.loads(row["image_id"]) for row in rows] == list(range(100, 107))
    for number, row in enumerate(rows, start=1):
        assert row["boxes"] == [[0, 0, number, number]] and row["scores"] == [0.5]
        assert row["class_ids"] == [1 + number % 2] and row["error"] is None
        assert (row["height"], row["width"]) == (3, 4)
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "inputs.parquet", "manifest.json", *(f"shard-{k:05d}-of-00003.parquet" for k in range(3))]


def test_a_file_that_cannot_be_read_is_a_row_with_the_reason(tmp_path, items):
    with open(items[1].path, "w") as file:
        file.write("text")
    os.remove(items[4].path)
    store = Store(tmp_path / "out")
    results = detect(store, store.begin(items, 3, ABOUT))
    assert [done.errors for _, done in results] == [1, 1, 0]
    errors = {json.loads(row["image_id"]): row["error"] for row in store.rows()}
    assert errors[101].startswith("ImageError: ") and items[1].path in errors[101]
    assert errors[104].startswith("FileNotFoundError: ")
    assert sum(error is None for error in errors.values()) == 5


def test_what_is_finished_is_not_done_again(tmp_path, items):
    store = Store(tmp_path / "out")
    shards = store.begin(items, 3, ABOUT)
    worker = Worker(Task(str(store.folder), "", ""), Bright())
    worker.run(shards[1])
    before = shards[1].path.stat().st_mtime_ns
    again = store.begin(items, 3, ABOUT, resume=True)
    assert [shard.number for shard in unfinished(again)] == [0, 2]
    detect(store, again)
    assert shards[1].path.stat().st_mtime_ns == before
    assert len(list(store.rows())) == 7


def test_a_detection_goes_on_with_the_files_it_began_with(tmp_path, items):
    store = Store(tmp_path / "out")
    store.begin(items, 3, ABOUT)
    shards = store.begin(items[2:], 3, ABOUT, resume=True)
    assert [item for shard in shards for item in shard.items] == items


def test_images_that_were_added_are_named(tmp_path, items):
    store = Store(tmp_path / "out")
    store.begin(items[:5], 3, ABOUT)
    shards = store.begin([items[6], *items], 3, ABOUT, resume=True)
    assert [item for shard in shards for item in shard.items] == items[:5]
    assert store.added == [items[6], *items[5:]]
    store.begin(items[:2], 3, ABOUT, resume=True)
    assert store.added == []


@pytest.mark.parametrize("change", ["all", "one", "ids", "one id", "more and fewer"])
def test_results_of_other_images_are_not_mixed_in(tmp_path, items, change):
    others = [Item(f"{item.path}f", item.image_id) for item in items]
    ids = [Item(item.path, f"p{item.image_id}") for item in items]
    given = {"all": others, "one": [*items[:6], others[6]], "ids": ids,
             "one id": [*items[:6], ids[6]], "more and fewer": [*items[1:], *others]}[change]
    store = Store(tmp_path / "out")
    detect(store, store.begin(items, 3, ABOUT))
    before = {path: path.read_bytes() for path in store.folder.iterdir()}
    gone = [item for item in items if item not in given]
    new = [item for item in given if item not in items]
    with pytest.raises(OutputError) as raised:
        store.begin(given, 3, ABOUT, resume=True)
    message = str(raised.value)
    assert f"begun with 7 images, of which {len(gone)} are not given now, such as {gone[0].path} " \
        in message
    assert f"{len(new)} of the {len(given)} that are given are others, such as {new[0].path} (id " \
        f"{new[0].image_id})" in message
    assert {path: path.read_bytes() for path in store.folder.iterdir()} == before


def test_a_list_with_relative_paths_of_an_older_version_goes_on(tmp_path, items, monkeypatch):
    store = Store(tmp_path / "out")
    older = [Item(os.path.relpath(item.path, tmp_path), item.image_id) for item in items]
    store.begin(older, 3, ABOUT)
    monkeypatch.chdir(tmp_path)
    assert len(store.begin(items, 3, ABOUT, resume=True)) == 3
    monkeypatch.chdir(tmp_path / "images")
    with pytest.raises(OutputError, match=r"7 are not given now, such as images/001\.png"):
        store.begin(items, 3, ABOUT, resume=True)


@pytest.mark.parametrize(("per_shard", "about", "message"), [
    (4, ABOUT, r"another images per shard \(3, now 4\)"),
    (3, {**ABOUT, "checkpoint": "x"}, r"another checkpoint \(abc, now x\); go on with that, or"),
    (3, {**ABOUT, "class_names": ["BG"]}, "another class names"),
])
def test_other_results_are_not_mixed_in(tmp_path, items, per_shard, about, message):
    store = Store(tmp_path / "out")
    store.begin(items, 3, ABOUT)
    with pytest.raises(OutputError, match=message):
        store.begin(items, per_shard, about, resume=True)
    with pytest.raises(OutputError, match="results of an earlier detection; go on with --resume"):
        store.begin(items, 3, ABOUT)


def test_when_and_by_which_version_it_began_does_not_matter(tmp_path, items):
    store = Store(tmp_path / "out")
    store.begin(items, 3, {**ABOUT, "created": "a", "versions": {"frcnn": "1"}})
    assert len(store.begin(items, 3, {**ABOUT, "created": "b"}, resume=True)) == 3


def test_folders_that_are_no_results(tmp_path, items):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    with pytest.raises(OutputError, match="has other files in it; name a new folder"):
        Store(tmp_path / "other").begin(items, 3, ABOUT)
    with pytest.raises(OutputError, match=r"has no manifest.json; it is no folder of a detection"):
        Store(tmp_path / "none").manifest()
    (tmp_path / "other/manifest.json").write_text('{"format": 2}')
    with pytest.raises(OutputError, match="is of another format than 1; a newer version wrote it"):
        Store(tmp_path / "other").manifest()
    (tmp_path / "other/manifest.json").write_text("{")
    with pytest.raises(OutputError, match=r"manifest.json cannot be read"):
        Store(tmp_path / "other").manifest()


DIES = """
import os, signal, sys
from frcnn.shards.store import Store
sys.path.insert(0, "tests/tools")
from shard_tools import Bright
from frcnn.shards import local
from frcnn.shards.inputs import find_items
from frcnn.shards.worker import Task

folder, images, moment, after = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
replace, count = os.replace, 0


def replace_and_die(*paths):
    global count
    if count == moment and after:
        replace(*paths)
    if count == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1
    replace(*paths)


os.replace = replace_and_die
list(local.run(Task(folder, "", ""), Store(folder).begin(find_items([images]), 3, {}),
               model=Bright()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX's signals")
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("moment", range(4))
def test_killed_at_any_file_it_goes_on_and_leaves_nothing_else(tmp_path, items, moment, after):
    """Before and after each of the files has its name: the list, the manifest, the shards."""
    store = Store(tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(store.folder), str(tmp_path / "images"), str(moment),
         str(after)], cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert done.returncode == -signal.SIGKILL
    assert len(list(store.folder.glob(".*.tmp"))) == 1 - after
    without_ids = [Item(item.path) for item in items]
    detect(store, store.begin(without_ids, 3, {}, resume=True))
    assert [row["path"] for row in store.rows()] == [item.path for item in items]
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "inputs.parquet", "manifest.json", *(f"shard-{k:05d}-of-00003.parquet" for k in range(3))]


@pytest.mark.parametrize("name", ["inputs.parquet", ".inputs.parquet", ".other.1.a.tmp", "a.tmp"])
def test_files_of_others_are_not_taken_for_a_beginning(tmp_path, items, name):
    pyarrow = pytest.importorskip("pyarrow")
    (tmp_path / "out").mkdir()
    for content in (b"", b"PAR1", None):
        if content is None:  # a table of the user's
            pyarrow.parquet.write_table(
                pyarrow.table({"path": ["a"], "image_id": ["b"]}), tmp_path / "out" / name)
        else:
            (tmp_path / "out" / name).write_bytes(content)
        before = (tmp_path / "out" / name).read_bytes()
        for resume in (False, True):
            with pytest.raises(OutputError, match="has other files in it; name a new folder"):
                Store(tmp_path / "out").begin(items, 3, ABOUT, resume=resume)
        assert (tmp_path / "out" / name).read_bytes() == before


def test_a_list_that_cannot_be_written_leaves_no_folder(tmp_path):
    for item, error in ((Item("a", object()), TypeError), (Item("\udce4"), UnicodeEncodeError)):
        with pytest.raises(error):
            Store(tmp_path / "out").begin([item], 3, ABOUT)
        assert not (tmp_path / "out").exists()


def test_a_damaged_shard_is_named(tmp_path, items):
    store = Store(tmp_path / "out")
    shards = store.begin(items, 3, ABOUT)
    detect(store, shards)
    shards[1].path.write_bytes(shards[1].path.read_bytes()[:100])
    with pytest.raises(OutputError, match=r"shard-00001-of-00003.parquet cannot be .*--resume"):
        list(store.rows())


def test_a_damaged_list_of_images_is_named(tmp_path, items):
    store = Store(tmp_path / "out")
    store.begin(items, 3, ABOUT)
    (store.folder / "inputs.parquet").write_bytes(b"PAR1")
    with pytest.raises(OutputError, match=r"inputs.parquet cannot be read .*; begin anew in an"):
        Store(store.folder).begin(items, 3, ABOUT, resume=True)


def test_results_are_float32_to_the_bit(tmp_path):
    store = Store(tmp_path / "out")
    (shard,) = store.begin([Item("a")], 3, ABOUT)
    values = np.random.default_rng(0).uniform(0, 1000, (50, 4)).astype(np.float32)
    store.write(shard, [{"path": "a", "boxes": values.tolist(), "class_ids": [1] * 50,
                         "scores": values[:, 0].tolist()}])
    (row,) = store.rows()
    np.testing.assert_array_equal(np.array(row["boxes"], np.float32), values)


KILLED = """
import sys, time
sys.path.insert(0, "tests/tools")
from shard_tools import Bright
from frcnn.shards import local
from frcnn.shards.inputs import find_items
from frcnn.shards.store import Store, unfinished
from frcnn.shards.worker import Task

store = Store(sys.argv[1])
shards = store.begin(find_items([sys.argv[2]]), 5, {}, resume=True)
for shard, done in local.run(Task(sys.argv[1], "", ""), unfinished(shards), model=Bright(),
                             on_image=lambda: time.sleep(0.002)):
    print(shard.number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX's signals")
def test_killed_again_and_again_it_finishes_with_every_image_once(tmp_path):
    paths = write_images(tmp_path / "images", 200)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), str(tmp_path / "images")]
    random, kills = np.random.default_rng(0), 0
    for _ in range(40):
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE,
                                   env={**os.environ, "PYTHONPATH": str(PROJECT)})
        assert process.stdout is not None
        if process.stdout.readline():
            time.sleep(random.uniform(0, 0.08))
            process.send_signal(signal.SIGKILL)
        process.stdout.close()
        kills += process.wait() == -signal.SIGKILL
        if process.returncode == 0:
            break
    assert process.returncode == 0 and kills > 2
    assert [row["path"] for row in Store(tmp_path / "out").rows()] == paths
