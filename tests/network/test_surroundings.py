"""Other settings of Keras and TensorFlow in the process: the detector works, or says why not."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from model_tools import Rectangles, noise, prefer_objects, small_config
from places import PROJECT

from frcnn.errors import BackendError
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.network.graph import build_detector
from frcnn.network.ops import surroundings
from frcnn.training import trainer

on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow",
                                   reason="a setting of TensorFlow")
IMAGES = noise([(100, 128), (64, 64)])


@pytest.fixture
def restored():
    """Puts Keras's settings back."""
    before = (keras.config.floatx(), keras.config.image_data_format(), keras.config.epsilon(),
              keras.config.dtype_policy())
    yield
    for name, value in zip(("floatx", "image_data_format", "epsilon", "dtype_policy"), before):
        getattr(keras.config, f"set_{name}")(value)


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("name, value", [
    ("floatx", "float16"), ("floatx", "float64"), ("image_data_format", "channels_first")])
def test_settings_that_give_other_numbers_are_refused_by_name(restored, detecting, tmp_path, name,
                                                              value):
    detecting.detect(IMAGES)
    training = build_detector("training", small_config())
    getattr(keras.config, f"set_{name}")(value)
    for attempt in (lambda: MaskRCNN("inference", small_config(), tmp_path),
                    lambda: detecting.detect(IMAGES),
                    lambda: detecting.detect_molded(np.zeros((1, 128, 128, 3)), np.zeros((1, 16))),
                    lambda: detecting.run_graph(IMAGES[:1], []),
                    lambda: trainer.compile_detector(training, small_config(), 0.1)):
        with pytest.raises(BackendError) as caught:
            attempt()
        for part in (f"setting {name} is {value!r}", "keras.json", f"keras.config.set_{name}("):
            assert part in str(caught.value)


@pytest.mark.parametrize("name, value", [
    ("epsilon", 1e-3), ("dtype_policy", "mixed_bfloat16"), ("dtype_policy", "mixed_float16")])
def test_settings_that_do_not_matter(restored, detecting, tmp_path, name, value):
    expected = detecting.detect(IMAGES)
    getattr(keras.config, f"set_{name}")(value)
    policy = keras.config.dtype_policy()
    model = MaskRCNN("inference", small_config(), tmp_path, seed=1)
    prefer_objects(model)
    assert_same(model.detect(IMAGES), expected)
    assert keras.config.dtype_policy() == policy
    for backbone in ("densenet121", "resnet50"):
        config = small_config(BACKBONE=backbone, IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=64)
        layers = build_detector("training", config).layers
        assert {layer.compute_dtype for layer in layers if layer.weights} == {"float32"}
        assert {layer.compute_dtype for layer in layers} == {"float32"}


@on_tensorflow
def test_functions_that_run_eagerly(detecting, tmp_path):
    import tensorflow as tf

    def trained():
        model = MaskRCNN("training", small_config(STEPS_PER_EPOCH=1), tmp_path, seed=1)
        model.train(Rectangles([(128, 128)] * 2), None, 0.01, 1, "all", verbose=0)
        return model.history["loss"]

    expected, loss = detecting.detect(IMAGES), trained()
    tf.config.run_functions_eagerly(True)
    try:
        model = MaskRCNN("inference", small_config(), tmp_path, seed=1)
        prefer_objects(model)
        for eager in (model, detecting):
            assert_same(eager.detect(IMAGES), expected)
        with pytest.warns(UserWarning, match="run_functions_eagerly"):  # TensorFlow's own
            np.testing.assert_allclose(trained(), loss, rtol=1e-3)
    finally:
        tf.config.run_functions_eagerly(False)


@on_tensorflow
def test_without_eager_execution_it_says_why_not(monkeypatch, tmp_path):
    monkeypatch.setattr(surroundings, "_executes_eagerly", lambda: False)
    with pytest.raises(BackendError, match="disable_eager_execution"):
        MaskRCNN("inference", small_config(), tmp_path)


def test_another_backend_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(BackendError, match="backend is torch; set the environment"):
        surroundings.check_backend()


# --- in processes of their own ------------------------------------------------------------------


def run_child(code, *arguments, **environment):
    """A Python process with that code, and what it printed."""
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "tests" / "tools")])
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], text=True,
                          capture_output=True, check=False, timeout=300,
                          env={**os.environ, "PYTHONPATH": paths, **environment})


def test_a_program_replaces_what_keras_json_sets(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({
        "floatx": "float16", "image_data_format": "channels_first", "epsilon": 1e-3,
        "backend": keras.backend.backend()}))
    code = ("import sys, keras; from frcnn.startup import start_backend\n"
            "print(keras.config.floatx(), keras.config.image_data_format())\n"
            "start_backend(program=True)\n"
            "from model_tools import *; from frcnn.model.mask_rcnn import MaskRCNN\n"
            "model = MaskRCNN('inference', small_config(), sys.argv[1], seed=1)\n"
            "prefer_objects(model)\n"
            "print(len(model.detect(noise([(100, 128)]))[0]['rois']))\n")
    done = run_child(code, tmp_path, KERAS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, found = done.stdout.splitlines()
    assert first == "float16 channels_first" and int(found) > 0


def test_a_backend_that_is_not_there_is_one_line(tmp_path):
    code = ("import sys; from frcnn.cli.program import program\n"
            "from frcnn.startup import start_backend\n"
            "sys.exit(program(lambda argv: start_backend(), 'tool')())")
    done = run_child(code, KERAS_BACKEND="nonsense", KERAS_HOME=str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("tool: error: Keras cannot be imported with its backend: ")
    assert "set KERAS_BACKEND to tensorflow or jax" in line


ABORTS = """
import ctypes, os, sys
from frcnn import startup

def abort():
    os.write(2, b"F0000 Check failed: the reason\\n")
    if sys.argv[1] == "abort":
        ctypes.CDLL(None).abort()
    if sys.argv[1] == "exit":
        os._exit(3)
    if sys.argv[1] == "raise":
        raise RuntimeError("no more")

startup.import_keras = abort
try:
    startup.start_backend()
except AttributeError:  # of the module that was not imported
    pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="uses the C library's abort")
@pytest.mark.parametrize("ending", ["abort", "exit", "raise"])
def test_a_native_abort_shows_its_message(ending):
    done = run_child(ABORTS, ending, TF_CPP_MIN_LOG_LEVEL="2")
    assert done.returncode != 0
    assert done.stderr.startswith("F0000 Check failed: the reason\n")


def test_only_a_program_changes_the_garbage_collection(tmp_path):
    code = ("import gc, sys\n"
            "from frcnn.startup import start_backend\n"
            "import frcnn.cli.main, frcnn.cli.train, frcnn.cli.detect\n"
            "start_backend(program=len(sys.argv) > 1); print(gc.get_freeze_count() > 0)")
    assert run_child(code).stdout == "False\n"
    assert run_child(code, "program").stdout == "True\n"


FORKS = """
import os, sys, tempfile, threading, time
import numpy as np
from model_tools import *
from frcnn.errors import BackendError
from frcnn.geometry import anchors
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.training import trainer

logs, images = tempfile.mkdtemp(), noise([(100, 128)])

def build():
    model = MaskRCNN("inference", small_config(), logs, seed=1)
    prefer_objects(model)
    return model

def in_child(*attempts):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        for attempt in attempts:
            try:
                print("works", bool(len(attempt())))
            except BackendError as error:
                print("error", str(error)[:27], "spawn" in str(error))
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

in_child(lambda: build().detect(images))  # after the import alone, it works
model = build()
in_child(build, lambda: model.detect(images), lambda: model.run_graph(images, []),
         lambda: model.detect_molded(np.zeros((1, 128, 128, 3)), np.zeros((1, 16))),
         lambda: trainer.compile_detector(model.keras_model, model.config, 0.1))

def hold():
    with anchors._lock:
        time.sleep(2)

thread = threading.Thread(target=hold)
thread.start()
time.sleep(0.5)
in_child(lambda: anchors.pyramid_anchors(small_config(), (128, 128, 3)))
thread.join()
print(len(model.detect(images)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_process_works_or_says_why_not():
    """Without the check, the second child would wait forever, and the third for the lock."""
    done = run_child("import signal; signal.alarm(250)\n" + FORKS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "works True", *["error This process was forked fro True"] * 5, "works True", "1"]
