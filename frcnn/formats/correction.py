"""Detections to be corrected by a person: annotations in COCO's format, tasks of Label Studio."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frcnn.formats.detections import Classes, ImageDetections

# Names of the control and the image in Label Studio's labelling configuration.
CONTROL, OBJECT = "label", "image"


def write_annotations(path: Path, images: Iterable[ImageDetections], classes: Classes) -> None:
    """A COCO annotation file, as CVAT and others import it, and as a data set is trained from.

    Images are numbered from 1 unless all their ids are whole numbers that differ.
    """
    images = list(images)
    ids = [image.image_id for image in images]
    if len(set(map(str, ids))) < len(ids) or not all(
            isinstance(image_id, int) and not isinstance(image_id, bool) for image_id in ids):
        ids = list(range(1, len(images) + 1))
    content: dict[str, list[dict[str, Any]]] = {
        "images": [], "annotations": [],
        "categories": [{"id": number, "name": classes.name(number)}
                       for number in range(1, len(classes.names))]}
    for image, image_id in zip(images, ids):
        content["images"].append({"id": image_id, "file_name": image.name, "width": image.width,
                                  "height": image.height})
        for box, class_id, score in zip(image.xywh, image.class_ids, image.scores):
            content["annotations"].append({
                "id": len(content["annotations"]) + 1, "image_id": image_id,
                "category_id": int(class_id), "bbox": box, "area": round(box[2] * box[3], 3),
                "iscrowd": 0, "score": round(float(score), 6)})
    path.write_text(json.dumps(content), encoding="utf-8")


def write_label_studio(path: Path, images: Iterable[ImageDetections], classes: Classes) -> None:
    """Tasks with predictions, for a project with `<RectangleLabels name="label" toName="image">`.

    `data.image` is the image's name; give it the prefix of your storage when importing.
    """
    tasks = [{"data": {"image": image.name},
              "predictions": [{"model_version": "frcnn", "score": _mean(image),
                               "result": [_region(image, classes, number)
                                          for number in range(len(image.scores))]}]}
             for image in images]
    path.write_text(json.dumps(tasks), encoding="utf-8")


def _region(image: ImageDetections, classes: Classes, number: int) -> dict[str, Any]:
    """A rectangle in percent of the image's sides."""
    y1, x1, y2, x2 = image.boxes[number].astype(float)
    name = classes.name(image.class_ids[number])
    return {"id": f"d{number}", "type": "rectanglelabels", "from_name": CONTROL, "to_name": OBJECT,
            "original_width": image.width, "original_height": image.height, "image_rotation": 0,
            "score": round(float(image.scores[number]), 6),
            "value": {"x": 100 * x1 / image.width, "y": 100 * y1 / image.height,
                      "width": 100 * (x2 - x1) / image.width,
                      "height": 100 * (y2 - y1) / image.height, "rotation": 0,
                      "rectanglelabels": [name]}}


def _mean(image: ImageDetections) -> float:
    return round(float(image.scores.mean()), 6) if len(image.scores) else 0.0
