"""Box arithmetic on tensors.

Boxes are `(y1, x1, y2, x2)`. Inside the model they are normalized: (0, 0, 1, 1) spans the centers
of the corner pixels, so the normalized box is `(box - (0, 0, 1, 1)) / (h-1, w-1, h-1, w-1)`.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from keras import ops

from frcnn.arrays import Array, Tensor

# (height, width, …): numbers, or tensors that broadcast against the boxes without their last axis.
Sides: TypeAlias = Sequence[Any] | Array


def norm_boxes_graph(boxes: Tensor, shape: Sides) -> Tensor:
    """Pixel boxes `[..., 4]` of an image of `shape` (height, width), normalized; float32."""
    scale, shift = _box_scale(shape)
    return (ops.cast(boxes, "float32") - shift) / scale


def denorm_boxes_graph(boxes: Tensor, shape: Sides) -> Tensor:
    """Normalized boxes `[..., 4]` in pixels of an image of `shape`, rounded to int32."""
    scale, shift = _box_scale(shape)
    return ops.cast(ops.round(ops.cast(boxes, "float32") * scale + shift), "int32")


def denorm_boxes_exactly(boxes: Tensor, shape: Sides) -> Tensor:
    """Normalized boxes `[..., 4]` in float32 pixels of an image of `shape`, not rounded.

    shape: (height, width), numbers or tensors that broadcast against `[...]`.
    """
    scale, shift = _box_scale(shape)
    return boxes * scale + shift


def _box_scale(shape: Sides) -> tuple[Tensor, Tensor]:
    height, width = (ops.cast(shape[i], "float32") for i in (0, 1))
    scale = ops.stack([height, width, height, width], axis=-1) - 1.0
    return scale, ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])


def _split(boxes: Tensor) -> list[Tensor]:
    return ops.unstack(boxes, 4, axis=-1)


def apply_box_deltas_graph(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Moves boxes `[..., 4]` by deltas `[..., 4]` of (dy, dx, log dh, log dw).

    Source: Girshick et al. 2014 (R-CNN), appendix C, equations 1 to 4.
    """
    y1, x1, y2, x2 = _split(boxes)
    dy, dx, dh, dw = _split(deltas)
    height, width = y2 - y1, x2 - x1
    center_y = y1 + 0.5 * height + dy * height
    center_x = x1 + 0.5 * width + dx * width
    height, width = height * ops.exp(dh), width * ops.exp(dw)
    y1, x1 = center_y - 0.5 * height, center_x - 0.5 * width
    return ops.stack([y1, x1, y1 + height, x1 + width], axis=-1)


def box_refinement_graph(box: Tensor, gt_box: Tensor) -> Tensor:
    """The deltas `[..., 4]` that move `box` onto `gt_box`; the inverse of applying them."""
    y1, x1, y2, x2 = _split(ops.cast(box, "float32"))
    gt_y1, gt_x1, gt_y2, gt_x2 = _split(ops.cast(gt_box, "float32"))
    height, width = y2 - y1, x2 - x1
    gt_height, gt_width = gt_y2 - gt_y1, gt_x2 - gt_x1
    dy = (gt_y1 + 0.5 * gt_height - y1 - 0.5 * height) / height
    dx = (gt_x1 + 0.5 * gt_width - x1 - 0.5 * width) / width
    return ops.stack([dy, dx, ops.log(gt_height / height), ops.log(gt_width / width)], axis=-1)


def clip_boxes_graph(boxes: Tensor, window: Tensor) -> Tensor:
    """Boxes `[..., 4]` clipped to a window `[4]` (or `[..., 4]`, broadcast), same units."""
    top, left, bottom, right = _split(ops.cast(window, "float32"))
    y1, x1, y2, x2 = _split(boxes)
    y1, y2 = (ops.clip(y, top, bottom) for y in (y1, y2))
    x1, x2 = (ops.clip(x, left, right) for x in (x1, x2))
    return ops.stack([y1, x1, y2, x2], axis=-1)


def overlaps_graph(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU of every pair: `[..., N, 4]` and `[..., M, 4]` → float32 `[..., N, M]`.

    Two boxes of zero area have an IoU of 0 (not NaN).
    """
    y1, x1, y2, x2 = (side[..., :, None] for side in _split(boxes1))
    v1, u1, v2, u2 = (side[..., None, :] for side in _split(boxes2))
    height = ops.maximum(ops.minimum(y2, v2) - ops.maximum(y1, v1), 0.0)
    width = ops.maximum(ops.minimum(x2, u2) - ops.maximum(x1, u1), 0.0)
    shared = height * width
    union = (y2 - y1) * (x2 - x1) + (v2 - v1) * (u2 - u1) - shared
    # Not every kernel allows a division by zero whose result `where` discards.
    positive = union > 0.0
    return ops.where(positive, shared / ops.where(positive, union, 1.0), 0.0)


def log2_graph(x: Tensor) -> Tensor:
    """Logarithm of base 2, elementwise."""
    return ops.log(x) / math.log(2.0)
