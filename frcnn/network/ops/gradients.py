"""Gradients that are deleted with the graph they belong to.

TensorFlow registers the gradient function of every traced `custom_gradient` for the rest of the
process, and with it the graph and all weights of the model. Keras's optimizers use some, too.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """`keras.ops.custom_gradient`, in the context of `gradients_end_with_the_graph`.

    Args:
        function: as of `keras.ops.custom_gradient`.
    """
    wrapped = ops.custom_gradient(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        with gradients_end_with_the_graph():
            return wrapped(*args, **kwargs)

    return call


@contextlib.contextmanager
def gradients_end_with_the_graph() -> Iterator[None]:
    """A context: gradients that are registered in it last as long as the graph being traced.

    On other backends, and outside of a trace, it does nothing.
    """
    entries = _registry()
    before = set(entries)
    yield
    if entries.keys() == before:
        return
    import tensorflow as tf

    if not tf.executing_eagerly():
        graph = tf.compat.v1.get_default_graph()
        for name in entries.keys() - before:
            _let_graph_own(graph, entries, name)


def _registry() -> dict[str, Any]:
    """TensorFlow's registered gradients; empty on another backend."""
    if keras.backend.backend() != "tensorflow":
        return {}
    try:
        # Internal to TensorFlow; where it has changed all works, but memory is not given back.
        from tensorflow.python.framework.ops import gradient_registry

        return gradient_registry._registry
    except (ImportError, AttributeError):
        return {}


def _let_graph_own(graph: Any, entries: dict[str, Any], name: str) -> None:
    """Moves a registered gradient function to the graph; the registry keeps a weak reference."""
    key, function = next((key, value) for key, value in entries[name].items() if callable(value))
    reference: Callable[[], Any] = weakref.ref(function)
    if not hasattr(graph, "frcnn_gradients"):
        graph.frcnn_gradients = []
    graph.frcnn_gradients.append(function)

    def gradient(*args: Any) -> Any:
        return reference()(*args)  # the graph that asks for it is alive, and so is the function

    entries[name] = {**entries[name], key: gradient}
    weakref.finalize(graph, entries.pop, name, None)
