"""Any bytes and any damaged file: a result, or an error of the package's own, soon and in bounds.

`python tests/tools/fuzz_tools.py --minutes 10` does the same for longer, with other examples each
time.
"""

import fuzz_tools
import pytest

EXAMPLES = 120  # of each kind: some twenty seconds in all


@pytest.fixture(scope="module")
def worker():
    with fuzz_tools.Worker() as worker:
        yield worker


@pytest.mark.parametrize("target", fuzz_tools.STRATEGIES)
def test_damaged_files(target, worker):
    outcomes = set()

    def look(target, data):
        found = worker.read(target, data)
        outcomes.add(found["outcome"])
        assert found["outcome"] != "failed", found["trace"]

    fuzz_tools.run_examples(target, look, EXAMPLES, number=0)
    assert "refused" in outcomes


VALID = {"coco": fuzz_tools.COCO, "config": fuzz_tools.CONFIG, "metadata": fuzz_tools.METADATA,
         "voc": fuzz_tools.VOC, "voc_list": b"a\n", "tasks": fuzz_tools.TASKS,
         "run": fuzz_tools.OPTIONS}


@pytest.mark.parametrize("target", VALID)
def test_the_file_that_is_damaged_is_valid(target, worker):
    assert worker.read(target, fuzz_tools.as_bytes(VALID[target])) == {"outcome": "read"}


@pytest.mark.parametrize("place", range(len(fuzz_tools.HDF5_FILES)))
def test_the_weights_that_are_damaged_are_valid(place, worker):
    assert worker.read("hdf5", fuzz_tools.HDF5_FILES[place]) == {"outcome": "read"}


def test_a_worker_that_hangs_or_ends_is_a_failure_and_is_replaced(monkeypatch, worker):
    monkeypatch.setattr(fuzz_tools, "PATIENCE", 0.5)
    assert worker.read("hang", b"")["place"] == "hang: hang"
    monkeypatch.setattr(fuzz_tools, "PATIENCE", 60)
    assert worker.read("crash", b"")["place"].startswith("crash: crash")
    assert worker.read("memory", b"")["place"].startswith("MemoryError")
    assert worker.read("voc_list", b"a\n") == {"outcome": "read"}
