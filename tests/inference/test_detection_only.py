"""A process that only detects finds the same, also when its weights are changed after all."""

import json
import os
import runpy
import subprocess
import sys

import keras
import numpy as np
import pytest
from model_tools import small_config
from places import PROJECT

from frcnn import startup
from frcnn.errors import DetectionOnlyError
from frcnn.training import trainer

TOOLS = PROJECT / "tests/tools"
PATHS = os.pathsep.join([str(TOOLS), str(PROJECT), os.environ.get("PYTHONPATH", "")])


IMAGE = np.zeros((64, 64, 3), np.uint8)


def run_child(folder, *words):
    """What the child program found, and what it printed."""
    results = folder / "results.npz"
    done = subprocess.run(
        [sys.executable, str(TOOLS / "detection_only_child.py"), str(results), str(folder), *words],
        env={**os.environ, "PYTHONPATH": PATHS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(results) as found:
        return dict(found), done.stdout


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX does not need it")
@pytest.mark.parametrize("precision", [
    "float32", pytest.param("mixed_bfloat16", marks=pytest.mark.nightly)])
def test_the_same_is_found_and_training_refused(tmp_path, precision):
    expected, _ = run_child(tmp_path, precision)
    found, printed = run_child(tmp_path, precision, "only")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=0.01, err_msg=name)
    # Not the same in every case, else it would show nothing.
    np.testing.assert_array_equal(found["all changed"], found["nothing changed"])
    assert np.abs(expected["first"][:5] - expected["all changed"][:5]).max() > 0.1
    assert np.abs(expected["one changed"][:5] - expected["all changed"][:5]).max() > 0.1
    assert np.abs(expected["inside"]).max() > 0.1 > np.abs(expected["inside, then zero"]).max()
    assert "detection_only" in printed and startup.FROZEN_WEIGHTS in printed


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX does not need it")
@pytest.mark.parametrize("order", ["before", "after", "inherited", "keras-first"])
def test_other_uses_of_keras_are_errors(order):
    """Those that compute; wrong numbers they would be, for any Keras model."""
    inherited = {} if order in ("before", "after") else {startup.FROZEN_WEIGHTS: "1"}
    done = subprocess.run([sys.executable, str(TOOLS / "guard_child.py"), order],
                          env={**os.environ, "PYTHONPATH": PATHS, **inherited}, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    harmless = {name for name, error in found.items() if error is None}
    assert harmless == {"layer without weights", "graph", "clone", "vouched"}
    for name in found.keys() - harmless:
        assert found[name].startswith("DetectionOnlyError: '"), found[name]
        assert "detection_only() was called" in found[name] and "process without" in found[name]


WORKER = """
import json, multiprocessing, sys

def work(module):
    import importlib
    importlib.import_module(module)
    loaded = "keras" in sys.modules
    import numpy as np, keras
    from frcnn.errors import DetectionOnlyError
    from frcnn.startup import is_detection_only
    try:
        keras.layers.Dense(1)(np.ones((1, 1), np.float32))
    except DetectionOnlyError:
        return is_detection_only(), True, loaded
    return is_detection_only(), False, loaded

if __name__ == "__main__":
    if sys.argv[1] == "declared":
        from frcnn.startup import detection_only
        detection_only()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps([pool.apply(work, [module]) for module in ("frcnn", "frcnn.model")]))
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX does not need it")
@pytest.mark.parametrize("declared", [True, False])
def test_workers_of_such_a_process_are_such_processes(tmp_path, declared):
    (tmp_path / "parent.py").write_text(WORKER)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "parent.py"), "declared" if declared else "free"],
        env={**os.environ, "PYTHONPATH": PATHS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [declared, declared, False], [declared, declared, True]]


@pytest.fixture
def undeclared(monkeypatch):
    # Set first, for what the test sets to be taken back: an absent variable is not remembered.
    monkeypatch.setenv(startup.FROZEN_WEIGHTS, "0")
    monkeypatch.delenv(startup.FROZEN_WEIGHTS)
    monkeypatch.setattr(startup, "_was_said", False)


def test_it_cannot_be_revoked(undeclared, monkeypatch):
    startup.detection_only()
    assert startup.is_detection_only() and os.environ[startup.FROZEN_WEIGHTS] == "1"
    monkeypatch.delenv(startup.FROZEN_WEIGHTS)  # TensorFlow may have read it
    assert startup.is_detection_only()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(DetectionOnlyError, match="new process"):
        trainer.compile_detector(model, small_config(), 0.1)


def test_an_environment_that_forbids_it_is_left_alone(undeclared, monkeypatch):
    monkeypatch.setenv(startup.FROZEN_WEIGHTS, "0")
    startup.detection_only()
    assert os.environ[startup.FROZEN_WEIGHTS] == "0" and not startup.is_detection_only()


@pytest.mark.parametrize("program", ["detect.py", "evaluate.py"])
def test_the_programs_call_it(undeclared, monkeypatch, capsys, program):
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_path(str(PROJECT / "samples" / "urinary" / program), run_name="__main__")
    assert leaving.value.code == 0 and startup.is_detection_only()
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize("value, meant", [
    ("1", True), ("true", True), ("TRUE", True), ("0", False), ("", False)])
def test_the_environment_may_set_it(undeclared, monkeypatch, value, meant):
    monkeypatch.setenv(startup.FROZEN_WEIGHTS, value)
    assert startup.is_detection_only() is meant


@pytest.fixture
def computed(undeclared, detecting):
    """A detector that has detected: TensorFlow has read the variable, and found none."""
    detecting.detect([IMAGE])
    keras.layers.Dense(1)(np.ones((1, 1)))
    return detecting


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX does not need it")
def test_operations_one_by_one_are_refused(computed):
    import tensorflow as tf

    startup.detection_only()
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.raises(DetectionOnlyError, match="run_functions_eagerly"):
            computed.detect([IMAGE])
    finally:
        tf.config.run_functions_eagerly(False)
    assert len(computed.detect([IMAGE])) == 1


def test_without_it_keras_is_free_again(computed):
    """The guard stays in place, as tests of one process leave it, and lets everything pass."""
    startup.detection_only()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(DetectionOnlyError):
            model(np.ones((1, 1)))
    startup._was_said = False
    assert model(np.ones((1, 1))).shape == (1, 1)
