"""How anchors fit the objects: against all anchors laid out, and cases worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn.config import Config
from frcnn.data import open_folder
from frcnn.data.anchor_fit import (
    AnchorShapes,
    Objects,
    anchor_score,
    best_ious,
    coverage,
    fit_anchors,
    molded_objects,
    poorly_covered,
)
from frcnn.geometry.anchors import anchor_levels, pyramid_anchors
from frcnn.geometry.boxes import compute_overlaps

SIDE = 256


def config_for(**settings):
    return Config(**{"IMAGE_MIN_DIM": SIDE, "IMAGE_MAX_DIM": SIDE, "BACKBONE": "resnet50",
                     "RPN_ANCHOR_SCALES": (8, 16, 32, 64, 128), **settings})


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]))
@settings(max_examples=25, deadline=None)
def test_the_best_iou_is_that_of_all_anchors(seed, stride):
    rng = np.random.default_rng(seed)
    config = config_for(RPN_ANCHOR_STRIDE=stride)
    corners = rng.uniform(0, SIDE, (20, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=1)
    found = best_ious(of_one_class(boxes), AnchorShapes.from_config(config))
    overlaps = compute_overlaps(boxes, pyramid_anchors(config, (SIDE, SIDE, 3)))
    start = 0
    for level, (rows, columns, ratios) in enumerate(anchor_levels(config, (SIDE, SIDE, 3))):
        part = overlaps[:, start:start + rows * columns * ratios]
        start += rows * columns * ratios
        np.testing.assert_allclose(found[:, level], part.reshape(20, -1, ratios).max(axis=1),
                                   atol=1e-5)


def test_boxes_are_where_the_network_sees_them(coco_folder):
    dataset = open_folder(coco_folder, "train")  # images of 128 x 96, one crowd among the boxes
    found = molded_objects(dataset, config_for(IMAGE_RESIZE_MODE="square"))
    true = [dataset.load_boxes(image_id) for image_id in dataset.image_ids]
    expected = np.concatenate([boxes[class_ids > 0] for boxes, class_ids in true])
    assert (found.image_shapes == SIDE).all() and len(found) == len(expected)
    moved = expected * 2 + [32, 0, 32, 0]  # 96 rows become 192 of 256
    np.testing.assert_allclose(found.boxes, moved)


def of_one_class(boxes):
    return Objects(boxes, np.full((len(boxes), 2), SIDE), np.ones(len(boxes), np.int32))


def of_one_size(height, width, count=200):
    """Objects of one size anywhere in a molded image."""
    tops = np.random.default_rng(0).uniform(0, SIDE - max(height, width), (count, 2))
    return of_one_class(np.concatenate([tops, tops + [height, width]], axis=1))


@pytest.mark.parametrize(("height", "width"), [(11, 11), (90, 90), (20, 60), (60, 20)])
def test_fitted_anchors_have_the_size_and_shape_of_the_objects(height, width):
    objects = of_one_size(height, width)
    before = AnchorShapes.from_config(config_for(RPN_ANCHOR_SCALES=(32, 64, 128, 256, 512)))
    after = fit_anchors(objects, before)
    ious = best_ious(objects, after)
    assert anchor_score(objects, after) >= anchor_score(objects, before)
    assert coverage(ious) > 0.98  # the last anchor of a row is some pixels from the edge
    side, ratio = np.sqrt(height * width), width / height
    assert min(abs(np.log2(np.array(after.scales) / side))) < 0.3
    assert min(abs(np.log2(np.array(after.ratios) / ratio))) < 0.5
    assert len(after.scales) == 5 and len(after.ratios) == 3 and after.strides == before.strides


def test_anchors_that_fit_come_back_unchanged():
    anchors = AnchorShapes.from_config(config_for())
    centres = np.random.default_rng(0).integers(1, 15, (100, 2)) * 16
    objects = of_one_class(np.concatenate([centres - 16, centres + 16], axis=1).astype(float))
    assert fit_anchors(objects, anchors) == anchors


def test_a_rare_class_counts_as_much_as_a_common_one():
    many, few = of_one_size(16, 16, 300), of_one_size(100, 100, 3)
    both = Objects(*(np.concatenate(pair) for pair in (
        (many.boxes, few.boxes), (many.image_shapes, few.image_shapes),
        (many.class_ids, few.class_ids + 1))))
    anchors = AnchorShapes.from_config(config_for())
    assert anchor_score(both, anchors) == pytest.approx(
        (anchor_score(many, anchors) + anchor_score(few, anchors)) / 2)


def test_without_objects():
    with pytest.raises(ValueError, match="no objects"):
        fit_anchors(of_one_class(np.zeros((0, 4))), AnchorShapes.from_config(config_for()))
    assert np.isnan(coverage(np.zeros((0, 5, 3))))


# --- what is worth a warning ----------------------------------------------------------------


def test_classes_with_many_uncovered_objects():
    """Of objects as large as an anchor and at its place the IoU is 1, of tiny ones below 0.5."""
    anchors = AnchorShapes((8, 16, 32, 64, 128), (1,), (4, 8, 16, 32, 64))
    fits, tiny = np.array([[60.0, 60, 68, 68]]), np.array([[63.0, 63, 65, 65]])

    def objects(*counts):
        """For each class (number that fit, number that do not)."""
        boxes = [np.concatenate([fits.repeat(good, 0), tiny.repeat(bad, 0)])
                 for good, bad in counts]
        class_ids = np.repeat(np.arange(1, len(counts) + 1), [sum(pair) for pair in counts])
        boxes = np.concatenate(boxes)
        return Objects(boxes, np.full((len(boxes), 2), SIDE), class_ids.astype(np.int32))

    assert poorly_covered(objects((90, 10)), anchors) == {}  # a tenth, not more
    assert poorly_covered(objects((89, 11)), anchors) == {1: 0.11}
    assert poorly_covered(objects((30, 10), (40, 0), (10, 30)), anchors) == {3: 0.75, 1: 0.25}
    assert list(poorly_covered(objects((30, 10), (40, 0), (10, 30)), anchors)) == [3, 1]
    assert poorly_covered(objects((0, 19), (0, 20)), anchors) == {2: 1.0}  # few say little
    assert poorly_covered(objects((0, 0)), anchors) == {}
