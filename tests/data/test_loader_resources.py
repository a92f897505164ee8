"""What the loader leaves behind: no thread that stays, no memory that grows."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from loader_tools import Blank, Recorder, config_for, end_of_threads, flat, image_ids, run_epoch
from places import PROJECT

from frcnn.data.coco import CocoDataset
from frcnn.data.loader import DetectionSequence


@pytest.fixture
def train(coco_folder):
    return CocoDataset.from_folder(coco_folder, "train")


# --- threads --------------------------------------------------------------------------------


def test_threads_end_when_no_batches_are_asked_for(train):
    sequence = DetectionSequence(train, config_for(), workers=4, batch_size=1)
    sequence[0]  # the others are under way
    end_of_threads()
    assert flat(image_ids(sequence)) == sequence.image_order(0).tolist()
    end_of_threads()


@pytest.mark.parametrize("crash_at", [None, 2])
def test_threads_end_when_training_ends_or_crashes(train, crash_at):
    """Though whoever catches the error holds on to all that it came from."""
    sequence = DetectionSequence(train, config_for(), workers=3, batch_size=1)
    validation = DetectionSequence(train, config_for(), shuffle=False, workers=3, batch_size=1)
    model, error = Recorder(crash_at), None
    model.compile(run_eagerly=True)
    try:
        model.fit(sequence, epochs=2, validation_data=validation, verbose=0, shuffle=False)
    except RuntimeError as caught:
        error = caught
    assert (error is not None) == (crash_at is not None)
    end_of_threads()
    del error


# --- memory ---------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_epochs(train):
    sequence = DetectionSequence(train, config_for(), augmentation="flip", seed=0)

    def epochs(count):
        for _ in range(count):
            run_epoch(sequence)

    epochs(2)
    tracemalloc.start()
    epochs(1)
    before = tracemalloc.get_traced_memory()[0]
    epochs(10)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000


def test_an_epoch_keeps_no_copy_of_the_data_set():
    """Forty images of 3 MB each are seen, and never more than a few of them are in memory."""
    boxes = np.float32([[10, 10, 40, 40]])
    dataset = Blank([(1000, 1000)] * 40, [boxes] * 40)
    sequence = DetectionSequence(dataset, config_for(), batch_size=1, augmentation="microscopy")
    sequence[0]
    tracemalloc.start()
    run_epoch(sequence)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 3e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_the_process_does_not_grow_over_ten_epochs(tmp_path):
    """Real files, threads and augmentation; what the process holds is compared, not counted.

    In a new process: in one that has freed much memory before, threads take more of it for a while.
    """
    done = subprocess.run([sys.executable, PROJECT / "tests/tools/loader_child.py", tmp_path],
                          capture_output=True, text=True, cwd=PROJECT,
                          env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert not done.returncode, done.stderr
    sizes = json.loads(done.stdout.splitlines()[-1])
    # A batch ahead more or less is 8 MB; what leaks an image an epoch would come to 200 MB.
    assert max(sizes[7:]) - min(sizes[1:5]) < 60, sizes
