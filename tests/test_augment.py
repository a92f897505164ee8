"""Boxes follow pixels: each object is drawn in a gray level of its own and found by search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn import augment
from frcnn.errors import ConfigError


@st.composite
def drawn_scenes(draw):
    """An image, and boxes of objects in it that do not overlap: one in each cell of a grid."""
    cell_height, cell_width = draw(st.integers(3, 12)), draw(st.integers(3, 12))
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    margin_y, margin_x = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    image = np.zeros((rows * cell_height + margin_y, columns * cell_width + margin_x, 3), np.uint8)
    boxes = []
    for row in range(rows):
        for column in range(columns):
            y1 = row * cell_height + draw(st.integers(0, cell_height - 1))
            x1 = column * cell_width + draw(st.integers(0, cell_width - 1))
            y2 = draw(st.integers(y1 + 1, (row + 1) * cell_height))
            x2 = draw(st.integers(x1 + 1, (column + 1) * cell_width))
            boxes.append((y1, x1, y2, x2))
            image[y1:y2, x1:x2] = 20 * len(boxes)
    count = draw(st.integers(0, len(boxes)))
    for y1, x1, y2, x2 in boxes[count:]:
        image[y1:y2, x1:x2] = 0
    return image, np.array(boxes[:count], np.float32).reshape(-1, 4)


def found(image, levels):
    """The boxes of the given gray levels, by search."""
    boxes = []
    for level in levels:
        rows, columns = np.nonzero(image[..., 0] == level)
        boxes.append((rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))
    return np.array(boxes, np.float32).reshape(-1, 4)


MOVES = (augment.flip_left_right, augment.flip_up_down, augment.quarter_turn)


@pytest.mark.parametrize("move", MOVES)
@given(scene=drawn_scenes())
@settings(max_examples=60, deadline=None)
def test_boxes_move_with_their_pixels(move, scene):
    image, boxes = scene
    before = image.copy(), boxes.copy()
    moved, moved_boxes = move(image, boxes)
    np.testing.assert_array_equal(moved_boxes, found(moved, 20 * np.arange(1, len(boxes) + 1)))
    assert moved_boxes.dtype == np.float32 and moved.dtype == np.uint8
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(boxes, before[1])


@pytest.mark.parametrize(("move", "times"), zip(MOVES, (2, 2, 4)))
@given(scene=drawn_scenes())
@settings(max_examples=30, deadline=None)
def test_moves_come_back_to_where_they_began(move, times, scene):
    image, boxes = scene
    for _ in range(times):
        image, boxes = move(image, boxes)
    np.testing.assert_array_equal(image, scene[0])
    np.testing.assert_array_equal(boxes, scene[1])


def test_moves_by_hand():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    box = np.float32([[0, 0.5, 1, 2]])
    flipped, boxes = augment.flip_left_right(image, box)
    assert flipped[..., 0].tolist() == [[2, 1, 0], [5, 4, 3]] and boxes.tolist() == [[0, 1, 1, 2.5]]
    flipped, boxes = augment.flip_up_down(image, box)
    assert flipped[..., 0].tolist() == [[3, 4, 5], [0, 1, 2]] and boxes.tolist() == [[1, .5, 2, 2]]
    turned, boxes = augment.quarter_turn(image, box)
    assert turned[..., 0].tolist() == [[2, 5], [1, 4], [0, 3]]
    assert boxes.tolist() == [[1, 0, 2.5, 1]]


@given(scene=drawn_scenes(), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_the_flip_preset_keeps_objects_crowds_and_seeds(scene, seed):
    image, boxes = scene
    class_ids = np.where(np.arange(len(boxes)) % 2, 1, -2).astype(np.int32)
    results = [augment.flip(image, boxes, class_ids, np.random.default_rng(seed))
               for _ in range(2)]
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)
    moved, moved_boxes, moved_ids = results[0]
    np.testing.assert_array_equal(moved_ids, class_ids)
    np.testing.assert_array_equal(moved_boxes, found(moved, 20 * np.arange(1, len(boxes) + 1)))


def test_the_flip_preset_flips_half_of_the_images():
    image = np.zeros((4, 8, 3), np.uint8)
    boxes, rng = np.float32([[0, 0, 2, 3]]), np.random.default_rng(1)
    flipped = [augment.flip(image, boxes, np.array([1]), rng)[1][0, 1] == 5 for _ in range(1000)]
    assert 430 < sum(flipped) < 570


def test_the_microscopy_preset_reaches_all_eight_positions_and_moves_boxes_along():
    """The object is the only bright spot, whatever happens to the light."""
    image, boxes = np.full((40, 60, 3), 60, np.uint8), np.float32([[5, 10, 12, 30]])
    image[5:12, 10:30] = 190
    rng, seen, means = np.random.default_rng(0), set(), set()
    for _ in range(200):
        moved, moved_boxes, class_ids = augment.microscopy(image, boxes, np.array([3]), rng)
        rows, columns = np.nonzero(moved[..., 0] == moved.max())
        expected = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        assert moved_boxes.tolist() == [expected] and class_ids.tolist() == [3]
        assert moved.dtype == np.uint8
        seen.add((moved.shape[0], *expected[:2]))
        means.add(float(moved.mean()))
    assert len(seen) == 8
    assert len(means) > 100 and max(means) - min(means) > 30


def test_adjusting_brightness_and_contrast():
    image = np.uint8([[[0, 100, 255]]])
    np.testing.assert_array_equal(augment.adjust(image, 0, 1), image)
    assert augment.adjust(image, 10, 1).tolist() == [[[10, 110, 255]]]
    assert augment.adjust(image, -30, 1).tolist() == [[[0, 70, 225]]]
    assert augment.adjust(image, 0, 2).tolist() == [[[0, 72, 255]]]  # 127.5 - 2 * 27.5 = 72.5


# --- boxes that leave the frame -------------------------------------------------------------


def test_the_rule_for_boxes_that_leave_the_frame():
    boxes = np.float32([
        [10, 10, 20, 20],  # inside
        [-5, 10, 5, 20],  # half of it left
        [-8, 10, 2, 20],  # a fifth left: dropped
        [-8, 10, 2, 20],  # the same, a crowd: stays, cut
        [-9.5, 0, 0.5, 9],  # half a pixel left: dropped
        [200, 10, 210, 20],  # gone
        [-9, -9, -1, -1],  # gone, a crowd
        [30, 30, 30.4, 30.4],  # smaller than a pixel, but whole
    ])
    class_ids = np.array([1, 2, 3, -3, 1, 1, -1, 4], np.int32)
    kept, kept_ids = augment.keep_visible(boxes, class_ids, (100, 100, 3))
    assert kept_ids.tolist() == [1, 2, -3, 4]
    np.testing.assert_array_equal(kept, np.float32([
        [10, 10, 20, 20], [0, 10, 5, 20], [0, 10, 2, 20], [30, 30, 30.4, 30.4]]))


def test_no_boxes_stay_no_boxes():
    boxes, class_ids = augment.keep_visible(np.zeros((0, 4), np.float32), np.zeros(0, int), (9, 9))
    assert boxes.shape == (0, 4) and class_ids.shape == (0,)


# --- choosing -------------------------------------------------------------------------------


def test_resolving():
    assert augment.resolve(None) is None
    assert augment.resolve("flip") is augment.flip
    assert augment.resolve(max) is max
    for wrong in ("flop", 3, ["flip"]):
        with pytest.raises(ConfigError, match=r"presets flip, microscopy, or a callable"):
            augment.resolve(wrong)


def test_composing_applies_in_order():
    def double(image, boxes, class_ids, rng):
        return image * 2, boxes, class_ids

    def add(image, boxes, class_ids, rng):
        return image + 1, boxes, class_ids + 1

    image, boxes = np.ones((2, 2, 3), np.uint8), np.zeros((0, 4), np.float32)
    result, _, class_ids = augment.compose(double, None, add)(image, boxes, np.array([5]), None)
    assert (result == 3).all() and class_ids.tolist() == [6]
    assert not augment.compose("flip", add).turns and augment.compose("microscopy", add).turns
