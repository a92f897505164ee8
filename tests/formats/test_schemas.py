"""GeoJSON and Label Studio's tasks against their published rules, written as JSON schemas.

GeoJSON: RFC 7946, sections 3.1.6, 3.2, 3.3, 4 and 6, with QuPath's members of `properties`
(`PathObject` in its documentation on GeoJSON). Label Studio: "Import pre-annotated data" and the
units and required fields of `RectangleLabels` in its documentation.
"""

import copy
import json

import jsonschema
import numpy as np
import pytest

from frcnn.formats.detections import Classes, ImageDetections
from frcnn.formats.registry import FORMATS, write

POSITION = {"type": "array", "minItems": 2, "maxItems": 3, "items": {"type": "number"}}
# A linear ring: closed, of four or more positions.
POLYGON = {
    "type": "object", "required": ["type", "coordinates"], "additionalProperties": False,
    "properties": {
        "type": {"const": "Polygon"},
        "coordinates": {"type": "array", "minItems": 1, "items": {
            "type": "array", "minItems": 4, "items": POSITION}}}}
PROPERTIES = {
    "type": "object", "required": ["objectType", "classification"], "additionalProperties": False,
    "properties": {
        "objectType": {"enum": ["annotation", "detection", "cell", "tile"]},
        "classification": {
            "type": "object", "required": ["name", "color"], "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "color": {"type": "array", "minItems": 3, "maxItems": 3, "items": {
                    "type": "integer", "minimum": 0, "maximum": 255}}}},
        "measurements": {"type": "object", "additionalProperties": {"type": "number"}}}}
FEATURE = {
    "type": "object", "required": ["type", "geometry", "properties"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "Feature"},
        # QuPath takes UUIDs alone.
        "id": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "geometry": POLYGON, "properties": PROPERTIES}}
# RFC 7946, section 7.1: of these objects none has the members of another.
GEOJSON = {
    "type": "object", "required": ["type", "features"], "additionalProperties": False,
    "properties": {"type": {"const": "FeatureCollection"},
                   "features": {"type": "array", "items": FEATURE}}}

PERCENT = {"type": "number", "minimum": 0, "maximum": 100}
SCORE = {"type": "number", "minimum": 0, "maximum": 1}
REGION = {
    "type": "object",
    "required": ["id", "type", "from_name", "to_name", "value", "original_width",
                 "original_height", "image_rotation"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 1}, "type": {"const": "rectanglelabels"},
        "from_name": {"const": "label"}, "to_name": {"const": "image"}, "score": SCORE,
        "original_width": {"type": "integer", "minimum": 1},
        "original_height": {"type": "integer", "minimum": 1},
        "image_rotation": {"enum": [0, 90, 180, 270]},
        "value": {
            "type": "object", "required": ["x", "y", "width", "height", "rotation",
                                           "rectanglelabels"],
            "additionalProperties": False,
            "properties": {
                "x": PERCENT, "y": PERCENT, "width": PERCENT, "height": PERCENT,
                "rotation": {"type": "number", "minimum": 0, "exclusiveMaximum": 360},
                "rectanglelabels": {"type": "array", "minItems": 1, "items": {
                    "type": "string", "minLength": 1}}}}}}
TASKS = {"type": "array", "items": {
    "type": "object", "required": ["data"], "additionalProperties": False,
    "properties": {
        "data": {"type": "object", "required": ["image"], "properties": {
            "image": {"type": "string", "minLength": 1}}},
        "predictions": {"type": "array", "items": {
            "type": "object", "required": ["result"], "additionalProperties": False,
            "properties": {"model_version": {"type": "string"}, "score": SCORE,
                           "result": {"type": "array", "items": REGION}}}}}}}

SCHEMAS = {"geojson": GEOJSON, "labelstudio": TASKS}
CLASSES = Classes(["BG", "red", "white Ω", "a\ud800b"], [None, 7, 9, 11])


def detections(seed=0):
    """Boxes of all sizes up to the whole image, in images of all sizes, and images without any."""
    random = np.random.default_rng(seed)
    for number in range(40):
        height, width = map(int, random.integers(1, 3000, 2))
        count = int(random.integers(0, 6)) * (number % 4 > 0)
        corners = np.sort(random.uniform(0, 1, (count, 2, 2)), axis=1).astype(np.float32)
        corners[::3] = [[0, 0], [1, 1]]
        yield ImageDetections(
            f"p{number}/img.png", number, height, width,
            (corners * np.float32([height, width])).reshape(-1, 4).astype(np.float32),
            random.integers(1, 4, count), random.choice([0, 0.5, 1], count).astype(np.float32))


def written(format, tmp_path):
    """The contents of all files, parsed as JSON has it: without NaN."""
    def refuse(value):
        raise ValueError(f"{value} is no JSON")

    chosen = FORMATS[format]
    target = tmp_path / "out" if chosen.by_image else tmp_path / f"out{chosen.ending}"
    write(detections(), target, chosen, CLASSES)
    files = sorted(target.rglob("*.*")) if chosen.by_image else [target]
    return [json.loads(path.read_text("utf-8"), parse_constant=refuse) for path in files]


@pytest.mark.parametrize("format", SCHEMAS)
def test_files_keep_to_the_schema(tmp_path, format):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[format])
    validator = jsonschema.Draft202012Validator(SCHEMAS[format])
    contents = written(format, tmp_path)
    for content in contents:
        validator.validate(content)
    assert len(contents) == (40 if format == "geojson" else 1)


def test_rules_of_geojson_that_no_schema_has(tmp_path):
    """Rings are closed, and the ids of a file differ."""
    ids = set()
    contents = written("geojson", tmp_path)
    for feature in (feature for content in contents for feature in content["features"]):
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
        ids.add(feature["id"])
    assert len(ids) == sum(len(content["features"]) for content in contents) > 50


def test_rules_of_tasks_that_no_schema_has(tmp_path):
    """Regions are in their image, and their ids differ in a result."""
    (tasks,) = written("labelstudio", tmp_path)
    for task in tasks:
        (prediction,) = task["predictions"]
        regions = prediction["result"]
        assert len({region["id"] for region in regions}) == len(regions)
        for value in (region["value"] for region in regions):
            assert value["x"] + value["width"] <= 100 + 1e-9
            assert value["y"] + value["height"] <= 100 + 1e-9


def leaves(schema, value, path=()):
    """The paths of all required members in a content."""
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            yield (*path, name)
        for name, inner in value.items():
            yield from leaves(schema.get("properties", {}).get(name, {}), inner, (*path, name))
    elif isinstance(value, list) and value:
        yield from leaves(schema.get("items", {}), value[0], (*path, 0))


@pytest.mark.parametrize("format", SCHEMAS)
def test_the_schemas_notice_what_is_missing(tmp_path, format):
    """Each required member that is taken away from a content makes it invalid."""
    validator = jsonschema.Draft202012Validator(SCHEMAS[format])
    content = written(format, tmp_path)[-1 if format == "geojson" else 0]
    if format == "labelstudio":
        content = [task for task in content if task["predictions"][0]["result"]]
    paths = list(leaves(SCHEMAS[format], content))
    assert len(paths) > 8
    for *parents, name in paths:
        broken = inner = copy.deepcopy(content)
        for part in parents:
            inner = inner[part]
        del inner[name]
        assert not validator.is_valid(broken)
