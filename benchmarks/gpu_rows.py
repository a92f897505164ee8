"""Rows of `gpu`, by this library."""

import keras

from benchmarks.measure import time_runs
from benchmarks.network import make_config, make_work


def devices():
    """The backend, and the GPUs that it sees."""
    try:
        found = keras.distribution.list_devices("gpu")
    except RuntimeError:  # JAX's way to say that there is none
        found = []
    return {"backend": keras.backend.backend(), "gpus": [str(device) for device in found]}


def measure(task, side, batch, precision, runs, warmup):
    """Seconds of each call of `detect` or `train_on_batch`; both end when the result is there."""
    work, _ = make_work(task, make_config(side, batch, precision))
    return time_runs(work, runs, warmup)
