"""Files to save are those that `frcnn detect` writes."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from serve_tools import CLASSES, client_of, encoded, error_of, make_service, upload

from frcnn.formats import registry
from frcnn.formats.detections import ImageDetections
from frcnn.formats.registry import FORMATS, write

pytest.importorskip("pyarrow")
pytest.importorskip("roifile")


@pytest.fixture(scope="module")
def client():
    with client_of(make_service(limits={"rate": 100_000})) as client:
        yield client


def images(client, *names):
    """What the page sends: the answers of `/v1/detect`."""
    answers = [upload(client, encoded(number, (30 + number, 20)), name, min_score=0).json()
               for number, name in enumerate(names)]
    return [{**answer["image"], "name": name, "detections": answer["detections"]}
            for answer, name in zip(answers, names)]


def as_detections(sent):
    return [ImageDetections(
        image["name"], number, image["height"], image["width"],
        np.array([found["box"] for found in image["detections"]], np.float32).reshape(-1, 4),
        np.array([found["class_id"] for found in image["detections"]], np.int32),
        np.array([found["score"] for found in image["detections"]], np.float32))
        for number, image in enumerate(sent, start=1)]


@pytest.mark.parametrize("format", FORMATS)
def test_one_image_is_the_file_that_the_format_writes(client, format, tmp_path):
    sent = images(client, "a b.png")
    done = client.post("/v1/export", params={"format": format}, json={"images": sent})
    target = tmp_path / f"a b{FORMATS[format].ending}"
    write(as_detections(sent), target, FORMATS[format], CLASSES)
    assert done.status_code == 200
    if format == "imagej":  # a ZIP has the time
        assert contents(done.content) == contents(target.read_bytes())
    else:
        assert done.content == target.read_bytes()
    name = f"a b{FORMATS[format].ending}" if FORMATS[format].by_image \
        else f"detections{FORMATS[format].ending}"
    assert done.headers["content-disposition"] == f'attachment; filename="{name}"'


def contents(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.mark.parametrize("format", [name for name, known in FORMATS.items() if known.by_image])
def test_files_of_several_images_come_as_a_zip(client, format, tmp_path):
    sent = images(client, "1/a.png", "2/a.png", "b.png")
    done = client.post("/v1/export", params={"format": format}, json={"images": sent})
    write(as_detections(sent), tmp_path, FORMATS[format], CLASSES)
    expected = {str(path.relative_to(tmp_path)): path.read_bytes()
                for path in tmp_path.rglob("*.*")}
    found = contents(done.content)
    ending = FORMATS[format].ending
    assert set(found) == set(expected) == {f"1/a{ending}", f"2/a{ending}", f"b{ending}"}
    if format != "imagej":
        assert found == expected


@pytest.mark.parametrize("format", ["annotations", "labelstudio"])
def test_images_to_correct_have_their_folders_or_are_refused(client, format):
    """Else the boxes of one patient would come back on the image of another."""
    def sent(*names):
        return client.post("/v1/export", params={"format": format}, json={
            "images": [{**IMAGE, "name": name} for name in names]})

    done = sent("day/ann/1.png", "day/bo/1.png").json()
    names = [task["data"]["image"] for task in done] if format == "labelstudio" \
        else [image["file_name"] for image in done["images"]]
    assert names == ["ann/1.png", "bo/1.png"]
    assert "Two images have the name 1.png" in error_of(sent("1.png", "2.png", "1.png"), 422)


def test_an_image_without_objects_has_a_file(client):
    done = client.post("/v1/export", params={"format": "geojson"}, json={
        "images": [{"name": "a.png", "width": 9, "height": 9, "detections": []}]})
    assert done.json() == {"type": "FeatureCollection", "features": []}


FOUND = {"box": [0, 0, 1, 1], "class_id": 1, "score": 0.5}
IMAGE = {"name": "a.png", "width": 9, "height": 9, "detections": [FOUND]}


@pytest.mark.parametrize("content, text", [
    ({}, "images"), ({"images": []}, "images"), ([], "The body"),
    ({"images": [{**IMAGE, "width": 0}]}, "images.0.width"),
    ({"images": [{**IMAGE, "name": ""}]}, "images.0.name"),
    *(({"images": [{**IMAGE, "detections": [{**FOUND, **wrong}]}]}, text) for wrong, text in [
        ({"class_id": 0}, "class_id"), ({"class_id": 3}, "class_id 3 is unknown"),
        ({"score": 2}, "score"), ({"box": [0, 0, 1]}, "box"), ({"box": [0, 0, 1, 1e300]}, "box"),
        ({"box": [5, 0, 1, 1]}, "ends before")])])
def test_what_cannot_be_written_is_one_sentence(client, content, text):
    done = client.post("/v1/export", params={"format": "csv"}, json=content)
    assert text in error_of(done, 422)


def test_numbers_that_are_none(client):
    body = ('{"images": [{"name": "a", "width": 9, "height": 9, "detections": '
            '[{"box": [0, 0, NaN, Infinity], "class_id": 1, "score": 1}]}]}')
    error_of(client.post("/v1/export", params={"format": "csv"}, content=body), 422)


@pytest.mark.parametrize("query", [{}, {"format": "docx"}, {"format": "../coco"}])
def test_a_format_that_does_not_exist(client, query):
    assert "format" in error_of(client.post("/v1/export", params=query, json={"images": [IMAGE]}),
                                422)


def test_a_library_that_is_missing_is_named(client, monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    done = client.post("/v1/export", params={"format": "parquet"}, json={"images": [IMAGE]})
    assert 'pip install "frcnn[shards]"' in error_of(done, 422)
    available = {entry["name"]: entry["available"]
                 for entry in client.get("/v1/model").json()["formats"]}
    assert not available["parquet"] and not available["imagej"] and available["csv"]


def test_nothing_is_left_on_disk(client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in FORMATS:
        assert client.post("/v1/export", params={"format": name},
                           json={"images": [IMAGE, {**IMAGE, "name": "b.png"}]}
                           ).status_code == 200
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("name", ["../../x.png", "/etc/passwd", "a\nb.png", "x" * 900, "é�.png",
                                  "con.", '"q".png', ".", ".."])
def test_names_stay_in_the_folder(client, name):
    for format in ("geojson", "voc", "csv"):
        done = client.post("/v1/export", params={"format": format},
                           json={"images": [{**IMAGE, "name": name}, {**IMAGE, "name": name}]})
        assert done.status_code == 200
        if format != "csv":
            assert all(not Path(inner).is_absolute() and ".." not in Path(inner).parts
                       for inner in contents(done.content))
