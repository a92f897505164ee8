"""Images are prepared ahead and batched by shape, and their results come in order."""

import itertools
import threading
import time

import numpy as np
import pytest
from model_tools import small_config
from PIL import Image

from frcnn.errors import ImageError
from frcnn.inference import stream
from frcnn.inference.stream import (
    DetectionStream,
    FailedImage,
    PreparedImage,
    PreparedImages,
    in_batches,
    prepare,
)

CONFIG = small_config()
FREE = small_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64)


def image(number, height=128, width=128):
    return np.full((height, width, 3), number, np.uint8)


class FakeDetector:
    """Finds in each image one box: the whole molded image, with the image's first value as score.

    Attributes:
        batches: shapes of the molded batches that came.
    """

    def __init__(self):
        self.batches = []

    def __call__(self, molded, metas, most):
        self.batches.append(molded.shape[:3])
        assert len(molded) == len(metas)
        assert most == max(count for count, *sides in self.batches if sides == [*molded.shape[1:3]])
        rows = np.zeros((len(molded), 5, 6), np.float32)
        for row, one in zip(rows, molded):
            center = one[one.shape[0] // 2, one.shape[1] // 2, 0] + CONFIG.MEAN_PIXEL[0]
            row[0] = 0, 0, *one.shape[:2], 1, center
        return rows


def detected(results):
    return [round(float(result["scores"][0])) for result in results]


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert condition()


# --- preparing ----------------------------------------------------------------------------------


def test_an_array_a_path_or_a_function(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    prepared = [prepare(source, 3, CONFIG) for source in (
        pixels, tmp_path / "a.png", str(tmp_path / "a.png"), lambda: pixels)]
    for found in prepared:
        assert isinstance(found, PreparedImage)
        assert (found.number, found.original_shape, found.shape) == (3, (60, 80, 3), (128, 128))
        assert found.window == (16, 0, 112, 128)
        assert found.molded.dtype == found.meta.dtype == np.float32
        np.testing.assert_array_equal(found.molded, prepared[0].molded)


def test_what_cannot_be_prepared_keeps_its_error(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    for source, kind, is_skippable in (
        (tmp_path / "a.png", ImageError, True), (tmp_path / "b.png", FileNotFoundError, True),
        (np.zeros((5, 6), np.uint8), ValueError, True), (lambda: 1 / 0, ZeroDivisionError, False),
    ):
        found = prepare(source, 0, CONFIG)
        assert isinstance(found, FailedImage) and isinstance(found.error, kind)
        assert found.is_skippable is is_skippable


@pytest.mark.parametrize("workers", [1, 3])
def test_images_come_in_order_however_long_each_takes(workers):
    rng, before = np.random.default_rng(0), threading.active_count()

    def make(number):
        time.sleep(rng.uniform(0, 0.01))
        return image(number)

    sources = [lambda number=number: make(number) for number in range(30)]
    prepared = PreparedImages(sources, CONFIG, workers)
    found = list(prepared)
    assert [made.number for made in found] == list(range(30))
    values = [made.molded[0, 0, 0] + CONFIG.MEAN_PIXEL[0] for made in found]
    np.testing.assert_allclose(values, range(30), atol=1e-3)
    wait_until(lambda: threading.active_count() <= before)
    assert next(prepared, None) is None


def test_no_more_images_are_drawn_than_are_ahead():
    drawn = []

    def endless():
        for number in itertools.count():
            drawn.append(number)
            yield image(number % 250)

    before, prepared = threading.active_count(), PreparedImages(endless(), CONFIG, workers=2)
    assert prepared.ahead == 4
    for taken in range(1, 6):
        assert next(prepared).number == taken - 1
        wait_until(lambda: threading.active_count() <= before)  # nothing left to do
        assert len(drawn) == taken + 3
    prepared.close()


def test_the_iterables_own_error_comes_in_its_turn():
    def broken():
        yield image(1)
        yield image(2)
        raise OSError("the disk is gone")

    found = list(PreparedImages(broken(), CONFIG, workers=3))
    assert [type(made) for made in found] == [PreparedImage, PreparedImage, FailedImage]
    assert "disk is gone" in str(found[2].error) and not found[2].is_skippable


# --- batches ------------------------------------------------------------------------------------


def batches_of(sources, size_for):
    prepared = PreparedImages(sources, FREE, workers=2)
    return [[made.number for made in batch] for batch in in_batches(prepared, size_for)]


def test_batches_hold_one_shape_and_the_oldest_image():
    wide, high = (64, 128), (128, 64)
    shapes = [wide, high, wide, wide, high, wide, high]
    sources = [image(0, *shape) for shape in shapes]
    assert batches_of(sources, lambda *_: 2) == [[0, 2], [1, 4], [3, 5], [6]]
    assert batches_of(sources, lambda *_: 1) == [[number] for number in range(7)]
    assert batches_of(sources, lambda height, width: 3 if height < width else 1) == [
        [0, 2, 3], [1], [4], [5], [6]]
    assert batches_of([], lambda *_: 2) == []


def test_a_batch_does_not_wait_for_its_shape_for_ever():
    sources = itertools.chain([image(0, 64, 128)], itertools.repeat(image(0, 128, 64), 20))
    numbers = batches_of(sources, lambda *_: 2)
    assert numbers[0] == [0] and numbers[1:] == [[n, n + 1] for n in range(1, 21, 2)]


def test_random_streams_lose_nothing():
    rng = np.random.default_rng(1)
    for _ in range(10):
        sources = [image(0, *64 * rng.integers(1, 4, 2)) if rng.uniform() < 0.9 else None
                   for _ in range(rng.integers(0, 25))]
        size = int(rng.integers(1, 5))
        prepared = PreparedImages(sources, FREE, workers=2)
        seen = []
        for batch in in_batches(prepared, lambda *_, size=size: size):
            batch = [batch] if isinstance(batch, FailedImage) else batch
            assert len({getattr(made, "shape", None) for made in batch}) == 1
            assert len(batch) in {1, 2, size}
            assert batch[0].number == min(set(range(len(sources))) - set(seen))
            seen += [made.number for made in batch]
            assert prepared._number - len(seen) < stream.WINDOW * size  # still in memory
        assert sorted(seen) == list(range(len(sources)))


def test_large_images_go_alone_and_small_ones_together():
    assert stream.suitable_batch_size(1024, 1024) == 1
    assert stream.suitable_batch_size(2048, 4096) == 1
    assert stream.suitable_batch_size(64, 64) == stream.MAX_BATCH_SIZE


# --- the stream ---------------------------------------------------------------------------------


def test_results_come_in_order_in_the_images_own_pixels():
    rng = np.random.default_rng(2)
    sizes = rng.integers(20, 200, (40, 2))
    sources = [image(number, *size) for number, size in enumerate(sizes)]
    for batch_size in (None, 1, 3):
        detector = FakeDetector()
        results = list(DetectionStream(detector, FREE, batch_size).run(sources))
        assert detected(results) == list(range(40))
        for size, result in zip(sizes, results):
            np.testing.assert_array_equal(result["boxes"], [[0, 0, *size]])
        assert sum(batch[0] for batch in detector.batches) == 40
        assert max(batch[0] for batch in detector.batches) <= (batch_size or 16)


def test_reading_goes_on_while_the_network_works():
    read = [threading.Event() for _ in range(4)]

    class Slow(FakeDetector):
        def __call__(self, *inputs):
            if not self.batches:
                assert all(event.wait(60) for event in read[1:])
            return super().__call__(*inputs)

    def source(number):
        read[number].set()
        return image(number)

    sources = [lambda number=number: source(number) for number in range(4)]
    assert detected(DetectionStream(Slow(), CONFIG, 1).run(sources, workers=2)) == [0, 1, 2, 3]


def test_an_endless_stream_can_be_left(monkeypatch):
    before = threading.active_count()
    results = DetectionStream(FakeDetector(), CONFIG, 1).run(map(image, itertools.count()))
    assert detected(itertools.islice(results, 5)) == [0, 1, 2, 3, 4]
    results.close()
    wait_until(lambda: threading.active_count() <= before)


def test_an_error_comes_after_the_results_before_it(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    sources = [image(0), image(1), tmp_path / "a.png", image(3), image(4)[..., 0]]
    results = DetectionStream(FakeDetector(), CONFIG, 2).run(sources)
    assert detected([next(results), next(results)]) == [0, 1]
    with pytest.raises(ImageError, match=r"a\.png"):
        next(results)

    results = list(DetectionStream(FakeDetector(), CONFIG, 2).run(sources, return_exceptions=True))
    assert detected([results[0], results[1], results[3]]) == [0, 1, 3]
    assert isinstance(results[2], ImageError) and "Image 4 has the shape" in str(results[4])


def test_only_images_are_to_blame_for_what_is_given_as_a_result():
    def broken():
        yield image(0)
        raise OSError("the disk is gone")

    for sources, error in ((broken(), OSError), ([image(0), lambda: 1 / 0], ZeroDivisionError)):
        results = DetectionStream(FakeDetector(), CONFIG).run(sources, return_exceptions=True)
        assert detected([next(results)]) == [0]
        with pytest.raises(error):
            next(results)


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size is 0"):
        DetectionStream(FakeDetector(), CONFIG, 0)
