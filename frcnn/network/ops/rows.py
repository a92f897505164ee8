"""Rows of a batch: taken, padded, packed."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from frcnn.arrays import Tensor
from frcnn.network.ops.by_image import by_image
from frcnn.network.ops.gradients import custom_gradient


def take_rows(x: Tensor, indices: Tensor) -> Tensor:
    """Rows of each image: x `[B, N, ...]`, indices int `[B, K]` in 0 … N − 1 → `[B, K, ...]`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One operation, where the general function makes some seventy.
        return tf.gather(x, indices, axis=1, batch_dims=1)
    for _ in x.shape[2:]:
        indices = ops.expand_dims(indices, axis=-1)
    return ops.take_along_axis(x, indices, axis=1)


def take_rows_summing(x: Tensor, indices: Tensor) -> Tensor:
    """As `take_rows` for x `[B, N, C]`, but the gradient of rows taken often is summed in float32.

    A sum of equal numbers in bfloat16 stops growing at 256 of them. Casting x to float32 first
    would also prevent that, at the cost of a copy of twice the size.
    """
    shape, dtype = ops.shape(x), x.dtype

    def summed(upstream: Tensor, indices: Tensor) -> Tensor:
        batch = ops.shape(upstream)[0]  # on several devices, those of this one
        first = ops.arange(batch, dtype="int32")[:, None] * shape[1]
        found = ops.segment_sum(
            ops.reshape(ops.cast(upstream, "float32"), (-1, shape[2])),
            ops.reshape(indices + first, (-1,)), num_segments=batch * shape[1])
        return ops.reshape(found, (batch, *shape[1:]))

    @custom_gradient
    def take(x: Tensor) -> tuple[Tensor, Any]:
        def slopes(*args: Tensor, upstream: Tensor = None) -> Tensor:
            upstream = args[0] if upstream is None else upstream
            return ops.cast(by_image(summed, upstream, indices), dtype)

        return take_rows(x, indices), slopes

    return take(x)


def take_of_each(x: Tensor, indices: Tensor) -> Tensor:
    """One entry of each row: x `[B, N, C, D]`, indices int `[B, N]` in 0 … C − 1 → `[B, N, D]`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(x, indices, axis=2, batch_dims=2)
    return ops.take_along_axis(x, indices[:, :, None, None], axis=2)[:, :, 0]


def pad_rows(x: Tensor, count: int) -> Tensor:
    """x `[B, N, ...]` with zero rows added at the end, until there are at least `count`.

    Where N is not known when traced, the result has exactly `count` rows.
    """
    rows, rest = x.shape[1], x.shape[2:]
    if rows is not None and rows >= count:
        return x
    missing = count if rows is None else count - rows
    x = ops.pad(x, [[0, 0], [0, missing]] + [[0, 0]] * len(rest))[:, :count]
    return ops.reshape(x, (-1, count, *rest))  # from here on the number is known


def smaller(limit: int, size: Any) -> Any:
    """min(limit, size) where size may be a number or, for a dynamic axis, a tensor."""
    return min(limit, size) if isinstance(size, int) else ops.minimum(limit, size)


def trim_zeros_graph(boxes: Tensor, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The rows of boxes `[N, 4]` that are not all zero, and their mask `[N]`.

    The result's shape depends on the data, so this is for eager use and TensorFlow only. `name` is
    not used; tensors have no settable names in Keras 3.
    """
    non_zeros = ops.any(ops.not_equal(boxes, 0), axis=1)
    rows = ops.reshape(ops.stack(ops.nonzero(non_zeros)), (-1,))
    return ops.take(boxes, rows, axis=0), non_zeros


def batch_pack_graph(x: Tensor, counts: Sequence[int], num_rows: int) -> Tensor:
    """The first `counts[i]` rows of each `x[i]`, packed into one tensor `[sum(counts), ...]`.

    The result's shape depends on the data, so this is for eager use and TensorFlow only.
    """
    return ops.concatenate([x[i, : counts[i]] for i in range(num_rows)], axis=0)


def batch_slice(inputs: Tensor | Sequence[Tensor], graph_fn: Callable[..., Any], batch_size: int,
                names: Sequence[str] | None = None) -> Any:
    """Runs `graph_fn` on each image's slice of the inputs, and stacks the results.

    Args:
        inputs: a tensor `[B, ...]` or a list of them.
        graph_fn: takes one slice of each input, returns a tensor or a list of them.
        batch_size: B.
        names: not used, kept from the reference; tensors have no settable names in Keras 3.

    Returns:
        A tensor, or a list of them, `[B, ...]`.
    """
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    results = [graph_fn(*(x[i] for x in inputs)) for i in range(batch_size)]
    if not isinstance(results[0], (list, tuple)):
        return ops.stack(results)
    return [ops.stack(column) for column in zip(*results)]
