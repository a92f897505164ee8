"""Label Studio's JSON: detections go there, are corrected, and come back to be trained on."""

import copy
import json
import os

import numpy as np
import pytest
from cli_tools import fails
from PIL import Image

from frcnn.cli import convert
from frcnn.data import open_folder
from frcnn.data.convert import convert_file
from frcnn.data.label_studio_paths import resolve, stored_name
from frcnn.errors import DatasetError
from frcnn.formats.detections import Classes, ImageDetections
from frcnn.formats.registry import FORMATS, write

NAMES = ["BG", "rod", "cell"]
CLASSES = Classes(NAMES, [None, 1, 2])
SIZES = {"p1/img.png": (80, 50), "p2/img.png": (1023, 777), "p2/d 3/ä.png": (333, 1001)}
BOXES = {"p1/img.png": [[10.25, 20.5, 30, 60.125], [0, 0, 50, 80]],
         "p2/img.png": [[1, 2, 700.0625, 1000.5]], "p2/d 3/ä.png": []}


@pytest.fixture
def scans(tmp_path):
    for name, size in SIZES.items():
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(tmp_path / "scans" / name)
    return tmp_path / "scans"


@pytest.fixture
def tasks(scans, tmp_path):
    """What frcnn writes for correction."""
    images = [ImageDetections(str(scans / name), number, height, width,
                              np.array(BOXES[name], np.float32).reshape(-1, 4),
                              np.array([2, 1])[:len(BOXES[name])],
                              np.array([0.9, 0.8], np.float32)[:len(BOXES[name])])
              for number, (name, (width, height)) in enumerate(SIZES.items(), start=1)]
    write(images, tmp_path / "found.json", FORMATS["labelstudio"], CLASSES)
    return json.loads((tmp_path / "found.json").read_text())


def exported(tasks, path=lambda name: name):
    """The export of a project into which the tasks were imported, all predictions accepted."""
    made = []
    for number, task in enumerate(copy.deepcopy(tasks), start=101):
        (prediction,) = task["predictions"]
        results = [{**region, "origin": "prediction-changed"} for region in prediction["result"]]
        made.append({
            "id": number, "inner_id": number - 100, "drafts": [], "predictions": [number],
            "annotations": [{"id": number + 500, "completed_by": 1, "was_cancelled": False,
                             "ground_truth": False, "lead_time": 3.5, "result": results}],
            "data": {"image": path(task["data"]["image"])}, "meta": {}, "total_annotations": 1})
    return made


def converted(content, scans, folder="set", **options):
    source = scans.parent / f"{folder}.json"
    source.write_text(json.dumps(content), encoding="utf-8")
    return convert_file(source, scans, scans.parent / folder, "train", **options)


def boxes_of(folder):
    """`{file name: [(class name, box), …]}` as a training reads it."""
    dataset = open_folder(folder, "train")
    return {os.path.relpath(info["path"], folder / "train"):
            [(dataset.class_names[class_id], box.tolist())
             for box, class_id in zip(*dataset.load_boxes(image_id))]
            for image_id, info in enumerate(dataset.image_info)}


EXPECTED = {name: [(NAMES[2 - place], box) for place, box in enumerate(boxes)]
            for name, boxes in BOXES.items()}
# How Label Studio names the image that frcnn has called {}.
STORES = {
    "as imported": "{}", "local files": "/data/local-files/?d=scans/{}",
    "a folder of the store": "/data/local-files/?d=lab/2024/scans/{}",
    "with the server": "http://localhost:8080/data/local-files/?d=scans/{}",
    "a bucket": "s3://bucket/scans/{}", "a site": "https://lab.example/scans/{}?version=3",
    "a path": "/home/me/scans/{}", "a path of Windows": "C:\\lab\\scans\\{}",
}


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_what_frcnn_found_comes_back(scans, tasks, store):
    """Every pixel, wherever the images were stored for Label Studio."""
    from urllib.parse import quote

    content = exported(tasks, lambda name: store.format(
        quote(name) if "?" in store else name.replace("/", "\\") if "\\" in store else name))
    counts, notes = converted(content, scans)
    assert counts == {"train": (3, 3)} and notes == []
    assert boxes_of(scans.parent / "set") == EXPECTED


def test_corrections_come_back(scans, tasks):
    content = exported(tasks)
    first, second, third = (task["annotations"][0]["result"] for task in content)
    first[0]["value"].update(x=50.0, y=10.0, width=25.0, height=20.0, rectanglelabels=["rod"])
    del first[1]
    second.clear()
    third.append({**first[0], "id": "x", "original_width": 333, "original_height": 1001,
                  "value": {"x": 0, "y": 0, "width": 100, "height": 100, "rotation": 0,
                            "rectanglelabels": [" cell "]}})
    converted(content, scans)
    assert boxes_of(scans.parent / "set") == {
        "p1/img.png": [("rod", [5, 40, 15, 60])], "p2/img.png": [],
        "p2/d 3/ä.png": [("cell", [0, 0, 1001, 333])]}


def test_random_pixels_are_exact(tmp_path):
    random = np.random.default_rng(0)
    tasks, expected = [], {}
    (tmp_path / "scans").mkdir()
    for number in range(30):
        width, height = map(int, random.integers(1, 5000, 2))
        Image.new("1", (width, height)).save(tmp_path / f"scans/{number}.png")
        corners = np.sort(random.integers(0, (height * 8 + 1, width * 8 + 1), (2, 2)), axis=0) / 8
        corners[1] = np.minimum(corners[0] + 1, (height, width)) if (
            corners[1] - corners[0]).min() < 1 else corners[1]
        corners[0] = corners[1] - np.maximum(corners[1] - corners[0], 0.125)
        box = corners.ravel().astype(np.float32)
        expected[f"{number}.png"] = [("rod", box.tolist())]
        tasks.append(ImageDetections(str(tmp_path / f"scans/{number}.png"), number, height, width,
                                     box[None], np.array([1]), np.array([0.5], np.float32)))
    write(tasks, tmp_path / "found.json", FORMATS["labelstudio"], CLASSES)
    converted(exported(json.loads((tmp_path / "found.json").read_text())), tmp_path / "scans")
    assert boxes_of(tmp_path / "set") == expected


# --- which labels count -------------------------------------------------------------------------


def test_annotations_are_preferred_to_predictions(scans, tasks):
    content = exported(tasks)
    for task, imported in zip(content, tasks):
        task["predictions"] = imported["predictions"]
    content[0]["annotations"][0]["result"] = []
    content[1]["annotations"] = []
    content[2]["annotations"][0]["was_cancelled"] = True
    counts, notes = converted(content, scans)
    assert boxes_of(scans.parent / "set") == {"p1/img.png": [],
                                              "p2/img.png": EXPECTED["p2/img.png"]}
    assert counts == {"train": (2, 1)}
    assert notes == ["1 tasks that were skipped are left out.",
                     "1 tasks that nobody annotated have the detector's predictions."]


def test_the_file_that_frcnn_wrote_can_be_trained_on(scans, tasks):
    _, notes = converted(tasks, scans)
    assert boxes_of(scans.parent / "set") == EXPECTED
    assert notes == ["3 tasks that nobody annotated have the detector's predictions."]


def test_tasks_without_labels_are_left_out(scans, tasks):
    """Else all their objects would be background."""
    content = exported(tasks)
    content[1].update(annotations=[], predictions=[7])
    content[2].update(annotations=[], drafts=[{"id": 3}], predictions=tasks[2]["predictions"])
    _, notes = converted(content, scans)
    assert list(boxes_of(scans.parent / "set")) == ["p1/img.png"]
    assert notes == ["1 tasks with drafts that were not submitted are left out.",
                     "1 tasks that nobody annotated are left out."]


def test_of_several_annotations_the_ground_truth_counts(scans, tasks):
    content = exported(tasks)
    more = copy.deepcopy(content[0]["annotations"][0])
    more["result"] = []
    content[0]["annotations"].append({**more, "was_cancelled": True})
    converted(content, scans)
    assert boxes_of(scans.parent / "set") == EXPECTED
    content[0]["annotations"].append({**more, "ground_truth": True})
    converted(content, scans, "second")
    assert boxes_of(scans.parent / "second")["p1/img.png"] == []
    content[0]["annotations"].append({**more, "ground_truth": True})
    with pytest.raises(DatasetError, match="Task 101: it has 3 annotations, and one image has one"):
        converted(content, scans, "third")


def test_results_that_are_no_shapes_are_passed_over(scans, tasks):
    content = exported(tasks)
    content[0]["annotations"][0]["result"] += [
        {"id": "c", "type": kind, "value": {}, "from_name": "q", "to_name": "image"}
        for kind in ("choices", "textarea", "relation")]
    converted(content, scans)
    assert boxes_of(scans.parent / "set") == EXPECTED


def test_classes_in_an_order(scans, tasks):
    converted(exported(tasks), scans)
    assert open_folder(scans.parent / "set", "train").class_names == ["BG", "cell", "rod"]
    converted(exported(tasks), scans, "second", class_names=["rod", "cell", "cast"])
    assert open_folder(scans.parent / "second", "train").class_names == ["BG", "rod", "cell",
                                                                         "cast"]
    with pytest.raises(DatasetError, match="has the label 'cell', which is none of the classes"):
        converted(exported(tasks), scans, "third", class_names=["rod"])


# --- what is refused ----------------------------------------------------------------------------


def change(**values):
    return lambda task: task["annotations"][0]["result"][0].update(values)


def change_value(**values):
    return lambda task: task["annotations"][0]["result"][0]["value"].update(values)


WRONG = {
    "rotated": (change_value(rotation=12.5), "is rotated by 12.5 degrees"),
    "rotated image": (change(image_rotation=90), "is on a rotated image by 90 degrees"),
    **{kind: (change(type=kind), f"region 1 is of the type '{kind}', and only rectanglelabels are")
       for kind in ("polygonlabels", "ellipselabels", "brushlabels", "keypointlabels", "rectangle",
                    "polygon", "labels", "videorectangle")},
    "no type": (change(type=None), "region 1 is of the type None"),
    "no value": (change(value=None), "region 1 has no value"),
    "no label": (change_value(rectanglelabels=[]), "has the labels []; give it one"),
    "two labels": (change_value(rectanglelabels=["a", "b"]), r"has the labels ['a', 'b']"),
    "no text": (change_value(rectanglelabels=[3]), "has the labels [3]"),
    "another image": (change(original_width=81), "is on an image of (81, 50) pixels, and"),
    "no size": (change(original_height=None), "is on an image of (80, None) pixels"),
    "no number": (change_value(x="3"), "they are percentages"),
    "not finite": (change_value(width=float("nan")), "they are percentages"),
    "a truth value": (change_value(width=True), "they are percentages"),
    "no result": (lambda task: task["annotations"][0].update(result=None), "its 'result' is None"),
    "no list": (lambda task: task.update(annotations=3), "its 'annotations' is 3, where"),
    "no data": (lambda task: task.pop("data"), "it has no 'data'"),
    "two images": (lambda task: task.update(data={"a": "x.png", "b": "y.png"}), "call it 'image'"),
    "no image": (lambda task: task.update(data={"image": 3}), "do not name one image"),
    "missing": (lambda task: task["data"].update(image="p1/other.png"),
                "its image 'p1/other.png' is not in "),
    "outside": (lambda task: task["data"].update(image="../scans/p1/img.png"), "is not in "),
    "another's": (lambda task: task["data"].update(image="p2/img.png"),
                  "Tasks 101, 102 are of the same file"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_box_is_an_error_by_task(scans, tasks, make, message, recwarn):
    content = exported(tasks)
    make(content[0])
    with pytest.raises(DatasetError) as caught:
        converted(content, scans)
    assert message in str(caught.value) and "101" in str(caught.value)
    assert "frcnn check" not in str(caught.value)
    assert not (scans.parent / "set").exists()
    with pytest.warns(UserWarning, match="left out"):
        converted(content, scans, "second", skip_bad=True, class_names=NAMES[1:])
    found = boxes_of(scans.parent / "second")
    assert "p1/img.png" not in found and found["p2/d 3/ä.png"] == []


def test_boxes_beyond_the_edge_are_clipped(scans, tasks):
    content = exported(tasks)
    content[0]["annotations"][0]["result"][0]["value"].update(x=-10, width=60)
    with pytest.warns(UserWarning, match="box beyond the image's edge"):
        converted(content, scans)
    (_, box), _ = boxes_of(scans.parent / "set")["p1/img.png"]
    assert box == [10.25, 0, 30, 40]


@pytest.mark.parametrize(("content", "message"), [
    ("{", "cannot be read as JSON"), ("[]", "has no tasks with 'data'"),
    ("3", "holds a JSON number"),
    ('[{"id": 1, "image": "a.png", "label": []}]', "'JSON-MIN' and detections are other lists"),
    ('[{"image_id": 1, "bbox": [1, 2, 3, 4]}]', "has no tasks with 'data'"), ("\xff", "JSON")])
def test_files_that_have_no_tasks(scans, content, message):
    (scans.parent / "t.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DatasetError) as caught:
        convert_file(scans.parent / "t.json", scans, scans.parent / "set")
    assert message in str(caught.value)


# --- names of images ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "expected"), [
    ("p1/a.png", ("p1/a.png", False)),
    ("/data/local-files/?d=s/p%201/a%2Bb.png", ("s/p 1/a+b.png", False)),
    ("/data/local-files/?d=s\\p1\\a.png", ("s/p1/a.png", False)),
    ("/data/upload/3/0a1b2c3d-a.png", ("0a1b2c3d-a.png", True)),
    ("http://x:8080/data/upload/3/0a1b2c3d-a%20b.png?t=1", ("0a1b2c3d-a b.png", True)),
    ("gs://b/p1/a#1?.png", ("b/p1/a#1?.png", False)),
    ("/data/scans/a?b.png", ("data/scans/a?b.png", False)),
])
def test_names_of_stores(name, expected):
    assert stored_name(name) == expected


def upload(name):
    return "/data/upload/3/0a1b2c3d-" + name.rsplit("/", 1)[-1].replace(" ", "_")


def test_uploads_are_found_by_their_names_where_one_has_it(scans, tasks):
    """They have lost their folders; no patient's image is taken for another's."""
    for name in ("other.png", "p1/a b.png", "p2/d 3/0a1b2c3d-c.png"):
        Image.new("1", (5, 5)).save(scans / name)
    found, _ = resolve(["/data/upload/1/11111111-other.png", "/data/upload/1/22222222-a_b.png",
                        "/data/upload/1/0a1b2c3d-c.png", "/data/upload/1/33333333-img.png",
                        "/data/upload/1/44444444-none.png"], scans)
    assert [place.path and os.path.relpath(place.path, scans) for place in found] == [
        "other.png", "p1/a b.png", "p2/d 3/0a1b2c3d-c.png", None, None]
    assert [place.candidates for place in found[3:]] == [2, 0]
    with pytest.raises(DatasetError, match=r"Task 101: its image .*, and 2 files that it may be"):
        converted(exported(tasks, upload), scans)


def test_a_name_of_one_folder_is_none_of_another(scans):
    """p3/img.png is not there, though img.png is, and in two other folders."""
    Image.new("1", (5, 5)).save(scans / "img.png")
    found, _ = resolve(["x/p3/img.png", "x/p1/img.png"], scans)
    assert [place.path and os.path.relpath(place.path, scans) for place in found] == [
        None, "p1/img.png"]
    (only,), _ = resolve(["/data/local-files/?d=scans/p2/img.png"], scans)
    assert os.path.relpath(only.path, scans) == "p2/img.png"


def test_images_of_another_folder_are_told(scans, tasks):
    content = [exported(tasks, lambda name: "/data/local-files/?d=lab/p3/img.png")[0]]
    with pytest.warns(UserWarning, match=r"have images in lab/p3/, which are looked for in"):
        converted(content, scans / "p1")
    content = [exported(tasks, "/data/local-files/?d=lab/{}".format)[0]]
    converted(content, scans / "p1", "../second")  # p1 is p1


ODD = ["x" * 300, "a/" * 600 + "b", "a\0.png", "\ud800", "\ud800/a.png", "http://[", "http://",
       "s3://", "/data/upload/", "/data/upload/" + "x" * 300, "/data/local-files/?d=", "~", "//",
       "..", "C:\\"]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("where", [[0], [0, 1, 2]])
def test_odd_names_are_images_that_are_missing(scans, tasks, name, where):
    content = exported(tasks)
    for place in where:
        content[place]["data"]["image"] = name
    with pytest.raises(DatasetError, match=r"Task 101: its image .* is not in "):
        converted(content, scans)


def test_names_that_are_no_unicode(scans, tasks):
    """Bytes of a file's name, and a label that no text file can hold as it is."""
    try:
        Image.new("RGB", (80, 50)).save(os.fsencode(scans) + b"/\xe4.png", "png")
    except OSError:
        pytest.skip("file names are Unicode there")
    content = exported(tasks)[:1]
    content[0]["data"]["image"] = "\udce4.png"
    content[0]["annotations"][0]["result"][0]["value"]["rectanglelabels"] = ["\ud800"]
    converted(content, scans)
    assert boxes_of(scans.parent / "set") == {"\udce4.png": [
        ("\ud800", BOXES["p1/img.png"][0]), ("rod", BOXES["p1/img.png"][1])]}


# --- the program --------------------------------------------------------------------------------


def run(*arguments):
    return convert.main(list(map(str, arguments)))


def test_the_program_on_corrected_tasks(scans, tasks, tmp_path, capsys):
    content = exported(tasks)
    content[2]["annotations"][0]["was_cancelled"] = True
    (tmp_path / "c.json").write_text(json.dumps(content), encoding="utf-8-sig")
    assert run(tmp_path / "c.json", tmp_path / "set", "--images", scans, "--classes", "rod",
               "cell") == 0
    out = capsys.readouterr().out
    assert "all: 2 images with 3 objects\n1 tasks that were skipped are left out.\n" in out
    with pytest.warns(UserWarning, match="one image in 5"):
        parts = [open_folder(tmp_path / "set", subset).num_images for subset in ("train", "val")]
    assert parts == [1, 1]


def test_the_program_on_corrected_annotations(scans, tmp_path, capsys):
    """Those of COCO's format: what frcnn wrote comes back, whatever the file is called."""
    images = [ImageDetections(str(scans / name), number, height, width,
                              np.array(BOXES[name], np.float32).reshape(-1, 4),
                              np.array([2, 1])[:len(BOXES[name])], np.ones(len(BOXES[name])))
              for number, (name, (width, height)) in enumerate(SIZES.items(), start=1)]
    write(images, tmp_path / "c.json", FORMATS["annotations"], CLASSES)
    assert run(tmp_path / "c.json", tmp_path / "set", "--images", scans, "--subset", "train") == 0
    assert "train: 3 images with 3 objects" in capsys.readouterr().out
    found = boxes_of(tmp_path / "set")
    assert found.keys() == EXPECTED.keys()
    for name, objects in EXPECTED.items():
        assert [kind for kind, _ in found[name]] == [kind for kind, _ in objects]
        np.testing.assert_allclose(np.array([box for _, box in found[name]]).reshape(-1, 4),
                                   np.array([box for _, box in objects]).reshape(-1, 4), atol=1e-3)
    assert open_folder(tmp_path / "set", "train").class_names == NAMES


@pytest.mark.parametrize(("arguments", "message"), [
    (["c.json", "set"], "is a file of annotations; name the folder of its images with --images"),
    (["c.json", "set", "--images", "none"], "There is no folder of images none"),
    (["c.json", "set", "--images", "scans", "--subset", "a", "--subset", "b"],
     "give --subset once"),
    (["c.json", "set", "--images", "scans", "--subset", "../a"], "is no name of a folder"),
    (["c.json", "scans", "--images", "scans"], "is there already and not empty"),
    (["scans", "set", "--images", "scans"], "--images is for a file of annotations, and scans is"),
    (["scans", "set", "--classes", "rod"], "--classes is for a file of annotations"),
    (["none.json", "set", "--images", "scans"], "There is no file or folder none.json"),
    (["none", "set"], "There is no file or folder none"),
    (["c.json", "set", "--images", "scans", "--skip-bad"], "there is no image to write"),
])
def test_options_that_do_not_fit(scans, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.json").write_text('[{"data": {"image": "x.png"}}]')
    assert message in fails(capsys, convert.main, *arguments)
    assert not (tmp_path / "set").exists()
