"""A process that only detects finds the same, also when its weights are changed after all."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from frcnn import startup

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])


def run_child(folder, *words):
    """What the child program found, and what it printed."""
    results = folder / "results.npz"
    done = subprocess.run(
        [sys.executable, str(HERE / "detection_only_child.py"), str(results), str(folder), *words],
        env={**os.environ, "PYTHONPATH": PATHS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(results) as found:
        return dict(found), done.stdout


def test_the_same_is_found_and_training_refused(tmp_path):
    expected, _ = run_child(tmp_path)
    found, said = run_child(tmp_path, "only")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=0.01, err_msg=name)
    # Not the same in every case, else it would show nothing.
    np.testing.assert_array_equal(found["all changed"], found["nothing changed"])
    assert np.abs(expected["first"][:5] - expected["all changed"][:5]).max() > 0.1
    assert np.abs(expected["one changed"][:5] - expected["all changed"][:5]).max() > 0.1
    assert np.abs(expected["inside"]).max() > 0.1 > np.abs(expected["inside, then zero"]).max()
    assert "detection_only" in said and startup.FROZEN_WEIGHTS in said


@pytest.mark.parametrize("value, meant", [
    ("1", True), ("true", True), ("TRUE", True), ("0", False), ("", False)])
def test_the_environment_may_say_it(monkeypatch, value, meant):
    monkeypatch.setenv(startup.FROZEN_WEIGHTS, value)
    assert startup.is_detection_only() is meant


def test_nobody_says_it_unasked():
    assert not startup.is_detection_only()
