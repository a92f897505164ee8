"""Random scales and crops: boxes against the pixels that were really moved."""

import numpy as np
import pytest
from augment_tools import extent
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.config import RESIZE_MODES, SQUARE_MODES, Config
from frcnn.data.clipping import MIN_VISIBLE, keep_visible
from frcnn.data.resample import resample
from frcnn.data.resize import ResizePlan
from frcnn.data.zoom import MAX_ZOOM, draws_zoom, zoomed_plan

SHAPES = st.tuples(st.integers(40, 150), st.integers(40, 150))


def config_for(**settings):
    return Config(**{"IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 128, **settings})


def one_object(shape, data):
    """An image with one bright rectangle, and its box `[1, 4]`."""
    y1, x1 = (data.draw(st.integers(0, side - 12)) for side in shape)
    y2, x2 = (data.draw(st.integers(first + 10, side))
              for first, side in zip((y1, x1), shape))
    image = np.zeros((*shape, 3), np.uint8)
    image[y1:y2, x1:x2] = 200
    return image, np.float32([[y1, x1, y2, x2]])


@given(shape=SHAPES, mode=st.sampled_from(RESIZE_MODES), low=st.floats(0.4, 1.5),
       more=st.floats(1, 2), crops=st.sampled_from([0, 1]), seed=st.integers(0, 2**32),
       data=st.data())
@settings(max_examples=150, deadline=None)
def test_boxes_are_where_the_pixels_are(shape, mode, low, more, crops, seed, data):
    """The box around what is bright after resizing is the moved and cut box, to within a pixel."""
    config = config_for(IMAGE_RESIZE_MODE=mode, MULTI_SCALE=(low, low * more), CROP_OBJECTS=crops)
    image, boxes = one_object(shape, data)
    class_ids = np.int32([1])
    canvas = (128, 192)
    plan = zoomed_plan(shape, boxes, class_ids, config, np.random.default_rng(seed), canvas)
    molded = plan.apply(image)
    assert molded.shape == (*canvas, 3) and plan.molded_shape == canvas
    moved = plan.boxes_to_molded(boxes)
    kept, _ = keep_visible(moved, class_ids, canvas)
    bright = molded[..., 0] >= 100  # half of the level, where the edge is
    if len(kept) == 0:
        inside = np.clip(moved[0], 0, [*canvas, *canvas])
        area = (inside[2:] - inside[:2]).prod()
        assert area < MIN_VISIBLE * (moved[0, 2:] - moved[0, :2]).prod() \
            or (inside[2:] - inside[:2] < 1).any()
        return
    # An enlarged image fades out over half of its own pixel at its border.
    np.testing.assert_allclose(kept[0], extent(bright), atol=1.01 + plan.scale)
    back = plan.boxes_from_molded(moved)
    np.testing.assert_allclose(back, boxes, atol=1e-3)


@given(shape=SHAPES, mode=st.sampled_from(RESIZE_MODES), seed=st.integers(0, 2**32),
       data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_crop_contains_its_object_and_is_enlarged_at_most_twice(shape, mode, seed, data):
    config = config_for(IMAGE_RESIZE_MODE=mode, CROP_OBJECTS=1.0)
    _, boxes = one_object(shape, data)
    plan = zoomed_plan(shape, boxes, np.int32([1]), config, np.random.default_rng(seed))
    usual = ResizePlan.for_detection(shape, config)
    assert usual.scale * 0.999 <= plan.scale <= MAX_ZOOM * usual.scale * 1.001
    side = config.IMAGE_SHAPE[0]
    canvas = (side, side) if mode in SQUARE_MODES else usual.molded_shape
    assert plan.molded_shape == canvas
    moved = plan.boxes_to_molded(boxes)[0]
    if ((moved[2:] - moved[:2]) <= np.array(canvas) - 1).all():
        assert (moved[:2] >= -0.01).all() and (moved[2:] <= np.array(canvas) + 0.01).all()
    else:  # in the mode "crop" an object may be larger than the canvas, which it then fills
        y1, x1, y2, x2 = plan.window
        assert (moved[:2] <= [y1 + 1, x1 + 1]).any() and (moved[2:] >= [y2 - 1, x2 - 1]).any()


def test_scales_are_log_uniform_between_the_limits():
    config = config_for(MULTI_SCALE=(0.5, 2.0))
    rng = np.random.default_rng(0)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    usual = ResizePlan.for_detection((100, 80), config).scale
    scales = np.array([zoomed_plan((100, 80), *none, config, rng).scale for _ in range(2000)])
    logs = np.log2(scales / usual)
    assert logs.min() >= -1.001 and logs.max() <= 1.001
    np.testing.assert_allclose(np.histogram(logs, 4, (-1.001, 1.001))[0], 500, atol=80)


def test_only_the_given_share_is_cropped_and_crowds_never_are():
    config = config_for(IMAGE_RESIZE_MODE="square", CROP_OBJECTS=0.3)
    rng = np.random.default_rng(1)
    boxes = np.float32([[10, 10, 30, 30]])
    usual = ResizePlan.for_training((100, 100), config)
    plans = [zoomed_plan((100, 100), boxes, np.int32([1]), config, rng) for _ in range(1000)]
    assert 240 < sum(plan != usual for plan in plans) < 360
    assert all(zoomed_plan((100, 100), boxes, np.int32([-1]), config, rng) == usual
               for _ in range(50))


def test_objects_are_cropped_around_equally_often():
    """Two far objects: an enlarged crop around one is far from the other."""
    config = config_for(CROP_OBJECTS=1.0, IMAGE_RESIZE_MODE="square")
    boxes = np.float32([[0, 0, 12, 12], [108, 108, 120, 120]])
    rng = np.random.default_rng(2)
    seen = np.zeros(2)
    for _ in range(400):
        plan = zoomed_plan((120, 120), boxes, np.int32([1, 1]), config, rng)
        moved = plan.boxes_to_molded(boxes)
        inside = (moved[:, :2] > -1).all(axis=1) & (moved[:, 2:] < 129).all(axis=1)
        assert inside.any()
        seen += inside
    assert abs(seen[0] - seen[1]) < 80


def test_a_part_is_resampled_to_the_bit_as_the_whole():
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (37, 53, 3), np.uint8)
    for height, width in ((37, 53), (80, 70), (20, 90)):
        whole = resample(image, height, width)
        for _ in range(10):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            rows = int(rng.integers(1, height - top, endpoint=True))
            columns = int(rng.integers(1, width - left, endpoint=True))
            part = resample(image, height, width, part=(top, left, rows, columns))
            np.testing.assert_array_equal(part, whole[top:top + rows, left:left + columns])


@pytest.mark.parametrize(("settings", "expected"), [
    ({}, False), ({"MULTI_SCALE": (0.7, 1.0)}, True), ({"CROP_OBJECTS": 0.1}, True),
])  # fmt: skip
def test_whether_there_is_anything_to_draw(settings, expected):
    assert draws_zoom(config_for(**settings)) == expected
