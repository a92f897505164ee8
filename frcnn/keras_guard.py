"""Refuses Keras's models and layers in a process in which they would compute with old weights.

See `frcnn.startup.detection_only`.
"""

import contextlib
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from frcnn.errors import DetectionOnlyError

_METHODS = ("fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch")
_allowed: ContextVar[bool] = ContextVar("frcnn_weights_stay_the_same", default=False)


@contextlib.contextmanager
def weights_stay_the_same() -> Iterator[None]:
    """A context in which Keras's models may be called after `detection_only`.

    Only for functions that are compiled anew for each set of weights: in a compiled function that
    has been called, a convolution keeps the weights of its first call; outside of one, it may take
    those of another convolution.
    """
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def guard_keras(is_wanted: Callable[[], bool]) -> None:
    """Has Keras's models and layers ask before they compute; Keras is not imported for that.

    Args:
        is_wanted: function without arguments: whether they are to be refused.
    """
    keras = sys.modules.get("keras")
    if keras is not None:
        _guard(keras, is_wanted)
    elif not any(isinstance(finder, _WhenImported) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenImported(is_wanted))


class _WhenImported(importlib.abc.MetaPathFinder):
    """Guards Keras once it has been imported."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self.is_wanted = is_wanted

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None,
                  ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the other finders give, with a loader that guards the module."""
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _guard(module, self.is_wanted)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _guard(keras: ModuleType, is_wanted: Callable[[], bool]) -> None:
    if hasattr(keras.Layer.__call__, "frcnn_guard"):
        return

    def is_refused() -> bool:
        return is_wanted() and not _allowed.get() and keras.backend.backend() == "tensorflow"

    call = keras.Layer.__call__

    @functools.wraps(call)
    def guarded_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_refused():
            return call(self, *args, **kwargs)
        if _is_symbolic(keras, (args, kwargs)):
            with weights_stay_the_same():  # shapes are inferred by calls with tensors
                return call(self, *args, **kwargs)
        _refuse(self, "is called", self.weights)
        outputs = call(self, *args, **kwargs)
        _refuse(self, "is called", self.weights)  # those of a layer may only exist now
        return outputs

    guarded_call.frcnn_guard = True  # type: ignore[attr-defined]
    keras.Layer.__call__ = guarded_call
    for name in _METHODS:
        setattr(keras.Model, name, _guarded_method(getattr(keras.Model, name), is_refused))


def _guarded_method(method: Callable[..., Any], is_refused: Callable[[], bool],
                    ) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_refused():
            _refuse(self, f"is used by {method.__name__}", True)
        return method(self, *args, **kwargs)

    return guarded


def _is_symbolic(keras: ModuleType, arguments: Any) -> bool:
    """Whether a call builds a graph: one of its arguments is a tensor without values."""
    return any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(arguments))


def _refuse(layer: Any, what: str, weights: Any) -> None:
    if weights:
        raise DetectionOnlyError(
            f"{layer.name!r} ({type(layer).__name__}) {what} in a process in which "
            "frcnn.startup.detection_only() was called, or that inherited its environment variable "
            "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS: TensorFlow would compute with weights that it has "
            "kept from earlier. MaskRCNN's detect, detect_stream, detect_molded and "
            "run_graph notice changed weights; anything else belongs in a process without "
            "detection_only(), or, if no weight of it ever changes, in a compiled function called "
            "in the context of frcnn.keras_guard.weights_stay_the_same().")
