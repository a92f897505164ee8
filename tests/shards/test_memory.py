"""A million rows at flat memory."""

import subprocess
import sys

import pytest
from places import PROJECT

pytest.importorskip("pyarrow")

MILLION = """
import resource, sys
sys.path[:0] = [".", "tests/tools"]
import numpy as np
from shard_tools import Bright
from frcnn.shards import worker
from frcnn.shards.inputs import Item
from frcnn.shards.store import Store
from frcnn.shards.worker import Task, Worker

image = np.full((3, 4, 3), 9, np.uint8)
worker.read_item = lambda item, channels, intensity: image
store = Store(sys.argv[1])
shards = store.begin([Item(f"/data/{n:07d}.png") for n in range(1_000_000)], 10_000, {})
one = Worker(Task(sys.argv[1], "", ""), Bright())
peaks = []
for shard in shards:
    one.run(shard)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
count = sum(len(row["scores"]) for row in store.rows())
peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(count, peaks[5], peaks[-1])
"""


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_a_million_images(tmp_path):
    done = subprocess.run([sys.executable, "-c", MILLION, str(tmp_path / "out")], cwd=PROJECT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, early, late = map(float, done.stdout.split())
    assert count == 1_000_000 and late - early < 60, done.stdout
