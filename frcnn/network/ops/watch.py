"""Whether weights have changed, without looking at each number."""

import functools

import keras
from keras import ops


class Watch:
    """Tells whether Keras variables have been assigned since one last asked.

    Their present values are held, so that an assignment has to put the new ones somewhere else:
    JAX's arrays never change, and TensorFlow writes into a variable's memory only while nobody else
    holds it. On an accelerator, where a place in memory cannot be seen, each value's sum tells.
    """

    def __init__(self, variables):
        self._readers = [_reader(variable) for variable in variables]
        self._held = [_mark(read()) for read in self._readers]

    def has_changed(self):
        """Whether any variable has been assigned; asked again, it counts from here on."""
        earlier, self._held = self._held, [_mark(read()) for read in self._readers]
        return any(before[0] != now[0] for before, now in zip(earlier, self._held))


def _reader(variable):
    """A function that gives the variable's present value."""
    if keras.backend.backend() != "tensorflow":
        return lambda: variable.value
    import tensorflow as tf

    inner = variable.value
    if isinstance(inner, tf.distribute.DistributedValues):
        return inner.value
    # As `value()`, in half the time: hundreds are read before each detection.
    return functools.partial(tf.raw_ops.ReadVariableOp, resource=inner.handle, dtype=inner.dtype)


def _mark(value):
    """What tells a value from those before, and the value itself, to be held on to."""
    if keras.backend.backend() != "tensorflow":
        return id(value), value
    if "CPU" not in value.device:
        return repr(float(ops.sum(ops.cast(value, "float32")))), None  # a text: nan is nan
    place = value.__array__()  # a view of the same memory
    return place.__array_interface__["data"][0], value
