"""The resize plan: properties that hold for any image, mode and limits."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from frcnn.config import RESIZE_MODES, SQUARE_MODES, Config
from frcnn.data.resize import (
    MULTIPLE,
    ResizePlan,
    boxes_from_window,
    next_multiple,
    resize_image,
    resize_scale,
)
from frcnn.errors import ConfigError, FrcnnError

MODES = [None, *RESIZE_MODES]
SIDES = st.integers(1, 200)


@st.composite
def plans(draw, modes=MODES):
    """A plan, and the mode and limits that it was made from."""
    mode, min_dim = draw(st.sampled_from(modes)), draw(st.integers(1, 128))
    limits = {"min_dim": min_dim, "max_dim": min_dim + draw(st.integers(0, 128)),
              "min_scale": draw(st.sampled_from([None, 0, 0.5, 1.7]))}
    shape = draw(SIDES), draw(SIDES)
    return ResizePlan.for_mode(shape, mode, **limits, rng=draw(st.integers(0, 9))), mode, limits


@st.composite
def configs(draw):
    """A config of any resize mode; its limits are multiples of 64 where they have to be."""
    mode = draw(st.sampled_from(RESIZE_MODES))
    step = MULTIPLE if mode in SQUARE_MODES else 1
    low = draw(st.integers(1, 160 // step))
    return Config(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=low * step,
                  IMAGE_MAX_DIM=(low + draw(st.integers(0, 100 // step))) * step,
                  IMAGE_MIN_SCALE=draw(st.sampled_from([0, 0.5, 1.7])))


def boxes_in(plan, seed, count=5):
    """Random boxes `[N, 4]` float32 in pixels of the image."""
    corners = np.random.default_rng(seed).uniform(0, 1, (count, 2, 2))
    corners = np.sort(corners, axis=1).reshape(count, 4)
    return (corners * (plan.shape * 2)).astype(np.float32)


# --- sizes ----------------------------------------------------------------------------------


@given(plans())
@settings(deadline=None)
def test_the_window_lies_inside_the_molded_image(drawn):
    plan, _, _ = drawn
    y1, x1, y2, x2 = plan.window
    assert 0 <= y1 < y2 <= plan.molded_shape[0]
    assert 0 <= x1 < x2 <= plan.molded_shape[1]
    assert (y2 - y1, x2 - x1) == (plan.scaled_shape if plan.crop is None else plan.crop[2:])


@given(plans())
@settings(deadline=None)
def test_the_rule_of_the_scale(drawn):
    plan, mode, limits = drawn
    shorter, longer = min(plan.shape), max(plan.shape)
    if mode == "none":
        assert plan.scale == 1
        return
    wanted = max(1, limits["min_dim"] / shorter, limits["min_scale"] or 0)
    fits = mode in (None, "square", "fit64")
    if fits and round(longer * wanted) > limits["max_dim"]:
        assert plan.scale == limits["max_dim"] / longer < wanted
    else:
        assert plan.scale == wanted
    assert plan.scale == resize_scale(*plan.shape, limits["min_dim"],
                                      limits["max_dim"] if fits else None, limits["min_scale"])
    assert plan.scaled_shape == tuple(max(1, round(side * plan.scale)) for side in plan.shape)
    if fits:
        assert max(plan.scaled_shape) <= limits["max_dim"]


@given(plans())
@settings(deadline=None)
def test_the_molded_shape_of_each_mode(drawn):
    plan, mode, limits = drawn
    if mode in ("pad64", "fit64"):
        assert plan.molded_shape == tuple(map(next_multiple, plan.scaled_shape))
    elif mode in SQUARE_MODES:
        side = limits[SQUARE_MODES[mode].removeprefix("IMAGE_").lower()]
        assert plan.molded_shape == (side, side)
    else:
        assert plan.molded_shape == plan.scaled_shape


@given(st.integers(0, 1000))
@settings(deadline=None)
def test_the_next_multiple(side):
    found = next_multiple(side)
    assert found % 64 == 0 and side <= found < side + 64


@given(plans())
@settings(deadline=None)
def test_the_picture_is_in_the_middle_of_its_border(drawn):
    for before, after in drawn[0].border:
        assert 0 <= after - before <= 1


@given(plans(["crop"]))
@settings(deadline=None)
def test_a_crop_lies_inside_the_scaled_image(drawn):
    plan, _, _ = drawn
    y, x, height, width = plan.crop
    assert 0 <= y <= plan.scaled_shape[0] - height
    assert 0 <= x <= plan.scaled_shape[1] - width


@given(configs(), SIDES, SIDES)
@settings(deadline=None)
def test_detection_molds_whole_images_to_multiples_of_64(config, height, width):
    plan = ResizePlan.for_detection((height, width, 3), config)
    assert plan.crop is None
    assert all(side % 64 == 0 for side in plan.molded_shape)
    y1, x1, y2, x2 = plan.window
    assert (y2 - y1, x2 - x1) == plan.scaled_shape
    training = ResizePlan.for_training((height, width), config, rng=0)
    assert (plan.scale, plan.scaled_shape) == (training.scale, training.scaled_shape)
    if config.IMAGE_RESIZE_MODE in SQUARE_MODES:
        assert training.molded_shape == tuple(config.IMAGE_SHAPE[:2])


@given(plans(), st.integers(0, 99), st.integers(0, 99))
@settings(deadline=None)
def test_more_zeros_at_the_bottom_and_on_the_right_leave_the_window(drawn, down, right):
    plan, _, _ = drawn
    height, width = plan.molded_shape
    padded = plan.padded_to(height + down, width + right)
    assert padded.molded_shape == (height + down, width + right)
    assert padded.window == plan.window
    np.testing.assert_array_equal(padded.boxes_to_molded(boxes_in(plan, 0)),
                                  plan.boxes_to_molded(boxes_in(plan, 0)))
    with pytest.raises(ValueError, match="cannot be padded"):
        plan.padded_to(height - 1, width)


# --- boxes ----------------------------------------------------------------------------------


@given(plans(), st.integers(0, 9))
@settings(deadline=None)
def test_boxes_there_and_back_are_the_same(drawn, seed):
    plan, _, _ = drawn
    boxes = boxes_in(plan, seed)
    moved = plan.boxes_to_molded(boxes)
    back = plan.boxes_from_molded(moved)
    assert moved.dtype == back.dtype == np.float32
    # A float32 of the molded image is this far from its neighbor, in pixels of the image.
    step = np.spacing(np.abs(moved).max()) / (np.array(plan.scaled_shape) / plan.shape).min()
    np.testing.assert_allclose(back, boxes, rtol=1e-6, atol=2 * step)


@given(plans())
@settings(deadline=None)
def test_the_whole_image_becomes_the_window(drawn):
    plan, _, _ = drawn
    whole = np.float32([[0, 0, *plan.shape]])
    (moved,) = plan.boxes_to_molded(whole)
    if plan.crop is None:
        np.testing.assert_allclose(moved, plan.window, rtol=1e-6)
        window = np.float32([plan.window])
        back = boxes_from_window(window, plan.window, plan.shape)
        np.testing.assert_allclose(back, whole, atol=1e-9)
        np.testing.assert_array_equal(plan.boxes_from_molded(window), back.astype(np.float32))
    else:  # the scaled image, of which the crop is a part
        np.testing.assert_allclose(moved[:2], [-plan.crop[0], -plan.crop[1]])
        np.testing.assert_allclose(moved[2:] - moved[:2], plan.scaled_shape, rtol=1e-6)


# --- pixels ---------------------------------------------------------------------------------


@given(plans(), st.sampled_from([(), (1,), (3,)]))
@settings(deadline=None)
def test_pixels_and_boxes_go_to_the_same_place(drawn, channels):
    """A bright image in its window, zeros around it, and resize_image's result."""
    plan, mode, limits = drawn
    image = np.full((*plan.shape, *channels), 200, np.uint8)
    molded = plan.apply(image)
    assert molded.shape == (*plan.molded_shape, *channels) and molded.dtype == np.uint8
    y1, x1, y2, x2 = plan.window
    assert (molded[y1:y2, x1:x2] == 200).all()
    assert np.count_nonzero(molded) == np.count_nonzero(molded[y1:y2, x1:x2])
    resized, window, scale, padding, *crop = resize_image(image, **limits, mode=mode, rng=0)
    assert (scale, padding) == (plan.scale, [*plan.border, (0, 0)]) and window == plan.window
    assert resized.shape == molded.shape and len(crop) == (mode is not None)


@pytest.mark.parametrize("mode", MODES)
def test_the_molded_image_is_the_callers_own(mode):
    image = np.ones((64, 64, 3), np.uint8)
    plan = ResizePlan.for_mode(image.shape, mode, min_dim=64, max_dim=64)
    molded = plan.apply(image)
    assert plan.molded_shape == (64, 64) and not np.shares_memory(molded, image)
    np.testing.assert_array_equal(molded, image)


def test_a_plan_is_for_images_of_its_shape():
    plan = ResizePlan.for_mode((40, 30), "square", max_dim=64)
    with pytest.raises(FrcnnError, match=r"for an image of \(40, 30\)"):
        plan.apply(np.zeros((30, 40, 3), np.uint8))


# --- modes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_every_mode_of_the_config_has_a_plan(mode):
    config = Config(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=64)
    plan = ResizePlan.for_training((100, 90), config)
    assert plan.shape == (100, 90)


@given(st.text(max_size=8))
@settings(deadline=None)
def test_other_modes_are_errors(mode):
    assume(mode not in RESIZE_MODES)
    with pytest.raises(ConfigError, match="allowed is one of none, square, pad64, fit64, crop"):
        ResizePlan.for_mode((10, 10), mode, min_dim=8, max_dim=8)
