"""A folder in which migrated scripts run: drawn data in the layouts they read, tiny weights."""

import csv
import json
import runpy
import sys
import types

import numpy as np
from model_tools import small_backbone
from PIL import Image

from frcnn.config import Config
from frcnn.migrate.notebook import _MAGIC_LINE

SIDE = 128
SQUARE, BAR = (10, 10, 40, 40), (60, 50, 90, 110)  # y1, x1, y2, x2
# The defaults of Config, of which the scripts change some, with which a step takes no time.
SMALL = {
    "TOP_DOWN_PYRAMID_SIZE": 16,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 16, "IMAGE_MIN_DIM": SIDE, "IMAGE_MAX_DIM": SIDE,
    "RPN_ANCHOR_SCALES": (12, 24, 48, 72, 96), "RPN_TRAIN_ANCHORS_PER_IMAGE": 32,
    "PRE_NMS_LIMIT": 100, "POST_NMS_ROIS_TRAINING": 30, "POST_NMS_ROIS_INFERENCE": 20,
    "TRAIN_ROIS_PER_IMAGE": 8, "MAX_GT_INSTANCES": 6, "DETECTION_MAX_INSTANCES": 6,
}


def make_small(monkeypatch):
    """Makes the detector of the default settings tiny."""
    for name, value in SMALL.items():
        monkeypatch.setattr(Config, name, value)
    monkeypatch.setattr("frcnn.network.backbone.resnet_graph", lambda image, *_, **options:
                        small_backbone(image, options["stage5"], options["train_bn"]))


def draw_data(folder):
    """`data/` with images, and the same two objects in each, annotated in many layouts."""
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    for number in range(4):
        pixels = np.full((SIDE, SIDE, 3), 120, np.uint8)
        for (y1, x1, y2, x2), level in ((SQUARE, 20 + number), (BAR, 230)):
            pixels[y1:y2, x1:x2] = level
        Image.fromarray(pixels).save(data / "images" / f"{number}.png")
    _draw_via(data)
    _write_xml(data / "annots")
    _write_tables(data)
    _write_coco(data / "coco.json")
    _write_labelme(data / "labelme")
    _write_nuclei(data / "nuclei")


def _polygon(box):
    y1, x1, y2, x2 = box
    return [x1, x2, x2, x1], [y1, y1, y2, y2]


def _draw_via(data):
    for subset in ("train", "val"):
        folder = data / "via" / subset
        folder.mkdir(parents=True)
        content = {}
        for number in range(2):
            name = f"{number}.png"
            (folder / name).write_bytes((data / "images" / name).read_bytes())
            regions = {str(i): {"shape_attributes": dict(zip(
                ("name", "all_points_x", "all_points_y"), ("polygon", *_polygon(box))))}
                for i, box in enumerate((SQUARE, BAR))}
            content[name] = {"filename": name, "regions": regions}
        (folder / "via_region_data.json").write_text(json.dumps(content))


def _write_xml(folder):
    folder.mkdir()
    boxes = "".join(
        f"<object><name>kangaroo</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>" for y1, x1, y2, x2 in (SQUARE, BAR))
    for number in range(4):
        (folder / f"{number}.xml").write_text(
            f"<annotation><size><width>{SIDE}</width><height>{SIDE}</height></size>{boxes}"
            "</annotation>")


def _write_tables(data):
    with open(data / "boxes.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patientId", "x", "y", "width", "height", "Target"])
        for number in range(3):
            for y1, x1, y2, x2 in (SQUARE, BAR):
                writer.writerow([number, x1, y1, x2 - x1, y2 - y1, 1])
        writer.writerow([3, "", "", "", "", 0])
    y1, x1, y2, x2 = SQUARE
    runs = " ".join(f"{x * SIDE + y1 + 1} {y2 - y1}" for x in range(x1, x2))
    with open(data / "rle.csv", "w", newline="") as file:
        csv.writer(file).writerows([["0.png", runs], ["1.png", runs], ["2.png", ""]])


def _write_coco(path):
    content = {"categories": [{"id": 1, "name": "square"}, {"id": 2, "name": "bar"}],
               "images": [{"id": i, "file_name": f"{i}.png", "width": SIDE, "height": SIDE}
                          for i in range(4)], "annotations": []}
    for image_id in range(3):
        for category, (y1, x1, y2, x2) in enumerate((SQUARE, BAR), start=1):
            content["annotations"].append({
                "id": len(content["annotations"]) + 1, "image_id": image_id,
                "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0,
                "area": (x2 - x1) * (y2 - y1),
                "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]]})
    path.write_text(json.dumps(content))


def _write_labelme(folder):
    folder.mkdir()
    for number in range(2):
        shapes = [{"label": label, "points": [list(point) for point in zip(*_polygon(box))]}
                  for label, box in (("square", SQUARE), ("bar", BAR))]
        (folder / f"{number}.json").write_text(json.dumps({
            "imagePath": f"../images/{number}.png", "imageHeight": SIDE, "imageWidth": SIDE,
            "shapes": shapes if number == 0 else []}))


def _write_nuclei(folder):
    for number in range(2):
        (folder / f"n{number}" / "images").mkdir(parents=True)
        (folder / f"n{number}" / "masks").mkdir()
        Image.fromarray(np.full((SIDE, SIDE, 3), 60, np.uint8)).save(
            folder / f"n{number}" / "images" / f"n{number}.png")
        for place, (y1, x1, y2, x2) in enumerate((SQUARE, BAR)):
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[y1:y2, x1:x2] = 255
            Image.fromarray(mask).save(folder / f"n{number}" / "masks" / f"{place}.png")


def write_weights(folder):
    """The files that scripts load: of a detector with 81, 2 and 3 classes."""
    from frcnn.model.mask_rcnn import MaskRCNN

    for name, classes in (("coco", 81), ("two", 2), ("three", 3)):
        model = MaskRCNN("inference", Config(NUM_CLASSES=classes), folder / "logs", seed=classes)
        model.save_weights(folder / f"mask_rcnn_{name}.h5")


def run_script(path, *arguments):
    """Runs a script as `python SCRIPT ARGUMENTS` does, in this process; returns its names."""
    before = sys.argv
    sys.argv = [str(path), *arguments]
    try:
        return runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = before


def run_notebook(path):
    """Runs the code cells of a notebook without their magics; returns its names."""
    namespace = types.ModuleType("__main__").__dict__
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and not source.startswith("%%bash"):
            lines = [line for line in source.splitlines() if not _MAGIC_LINE.match(line)]
            exec(compile("\n".join(lines), str(path), "exec"), namespace)
    return namespace
