"""JAX's processes: how they find each other, and how they exchange values."""

import contextlib
import inspect
from typing import Any

import keras
import numpy as np

from frcnn.arrays import Tensor

# Of a process that no longer answers; JAX's own default is 100.
HEARTBEAT_TIMEOUT = 60
START_TIMEOUT = 300  # seconds to wait for the others


def join(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Joins the processes of a job; before the first computation.

    Args:
        coordinator: "host:port" of process 0; None, as for the others, has JAX find it by the
            environment variables of the cluster's program.
        processes: their number.
        process_id: of this one, from 0.

    Raises:
        ValueError, RuntimeError: JAX recognises no cluster, or the others cannot be reached.
    """
    import jax

    with contextlib.suppress(AttributeError):  # a version that has no other
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options: dict[str, Any] = {"initialization_timeout": START_TIMEOUT,
                               "heartbeat_timeout_seconds": HEARTBEAT_TIMEOUT}
    if coordinator is not None:  # no cluster's program is asked, and all devices are used
        options["cluster_detection_method"] = "deactivate"
    known = inspect.signature(jax.distributed.initialize).parameters
    jax.distributed.initialize(coordinator, processes, process_id, **{
        name: value for name, value in options.items() if name in known})


def leave() -> None:
    """Leaves the job once all processes want to; computations of this process alone can go on."""
    import jax

    jax.distributed.shutdown()


def process_place() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are; (0, 1) but on JAX."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def device_names() -> list[str]:
    """Names of all processes' devices as `keras.distribution` has them, process by process."""
    import jax

    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return [f"{device.platform}:{device.id}" for device in devices]


def devices_of_processes() -> list[int]:
    """How many devices each process has."""
    import jax

    counts = [0] * jax.process_count()
    for device in jax.devices():
        counts[device.process_index] += 1
    return counts


def copy(variable: keras.Variable) -> Tensor:
    """A copy of a variable's value; of one that several devices have, on the host."""
    sharding = getattr(variable.value, "sharding", None)
    if sharding is not None and len(sharding.device_set) > 1:
        return keras.ops.convert_to_numpy(variable)
    return keras.ops.copy(variable)


def gather_bytes(content: bytes) -> list[bytes]:
    """What every process passes, in the order of their numbers; all of them have to call it."""
    if process_place()[1] == 1:
        return [content]
    from jax.experimental import multihost_utils

    lengths = np.ravel(multihost_utils.process_allgather(np.array([len(content)], np.int32)))
    padded = np.zeros(max(1, int(lengths.max())), np.uint8)
    padded[:len(content)] = np.frombuffer(content, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(lengths), -1)
    return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]


def highest(number: int) -> int:
    """The highest of the numbers that the processes pass; all of them have to call it."""
    if process_place()[1] == 1:
        return number
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.array([number], np.int32))))
