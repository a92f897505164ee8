"""Detections in other programs' formats, read back by their libraries or checked by their rules."""

import csv
import json
import math
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from frcnn.data.coco import CocoDataset
from frcnn.data.voc import VocDataset
from frcnn.errors import MissingExtraError, OutputError
from frcnn.formats import registry
from frcnn.formats.detections import Classes, ImageDetections
from frcnn.formats.registry import FORMATS, format_of, write

CLASSES = Classes(["BG", "red", "white Ω"], [None, 7, 9])
BOXES = np.array([[10.25, 20.5, 30, 60.125], [0, 0, 50, 80]], np.float32)


def image(path="a/b.png", image_id=3, count=2):
    return ImageDetections(path, image_id, 50, 80, BOXES[:count], np.array([2, 1])[:count],
                           np.array([0.9, 0.25], np.float32)[:count])


IMAGES = [image(), image("c.png", "x", 0), image("d/b.png", 5, 1)]


def written(name, tmp_path, images=IMAGES, file=None):
    chosen = FORMATS[name]
    path = tmp_path / (file or ("out" if chosen.by_image else f"out{chosen.ending}"))
    write(iter(images), path, chosen, CLASSES)
    return path


def test_coco_results(tmp_path):
    content = json.loads(written("coco", tmp_path).read_text())
    assert content[0] == {"image_id": 3, "category_id": 9, "bbox": [20.5, 10.25, 39.625, 19.75],
                          "score": 0.9, "category_name": "white Ω", "file_name": "a/b.png"}
    assert [row["image_id"] for row in content] == [3, 3, 5]
    lines = written("jsonl", tmp_path).read_text().splitlines()
    assert [json.loads(line) for line in lines] == content
    assert json.loads(written("coco", tmp_path, [image(count=0)]).read_text()) == []


def test_tables(tmp_path):
    with open(written("csv", tmp_path), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"file_name": "a/b.png", "image_id": "3", "category_id": "9",
                       "category_name": "white Ω", "score": "0.9", "x": "20.5", "y": "10.25",
                       "width": "39.625", "height": "19.75"}
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(written("parquet", tmp_path)).to_pylist()
    assert [{name: str(value) for name, value in row.items()} for row in table] == rows


def test_geojson_is_what_qupath_reads(tmp_path):
    folder = written("geojson", tmp_path)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == [
        "a/b.geojson", "c.geojson", "d/b.geojson"]
    content = json.loads((folder / "a/b.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    first, second = content["features"]
    assert first["type"] == "Feature" and first["id"] != second["id"]
    (ring,) = first["geometry"]["coordinates"]
    assert first["geometry"]["type"] == "Polygon" and ring[0] == ring[-1] and len(ring) == 5
    assert [min(side) for side in zip(*ring)] == [20.5, 10.25]
    assert [max(side) for side in zip(*ring)] == [60.125, 30]
    properties = first["properties"]
    assert properties["objectType"] == "detection"
    assert properties["classification"]["name"] == "white Ω"
    assert len(properties["classification"]["color"]) == 3
    assert all(0 <= part <= 255 for part in properties["classification"]["color"])
    assert properties["measurements"] == {"score": 0.9}
    assert json.loads((folder / "c.geojson").read_text())["features"] == []
    again = json.loads((written("geojson", tmp_path) / "a/b.geojson").read_text())
    assert again == content


def test_imagej_regions_are_read_by_roifile(tmp_path):
    roifile = pytest.importorskip("roifile")
    folder = written("imagej", tmp_path)
    first, second = roifile.roiread(folder / "a/b.zip")
    assert first.name == "0001 white Ω 0.900" and second.name == "0002 red 0.250"
    corners = first.coordinates()
    np.testing.assert_allclose(corners.min(axis=0), [20.5, 10.25], atol=1e-3)
    np.testing.assert_allclose(corners.max(axis=0), [60.125, 30], atol=1e-3)
    assert first.stroke_color != second.stroke_color
    with zipfile.ZipFile(folder / "c.zip") as empty:
        assert empty.namelist() == []
    write(IMAGES[:1], folder / "b.zip", FORMATS["imagej"], CLASSES)
    assert len(roifile.roiread(folder / "b.zip")) == 2  # replaced, not added to


def test_voc_is_read_by_the_voc_reader(tmp_path):
    folder = tmp_path / "voc"
    write(iter([image("b.png")]), folder / "Annotations", FORMATS["voc"], CLASSES)
    (folder / "JPEGImages").mkdir()
    Image.new("RGB", (80, 50)).save(folder / "JPEGImages/b.png")
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/train.txt").write_text("b\n")
    dataset = VocDataset.from_folder(folder, "train")
    boxes, class_ids = dataset.load_boxes(0)
    np.testing.assert_allclose(boxes, BOXES, atol=1e-3)
    assert [dataset.class_names[number] for number in class_ids] == ["white Ω", "red"]


def test_annotations_are_a_data_set_to_train_on(tmp_path):
    """The round trip of correction: written, corrected elsewhere, read for training."""
    path = written("annotations", tmp_path, IMAGES[:2])
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [1, 2, 30, 40]  # a person's correction
    del content["annotations"][1]
    folder = tmp_path / "set"
    (folder / "annotations").mkdir(parents=True)
    (folder / "train/a").mkdir(parents=True)
    for name in ("a/b.png", "c.png"):
        Image.new("RGB", (80, 50), (90, 200, 30)).save(folder / "train" / name)
    (folder / "annotations/instances_train.json").write_text(json.dumps(content))
    dataset = CocoDataset.from_folder(folder, "train")
    boxes, class_ids = dataset.load_boxes(0)
    np.testing.assert_array_equal(boxes, [[2, 1, 42, 31]])
    assert class_ids.tolist() == [2] and list(dataset.class_names) == ["BG", "red", "white Ω"]
    assert dataset.num_images == 2


def test_label_studio_tasks_have_percentages(tmp_path):
    tasks = json.loads(written("labelstudio", tmp_path).read_text())
    assert [task["data"]["image"] for task in tasks] == ["a/b.png", "c.png", "d/b.png"]
    (prediction,) = tasks[0]["predictions"]
    first = prediction["result"][0]
    assert first["type"] == "rectanglelabels"
    assert (first["original_width"], first["original_height"]) == (80, 50)
    value = first["value"]
    assert value["rectanglelabels"] == ["white Ω"]
    back = [value["y"] * 0.5, value["x"] * 0.8, (value["y"] + value["height"]) * 0.5,
            (value["x"] + value["width"]) * 0.8]
    np.testing.assert_allclose(back, BOXES[0], atol=1e-4)
    assert all(0 <= value[name] <= 100 for name in ("x", "y", "width", "height"))
    assert math.isclose(prediction["score"], 0.575, abs_tol=1e-6)
    assert tasks[1]["predictions"][0]["result"] == []


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "expected"), [
    ("a.json", "coco"), ("a.CSV", "csv"), ("a.jsonl", "jsonl"), ("a.parquet", "parquet"),
    ("a.geojson", "geojson"), ("a.zip", "imagej"), ("a.xml", "voc")])
def test_the_ending_means_a_format(tmp_path, name, expected):
    assert format_of(tmp_path / name) is FORMATS[expected]


@pytest.mark.parametrize(("name", "chosen", "message"), [
    ("a.txt", None, "the ending means no format; name a file that ends in .json, .csv, .jsonl"),
    ("a", None, "the ending means no format"),
    ("a.csv", "labelstudio", "the format labelstudio needs a file that ends in .json"),
    ("a.csv", "geojson", "needs a folder, or a file that ends in .geojson"),
])
def test_names_that_mean_no_format(tmp_path, name, chosen, message):
    with pytest.raises(OutputError, match=message):
        format_of(tmp_path / name, chosen)


def test_a_library_that_is_missing_is_noticed_before_there_is_anything_to_write(tmp_path,
                                                                                monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    for name, extra in (("a.parquet", "shards"), ("a.zip", "formats")):
        with pytest.raises(MissingExtraError, match=rf'pip install "frcnn\[{extra}\]"'):
            format_of(tmp_path / name)
    assert format_of(tmp_path / "a.json") is FORMATS["coco"]


def test_one_file_is_for_one_image(tmp_path):
    write(IMAGES[:1], tmp_path / "a.geojson", FORMATS["geojson"], CLASSES)
    with pytest.raises(OutputError, match="several images, and this format has a file for each"):
        write(IMAGES, tmp_path / "a.geojson", FORMATS["geojson"], CLASSES)


def test_a_failed_write_leaves_the_older_file(tmp_path):
    path = written("coco", tmp_path)
    before = path.read_text()

    def broken():
        yield IMAGES[0]
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError):
        write(broken(), path, FORMATS["coco"], CLASSES)
    assert path.read_text() == before
    shutil.rmtree(tmp_path)
