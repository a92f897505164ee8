"""Rows of `devices`: trains for a few steps in one process, alone or as one of a job."""

import os
import tempfile
import time


def measure(backend, side, batch, steps, devices=1, deterministic=False, job=None):
    """Seconds of each step but the first two, as `MaskRCNN.train` takes them, loader included.

    Args:
        backend: Keras's.
        side: of the images, pixels.
        batch: images of a step, on all devices together.
        steps: that are timed.
        devices: of this process.
        deterministic: whether sums have one order, as by `--deterministic`.
        job: "coordinator", "processes" and "process_id" of one of several processes.
    """
    os.environ.update(KERAS_BACKEND=backend, JAX_PLATFORMS="cpu",
                      XLA_FLAGS=f"--xla_force_host_platform_device_count={devices}")
    from frcnn.training import determinism, distributed

    if deterministic:
        determinism.enable()
    if job:
        distributed.start(**job)
    elif backend == distributed.BACKEND:
        distributed.start(devices)

    from benchmarks.network import LEARNING_RATE, Noise, make_config
    from frcnn.model.mask_rcnn import MaskRCNN

    config = make_config(side, batch=batch, train_bn=True, STEPS_PER_EPOCH=steps + 2)
    data = Noise(side, batch * (steps + 2), config.NUM_CLASSES)
    clock = _clock()
    with tempfile.TemporaryDirectory() as folder:
        MaskRCNN("training", config, folder, seed=1).train(
            data, None, LEARNING_RATE, 1, "all", custom_callbacks=[clock], verbose=0)
    return [end - begin for begin, end in zip(clock.ends[1:], clock.ends[2:])]


def _clock():
    import keras

    class Clock(keras.callbacks.Callback):
        """Notes when each step has ended."""

        def __init__(self):
            super().__init__()
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])  # waits for the step
            self.ends.append(time.monotonic())

    return Clock()
