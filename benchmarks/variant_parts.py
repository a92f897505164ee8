"""Implementations compared: RoI align by one gather or a kernel a level, two suppressions."""

import numpy as np
import tensorflow as tf

from benchmarks.matrix_product import SIDE, product_times
from benchmarks.measure import time_runs
from frcnn.network import ops as frcnn_ops
from frcnn.network.roi_align import PyramidROIAlign

POOL = 7
CHANNELS = 256
LEVELS = (2, 3, 4, 5)


def random_boxes(rng, shape):
    """Normalized boxes `[*shape, 4]` of all sizes: sides evenly spread on a logarithmic scale."""
    sides = np.exp(rng.uniform(np.log(0.015), np.log(0.9), (*shape, 2)))
    corners = rng.uniform(0, 1 - sides)
    return np.concatenate([corners, corners + sides], axis=-1).astype(np.float32)


def clustered_boxes(rng, shape, objects=40):
    """Normalized boxes `[B, N, 4]` clustered around some objects, as those of a trained RPN."""
    centers = random_boxes(rng, (shape[0], objects))
    chosen = centers[:, rng.integers(0, objects, shape[1])]
    sides = np.tile(chosen[..., 2:] - chosen[..., :2], 2)
    return (chosen + rng.normal(0, 0.15, chosen.shape) * sides).astype(np.float32)


# --- RoI align --------------------------------------------------------------------------------

# (with `keras.ops` alone, compiled by XLA)
ALIGN = {"a kernel a level (in detection)": (False, False),
         "one gather (in training)": (True, False),
         "one gather, XLA": (True, True)}


def align_cases(shrink=1):
    """`{name: (side, images, RoIs, with gradient)}`."""
    return {"1,000 RoIs, 1 × 1024², forward": (1024 // shrink, 1, 1000, False),
            "200 RoIs, 1 × 1024², forward and backward": (1024 // shrink, 1, 200, True),
            "2 × 200 RoIs, 2 × 512², forward and backward": (512 // shrink, 2, 200, True)}


def _align_function(portable, jit_compile, side, backward):
    def forward(boxes, maps):
        layer = PyramidROIAlign((POOL, POOL), (side, side), dtype=maps[0].dtype.name)
        with frcnn_ops.portable_kernels(portable):
            return layer([boxes, *maps])

    def with_gradient(boxes, maps):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            pooled = forward(boxes, maps)
        return [tf.convert_to_tensor(gradient) for gradient in
                tape.gradient(pooled, maps, tf.ones_like(pooled), "zero")]

    function = with_gradient if backward else forward
    return tf.function(function, jit_compile=jit_compile, autograph=False)


def measure_align(precision, runs, warmup, shrink):
    """Seconds of each variant on each case, and the differences of their results.

    Returns:
        `{case: {variant: {"seconds": […], "difference": …}}}`; the difference is the largest from
        the first variant's result, divided by that result's largest magnitude.
    """
    found = {}
    for case, (side, images, count, backward) in align_cases(shrink).items():
        rng = np.random.default_rng(0)
        boxes = tf.constant(random_boxes(rng, (images, count)))
        maps = [tf.cast(tf.constant(rng.normal(size=(
            images, side >> level, side >> level, CHANNELS)).astype(np.float32)), precision)
            for level in LEVELS]
        found[case] = _compare({
            name: (_align_function(*kind, side, backward), (boxes, maps))
            for name, kind in ALIGN.items()}, runs, warmup)
    return found


# --- suppression ------------------------------------------------------------------------------

SUPPRESS = {"TensorFlow's combined kernel": (False, False), "portable": (True, False),
            "portable, XLA": (True, True)}


def suppress_cases():
    """`{name: (function that draws boxes, images, boxes, classes, IoU, boxes to keep)}`."""
    return {
        "proposals, detection: 6,000 → 1,000, scattered": (random_boxes, 1, 6000, 1, 0.7, 1000),
        "proposals, detection: 6,000 → 1,000, crowded": (clustered_boxes, 1, 6000, 1, 0.7, 1000),
        "proposals, training: 2 × 6,000 → 2,000, crowded": (clustered_boxes, 2, 6000, 1, 0.7, 2000),
        "detections: 1,000 → 100, 7 classes, crowded": (clustered_boxes, 1, 1000, 8, 0.3, 100),
    }


def _suppress_function(portable, jit_compile, classes, iou, count):
    def function(boxes, scores, class_ids):
        with frcnn_ops.portable_kernels(portable):
            return frcnn_ops.suppress(boxes, scores, iou, count,
                                      class_ids if classes > 1 else None, classes)

    return tf.function(function, jit_compile=jit_compile, autograph=False)


def measure_suppression(runs, warmup, shrink):
    """As `measure_align`, for suppression, which has no gradient."""
    found = {}
    for case, (draw, images, boxes, classes, iou, count) in suppress_cases().items():
        rng, rows = np.random.default_rng(0), max(10, boxes // shrink)
        arguments = (tf.constant(draw(rng, (images, rows))),
                     tf.constant(rng.uniform(size=(images, rows)).astype(np.float32)),
                     tf.constant(rng.integers(min(1, classes - 1), classes, (images, rows)),
                                 tf.int32))
        found[case] = _compare({
            name: (_suppress_function(*kind, classes, iou, max(1, count // shrink)), arguments)
            for name, kind in SUPPRESS.items()}, runs, warmup)
    return found


# --- both -------------------------------------------------------------------------------------


def _compare(variants, runs, warmup):
    found, first = {}, None
    for name, (function, arguments) in variants.items():
        values = [tf.cast(value, tf.float32) for value in tf.nest.flatten(function(*arguments))]
        first = first or values
        difference = max(_largest(a - b) / max(_largest(b), 1e-9) for a, b in zip(values, first))
        found[name] = {"difference": difference,
                       "seconds": time_runs(lambda call=function, given=arguments: call(*given),
                                            runs, warmup)}
    return found


def _largest(values):
    return float(tf.reduce_max(tf.abs(values)))


def measure_variants(precisions, runs, warmup, shrink):
    """All comparisons of this module, in this process, with the unit before and after."""
    unit_before = product_times(side=SIDE // shrink)
    align = {precision: measure_align(precision, runs, warmup, shrink) for precision in precisions}
    return {"align": align, "suppression": measure_suppression(runs, warmup, shrink),
            "unit_before": unit_before, "unit_after": product_times(side=SIDE // shrink)}
