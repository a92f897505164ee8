"""The job that a process belongs to: its processes and devices, and how it ends."""

import atexit
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from frcnn.errors import BackendError, ConfigError, FrcnnError
from frcnn.training.interruption import TrainingInterrupted

BACKEND = "jax"
GO_ON = ("Continue it with --model last (in Python, load_weights(find_last()) and "
         "train(resume=True)), also with another number of processes or devices.")
# What JAX and the libraries below it say of a process that is gone; the class differs by version.
_LOST = re.compile("gloo|nccl|coordination.service|connection (closed|reset)|heartbeat|UNAVAILABLE"
                   "|DEADLINE_EXCEEDED", re.IGNORECASE)
_state = {"has_left": False}


@dataclass(frozen=True)
class Job:
    """The processes and devices that train one model.

    Attributes:
        process: the number of this process, from 0.
        processes: how many there are.
        devices: how many devices they have together.
    """

    process: int = 0
    processes: int = 1
    devices: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.process == 0

    @property
    def part(self) -> tuple[int, int]:
        """Which part of each batch this process makes, as `DetectionSequence` takes it."""
        return self.process, self.processes

    def check_batch(self, images_per_gpu: int, gpu_count: int) -> None:
        """Raises ConfigError if the devices cannot share a batch evenly."""
        size = images_per_gpu * gpu_count
        if size % self.devices:
            raise ConfigError(
                f"A batch of {size} images (IMAGES_PER_GPU × GPU_COUNT, {images_per_gpu} × "
                f"{gpu_count}) cannot be divided among {self.devices} devices; use a multiple of "
                f"{self.devices}, as with --batch-size {self.devices * -(-size // self.devices)}.")


def current() -> Job:
    """The job that this process is part of; that of one process and device without `start`.

    Raises:
        BackendError: Keras's distribution is not one of data parallelism, or is missing.
    """
    import keras

    from frcnn.network import ops

    if _state["has_left"]:
        return Job()
    process, processes = ops.process_place()
    distribution = keras.distribution.distribution()
    if distribution is None and processes == 1:
        return Job()
    if distribution is None:
        raise BackendError(
            f"This is process {process} of {processes}, but Keras has no distribution, so that "
            "each would train a model of its own. Call frcnn.training.distributed.start, or "
            "keras.distribution.set_distribution(DataParallel(auto_shard_dataset=False)).")
    if keras.backend.backend() != BACKEND \
            or not isinstance(distribution, keras.distribution.DataParallel):
        raise BackendError(
            f"A {type(distribution).__name__} is set as Keras's distribution, on "
            f"{keras.backend.backend()}; only DataParallel on JAX is supported, as "
            "frcnn.training.distributed.start sets it.")
    return Job(process, processes, int(distribution.device_mesh.devices.size))


def finish() -> None:
    """Leaves the job once every process has trained; from then on this process is alone.

    All of them have to call it. Process 0 can then evaluate, while the others end.
    """
    import keras

    from frcnn.network import ops

    if current().processes > 1:
        ops.leave()
        _state["has_left"] = True
    keras.distribution.set_distribution(None)


def exit_at_once(code: int) -> None:
    """Has the end of this program wait for no other process, after an error.

    At exit JAX waits for the other processes, which may be waiting for this one in a step.
    """
    atexit.register(_exit, code)


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code)


def end_at_once_after_errors() -> None:
    """Has an error that ends this program end it at once; see `exit_at_once`."""
    shown = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        shown(kind, error, trace)
        if not isinstance(error, TrainingInterrupted):  # on which all processes have agreed
            exit_at_once(1)

    sys.excepthook = show


def explained(error: Exception) -> Exception:
    """The error with which a training ends: that of JAX for a process that is gone, in words."""
    job = current()
    if job.processes == 1 or isinstance(error, FrcnnError) or not _LOST.search(str(error)):
        return error
    first = next(iter(str(error).splitlines()), "")
    return BackendError(f"Another process of the job has ended or cannot be reached; this is "
                        f"process {job.process} of {job.processes}. {GO_ON} JAX says: "
                        f"{first[:300]}")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """A context in which Keras builds and runs models of this process alone."""
    import keras

    kept = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(kept)
