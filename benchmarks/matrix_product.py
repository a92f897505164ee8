"""The unit of all figures: the time of one large matrix product in TensorFlow."""

from benchmarks.measure import median, time_runs

SIDE = 4096
MULTIPLY_ADDS = SIDE**3
# If the unit changes by more than this while a row is measured, other work disturbed it.
STEADY = 1.1


def product_times(dtype="float32", side=SIDE, runs=5):
    """Seconds of single products of two `side` × `side` matrices, after a warm-up."""
    import tensorflow as tf  # not needed by the processes that start the measuring ones

    a, b = (tf.cast(tf.random.stateless_normal((side, side), (seed, 0)), dtype)
            for seed in (1, 2))
    return time_runs(lambda: tf.matmul(a, b)[0, 0].numpy(), runs)


def unit_seconds(result):
    """The unit of a measured row: the median of its products before and after the work."""
    return median([*result["unit_before"], *result["unit_after"]])


def is_steady(result):
    """Whether the unit was the same before and after."""
    before, after = median(result["unit_before"]), median(result["unit_after"])
    return max(before, after) <= STEADY * min(before, after)
