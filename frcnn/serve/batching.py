"""One thread that detects, and the queue in front of it: what waits together is one batch."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeAlias

import numpy as np

from frcnn.arrays import DetectionResult, Image
from frcnn.config import Config
from frcnn.errors import FrcnnError
from frcnn.inference.stream import MAX_BATCH_SIZE, ImageSource
from frcnn.serve.metrics import Metrics

log = logging.getLogger(__name__)

# How long the first request of a batch waits for others to come along.
COLLECT_SECONDS = 0.01

Waiting: TypeAlias = tuple[Image, "Future[DetectionResult]"]


class StreamDetector(Protocol):
    """What detects: a MaskRCNN, or a `frcnn.runtime.Detector`."""

    config: Config

    def detect_stream(self, images: Iterable[ImageSource], *, batch_size: int | None = None,
                      return_exceptions: bool = False) -> Iterator[DetectionResult | Exception]:
        """See `MaskRCNN.detect_stream`."""


class Batcher:
    """Detects in images that threads submit; the network runs in one thread of its own.

    Args:
        detector: StreamDetector.
        metrics: that batches are counted in.
        batch_size: images that go through the network together; None chooses by their size.
        warm_up: numbers of images to detect in before the first request, so that it does not
            wait for the compilation of the network.
        size: (height, width) of these images; None for squares of the largest side.

    Attributes:
        detector: as given.
        failure: the error of the warm-up, else None.
    """

    def __init__(self, detector: StreamDetector, metrics: Metrics, batch_size: int | None = None,
                 warm_up: Sequence[int] = (1,), size: tuple[int, int] | None = None) -> None:
        self.detector = detector
        self.failure: Exception | None = None
        self._metrics, self._batch_size, self._warm_up = metrics, batch_size, warm_up
        self._size = size
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="frcnn detection", daemon=True)

    @property
    def is_ready(self) -> bool:
        """Whether the warm-up is done."""
        return self._ready.is_set() and self.failure is None

    @property
    def waiting(self) -> int:
        """How many images wait, those of the batch that is computed not included."""
        return self._queue.qsize()

    def start(self, when_failed: Callable[[], Any] = lambda: None) -> None:
        """Starts the thread, which warms up first.

        Args:
            when_failed: called in the thread if the warm-up fails; see `failure`.
        """
        self._when_failed = when_failed
        self._thread.start()

    def wait_until_ready(self, seconds: float | None = None) -> bool:
        """Waits for the end of the warm-up; returns `is_ready`."""
        self._ready.wait(seconds)
        return self.is_ready

    def submit(self, image: Image) -> "Future[DetectionResult]":
        """Queues an image `[H, W, C]` uint8; the future has what `detect` returns for it."""
        if self._is_closed:
            raise FrcnnError("The server is being stopped; send the image again later.")
        future: Future[DetectionResult] = Future()
        self._queue.put((image, future))
        return future

    def close(self) -> None:
        """Ends the thread after all that was submitted."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
            if self._thread.is_alive():
                self._thread.join()

    # --- in the thread ---

    def _run(self) -> None:
        try:
            self._warm()
        except Exception as error:
            self.failure = error
            self._when_failed()
        finally:
            self._ready.set()
        is_open = True
        while is_open:
            first = self._queue.get()
            if first is None:
                break
            batch, is_open = self._collect(first)
            self._detect([entry for entry in batch if entry[1].set_running_or_notify_cancel()])
            del first, batch  # images are large; hold none while waiting

    def _warm(self) -> None:
        config = self.detector.config
        height, width = self._size or (config.IMAGE_MAX_DIM, config.IMAGE_MAX_DIM)
        blank = np.zeros((height, width, config.IMAGE_CHANNEL_COUNT), np.uint8)
        for count in self._warm_up:
            for _ in self.detector.detect_stream([blank] * count, batch_size=self._batch_size):
                pass

    def _collect(self, first: Waiting) -> tuple[list[Waiting], bool]:
        """The first image and those that come along; whether more may follow."""
        batch, end = [first], time.monotonic() + COLLECT_SECONDS
        while len(batch) < MAX_BATCH_SIZE:
            try:
                entry = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if entry is None:
                return batch, False
            batch.append(entry)
        return batch, True

    def _detect(self, batch: Sequence[Waiting]) -> None:
        """Answers the futures of a batch, each as soon as its result is there."""
        if not batch:
            return
        self._metrics.batches.observe(len(batch))
        begin = time.perf_counter()
        try:
            self._answer(batch)
        except Exception:
            # It may be that of one image: each has its own result or error.
            for entry in batch:
                if not entry[1].done():
                    self._answer_alone(entry)
        self._metrics.detection.observe(time.perf_counter() - begin)

    def _answer(self, batch: Sequence[Waiting]) -> None:
        results = self.detector.detect_stream(
            [image for image, _ in batch], batch_size=self._batch_size, return_exceptions=True)
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _answer_alone(self, entry: Waiting) -> None:
        try:
            self._answer([entry])
        except Exception as error:
            self._metrics.errors.inc()
            if not isinstance(error, FrcnnError):
                log.exception("detection failed")
            entry[1].set_exception(error)
