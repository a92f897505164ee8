"""A process that only detects finds the same, also when its weights are changed after all."""

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
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
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
