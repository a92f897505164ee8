"""Greedy non-maximum suppression of a batch, with static shapes."""

import math

from keras import ops

from frcnn.arrays import Tensor
from frcnn.network.ops.backend import uses_tensorflow_kernels
from frcnn.network.ops.boxes import overlaps_graph
from frcnn.network.ops.rows import pad_rows, take_rows


def nms_indices(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int,
                class_ids: Tensor = None, num_classes: int = 1) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression of a batch, with static shapes.

    A box is kept if no kept box of a higher score (of its class) overlaps it by more than the
    threshold; of equal scores the lower index precedes. TensorFlow's combined kernel runs where it
    is allowed (a few milliseconds for 6,000 boxes), else the portable version; both keep the same
    boxes.

    Args:
        boxes: float32 `[B, N, 4]`, any unit.
        scores: float32 `[B, N]`; a row of −inf is never kept.
        iou_threshold: see above.
        count: rows of the result.
        class_ids: int32 `[B, N]` from 0 to num_classes − 1; boxes of different classes do not
            suppress each other.
        num_classes: number of classes.

    Returns:
        indices int32 `[B, count]`, best first, and valid bool `[B, count]`.
    """
    order = ops.argsort(-scores, axis=1)
    boxes, scores = take_rows(boxes, order), take_rows(scores, order)
    if class_ids is not None:
        class_ids = take_rows(class_ids, order)
    if uses_tensorflow_kernels():
        kept, valid = _combined_nms(boxes, scores, iou_threshold, count, class_ids, num_classes)
    else:
        kept, valid = _portable_nms(boxes, scores, iou_threshold, count, class_ids)
    return take_rows(ops.cast(order, "int32"), kept), valid


def suppress(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int,
             class_ids: Tensor = None, num_classes: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes that `nms_indices` keeps, best first, zero rows after them.

    Args: as `nms_indices`.

    Returns:
        boxes `[B, count, 4]`, scores `[B, count]`, class ids int32 `[B, count]`.
    """
    indices, valid = nms_indices(boxes, scores, iou_threshold, count, class_ids, num_classes)
    if class_ids is None:
        class_ids = ops.zeros_like(scores, dtype="int32")
    kept_boxes, kept_scores, kept_ids = (take_rows(x, indices) for x in (boxes, scores, class_ids))
    return (ops.where(valid[..., None], kept_boxes, 0.0), ops.where(valid, kept_scores, 0.0),
            ops.where(valid, kept_ids, 0))


def soft_nms(boxes: Tensor, scores: Tensor, class_ids: Tensor, sigma: float, min_score: float,
             count: int) -> tuple[Tensor, Tensor]:
    """Soft non-maximum suppression with a Gaussian penalty, within each class.

    The best box is taken; the scores of the others of its class are multiplied by
    `exp(−IoU² / sigma)`; then the best of the rest, and so on, while scores reach `min_score`.

    Source: Bodla et al. 2017 (Soft-NMS), equation 2 in its Gaussian form.

    Args:
        boxes: float32 `[B, N, 4]`, any unit.
        scores: float32 `[B, N]`; a row of −inf is never taken.
        class_ids: int32 `[B, N]`.
        sigma: above 0.
        min_score: lowest score, as lowered, that is taken.
        count: rows of the result, at most N.

    Returns:
        indices int32 `[B, count]`, in the order in which the boxes were taken, and their lowered
        scores `[B, count]`, descending; 0 where there was none left.
    """
    total = scores.shape[1]
    slots = ops.arange(count, dtype="int32")[None, :]
    rows = ops.arange(total, dtype="int32")[None, :]

    def take_best(step: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        left, indices, taken = state
        best = ops.cast(ops.argmax(left, axis=1), "int32")[:, None]
        score = ops.max(left, axis=1, keepdims=True)
        is_taken = score >= min_score
        here = ops.logical_and(ops.equal(slots, step), is_taken)
        indices = ops.where(here, best, indices)
        taken = ops.where(here, score, taken)
        overlap = overlaps_graph(boxes, take_rows(boxes, best))[:, :, 0]
        is_lowered = ops.logical_and(ops.equal(class_ids, take_rows(class_ids, best)),
                                     left > -math.inf)  # −inf times 0 would be NaN
        left = ops.where(is_lowered, left * ops.exp(-ops.square(overlap) / sigma), left)
        left = ops.where(ops.equal(rows, best), -math.inf, left)
        return left, indices, taken

    start = (scores, ops.zeros_like(scores[:, :1], dtype="int32") + 0 * slots,
             ops.zeros_like(scores[:, :1]) + 0.0 * ops.cast(slots, "float32"))
    _, indices, taken = ops.fori_loop(0, count, take_best, start)
    return indices, taken


def _combined_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int,
                  class_ids: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """By TensorFlow's kernel; rows are sorted. Returns row numbers and valid, `[B, count]`."""
    import tensorflow as tf

    # The kernel breaks ties in no set order and returns no indices. So its scores are the rows'
    # places counted from the end, which have no ties and identify the row.
    total = ops.shape(scores)[1]
    place = ops.cast(total - ops.arange(total), "float32")
    place = ops.where(scores > -math.inf, place, 0.0)[..., None]
    if class_ids is not None:
        place = place * ops.one_hot(class_ids, num_classes, dtype="float32")
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, None, :], place, max_output_size_per_class=count, max_total_size=count,
        iou_threshold=iou_threshold, score_threshold=0.5, clip_boxes=False).nmsed_scores
    valid = found > 0.5
    return ops.where(valid, total - ops.cast(found, "int32"), 0), valid


def _portable_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int,
                  class_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The same in `keras.ops`.

    Which rows are kept is a recursion over the sorted rows. It is solved by iterating it on all
    rows at the same time until nothing changes, which takes as many rounds as the longest chain of
    boxes that suppress each other, commonly below ten.
    """
    total = ops.shape(scores)[1]
    rank = ops.arange(total, dtype="int32")
    over = ops.logical_and(overlaps_graph(boxes, boxes) > iou_threshold,
                           rank[:, None] < rank[None, :])
    if class_ids is not None:
        over = ops.logical_and(over, ops.equal(class_ids[:, :, None], class_ids[:, None, :]))
    candidate = scores > -math.inf

    def step(keep: Tensor, changed: Tensor) -> tuple[Tensor, Tensor]:
        suppressed = ops.any(ops.logical_and(over, keep[:, :, None]), axis=1)
        new = ops.logical_and(candidate, ops.logical_not(suppressed))
        return new, ops.any(ops.not_equal(new, keep))

    keep, _ = ops.while_loop(lambda keep, changed: changed, step,
                             (candidate, ops.any(candidate)))
    kept = ops.argsort(ops.where(keep, rank, total + rank), axis=1)[:, :count]
    valid = take_rows(keep, kept)
    return pad_rows(ops.cast(kept, "int32"), count), pad_rows(valid, count)
