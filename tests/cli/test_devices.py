"""`frcnn train` on several devices: its options, and a whole run in two processes."""

import os
import re
import socket
import subprocess
import sys

import keras
import pytest
from cli_tools import fails
from places import PROJECT

from frcnn.cli import main as cli

ON_JAX = keras.backend.backend() == "jax"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--coordinator", "here"], "HOST:PORT"),
    (["--coordinator", "here:1"], "needs processes and process_id"),
    (["--processes", 2, "--process-id", 0], "needs coordinator"),
    (["--distributed", "--devices", 2], "devices is 2, but a job of several processes"),
    (["--devices", 0], "--devices"), (["--devices", "some"], "--devices"),
])  # fmt: skip
def test_options_that_contradict_each_other(capsys, coco_folder, arguments, message):
    assert message in fails(capsys, cli.main, "train", "--dataset", coco_folder, *arguments)


@pytest.mark.skipif(ON_JAX, reason="the backend is the right one")
def test_another_backend_that_is_imported(capsys, coco_folder):
    line = fails(capsys, cli.main, "train", "--dataset", coco_folder, "--devices", 2)
    assert "imported already, with tensorflow" in line


@pytest.mark.nightly
def test_two_processes_make_one_run(tmp_path):
    """The network is a function that loads Keras, so that the backend has to be named."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        sys.executable, str(PROJECT / "tests/tools/small_train.py"), "--logs", str(tmp_path),
        "--epochs", "1", "--steps", "2", "--batch-size", "2", "--evaluate-every", "1",
        "--val-images", "2", "--coordinator", address, "--processes", "2", "--process-id"]
    children = [subprocess.Popen([*command, str(number)], text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE,
                                 env={**os.environ, "JAX_PLATFORMS": "cpu",
                                      "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(
                                          map(str, (PROJECT, PROJECT / "tests/tools")))})
                for number in range(2)]
    results = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], results
    out, silent = results[0][0], results[1][0]
    # What is JAX's own (a library of it writes to stdout) cannot be left out.
    assert [line for line in silent.splitlines() if not line.startswith("[Gloo]")] == []
    assert "backend       jax, which training on several devices needs" in out
    assert "processes     2, with 2 devices" in out
    assert re.search(r"^epoch 1/1 .* val_AP ", out, re.MULTILINE)
    (folder,) = tmp_path.iterdir()
    assert {"report.html", "metrics.json", "plan.json", "options.json"} <= {
        path.name for path in folder.iterdir()}
