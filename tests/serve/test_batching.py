"""The queue: every image has its own answer, in one thread, and none is lost at the end."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serve_tools import Echo, expected

from frcnn.errors import ArgumentError, FrcnnError
from frcnn.serve.batching import Batcher
from frcnn.serve.metrics import Metrics


def image(value):
    return np.full((4, 5, 3), value, np.uint8)


def started(detector, **options):
    batcher = Batcher(detector, Metrics(), **options)
    batcher.start()
    assert batcher.wait_until_ready(10)
    return batcher


def test_it_warms_up_before_it_is_ready():
    detector = Echo()
    batcher = Batcher(detector, Metrics(), warm_up=[1, 2, 4])
    assert not batcher.is_ready
    batcher.start()
    assert batcher.wait_until_ready(10) and detector.batches == [1, 2, 4]
    batcher.close()


def test_many_at_a_time_have_their_own_answers_in_batches_of_one_thread():
    detector = Echo(seconds=0.02)
    batcher = started(detector)
    with ThreadPoolExecutor(16) as pool:
        values = list(np.random.default_rng(0).integers(0, 256, 300))
        found = list(pool.map(lambda value: batcher.submit(image(value)).result(30), values))
    for value, result in zip(values, found, strict=True):
        boxes, class_ids = expected(int(value))
        np.testing.assert_array_equal(result["boxes"], np.array(boxes, np.float32))
        np.testing.assert_array_equal(result["class_ids"], class_ids)
    assert sum(detector.batches[1:]) == 300 and max(detector.batches) <= 16
    assert len(detector.batches) < 100  # not one by one
    assert detector.threads == {"frcnn detection"}
    batcher.close()


def test_what_was_submitted_is_answered_after_close():
    batcher = started(Echo(seconds=0.05))
    futures = [batcher.submit(image(value)) for value in range(40)]
    batcher.close()
    assert [future.result(0)["boxes"][0, 2] for future in futures] == list(range(1, 41))
    with pytest.raises(FrcnnError, match="being stopped"):
        batcher.submit(image(1))
    batcher.close()  # again


def test_an_error_is_the_answer_of_its_batch_and_the_next_one_goes_on():
    detector = Echo(error=RuntimeError("broken"))
    batcher = started(detector)
    with pytest.raises(RuntimeError, match="broken"):
        batcher.submit(image(1)).result(10)
    detector.error = None
    assert batcher.submit(image(1)).result(10)["boxes"][0, 2] == 2
    batcher.close()


class OneBad(Echo):
    """Cannot detect in images of the value 7."""

    def detect_stream(self, images, **options):
        for value, result in zip(images, super().detect_stream(images, **options)):
            yield ValueError("seven") if value[0, 0, 0] == 7 else result


def test_an_error_of_one_image_is_not_that_of_others():
    batcher = started(OneBad(seconds=0.05))
    futures = [batcher.submit(image(value)) for value in (5, 6, 7, 8)]
    with pytest.raises(ValueError, match="seven"):
        futures[2].result(10)
    assert [futures[place].result(10)["boxes"][0, 2] for place in (0, 1, 3)] == [6, 7, 9]
    batcher.close()


class TooLarge(Echo):
    """As a file for one size of images: one that is too large ends the whole call."""

    def detect_stream(self, images, **options):
        for value, result in zip(images, super().detect_stream(images, **options)):
            if value[0, 0, 0] == 7:
                raise ArgumentError("too large")
            yield result


def test_an_error_that_ends_a_batch_is_that_of_its_image():
    batcher = started(TooLarge(seconds=0.05))
    futures = [batcher.submit(image(value)) for value in (4, 5, 7, 8, 7, 9)]
    for place in (2, 4):
        with pytest.raises(ArgumentError, match="too large"):
            futures[place].result(10)
    assert [futures[place].result(10)["boxes"][0, 2] for place in (0, 1, 3, 5)] == [5, 6, 9, 10]
    batcher.close()


def test_the_images_of_the_warm_up_have_the_size_that_is_named():
    class Sizes(Echo):
        def detect_stream(self, images, **options):
            seen.extend(image.shape for image in images)
            return super().detect_stream(images, **options)

    seen = []
    started(Sizes()).close()
    started(Sizes(), size=(20, 30)).close()
    assert seen == [(64, 64, 3), (20, 30, 3)]


def test_an_image_nobody_waits_for_is_not_detected_in():
    detector = Echo(seconds=0.2)
    batcher = started(detector)
    first = batcher.submit(image(1))
    while first.running() is False and not first.done():
        threading.Event().wait(0.005)
    second = batcher.submit(image(2))
    assert second.cancel()
    batcher.close()
    assert sum(detector.batches[1:]) == 1


def test_a_failed_warm_up_is_told():
    class Broken(Echo):
        def detect_stream(self, images, **options):
            raise RuntimeError("no memory")
            yield

    batcher, told = Batcher(Broken(), Metrics()), threading.Event()
    batcher.start(when_failed=told.set)
    assert not batcher.wait_until_ready(10)
    assert told.is_set() and str(batcher.failure) == "no memory"
    batcher.close()
