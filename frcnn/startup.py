"""What a program can do before its first computation to start and to run faster."""

import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow reads this variable once, at its first computation.
FROZEN_WEIGHTS = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"
_TRUE = ("1", "true")
_was_said = False


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Pauses Python's search for cyclic garbage.

    Importing TensorFlow, building a model and tracing it create millions of objects that all stay
    in use. Searching them again and again takes up to a quarter of the time, and frees nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def import_keras() -> None:
    """Imports Keras and its backend in about a fifth less processor time, if it is the first."""
    with collection_paused():
        import keras  # noqa: F401


def detection_only() -> None:
    """Declares that this process detects and never trains, which makes detection faster.

    On a CPU, TensorFlow then keeps the kernel of each convolution, from its first use on, in the
    layout that the processor multiplies fastest, instead of reading the variable each time.
    `MaskRCNN.detect`, `detect_stream`, `detect_molded` and `run_graph` notice changed weights and
    compile again, and training is refused. Anything else in this process that computes with Keras
    silently gives wrong results once weights change, `keras_model.predict` included; so do
    convolutions that are called one by one, outside a compiled function, in any case.

    Call it before anything is computed, and never in a process that trains: TensorFlow reads the
    environment variable `TF_ONEDNN_ASSUME_FROZEN_WEIGHTS` once. Child processes inherit it, and a
    value of 0 that is set already is left alone. JAX does not need it.
    """
    global _was_said
    if os.environ.setdefault(FROZEN_WEIGHTS, "1").lower() in _TRUE:
        _was_said = True


def is_detection_only() -> bool:
    """Whether `detection_only` was called, or the environment variable is set."""
    return _was_said or os.environ.get(FROZEN_WEIGHTS, "").lower() in _TRUE


def start_backend() -> list[str]:
    """Imports Keras and initializes its backend.

    What the backend's libraries print meanwhile (TensorFlow prints a page before any log level
    applies) is suppressed, unless it fails or TF_CPP_MIN_LOG_LEVEL asks for it.

    Returns:
        Names of the devices that Keras computes on: the GPUs, or the CPU if there are none.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _stderr_held_back() if level >= "2" else contextlib.nullcontext():
        if "keras" not in sys.modules:
            import_keras()
            # What has been imported stays in use: no collection needs to search it again. Only
            # now: later there are models, which would never be freed.
            gc.freeze()
        import keras

        keras.ops.zeros(1)
        devices = keras.distribution.list_devices()
    gpus = [name for name in devices if not name.lower().startswith("cpu")]
    return gpus or devices


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Redirects what C libraries write to stderr to a file; shows it only if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                aside.seek(0)
                sys.stderr.write(aside.read().decode(errors="replace"))
