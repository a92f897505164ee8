"""The backend: its devices, its compiled functions, and whether its own kernels may be used."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np

from frcnn.arrays import Array

_portable_depth = 0


@contextlib.contextmanager
def portable_kernels(enabled: bool = True) -> Iterator[None]:
    """A context in which traced code uses `keras.ops` only, no kernel of one backend.

    TensorFlow's own kernels are faster on a CPU, but have no XLA version: the model's call is in
    this context whenever it is compiled with `jit_compile=True`.
    """
    global _portable_depth
    _portable_depth += bool(enabled)
    try:
        yield
    finally:
        _portable_depth -= bool(enabled)


def uses_tensorflow_kernels() -> bool:
    """Whether TensorFlow's own kernels may be traced now."""
    return keras.backend.backend() == "tensorflow" and not _portable_depth


def has_accelerator() -> bool:
    """Whether Keras computes on a device other than a CPU."""
    return any(not name.lower().startswith("cpu") for name in keras.distribution.list_devices())


def compiled(model: keras.Model) -> Callable[..., Array]:
    """A compiled function: the model's input arrays → its one output for the batch, a NumPy array.

    TensorFlow traces it once, for all shapes that the model's inputs allow.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]

        @tf.function(input_signature=signature, jit_compile=bool(model.jit_compile),
                     autograph=False)
        def run(*inputs: tf.Tensor) -> tf.Tensor:
            return model(list(inputs), training=False)

        return lambda *inputs: run(*inputs).numpy()
    return lambda *inputs: np.asarray(model.predict_on_batch(list(inputs)))
