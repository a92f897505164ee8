"""Box arithmetic on the host, in NumPy.

A box is `(y1, x1, y2, x2)`; `(y2, x2)` are outside the box, so `y2 - y1` is its height. The
precision of the input is kept: float32 gives float32, float64 gives float64, and integers are
computed in float64.
"""

from collections.abc import Sequence

import numpy as np

from frcnn.arrays import (
    Array,
    ArrayLike,
    BoolArray,
    Boxes,
    FloatArray,
    IntArray,
    NormalizedBoxes,
    Shape,
)
from frcnn.errors import ArgumentError

# Overlaps computed at once: few enough that the intermediate arrays stay in the CPU's cache.
_CELLS_AT_ONCE = 1 << 15
# Boxes whose overlaps with all others are in memory at once during suppression.
_NMS_BLOCK = 256


def compute_iou(box: ArrayLike, boxes: ArrayLike, box_area: float,
                boxes_area: ArrayLike) -> FloatArray:
    """Intersection over union of one box with each of many.

    Args:
        box: `[4]`, one box.
        boxes: `[N, 4]`.
        box_area: area of `box`.
        boxes_area: `[N]`, areas of `boxes`; an argument, since callers use them repeatedly.

    Returns:
        `[N]` floats from 0 to 1; 0 where both boxes are empty.
    """
    box, boxes = _floats(box), _floats(boxes)
    height = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    width = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    return _over_union(height, width, box_area, boxes_area)


def compute_overlaps(boxes1: ArrayLike, boxes2: ArrayLike) -> FloatArray:
    """Intersection over union of every box of one set with every box of another.

    Args:
        boxes1: `[N, 4]`.
        boxes2: `[M, 4]`, in the same coordinates.

    Returns:
        `[N, M]` floats from 0 to 1.

    Raises:
        ArgumentError: see `as_boxes`.
    """
    boxes1, boxes2 = as_boxes(boxes1), as_boxes(boxes2)
    if len(boxes2) < min(len(boxes1), 32):  # the longer axis last, for long inner loops
        return np.ascontiguousarray(compute_overlaps(boxes2, boxes1).T)
    overlaps = np.empty((len(boxes1), len(boxes2)), np.result_type(boxes1, boxes2))
    top, left, bottom, right = np.ascontiguousarray(boxes2.T)
    areas = box_areas(boxes2)
    step = max(1, _CELLS_AT_ONCE // max(1, len(boxes2)))
    for start in range(0, len(boxes1), step):
        rows = boxes1[start:start + step, :, None]
        height = np.minimum(rows[:, 2], bottom)
        height -= np.maximum(rows[:, 0], top)
        width = np.minimum(rows[:, 3], right)
        width -= np.maximum(rows[:, 1], left)
        row_areas = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
        overlaps[start:start + step] = _over_union(height, width, row_areas, areas)
    return overlaps


def box_areas(boxes: ArrayLike) -> Array:
    """Areas `[...]` of boxes `[..., 4]`."""
    boxes = np.asarray(boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _over_union(height: FloatArray, width: FloatArray, area1: ArrayLike,
                area2: ArrayLike) -> FloatArray:
    """IoU from the extents of the intersections, negative where there is none; overwrites both."""
    intersection = np.maximum(height, 0, out=height)
    intersection *= np.maximum(width, 0, out=width)
    union: FloatArray = np.add(area1, area2, dtype=intersection.dtype)
    union -= intersection
    # The IoU of two empty boxes is 0, not NaN.
    np.maximum(union, np.finfo(union.dtype).tiny, out=union)
    return np.divide(intersection, union, out=intersection)


def box_refinement(box: ArrayLike, gt_box: ArrayLike) -> FloatArray:
    """The deltas from boxes to their ground truth (R-CNN, appendix C).

    Args:
        box: `[..., 4]`, boxes with an area above 0.
        gt_box: `[..., 4]`, the true boxes, in the same coordinates.

    Returns:
        `[..., 4]` deltas `(dy, dx, log(dh), log(dw))`: shifts of the center in heights and widths
        of `box`, and logarithms of the ratios of the sizes. Not divided by a standard deviation.
    """
    center_y, center_x, height, width = _centers_and_sizes(box)
    gt_center_y, gt_center_x, gt_height, gt_width = _centers_and_sizes(gt_box)
    return np.stack([(gt_center_y - center_y) / height, (gt_center_x - center_x) / width,
                     np.log(gt_height / height), np.log(gt_width / width)], axis=-1)


def apply_box_deltas(boxes: ArrayLike, deltas: ArrayLike) -> FloatArray:
    """Shifts and scales boxes by deltas; the inverse of `box_refinement`.

    Args:
        boxes: `[..., 4]`.
        deltas: `[..., 4]`, `(dy, dx, log(dh), log(dw))`, multiplied by the standard deviation
            that the model's deltas are divided by.

    Returns:
        `[..., 4]` boxes.
    """
    deltas = _floats(deltas)
    center_y, center_x, height, width = _centers_and_sizes(boxes)
    center_y = center_y + deltas[..., 0] * height
    center_x = center_x + deltas[..., 1] * width
    height = height * np.exp(deltas[..., 2])
    width = width * np.exp(deltas[..., 3])
    top, left = center_y - 0.5 * height, center_x - 0.5 * width
    return np.stack([top, left, top + height, left + width], axis=-1)


def _centers_and_sizes(values: ArrayLike) -> tuple[FloatArray, ...]:
    """Centers y and x, heights and widths `[...]` of boxes `[..., 4]`."""
    boxes = _floats(values)
    height, width = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return boxes[..., 0] + 0.5 * height, boxes[..., 1] + 0.5 * width, height, width


def norm_boxes(boxes: ArrayLike, shape: Shape) -> NormalizedBoxes:
    """Boxes from pixels to normalized coordinates, as the model's graph uses them.

    Args:
        boxes: `[..., 4]` pixels.
        shape: `(height, width)` of the padded image; further entries are ignored.

    Returns:
        `[..., 4]` float32, `(box - (0, 0, 1, 1)) / (h-1, w-1, h-1, w-1)`: the image's last pixel
        row is at 1, and `(y2, x2)` are the last row and column inside the box.
    """
    shift, scale = _normalization(shape)
    return ((np.asarray(boxes, np.float64) - shift) / scale).astype(np.float32)


def denorm_boxes(boxes: ArrayLike, shape: Shape, *, rounded: bool = True) -> Array:
    """Boxes from normalized coordinates to pixels.

    Args:
        boxes: `[..., 4]` normalized by `(h-1, w-1)`.
        shape: `(height, width)` of the padded image.
        rounded: False keeps the fractions of pixels.

    Returns:
        `[..., 4]` int32 pixels, or float32 when not rounded.
    """
    shift, scale = _normalization(shape)
    pixels = np.asarray(boxes, np.float64) * scale + shift
    return np.around(pixels).astype(np.int32) if rounded else pixels.astype(np.float32)


def _normalization(shape: Shape) -> tuple[FloatArray, FloatArray]:
    # For a side of one pixel, h - 1 is 0; 1 instead keeps its boxes finite.
    height, width = max(shape[0] - 1, 1), max(shape[1] - 1, 1)
    return np.array([0.0, 0.0, 1.0, 1.0]), np.array([height, width, height, width], np.float64)


def non_max_suppression(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> IntArray:
    """Greedy non-maximum suppression: keeps the best box, removes those that overlap it, repeats.

    Args:
        boxes: `[N, 4]`.
        scores: `[N]`; of equal ones, the first counts as better.
        threshold: a box is removed if its IoU with a better kept one is strictly above this.

    Returns:
        `[K]` int32 indices of the kept boxes, best first.

    Raises:
        ArgumentError: the boxes or scores are no finite numbers, or not equally many.
    """
    boxes, scores = as_boxes(boxes), _floats(scores)
    if scores.shape != boxes.shape[:1] or not (np.isfinite(boxes).all()
                                               and np.isfinite(scores).all()):
        raise ArgumentError(f"There are {len(boxes)} boxes and scores of the shape {scores.shape}; "
                            "give finite boxes [N, 4] and scores [N].")
    remaining = np.argsort(-scores, kind="stable")
    kept = []
    while remaining.size:
        block, remaining = remaining[:_NMS_BLOCK], remaining[_NMS_BLOCK:]
        block = block[_kept_positions(compute_overlaps(boxes[block], boxes[block]) > threshold)]
        kept.append(block)
        if remaining.size:
            removed = compute_overlaps(boxes[block], boxes[remaining]) > threshold
            remaining = remaining[~removed.any(axis=0)]
    return np.concatenate(kept).astype(np.int32) if kept else np.zeros(0, np.int32)


def _kept_positions(conflicts: BoolArray) -> IntArray:
    """Positions that greedy suppression keeps, for boxes in order with conflicts `[n, n]`."""
    alive = np.ones(len(conflicts), bool)
    for index in np.flatnonzero(np.triu(conflicts, 1).any(axis=1)):
        if alive[index]:
            alive[index + 1:] &= ~conflicts[index, index + 1:]
    return np.flatnonzero(alive)


def trim_zeros(x: ArrayLike) -> Array:
    """Removes the rows of `[N, ...]` that contain only zeros, as padding does."""
    x = np.asarray(x)
    return x[(x != 0).reshape(len(x), -1).any(axis=1)] if len(x) else x


def clip_boxes(boxes: ArrayLike, window: Sequence[float] | Array) -> Array:
    """Clips boxes to a window.

    Args:
        boxes: `[..., 4]`.
        window: `(y1, x1, y2, x2)` in the same coordinates.

    Returns:
        `[..., 4]` in the boxes' dtype; a box outside the window becomes an empty one on its
        border.
    """
    boxes = np.asarray(boxes)
    top, left, bottom, right = window
    low, high = (top, left, top, left), (bottom, right, bottom, right)
    return np.clip(boxes, low, high).astype(boxes.dtype, copy=False)


def extract_bboxes(mask: ArrayLike) -> IntArray:
    """The bounding boxes of masks.

    Args:
        mask: `[H, W, N]`, nonzero inside instance n.

    Returns:
        `[N, 4]` int32 pixels; zeros for an empty mask.

    Raises:
        ArgumentError: the masks have not three axes.
    """
    inside: BoolArray = np.asarray(mask) != 0
    if inside.ndim != 3:
        raise ArgumentError(f"The masks have the shape {inside.shape}; give [height, width, N].")
    boxes = np.zeros((inside.shape[-1], 4), np.int32)
    if inside.size == 0:
        return boxes
    rows = np.logical_or.reduce(inside, axis=1)
    columns = np.logical_or.reduce(inside, axis=0)
    height, width = inside.shape[:2]
    boxes[:, 0], boxes[:, 1] = rows.argmax(axis=0), columns.argmax(axis=0)
    boxes[:, 2] = height - rows[::-1].argmax(axis=0)
    boxes[:, 3] = width - columns[::-1].argmax(axis=0)
    boxes[~rows.any(axis=0)] = 0
    return boxes


def resize_bbox(bbox: ArrayLike, scale: float, padding: Sequence[Sequence[int]], *,
                crop: Sequence[int] | None = None) -> Boxes:
    """Boxes of an image, in the image that `resize_image` made of it.

    Args:
        bbox: `[..., 4]` pixels of the original image.
        scale, padding: from `resize_image`.
        crop: `(y, x, height, width)` from `resize_image`, in the resized image; boxes are shifted,
            not clipped to it.

    Returns:
        `[..., 4]` float32 pixels of the resized image.
    """
    top, left = padding[0][0], padding[1][0]
    if crop is not None:
        top, left = top - crop[0], left - crop[1]
    return (np.asarray(bbox, np.float64) * scale + (top, left, top, left)).astype(np.float32)


def as_boxes(values: ArrayLike) -> FloatArray:
    """Boxes as an array `[N, 4]` of floats; `[0, 4]` of anything empty, `[1, 4]` of one box.

    Raises:
        ArgumentError: they are no numbers, or not of four columns.
    """
    try:
        boxes = _floats(values)
    except (TypeError, ValueError):  # texts, or lists of different lengths
        raise ArgumentError("The boxes are not an array of numbers; give [N, 4].") from None
    if boxes.size and boxes.shape[-1] != 4:
        raise ArgumentError(f"The boxes have the shape {boxes.shape}; give [N, 4].")
    return boxes.reshape(-1, 4)


def _floats(values: ArrayLike) -> FloatArray:
    array: Array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(np.float64)
