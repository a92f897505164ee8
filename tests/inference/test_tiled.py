"""Detection in tiles finds what is in the image, each object once, in the image's pixels."""

import threading

import numpy as np
import pytest

from frcnn.config import Config
from frcnn.data.slides import WholeImage
from frcnn.errors import ArgumentError
from frcnn.geometry.boxes import compute_overlaps
from frcnn.inference.tiled import NOTHING, TiledDetection, Tiling
from frcnn.inference.transform import as_result

CONFIG = Config(NAME="tiles", NUM_CLASSES=3)
GROUND, COLORS = 200, {1: (60, 60, 200), 2: (200, 60, 60)}


def drawn(height, width, count, seed=0, sides=(10, 50)):
    """A picture of rectangles apart from each other, their boxes and classes."""
    rng = np.random.default_rng(seed)
    picture, boxes, class_ids = np.full((height, width, 3), GROUND, np.uint8), [], []
    while len(boxes) < count:
        size = rng.integers(*sides, 2)
        corner = rng.integers(0, np.array([height, width]) - size)
        y1, x1, y2, x2 = box = [*corner, *(corner + size)]
        if (picture[max(0, y1 - 2):y2 + 2, max(0, x1 - 2):x2 + 2] != GROUND).any():
            continue
        class_ids.append(int(rng.integers(1, 3)))
        picture[y1:y2, x1:x2] = COLORS[class_ids[-1]]
        boxes.append(box)
    return picture, np.array(boxes, np.float32), np.array(class_ids)


def rectangles(images):
    """A detector that is right: the bounding box of each connected region of one color."""
    from scipy import ndimage

    for image in images:
        boxes, class_ids = [], []
        for class_id, color in COLORS.items():
            labels, _ = ndimage.label((image == color).all(axis=-1))
            for rows, columns in ndimage.find_objects(labels):
                boxes.append([rows.start, columns.start, rows.stop, columns.stop])
                class_ids.append(class_id)
        yield as_result(np.array(boxes, np.float32).reshape(-1, 4),
                        np.array(class_ids, np.int32), np.full(len(boxes), 0.9, np.float32))


def assert_found(result, boxes, class_ids):
    assert len(result["boxes"]) == len(boxes)
    overlaps = compute_overlaps(result["boxes"], boxes)
    best = overlaps.argmax(axis=1)
    assert sorted(best) == list(range(len(boxes))) and overlaps.max(axis=1).min() > 0.99
    np.testing.assert_array_equal(result["class_ids"], class_ids[best])


@pytest.mark.parametrize(("height", "width"), [(700, 900), (256, 1000), (100, 90), (257, 2000)])
def test_every_object_is_found_once(height, width):
    picture, boxes, class_ids = drawn(height, width, height * width // 9000)
    task = TiledDetection(WholeImage(picture), Tiling(256, 0.25), CONFIG)
    assert_found(task.run(rectangles), boxes, class_ids)


def test_objects_larger_than_the_overlap_and_than_tiles():
    picture, boxes, class_ids = drawn(900, 900, 12, sides=(60, 400))
    task = TiledDetection(WholeImage(picture), Tiling(200, 0.2), CONFIG)
    assert_found(task.run(rectangles), boxes, class_ids)


def test_boxes_are_in_pixels_of_level_0():
    picture, boxes, class_ids = drawn(400, 400, 10)
    image = WholeImage(picture)
    image.scale = 2.5
    result = TiledDetection(image, Tiling(256), CONFIG).run(rectangles)
    result["boxes"] /= 2.5
    assert_found(result, boxes, class_ids)


def test_tiles_without_anything_are_left_out_unless_asked_for():
    picture = np.full((600, 900, 3), GROUND, np.uint8)
    picture[20:40, 30:60] = COLORS[1]
    seen = []

    def counted(images):
        for image in images:
            seen.append(image.shape)
            yield from rectangles([image])

    done = []
    task = TiledDetection(WholeImage(picture), Tiling(300, 0), CONFIG)
    result = task.run(counted, on_tile=lambda number, found: done.append(number))
    assert len(result["boxes"]) == 1 and len(seen) == 1 and task.empty == 5
    assert sorted(done) == list(range(6))
    seen.clear()
    TiledDetection(WholeImage(picture), Tiling(300, 0, all_tiles=True), CONFIG).run(counted)
    assert len(seen) == 6


def test_all_tiles_have_one_size_whatever_the_image():
    picture, *_ = drawn(100, 300, 5)
    shapes = []

    def keep(images):
        for image in images:
            shapes.append(image.shape)
            yield from rectangles([image])

    TiledDetection(WholeImage(picture), Tiling(128), CONFIG).run(keep)
    assert set(shapes) == {(128, 128, 3)}


def test_an_interrupted_call_goes_on():
    picture, boxes, class_ids = drawn(700, 900, 60)
    done, seen = {}, []

    class StopError(Exception):
        pass

    def stop(number, found):
        done[number] = found
        if len(done) == 5:
            raise StopError

    with pytest.raises(StopError):
        TiledDetection(WholeImage(picture), Tiling(256), CONFIG).run(rectangles, on_tile=stop)
    task = TiledDetection(WholeImage(picture), Tiling(256), CONFIG)

    def count(images):
        for image in images:
            seen.append(image)
            yield from rectangles([image])

    assert_found(task.run(count, done), boxes, class_ids)
    assert len(seen) + len(done) <= len(task.grid)


def test_a_stream_that_draws_images_in_threads():
    """As `detect_stream` does: several tiles are drawn before the first result."""
    picture, boxes, class_ids = drawn(700, 900, 60)

    def threaded(images):
        drawn_ahead = []
        thread = threading.Thread(target=lambda: drawn_ahead.extend(images))
        thread.start()
        thread.join()
        yield from rectangles(drawn_ahead)

    calls = []
    task = TiledDetection(WholeImage(picture), Tiling(256), CONFIG)
    result = task.run(threaded, on_tile=lambda *_: calls.append(threading.current_thread()))
    assert_found(result, boxes, class_ids)
    assert set(calls) == {threading.main_thread()} and len(calls) == len(task.grid)


@pytest.mark.parametrize("tiling", [Tiling(0), Tiling(100, 1.0), Tiling(100, -0.1)])
def test_tiles_that_are_not_possible(tiling):
    with pytest.raises(ArgumentError, match=r"at least 1 pixel|must be from 0 to below 1"):
        TiledDetection(WholeImage(np.zeros((9, 9, 3), np.uint8)), tiling, CONFIG)


def test_nothing():
    picture = np.full((600, 900, 3), GROUND, np.uint8)
    result = TiledDetection(WholeImage(picture), Tiling(300), CONFIG).run(rectangles)
    assert result["boxes"].shape == (0, 4) and NOTHING.boxes.shape == (0, 4)
