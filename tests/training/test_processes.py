"""Trainings in processes of their own, on several of JAX's devices: the same numbers as on one."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from places import PROJECT

CHILD = PROJECT / "tests/tools/distributed_child.py"


class Child:
    """A process that trains; `options` as of the child's program."""

    def __init__(self, devices=1, backend="jax", **options):
        environment = {
            **os.environ, "JAX_PLATFORMS": "cpu", "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": os.pathsep.join(map(str, (PROJECT, PROJECT / "tests/tools"))),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), json.dumps(options, default=str)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        self.out = self.err = ""

    def end(self):
        """Waits; returns the exit code."""
        self.out, self.err = self.process.communicate()
        return self.process.returncode

    def result(self):
        assert self.end() == 0, self.err
        return json.loads(self.out.splitlines()[-1])


def together(count, of_process=None, **options):
    """`count` processes of one job; `of_process` are the options of one, by its number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [Child(**{**options, **(of_process or {}).get(number, {})},
                  start={"coordinator": address, "processes": count, "process_id": number})
            for number in range(count)]


def weights(path):
    with np.load(path) as file:
        return dict(file)


def assert_close(path, other):
    """Equal but for the order of sums, over a few steps."""
    one, two = weights(path), weights(other)
    assert one.keys() == two.keys() and len(one) > 30
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.nightly
def test_the_numbers_of_any_number_of_devices_and_processes(tmp_path):
    """BatchNorm is trained, gradients are clipped, weights decay, RoIs are sampled."""
    one = Child(start={"devices": 1}, folder=tmp_path / "one", weights=tmp_path / "one.npz")
    alone = one.result()
    two = Child(start={"devices": "all"}, devices=2, folder=tmp_path / "two",
                weights=tmp_path / "two.npz").result()
    assert (alone["devices"], two["devices"], two["backend"]) == (1, 2, "jax")
    assert_close(tmp_path / "one.npz", tmp_path / "two.npz")
    first, second = (child.result() for child in together(2, folder=tmp_path / "processes"))
    assert first["digest"] == second["digest"] == two["digest"]
    assert first["history"] == second["history"] == two["history"]
    # Both have read each image of the epochs once between them; and there is one run.
    assert sorted(first["read"] + second["read"]) == sorted(alone["read"])
    assert first["log_dir"] == second["log_dir"]
    (folder,) = (tmp_path / "processes").iterdir()
    assert json.loads((folder / "history.json").read_text()) == first["history"]
    assert [path.name for path in sorted(folder.glob("*.h5"))] == [
        "mask_rcnn_several_0001.h5", "mask_rcnn_several_0002.h5"]


@pytest.mark.nightly
def test_a_job_that_lost_a_process_goes_on_with_more(tmp_path):
    options = {"settings": {"IMAGES_PER_GPU": 6}, "images": 18, "validate": False}
    children = together(2, folder=tmp_path / "logs", **options, train={"save_every": 1},
                        of_process={1: {"end": {"steps": 5, "number": signal.SIGKILL}}})
    codes = [child.end() for child in reversed(children)]
    assert codes[0] == -signal.SIGKILL and codes[1] not in (0, None)
    assert re.search(r"Another process of the job has ended.* process 0 of 2\. Continue it with"
                     r".* another number of processes", children[0].err), children[0].err
    first, *others = together(3, folder=tmp_path / "logs", **options, resume=True,
                              of_process={0: {"weights": tmp_path / "resumed.npz"}})
    first = first.result()
    assert {other.result()["digest"] for other in others} == {first["digest"]}
    assert len(first["read"]) == 2  # a third of the one step that was left
    whole = Child(start={"devices": 1}, folder=tmp_path / "whole", **options,
                  weights=tmp_path / "whole.npz").result()
    assert_close(tmp_path / "whole.npz", tmp_path / "resumed.npz")
    for name, values in whole["history"].items():
        np.testing.assert_allclose(first["history"][name], values, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_signal_to_one_process_ends_all_after_the_same_step(tmp_path):
    children = together(2, folder=tmp_path, images=12, of_process={
        1: {"end": {"steps": 2, "number": signal.SIGTERM}}})
    for child in children:
        assert child.end() != 0 and "TrainingInterrupted" in child.err, child.err
    (state,) = tmp_path.glob("*/*.state")
    assert state.name == "training_state_0000_000003.state"


@pytest.mark.slow
def test_processes_with_other_data_or_settings_end_before_the_first_step(tmp_path):
    for other, message in (
            ({"images": 10}, r"the training data is 8 images .* in process 0 and 10 images .* in "
                             r"process 1"),
            ({"settings": {"WEIGHT_DECAY": 0.25}},
             r"the setting WEIGHT_DECAY is 0\.0001 in process 0 and 0\.25 in process 1")):
        children = together(2, folder=tmp_path, of_process={1: other})
        for child in children:
            assert child.end() == 1
        assert any(re.search(message, child.err) for child in children), children[0].err
    assert not list(tmp_path.glob("*/*.h5"))


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_five_kills_at_random_steps_change_no_bit_of_the_weights(tmp_path, backend):
    """In steps of an epoch, at its border, and where it is evaluated on other data."""
    options = {"backend": backend, "deterministic": True, "epochs": 3, "validate": False}
    whole = Child(**options, folder=tmp_path / "whole")
    rng, resume = random.Random(4), False
    for _ in range(5):
        child = Child(**options, folder=tmp_path / "killed", train={"save_every": 1},
                      resume=resume, end={"steps": rng.choice([1, 2, 2]),
                                          "number": signal.SIGKILL})
        assert child.end() == -signal.SIGKILL, child.err
        resume = True
    found = Child(**options, folder=tmp_path / "killed", resume=True).result()
    expected = whole.result()
    assert expected["backend"] == found["backend"] == backend
    assert found["digest"] == expected["digest"]
    assert found["history"] == expected["history"]
