"""Patches: which objects can be copied, where they go, and how they are blended."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.data.patches import (
    MAX_COVERED,
    MAX_FOREIGN,
    Frame,
    Patch,
    blend,
    find_frames,
    find_place,
    ground_of,
    shared_areas,
    unevenness,
)

GROUND, OBJECT = 120, 40


def scene(shape=(60, 80), box=(20, 30, 40, 50), ground=GROUND):
    """An even ground with one dark rectangle."""
    image = np.full((*shape, 3), ground, np.uint8)
    y1, x1, y2, x2 = box
    image[y1:y2, x1:x2] = OBJECT
    return image


def only_patch(image, box, class_id=1):
    (frame,) = find_frames(np.float32([box]), np.int32([class_id]), image.shape)
    return Patch.cut(image, frame, 1.0)


def corners(seed, count, side):
    """Random boxes `[count, 4]` in a square image, 4 pixels high and wide at least."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, side - 8, (count, 2))
    return np.concatenate([first, np.minimum(first + rng.uniform(4, 40, (count, 2)), side)],
                          axis=1).astype(np.float32)


# --- which ----------------------------------------------------------------------------------


def test_a_frame_worked_by_hand():
    """Sides of 20 and 40: 0.15 of their mean is 4.5, rounded to 4 pixels of margin."""
    boxes = np.float32([[20.5, 30, 40.5, 70]])
    (frame,) = find_frames(boxes, np.int32([3]), (100, 100))
    assert frame.window == (16, 26, 45, 74) and frame.class_id == 3
    np.testing.assert_array_equal(frame.box, boxes[0])


@pytest.mark.parametrize(("box", "class_id", "shape"), [
    ((1, 30, 21, 50), 1, (100, 100)),  # no room for a margin above
    ((20, 30, 40, 50), 1, (41, 100)),  # none below
    ((20, 30, 40, 50), 1, (100, 51)),  # none on the right
    ((20, 30, 40, 50), -1, (100, 100)),  # a crowd
    ((20, 30, 20, 50), 1, (100, 100)),  # empty
])  # fmt: skip
def test_what_cannot_be_copied(box, class_id, shape):
    assert find_frames(np.float32([box]), np.int32([class_id]), shape) == []


def test_where_the_size_is_unknown_only_the_far_edges_are_open():
    boxes = np.float32([[20, 30, 40, 50], [0, 60, 20, 80]])
    frames = find_frames(boxes, np.int32([1, 1]), (np.inf, np.inf))
    assert [frame.box.tolist() for frame in frames] == [[20, 30, 40, 50]]


@pytest.mark.parametrize("class_id", [2, -2])
def test_neighbors_and_crowds_in_the_patch_keep_it_from_being_copied(class_id):
    boxes = np.float32([[20, 20, 40, 40], [20, 38, 40, 58]])
    assert 1 not in [frame.class_id
                     for frame in find_frames(boxes, np.int32([1, class_id]), (100, 100))]
    apart = boxes + np.float32([[0] * 4, [0, 20, 0, 20]])
    assert 1 in [frame.class_id
                 for frame in find_frames(apart, np.int32([1, class_id]), (100, 100))]


def test_a_small_neighbor_must_not_be_copied_with_a_large_object():
    """Less than a twentieth of the patch, but the whole of the other object."""
    boxes = np.float32([[20, 20, 120, 120], [124, 60, 129, 65]])
    frames = find_frames(boxes, np.int32([1, 2]), (200, 200))
    assert [frame.class_id for frame in frames] == [2]


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_patches_hold_little_of_other_objects(seed):
    """Counted in pixels, by drawing the others."""
    boxes = np.rint(corners(seed, 8, 120))
    class_ids = np.int32([1, 2, 1, -1, 2, 1, -2, 1])
    for frame in find_frames(boxes, class_ids, (120, 120)):
        others = np.zeros((120, 120), int)
        for box in boxes:
            if not np.array_equal(box, frame.box):
                y1, x1, y2, x2 = box.astype(int)
                others[y1:y2, x1:x2] += 1
        top, left, bottom, right = frame.window
        assert 0 <= top < frame.box[0] and frame.box[2] < bottom <= 120
        assert 0 <= left < frame.box[1] and frame.box[3] < right <= 120
        foreign = others[top:bottom, left:right]
        assert foreign.sum() <= MAX_FOREIGN * foreign.size


def test_a_patch_beyond_its_image_is_none():
    image = scene()
    assert Patch.cut(image, Frame((0, 0, 61, 10), np.float32([4, 4, 50, 6]), 1), 1.0) is None
    assert Patch.cut(image, Frame((0, 0, 10, 81), np.float32([4, 4, 6, 70]), 1), 1.0) is None


@pytest.mark.parametrize("horizontally", [False, True])
@pytest.mark.parametrize("vertically", [False, True])
def test_a_mirrored_patch_keeps_its_box_on_the_object(horizontally, vertically):
    image = scene(box=(20, 30, 40, 44))
    patch = Patch(image[15:50, 22:70], np.float32([5, 8, 25, 22]), 1, 1.0, 0.0)
    mirrored = patch.mirrored(horizontally, vertically)
    rows, columns = np.nonzero(mirrored.pixels[..., 0] == OBJECT)
    assert mirrored.box.tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    assert mirrored.box.dtype == np.float32


# --- where ----------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_no_place_covers_an_object_or_touches_a_crowd(seed):
    rng = np.random.default_rng(seed)
    boxes = corners(seed, 6, 100)
    class_ids = np.int32([1, -1, 2, -3, 1, 1])
    patch = only_patch(scene(), (20, 30, 40, 50))
    image = np.full((100, 100, 3), GROUND, np.uint8)
    found = find_place(patch, image, boxes, class_ids, rng)
    if found is None:
        return
    height, width = patch.pixels.shape[:2]
    top, left = found
    assert 0 <= top <= 100 - height and 0 <= left <= 100 - width
    for box, class_id in zip(boxes, class_ids):
        rows = min(box[2], top + height) - max(box[0], top)
        columns = min(box[3], left + width) - max(box[1], left)
        shared = max(rows, 0) * max(columns, 0)
        area = (box[2] - box[0]) * (box[3] - box[1])
        assert shared <= (0 if class_id < 0 else MAX_COVERED * min(area, height * width)) + 1e-3


def test_there_is_no_place_in_a_small_or_full_image():
    patch = only_patch(scene(), (20, 30, 40, 50))
    rng = np.random.default_rng(0)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    assert find_place(patch, np.full((20, 100, 3), GROUND, np.uint8), *none, rng) is None
    for class_id in (1, -1):
        full = np.float32([[0, 0, 100, 100]]), np.int32([class_id])
        assert find_place(patch, np.full((100, 100, 3), GROUND, np.uint8), *full, rng) is None


def test_there_is_no_place_on_a_ground_of_another_brightness():
    """Such as black beyond the field of view, where an object would be clipped to black."""
    patch = only_patch(scene(), (20, 30, 40, 50))
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    image = np.zeros((100, 200, 3), np.uint8)
    assert find_place(patch, image, *none, np.random.default_rng(0)) is None
    image[:, 100:] = GROUND - 30
    places = [find_place(patch, image, *none, np.random.default_rng(seed)) for seed in range(30)]
    found = [place for place in places if place is not None]
    height, width = patch.pixels.shape[:2]
    assert len(found) > 20
    assert all((image[top:top + height, left:left + width] > 0).mean() > 0.5 for top, left in found)
    assert np.mean([left >= 100 for _, left in found]) > 0.8


def test_places_are_random():
    patch = only_patch(scene(), (20, 30, 40, 50))
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    image = np.full((400, 400, 3), GROUND, np.uint8)
    found = np.array([find_place(patch, image, *none, np.random.default_rng(seed))
                      for seed in range(200)])
    room = 400 - np.array(patch.pixels.shape[:2])
    np.testing.assert_allclose(found.mean(axis=0), room / 2, rtol=0.15)
    assert found.min() < 0.1 * room.min() and (found.max(axis=0) > 0.9 * room).all()


def test_an_even_ground_is_preferred():
    rng = np.random.default_rng(5)
    image = np.full((100, 400, 3), GROUND, np.uint8)
    image[:, :200] = rng.integers(GROUND - 60, GROUND + 60, (100, 200, 3))
    patch = only_patch(scene(), (20, 30, 40, 50))
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    lefts = [find_place(patch, image, *none, np.random.default_rng(seed))[1]
             for seed in range(50)]
    assert np.mean(np.array(lefts) >= 198) > 0.9


# --- blending -------------------------------------------------------------------------------


@pytest.mark.parametrize("ground", [GROUND, GROUND - 25, GROUND + 25])
def test_a_blended_object_keeps_its_contrast_and_leaves_no_seam(ground):
    patch = only_patch(scene(), (20, 30, 40, 50))
    image = np.full((100, 100, 3), ground, np.uint8)
    blend(patch, image, (10, 20))
    y1, x1, y2, x2 = (patch.box + [10, 20, 10, 20]).astype(int)
    assert (image[y1:y2, x1:x2] == ground - GROUND + OBJECT).all()
    image[y1:y2, x1:x2] = ground
    assert (image == ground).all()  # the margin is as bright as the ground


def test_a_patch_fades_out_over_its_margin():
    """With a ground that rises from left to right the share of the patch falls to 0 at its edge."""
    pixels = np.full((40, 40, 3), 100, np.uint8)
    patch = Patch(pixels, np.float32([10, 10, 30, 30]), 1, 1.0, 0.0)
    image = np.broadcast_to(np.arange(60, 140, 2, dtype=np.uint8)[None, :, None],
                            (40, 40, 3)).copy()
    before = image.copy().astype(int)
    blend(patch, image, (0, 0))
    change = np.abs(image.astype(int) - before)[20, :, 0]
    full = np.abs(before[20, :, 0] - 99)  # the ground's median, to half a level
    share = change / np.maximum(full, 1)
    assert share[0] < 0.05 and share[-1] < 0.05
    assert (np.diff(share[:10]) > -0.05).all() and (np.abs(share[10:18] - 1) < 0.15).all()


def test_the_ground_is_that_of_most_of_the_ring():
    """A neighbor that reaches into the ring changes neither the color nor the blending."""
    image = scene()
    image[16:24, 26:29] = 255
    patch = only_patch(image, (20, 30, 40, 50))
    assert ground_of(patch.pixels).tolist() == [GROUND] * 3
    assert unevenness(patch.pixels) > 0 == unevenness(scene()[:10])
    assert 0 < patch.unevenness < 1


def test_colors_are_matched_channel_by_channel():
    image = scene()
    image[..., 1] += 20
    patch = only_patch(image, (20, 30, 40, 50))
    target = np.full((60, 60, 3), GROUND, np.uint8)
    blend(patch, target, (0, 0))
    assert target[13, 13].tolist() == [OBJECT] * 3


@pytest.mark.parametrize(("dtype", "low", "high"), [
    (np.uint16, 1000, 60000), (np.float32, 0.2, 0.9), (np.uint8, 5, 250),
])  # fmt: skip
def test_other_types_of_images(dtype, low, high):
    image = np.full((60, 80, 1), low, dtype)
    image[20:40, 30:50] = high
    patch = only_patch(image, (20, 30, 40, 50))
    target = np.full((60, 60, 1), low, dtype)
    target[0] = high  # so that the range is that of the image
    corner = find_place(patch, target, np.zeros((0, 4), np.float32), np.zeros(0, np.int32),
                        np.random.default_rng(0))
    blend(patch, target, corner)
    assert target.dtype == dtype
    np.testing.assert_allclose(target[corner[0] + 15, corner[1] + 15], high, rtol=1e-6)


def test_results_are_clipped_to_the_type():
    patch = only_patch(scene(box=(20, 30, 40, 50)), (20, 30, 40, 50))
    image = np.full((60, 60, 3), 60, np.uint8)  # 60 darker: the object would be at −20
    blend(patch, image, (0, 0))
    assert image.min() == 0 and image.max() <= 60


def test_shared_areas_by_hand():
    windows = np.array([[0, 0, 10, 10], [5, 5, 6, 6]])
    boxes = np.float32([[5, 5, 15, 15], [20, 20, 30, 30]])
    assert shared_areas(windows, boxes).tolist() == [[25, 0], [1, 0]]
