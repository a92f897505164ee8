"""Public names: `frcnn.model`'s data and targets.

A row checks a name's parameters, and what one small call of it returns. Behaviour beyond that is
tested beside each module.
"""

import numpy as np
from interface_tools import (
    ANCHOR_COUNT,
    BOXES,
    CLASS_IDS,
    CONFIG,
    GRAY,
    Drawn,
    Table,
    printed,
    same,
    shapes,
)

import frcnn.model as modellib
from frcnn.geometry.anchors import pyramid_anchors

TABLE = Table()
row = TABLE.row


@row(modellib, "log", "text, array=None")
def _(log):
    text = printed(log, "pixels", np.array([[1, 2, 3]], np.int16))
    assert all(part in text for part in ("pixels", "(1, 3)", "1.0", "3.0", "int16"))


@row(modellib, "data_generator", "dataset, config, shuffle=True, augment=True, random_rois=0, "
                                 "batch_size=1, detection_targets=False")
def _(data_generator):
    given = [(2, 64, 64, 3), (2, 16), (2, ANCHOR_COUNT, 1), (2, 32, 4), (2, 5), (2, 5, 4)]
    inputs, outputs = next(data_generator(Drawn(), CONFIG, batch_size=2))
    assert shapes(inputs) == given and outputs == []
    inputs, outputs = next(data_generator(Drawn(), CONFIG, random_rois=9, batch_size=2,
                                          detection_targets=True))
    assert shapes(inputs) == [*given, (2, 9, 4), (2, 12, 4)]
    assert shapes(outputs) == [(2, 12, 1), (2, 12, 4, 4)]
    assert len(next(data_generator(Drawn(), CONFIG))[0][0]) == 1


@row(modellib, "load_image_gt", "dataset, config, image_id, augment=False")
def _(load_image_gt):
    image, image_meta, class_ids, boxes = load_image_gt(Drawn(), CONFIG, 1)
    assert image_meta.shape == (16,) and boxes.dtype == np.float32
    for actual, expected in ((image, GRAY), (class_ids, [1, -3]), (boxes, BOXES)):
        np.testing.assert_array_equal(actual, expected)


@row(modellib, "build_rpn_targets", "image_shape, anchors, gt_class_ids, gt_boxes, config")
def _(build_rpn_targets):
    anchors = pyramid_anchors(CONFIG, (64, 64, 3))
    match, bbox = build_rpn_targets((64, 64, 3), anchors, CLASS_IDS[:1], anchors[[400]], CONFIG)
    assert match.shape == (ANCHOR_COUNT,) and match.dtype == np.int32 and bbox.shape == (32, 4)
    assert match[400] == 1 and set(match) == {-1, 0, 1}
    assert 1 <= (match == 1).sum() <= 16 and (match != 0).sum() == 32
    same(bbox[np.flatnonzero(match == 1).tolist().index(400)], np.zeros(4))


@row(modellib, "generate_random_rois", "image_shape, count, gt_class_ids, gt_boxes")
def _(generate_random_rois):
    rois = generate_random_rois((64, 64, 3), 20, [1], [[5, 5, 15, 15]])
    assert rois.shape == (20, 4) and (rois >= 0).all() and (rois <= 64).all()
    assert (rois[:, 2:] > rois[:, :2]).all() and (rois.max(axis=1) <= 25).sum() >= 18


@row(modellib, "build_detection_targets", "rpn_rois, gt_class_ids, gt_boxes, config")
def _(build_detection_targets):
    rois = np.array([[10, 10, 30, 30]] * 9 + [[40, 40, 60, 60]])
    rois, class_ids, bboxes = build_detection_targets(rois, [2], [[10, 12, 30, 32]], CONFIG)
    assert shapes([rois, class_ids, bboxes]) == [(12, 4), (12,), (12, 4, 4)]
    positives = int(12 * CONFIG.ROI_POSITIVE_RATIO)
    assert class_ids.tolist() == [2] * positives + [0] * (12 - positives)
    same(bboxes[0], [[0] * 4, [0] * 4, [0, 1, 0, 0], [0] * 4])  # 2 of 20 pixels, over 0.1
    np.testing.assert_array_equal(rois[positives:], [[40, 40, 60, 60]] * (12 - positives))


@row(modellib, "mold_image", "images, config")
def _(mold_image):
    molded = mold_image(GRAY, CONFIG)
    assert molded.dtype == np.float32
    same(molded[0, 0], [46.3, 53.2, 66.1])


@row(modellib, "unmold_image", "images, config")
def _(unmold_image):
    pixels = unmold_image(GRAY - CONFIG.MEAN_PIXEL, CONFIG)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, GRAY)
    again = unmold_image(modellib.mold_image(GRAY, CONFIG), CONFIG)
    np.testing.assert_array_equal(again, GRAY)


META = [7, 50, 100, 3, 64, 64, 3, 16, 0, 48, 64, 0.625, 1, 1, 0, 1]
META_PARTS = {"image_id": 7, "original_image_shape": [50, 100, 3], "image_shape": [64, 64, 3],
              "window": [16, 0, 48, 64], "scale": 0.625, "active_class_ids": [1, 1, 0, 1]}


@row(modellib, "compose_image_meta",
     "image_id, original_image_shape, image_shape, window, scale, active_class_ids")
def _(compose_image_meta):
    meta = compose_image_meta(**META_PARTS)
    same(meta, META)
    assert len(meta) == CONFIG.IMAGE_META_SIZE


@row(modellib, "parse_image_meta", "meta")
@row(modellib, "parse_image_meta_graph", "meta")
def _(parse):
    parts = parse(np.array([META], np.float32))
    assert list(parts) == list(META_PARTS)
    for name, value in META_PARTS.items():
        same(parts[name][0], value)


test_each_name = TABLE.test()
