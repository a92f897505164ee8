"""The backend: its devices, its compiled functions, and whether its own kernels may be used."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeAlias

import keras
import numpy as np
from keras import ops

from frcnn.arrays import Array, Tensor
from frcnn.errors import DetectionOnlyError
from frcnn.keras_guard import weights_stay_the_same
from frcnn.startup import is_detection_only

# What a graph is traced for: to run in TensorFlow, or to be converted for another engine.
ExportTarget: TypeAlias = Literal["tensorflow", "onnx", "litert"]

# Of the running thread or task: another one may trace another model at the same time.
_portable: ContextVar[bool] = ContextVar("frcnn_portable_kernels", default=False)
_target: ContextVar[ExportTarget | None] = ContextVar("frcnn_export_target", default=None)


@contextlib.contextmanager
def portable_kernels(enabled: bool = True) -> Iterator[None]:
    """A context in which traced code uses `keras.ops` only, no kernel of one backend.

    It is that of the calling thread alone.

    TensorFlow's own kernels are faster on a CPU, but have no XLA version: the model's call is in
    this context whenever it is compiled with `jit_compile=True`.
    """
    token = _portable.set(_portable.get() or bool(enabled))
    try:
        yield
    finally:
        _portable.reset(token)


def uses_tensorflow_kernels() -> bool:
    """Whether TensorFlow's own kernels may be traced now."""
    return (keras.backend.backend() == "tensorflow" and not _portable.get()
            and _target.get() in (None, "tensorflow"))


@contextlib.contextmanager
def export_target(target: ExportTarget) -> Iterator[None]:
    """A context in which code is traced with the kernels of the engine that will run the graph.

    "tensorflow" uses TensorFlow's own, "onnx" those that become operators of ONNX, and "litert"
    those that are LiteRT's built-in operators, for a batch of one. Gradients are left out. It is
    that of the calling thread alone.
    """
    token = _target.set(target)
    try:
        yield
    finally:
        _target.reset(token)


def current_export_target() -> ExportTarget | None:
    """The target of `export_target`; None outside of it."""
    return _target.get()


def argmax(x: Tensor, axis: int) -> Tensor:
    """The int32 index of the largest value along an axis; the first of equal ones."""
    if _target.get() in ("onnx", "litert"):
        import tensorflow as tf

        # Keras's own reads the sign of zero by a bitcast, which the other engines do not have.
        return tf.argmax(x, axis=axis, output_type=tf.int32)
    return ops.cast(ops.argmax(x, axis=axis), "int32")


def has_accelerator() -> bool:
    """Whether Keras computes on a device other than a CPU."""
    return any(not name.lower().startswith("cpu") for name in keras.distribution.list_devices())


@dataclass(frozen=True)
class Accelerator:
    """A device other than a CPU.

    Attributes:
        kind: "gpu", "tpu", or what else the backend calls it, in small letters.
        capability: an NVIDIA GPU's compute capability, such as (8, 0); None if unknown.
    """

    kind: str
    capability: tuple[int, int] | None = None


def accelerators() -> list[Accelerator]:
    """The devices other than CPUs on which Keras computes."""
    if not has_accelerator():
        return []
    if keras.backend.backend() == "jax":
        import jax

        return [Accelerator(device.platform.lower(),
                            _capability(getattr(device, "compute_capability", None)))
                for device in jax.local_devices() if device.platform.lower() != "cpu"]
    import tensorflow as tf

    return [Accelerator(device.device_type.lower(), _capability(
                tf.config.experimental.get_device_details(device).get("compute_capability")))
            for device in tf.config.list_physical_devices() if device.device_type != "CPU"]


def _capability(found: str | tuple[int, int] | None) -> tuple[int, int] | None:
    """(8, 0), as TensorFlow has it, or "8.0", as JAX does; None for that of another maker."""
    if isinstance(found, str):
        match = re.fullmatch(r"(\d+)\.(\d+)", found)
        return (int(match[1]), int(match[2])) if match else None
    return (int(found[0]), int(found[1])) if found else None


def enable_determinism() -> None:
    """Has TensorFlow choose kernels whose results are equal in each run; see `determinism`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


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

        def call(*inputs: Array) -> Array:
            if is_detection_only() and tf.config.functions_run_eagerly():
                raise DetectionOnlyError(
                    "tf.config.run_functions_eagerly(True) is set in a process that called "
                    "frcnn.startup.detection_only(): operations that run one by one would take the "
                    "weights of others. Set it to False, or start a process without "
                    "detection_only().")
            with weights_stay_the_same():  # whoever changes them compiles again
                # Tensors, which tf.config.run_functions_eagerly(True) does not make of arrays.
                return run(*map(tf.convert_to_tensor, inputs)).numpy()

        return call
    return _predict(model) if keras.distribution.distribution() else _compiled_by_jax(model)


def _compiled_by_jax(model: keras.Model) -> Callable[..., Array]:
    """See `compiled`.

    Not `predict_on_batch`, which assigns all variables anew: each detection would look as if the
    weights had changed, and would undo what another thread has assigned meanwhile.
    """
    import jax

    def call(trainable: Sequence[Tensor], others: Sequence[Tensor], inputs: Sequence[Tensor]
             ) -> Tensor:
        return model.stateless_call(trainable, others, inputs, training=False)[0]

    run = jax.jit(call) if model.jit_compile else call
    lock = threading.Lock()  # layers are traced by one thread at a time

    def detect(*inputs: Array) -> Array:
        trainable, others = ([variable.value for variable in variables] for variables in (
            model.trainable_variables, model.non_trainable_variables))
        with lock:
            return np.asarray(run(trainable, others, list(inputs)))

    return detect


def _predict(model: keras.Model) -> Callable[..., Array]:
    """See `compiled`; with the batch divided among the devices of a distribution."""
    lock = threading.Lock()  # Keras keeps the state of a prediction in the model

    def predict(*inputs: Array) -> Array:
        with lock:
            return np.asarray(model.predict_on_batch(list(inputs)))

    return predict
