"""What a program does or says before it begins, to come to its results sooner."""

import contextlib
import gc
import os

FROZEN_WEIGHTS = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"


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


def detection_only():
    """Says that this process detects and never trains, which makes detection faster.

    On a CPU, TensorFlow then keeps the kernel of each convolution, from its first use on, in the
    layout that the processor multiplies fastest, instead of reading the variable each time. So it
    computes on with old values when weights change: a MaskRCNN notices that and starts afresh, and
    refuses to be built for training, but convolutions and matrix products of other models in this
    process, or called one by one, give wrong results. Programs that this one starts inherit it.

    Call it before anything is computed; later it has no effect. JAX does not need it.
    """
    os.environ[FROZEN_WEIGHTS] = "1"


def is_detection_only():
    """Whether `detection_only` was called, or the environment says the same."""
    return os.environ.get(FROZEN_WEIGHTS, "").lower() in ("1", "true")
