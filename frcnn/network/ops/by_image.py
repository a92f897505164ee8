"""Computations of each image by the device that has it, where several devices share a batch.

XLA divides a program among devices by itself, but some operations it does not divide: gathering
from and adding to the rows of all images at once, a choice of the highest, loops. It then has every
device fetch what the others have, and compute all of it. These computations need no other image, so
they are divided by hand.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from frcnn.arrays import Tensor


def by_image(function: Callable[..., Any], *tensors: Tensor) -> Any:
    """`function(*tensors)`, computed by every device for its own images alone.

    Without several devices, which only JAX has here, it is a plain call.

    Args:
        function: takes and returns tensors, or a tuple of them, whose first axis is that of the
            images, which do not influence each other.
        tensors: `[B, ...]`.
    """
    distribution = keras.distribution.distribution()
    if keras.backend.backend() != "jax" or distribution is None:
        return function(*tensors)
    mesh, axis = distribution.device_mesh.backend_mesh, distribution.batch_dim_name
    sizes = [tensor.shape[0] for tensor in tensors]
    if any(size is None or size % mesh.size for size in sizes):  # of a model that is being built
        return function(*tensors)
    import jax

    spec = jax.sharding.PartitionSpec(axis)
    options = {"mesh": mesh, "in_specs": (spec,) * len(tensors), "out_specs": spec}
    if hasattr(jax, "shard_map"):
        divided = jax.shard_map(function, check_vma=False, **options)
    else:
        from jax.experimental.shard_map import shard_map

        divided = shard_map(function, check_rep=False, **options)
    return divided(*tensors)


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of each row of x `[B, N]`, descending, and their places int32 `[B, k]`."""
    values, places = by_image(lambda x: tuple(ops.top_k(x, k=k)), x)
    return values, places
