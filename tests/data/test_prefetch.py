"""Things are made ahead, in order, by no more threads than allowed, and no thread stays."""

import threading
import time

import pytest

from frcnn.data.prefetch import Prefetcher


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert condition()


class Maker:
    """Makes numbers' names, notes which and how many at a time, and waits to be let go."""

    def __init__(self):
        self.made, self.now, self.most = [], 0, 0
        self.go, self.lock = threading.Event(), threading.Lock()
        self.go.set()

    def __call__(self, number):
        with self.lock:
            self.made.append(number)
            self.now += 1
            self.most = max(self.most, self.now)
        self.go.wait(60)
        with self.lock:
            self.now -= 1
        if number < 0:
            raise ValueError(f"{number} is below zero")
        return f"number {number}"


def keys(*numbers):
    return [(number,) for number in numbers]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_each_is_made_once_and_taken_in_order(workers):
    before, make = threading.active_count(), Maker()
    prefetcher = Prefetcher(make, workers)
    taken = [prefetcher.take(keys(*range(first, min(first + 4, 30)))) for first in range(30)]
    assert taken == [f"number {number}" for number in range(30)]
    assert sorted(make.made) == list(range(30)) and len(prefetcher) == 0
    assert make.most <= workers
    wait_until(lambda: threading.active_count() <= before)


def test_the_others_are_made_without_being_asked_again():
    before, make = threading.active_count(), Maker()
    prefetcher = Prefetcher(make, 2)
    prefetcher.take(keys(0, 1, 2, 3))
    wait_until(lambda: sorted(make.made) == [0, 1, 2, 3])
    wait_until(lambda: threading.active_count() <= before)
    assert len(prefetcher) == 3
    make.go.clear()  # what is made already needs no thread any more
    assert prefetcher.take(keys(1, 2, 3)) == "number 1"


def test_what_is_not_wanted_any_more_is_given_up():
    before, make = threading.active_count(), Maker()
    prefetcher, results = Prefetcher(make, 1), []
    make.go.clear()
    first = threading.Thread(
        target=lambda: results.append(prefetcher.take(keys(0, 1, 2, 3))))
    first.start()
    wait_until(lambda: make.made == [0])
    second = threading.Thread(target=lambda: results.append(prefetcher.take(keys(7, 3))))
    second.start()
    wait_until(lambda: len(prefetcher) == 1)  # 3
    make.go.set()
    first.join()
    second.join()
    wait_until(lambda: threading.active_count() <= before)
    assert sorted(results) == ["number 0", "number 7"] and sorted(make.made) == [0, 3, 7]
    assert prefetcher.take(keys(3, 1)) == "number 3"
    assert prefetcher.take(keys(1)) == "number 1"  # given up once, and wanted after all


def test_errors_come_where_the_thing_is_taken():
    before, prefetcher = threading.active_count(), Prefetcher(Maker(), 2)
    assert prefetcher.take(keys(1, -2, 3)) == "number 1"
    with pytest.raises(ValueError, match="-2 is below zero"):
        prefetcher.take(keys(-2, 3))
    assert prefetcher.take(keys(3)) == "number 3"
    wait_until(lambda: threading.active_count() <= before)


def test_clearing_leaves_only_what_is_being_made():
    before, make = threading.active_count(), Maker()
    prefetcher = Prefetcher(make, 1)
    make.go.clear()
    taker = threading.Thread(target=lambda: prefetcher.take(keys(0, 1, 2)))
    taker.start()
    wait_until(lambda: make.made == [0])
    prefetcher.clear()
    assert len(prefetcher) == 0
    make.go.set()
    taker.join()
    wait_until(lambda: threading.active_count() <= before)
    assert make.made == [0]
