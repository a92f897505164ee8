"""Detections of one image against its objects: matching, average precision, recall.

Boxes are `(y1, x1, y2, x2)` with `(y2, x2)` outside, all in one unit (pixels or normalized); class
ids are integers, negative for a crowd region. Rows of zeros are padding and are dropped.
"""

from dataclasses import dataclass

import numpy as np

from frcnn.arrays import Array, ArrayLike, BoolArray, FloatArray, IntArray
from frcnn.compatibility import SINGULAR_NAMES, renamed, without_masks
from frcnn.errors import ArgumentError
from frcnn.geometry.boxes import as_boxes, compute_overlaps

IOU_THRESHOLD = 0.5  # of AP50, and of all matching unless another one is given
COCO_IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of AP


@dataclass(frozen=True)
class ImageMatches:
    """Objects and detections of one image, and which of them belong together.

    Attributes:
        gt_boxes: `[G, 4]`, the objects without padding.
        gt_class_ids: `[G]` int, negative for a crowd region.
        boxes: `[P, 4]`, the detections that count, without padding, best score first.
        class_ids: `[P]` int.
        scores: `[P]` float.
        overlaps: `[P, G]` float, IoU of each detection with each object.
        gt_match: `[G]` int, the detection that matches the object, or -1.
        pred_match: `[P]` int, the object of the same class that the detection matches, or -1.
        confused_with: `[P]` int, for a detection without a match the object of another class that
            it covers, or -1.
        in_crowd: `[P]` bool, whether the detection is inside a crowd region of its class.
    """

    gt_boxes: FloatArray
    gt_class_ids: IntArray
    boxes: FloatArray
    class_ids: IntArray
    scores: FloatArray
    overlaps: FloatArray
    gt_match: IntArray
    pred_match: IntArray
    confused_with: IntArray
    in_crowd: BoolArray


def match_image(gt_boxes: ArrayLike, gt_class_ids: ArrayLike, pred_boxes: ArrayLike,
                pred_class_ids: ArrayLike, pred_scores: ArrayLike,
                iou_threshold: float = IOU_THRESHOLD,
                score_threshold: float = 0.0) -> ImageMatches:
    """Matches the detections of one image with its objects, first within classes, then across.

    Args:
        gt_boxes: `[G, 4]`; padding is dropped.
        gt_class_ids: `[G]` int, negative for a crowd region.
        pred_boxes: `[P, 4]`; padding is dropped.
        pred_class_ids: `[P]` int.
        pred_scores: `[P]` float.
        iou_threshold: least IoU of a match, and least share of a detection inside a crowd region.
        score_threshold: detections with a lower score are dropped.

    Returns:
        ImageMatches.
    """
    gt_boxes, gt_class_ids = _drop_padding(gt_boxes, np.asarray(gt_class_ids, int))
    boxes, class_ids, scores = _sort_by_score(pred_boxes, np.asarray(pred_class_ids, int),
                                              np.asarray(pred_scores, float))
    count = np.count_nonzero(scores >= score_threshold)
    boxes, class_ids, scores = boxes[:count], class_ids[:count], scores[:count]
    gt_match, pred_match, overlaps = compute_matches(gt_boxes, gt_class_ids, boxes, class_ids,
                                                     scores, iou_threshold)
    confused_with = match_leftovers(gt_match, pred_match, overlaps, gt_class_ids, iou_threshold)
    in_crowd = inside_crowd(gt_boxes, gt_class_ids, boxes, class_ids, scores, iou_threshold)
    return ImageMatches(gt_boxes, gt_class_ids, boxes, class_ids, scores, overlaps,
                        gt_match.astype(int), pred_match.astype(int), confused_with, in_crowd)


@without_masks(0, 2, 6)
def compute_matches(gt_boxes: ArrayLike, gt_class_ids: ArrayLike, pred_boxes: ArrayLike,
                    pred_class_ids: ArrayLike, pred_scores: ArrayLike,
                    iou_threshold: float = IOU_THRESHOLD, score_threshold: float = 0.0
                    ) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gives each detection, best score first, the free object of its class that it overlaps most.

    The reference compares `score_threshold` with the IoU, where it has no effect below
    `iou_threshold`; here it is compared with the score.

    Args:
        gt_boxes: `[G, 4]`; padding is dropped.
        gt_class_ids: `[G]` int; a negative one, a crowd region's, is never matched.
        pred_boxes: `[P, 4]`; padding is dropped.
        pred_class_ids: `[P]` int.
        pred_scores: `[P]` float.
        iou_threshold: least IoU of a match.
        score_threshold: detections with a lower score stay unmatched.

    Returns:
        gt_match: `[G']` float, for each object the detection that matches it (a row of `overlaps`),
            or -1.
        pred_match: `[P']` float, for each detection, best score first, the matched object, or -1.
        overlaps: `[P', G']` float, IoU of each detection, best score first, with each object.
    """
    gt_boxes, gt_class_ids = _drop_padding(gt_boxes, gt_class_ids)
    pred_boxes, pred_class_ids, pred_scores = _sort_by_score(
        pred_boxes, pred_class_ids, pred_scores)
    overlaps = _overlaps(pred_boxes, gt_boxes)
    gt_match = np.full(len(gt_boxes), -1.0)
    pred_match = np.full(len(pred_boxes), -1.0)
    for i in np.flatnonzero(pred_scores >= score_threshold):
        candidates = (gt_match < 0) & (gt_class_ids == pred_class_ids[i])
        candidates &= overlaps[i] >= iou_threshold
        if candidates.any():
            j = np.argmax(np.where(candidates, overlaps[i], -1))
            gt_match[j], pred_match[i] = i, j
    return gt_match, pred_match, overlaps


@without_masks(0, 2, 6)
def compute_ap(gt_boxes: ArrayLike, gt_class_ids: ArrayLike, pred_boxes: ArrayLike,
               pred_class_ids: ArrayLike, pred_scores: ArrayLike,
               iou_threshold: float = IOU_THRESHOLD
               ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """Average precision of one image, all classes in one ranking: the area under the envelope.

    Unlike the reference, a crowd region is not an object to be found, and an unmatched detection of
    its class inside it (by `iou_threshold` of the detection's own area, as COCO counts) is neither
    a hit nor false; without crowd regions the figures are the same. An image without objects has no
    AP: average with `np.nanmean`.

    Args: as of `compute_matches`.

    Returns:
        mAP: float from 0 to 1, or NaN when there is no object (a crowd region is none).
        precisions: `[P'' + 2]` float, the envelope, for the detections best first, between
            sentinels; it never rises.
        recalls: `[P'' + 2]` float, the same way, from 0 to 1.
        overlaps: `[P', G']` float, as of `compute_matches`, with the crowd regions.
    """
    _, pred_match, overlaps = compute_matches(
        gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores, iou_threshold)
    kept = ~inside_crowd(gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores,
                         iou_threshold) | (pred_match >= 0)
    hits = np.cumsum(pred_match[kept] >= 0)
    objects = int(np.count_nonzero(_drop_padding(gt_boxes, gt_class_ids)[1] > 0))

    precisions = np.concatenate([[0], hits / np.arange(1, len(hits) + 1), [0]])
    recalls = np.concatenate([[0], hits / max(objects, 1), [1]])
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    steps = np.diff(recalls)
    average = float(np.sum(steps * precisions[1:])) if objects else float("nan")
    return average, precisions, recalls, overlaps


@without_masks(0, 2, 6)
@renamed(**SINGULAR_NAMES)
def compute_ap_range(gt_boxes: ArrayLike, gt_class_ids: ArrayLike, pred_boxes: ArrayLike,
                     pred_class_ids: ArrayLike, pred_scores: ArrayLike,
                     iou_thresholds: ArrayLike | None = None,
                     verbose: int = 0) -> float:
    """Mean of `compute_ap` over IoU thresholds, 0.5 to 0.95 in steps of 0.05 unless given.

    With `verbose` it prints the AP at each threshold and the mean; silent by default.

    Returns:
        float from 0 to 1, or NaN when there is no object.
    """
    thresholds = COCO_IOU_THRESHOLDS if iou_thresholds is None else np.atleast_1d(iou_thresholds)
    figures = []
    for threshold in thresholds:
        average = compute_ap(gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores,
                             iou_threshold=threshold)[0]
        figures.append(average)
        if verbose:
            print(f"AP @{threshold:.2f}:\t {average:.3f}")
    mean = float(np.mean(figures))
    if verbose:
        print(f"AP @{thresholds[0]:.2f}-{thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_recall(pred_boxes: ArrayLike, gt_boxes: ArrayLike, iou: float
                   ) -> tuple[float, IntArray]:
    """Share of the objects that boxes find, whatever the class; for proposals.

    A box finds the object that it overlaps most, if by at least `iou`, and no other.

    Args:
        pred_boxes: `[P, 4]`.
        gt_boxes: `[G, 4]`.
        iou: least IoU.

    Returns:
        recall: float from 0 to 1, or NaN when there is no object.
        positive_ids: `[K]` int, the boxes that find one.
    """
    pred_boxes, gt_boxes = as_boxes(pred_boxes), as_boxes(gt_boxes)
    if not len(gt_boxes):
        return float("nan"), np.zeros(0, int)
    overlaps = _overlaps(pred_boxes, gt_boxes)
    positive_ids = np.flatnonzero(overlaps.max(axis=1) >= iou)
    found = np.unique(overlaps.argmax(axis=1)[positive_ids])
    return len(found) / len(gt_boxes), positive_ids


def match_leftovers(gt_match: Array, pred_match: Array, overlaps: FloatArray,
                    gt_class_ids: ArrayLike, iou_threshold: float = IOU_THRESHOLD) -> IntArray:
    """Pairs detections and objects that `compute_matches` left unmatched, across classes.

    Args:
        gt_match, pred_match, overlaps: as `compute_matches` gives them.
        gt_class_ids: `[G']` int; crowd regions are left out.
        iou_threshold: least IoU of a pair.

    Returns:
        `[P']` int, the object that an unmatched detection covers, or -1.
    """
    free = (gt_match < 0) & (np.asarray(gt_class_ids) > 0)
    partner = np.full(len(pred_match), -1)
    for i in np.flatnonzero(pred_match < 0):
        candidates = free & (overlaps[i] >= iou_threshold)
        if candidates.any():
            partner[i] = np.argmax(np.where(candidates, overlaps[i], -1))
            free[partner[i]] = False
    return partner


def inside_crowd(gt_boxes: ArrayLike, gt_class_ids: ArrayLike, pred_boxes: ArrayLike,
                 pred_class_ids: ArrayLike, pred_scores: ArrayLike, threshold: float) -> BoolArray:
    """Which detections are inside a crowd region of their class, as COCO counts it.

    Args: as of `compute_matches`; `threshold` is the least share of the detection's own area.

    Returns:
        `[P']` bool, best score first.
    """
    gt_boxes, gt_class_ids = _drop_padding(gt_boxes, gt_class_ids)
    boxes, class_ids, _ = _sort_by_score(pred_boxes, pred_class_ids, pred_scores)
    crowds, crowd_ids = gt_boxes[gt_class_ids < 0], -gt_class_ids[gt_class_ids < 0]
    corner1 = np.maximum(boxes[:, None, :2], crowds[None, :, :2])
    corner2 = np.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    shared = np.prod(np.maximum(corner2 - corner1, 0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None]
    inside = (shared >= threshold * area) & (class_ids[:, None] == crowd_ids[None, :])
    return inside.any(axis=1)


def _drop_padding(boxes: ArrayLike, *columns: ArrayLike) -> tuple[Array, ...]:
    """The rows that are not padding; a column may be longer, by padding of its own.

    Raises:
        ArgumentError: a box or score is not finite, or a column does not fit the boxes.
    """
    boxes = as_boxes(boxes)
    if not np.isfinite(boxes).all():
        raise ArgumentError("A box is NaN or infinite; leave it out.")
    arrays = [np.asarray(column) for column in columns]
    for array in arrays:
        if array.ndim != 1 or len(array) < len(boxes) or array[len(boxes):].any():
            raise ArgumentError(f"There are {len(boxes)} boxes, but class ids or scores of the "
                                f"shape {array.shape}; give one for each box.")
        if array.dtype.kind not in "iufb" or not np.isfinite(array).all():
            raise ArgumentError("A class id or score is no finite number; leave its box out.")
    real = np.any(boxes != 0, axis=1)
    return (boxes[real], *(array[: len(real)][real] for array in arrays))


def _sort_by_score(boxes: ArrayLike, class_ids: ArrayLike, scores: ArrayLike
                   ) -> tuple[Array, ...]:
    boxes, class_ids, scores = _drop_padding(boxes, class_ids, scores)
    order = np.argsort(-scores, kind="stable")
    return boxes[order], class_ids[order], scores[order]


def _overlaps(boxes1: Array, boxes2: Array) -> FloatArray:
    if not len(boxes1) or not len(boxes2):
        return np.zeros((len(boxes1), len(boxes2)))
    return compute_overlaps(boxes1, boxes2)
