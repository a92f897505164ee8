"""Rows of `saving`: a network in training, whose state and weights are written to files."""

import tempfile
import time
from pathlib import Path

from benchmarks.network import make_batch, make_config, make_detector


def measure(side, runs, optimizer):
    """Seconds of a step, of a saved state and of a checkpoint, and the files' sizes."""
    from frcnn.training.state import TrainingState
    from frcnn.weights.checkpoint import save_weights

    config = make_config(side, batch=2, precision="auto", train_bn=True,
                         OPTIMIZER=optimizer)
    model = make_detector("training", config).keras_model
    batch = make_batch(config)
    model.train_on_batch(batch)  # compiles, and makes the optimizer's variables

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "weights.h5"

        def save_state(number):
            return TrainingState.of(model, 0, number, {}).save(folder)

        return {
            "step_seconds": _times(runs, lambda _: model.train_on_batch(batch)),
            "state_seconds": _times(runs, save_state),
            "checkpoint_seconds": _times(runs, lambda _: save_weights(model, checkpoint)),
            "state_bytes": save_state(runs).stat().st_size,
            "checkpoint_bytes": checkpoint.stat().st_size}


def _times(runs, work):
    seconds = []
    for number in range(runs):
        began = time.monotonic()
        work(number)
        seconds.append(time.monotonic() - began)
    return seconds
