"""The benchmarks from the command to the figures, as small as they get."""

import json

import pytest

from benchmarks import __main__ as program
from benchmarks import devices

pytestmark = pytest.mark.nightly


def test_a_row_and_the_first_detection(tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert program.main(["table", "--shrink", "16", "--runs", "1", "--warmup", "1", "--only",
                         "^forward-512-bfloat16$|first", "--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert "Shrunk by 16" in text and "forward pass, 1 image, 64²" in text
    found = json.loads(path.read_text())["table"]
    row = found["rows"]["forward-512-bfloat16"]
    assert row["seconds"][0] > 0 and row["first_seconds"] > row["seconds"][0]
    # backbone, FPN and RPN at 64² are 952,169,472; the head sees 1,000 RoIs
    assert row["multiply_adds"] == 952_169_472 + 1000 * (12544 * 1024 + 1024**2 + 1024 * 40)
    for runs in found["first"].values():
        assert len(runs["total"]) == 3 and min(runs["total"]) > 1


def test_stages_in_a_process(tmp_path):
    path = tmp_path / "figures.json"
    assert program.main(["stages", "--shrink", "16", "--runs", "1", "--warmup", "1", "--task",
                         "detect", "--json", str(path)]) == 0
    found = json.loads(path.read_text())["stages"]["detect"]
    assert list(found) == ["float32", "mixed_bfloat16"]
    for split in found.values():
        assert set(split["multiply_adds"]) == {"backbone", "FPN", "RPN", "head"}
        assert min(times[0] for times in split["parts"].values()) > 0


def test_a_state_and_a_checkpoint_are_saved(capsys):
    assert program.main(["saving", "--shrink", "5", "--runs", "1"]) == 0
    text = capsys.readouterr().out
    assert "A step of 2 images of 64²" in text and "state of the training" in text


def test_steps_on_one_device_and_in_one_order(monkeypatch, capsys):
    monkeypatch.setattr(devices, "ROWS", devices.ROWS[:2])
    assert program.main(["devices", "--shrink", "4", "--steps", "2"]) == 0
    text = capsys.readouterr().out
    assert "2 images of 64² a step" in text and "TensorFlow, --deterministic" in text
