"""Box arithmetic and suppression on tensors; the only file that may name a backend.

Boxes are `(y1, x1, y2, x2)`. Inside the model they are normalized: (0, 0, 1, 1) spans the centres
of the corner pixels, so a pixel box is `(box - (0, 0, 1, 1)) / (h-1, w-1, h-1, w-1)`.
"""

import contextlib
import math

import keras
import numpy as np
from keras import ops

# --- kernels ----------------------------------------------------------------------------------

_portable_depth = 0


@contextlib.contextmanager
def portable_kernels(enabled=True):
    """While this is open, traced code uses `keras.ops` only, no kernel of one backend.

    TensorFlow's own kernels are faster on a CPU, but have no XLA version: the model opens this
    around its call whenever it is to be compiled with `jit_compile=True`.
    """
    global _portable_depth
    _portable_depth += bool(enabled)
    try:
        yield
    finally:
        _portable_depth -= bool(enabled)


def uses_tensorflow_kernels():
    """Whether TensorFlow's own kernels may be traced now."""
    return keras.backend.backend() == "tensorflow" and not _portable_depth


def has_accelerator():
    """Whether Keras computes on something else than a CPU."""
    return any(not name.lower().startswith("cpu") for name in keras.distribution.list_devices())


def compiled_sums(variables):
    """A function without arguments that gives the sum over each Keras variable, float32 `[N]`."""
    if not variables:
        return lambda: np.zeros(0, np.float32)

    def sums(values):
        return ops.stack([ops.sum(ops.cast(value, "float32")) for value in values])

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        run = tf.function(lambda: sums(variables))
        return lambda: run().numpy()
    return lambda: ops.convert_to_numpy(sums(variables))


def compiled(model):
    """A function of arrays: what a Keras model predicts of a batch, as a NumPy array.

    TensorFlow traces it once, for whatever shapes the model's inputs allow.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]

        @tf.function(input_signature=signature, jit_compile=bool(model.jit_compile),
                     autograph=False)
        def run(*inputs):
            return model(list(inputs), training=False)

        return lambda *inputs: run(*inputs).numpy()
    return lambda *inputs: np.asarray(model.predict_on_batch(list(inputs)))


# --- boxes ------------------------------------------------------------------------------------


def norm_boxes_graph(boxes, shape):
    """Pixel boxes `[..., 4]` of an image of `shape` (height, width), normalized; float32."""
    scale, shift = _box_scale(shape)
    return (ops.cast(boxes, "float32") - shift) / scale


def denorm_boxes_graph(boxes, shape):
    """Normalized boxes `[..., 4]` in pixels of an image of `shape`, rounded to int32."""
    scale, shift = _box_scale(shape)
    return ops.cast(ops.round(ops.cast(boxes, "float32") * scale + shift), "int32")


def denorm_boxes_exactly(boxes, shape):
    """Normalized boxes `[..., 4]` in float32 pixels of an image of `shape`, not rounded.

    shape: (height, width), numbers or tensors that broadcast against `[...]`.
    """
    scale, shift = _box_scale(shape)
    return boxes * scale + shift


def _box_scale(shape):
    height, width = (ops.cast(shape[i], "float32") for i in (0, 1))
    scale = ops.stack([height, width, height, width], axis=-1) - 1.0
    return scale, ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])


def _split(boxes):
    return ops.unstack(boxes, 4, axis=-1)


def apply_box_deltas_graph(boxes, deltas):
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


def box_refinement_graph(box, gt_box):
    """The deltas `[..., 4]` that move `box` onto `gt_box`; the inverse of applying them."""
    y1, x1, y2, x2 = _split(ops.cast(box, "float32"))
    gt_y1, gt_x1, gt_y2, gt_x2 = _split(ops.cast(gt_box, "float32"))
    height, width = y2 - y1, x2 - x1
    gt_height, gt_width = gt_y2 - gt_y1, gt_x2 - gt_x1
    dy = (gt_y1 + 0.5 * gt_height - y1 - 0.5 * height) / height
    dx = (gt_x1 + 0.5 * gt_width - x1 - 0.5 * width) / width
    return ops.stack([dy, dx, ops.log(gt_height / height), ops.log(gt_width / width)], axis=-1)


def clip_boxes_graph(boxes, window):
    """Boxes `[..., 4]` clipped to a window `[4]` (or `[..., 4]`, broadcast), same units."""
    top, left, bottom, right = _split(ops.cast(window, "float32"))
    y1, x1, y2, x2 = _split(boxes)
    y1, y2 = (ops.clip(y, top, bottom) for y in (y1, y2))
    x1, x2 = (ops.clip(x, left, right) for x in (x1, x2))
    return ops.stack([y1, x1, y2, x2], axis=-1)


def overlaps_graph(boxes1, boxes2):
    """IoU of every pair: `[..., N, 4]` and `[..., M, 4]` → float32 `[..., N, M]`.

    Two boxes of zero area have an IoU of 0 (not NaN).
    """
    y1, x1, y2, x2 = (side[..., :, None] for side in _split(boxes1))
    v1, u1, v2, u2 = (side[..., None, :] for side in _split(boxes2))
    height = ops.maximum(ops.minimum(y2, v2) - ops.maximum(y1, v1), 0.0)
    width = ops.maximum(ops.minimum(x2, u2) - ops.maximum(x1, u1), 0.0)
    shared = height * width
    union = (y2 - y1) * (x2 - x1) + (v2 - v1) * (u2 - u1) - shared
    # Not every kernel guards a division that `where` then discards.
    positive = union > 0.0
    return ops.where(positive, shared / ops.where(positive, union, 1.0), 0.0)


def log2_graph(x):
    """Logarithm of base 2, elementwise."""
    return ops.log(x) / math.log(2.0)


# --- rows -------------------------------------------------------------------------------------


def take_rows(x, indices):
    """Rows of each image: x `[B, N, ...]`, indices int `[B, K]` in 0 … N − 1 → `[B, K, ...]`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One node of the graph, where the general function makes some seventy.
        return tf.gather(x, indices, axis=1, batch_dims=1)
    for _ in x.shape[2:]:
        indices = ops.expand_dims(indices, axis=-1)
    return ops.take_along_axis(x, indices, axis=1)


def take_rows_summing(x, indices):
    """As `take_rows` for x `[B, N, C]`, but the gradient of rows taken often is summed in float32.

    In bfloat16 such a sum stops growing at 256 times a number. Casting x beforehand would do the
    same, at the cost of a copy of twice the size.
    """
    shape, dtype = ops.shape(x), x.dtype

    @ops.custom_gradient
    def take(x):
        def slopes(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            first = ops.arange(shape[0], dtype="int32")[:, None] * shape[1]
            summed = ops.segment_sum(
                ops.reshape(ops.cast(upstream, "float32"), (-1, shape[2])),
                ops.reshape(indices + first, (-1,)), num_segments=shape[0] * shape[1])
            return ops.cast(ops.reshape(summed, shape), dtype)

        return take_rows(x, indices), slopes

    return take(x)


def take_of_each(x, indices):
    """One entry of each row: x `[B, N, C, D]`, indices int `[B, N]` in 0 … C − 1 → `[B, N, D]`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(x, indices, axis=2, batch_dims=2)
    return ops.take_along_axis(x, indices[:, :, None, None], axis=2)[:, :, 0]


def pad_rows(x, count):
    """x `[B, N, ...]` with zero rows added at the end, until there are at least `count`.

    Where N is not known when traced, exactly `count` rows come out.
    """
    rows, rest = x.shape[1], x.shape[2:]
    if rows is not None and rows >= count:
        return x
    missing = count if rows is None else count - rows
    x = ops.pad(x, [[0, 0], [0, missing]] + [[0, 0]] * len(rest))[:, :count]
    return ops.reshape(x, (-1, count, *rest))  # from here on the number is known


def smaller(limit, size):
    """min(limit, size) where size may be a number or, for a dynamic axis, a tensor."""
    return min(limit, size) if isinstance(size, int) else ops.minimum(limit, size)


def trim_zeros_graph(boxes, name=None):
    """The rows of boxes `[N, 4]` that are not all zero, and their mask `[N]`.

    The result's shape depends on the data, so this is for eager use and TensorFlow only.
    """
    non_zeros = ops.any(ops.not_equal(boxes, 0), axis=1)
    rows = ops.reshape(ops.stack(ops.nonzero(non_zeros)), (-1,))
    return ops.take(boxes, rows, axis=0), non_zeros


def batch_pack_graph(x, counts, num_rows):
    """The first `counts[i]` rows of each `x[i]`, packed into one tensor `[sum(counts), ...]`.

    The result's shape depends on the data, so this is for eager use and TensorFlow only.
    """
    return ops.concatenate([x[i, : counts[i]] for i in range(num_rows)], axis=0)


def batch_slice(inputs, graph_fn, batch_size, names=None):
    """Runs `graph_fn` on each image's slice of the inputs, and stacks the results.

    Args:
        inputs: a tensor `[B, ...]` or a list of them.
        graph_fn: takes one slice of each input, returns a tensor or a list of them.
        batch_size: B.
        names: kept for older scripts; tensors have no settable names in Keras 3.

    Returns:
        A tensor, or a list of them, `[B, ...]`.
    """
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    results = [graph_fn(*(x[i] for x in inputs)) for i in range(batch_size)]
    if not isinstance(results[0], (list, tuple)):
        return ops.stack(results)
    return [ops.stack(column) for column in zip(*results)]


# --- suppression ------------------------------------------------------------------------------


def nms_indices(boxes, scores, iou_threshold, count, class_ids=None, num_classes=1):
    """Greedy non-maximum suppression of a batch, with static shapes.

    A box is kept if no kept box of a higher score (of its class) overlaps it by more than the
    threshold; at equal scores the lower index goes first. TensorFlow's combined kernel runs where
    it may (a few milliseconds for 6,000 boxes), else the portable version; both keep the same.

    Args:
        boxes: float32 `[B, N, 4]`, any unit.
        scores: float32 `[B, N]`; a row of −inf never comes out.
        count: how many rows come out.
        class_ids: int32 `[B, N]` in 0 … num_classes − 1; boxes of different classes do not
            suppress each other.

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


def suppress(boxes, scores, iou_threshold, count, class_ids=None, num_classes=1):
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


def _combined_nms(boxes, scores, iou_threshold, count, class_ids, num_classes):
    """By TensorFlow's kernel; rows are sorted. Returns row numbers and valid, `[B, count]`."""
    import tensorflow as tf

    # The kernel breaks ties in no set order and returns no indices. So its scores are the rows'
    # places counted from the end: without ties, and telling which row was kept.
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


def _portable_nms(boxes, scores, iou_threshold, count, class_ids):
    """The same in `keras.ops`.

    Who is kept is a recursion over the sorted rows. It is solved by iterating it on all rows at
    once until nothing changes, which takes as many rounds as the longest chain of boxes that
    suppress each other, commonly below ten.
    """
    total = ops.shape(scores)[1]
    rank = ops.arange(total, dtype="int32")
    over = ops.logical_and(overlaps_graph(boxes, boxes) > iou_threshold,
                           rank[:, None] < rank[None, :])
    if class_ids is not None:
        over = ops.logical_and(over, ops.equal(class_ids[:, :, None], class_ids[:, None, :]))
    candidate = scores > -math.inf

    def step(keep, changed):
        suppressed = ops.any(ops.logical_and(over, keep[:, :, None]), axis=1)
        new = ops.logical_and(candidate, ops.logical_not(suppressed))
        return new, ops.any(ops.not_equal(new, keep))

    keep, _ = ops.while_loop(lambda keep, changed: changed, step,
                             (candidate, ops.any(candidate)))
    kept = ops.argsort(ops.where(keep, rank, total + rank), axis=1)[:, :count]
    valid = take_rows(keep, kept)
    return pad_rows(ops.cast(kept, "int32"), count), pad_rows(valid, count)


# --- sampling ---------------------------------------------------------------------------------

# So far a box keeps off the last row and column: the kernel gives 0 for a sample that rounding has
# put beyond them. That is a ten-thousandth of a cell on a map of 256.
EDGE = 2.0**-22


def crop_levels(maps, boxes, level, pool_shape):
    """A grid of bilinear samples for each box, by TensorFlow's kernel once a level.

    It computes in float32 and takes half the time of gathering the cells, its gradient a third.

    Args:
        maps: the levels, each `[B, h, w, C]`.
        boxes: float32 `[B, N, 4]` normalized, within the image.
        level: int32 `[B, N]`, which of the maps each box is sampled from.
        pool_shape: (height, width) of the grid.

    Returns:
        `[B, N, height, width, C]` of the maps' dtype.
    """
    import tensorflow as tf

    places, patches = [], []
    boxes = tf.minimum(boxes, 1.0 - EDGE)
    for number, features in enumerate(maps):
        place = tf.cast(tf.where(tf.equal(level, number)), tf.int32)
        with tf.control_dependencies([place]):  # no sooner, or the copy waits at the step's peak
            features = tf.cast(features, tf.float32)
        patches.append(tf.image.crop_and_resize(
            features, tf.gather_nd(boxes, place), place[:, 0], pool_shape))
        places.append(place)
    shape = (*ops.shape(boxes)[:2], *pool_shape, maps[0].shape[-1])
    pooled = tf.scatter_nd(tf.concat(places, axis=0), tf.concat(patches, axis=0), shape)
    return tf.cast(pooled, maps[0].dtype)


# --- batch normalization ----------------------------------------------------------------------


def normalize_batch(x, gamma, beta, epsilon):
    """Normalizes x `[B, H, W, C]` by its own statistics, each channel by itself.

    TensorFlow's fused kernel takes a third of the time of the same arithmetic in single steps, and
    reads bfloat16 while it sums in float32.

    Returns:
        The result, of x's dtype, and float32 mean and (biased) variance `[C]`.

    Source: Ioffe & Szegedy 2015, algorithm 1.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, epsilon=epsilon, is_training=True)
        size = ops.cast(ops.size(x), "float32") / x.shape[-1]
        return y, mean, variance * (size - 1.0) / size  # the kernel gives the unbiased one
    wide = ops.cast(x, "float32")
    mean, variance = ops.moments(wide, axes=(0, 1, 2))
    y = ops.batch_normalization(wide, mean, variance, -1, beta, gamma, epsilon)
    return ops.cast(y, x.dtype), mean, variance


def normalize_by_statistics(x, gamma, beta, mean, variance, epsilon):
    """Normalizes x `[B, H, W, C]` by stored mean and variance `[C]`; of x's dtype."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, mean, variance, epsilon=epsilon, is_training=False)[0]
    scale = gamma * ops.rsqrt(variance + epsilon)
    y = ops.cast(x, "float32") * scale + (beta - mean * scale)
    return ops.cast(y, x.dtype)
