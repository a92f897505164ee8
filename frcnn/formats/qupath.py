"""GeoJSON as QuPath imports it: a feature for each object, in pixels of the image (level 0)."""

import json
import uuid
from pathlib import Path
from typing import Any

from frcnn.formats.detections import Classes, ImageDetections

# For ids that are the same whenever the same detections are written.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "frcnn/detections")


def write_geojson(path: Path, image: ImageDetections, classes: Classes) -> None:
    """A FeatureCollection of rectangles; the class has its colour, the score is a measurement."""
    features = [_feature(image, classes, number) for number in range(len(image.scores))]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"type": "FeatureCollection", "features": features}, file)


def _feature(image: ImageDetections, classes: Classes, number: int) -> dict[str, Any]:
    x, y, width, height = image.xywh[number]
    class_id = int(image.class_ids[number])
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, f"{image.path}/{number}/{image.xywh[number]}")),
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": classes.name(class_id),
                               "color": list(classes.color(class_id))},
            "measurements": {"score": round(float(image.scores[number]), 6)}}}
