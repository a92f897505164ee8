"""Kernels that sample feature maps: TensorFlow's, and the one that becomes ONNX's RoiAlign."""

from collections.abc import Sequence

from keras import ops

from frcnn.arrays import Tensor

# Boxes end that much before the last row and column: the kernel gives 0 for a sample that rounding
# has moved beyond them. That is a ten-thousandth of a cell on a map of 256.
EDGE = 2.0**-22


def crop_levels(maps: Sequence[Tensor], boxes: Tensor, level: Tensor,
                pool_shape: Sequence[int]) -> Tensor:
    """A grid of bilinear samples for each box, by one call of TensorFlow's kernel for each level.

    It computes in float32 and takes half the time of gathering the cells. Do not use its own
    gradient: threads add to one cell at the same time, which loses some of the additions.

    Args:
        maps: the levels, each `[B, h, w, C]`.
        boxes: float32 `[B, N, 4]` normalized, within the image.
        level: int32 `[B, N]`, which of the maps each box is sampled from.
        pool_shape: (height, width) of the grid.

    Returns:
        `[B, N, height, width, C]` of the maps' dtype.
    """
    import tensorflow as tf

    count = ops.shape(boxes)[1]
    boxes = tf.reshape(tf.minimum(boxes, 1.0 - EDGE), (-1, 4))
    level = tf.reshape(level, (-1,))
    places, patches = [], []
    for number, features in enumerate(maps):
        place = tf.cast(tf.where(tf.equal(level, number))[:, 0], tf.int32)
        with tf.control_dependencies([place]):  # not earlier: the copies would add up
            features = tf.cast(features, tf.float32)
        patches.append(tf.image.crop_and_resize(
            features, tf.gather(boxes, place), place // count, pool_shape))
        places.append(place)
    pooled = tf.dynamic_stitch(places, patches)
    pooled = tf.reshape(pooled, (-1, count, *pool_shape, maps[0].shape[-1]))
    return tf.cast(pooled, maps[0].dtype)


def crop_levels_for_onnx(maps: Sequence[Tensor], boxes: Tensor, level: Tensor,
                         pool_shape: Sequence[int], samples: int) -> Tensor:
    """As `crop_levels`, to be converted: a graph with it cannot run in TensorFlow.

    Each level has one operator `CropAndResize`, which `frcnn.export.onnx_file` replaces by ONNX's
    `RoiAlign`. Its boxes are in cells of the level, as RoiAlign takes them with half pixels, and
    its `extrapolation_value` is the number of samples in a bin along each axis.

    Args:
        maps: the levels, each float32 `[B, h, w, C]`.
        boxes: float32 `[B, N, 4]`: normalized with `samples` 0, else shares of the image.
        level: int32 `[B, N]`, which of the maps each box is sampled from.
        pool_shape: (height, width) of the grid.
        samples: see PyramidROIAlign; 0 for a grid from edge to edge.

    Returns:
        float32 `[B, N, height, width, C]`.
    """
    import tensorflow as tf

    count = ops.shape(boxes)[1]
    boxes, level = tf.reshape(boxes, (-1, 4)), tf.reshape(level, (-1,))
    patches = []
    # Where the patch of each box is among those of all levels, which are concatenated: behind
    # those of lower levels, and those of its own level that come earlier.
    rows, first = tf.zeros_like(level), 0
    for number, features in enumerate(maps):
        is_here = tf.equal(level, number)
        place = tf.cast(tf.where(is_here)[:, 0], tf.int32)
        cells = _in_cells(tf.gather(boxes, place), tf.shape(features)[1:3], pool_shape, samples)
        patches.append(tf.image.crop_and_resize(
            features, cells, place // count, pool_shape, extrapolation_value=max(samples, 1)))
        order = tf.cumsum(tf.cast(is_here, tf.int32))
        rows = tf.where(is_here, first + order - 1, rows)
        first = first + tf.reduce_sum(tf.cast(is_here, tf.int32))
    pooled = tf.gather(tf.concat(patches, axis=0), rows)
    return tf.reshape(pooled, (-1, count, *pool_shape, maps[0].shape[-1]))


def _in_cells(boxes: Tensor, size: Tensor, pool_shape: Sequence[int], samples: int) -> Tensor:
    """Boxes `[K, 4]` in cells of a map of `size` (height, width), whose first cell ends at 1.

    Without samples, a sample must be in the middle of its bin: the outermost bins reach beyond the
    box by half a step.
    """
    import tensorflow as tf

    sides = tf.cast(tf.concat([size, size], axis=0), tf.float32)
    if samples:
        return boxes * sides
    boxes = boxes * (sides - 1.0)
    corner, end = boxes[:, :2], boxes[:, 2:]
    steps = [max(side - 1, 1) for side in pool_shape]
    half = 0.5 * (end - corner) / tf.constant(steps, tf.float32)
    single = tf.constant([side == 1 for side in pool_shape])
    middle = 0.5 * (corner + end)
    corner, end = (tf.where(single, middle + shift, side + shift * 2.0 * half) + 0.5
                   for side, shift in ((corner, -0.5), (end, 0.5)))
    return tf.concat([corner, end], axis=1)
