"""Work done ahead of its being asked for, in threads that end by themselves."""

import threading
from collections import deque
from concurrent.futures import Future


class Prefetcher:
    """Makes things in threads before they are taken.

    Threads start when there is something to make and end when there is not. Nobody need close it:
    when a training ends, crashes or is interrupted, no more is asked for, and once what was under
    way is finished no thread is left.

    Args:
        make: function of a key's parts.
        workers: threads at the same time, at most.
    """

    def __init__(self, make, workers):
        self._make, self._workers = make, workers
        self._lock = threading.Lock()
        self._futures = {}  # by key: what is made, being made or waiting, and was not taken yet
        self._waiting = deque()  # keys and futures, first come, first served
        self._running = 0

    def __len__(self):
        """How many are made, being made or waiting, and were not taken yet."""
        return len(self._futures)

    def take(self, keys):
        """What belongs to the first key; waits for it, and has the others made meanwhile.

        Args:
            keys: tuples, in the order in which they will be wanted. Whatever was asked for earlier
                and is not among them is given up.

        Raises:
            What `make` raised for the first key.
        """
        with self._lock:
            self._give_up(self._futures.keys() - set(keys))
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

    def clear(self):
        """Gives up everything that is not being made already."""
        with self._lock:
            self._give_up(list(self._futures))
            self._waiting.clear()

    def _give_up(self, keys):
        for key in keys:
            self._futures.pop(key).cancel()

    def _work(self):
        """A thread's life."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                key, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._make(*key))
                except BaseException as error:  # it is raised where it is taken
                    future.set_exception(error)
            del future  # a batch is large, and the next one may be long in coming
