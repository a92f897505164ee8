"""The values of tensors inside a detector."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from frcnn.arrays import Array, ArrayLike, Tensor
from frcnn.errors import ArgumentError
from frcnn.keras_guard import weights_stay_the_same
from frcnn.network.ops import check_backend, default_policy, portable_kernels


def log(text: str, array: ArrayLike | None = None) -> None:
    """Prints a text and, of an array, its shape, minimum, maximum and dtype."""
    if array is not None:
        values = np.asarray(array)
        text = f"{text:25} shape: {values.shape!s:20} "
        if values.size:
            text += f"min: {values.min():10.5f} max: {values.max():10.5f} "
        text += f"{values.dtype}"
    print(text)


def run_tensors(model: keras.Model, inputs: Any,
                outputs: Iterable[tuple[str, Tensor]]) -> "OrderedDict[str, Array]":
    """Evaluates tensors inside a functional model.

    Args:
        model: keras.Model.
        inputs: what the model takes.
        outputs: list of (name, symbolic tensor), as `model.get_layer(name).output`.

    Returns:
        OrderedDict of NumPy arrays, by name; half precision is converted to float32, since plots
        and much of NumPy do not support bfloat16.

    Raises:
        ValueError: a tensor is None.
    """
    tensors = OrderedDict(outputs)
    for name, tensor in tensors.items():
        if tensor is None:
            raise ArgumentError(f"The tensor given for {name!r} is None; take one from "
                                "keras_model.get_layer(layer_name).output.")
    check_backend()
    with default_policy():
        inner = keras.Model(model.inputs, list(tensors.values()))
    with portable_kernels(bool(inner.jit_compile)), weights_stay_the_same():  # of a new model
        results = inner.predict_on_batch(inputs)
    results = results if isinstance(results, (list, tuple)) else [results]
    return OrderedDict(zip(tensors, map(_as_float32, results)))


def _as_float32(value: ArrayLike) -> Array:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name in ("bfloat16", "float16") else array
