"""Anchors: the boxes that the region proposal network starts from.

They are made in pixels, float64, in a fixed order that the RPN's outputs share: pyramid level, then
row, then column, then ratio.
"""

from functools import lru_cache

import numpy as np


def generate_anchors(scales, ratios, shape, feature_stride, anchor_stride):
    """Anchors of one feature map.

    Args:
        scales: side length of a square anchor in pixels, or several.
        ratios: width / height, or several; the area does not depend on it.
        shape: `(height, width)` of the feature map.
        feature_stride: pixels of the image between two neighbours on the map.
        anchor_stride: cells of the map between two neighbouring anchors, 1 for every cell.

    Returns:
        `[A, 4]` float64 pixels; A counts rows, columns, ratios, scales, the last one fastest.
    """
    ratios, scales = np.meshgrid(np.asarray(ratios, np.float64), np.asarray(scales, np.float64),
                                 indexing="ij")
    heights = (scales / np.sqrt(ratios)).ravel()
    widths = (scales * np.sqrt(ratios)).ravel()
    rows = np.arange(0, shape[0], anchor_stride) * feature_stride
    columns = np.arange(0, shape[1], anchor_stride) * feature_stride

    boxes = np.empty((len(rows), len(columns), len(heights), 4))
    boxes[..., 0] = (rows[:, None] - 0.5 * heights)[:, None]
    boxes[..., 1] = columns[:, None] - 0.5 * widths
    boxes[..., 2] = (rows[:, None] + 0.5 * heights)[:, None]
    boxes[..., 3] = columns[:, None] + 0.5 * widths
    return boxes.reshape(-1, 4)


def generate_pyramid_anchors(scales, ratios, feature_shapes, feature_strides, anchor_stride):
    """Anchors of all pyramid levels, one scale a level, the finest level first.

    Args:
        scales: `[L]`, side length in pixels for each level.
        ratios: width / height, the same ones at every level.
        feature_shapes: `[L, 2]`, `(height, width)` of each level's map.
        feature_strides: `[L]`, pixels between neighbours of each level.
        anchor_stride: cells between neighbouring anchors.

    Returns:
        `[A, 4]` float64 pixels.
    """
    return np.concatenate([
        generate_anchors(scale, ratios, shape, stride, anchor_stride)
        for scale, shape, stride in zip(scales, feature_shapes, feature_strides, strict=True)
    ])  # fmt: skip


def compute_backbone_shapes(config, image_shape):
    """Shapes of the feature maps P2 to P6.

    Args:
        config: for `BACKBONE_STRIDES`, or `COMPUTE_BACKBONE_SHAPE` when `BACKBONE` is a callable.
        image_shape: `(height, width, ...)` of the molded image.

    Returns:
        `[5, 2]` integers, `(height, width)` of each level.
    """
    if callable(config.BACKBONE):
        return np.asarray(config.COMPUTE_BACKBONE_SHAPE(image_shape))
    strides = np.asarray(config.BACKBONE_STRIDES)[:, None]
    return np.ceil(np.asarray(image_shape[:2]) / strides).astype(np.int64)


def pyramid_anchors(config, image_shape):
    """All anchors for a molded image of that shape, made once and then remembered.

    Returns:
        `[A, 4]` float64 pixels, read-only, since callers share it.
    """
    return _remembered_anchors(*_key(config, image_shape))


def anchor_levels(config, image_shape):
    """How `pyramid_anchors` is laid out: `[(rows, columns, anchors a cell), ...]`, one a level.

    Level after level, the anchors can be reshaped to `[rows, columns, anchors a cell, 4]`.
    """
    stride = config.RPN_ANCHOR_STRIDE
    return [(-(-int(height) // stride), -(-int(width) // stride), len(config.RPN_ANCHOR_RATIOS))
            for height, width in compute_backbone_shapes(config, image_shape)]


def _key(config, image_shape):
    shapes = compute_backbone_shapes(config, image_shape)
    return (tuple(float(scale) for scale in config.RPN_ANCHOR_SCALES),
            tuple(float(ratio) for ratio in config.RPN_ANCHOR_RATIOS),
            tuple((int(height), int(width)) for height, width in shapes),
            tuple(config.BACKBONE_STRIDES), config.RPN_ANCHOR_STRIDE)  # fmt: skip


@lru_cache(maxsize=16)  # images in the mode "pad64" come in many shapes; each costs up to 8 MB
def _remembered_anchors(scales, ratios, shapes, strides, anchor_stride):
    anchors = generate_pyramid_anchors(scales, ratios, shapes, strides, anchor_stride)
    anchors.flags.writeable = False
    return anchors
