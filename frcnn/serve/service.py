"""A detector, and what requests to it share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from frcnn.formats.detections import Classes
from frcnn.serve.batching import Batcher
from frcnn.serve.counting import Calibration
from frcnn.serve.guard import Access
from frcnn.serve.limits import Budget, Limits, Refusal
from frcnn.serve.metrics import Metrics

DECODERS = 2  # threads

Result = TypeVar("Result")


@dataclass
class Service:
    """A detector, and what requests to it share.

    Attributes:
        batcher: detects.
        classes: of the detector.
        name: of its file.
        digest: SHA-256 of that.
        default_score: from which on detections are given, unless a request says otherwise.
        limits: Limits.
        metrics: Metrics.
        access: Access.
        calibration: Calibration.
    """

    batcher: Batcher
    classes: Classes
    name: str
    digest: str
    default_score: float
    limits: Limits
    metrics: Metrics
    access: Access = field(default_factory=Access)
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        self.threads = ThreadPoolExecutor(DECODERS, "frcnn decoding")
        self.requests = Budget(self.limits.queue, "as many requests are under way as it takes")
        self.bytes = Budget(self.limits.bytes_in_memory, "files wait that fill its memory")
        self.pixels = Budget(self.limits.pixels_in_memory, "images wait that fill its memory")
        self.metrics.watch("ready", "Whether the model is loaded", lambda: self.batcher.is_ready)
        self.metrics.watch("requests_under_way", "Requests for detection",
                           lambda: self.requests.used)
        self.metrics.watch("images_waiting", "Images that wait for the network",
                           lambda: self.batcher.waiting)

    def check_ready(self) -> None:
        """Raises Refusal until the model is loaded."""
        if not self.batcher.is_ready:
            raise Refusal(503, "The model is being loaded; try again in a few seconds.", 3)

    async def in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """The value of a function that may take long."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)
