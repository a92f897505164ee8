"""Detection of changed weights, sure to the last bit."""

import functools
from collections.abc import Callable, Iterable, Sequence

import keras

from frcnn.arrays import Tensor


class Watch:
    """Detects whether Keras variables were assigned since the last call of `has_changed`.

    It keeps a reference to their current values, so that an assignment has to write the new ones to
    other memory: JAX's arrays never change, and TensorFlow writes into a variable's memory only
    while there is no other reference to it. On an accelerator, where the address cannot be read,
    the values are compared bit by bit, there, in one call.
    """

    def __init__(self, variables: Iterable[keras.Variable]) -> None:
        self._readers = [_reader(variable) for variable in variables]
        self._held = [read() for read in self._readers]

    def has_changed(self) -> bool:
        """Whether any variable was assigned since the last call (or since the Watch was made).

        On an accelerator, and of scalars, the assignment of an equal value does not count.
        """
        earlier, self._held = self._held, [read() for read in self._readers]
        if keras.backend.backend() != "tensorflow":
            return any(before is not now for before, now in zip(earlier, self._held))
        if _have_addresses((*earlier, *self._held)):
            return any(_mark(before) != _mark(now) for before, now in zip(earlier, self._held))
        return any_bit_differs(earlier, self._held)


def _reader(variable: keras.Variable) -> Callable[[], Tensor]:
    """A function that gives the variable's current value."""
    if keras.backend.backend() != "tensorflow":
        return lambda: variable.value
    import tensorflow as tf

    inner = variable.value
    if isinstance(inner, tf.distribute.DistributedValues):
        return inner.value
    # As `value()`, in half the time: hundreds are read before each detection.
    return functools.partial(tf.raw_ops.ReadVariableOp, resource=inner.handle, dtype=inner.dtype)


def _have_addresses(values: Iterable[Tensor]) -> bool:
    """Whether TensorFlow's tensors lie in the host's memory."""
    return all("CPU" in value.device for value in values)


def _mark(value: Tensor) -> int | bytes:
    """Where the value lies in the host's memory; of a scalar, whose array is a copy, its bytes."""
    array = value.__array__()  # a view of the same memory
    if not array.shape:
        return bytes(array.tobytes())
    address: int = array.__array_interface__["data"][0]
    return address


def any_bit_differs(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether two lists of TensorFlow's tensors, of the same shapes and dtypes, differ in any bit.

    They are compared on the devices where they are; one number is fetched.
    """
    return bool(first) and bool(_comparison()(list(first), list(second)))


@functools.cache
def _comparison() -> Callable[[list[Tensor], list[Tensor]], Tensor]:
    import tensorflow as tf

    def as_bytes(value: tf.Tensor) -> tf.Tensor:
        # As bytes NaN equals NaN, and 0 is not −0. Wider integers have no comparison on a GPU.
        return value if value.dtype == tf.bool else tf.bitcast(value, tf.uint8)

    @tf.function(autograph=False, reduce_retracing=True)
    def compare(first: list[tf.Tensor], second: list[tf.Tensor]) -> tf.Tensor:
        return tf.reduce_any(tf.stack([
            tf.reduce_any(tf.not_equal(as_bytes(before), as_bytes(now)))
            for before, now in zip(first, second, strict=True)]))

    compiled: Callable[[list[Tensor], list[Tensor]], Tensor] = compare
    return compiled
