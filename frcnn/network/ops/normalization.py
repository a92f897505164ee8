"""Batch normalization, on TensorFlow by its fused kernel."""

import keras
from keras import ops

from frcnn.arrays import Tensor


def normalize_batch(x: Tensor, gamma: Tensor, beta: Tensor,
                    epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalizes x `[B, H, W, C]` by its own statistics, each channel separately.

    TensorFlow's fused kernel takes a third of the time of the same arithmetic in single
    operations, and reads bfloat16 while it sums in float32.

    Args:
        x: float32 or bfloat16.
        gamma, beta: float32 `[C]`.
        epsilon: added to the variance.

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


def normalize_by_statistics(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor,
                            epsilon: float) -> Tensor:
    """Normalizes x `[B, H, W, C]` by stored mean and variance `[C]`; of x's dtype."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, mean, variance, epsilon=epsilon, is_training=False)[0]
    scale = gamma * ops.rsqrt(variance + epsilon)
    y = ops.cast(x, "float32") * scale + (beta - mean * scale)
    return ops.cast(y, x.dtype)
