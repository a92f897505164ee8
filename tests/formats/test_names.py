"""No two images share a name in files of other programs: boxes come back on their own image."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frcnn.data import open_folder
from frcnn.errors import OutputError
from frcnn.formats.detections import Classes, ImageDetections
from frcnn.formats.names import file_names, relative_names
from frcnn.formats.registry import FORMATS, check_names, write

CLASSES = Classes(["BG", "cell"], [None, 1])
# Files below the folder that is detected in, as they lie.
LAYOUTS = {
    "one folder": ["a.png", "b.png"],
    "patients": ["p1/img.png", "p2/img.png"],
    "days of patients": ["p1/d1/img.png", "p1/d2/img.png", "p2/d1/img.png", "p2/img.png"],
    "beside folders": ["img.png", "p1/img.png", "p2/img.png"],
    "names in names": ["p1/img.png", "x/p1/img.png", "x/img.png"],
    "endings": ["p1/img.png", "p1/img.bmp", "p2/img.png"],
    "numbers": ["p1/img.png", "p2/img-2.png", "p3/img.png"],
    "letters": ["p 1/Bild ä%20.png", "p 2/Bild ä%20.png"],
}
each_layout = pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)


def drawn(folder, files):
    """The images, with one box in each, which tells them apart; `{file: box}` and detections."""
    boxes, images = {}, []
    for number, file in enumerate(files, start=1):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (number, 9, 9)).save(folder / file)
        boxes[file] = [number, number, number + 20, number + 30]
        images.append(ImageDetections(str(folder / file), f"id {number}", 48, 64,
                                      np.array([boxes[file]], np.float32), np.array([1]),
                                      np.array([0.9], np.float32)))
    return boxes, images


def boxes_by_file(dataset, folder):
    found = {}
    for image_id in dataset.image_ids:
        (box,), _ = dataset.load_boxes(image_id)
        found[os.path.relpath(dataset.image_info[image_id]["path"], folder)] = box.tolist()
    return found


@each_layout
def test_annotations_come_back_on_their_images(tmp_path, files):
    boxes, images = drawn(tmp_path / "set/train", files)
    write(images, tmp_path / "set/annotations/instances_train.json", FORMATS["annotations"],
          CLASSES)
    assert boxes_by_file(open_folder(tmp_path / "set", "train"), tmp_path / "set/train") == boxes


@each_layout
def test_annotations_of_voc_come_back_on_their_images(tmp_path, files):
    boxes, images = drawn(tmp_path / "JPEGImages", files)
    write(images, tmp_path / "Annotations", FORMATS["voc"], CLASSES)
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    names = [str(path.relative_to(tmp_path / "Annotations"))[:-4]
             for path in sorted((tmp_path / "Annotations").rglob("*.xml"))]
    (tmp_path / "ImageSets/Main/train.txt").write_text("\n".join(names), encoding="utf-8")
    assert boxes_by_file(open_folder(tmp_path, "train"), tmp_path / "JPEGImages") == boxes


@each_layout
def test_tasks_name_their_images(tmp_path, files):
    _, images = drawn(tmp_path / "scans", files)
    write(images, tmp_path / "t.json", FORMATS["labelstudio"], CLASSES)
    assert [task["data"]["image"] for task in json.loads((tmp_path / "t.json").read_text())] \
        == files


@pytest.mark.parametrize("format", [name for name, known in FORMATS.items() if known.by_image])
@each_layout
def test_files_lie_in_folders_as_the_images_do(tmp_path, files, format):
    pytest.importorskip("roifile")
    _, images = drawn(tmp_path / "scans", files)
    ending = FORMATS[format].ending
    assert write(images, tmp_path / "out", FORMATS[format], CLASSES) == len(files)
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")
             if path.is_file()}
    stems = [os.path.splitext(file)[0] for file in files]
    assert found == {(file if stems.count(stem) > 1 else stem) + ending
                     for file, stem in zip(files, stems)}


# --- the rules, by hand -------------------------------------------------------------------------


@pytest.mark.parametrize(("paths", "expected"), [
    ([], []),
    (["a/b.png"], ["b.png"]),
    (["/x/a.png", "/x/p/a.png"], ["a.png", "p/a.png"]),
    (["x/p1/a.png", "x/p2/a.png"], ["p1/a.png", "p2/a.png"]),
    (["./x/a.png", "x/../x/b.png", "x//c.png"], ["a.png", "b.png", "c.png"]),
    (["x/pa/a.png", "x/pb/a.png"], ["pa/a.png", "pb/a.png"]),  # 'p' is no common folder
    ([r"C:\x\p1\a.png", r"C:\x\p2\a.png"], ["p1/a.png", "p2/a.png"]),
    ([r"C:\x\a.png", r"D:\x\a.png"], ["C/x/a.png", "D/x/a.png"]),
    (["s3://b/p1/a.png", "s3://b/p2/a.png"], ["p1/a.png", "p2/a.png"]),
    (["s3://b/a.png", "gs://b/a.png"], ["s3/b/a.png", "gs/b/a.png"]),
    (["a.png", "a.png"], ["a.png", "a.png"]),
])
def test_names_relative_to_the_common_folder(paths, expected):
    assert relative_names(paths) == expected


def test_absolute_and_relative_paths_together(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert relative_names(["p1/a.png", str(tmp_path / "here/p2/a.png")]) == ["p1/a.png",
                                                                             "p2/a.png"]
    assert relative_names(["p1/a.png", "../p1/a.png"]) == ["here/p1/a.png", "p1/a.png"]


def test_no_file_has_the_name_of_another():
    """All lists of three paths of a few parts: names differ, in any case of letters."""
    paths = ["/".join(parts) for parts in itertools.product(
        ("p", "P"), ("a", "A", "a-2", "a.png"), )]
    paths = [path + ending for path in paths for ending in (".png", ".tif")]
    for chosen in itertools.product(paths, repeat=3):
        for names in (file_names(chosen, ".xml"), file_names([f"{path}x" * 60 for path in chosen],
                                                             ".geojson")):
            assert len({name.casefold() for name in names}) == 3
            assert all(len(part.encode()) <= 255 for name in names for part in Path(name).parts)


@pytest.mark.parametrize("format", ["annotations", "labelstudio"])
def test_images_that_no_path_tells_apart_are_refused(tmp_path, format):
    _, images = drawn(tmp_path, ["a.png"])
    with pytest.raises(OutputError, match=r"Two images have the name a\.png"):
        write(images * 2, tmp_path / "t.json", FORMATS[format], CLASSES)
    with pytest.raises(OutputError, match=r"Two images have the name a\.png"):
        check_names(["x/a.png", "x/a.png"], FORMATS[format])
    check_names(["x/a.png", "y/a.png"], FORMATS[format])
    check_names(["x/a.png", "x/a.png"], FORMATS["csv"])


@pytest.mark.parametrize(("ids", "expected"), [
    ([7, 3], [7, 3]), (["x", "y"], [1, 2]), (["x", 1, 2, "y"], [1, 2, 3, 4]), ([1, 1], [1, 2]),
    ([True, 2], [1, 2]), ([2, None], [1, 2])])
def test_ids_of_images_differ(tmp_path, ids, expected):
    images = [ImageDetections(f"{place}.png", image_id, 48, 64,
                              np.array([[1, 1, 5, 5 + place]], np.float32), np.array([1]),
                              np.array([0.5], np.float32)) for place, image_id in enumerate(ids)]
    write(images, tmp_path / "a.json", FORMATS["annotations"], CLASSES)
    content = json.loads((tmp_path / "a.json").read_text())
    assert [(image["id"], image["file_name"]) for image in content["images"]] \
        == [(image_id, f"{place}.png") for place, image_id in enumerate(expected)]
    assert [(found["image_id"], found["bbox"][2]) for found in content["annotations"]] \
        == [(image_id, 4 + place) for place, image_id in enumerate(expected)]
