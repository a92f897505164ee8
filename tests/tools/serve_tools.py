"""A detector without a network, images as bytes, and a server in a thread, for tests of serving."""

import contextlib
import io
import threading
import time

import httpx
import numpy as np
from PIL import Image

from frcnn.config import Config
from frcnn.formats.detections import Classes
from frcnn.inference.transform import as_result
from frcnn.serve import server
from frcnn.serve.app import make_app
from frcnn.serve.batching import Batcher
from frcnn.serve.limits import Limits
from frcnn.serve.metrics import Metrics
from frcnn.serve.service import Service

NAMES = ["BG", "red", "white"]
CLASSES = Classes(NAMES, [None, 7, 3])
SCORES = (0.9, 0.6, 0.2)


def expected(value):
    """Boxes and class ids that `Echo` finds where the first pixel has this value."""
    boxes = [[0, 0, 1 + value, 2 + value], [1, 2, 3.25, 4.5], [2, 1, 4, 3]]
    return boxes, [1 + value % 2, 1, 2]


class Echo:
    """Finds three objects in an image, of which the first says what its first pixel is.

    Args:
        seconds: that a call takes.
        error: raised by every call after the first, the warm-up.
    """

    def __init__(self, seconds=0.0, error=None, **settings):
        self.config = Config(**{"NAME": "echo", "NUM_CLASSES": 3, "IMAGE_MAX_DIM": 64,
                                "IMAGE_MIN_DIM": 64, "DETECTION_MIN_CONFIDENCE": 0.05, **settings})
        self.seconds, self.error = seconds, error
        self.batches, self.threads = [], set()

    def detect_stream(self, images, *, batch_size=None, return_exceptions=False):
        self.batches.append(len(images))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if self.error is not None and len(self.batches) > 1:
            raise self.error
        for image in images:
            boxes, class_ids = expected(int(image[0, 0, 0]))
            yield as_result(np.array(boxes, np.float32), np.array(class_ids, np.int32),
                            np.array(SCORES, np.float32))


class Doubling:
    """Expects twice the sum of the scores, give or take one an image."""

    def expected(self, scores):
        return 2 * float(np.sum(scores))

    def interval(self, images, level):
        assert level == 0.9
        total = sum(map(self.expected, images))
        return max(0, round(total) - len(images)), round(total) + len(images)


def make_service(detector=None, **settings):
    """A Service of a detector; of `Echo` unless another is given."""
    limits = Limits(**settings.pop("limits", {}))
    metrics = Metrics()
    return Service(Batcher(detector or Echo(), metrics), CLASSES, "echo.h5", "d" * 64, 0.5, limits,
                   metrics, **settings)


@contextlib.contextmanager
def serving(service, started=True):
    """The address of a server in a thread of this process.

    Args:
        service: a Service.
        started: whether its model is loaded, too.
    """
    opened = server.listening("127.0.0.1", 0)
    running = server.make_server(make_app(service))
    thread = threading.Thread(target=server.run, args=(running, opened))
    thread.start()
    if started:
        service.batcher.start()
        assert service.batcher.wait_until_ready(30)
    try:
        while not running.started:
            time.sleep(0.01)
        yield server.url_of(opened).rstrip("/")
    finally:
        running.should_exit = True
        thread.join()
        opened.close()


@contextlib.contextmanager
def client_of(service, **options):
    """An httpx.Client of a server in a thread."""
    with serving(service) as address, \
            httpx.Client(base_url=address, timeout=60, **options) as client:
        yield client


def encoded(value=9, size=(20, 10), mode="RGB", format="PNG", **options):
    """The bytes of an image whose values are all one."""
    content = io.BytesIO()
    pixel = (value,) * len(mode) if mode in ("RGB", "RGBA") else value
    Image.new(mode, size, pixel).save(content, format, **options)
    return content.getvalue()


def upload(client, content, name="a.png", **query):
    """The answer to an image sent as a form."""
    return client.post("/v1/detect", files={"file": (name, content)}, params=query)


def error_of(response, status):
    """The sentence of an error, which has this status."""
    assert response.status_code == status, response.text
    content = response.json()
    assert list(content) == ["error"]
    sentence = content["error"]
    assert sentence.endswith(".") and "\n" not in sentence and "Traceback" not in sentence
    return sentence
