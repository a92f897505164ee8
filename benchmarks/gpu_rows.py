"""Rows of `gpu`, by this library."""

import keras

from benchmarks.measure import time_runs
from benchmarks.network import make_config, make_work


def devices():
    """The backend, and the GPUs that it finds."""
    try:
        found = keras.distribution.list_devices("gpu")
    except RuntimeError:  # raised by JAX if there is none
        found = []
    return {"backend": keras.backend.backend(), "gpus": [str(device) for device in found]}


def measure(task, side, batch, precision, runs, warmup):
    """Seconds of each call of `detect` or `train_on_batch`; both wait for the result."""
    work, _ = make_work(task, make_config(side, batch, precision))
    return time_runs(work, runs, warmup)
