"""Detection of changed weights without comparing all numbers."""

import functools
from collections.abc import Callable, Iterable

import keras
from keras import ops

from frcnn.arrays import Tensor


class Watch:
    """Detects whether Keras variables were assigned since the last call of `has_changed`.

    It keeps a reference to their current values, so that an assignment has to write the new ones to
    other memory: JAX's arrays never change, and TensorFlow writes into a variable's memory only
    while there is no other reference to it. On an accelerator, where the address cannot be read,
    the sums of the values are compared.
    """

    def __init__(self, variables: Iterable[keras.Variable]) -> None:
        self._readers = [_reader(variable) for variable in variables]
        self._held = [_mark(read()) for read in self._readers]

    def has_changed(self) -> bool:
        """Whether any variable was assigned since the last call (or since the Watch was made)."""
        earlier, self._held = self._held, [_mark(read()) for read in self._readers]
        return any(before[0] != now[0] for before, now in zip(earlier, self._held))


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


def _mark(value: Tensor) -> tuple[int | str, Tensor]:
    """What distinguishes a value from earlier ones, and the reference that has to be kept."""
    if keras.backend.backend() != "tensorflow":
        return id(value), value
    if "CPU" not in value.device:
        return repr(float(ops.sum(ops.cast(value, "float32")))), None  # text: NaN equals NaN
    place = value.__array__()  # a view of the same memory
    return place.__array_interface__["data"][0], value
