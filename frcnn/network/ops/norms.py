"""Norms of gradients."""

from collections.abc import Sequence

import keras
from keras import ops

from frcnn.arrays import Tensor


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all numbers of several tensors together.

    Args:
        tensors: at least one, of any shapes and floating dtypes.

    Returns:
        float32 scalar.

    Source: Pascanu et al. 2013 (On the difficulty of training recurrent neural networks),
    algorithm 1.
    """
    return ops.sqrt(ops.sum(ops.stack([_sum_of_squares(tensor) for tensor in tensors])))


def _sum_of_squares(tensor: Tensor) -> Tensor:
    tensor = ops.cast(tensor, "float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Makes no copy for the squares, and takes less than half the time.
        return 2.0 * tf.nn.l2_loss(tensor)
    return ops.sum(ops.square(tensor))
