"""Training targets on the host: for the RPN, and for the head when it trains on random RoIs.

Ren et al., "Faster R-CNN" (2015), sections 3.1.2 and 3.1.3, give the rules for the RPN; Girshick,
"Fast R-CNN" (2015), section 2.3, those for the head. The head's thresholds here are also those of
`frcnn.network.roi_targets`, which does the same inside the graph.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np

from frcnn.arrays import Array, Boxes, ClassIds, Deltas, FloatArray, IntArray, Seed, Shape
from frcnn.compatibility import refused_masks
from frcnn.config import Config
from frcnn.geometry.anchors import anchor_levels, pyramid_anchors
from frcnn.geometry.boxes import box_areas, box_refinement, compute_overlaps, trim_zeros

RPN_POSITIVE_IOU = 0.7  # an anchor with at least this IoU with an object is positive
RPN_NEGATIVE_IOU = 0.3  # one below this with every object is negative
ROI_POSITIVE_IOU = 0.5  # an RoI with at least this IoU with an object is positive, else negative
# A box that overlaps a crowd region this much may be one of its objects, so it is not a negative.
CROWD_IOU = 0.001

# One anchor level: (rows, columns, anchors a cell), see `anchor_levels`.
_Level: TypeAlias = tuple[int, int, int]
# The anchors that may overlap box number n, as an index into the level, and their IoU with it.
_BoxOverlaps: TypeAlias = tuple[int, Any, FloatArray]


# --- region proposal network ----------------------------------------------------------------


def build_rpn_targets(image_shape: Shape, anchors: FloatArray, gt_class_ids: ClassIds,
                      gt_boxes: Boxes, config: Config, rng: Seed = None,
                      ) -> tuple[IntArray, FloatArray]:
    """Which anchors are objects, which are background, and the deltas of the former.

    An anchor is positive when its IoU with an object is at least 0.7, or when no anchor has a
    better one with that object (all that tie are positive); negative when its IoU is below 0.3
    with every object and below 0.001 with every crowd region. Positives beyond half of
    `RPN_TRAIN_ANCHORS_PER_IMAGE`, and then negatives beyond the rest, become neutral at random.

    Unlike in the reference, an object that no anchor overlaps makes no anchor positive, and an
    image without objects has only negative and neutral anchors.

    Args:
        image_shape: `(height, width, ...)` of the molded image.
        anchors: `[A, 4]` float64 pixels, as `pyramid_anchors(config, image_shape)` gives them;
            others work too, more slowly. Float64, since rounding would break ties between anchors.
        gt_class_ids: `[N]` integers, negative for crowd regions, 0 for padding.
        gt_boxes: `[N, 4]` pixels.
        config: for the anchors' layout, `RPN_TRAIN_ANCHORS_PER_IMAGE` and `RPN_BBOX_STD_DEV`.
        rng: a `numpy.random.Generator`, a seed, or None.

    Returns:
        rpn_match: `[A]` int32: 1 positive, -1 negative, 0 neutral.
        rpn_bbox: `[RPN_TRAIN_ANCHORS_PER_IMAGE, 4]` float64 deltas, divided by the standard
            deviation, of the positive anchors in their order, each to the object that it overlaps
            most; zeros after them.
    """
    anchors = np.asarray(anchors, np.float64)
    gt_class_ids = np.asarray(gt_class_ids)
    true_boxes = np.asarray(gt_boxes, np.float64).reshape(-1, 4)
    objects, crowds = true_boxes[gt_class_ids > 0], true_boxes[gt_class_ids < 0]
    levels = _levels_of(anchors, image_shape, config)

    iou, owner, best_anchors = _match(anchors, objects, levels)
    match = np.zeros(len(anchors), np.int32)
    match[iou < RPN_NEGATIVE_IOU] = -1
    if len(crowds):
        crowd_iou, _, _ = _match(anchors, crowds, levels)
        match[crowd_iou >= CROWD_IOU] = 0
    match[best_anchors] = 1
    match[iou >= RPN_POSITIVE_IOU] = 1

    rng, total = np.random.default_rng(rng), config.RPN_TRAIN_ANCHORS_PER_IMAGE
    positives = _thin_out(match, 1, total // 2, rng)
    _thin_out(match, -1, total - len(positives), rng)
    bbox = np.zeros((total, 4))
    deltas = box_refinement(anchors[positives], objects[owner[positives]])
    bbox[: len(positives)] = deltas / np.asarray(config.RPN_BBOX_STD_DEV, np.float64)
    return match, bbox


def _levels_of(anchors: FloatArray, image_shape: Shape, config: Config) -> list[_Level] | None:
    """The layout of the anchors, or None when they are not those of the config."""
    expected = pyramid_anchors(config, image_shape)
    same = anchors is expected or np.array_equal(anchors, expected)
    return anchor_levels(config, image_shape) if same else None


def _match(anchors: FloatArray, boxes: FloatArray, levels: list[_Level] | None,
           ) -> tuple[FloatArray, IntArray, IntArray]:
    """Finds each anchor's best box and each box's best anchors.

    Returns:
        iou: `[A]` float64, of each anchor with the box that it overlaps most.
        owner: `[A]`, which box that is, the first of several; 0 where there is none.
        best_anchors: the anchors that overlap some box most, unordered; ties all count.
    """
    iou, owner = np.zeros(len(anchors)), np.zeros(len(anchors), np.int32)
    numbers = np.arange(len(anchors))
    best_iou, best_anchors = np.zeros(len(boxes)), [np.zeros(0, int) for _ in boxes]
    for level, shape, overlaps in _overlaps_by_level(anchors, boxes, levels):
        level_iou, level_owner, level_numbers = (
            array[level].reshape(shape) for array in (iou, owner, numbers))
        for box, cells, values in overlaps:
            better = values > level_iou[cells]
            np.copyto(level_iou[cells], values, where=better)
            np.copyto(level_owner[cells], box, where=better)
            largest = values.max(initial=0)
            if largest > best_iou[box]:
                best_iou[box], best_anchors[box] = largest, level_numbers[cells][values == largest]
            elif largest == best_iou[box] > 0:
                more = level_numbers[cells][values == largest]
                best_anchors[box] = np.concatenate([best_anchors[box], more])
    return iou, owner, np.concatenate([np.zeros(0, int), *best_anchors])


def _overlaps_by_level(anchors: FloatArray, boxes: FloatArray, levels: list[_Level] | None,
                       ) -> Iterator[tuple[slice, tuple[int, ...], Iterable[_BoxOverlaps]]]:
    """Yields `(slice of the anchors, its shape, ((box, cells, IoU of the cells), ...))`.

    Only cells around a box are computed. The values are those of `compute_overlaps`, to the bit.
    """
    if levels is None:
        yield slice(None), (len(anchors),), (
            (number, slice(None), compute_overlaps(anchors, box[None])[:, 0])
            for number, box in enumerate(boxes))
        return
    start = 0
    for shape in levels:
        level = slice(start, start + shape[0] * shape[1] * shape[2])
        start = level.stop
        yield level, shape, _grid_overlaps(anchors[level].reshape(*shape, 4), boxes)


def _grid_overlaps(grid: FloatArray, boxes: FloatArray) -> Iterator[_BoxOverlaps]:
    """Overlaps on a regular grid `[rows, columns, K, 4]`, where heights and widths separate."""
    heights, row_overlaps = _extents(grid[:, 0, :, 0], grid[:, 0, :, 2], boxes[:, 0], boxes[:, 2])
    widths, column_overlaps = _extents(grid[0, :, :, 1], grid[0, :, :, 3], boxes[:, 1], boxes[:, 3])
    row_ranges, column_ranges = _ranges(row_overlaps), _ranges(column_overlaps)
    for number, box_area in enumerate(box_areas(boxes)):
        rows, columns = row_ranges[number], column_ranges[number]
        if rows.stop == 0 or columns.stop == 0:
            continue
        overlap = row_overlaps[number, rows, None] * column_overlaps[number, None, columns]
        union = heights[rows, None] * widths[None, columns]
        union += box_area
        union -= overlap
        yield number, (rows, columns), np.divide(overlap, union, out=overlap)


def _extents(starts: FloatArray, stops: FloatArray, box_starts: FloatArray,
             box_stops: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lengths `[cells, K]` along one axis, and overlaps `[N, cells, K]` with N boxes."""
    overlaps = np.minimum(stops, box_stops[:, None, None])
    overlaps -= np.maximum(starts, box_starts[:, None, None])
    return stops - starts, np.maximum(overlaps, 0, out=overlaps)


def _ranges(overlaps: FloatArray) -> list[slice]:
    """For each box, the slice of the cells that overlap it; slice(0, 0) if there are none."""
    hit = np.asarray((overlaps > 0).any(axis=2))
    first = hit.argmax(axis=1)
    last = hit.shape[1] - hit[:, ::-1].argmax(axis=1)
    return [slice(a, b) if some else slice(0, 0)
            for a, b, some in zip(first, last, np.asarray(hit.any(axis=1)), strict=True)]


def _thin_out(match: IntArray, value: int, limit: int, rng: np.random.Generator) -> IntArray:
    """Makes random anchors neutral until at most `limit` match `value`; returns those left."""
    chosen = np.flatnonzero(match == value)
    if len(chosen) > limit:
        match[chosen] = 0
        chosen = np.sort(rng.choice(chosen, limit, replace=False, shuffle=False))
        match[chosen] = value
    return chosen


# --- head, on random RoIs -------------------------------------------------------------------


def generate_random_rois(image_shape: Shape, count: int, gt_class_ids: ClassIds, gt_boxes: Boxes,
                         rng: Seed = None) -> IntArray:
    """Random boxes to train the head without an RPN: 90 % around the objects, 10 % anywhere.

    Around an object means within its box grown by its own height and width on each side. The
    objects are used in turn. Without objects, all boxes are drawn anywhere; crowd regions do not
    count as objects.

    Args:
        image_shape: `(height, width, ...)` of the molded image.
        count: how many boxes.
        gt_class_ids: `[N]` integers.
        gt_boxes: `[N, 4]` pixels.
        rng: a `numpy.random.Generator`, a seed, or None.

    Returns:
        `[count, 4]` int32 pixels, each at least one pixel high and wide.
    """
    rng = np.random.default_rng(rng)
    boxes = np.asarray(gt_boxes, np.float64).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    objects = (np.asarray(gt_class_ids) > 0) & (sides > 0).all(axis=1)
    low = np.floor(boxes[:, :2] - sides)[objects]
    high = np.ceil(boxes[:, 2:] + sides)[objects]
    around = int(0.9 * count) if objects.any() else 0
    turns = np.resize(rng.permutation(len(low)), around)

    limit = np.array(image_shape[:2])
    low = np.concatenate([low[turns], np.zeros((count - around, 2))])
    high = np.concatenate([high[turns], np.broadcast_to(limit, (count - around, 2))])
    low = np.clip(low, 0, limit - 1).astype(np.int64)
    high = np.maximum(np.clip(high, 0, limit).astype(np.int64), low + 1)
    # Two different corners of each axis, all pairs equally likely.
    first, second = rng.integers(low, high, endpoint=True), rng.integers(low, high)
    second += second >= first
    corners = np.minimum(first, second), np.maximum(first, second)
    return np.concatenate(corners, axis=1).astype(np.int32)


@refused_masks(3, "rois, class_ids, bboxes = build_detection_targets(rpn_rois, gt_class_ids, "
                  "gt_boxes, config)")
def build_detection_targets(rpn_rois: Array, gt_class_ids: ClassIds, gt_boxes: Boxes,
                            config: Config, rng: Seed = None) -> tuple[Array, ClassIds, Deltas]:
    """Draws the RoIs that the head trains on, with their classes and deltas.

    An RoI is positive when its IoU with an object is at least 0.5, else negative, unless it
    overlaps a crowd region. At most `int(T * ROI_POSITIVE_RATIO)` of the T =
    `TRAIN_ROIS_PER_IMAGE` are positive; the rest are negatives, repeated when they are few.
    Without any negative, the rest are zeros, which count as background. Without objects, all are
    negative.

    Args:
        rpn_rois: `[R, 4]` pixels; rows of zeros are padding.
        gt_class_ids: `[N]` integers, negative for crowd regions, 0 for padding.
        gt_boxes: `[N, 4]` pixels.
        config: for `TRAIN_ROIS_PER_IMAGE, ROI_POSITIVE_RATIO, NUM_CLASSES, BBOX_STD_DEV`.
        rng: a `numpy.random.Generator`, a seed, or None.

    Returns:
        rois: `[T, 4]`, of the dtype of `rpn_rois`, the positive ones first.
        class_ids: `[T]` int32, 0 for negatives.
        bboxes: `[T, NUM_CLASSES, 4]` float32 deltas, divided by the standard deviation, in the
            row of the RoI's class; zeros elsewhere.
    """
    rng, total = np.random.default_rng(rng), config.TRAIN_ROIS_PER_IMAGE
    candidates = trim_zeros(np.asarray(rpn_rois).reshape(-1, 4))
    gt_class_ids = np.asarray(gt_class_ids)
    true_boxes = np.asarray(gt_boxes, np.float64).reshape(-1, 4)
    classes, objects = gt_class_ids[gt_class_ids > 0], true_boxes[gt_class_ids > 0]

    overlaps = compute_overlaps(candidates.astype(np.float64), objects)
    iou = overlaps.max(axis=1, initial=0)
    crowd_iou = compute_overlaps(candidates.astype(np.float64), true_boxes[gt_class_ids < 0])
    positive = np.flatnonzero(iou >= ROI_POSITIVE_IOU)
    negative = np.flatnonzero((iou < ROI_POSITIVE_IOU) & (crowd_iou < CROWD_IOU).all(axis=1))
    limit = int(total * config.ROI_POSITIVE_RATIO)
    positive = rng.permutation(positive)[:limit]

    chosen = np.concatenate([positive, _draw(negative, total - len(positive), rng)])
    rois = np.zeros((total, 4), candidates.dtype)
    rois[: len(chosen)] = candidates[chosen]
    class_ids = np.zeros(total, np.int32)
    bboxes = np.zeros((total, config.NUM_CLASSES, 4), np.float32)
    if len(positive):
        owner, rows = overlaps[positive].argmax(axis=1), np.arange(len(positive))
        class_ids[rows] = classes[owner]
        deltas = box_refinement(candidates[positive], objects[owner])
        bboxes[rows, class_ids[rows]] = deltas / np.asarray(config.BBOX_STD_DEV, np.float64)
    return rois, class_ids, bboxes


def _draw(values: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """`count` of the values in random order; repeats some once all are taken."""
    drawn = rng.permutation(values)[:count]
    if 0 < len(drawn) < count:
        return np.concatenate([drawn, rng.choice(drawn, count - len(drawn))])
    return drawn
