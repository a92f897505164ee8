"""The samples: each loads a batch, starts, and trains; the layouts that they read."""

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from cli_tools import TINY, fails
from PIL import Image, ImageDraw
from places import PROJECT
from voc_tools import draw_voc, set_list

from frcnn.cli import evaluate
from frcnn.cli import train as program
from frcnn.config import Config
from frcnn.data import open_folder
from frcnn.data.dataset import Dataset
from samples.cells import train as cells_train
from samples.cells.cells import CellsConfig, CellsDataset
from samples.coco import train as coco_train
from samples.coco.coco import Coco2017Dataset, CocoConfig
from samples.shapes import shapes
from samples.shapes import train as shapes_train
from samples.shapes.shapes import ShapesConfig, ShapesDataset
from samples.urinary import train

SAMPLES = {"cells": (CellsConfig, CellsDataset), "shapes": (ShapesConfig, ShapesDataset),
           "coco": (CocoConfig, Coco2017Dataset)}


@pytest.fixture
def coco_2017(coco_folder):
    """The tiny data set under the names of COCO 2017."""
    for subset in ("train", "val"):
        (coco_folder / subset).rename(coco_folder / f"{subset}2017")
        annotations = coco_folder / "annotations"
        (annotations / f"instances_{subset}.json").rename(
            annotations / f"instances_{subset}2017.json")
    return coco_folder


@pytest.fixture
def folder_of(request):
    """A sample's name → the folder that it trains on."""
    fixtures = {"cells": "coco_folder", "coco": "coco_2017"}
    return lambda name: request.getfixturevalue(fixtures[name]) if name in fixtures else None


@pytest.mark.parametrize("name", SAMPLES)
def test_a_batch(name, folder_of, monkeypatch):
    from frcnn.data.loader import DetectionSequence

    config_class, dataset_class = SAMPLES[name]
    assert issubclass(config_class, Config) and issubclass(dataset_class, Dataset)
    assert name == config_class.NAME
    monkeypatch.setattr(shapes, "SUBSETS", {"train": 4, "val": 2})
    dataset = dataset_class.from_folder(folder_of(name), "train")
    assert dataset.check() == []
    config = config_class(IMAGES_PER_GPU=2, IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128)
    sequence = DetectionSequence(dataset, config, shuffle=False, seed=0)
    (inputs,) = sequence[0]
    assert inputs["input_image"].shape == (2, 128, 128, 3)
    count = np.count_nonzero(inputs["input_gt_class_ids"][0])
    boxes, class_ids = dataset.load_boxes(0)
    assert count == len(boxes) > 0
    np.testing.assert_array_equal(inputs["input_gt_class_ids"][0, :count], class_ids)
    assert (inputs["input_rpn_match"] == 1).any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", SAMPLES)
def test_it_starts_as_a_script(name):
    done = subprocess.run([sys.executable, f"samples/{name}/train.py", "--help"], cwd=PROJECT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--model" in done.stdout and ("--dataset" in done.stdout) == (name != "shapes")


@pytest.mark.parametrize("main", [cells_train.main, coco_train.main])
def test_a_folder_must_be_named(capsys, main, tmp_path):
    assert "--dataset" in fails(capsys, main)
    assert "nowhere" in fails(capsys, main, "--dataset", tmp_path / "nowhere")


def test_last_is_looked_for_under_the_samples_own_name(capsys, coco_folder, tmp_path):
    line = fails(capsys, cells_train.main, "--dataset", coco_folder, "--model", "last", "--logs",
                 tmp_path)
    assert "cells" in line


def test_coco_2017_names_its_subsets_and_images(coco_2017):
    dataset = Coco2017Dataset.from_folder(coco_2017, "val")
    assert dataset.num_images == 3
    assert dataset.source_image_link(0).endswith("explore?id=6")


# --- shapes ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    dataset = ShapesDataset()
    dataset.load_shapes(12, height=96, width=120, seed=3)
    dataset.prepare()
    return dataset


def test_shapes_touch_all_sides_of_their_boxes(drawn):
    """Each shape is drawn alone, and its extent found by search."""
    for image_id in drawn.image_ids:
        info = drawn.image_info[image_id]
        boxes, class_ids = drawn.load_boxes(image_id)
        for box, class_id in zip(boxes, class_ids):
            alone = Image.new("RGB", (info["width"], info["height"]))
            shapes._draw_shape(ImageDraw.Draw(alone), drawn.class_names[class_id],
                               box.astype(int).tolist(), (255, 255, 255))
            rows, columns = np.nonzero(np.array(alone).any(-1))
            assert box.tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
            area = len(rows) / ((box[2] - box[0]) * (box[3] - box[1]))
            expected = {"square": 1, "circle": np.pi / 4, "triangle": 0.5}
            assert abs(area - expected[drawn.class_names[class_id]]) < 0.08


def test_shapes_are_what_is_drawn(drawn):
    assert drawn.class_names == ["BG", "square", "circle", "triangle"]
    for image_id in drawn.image_ids:
        pixels, info = drawn.load_image(image_id), drawn.image_info[image_id]
        assert pixels.shape == (96, 120, 3) and pixels.dtype == np.uint8
        changed = (pixels != info["background"]).any(-1)
        rows, columns = np.nonzero(changed)
        boxes, _ = drawn.load_boxes(image_id)
        inside = np.zeros_like(changed)
        for y1, x1, y2, x2 in boxes.astype(int):
            inside[y1:y2, x1:x2] = True
        assert 1 <= len(boxes) <= 4 and changed.any() and inside[rows, columns].all()


def test_one_seed_gives_the_same_shapes():
    def pictures(seed):
        dataset = ShapesDataset()
        dataset.load_shapes(3, seed=seed)
        dataset.prepare()
        return [dataset.load_image(image_id).tobytes() for image_id in dataset.image_ids]

    assert pictures(0) == pictures(0)
    assert not set(pictures(0)) & set(pictures(1))
    subsets = [ShapesDataset.from_folder(None, subset) for subset in ("train", "val")]
    assert [each.num_images for each in subsets] == list(shapes.SUBSETS.values())
    assert subsets[0].load_image(0).tobytes() != subsets[1].load_image(0).tobytes()


# --- what the programs read -----------------------------------------------------------------


def test_the_programs_read_both_layouts(coco_folder, tmp_path):
    voc = open_folder(draw_voc(tmp_path / "voc"), "train")
    assert voc.class_names == ["BG", "cell", "rod"]
    assert open_folder(coco_folder, "train").class_names == ["BG", "bar", "square", "slab"]


@pytest.fixture
def bad_folder(tmp_path):
    """A VOC folder with a list that names an image too many, and one that is no image."""
    folder = draw_voc(tmp_path / "voc")
    set_list(folder, "train", ["a", "b", "zebra"])
    (folder / "JPEGImages/b.png").write_text("no image")
    return folder


def test_bad_items_stop_the_program_unless_skipped(capsys, bad_folder, monkeypatch):
    line = fails(capsys, train.main, "--dataset", bad_folder)
    assert "Image zebra" in line and "--skip-bad" in line
    set_list(bad_folder, "train", ["a", "b"])
    line = fails(capsys, train.main, "--dataset", bad_folder)
    assert "Image b: " in line and "--skip-bad" in line

    class Reached(Exception):
        pass

    def stop(folder, train, val, *_):
        assert [info["id"] for info in train.image_info] == ["a"] and val.num_images == 2
        raise Reached

    set_list(bad_folder, "train", ["a", "b", "zebra"])
    monkeypatch.setattr(program, "_introduce", stop)
    with warnings.catch_warnings(), pytest.raises(Reached):
        warnings.simplefilter("always")  # so that pytest leaves them to the program
        train.main(["--dataset", str(bad_folder), "--skip-bad"])


def test_all_programs_offer_to_skip():
    for parser in (program.build_parser(), evaluate.build_parser()):
        assert parser.parse_args(["--dataset", "d", "--skip-bad"]).skip_bad is True
        assert not parser.parse_args(["--dataset", "d"]).skip_bad


# --- training -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SAMPLES, "voc"])
def test_two_steps_of_training(name, folder_of, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shapes, "SUBSETS", {"train": 4, "val": 2})
    mains = {"cells": cells_train.main, "shapes": shapes_train.main, "coco": coco_train.main,
             "voc": train.main}
    folder = draw_voc(tmp_path / "voc") if name == "voc" else folder_of(name)
    arguments = ["--epochs", "1", "--steps", "2", "--logs", str(tmp_path / "logs"),
                 "--backbone", "resnet50", "--precision", "float32", *TINY]
    if folder is not None:
        arguments += ["--dataset", str(folder)]
    assert mains[name](arguments) == 0, capsys.readouterr().err
    (run,) = (tmp_path / "logs").iterdir()
    prefix = "ury" if name == "voc" else name
    assert run.name.startswith(prefix)
    assert (run / f"mask_rcnn_{prefix}_0001.h5").is_file()
    assert "AP50" in json.loads((run / "metrics.json").read_text())
    shutil.rmtree(run)
