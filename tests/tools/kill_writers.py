"""Kills processes that write checkpoints and states, and looks at what they leave.

    python kill_writers.py FOLDER KILLS WITHIN SEED

It kills at least KILLS times, and until WITHIN of them fell into a write. Prints a line of JSON:
how much was saved, and what was wrong.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from frcnn import newest, runs
from frcnn.config import Config
from frcnn.training.state import TrainingState, find_state
from frcnn.training.state_files import state_files
from frcnn.weights.hdf5 import write_weight_file

STEPS = 4  # of an epoch; a state is saved after each
NAMES = ["BG", "one"]


def write(folder, place, report):
    """Goes on from a place for ever: states, and a checkpoint after each epoch."""
    config = Config(NAME="killed", NUM_CLASSES=2)
    rng = np.random.default_rng(place)
    while True:
        place += 1
        epoch, step = divmod(place, STEPS)
        arrays = {f"model/layer{i}/0": rng.random(20_000) for i in range(8)}
        report(b"b")
        if epoch == 0 and step != 0:
            path = Path(runs.checkpoint_path(folder, "killed", 0))
            if not path.exists():
                save_checkpoint(path, config, arrays)
        if step == 0:
            save_checkpoint(runs.checkpoint_path(folder, "killed", epoch), config, arrays)
        TrainingState(epoch, step, {"place": place}, arrays).save(folder)
        report(b"e")
        time.sleep(0.02)


def save_checkpoint(path, config, arrays):
    runs.save_metadata(path, config, NAMES, **{newest.SAVED: newest.now()})
    write_weight_file(path, [("layer", [(f"layer/{i}:0", value)
                                        for i, value in enumerate(arrays.values())])])


def run_and_kill(folder, place, delay):
    """Lets a process write for a while; returns how many states it saved, and whether it was in
    the middle of one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            write(folder, place, lambda mark: os.write(writing, mark))
        finally:
            os._exit(1)
    os.close(writing)
    os.read(reading, 1)  # it has begun
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    marks = b""
    while part := os.read(reading, 65536):
        marks += part
    os.close(reading)
    return marks.count(b"e"), not marks.endswith(b"e")


def look(folder, saved):
    """Yields what is wrong in a folder whose last whole state is of place `saved`."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".state", ".h5") and not path.name.startswith("."):
            try:
                with h5py.File(path) as file:
                    file.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset)
                                    else None)
                if path.suffix == ".state":
                    TrainingState.load(path)
            except (OSError, ValueError, RuntimeError) as error:
                yield f"{path.name} cannot be read: {error}"
    if saved == 0:
        return
    last = runs.find_last(folder.parent, "killed")
    runs.load_metadata(last)
    state = find_state(folder, runs.epoch_of(last))
    if state is None or STEPS * state.epoch + state.step < saved:
        yield f"the state of place {saved} is lost"
    if not STEPS * runs.epoch_of(last) <= saved + 1:
        yield f"{last} is beyond what was saved"
    if runs.epoch_of(last) < saved // STEPS:
        yield f"{last} is not the newest checkpoint"


def main(folder, kills, least_within, seed):
    folder = Path(folder) / "killed20260101T0000"
    folder.mkdir(parents=True)
    rng, number, within, saved, wrong = random.Random(seed), 0, 0, 0, []
    while number < kills or within < least_within:
        number += 1
        done, was_writing = run_and_kill(folder, saved, rng.uniform(0, 0.3))
        within += was_writing
        files = state_files(folder)
        wrong += look(folder, saved + done)
        if files:  # the write may have been whole although it was not reported
            state = TrainingState.load(files[0])
            saved = STEPS * state.epoch + state.step
    drafts = len(list(folder.glob(".*.tmp")))
    TrainingState(10**4, 0, {}, {"model/a/0": np.zeros(3)}).save(folder)
    print(json.dumps({"saved": saved, "wrong": wrong, "drafts": drafts,
                      "drafts after a write": len(list(folder.glob(".*.tmp")))}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
