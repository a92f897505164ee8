"""Values computed in threads before they are requested; the threads end without being closed."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

Key: TypeAlias = tuple[Any, ...]


class Prefetcher:
    """Computes values in threads before they are taken.

    Threads start when there is something to compute and end when there is not. It needs no closing:
    when a training ends, crashes or is interrupted, nothing more is requested, and no thread is
    left once the values being computed are finished.

    Args:
        make: computes the value of a key; its arguments are the key's parts.
        workers: threads at the same time, at most.
    """

    def __init__(self, make: Callable[..., Any], workers: int) -> None:
        self._make, self._workers = make, workers
        self._lock = threading.Lock()
        # By key: computed, being computed or waiting, and not taken yet.
        self._futures: dict[Key, Future[Any]] = {}
        self._waiting: deque[tuple[Key, Future[Any]]] = deque()  # first come, first served
        self._running = 0

    def __len__(self) -> int:
        """How many are computed, being computed or waiting, and were not taken yet."""
        return len(self._futures)

    def take(self, keys: Sequence[Key]) -> Any:
        """The value of the first key; waits for it, while the others are computed too.

        Args:
            keys: in the order in which they will be taken. Whatever was requested earlier and is
                not among them is cancelled.

        Raises:
            Exception: what `make` raised for the first key.
        """
        with self._lock:
            self._cancel(self._futures.keys() - set(keys))
            for key in keys:
                if key not in self._futures:
                    self._futures[key] = Future()
                    self._waiting.append((key, self._futures[key]))
            future = self._futures.pop(keys[0])
            starting = min(self._workers - self._running, len(self._waiting))
            self._running += starting
        for _ in range(starting):
            threading.Thread(target=self._work, name="frcnn batches").start()
        return future.result()

    def clear(self) -> None:
        """Cancels everything that is not being computed already."""
        with self._lock:
            self._cancel(list(self._futures))
            self._waiting.clear()

    def _cancel(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._futures.pop(key).cancel()

    def _work(self) -> None:
        """What a thread runs: one waiting key after the other, until there are none."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                key, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._make(*key))
                except BaseException as error:  # raised in `take`
                    future.set_exception(error)
            del future  # a batch is large; do not hold it while the next one is computed
