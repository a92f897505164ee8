"""The engine for many machines: Ray Data hands the shards to a pool of detectors.

An actor writes the results of its shard itself, into a folder that all machines see. If it is
killed, Ray starts another one, which does the shard again and replaces nothing that is finished.
"""

import contextlib
import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from frcnn.errors import BackendError, FrcnnError, MissingExtraError
from frcnn.shards.store import Shard, Store
from frcnn.shards.worker import Done, Task, Worker

# Seconds to wait for a cluster.
PATIENCE = 60.0
_ADVICE = "start one with 'ray start --head', or leave the address out"


@dataclass(frozen=True)
class Cluster:
    """Where and by how many workers the shards are done.

    Attributes:
        address: of a cluster, "auto" for the one of this machine; None starts Ray here.
        workers: number of detectors.
        gpus_per_worker: GPUs that each of them has, which may be a part of one.
        cpus_per_worker: processor cores that are reserved for each.
    """

    address: str | None = None
    workers: int = 1
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0


def run(task: Task, shards: Sequence[Shard], cluster: Cluster) -> Iterator[tuple[Shard, Done]]:
    """Yields each shard once its results are written, in any order.

    Args:
        task: Task; its folder and weights must be there on all machines.
        shards: those to do.
        cluster: Cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        BackendError: the cluster does not answer, or has not what a worker needs.
        FrcnnError: a worker cannot load the checkpoint.
    """
    ray = _library()
    by_number = {shard.number: shard for shard in shards}
    with _session(ray, cluster):
        _check_resources(ray, cluster)
        numbers = ray.data.from_items([{"number": number} for number in by_number],
                                      override_num_blocks=len(by_number))
        results = numbers.map_batches(
            ShardActor, fn_constructor_args=(task,), batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(cluster.workers, len(by_number))),
            num_cpus=cluster.cpus_per_worker, num_gpus=cluster.gpus_per_worker or None)
        for row in results.iter_rows():
            if row["message"]:
                raise FrcnnError(f"A worker cannot detect: {row['message']}")
            yield by_number[int(row["number"])], Done(
                int(row["images"]), int(row["objects"]), int(row["errors"]))


class ShardActor:
    """A detector in a process of its own, which lives as long as there are shards."""

    def __init__(self, task: Task) -> None:
        self.message, self.shards = "", []
        # Raised here, an error would have Ray start the actor again and again.
        try:
            self.worker = Worker(task)
            self.shards = Store(task.folder).shards()
        except Exception as error:
            self.message = f"{type(error).__name__}: {error}"

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Does the one shard of a batch; a row with its number and what became of it."""
        number = int(batch["number"][0])
        if self.message:
            return _row(number, Done(0, 0, 0), self.message)
        shard = self.shards[number]
        if shard.is_finished:  # by an actor that was killed before it could say so
            rows = Store(self.worker.task.folder).results(shard)
            return _row(number, Done(len(rows), sum(len(row["scores"]) for row in rows),
                                     sum(row["error"] is not None for row in rows)))
        return _row(number, self.worker.run(shard))


def _row(number: int, done: Done, message: str = "") -> dict[str, list[Any]]:
    return {"number": [number], "images": [done.images], "objects": [done.objects],
            "errors": [done.errors], "message": [message]}


def _library() -> Any:
    # Without it, Ray would replace the environment of its workers by one that it makes by uv.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError:
        raise MissingExtraError("Clusters of Ray", "ray") from None
    return ray


@contextlib.contextmanager
def _session(ray: Any, cluster: Cluster) -> Iterator[None]:
    """A connection to the cluster for the time of the block."""
    if ray.is_initialized():
        yield
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS")  # which ray.init takes, too
    if address and address != "local":  # which starts Ray here
        _check_answers(address)
        _check_connects(address)
    try:
        ray.init(address=cluster.address, include_dashboard=False, log_to_driver=False,
                 logging_level="error")
    except Exception as error:  # ConnectionError, RuntimeError, TimeoutError, …
        raise BackendError(f"Ray at {cluster.address or 'this machine'} does not answer "
                           f"({error}).") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


# Says when it begins to connect: importing Ray takes its time on a busy machine.
_CONNECT = """
import sys, ray
print("ready", flush=True)
ray.init(address=sys.argv[1], include_dashboard=False, log_to_driver=False, logging_level="error")
ray.shutdown()
"""


def _check_connects(address: str) -> None:
    """Raises BackendError where no cluster lets a process join it within PATIENCE.

    Ray itself may wait for an answer forever, and cannot be interrupted; so another process tries.
    """
    with subprocess.Popen([sys.executable, "-c", _CONNECT, address], text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            _, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise BackendError(f"No cluster of Ray answers at {address} within {PATIENCE:g} "
                               f"seconds; {_ADVICE}.") from None
        finally:
            process.kill()
    if process.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        reason = lines[-1][:300] if lines else f"it ended with code {process.returncode}"
        raise BackendError(f"Ray at {address} does not answer ({reason}); {_ADVICE}.")


def _check_answers(address: str) -> None:
    """Raises BackendError where nothing accepts a connection to HOST:PORT within PATIENCE."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise BackendError(f"No cluster answers at {address} ({error}); {_ADVICE}.") from error


def _check_resources(ray: Any, cluster: Cluster) -> None:
    """Raises BackendError where no worker would ever get what it needs."""
    total = ray.cluster_resources()
    for name, needed in (("CPU", cluster.cpus_per_worker), ("GPU", cluster.gpus_per_worker)):
        if needed > total.get(name, 0):
            raise BackendError(f"A worker needs {needed:g} {name}, and the cluster has "
                               f"{total.get(name, 0):g}.")
        if needed * cluster.workers > total.get(name, 0):
            raise BackendError(f"{cluster.workers} workers need {needed * cluster.workers:g} "
                               f"{name}, and the cluster has {total.get(name, 0):g}; ask for "
                               "fewer.")
