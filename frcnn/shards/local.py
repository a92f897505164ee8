"""The engine that is always there: one detector in this process, one shard after the other."""

from collections.abc import Iterator, Sequence
from typing import Any

from frcnn.shards.store import Shard
from frcnn.shards.worker import Done, OnImage, Task, Worker


def run(task: Task, shards: Sequence[Shard], on_image: OnImage = lambda: None,
        model: Any = None) -> Iterator[tuple[Shard, Done]]:
    """Yields each shard once its results are written.

    Args:
        task: Task.
        shards: those to do.
        on_image: called after each image.
        model: a detector to use instead of the task's checkpoint.
    """
    worker = Worker(task, model)
    for shard in shards:
        yield shard, worker.run(shard, on_image)
