"""What the programs write where there is no terminal: a log file without control characters."""

import os
import re
import subprocess
import sys

import pytest
from cli_tools import TINY
from places import PROJECT

from frcnn.cli import starts
from frcnn.cli.starts import Start
from frcnn.config import Config

EPOCHS = 2


def logged(log, *arguments, **environment):
    """The lines of a log file that takes both streams of a program."""
    settings = {name: value for name, value in os.environ.items()
                if name != "TF_CPP_MIN_LOG_LEVEL"}  # as a user's shell has it
    with open(log, "w") as file:
        done = subprocess.run([sys.executable, *map(str, arguments)], stdout=file, stderr=file,
                              cwd=log.parent, check=False,
                              env={**settings, "PYTHONPATH": str(PROJECT), **environment})
    text = log.read_bytes().decode()
    assert done.returncode == 0, text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text), text
    return text.splitlines()


def test_checking_and_drawing(tmp_path):
    lines = logged(tmp_path / "a.log", PROJECT / "samples/urinary/synthetic.py", "drawn",
                   "--train", 30, "--val", 12, "--size", 128)
    assert lines == ["42 micrographs are in drawn"]
    warning, summary = sorted(logged(tmp_path / "b.log", "-m", "frcnn.cli", "check", "drawn"),
                              reverse=True)
    assert summary == "frcnn: errors: 0, repaired: 0, in the subsets train, val"
    # The default anchors miss a fifth of the drawn objects.
    assert re.match(r"warning: train: .* frcnn anchors drawn recommends", warning)


def test_downloads(monkeypatch):
    for terminal, verbose in ((True, 1), (False, 0)):
        monkeypatch.setattr(starts, "shows_progress", lambda terminal=terminal: terminal)
        monkeypatch.setattr("frcnn.weights.download.get_imagenet_weights",
                            lambda name, **options: f"{name}{options['verbose']}")
        start = Start("imagenet")
        starts.fetch(start, Config(BACKBONE="resnet50"))
        assert str(start.path) == f"resnet50{verbose}"


@pytest.mark.nightly
def test_training_detection_and_evaluation(coco_folder, tmp_path):
    lines = logged(tmp_path / "train.log", "-m", "frcnn.cli", "train", "--dataset", coco_folder,
                   "--epochs", EPOCHS, "--steps", 4, *TINY)
    epochs = [line for line in lines if re.match(r"epoch \d+/\d+ .*\bloss \d", line)]
    assert len(epochs) == EPOCHS
    assert len(lines) < 50
    lines = logged(tmp_path / "detect.log", "-m", "frcnn.cli", "detect", coco_folder / "train",
                   coco_folder / "val", "--pictures", "shown")
    assert len(lines) <= 3
    lines = logged(tmp_path / "evaluate.log", "-m", "frcnn.cli", "evaluate", "--dataset",
                   coco_folder)
    assert len(lines) < 30  # the metrics, AP by class, and numbers of objects by class
