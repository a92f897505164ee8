"""Which backend computes, on what, and whether its own kernels may be used."""

import contextlib

import keras
import numpy as np

_portable_depth = 0


@contextlib.contextmanager
def portable_kernels(enabled=True):
    """While this is open, traced code uses `keras.ops` only, no kernel of one backend.

    TensorFlow's own kernels are faster on a CPU, but have no XLA version: the model opens this
    around its call whenever it is to be compiled with `jit_compile=True`.
    """
    global _portable_depth
    _portable_depth += bool(enabled)
    try:
        yield
    finally:
        _portable_depth -= bool(enabled)


def uses_tensorflow_kernels():
    """Whether TensorFlow's own kernels may be traced now."""
    return keras.backend.backend() == "tensorflow" and not _portable_depth


def has_accelerator():
    """Whether Keras computes on something else than a CPU."""
    return any(not name.lower().startswith("cpu") for name in keras.distribution.list_devices())


def compiled(model):
    """A function of arrays: what a Keras model predicts of a batch, as a NumPy array.

    TensorFlow traces it once, for whatever shapes the model's inputs allow.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]

        @tf.function(input_signature=signature, jit_compile=bool(model.jit_compile),
                     autograph=False)
        def run(*inputs):
            return model(list(inputs), training=False)

        return lambda *inputs: run(*inputs).numpy()
    return lambda *inputs: np.asarray(model.predict_on_batch(list(inputs)))
