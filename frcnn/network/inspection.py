"""Looking into a detector: what a tensor inside it holds for an image."""

from collections import OrderedDict

import keras
import numpy as np

from frcnn.network.ops import portable_kernels


def log(text, array=None):
    """Prints a text and, of an array, its shape, minimum, maximum and dtype."""
    if array is not None:
        array = np.asarray(array)
        low, high = (array.min(), array.max()) if array.size else ("", "")
        text = f"{text:25} shape: {array.shape!s:20} min: {low:10.5f} max: {high:10.5f} " \
            f"{array.dtype}" if array.size else f"{text:25} shape: {array.shape!s:20} {array.dtype}"
    print(text)


def run_tensors(model, inputs, outputs):
    """Evaluates tensors inside a functional model.

    Args:
        model: keras.Model.
        inputs: what the model takes.
        outputs: list of (name, symbolic tensor), as `model.get_layer(name).output`.

    Returns:
        OrderedDict of NumPy arrays, by name; those of half precision as float32, since plots and
        much of NumPy know no bfloat16.
    """
    outputs = OrderedDict(outputs)
    for name, tensor in outputs.items():
        if tensor is None:
            raise ValueError(f"The tensor given for {name!r} is None; take one from "
                             "keras_model.get_layer(layer_name).output.")
    inner = keras.Model(model.inputs, list(outputs.values()))
    with portable_kernels(bool(inner.jit_compile)):
        results = inner.predict_on_batch(inputs)
    results = results if isinstance(results, (list, tuple)) else [results]
    return OrderedDict(zip(outputs, map(_as_float32, results)))


def _as_float32(value):
    value = np.asarray(value)
    return value.astype(np.float32) if value.dtype.name in ("bfloat16", "float16") else value
