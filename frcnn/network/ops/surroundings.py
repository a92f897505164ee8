"""Whether the backend can compute in this process: Keras's global settings, and forked processes.

TensorFlow and JAX have threads from their first computation on. A process that is forked later has
none of them, so that its computations wait forever.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import keras

from frcnn.errors import BackendError
from frcnn.startup import BACKENDS, KERAS_SETTINGS

_state = {"had_threads": False, "was_forked": False}


def check_backend() -> None:
    """Checks that the backend computes the detector, and does so correctly.

    Raises:
        BackendError: a global setting of Keras or TensorFlow does not fit, or this process was
            forked after the first computation.
    """
    backend = keras.backend.backend()
    if _state["was_forked"]:
        raise BackendError(
            f"This process was forked from one in which {backend} had already computed. Its "
            "threads are missing here, so a computation would never end. Start processes with "
            "multiprocessing.get_context('spawn'), or fork before the first model is built.")
    if backend not in BACKENDS:
        raise BackendError(f"Keras's backend is {backend}; set the environment variable "
                           f"KERAS_BACKEND to {' or '.join(BACKENDS)}.")
    for name, value in KERAS_SETTINGS.items():
        found = getattr(keras.config, name)()
        if found != value:
            raise BackendError(
                f"Keras's setting {name} is {found!r}, from ~/.keras/keras.json or set by other "
                f"code in this process, but the detector needs {value!r}: call keras.config."
                f"set_{name}({value!r}) first. (Its number format is the setting PRECISION.)")
    if backend == "tensorflow" and not _executes_eagerly():
        raise BackendError("TensorFlow's eager execution is disabled in this process "
                           "(tf.compat.v1.disable_eager_execution or disable_v2_behavior); Keras "
                           "3 needs it.")


def check_strategy(model: keras.Model) -> None:
    """Raises BackendError if a model would be trained under a TensorFlow distribution strategy.

    Under `MirroredStrategy` Keras 3 would train it, but each replica would clip its own gradients
    and add all of the weight decay, and the loss would be the sum of the replicas'.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    # Outside any scope this is the default strategy, which does nothing.
    inside = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    strategy = inside or getattr(model, "_distribute_strategy", None)
    if strategy is not None:
        raise BackendError(
            f"The detector is not trained under TensorFlow's {type(strategy).__name__}, where its "
            "losses and steps would be wrong: several devices are supported on the JAX backend, by "
            "frcnn train --devices N or frcnn.training.distributed.start().")


@contextlib.contextmanager
def default_policy() -> Iterator[None]:
    """A context in which layers without a dtype of their own get float32, as by default.

    Other code in the process may have set a policy for models of its own, which would also change
    the inputs of nested models here.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _executes_eagerly() -> bool:
    import tensorflow as tf

    return bool(tf.compat.v1.executing_eagerly_outside_functions())


def _has_threads() -> bool:
    """Whether the backend has been initialized; where it does not tell, True."""
    try:
        if keras.backend.backend() == "tensorflow":
            from tensorflow.python.eager import context

            current = context.context_safe()
            return current is not None and current._context_handle is not None
        bridge = sys.modules["jax._src.xla_bridge"]  # no public function tells
        return bool(bridge.backends_are_initialized())
    except (ImportError, AttributeError, KeyError):
        return True


def _before_fork() -> None:
    _state["had_threads"] = _has_threads()


def _in_child() -> None:
    _state["was_forked"] = _state["was_forked"] or _state["had_threads"]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
