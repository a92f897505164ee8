"""Boxes follow pixels exactly: pixels carry their own place, objects are found by search."""

import numpy as np
import pytest
from augment_tools import coordinates, drawn_scenes, extent, found
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.data import augment_ops as ops
from frcnn.errors import ConfigError


def turned(image, boxes, mirror, quarters):
    planes, boxes = ops.turn(ops.to_planes(image), boxes, mirror, quarters)
    return ops.to_array(planes), boxes


def placed(image, boxes, scale, shift=(0, 0)):
    planes, boxes = ops.place(ops.to_planes(image), boxes, scale, shift)
    return ops.to_array(planes), boxes


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_planes_and_back(channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    np.testing.assert_array_equal(ops.to_array(ops.to_planes(image)), image)
    np.testing.assert_array_equal(ops.to_array(ops.to_planes(image[::-1, ::2])), image[::-1, ::2])


def test_other_types_are_refused():
    with pytest.raises(ConfigError, match="type uint8, but this one is uint16; convert it in load"):
        ops.to_planes(np.zeros((4, 4, 3), np.uint16))


# --- turns ----------------------------------------------------------------------------------


@given(scene=drawn_scenes())
@settings(max_examples=60, deadline=None)
def test_boxes_are_mirrored_with_their_pixels(scene):
    image, boxes = scene
    before = image.copy(), boxes.copy()
    moved, moved_boxes = ops.flip_left_right(image, boxes)
    np.testing.assert_array_equal(moved, image[:, ::-1])
    np.testing.assert_array_equal(moved_boxes, found(moved, 20 * np.arange(1, len(boxes) + 1)))
    assert moved_boxes.dtype == np.float32
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(boxes, before[1])


@given(scene=drawn_scenes(), mirror=st.booleans(), quarters=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_boxes_turn_with_their_pixels(scene, mirror, quarters):
    image, boxes = scene
    before = image.copy(), boxes.copy()
    moved, moved_boxes = turned(image, boxes, mirror, quarters)
    np.testing.assert_array_equal(moved, np.rot90(image[:, ::-1] if mirror else image, quarters))
    np.testing.assert_array_equal(moved_boxes, found(moved, 20 * np.arange(1, len(boxes) + 1)))
    assert moved_boxes.dtype == np.float32
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(boxes, before[1])


def test_turns_by_hand():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    box = np.float32([[0, 0.5, 1, 2]])
    moved, boxes = ops.flip_left_right(image, box)
    assert moved[..., 0].tolist() == [[2, 1, 0], [5, 4, 3]] and boxes.tolist() == [[0, 1, 1, 2.5]]
    moved, boxes = turned(image, box, False, 1)
    assert moved[..., 0].tolist() == [[2, 5], [1, 4], [0, 3]] and boxes.tolist() == [[1, 0, 2.5, 1]]
    moved, boxes = turned(image, box, True, 2)
    assert moved[..., 0].tolist() == [[3, 4, 5], [0, 1, 2]] and boxes.tolist() == [[1, .5, 2, 2]]


# --- scale and shift ------------------------------------------------------------------------


@given(height=st.integers(1, 250), width=st.integers(1, 250), scale=st.floats(0.4, 2.5),
       shift=st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)),
       channels=st.sampled_from([2, 3, 4]))
@settings(max_examples=200, deadline=None)
def test_pixels_lie_where_the_box_of_the_whole_says(height, width, scale, shift, channels):
    """Each pixel holds its old position; its center must have moved as the box's corners did."""
    image = coordinates(height, width, channels)
    moved, boxes = placed(image, np.float32([[0, 0, height, width]]), scale, shift)
    assert moved.shape == image.shape and boxes.dtype == np.float32
    y1, x1, y2, x2 = boxes[0].astype(float)
    source_y = (np.arange(height) + 0.5 - y1) * height / (y2 - y1) - 0.5
    source_x = (np.arange(width) + 0.5 - x1) * width / (x2 - x1) - 0.5
    # Where nothing outside the frame or the image is mixed in.
    margin = 1.01 + 2 * max(1, height / (y2 - y1), width / (x2 - x1))
    rows = np.flatnonzero((source_y > margin) & (source_y < height - 1 - margin))
    columns = np.flatnonzero((source_x > margin) & (source_x < width - 1 - margin))
    reach = int(margin) + 1
    rows = rows[(rows >= reach) & (rows < height - reach)]
    columns = columns[(columns >= reach) & (columns < width - reach)]
    inner = moved[np.ix_(rows, columns)].astype(float)
    assert np.abs(inner[..., 0] - source_y[rows][:, None]).max(initial=0) < 0.6
    assert np.abs(inner[..., 1] - source_x[columns][None]).max(initial=0) < 0.6


@given(scene=drawn_scenes(), scale=st.floats(0.5, 2), shift=st.tuples(*[st.floats(-0.3, 0.3)] * 2))
@settings(max_examples=100, deadline=None)
def test_objects_are_found_where_their_boxes_are(scene, scale, shift):
    image, boxes = scene
    image = np.repeat(np.repeat(image, 4, axis=0), 4, axis=1)
    _, moved_boxes = placed(image, 4 * boxes, scale, shift)
    height, width = image.shape[:2]
    for number, box in enumerate(moved_boxes):
        alone = np.where(image == 20 * (number + 1), 255, 0).astype(np.uint8)
        seen = placed(alone, 4 * boxes, scale, shift)[0][..., 0] >= 128
        if np.median(alone[::max(1, height // 50), ::max(1, width // 50)]) > 0:
            continue  # so large that it passes for background
        cut = np.clip(box, 0, [height, width, height, width])
        if (cut[2:] - cut[:2] >= 2).all():
            np.testing.assert_allclose(extent(seen), cut, atol=0.75)


def test_scaling_by_hand():
    image = np.full((40, 60, 3), 100, np.uint8)
    image[10:20, 30:50] = (250, 30, 7)
    boxes = np.float32([[10, 30, 20, 50]])
    np.testing.assert_array_equal(placed(image, boxes, 1)[0], image)
    moved, moved_boxes = placed(image, boxes, 2)
    assert moved_boxes.tolist() == [[0, 30, 20, 70]]
    assert moved[5, 45].tolist() == [250, 30, 7] and moved[25, 45].tolist() == [100] * 3
    moved, moved_boxes = placed(image, boxes, 0.5)
    assert moved_boxes.tolist() == [[15, 30, 20, 40]]
    assert moved[17, 35].tolist() == [250, 30, 7]
    assert (moved[:10] == 100).all() and (moved[:, :15] == 100).all()  # the median fills up
    moved, moved_boxes = placed(image, boxes, 1, (0.5, -0.25))
    assert moved_boxes.tolist() == [[30, 15, 40, 35]]
    np.testing.assert_array_equal(moved[30:, 15:35], image[10:20, 30:50])


def test_what_is_shifted_out_of_the_frame_leaves_background():
    image = np.full((20, 30, 3), 90, np.uint8)
    image[:5, :5] = 200
    moved, boxes = placed(image, np.float32([[0, 0, 5, 5]]), 1, (0, 1))
    assert (moved == 90).all() and boxes.tolist() == [[0, 30, 5, 35]]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (700, 1, 1), (2, 3, 4)])
def test_images_of_a_few_pixels(shape):
    image = np.full(shape, 77, np.uint8)
    for scale in (0.3, 1, 3):
        assert (placed(image, np.zeros((0, 4), np.float32), scale)[0] == 77).all()


# --- light ----------------------------------------------------------------------------------


def recolored(image, *values):
    return ops.to_array(ops.recolor(ops.to_planes(image), *values))


def test_brightness_and_contrast():
    image = np.uint8([[[0, 100, 255]]])
    np.testing.assert_array_equal(recolored(image), image)
    assert recolored(image, 10).tolist() == [[[10, 110, 255]]]
    assert recolored(image, -30).tolist() == [[[0, 70, 225]]]
    assert recolored(image, 0, 2).tolist() == [[[0, 72, 255]]]  # 127.5 - 2 * 27.5 = 72.5


def test_hue_by_hand():
    image = np.uint8([[[200, 50, 50], [90, 90, 90]]])
    assert recolored(image, 0, 1, 1 / 3).tolist() == [[[50, 200, 50], [90, 90, 90]]]
    assert recolored(image, 0, 1, -1 / 3).tolist() == [[[50, 50, 200], [90, 90, 90]]]
    assert recolored(image, 0, 1, 1 / 2).tolist() == [[[0, 150, 150], [90, 90, 90]]]
    four = np.concatenate([image, image[..., :1]], axis=-1)
    np.testing.assert_array_equal(recolored(four, 0, 1, 1 / 3), four)


@given(st.floats(-30, 30), st.floats(0.7, 1.4), st.floats(-0.1, 0.1), st.sampled_from([1, 3, 4]))
@settings(max_examples=50, deadline=None)
def test_light_is_what_the_formula_says(brightness, contrast, hue, channels):
    """Turning the hue is written out here as the rotation of (R, G, B) about the gray axis."""
    image = np.random.default_rng(0).integers(0, 256, (9, 8, channels), dtype=np.uint8)
    before = image.copy()
    values = image.astype(float)
    if channels == 3:
        axis, angle = np.ones(3) / np.sqrt(3), 2 * np.pi * hue
        along = (values @ axis)[..., None] * axis
        values = along + np.cos(angle) * (values - along) + np.sin(angle) * np.cross(axis, values)
    expected = np.clip((values - 127.5) * contrast + 127.5 + brightness, 0, 255)
    assert np.abs(recolored(image, brightness, contrast, hue) - expected).max() <= 0.51
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_a_mean_over_a_square(channels):
    image = np.full((9, 9, channels), 40, np.uint8)
    image[4, 4] = 130
    result = ops.to_array(ops.blur(ops.to_planes(image), 1))
    expected = np.full((9, 9), 40)
    expected[3:6, 3:6] = 50
    for channel in range(channels):
        np.testing.assert_array_equal(result[..., channel], expected)
    half = ops.to_array(ops.blur(ops.to_planes(image), 0.5))[..., 0].astype(int)
    assert 40 < half[3, 3] < half[3, 4] < half[4, 4] < 130 and half[2, 4] == 40


def test_noise_has_the_deviation_and_no_bias():
    image = np.full((300, 400, 3), 128, np.uint8)
    noise = ops.add_noise(image, 5, np.random.default_rng(0)).astype(int) - 128
    assert abs(noise.mean()) < 0.05 and noise.std() == pytest.approx(5, rel=0.02)
    assert (np.abs(noise) <= 5).mean() == pytest.approx(0.73, abs=0.02)  # 5.5 deviations of 5
    channels = noise.reshape(-1, 3)
    assert abs(np.corrcoef(channels.T)[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.02
    again = ops.add_noise(image, 5, np.random.default_rng(0)).astype(int) - 128
    np.testing.assert_array_equal(noise, again)
    assert (image == 128).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 4), (120, 300, 3)])
def test_noise_stays_within_the_range(shape):
    for level in (0, 255):
        noisy = ops.add_noise(np.full(shape, level, np.uint8), 30, np.random.default_rng(0))
        assert noisy.shape == shape and noisy.dtype == np.uint8
        assert np.abs(noisy.astype(int) - level).max() < 200
