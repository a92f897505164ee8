"""report.html from the urinary programs, with detections that need no network."""

import json

import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, checkpoint
from evaluate_tools import result
from report_tools import Page

from frcnn.cli import run_report, train
from frcnn.data import open_folder
from samples.urinary import evaluate
from samples.urinary.config import UrinaryConfig


@pytest.fixture
def found(monkeypatch):
    """Replaces detection: every object is found but for the first of each image."""
    def detect(model, dataset, image_ids, progress):
        calls.append(list(image_ids))
        found = {}
        for image_id in image_ids:
            boxes, class_ids = dataset.load_boxes(image_id)
            found[image_id] = result(boxes[1:], class_ids[1:])
        return found

    calls = []
    monkeypatch.setattr(run_report, "inference_model", lambda *arguments: None)
    monkeypatch.setattr(run_report.evaluate, "detect_dataset", detect)
    return calls


def test_evaluating_a_run_writes_a_report_of_it(coco_folder, tmp_path, found, capsys):
    folder = tmp_path / "logs" / "ury20260101T0000"
    path = checkpoint(folder, 4, names=NAMES, category_ids=CATEGORY_IDS, epoch=2)
    (folder / "history.json").write_text(json.dumps({"epoch": [1, 2, 3], "loss": [3, 2, 1]}))
    assert evaluate.main(["--dataset", str(coco_folder), "--logs", str(tmp_path / "logs")]) == 0
    assert len(found) == 1  # nothing is detected twice
    made = folder / "evaluate_val"
    assert sorted(file.name for file in made.iterdir()) == [
        "detections.png", "metrics.json", "report.html"]
    assert f"report        {made / 'report.html'}" in capsys.readouterr().out

    page, metrics = Page(made / "report.html"), json.loads((made / "metrics.json").read_text())
    assert page.text.startswith("ury20260101T0000: epoch 2")
    assert page.by_id["AP50"] == f"{metrics['AP50']:.3f}"
    assert [row[0] for row in page.tables["by-class"][1:-1]] == list(metrics["per_class"])
    assert page.tables["losses"][1] == ["total", "2.000", "–"]
    for expected in (str(path), str(coco_folder), "DETECTION_MIN_CONFIDENCE 0.05",
                     "score 0.05 or more"):
        assert expected in page.text


def test_a_bare_weight_file_and_some_images(coco_folder, tmp_path, found):
    path = checkpoint(tmp_path / "elsewhere", 4, names=NAMES, epoch=3)
    bare = path.rename(path.with_name("weights.h5"))
    path.with_suffix(".json").rename(bare.with_suffix(".json"))
    assert evaluate.main(["--dataset", str(coco_folder), "--model", str(bare), "--images", "2",
                          "--output", str(tmp_path / "out")]) == 0
    page = Page(tmp_path / "out" / "report.html")
    assert "Training" not in page.titles and "elsewhere: weights.h5" in page.text
    assert "2 images of val (the first 2)" in page.text


def test_training_ends_with_a_report_on_both_subsets(coco_folder, tmp_path, found, capsys):
    class Trained:
        log_dir, epoch = str(tmp_path / "run"), 2
        last_checkpoint = checkpoint(tmp_path / "run", 4, names=NAMES, epoch=2)
        history = {"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [2.5, np.nan]}

    sets = [open_folder(coco_folder, subset) for subset in ("train", "val")]
    config = UrinaryConfig(NUM_CLASSES=4)
    train._report(Trained(), coco_folder, *sets, config, None, 0)
    printed = capsys.readouterr().out
    assert f"report        {tmp_path / 'run' / 'report.html'}" in printed
    page = Page(tmp_path / "run" / "report.html")
    assert page.tables["losses"][1] == ["total", "1.000", "–"]
    assert "5 images, 1 of them without objects" in page.text  # the training images
    assert "3 images, 1 of them without objects" in page.text
