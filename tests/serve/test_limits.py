"""Bounds: what is shared is given back, and a client's rate holds in any stretch of time."""

import numpy as np
import pytest

from frcnn.errors import ArgumentError
from frcnn.serve import limits
from frcnn.serve.limits import Budget, Limits, RateLimiter, Refusal


def test_limits_below_one_are_an_error():
    with pytest.raises(ArgumentError, match="queue is 0"):
        Limits(queue=0)


def test_a_budget_is_given_back_whatever_happens():
    budget = Budget(3, "all is taken")
    with budget.taken(2):
        with budget.taken(1), pytest.raises(Refusal, match="all is taken") as refused, \
                budget.taken(1):
            pass
        assert refused.value.status == 503 and refused.value.headers == {"Retry-After": "2"}
        with pytest.raises(KeyError), budget.taken(1):
            raise KeyError
        assert budget.used == 2
    assert budget.used == 0


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_rate_holds_in_any_stretch_of_time():
    """By brute force over all pairs of requests that were allowed."""
    clock, per_minute = Clock(), 30
    limiter, random = RateLimiter(per_minute, clock), np.random.default_rng(0)
    times = []
    for _ in range(2000):
        clock.now += random.exponential(0.7)
        try:
            limiter.check("a")
        except Refusal as refusal:
            assert refusal.status == 429
            # After the time that is named, and no more than a second earlier, it is allowed.
            wait = int(refusal.headers["Retry-After"])
            assert 1 <= wait <= 2
        else:
            times.append(clock.now)
    times = np.array(times)
    count = np.arange(len(times))
    allowed = limiter.burst + (times[:, None] - times) * per_minute / 60
    later = np.tril_indices(len(times))
    assert (count[:, None] - count + 1 <= allowed + 1e-6)[later].all()
    assert len(times) > 0.95 * clock.now / 60 * per_minute  # and it is made use of


def test_a_client_may_go_on_after_the_time_that_is_named():
    clock = Clock()
    limiter = RateLimiter(6, clock)
    with pytest.raises(Refusal) as refused:
        while True:
            limiter.check("a")
    limiter.check("b")  # others are not concerned
    clock.now += int(refused.value.headers["Retry-After"])
    limiter.check("a")


def test_the_clients_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "MOST_CLIENTS", 10)
    limiter = RateLimiter(60, Clock())
    for number in range(100):
        limiter.check(str(number))
    assert len(limiter._left) == 10
