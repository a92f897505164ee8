"""Molding and unmolding inside the graph, to the bit as on the host.

Of `frcnn.data.resize`, `frcnn.data.resample`, `frcnn.data.molding` and
`frcnn.inference.transform`, in the same order of operations and in float64.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from frcnn.config import Config
from frcnn.data.resize import MULTIPLE
from frcnn.export.graph import IMAGE, ExportGraph
from frcnn.network.ops import ExportTarget

BOXES, CLASSES, SCORES, COUNT = "boxes", "class_ids", "scores", "count"


def image_function(graph: ExportGraph, target: ExportTarget) -> Any:
    """A `tf.function`, to be traced: images uint8 `[B, h, w, C]` → the dict of `unmolded`."""
    @tf.function(autograph=False)
    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return of_images(lambda molded, windows: graph(molded, windows, target), image,
                         graph.config)

    return detect


def of_images(detect: Callable[..., Any], image: Any, config: Config) -> dict[str, Any]:
    """Molds images, detects, and gives the dict of `unmolded`.

    Args:
        detect: molded images and windows → detections.
        image: uint8 `[B, h, w, C]`.
        config: Config.
    """
    plan = resize_plan(tf.shape(image)[1:3], config)
    rows = detect(molded(image, plan, config), window(plan, tf.shape(image)[0]))
    return {name: tf.identity(value, name=name) for name, value in unmolded(rows, plan).items()}


def image_signature(graph: ExportGraph) -> list[tf.TensorSpec]:
    """The input of `image_function`: any batch, any size."""
    return [tf.TensorSpec((None, None, None, graph.shape[2]), tf.uint8, name=IMAGE)]


class Plan(NamedTuple):
    """`ResizePlan.for_detection` as tensors.

    Attributes:
        shape: (height, width) of the image.
        scaled: (height, width) after scaling.
        before: rows above and columns left of the picture.
        molded: (height, width) of the molded image.
    """

    shape: Any
    scaled: Any
    before: Any
    molded: Any


def resize_plan(shape: Any, config: Config) -> Plan:
    """The plan for images of a shape (height, width), int32 `[2]`, in detection."""
    mode = "pad64" if config.IMAGE_RESIZE_MODE == "crop" else config.IMAGE_RESIZE_MODE
    if mode == "none":
        return Plan(shape, shape, tf.zeros(2, tf.int32), _next_multiple(shape))
    sides = tf.cast(shape, tf.float64)
    one = tf.constant(1.0, tf.float64)
    scale = tf.maximum(one, config.IMAGE_MIN_DIM / tf.reduce_min(sides))
    scale = tf.maximum(scale, tf.constant(float(config.IMAGE_MIN_SCALE), tf.float64))
    if mode in ("square", "fit64"):
        longest = tf.reduce_max(sides)
        is_over = tf.round(longest * scale) > config.IMAGE_MAX_DIM
        scale = tf.where(is_over, config.IMAGE_MAX_DIM / longest, scale)
    scaled = tf.maximum(1, tf.cast(tf.round(sides * scale), tf.int32))
    if mode == "square":
        molded = tf.fill([2], tf.constant(int(config.IMAGE_MAX_DIM)))
    else:
        molded = _next_multiple(scaled)
    return Plan(shape, scaled, (molded - scaled) // 2, molded)


def _next_multiple(sides: Any) -> Any:
    # Not -(-n // 64): ONNX's division of integers rounds towards zero.
    return (sides + (MULTIPLE - 1)) // MULTIPLE * MULTIPLE


def molded(images: Any, plan: Plan, config: Config) -> Any:
    """uint8 `[B, h, w, C]` → float32 `[B, H, W, C]`, molded."""
    pixels = tf.cast(images, tf.float64)
    # Also where nothing is scaled: every weight is then 1 or 0, which changes no value.
    rows, row_weights = _taps(plan.shape[0], plan.scaled[0])
    columns, column_weights = _taps(plan.shape[1], plan.scaled[1])
    total = None
    for row in (0, 1):
        lines = tf.gather(pixels, rows[row], axis=1) * row_weights[row][:, None, None]
        for column in (0, 1):
            part = tf.gather(lines, columns[column], axis=2) * column_weights[column][:, None]
            total = part if total is None else total + part
    low = tf.reduce_min(pixels, axis=(1, 2, 3), keepdims=True)
    high = tf.reduce_max(pixels, axis=(1, 2, 3), keepdims=True)
    # As uint8 truncates.
    picture = tf.floor(tf.minimum(tf.maximum(total, low), high))
    after = plan.molded - plan.scaled - plan.before
    border = tf.stack([tf.zeros(2, tf.int32), *tf.unstack(tf.stack([plan.before, after], axis=1)),
                       tf.zeros(2, tf.int32)])
    mean = np.asarray(config.MEAN_PIXEL, np.float64)
    result = tf.cast(tf.pad(picture, border) - mean, tf.float32)
    result.set_shape((None, *_static_sides(config), images.shape[-1]))
    return result


def _static_sides(config: Config) -> tuple[int | None, int | None]:
    is_square = config.IMAGE_RESIZE_MODE == "square"
    return (int(config.IMAGE_MAX_DIM),) * 2 if is_square else (None, None)


def _taps(size: Any, new_size: Any) -> tuple[Any, Any]:
    """`frcnn.data.resample._taps`: pixels int32 and weights float64, `[2, new_size]` each."""
    ratio = tf.cast(size, tf.float64) / tf.cast(new_size, tf.float64)
    position = (tf.cast(tf.range(new_size), tf.float64) + 0.5) * ratio - 0.5
    first = tf.floor(position)
    near = 1 - (position - first)
    weights = tf.stack([near, 1 - near])
    taps = tf.cast(first, tf.int32)[None] + [[0], [1]]
    is_inside = tf.logical_and(taps >= 0, taps < size)
    weights = tf.where(is_inside, weights, tf.zeros_like(weights))
    return tf.minimum(tf.maximum(taps, 0), size - 1), weights


def window(plan: Plan, count: Any) -> Any:
    """The window of the plan, float32 `[count, 4]`."""
    sides = tf.concat([plan.before, plan.before + plan.scaled], axis=0)
    return tf.tile(tf.cast(sides, tf.float32)[None], (count, 1))


def unmolded(rows: Any, plan: Plan) -> dict[str, Any]:
    """Detections `[B, N, 6]` of the graph in pixels of the images, without empty boxes.

    Returns:
        Dict of boxes float32 `[B, N, 4]`, class ids int32 `[B, N]`, scores float32 `[B, N]`, zero
        from `count` int32 `[B]` on.
    """
    before, scaled, shape = (tf.cast(sides, tf.float64)
                             for sides in (plan.before, plan.scaled, plan.shape))
    scale = shape / scaled
    boxes = (tf.cast(rows[..., :4], tf.float64) - tf.tile(before, [2])) * tf.tile(scale, [2])
    boxes = tf.minimum(tf.maximum(boxes, tf.zeros([], tf.float64)), tf.tile(shape, [2]))
    boxes = tf.cast(boxes, tf.float32)
    has_area = tf.logical_and(boxes[..., 2] > boxes[..., 0], boxes[..., 3] > boxes[..., 1])
    is_found = tf.logical_and(rows[..., 4] > 0, has_area)
    # Those that are found come first, in their order.
    places = tf.range(tf.shape(rows)[1])
    rank = tf.where(is_found, -places, -places - tf.shape(rows)[1])
    order = tf.math.top_k(tf.cast(rank, tf.float32), k=tf.shape(rows)[1]).indices
    values = tf.concat([boxes, rows[..., 4:]], axis=-1)
    values = tf.where(is_found[..., None], values, tf.zeros_like(values))
    values = tf.gather(values, order, axis=1, batch_dims=1)
    return {BOXES: values[..., :4], CLASSES: tf.cast(values[..., 4], tf.int32),
            SCORES: values[..., 5],
            COUNT: tf.reduce_sum(tf.cast(is_found, tf.int32), axis=1)}
