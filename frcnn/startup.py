"""What a program does or says before it begins, to come to its results sooner."""

import contextlib
import gc
import os
import sys
import tempfile

# Of TensorFlow, which reads it when it first computes, and keeps to it.
FROZEN_WEIGHTS = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"
_TRUE = ("1", "true")
_was_said = False


@contextlib.contextmanager
def collection_paused():
    """While this is open, Python does not search for cyclic garbage.

    Importing TensorFlow, building a model and tracing it make millions of objects that all stay.
    Going through them again and again takes a quarter of the time, and finds nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def import_keras():
    """Imports Keras and its backend; before anything else does, that takes a third less time."""
    with collection_paused():
        import keras  # noqa: F401


def detection_only():
    """Says that this process detects and never trains, which makes detection faster.

    On a CPU, TensorFlow then keeps the kernel of each convolution, from its first use on, in the
    layout that the processor multiplies fastest, instead of reading the variable each time.
    `MaskRCNN.detect`, `detect_stream`, `detect_molded` and `run_graph` notice changed weights and
    start afresh, and training is refused. Anything else in this process that computes with Keras
    gives wrong results without a word once weights change, `keras_model.predict` included; so do
    convolutions that are called one by one, outside a compiled function, in any case.

    Call it before anything is computed, and never in a process that trains: TensorFlow looks once,
    and cannot be told otherwise. Programs that this one starts inherit it through the environment,
    and an environment that says 0 is left alone. JAX does not need it.
    """
    global _was_said
    if os.environ.setdefault(FROZEN_WEIGHTS, "1").lower() in _TRUE:
        _was_said = True


def is_detection_only():
    """Whether `detection_only` was called, or the environment says the same."""
    return _was_said or os.environ.get(FROZEN_WEIGHTS, "").lower() in _TRUE


def start_backend():
    """Imports Keras and wakes its backend; returns the names of the devices it computes on.

    What the backend's libraries tell on the way (TensorFlow prints a page before any log level
    counts) is held back, unless it fails or TF_CPP_MIN_LOG_LEVEL asks for it.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _stderr_held_back() if level >= "2" else contextlib.nullcontext():
        import_keras()
        # What has been imported stays, so that no collection needs to go through it ever again.
        gc.freeze()
        import keras

        keras.ops.zeros(1)
        devices = keras.distribution.list_devices()
    gpus = [name for name in devices if not name.lower().startswith("cpu")]
    return gpus or devices


@contextlib.contextmanager
def _stderr_held_back():
    """Sends what C libraries write to stderr to a file; shows it only if the block fails."""
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
