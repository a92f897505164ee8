"""report.html from the urinary programs, with detections that need no network."""

import json

import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, checkpoint
from evaluate_tools import result
from PIL import Image
from report_tools import Page

from frcnn import runs
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


def test_an_evaluation_compares_numbers_with_the_true_ones(coco_folder, tmp_path, found, capsys):
    """The first object of each image is not found; it is a bar in the two images with objects."""
    path = checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS)
    assert evaluate.main(["--dataset", str(coco_folder), "--model", str(path)]) == 0
    folder = path.parent / "evaluate_val"
    counts = json.loads((folder / "metrics.json").read_text())["counts"]
    dataset = open_folder(coco_folder, "val")
    for name, figures in counts["per_class"].items():
        class_id = dataset.class_names.index(name)
        missed = [dataset.load_boxes(image_id)[1][:1].tolist().count(class_id)
                  for image_id in dataset.image_ids]
        assert figures["counted"]["bias"] == pytest.approx(-np.mean(missed))
        assert figures["expected"] is None  # there are two of each
    out = capsys.readouterr().out
    assert "Numbers of objects in an image: counted from a score of 0.5" in out
    assert "bar has 2 objects in 3 images; calibration needs at least 20 objects" in out
    assert "Counts" in Page(folder / "report.html").titles


def test_evaluating_the_best_checkpoint_of_a_run(coco_folder, tmp_path, found, capsys):
    folder = tmp_path / "logs" / "ury20260101T0000"
    for epoch in (1, 2, 3):
        path = checkpoint(folder, 4, names=NAMES, category_ids=CATEGORY_IDS, epoch=epoch)
        if epoch == 2:
            best = runs.save_best(path, runs.best_path(folder, "ury"), 2, {"val_AP": 0.5})
    arguments = ["--dataset", str(coco_folder), "--logs", str(tmp_path / "logs")]
    assert evaluate.main([*arguments, "--model", "best"]) == 0
    assert f"weights       {best.path}" in capsys.readouterr().out
    page = Page(folder / "evaluate_val" / "report.html")
    assert page.text.startswith("ury20260101T0000: epoch 2, the best by AP while training")
    assert evaluate.main(arguments) == 0
    assert "mask_rcnn_ury_0003.h5" in capsys.readouterr().out


def test_an_evaluation_with_flips_notes_them(coco_folder, tmp_path, found, capsys):
    path = checkpoint(tmp_path / "run", 4, names=NAMES, DETECTION_BOX_VOTING=0.75)
    out = tmp_path / "out"
    assert evaluate.main(["--dataset", str(coco_folder), "--model", str(path), "--output", str(out),
                          "--flips", "horizontal,both"]) == 0
    settings = json.loads((out / "metrics.json").read_text())["settings"]
    assert (settings["flips"], settings["fusion_iou"]) == (["horizontal", "both"], 0.55)
    assert settings["box_voting"] == 0.75
    text = "flips horizontal + both fused at IoU 0.55, box voting at IoU 0.75"
    assert text in capsys.readouterr().out and text in Page(out / "report.html").text
    assert evaluate.main(["--dataset", str(coco_folder), "--model", str(path),
                          "--output", str(out)]) == 0
    assert "flips" not in json.loads((out / "metrics.json").read_text())["settings"]


def test_a_bare_weight_file_and_some_images(coco_folder, tmp_path, found):
    path = checkpoint(tmp_path / "elsewhere", 4, names=NAMES, epoch=3)
    bare = path.rename(path.with_name("weights.h5"))
    path.with_name(f"config_{path.stem}.json").rename(path.with_name("config_weights.json"))
    assert evaluate.main(["--dataset", str(coco_folder), "--model", str(bare), "--images", "2",
                          "--output", str(tmp_path / "out")]) == 0
    page = Page(tmp_path / "out" / "report.html")
    assert "Training" not in page.titles and "elsewhere: weights.h5" in page.text
    assert "2 images of val (the first 2)" in page.text


def test_training_ends_with_a_report_on_both_subsets(coco_folder, tmp_path, found, capsys):
    class Trained:
        log_dir, epoch = str(tmp_path / "run"), 2
        last_checkpoint = checkpoint(tmp_path / "run", 4, names=NAMES, epoch=2)
        best_checkpoint = None
        history = {"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [2.5, np.nan]}

    sets = [open_folder(coco_folder, subset) for subset in ("train", "val")]
    config = UrinaryConfig(NUM_CLASSES=4)
    train._report(Trained(), coco_folder, *sets, config, None, 0)
    printed = capsys.readouterr().out
    assert "evaluated     epoch 2, the last" in printed.splitlines()
    assert f"report        {tmp_path / 'run' / 'report.html'}" in printed
    page = Page(tmp_path / "run" / "report.html")
    assert page.tables["losses"][1] == ["total", "1.000", "–"]
    assert "5 images, 1 of them without objects" in page.text  # the training images
    assert "3 images, 1 of them without objects" in page.text


def test_training_ends_with_a_report_on_the_best_checkpoint(coco_folder, tmp_path, found, capsys):
    class Trained:
        log_dir, epoch = str(tmp_path / "run"), 3
        last_checkpoint = checkpoint(tmp_path / "run", 4, names=NAMES, epoch=3)
        best_checkpoint = runs.save_best(
            checkpoint(tmp_path / "run", 4, names=NAMES, epoch=2),
            runs.best_path(tmp_path / "run", "ury"), 2, {"val_AP": 0.5}).path
        history = {"epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.5], "val_AP": [None, 0.5, 0.25]}

    sets = [open_folder(coco_folder, subset) for subset in ("train", "val")]
    train._report(Trained(), coco_folder, *sets, UrinaryConfig(NUM_CLASSES=4), None, 0)
    lines = capsys.readouterr().out.splitlines()
    assert "evaluated     epoch 2, the best of 3 by AP on val" in lines
    assert f"weights       {Trained.best_checkpoint}" in lines
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["settings"]["checkpoint"] == Trained.best_checkpoint
    page = Page(tmp_path / "run" / "report.html")
    assert page.text.startswith("run: epoch 2, the best by AP while training")
    assert page.tables["losses"][1] == ["total", "1.000", "–"]
    assert "AP was highest after epoch 2: 0.500" in page.text


def test_losses_are_drawn_with_ap_below_them(tmp_path):
    losses = {"epoch": [1, 2], "loss": [2.0, 1.0]}
    heights = []
    for history in (losses, {**losses, "val_AP": [None, None]}, {**losses, "val_AP": [None, 0.5]}):
        run_report.draw_losses(history, tmp_path / "losses.png")
        with Image.open(tmp_path / "losses.png") as image:
            heights.append(image.size[1])
    assert heights[0] == heights[1] < 0.7 * heights[2]
