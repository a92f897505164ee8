"""Bounds on what clients may ask for, and the error that says which one was passed."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from frcnn.errors import ArgumentError

MEGABYTE = 1_000_000
# Clients whose rate is remembered; the one that was idle longest is forgotten first.
MOST_CLIENTS = 10_000
# A client may send this share of a minute's requests at once.
BURST = 0.25


class Refusal(Exception):
    """A request that is not answered with what it asked for.

    Args:
        status: of HTTP.
        message: one sentence that says what to do.
        retry_after: seconds after which the same request may succeed; None if it never will.

    Attributes: as the arguments.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**headers, "WWW-Authenticate": "Bearer"} if self.status == 401 else headers


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        max_bytes: of a request's body.
        max_pixels: of an image.
        queue: requests for detection that are under way, waiting ones included.
        rate: requests of a client in a minute.
        body_seconds: time for a body to arrive.

    Raises:
        ArgumentError: one of them is below 1.
    """

    max_bytes: int = 50 * MEGABYTE
    max_pixels: int = 50 * MEGABYTE
    queue: int = 32
    rate: int = 600
    body_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ArgumentError(f"{name} is {value}; it must be 1 or more.")

    # Four of the largest images may be in memory at a time, or more smaller ones.

    @property
    def bytes_in_memory(self) -> int:
        """Of the bodies of all requests for detection that are under way."""
        return 4 * self.max_bytes

    @property
    def pixels_in_memory(self) -> int:
        """Of the images of all requests for detection that are under way."""
        return 4 * self.max_pixels


class Budget:
    """An amount of something that requests share. Not for several threads.

    Args:
        total: the amount.
        what: for the message of the error.
    """

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what = total, what
        self.used = 0

    @contextmanager
    def taken(self, amount: int = 1) -> Iterator[None]:
        """Takes an amount for the time of the block.

        Raises:
            Refusal: with status 503; so much is not left now.
        """
        if self.used + amount > self.total:
            raise Refusal(503, f"The server is busy: {self.what}; try again in a few seconds.", 2)
        self.used += amount
        try:
            yield
        finally:
            self.used -= amount


class RateLimiter:
    """How many requests a client may send: a token bucket each. Not for several threads.

    Args:
        per_minute: requests of a client in a minute, in the long run.
        clock: seconds that never go back.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_minute / 60
        self.burst = max(1.0, per_minute * BURST)
        self._clock = clock
        # By client: what is left, and when that was so.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Counts a request.

        Raises:
            Refusal: with status 429; the client has sent too many.
        """
        now = self._clock()
        left, before = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - before) * self.per_second)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left), now
        if len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        if not allowed:
            wait = math.ceil((1 - left) / self.per_second)
            raise Refusal(429, "Too many requests from this address, of which "
                               f"{round(60 * self.per_second)} a minute are allowed; try again in "
                               f"{wait} s.", wait)
