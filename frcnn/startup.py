"""What a program can do before its first computation to start and to run faster."""

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from frcnn.errors import BackendError
from frcnn.keras_guard import guard_keras

# TensorFlow reads this variable once, at its first computation.
FROZEN_WEIGHTS = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"
BACKENDS = ("tensorflow", "jax")
# By the names of the functions of `keras.config`. Others, such as `epsilon`, change nothing here.
KERAS_SETTINGS = {"floatx": "float32", "image_data_format": "channels_last"}
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
    compile again, and training is refused. Other computations would silently use old weights, so
    from now on Keras's models and layers raise DetectionOnlyError when they are called or trained,
    whosever they are; only `weights_stay_the_same` lets them. What does not go through a Keras
    layer, such as `keras.ops.conv`, is not noticed.

    Call it before anything is computed, and never in a process that trains: TensorFlow reads the
    environment variable `TF_ONEDNN_ASSUME_FROZEN_WEIGHTS` once. Child processes inherit it, so that
    this declaration holds in them as well, from where they import this package. A value of 0 that
    is set already is left alone. JAX does not need it.
    """
    global _was_said
    if os.environ.setdefault(FROZEN_WEIGHTS, "1").lower() in _TRUE:
        _was_said = True
        guard_keras(lambda: _was_said)


def is_detection_only() -> bool:
    """Whether `detection_only` was called, or the environment variable is set."""
    return _was_said or os.environ.get(FROZEN_WEIGHTS, "").lower() in _TRUE


def start_backend(program: bool = False) -> list[str]:
    """Imports Keras and initializes its backend.

    What the backend's libraries print meanwhile (TensorFlow prints a page before any log level
    applies) is suppressed, unless it fails or TF_CPP_MIN_LOG_LEVEL asks for it.

    Args:
        program: True for a program that owns its process. Then what was imported is left out of
            Python's search for cyclic garbage from now on, and settings in `keras.json` with which
            the detector cannot be computed are replaced, for this process.

    Returns:
        Names of the devices that Keras computes on: the GPUs, or the CPU if there are none.

    Raises:
        BackendError: the backend cannot be imported.
    """
    import_quietly(program)
    with _quiet():
        import keras

        if program:
            for name, value in KERAS_SETTINGS.items():
                getattr(keras.config, f"set_{name}")(value)
        keras.ops.zeros(1)
        devices = keras.distribution.list_devices()
    gpus = [name for name in devices if not name.lower().startswith("cpu")]
    return gpus or devices


def import_quietly(program: bool = False) -> None:
    """The first part of `start_backend`: imports Keras, but computes nothing yet."""
    if "keras" in sys.modules:
        return
    with _quiet():
        _import_or_explain()
    if program:
        # What has been imported stays in use: no collection needs to search it again. Only now:
        # later there are models, which would never be freed.
        gc.freeze()


def _quiet() -> contextlib.AbstractContextManager[None]:
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return _stderr_held_back() if level not in ("0", "1") else contextlib.nullcontext()


def _import_or_explain() -> None:
    try:
        import_keras()
    except (ImportError, ValueError) as error:
        raise BackendError(f"Keras cannot be imported with its backend: {error}. The backend is "
                           "named by the environment variable KERAS_BACKEND or by ~/.keras/"
                           f"keras.json; set KERAS_BACKEND to {' or '.join(BACKENDS)}.") from error


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Redirects what C libraries write to stderr to a file; shows it only if the block fails.

    A library may also end the process in the block, with its reason as the last thing that it
    writes. A second process notices that, and shows the file.
    """
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.NamedTemporaryFile() as aside, watched(_COPY_FILE, aside.name):
        os.dup2(aside.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                aside.seek(0)
                sys.stderr.write(aside.read().decode(errors="replace"))


# Ends without a sign where its input ends with one; else copies the file to stderr.
_COPY_FILE = """
import shutil, sys
with open(sys.argv[1], "rb") as file:
    if not sys.stdin.buffer.read(1):
        shutil.copyfileobj(file, sys.stderr.buffer)
"""


@contextlib.contextmanager
def watched(program: str, argument: str) -> Iterator[None]:
    """Starts a process that notices if this one ends within the block, however it does.

    Args:
        program: Python code. Its standard input ends with a byte where the block was left, without
            one where this process has ended.
        argument: its `sys.argv[1]`.
    """
    try:
        watcher = subprocess.Popen([sys.executable, "-I", "-S", "-c", program, argument],
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   start_new_session=True)
    except (OSError, ValueError):  # none can be started
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            watcher.communicate(b"+")


if os.environ.get(FROZEN_WEIGHTS, "").lower() in _TRUE:  # from the process that started this one
    detection_only()
