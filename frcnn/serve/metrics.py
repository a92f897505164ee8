"""Figures of a server in Prometheus's text format."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_SIZES = (1, 2, 4, 8, 16)


class Metrics:
    """The figures of one server, in a registry of its own.

    Attributes:
        requests: by route, method and status.
        seconds: from a request's first byte to the answer's last, by route.
        batches: images that were detected in together.
        detection: seconds that the network took for such a batch.
        images: detected in.
        objects: found, by class.
        errors: images that detection failed in.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter("frcnn_requests", "Requests", ["route", "method", "status"],
                                registry=registry)
        self.seconds = Histogram("frcnn_request_seconds", "Time of a request", ["route"],
                                 buckets=_SECONDS, registry=registry)
        self.batches = Histogram("frcnn_batch_images", "Images detected in together",
                                 buckets=_SIZES, registry=registry)
        self.detection = Histogram("frcnn_batch_seconds", "Time of the network for a batch",
                                   buckets=_SECONDS, registry=registry)
        self.images = Counter("frcnn_images", "Images detected in", registry=registry)
        self.objects = Counter("frcnn_objects", "Objects found, of any score", ["class_name"],
                               registry=registry)
        self.errors = Counter("frcnn_image_errors", "Images that detection failed in",
                              registry=registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a figure that is asked for when figures are read."""
        Gauge(f"frcnn_{name}", text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self._registry)
