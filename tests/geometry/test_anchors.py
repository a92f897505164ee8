"""Anchors, against the reference's outputs and against anchors placed by hand."""

import numpy as np
import pytest

from frcnn.config import Config
from frcnn.geometry.anchors import (
    anchor_levels,
    compute_backbone_shapes,
    generate_anchors,
    generate_pyramid_anchors,
    normalized_pyramid_anchors,
    pyramid_anchors,
)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_pyramid_anchors_are_the_references(functions, case):
    def golden(name):
        return functions[f"anchors{case}_{name}"]

    anchors = generate_pyramid_anchors(golden("scales"), golden("ratios"),
                                       golden("feature_shapes"), golden("strides"),
                                       int(golden("anchor_stride")))
    assert anchors.dtype == np.float64
    assert len(anchors) == golden("count")
    np.testing.assert_array_equal(anchors[golden("index")], golden("value"))


@pytest.mark.smoke
def test_anchors_placed_by_hand():
    anchors = generate_anchors(8, [1, 4], shape=(3, 3), feature_stride=16, anchor_stride=2)
    # Cells 0 and 2 of each axis are at pixels 0 and 32; a ratio of 4 is 16 wide and 4 high.
    expected = [[y - h / 2, x - w / 2, y + h / 2, x + w / 2]
                for y in (0, 32) for x in (0, 32) for h, w in ((8, 8), (4, 16))]
    np.testing.assert_allclose(anchors, expected)


def test_several_scales_of_one_map_vary_fastest():
    anchors = generate_anchors([4, 8], [1, 4], (1, 1), 1, 1)
    heights = anchors[:, 2] - anchors[:, 0]
    np.testing.assert_allclose(heights, [4, 8, 2, 4])


def test_the_area_does_not_depend_on_the_ratio():
    anchors = generate_anchors(32, [0.2, 0.5, 1, 3], (1, 1), 4, 1)
    np.testing.assert_allclose(np.prod(anchors[:, 2:] - anchors[:, :2], axis=1), 32 * 32)


def test_levels_must_agree_in_number():
    with pytest.raises(ValueError):
        generate_pyramid_anchors((32, 64), [1], [(4, 4)], (4, 8), 1)


@pytest.mark.parametrize(("shape", "expected"), [
    ((1024, 1024, 3), [[256, 256], [128, 128], [64, 64], [32, 32], [16, 16]]),
    ((100, 37), [[25, 10], [13, 5], [7, 3], [4, 2], [2, 1]]),
])  # fmt: skip
def test_backbone_shapes_round_up(shape, expected):
    shapes = compute_backbone_shapes(Config(), shape)
    np.testing.assert_array_equal(shapes, expected)
    assert shapes.dtype.kind == "i"


def test_a_callable_backbone_says_its_shapes_itself():
    shapes = [[9, 8], [5, 4], [3, 2], [2, 1], [1, 1]]
    config = Config(BACKBONE=lambda image: None, COMPUTE_BACKBONE_SHAPE=lambda shape: shapes)
    np.testing.assert_array_equal(compute_backbone_shapes(config, (64, 64, 3)), shapes)
    assert len(pyramid_anchors(config, (64, 64, 3))) == 3 * sum(h * w for h, w in shapes)


@pytest.mark.parametrize(("stride", "count"), [(1, 261_888), (2, 65_472)])
def test_anchors_of_a_config_are_made_once(stride, count):
    config = Config(RPN_ANCHOR_STRIDE=stride)
    anchors = pyramid_anchors(config, (1024, 1024, 3))
    assert anchors.shape == (count, 4)
    assert pyramid_anchors(Config(RPN_ANCHOR_STRIDE=stride), np.array([1024, 1024, 3])) is anchors
    with pytest.raises(ValueError):
        anchors[0] = 0  # shared, so nobody may change them


def test_other_settings_give_other_anchors():
    one = pyramid_anchors(Config(), (128, 192, 3))
    other = pyramid_anchors(Config(RPN_ANCHOR_SCALES=(8, 16, 32, 64, 128)), (128, 192, 3))
    assert one.shape == other.shape
    np.testing.assert_allclose((one[:, 2] - one[:, 0]) / (other[:, 2] - other[:, 0]), 4)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_levels_describe_the_order_of_the_anchors(stride):
    config = Config(RPN_ANCHOR_STRIDE=stride, RPN_ANCHOR_RATIOS=[0.5, 1])
    anchors = pyramid_anchors(config, (192, 320, 3))
    start = 0
    for level, (rows, columns, a_cell) in enumerate(anchor_levels(config, (192, 320, 3))):
        grid = anchors[start:start + rows * columns * a_cell].reshape(rows, columns, a_cell, 4)
        centers = (grid[..., :2] + grid[..., 2:]) / 2
        step = stride * config.BACKBONE_STRIDES[level]
        np.testing.assert_allclose(centers[..., 0], np.broadcast_to(
            step * np.arange(rows)[:, None, None], (rows, columns, a_cell)), atol=1e-9)
        np.testing.assert_allclose(centers[..., 1], np.broadcast_to(
            step * np.arange(columns)[:, None], (rows, columns, a_cell)), atol=1e-9)
        start += rows * columns * a_cell
    assert start == len(anchors)


def test_normalized_anchors_are_made_once_for_an_image_shape():
    config = Config()
    anchors = normalized_pyramid_anchors(config, (128, 192, 3))
    pixels = pyramid_anchors(config, (128, 192, 3))
    assert anchors.dtype == np.float32
    np.testing.assert_allclose(anchors * [127, 191, 127, 191] + [0, 0, 1, 1], pixels, atol=1e-4)
    assert normalized_pyramid_anchors(Config(), np.array([128, 192])) is anchors
    with pytest.raises(ValueError):
        anchors[0] = 0  # shared, so nobody may change them
    # Both have feature maps of the same shapes, and so the same anchors in pixels.
    other = normalized_pyramid_anchors(config, (127, 190, 3))
    np.testing.assert_allclose(other * [126, 189, 126, 189] + [0, 0, 1, 1], pixels, atol=1e-4)
