"""Greedy non-maximum suppression of a batch, with static shapes."""

import math

from keras import ops

from frcnn.arrays import Tensor
from frcnn.network.ops.backend import argmax, current_export_target, uses_tensorflow_kernels
from frcnn.network.ops.boxes import overlaps_graph
from frcnn.network.ops.by_image import by_image
from frcnn.network.ops.rows import take_rows

# Rows that the portable version suppresses at a time.
BLOCK = 512


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
    def keep(boxes: Tensor, scores: Tensor, class_ids: Tensor = None) -> tuple[Tensor, Tensor]:
        return _nms(boxes, scores, iou_threshold, count, class_ids, num_classes)

    return by_image(keep, boxes, scores, *([] if class_ids is None else [class_ids]))


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int, class_ids: Tensor,
         num_classes: int) -> tuple[Tensor, Tensor]:
    order = ops.argsort(-scores, axis=1)
    boxes, scores = take_rows(boxes, order), take_rows(scores, order)
    if class_ids is not None:
        class_ids = take_rows(class_ids, order)
    if uses_tensorflow_kernels() or current_export_target() == "onnx":
        kept, valid = _combined_nms(boxes, scores, iou_threshold, count, class_ids, num_classes)
    elif current_export_target() == "litert":
        kept, valid = _single_nms(boxes, scores, iou_threshold, count, class_ids)
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
        best = argmax(left, axis=1)[:, None]
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


def _single_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int,
                class_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The same for a batch of one, by the operator that LiteRT has; rows are sorted."""
    import tensorflow as tf

    if class_ids is not None:  # boxes are normalized: those of different classes do not meet
        boxes = boxes + 2.0 * ops.cast(class_ids, "float32")[..., None]
    total = ops.shape(scores)[1]
    place = ops.cast(total - ops.arange(total), "float32")  # as in `_combined_nms`
    place = ops.where(scores > -math.inf, place, 0.0)
    kept, found = tf.raw_ops.NonMaxSuppressionV4(
        boxes=boxes[0], scores=place[0], max_output_size=count, iou_threshold=iou_threshold,
        score_threshold=0.5, pad_to_max_output_size=True)
    valid = ops.arange(count, dtype="int32") < found
    return ops.where(valid, kept, 0)[None], valid[None]


def _portable_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int,
                  class_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The same in `keras.ops`.

    Blocks of rows are compared with the rows kept so far and with themselves, until `count` are
    kept. So no matrix of all pairs exists: it would have 36 million numbers an image in detection.
    """
    boxes = ops.stop_gradient(boxes)  # a loop of unknown length has no gradient on JAX
    total = scores.shape[1]
    size = BLOCK if total is None else min(BLOCK, total)
    is_candidate = scores > -math.inf
    candidates = ops.sum(ops.cast(is_candidate, "int32"), axis=1)  # they come first
    # The last block may reach beyond the last row.
    rows = [ops.pad(x, [[0, 0], [0, size]] + [[0, 0]] * (len(x.shape) - 2))
            for x in (boxes, is_candidate, *([] if class_ids is None else [class_ids]))]
    image = ops.broadcast_to(ops.arange(ops.shape(scores)[0], dtype="int32")[:, None],
                             (ops.shape(scores)[0], size))

    def goes_on(start: Tensor, kept: Tensor, found: Tensor) -> Tensor:
        return ops.any(ops.logical_and(found < count, start < candidates))

    def take_block(start: Tensor, kept: Tensor, found: Tensor) -> tuple[Tensor, ...]:
        numbers = start + ops.arange(size, dtype="int32")
        block, is_free, *ids = (ops.take(x, numbers, axis=1) for x in rows)
        earlier, _, *earlier_ids = (take_rows(x, kept) for x in rows)
        is_kept = ops.arange(count + 1, dtype="int32")[None] < found[:, None]
        over = ops.logical_and(_overlap(earlier, block, iou_threshold, *earlier_ids, *ids),
                               is_kept[:, :, None])
        is_free = ops.logical_and(is_free, ops.logical_not(ops.any(over, axis=1)))
        keep = _greedy(is_free, _overlap(block, block, iou_threshold, *ids, *ids))
        place = found[:, None] + ops.cumsum(ops.cast(keep, "int32"), axis=1) - 1
        place = ops.where(ops.logical_and(keep, place < count), place, count)  # the last is spare
        kept = ops.scatter_update(
            kept, ops.reshape(ops.stack([image, place], axis=2), (-1, 2)),
            ops.reshape(ops.zeros_like(place) + numbers, (-1,)))
        found = ops.minimum(found + ops.sum(ops.cast(keep, "int32"), axis=1), count)
        return start + size, kept, found

    nothing = ops.zeros_like(candidates)
    _, kept, found = ops.while_loop(goes_on, take_block, (
        ops.cast(0, "int32"), nothing[:, None] + ops.zeros((1, count + 1), "int32"), nothing))
    valid = ops.arange(count, dtype="int32")[None] < found[:, None]
    return ops.where(valid, kept[:, :count], 0), valid


def _overlap(earlier: Tensor, later: Tensor, iou_threshold: float,
             earlier_ids: Tensor = None, later_ids: Tensor = None) -> Tensor:
    """Whether boxes overlap by more than the threshold, and are of one class: bool `[B, N, M]`."""
    over = overlaps_graph(earlier, later) > iou_threshold
    if earlier_ids is None:
        return over
    return ops.logical_and(over, ops.equal(earlier_ids[:, :, None], later_ids[:, None, :]))


def _greedy(candidate: Tensor, over: Tensor) -> Tensor:
    """The candidates `[B, N]` that no earlier one that is kept overlaps, by `over` `[B, N, N]`.

    That is a recursion over the rows. It is solved by iterating it on all rows at the same time
    until nothing changes, which takes as many rounds as the longest chain of boxes that suppress
    each other, commonly below ten.
    """
    rank = ops.arange(over.shape[1], dtype="int32")
    over = ops.logical_and(over, rank[:, None] < rank[None, :])

    def step(keep: Tensor, changed: Tensor) -> tuple[Tensor, Tensor]:
        suppressed = ops.any(ops.logical_and(over, keep[:, :, None]), axis=1)
        new = ops.logical_and(candidate, ops.logical_not(suppressed))
        return new, ops.any(ops.not_equal(new, keep))

    keep, _ = ops.while_loop(lambda keep, changed: changed, step, (candidate, ops.any(candidate)))
    return keep
