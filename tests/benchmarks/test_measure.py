"""Measurement of time and memory, measuring processes, and the machine's description."""

import os
import signal
import sys
import time

import numpy as np
import pytest

from benchmarks import children, machine, matrix_product, measure
from frcnn.startup import FROZEN_WEIGHTS

STATUS = """Name:\tpython
VmPeak:\t12644 kB
VmHWM:\t    9060 kB
VmRSS:\t    8000 kB
Threads:\t1
"""
needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
MEGABYTE = 10**6


def test_status():
    assert measure.parse_status(STATUS) == {"VmHWM": 9060 * 1024, "VmRSS": 8000 * 1024}
    assert measure.parse_status("Name:\tkernel thread\n") == {}


@needs_proc
def test_the_peak_includes_freed_memory_until_it_is_reset():
    measure.reset_peak()
    before = measure.resident()
    block = np.ones(200 * MEGABYTE, np.uint8)
    del block
    assert measure.peak() - before > 190 * MEGABYTE
    if measure.reset_peak():
        assert measure.peak() - before < 100 * MEGABYTE


@needs_proc
def test_a_child_does_not_inherit_the_peak():
    block = np.ones(300 * MEGABYTE, np.uint8)
    assert children.run("measure:peak") < 100 * MEGABYTE
    del block


def test_without_proc_there_are_no_figures(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "STATUS", tmp_path / "none")
    monkeypatch.setattr(measure, "CLEAR_REFS", tmp_path / "no" / "none")
    assert measure.peak() is None and measure.resident() is None and not measure.reset_peak()


def test_runs_after_a_warm_up():
    calls = []
    times = measure.time_runs(lambda: calls.append(time.sleep(0.01)), runs=3, warmup=2)
    assert len(calls) == 5 and len(times) == 3 and min(times) >= 0.01
    assert measure.median([3, 1, 2]) == 2 and measure.median([]) is None


@needs_proc
def test_memory_is_watched_to_the_end():
    with measure.watch_memory(interval=0.01) as readings:
        time.sleep(0.1)
        block = np.ones(100 * MEGABYTE, np.uint8)
    assert len(readings) >= 4
    assert readings[-1] - readings[0] > 90 * MEGABYTE
    del block


def test_a_matrix_product_in_both_formats():
    for dtype in ("float32", "bfloat16"):
        times = matrix_product.product_times(dtype, side=32, runs=2)
        assert len(times) == 2 and min(times) > 0


def test_the_unit_is_the_median_of_before_and_after():
    result = {"unit_before": [0.30, 0.32, 0.31], "unit_after": [0.33, 0.29]}
    assert matrix_product.unit_seconds(result) == 0.31
    assert matrix_product.is_steady(result)
    assert not matrix_product.is_steady({"unit_before": [0.30], "unit_after": [0.34]})


def test_the_machine_in_words(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = machine.describe()
    assert found["cores"] >= 1 and "numpy" in found["packages"]
    text = "\n".join(machine.sentences({**found, "load": 0.0}))
    assert f"{found['cores']} cores" in text and "OMP_NUM_THREADS=7" in text
    assert "Other work" not in text


def test_load_at_the_start_is_reported():
    found = {**machine.describe(), "cores": 2, "load": 1.9, "environment": {}}
    assert "Other work was running at the start (load 1.9)" in machine.sentences(found)[-1]


# --- processes --------------------------------------------------------------------------------


def test_a_function_in_a_process_of_its_own():
    assert children.run("machine:cores") == machine.cores()
    assert children.run("report:figure", value=1.234, digits=2) == "1.2"


def test_a_process_does_not_inherit_frozen_weights(monkeypatch):
    monkeypatch.setenv(FROZEN_WEIGHTS, "1")
    assert FROZEN_WEIGHTS not in children.environment()


def test_a_failure_of_a_process_has_its_reason():
    with pytest.raises(children.ChildError, match=r"code 1 (.|\n)*no attribute 'nothing'"):
        children.run("report:nothing")


def test_a_process_that_is_killed_for_its_memory(monkeypatch):
    monkeypatch.setattr(children, "MARK", "another mark: ")  # so that the result is not recognized
    with pytest.raises(children.ChildError, match="without a result"):
        children.run("machine:cores")
    assert "no memory was left" in children.reason(-signal.SIGKILL, "")


def test_modules_are_found_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.fspath(tmp_path))
    assert children.run("machine:cores") == machine.cores()
