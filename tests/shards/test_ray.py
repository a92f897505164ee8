"""The engine for clusters gives what the local one gives, whatever is killed in between."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from places import PROJECT
from shard_tools import Bright, write_images

from frcnn.errors import BackendError, FrcnnError, MissingExtraError
from frcnn.shards import local, ray_engine
from frcnn.shards.inputs import find_items
from frcnn.shards.ray_engine import Cluster, ShardActor
from frcnn.shards.store import Store, unfinished
from frcnn.shards.worker import Task

pytest.importorskip("pyarrow")

# A detector without a network, in processes that the driver does not share memory with.
DRIVER = """
import sys
sys.path[:0] = [".", "tests/tools"]
import os, time
os.environ["PYTHONPATH"] = os.pathsep.join([os.path.abspath("."), os.path.abspath("tests/tools")])
from shard_tools import Bright
from frcnn.shards import ray_engine
from frcnn.shards.inputs import find_items
from frcnn.shards.store import Store, unfinished
from frcnn.shards.worker import Task, Worker

class Slow(Bright):
    def detect_stream(self, images, **options):
        for result in super().detect_stream(images, **options):
            time.sleep(0.02)
            yield result

class Actor(ray_engine.ShardActor):
    def __init__(self, task):
        with open(task.folder + ".pids", "a") as file:
            file.write(f"{os.getpid()}\\n")
        Worker._load = lambda self: Slow()
        super().__init__(task)

if __name__ == "__main__":
    folder, images, workers = sys.argv[1:]
    import __main__, ray
    ray_engine.ShardActor = Actor
    store = Store(folder)
    shards = store.begin(find_items([images]), 5, {}, resume=True)
    for shard, done in ray_engine.run(Task(folder, "", ""), unfinished(shards),
                                      ray_engine.Cluster(workers=int(workers))):
        print(shard.number, done.images, flush=True)
"""


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 100)


def driver(tmp_path, workers=2):
    path = tmp_path / "driver.py"
    path.write_text(DRIVER)
    return subprocess.Popen(
        [sys.executable, str(path), str(tmp_path / "out"), str(tmp_path / "images"), str(workers)],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT),
                                                          str(PROJECT / "tests/tools")])})


def finish(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return [tuple(map(int, line.split())) for line in out.splitlines()
            if re.fullmatch(r"\d+ \d+", line)]  # Ray reports deaths there, too


def paths_of(folder):
    return [row["path"] for row in Store(folder).rows()]


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_doubles_nothing(tmp_path, images):
    pytest.importorskip("ray")
    process = driver(tmp_path)
    first = process.stdout.readline()
    pids = (tmp_path / "out.pids").read_text().split()
    os.kill(int(pids[0]), signal.SIGKILL)
    done = [tuple(map(int, first.split())), *finish(process)]
    assert sorted(number for number, _ in done) == list(range(20))
    assert sum(count for _, count in done) == 100
    assert paths_of(tmp_path / "out") == images
    alone = Store(tmp_path / "alone")
    shards = alone.begin(find_items([str(tmp_path / "images")]), 5, {})
    list(local.run(Task(str(alone.folder), "", ""), shards, model=Bright()))
    assert list(alone.rows()) == list(Store(tmp_path / "out").rows())


@pytest.mark.slow
def test_a_killed_driver_goes_on(tmp_path, images):
    pytest.importorskip("ray")
    process = driver(tmp_path)
    for _ in range(4):
        process.stdout.readline()
    process.kill()
    process.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*")}
    assert 4 <= len(before) < 20
    time.sleep(5)  # its workers notice
    done = finish(driver(tmp_path, workers=1))
    assert paths_of(tmp_path / "out") == images
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*")}
    assert {name: after[name] for name in before} == before
    assert len(done) <= 20 - len(before)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # what Ray says of itself
def test_a_worker_that_cannot_load_the_checkpoint_is_one_error(tmp_path, images):
    pytest.importorskip("ray")
    store = Store(tmp_path / "out")
    shards = store.begin(find_items([str(tmp_path / "images")]), 5, {})
    task = Task(str(store.folder), str(tmp_path / "none.h5"), '{"NUM_CLASSES": 3}')
    with pytest.raises(FrcnnError, match=r"A worker cannot detect: FileNotFoundError: .*none.h5"):
        list(ray_engine.run(task, shards, Cluster()))
    assert unfinished(shards) == shards
    with pytest.raises(BackendError, match="A worker needs 1000 CPU, and the cluster has"):
        list(ray_engine.run(task, shards, Cluster(cpus_per_worker=1000)))
    with pytest.raises(BackendError, match="A worker needs 64 GPU, and the cluster has"):
        list(ray_engine.run(task, shards, Cluster(gpus_per_worker=64)))


def test_a_shard_that_a_killed_worker_has_finished_is_not_done_again(tmp_path, images,
                                                                     monkeypatch):
    monkeypatch.setattr("frcnn.shards.worker.Worker._load", lambda self: Bright())
    store = Store(tmp_path / "out")
    store.begin(find_items([str(tmp_path / "images")]), 30, {})
    actor = ShardActor(Task(str(store.folder), "", ""))
    first = actor({"number": [3]})
    assert first == {"number": [3], "images": [10], "objects": [10], "errors": [0],
                     "message": [""]}
    monkeypatch.setattr(actor.worker, "run", None)
    assert actor({"number": [3]}) == first


def test_a_cluster_that_does_not_answer(monkeypatch):
    pytest.importorskip("ray")
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(BackendError, match=f"No cluster answers at {address} "):
            ray_engine._check_answers(address)
    ray_engine._check_answers("auto")


@pytest.fixture
def silent():
    """The port of a server that accepts connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "auto"])
@pytest.mark.parametrize("by_environment", [False, True])
def test_a_cluster_that_is_silent(monkeypatch, silent, tmp_path, address, by_environment):
    """One line instead of waiting forever, whichever way the cluster is named."""
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_engine, "PATIENCE", 3)
    named = address.format(port=silent)
    if named == "auto":  # where the last cluster of this machine was, as Ray keeps it
        monkeypatch.setattr(ray_engine, "_CONNECT", "print(flush=True)\nimport time\n"
                                                    "time.sleep(600)")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if by_environment:
        monkeypatch.setenv("RAY_ADDRESS", named)
    cluster = Cluster(address=None if by_environment else named)
    with pytest.raises(BackendError) as raised:
        list(ray_engine.run(Task(str(tmp_path), "", ""), [], cluster))
    assert f"No cluster of Ray answers at {named} within 3 seconds; start one" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_cluster_that_refuses_is_one_line(monkeypatch, tmp_path):
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_engine, "_CONNECT",
                        "print(flush=True)\nraise ConnectionError('no cluster\\nis here')")
    with pytest.raises(BackendError, match=r"Ray at auto does not answer \(is here\); start one"):
        list(ray_engine.run(Task(str(tmp_path), "", ""), [], Cluster(address="auto")))


def test_without_ray_the_error_has_the_line_to_type(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(ray_engine.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r'pip install "frcnn\[ray\]"'):
        list(ray_engine.run(Task("", "", ""), [], Cluster()))


def test_a_task_is_small_and_can_be_sent(tmp_path):
    import pickle

    task = Task("a", "b", json.dumps({"NUM_CLASSES": 2}))
    assert pickle.loads(pickle.dumps(task)) == task
