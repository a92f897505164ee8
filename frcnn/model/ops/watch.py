"""Whether weights have changed, without looking at each number."""

import keras
from keras import ops


class Watch:
    """Tells whether Keras variables have been assigned since one last asked.

    Their present values are held, so that an assignment has to put the new ones somewhere else:
    JAX's arrays never change, and TensorFlow writes into a variable's memory only while nobody else
    holds it. On an accelerator, where a place in memory cannot be seen, each value's sum tells.
    """

    def __init__(self, variables):
        self._variables = variables
        self._held = [_mark(variable) for variable in variables]

    def has_changed(self):
        """Whether any variable has been assigned; asked again, it counts from here on."""
        earlier, self._held = self._held, [_mark(variable) for variable in self._variables]
        return any(before[0] != now[0] for before, now in zip(earlier, self._held))


def _mark(variable):
    """What tells a variable's values from those before, and the values, to be held on to."""
    value = variable.value
    if keras.backend.backend() == "tensorflow":
        value = value.value()
        if "CPU" not in value.device:
            return float(ops.sum(ops.cast(value, "float32"))), None
        place = value.__array__()  # a view of the same memory
        return place.__array_interface__["data"][0], value
    return id(value), value
