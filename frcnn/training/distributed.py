"""Training on several devices and in several processes, by JAX's own engine.

    from frcnn.training import distributed

    distributed.start("all")                    # before Keras is imported: it selects JAX
    model = MaskRCNN("training", config, "logs")
    model.train(...)

Every device computes a part of each batch, and the gradients are those of the whole batch: the
numbers are one device's, but for the order of sums. With several processes each of them runs the
same program on the same data, and makes only its part of each batch; process 0 alone writes files.
See docs/distributed.md.
"""

import importlib.util
import os
import sys

from frcnn.errors import BackendError, ConfigError
from frcnn.training.agreement import agree, versions
from frcnn.training.job import BACKEND, Job, current, end_at_once_after_errors, finish

__all__ = ["Job", "check_places", "current", "finish", "select_backend", "start"]

ALL = "all"


def start(devices: int | str | None = None, *, cluster: bool = False,
          coordinator: str | None = None, processes: int | None = None,
          process_id: int | None = None) -> Job:
    """Has this process train on several devices; call it first, before Keras is imported.

    It selects the JAX backend. The devices of one process are `devices`; those of several
    processes are all that each of them has.

    Args:
        devices: how many of this machine's devices, or "all"; for one process.
        cluster: whether this is one of several processes, started by SLURM, Open MPI or
            Kubernetes, from whose environment variables JAX knows the others.
        coordinator: "host:port" of process 0, where nothing else tells of the others; then
            `processes` and `process_id` are needed, too.
        processes: how many there are.
        process_id: the number of this one, from 0.

    Returns:
        The job.

    Raises:
        BackendError: JAX is missing, Keras is imported with another backend, the devices are not
            there, or the other processes are not found.
        ConfigError: the arguments contradict each other.
    """
    check_places(devices, cluster, coordinator, processes, process_id)
    select_backend()
    from frcnn.network import ops

    if cluster or coordinator is not None:
        try:
            ops.join(coordinator, processes, process_id)
        except (ValueError, RuntimeError, TypeError) as error:
            raise BackendError(
                f"The processes of the job do not find each other: {error}. Without SLURM, Open "
                "MPI or Kubernetes, which JAX recognises, give every process --coordinator "
                "HOST:PORT --processes N --process-id I.") from error
    names, counts = ops.device_names(), ops.devices_of_processes()
    if len(set(counts)) > 1:
        fewer = counts.index(min(counts))
        raise BackendError(f"Process {counts.index(max(counts))} has {max(counts)} devices, and "
                           f"process {fewer} has {min(counts)}; all need the same number.")
    if isinstance(devices, int):
        if devices > len(names):
            raise BackendError(f"{devices} devices were asked for, but JAX finds {len(names)}: "
                               f"{', '.join(names)}.")
        names = names[:devices]
    if len(names) > 1:
        import keras

        # The loader makes each process's part itself; Keras would shard a tf.data.Dataset.
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=names, auto_shard_dataset=False))
    if current().processes > 1:
        end_at_once_after_errors()
        agree(versions())
    return current()


def select_backend() -> None:
    """Selects the JAX backend, for a process that has not imported Keras.

    Raises:
        BackendError: JAX is missing, or Keras is imported with another backend.
    """
    if "keras" in sys.modules:
        import keras

        if keras.backend.backend() != BACKEND:
            raise BackendError(
                f"Keras is imported already, with {keras.backend.backend()}; several devices need "
                "JAX. Call frcnn.training.distributed.start before Keras is imported, or set "
                "KERAS_BACKEND=jax.")
    elif importlib.util.find_spec(BACKEND) is None:
        raise BackendError("Several devices need JAX, which is not installed: pip install jax, or "
                           'for NVIDIA GPUs pip install "jax[cuda12]".')
    os.environ["KERAS_BACKEND"] = BACKEND


def check_places(devices: int | str | None, cluster: bool, coordinator: str | None,
                 processes: int | None, process_id: int | None) -> None:
    """Raises ConfigError where the arguments of `start` contradict each other."""
    given = {"coordinator": coordinator, "processes": processes, "process_id": process_id}
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise ConfigError(f"{', '.join(sorted(given.keys() - set(missing)))} needs "
                          f"{' and '.join(missing)}, too: the three belong together.")
    if (isinstance(devices, int) and devices < 1) or (isinstance(devices, str) and devices != ALL):
        raise ConfigError(f'devices is {devices!r}; allowed are a number of 1 or more and "{ALL}".')
    if devices is not None and devices != ALL and (cluster or not missing):
        raise ConfigError(f"devices is {devices}, but a job of several processes uses all devices "
                          "of each; CUDA_VISIBLE_DEVICES limits them.")
    if processes is not None and process_id is not None and not 0 <= process_id < processes:
        raise ConfigError(f"process_id is {process_id}, but there are {processes} processes, which "
                          "are numbered from 0.")
