"""`frcnn detect --output FOLDER` and `frcnn detections`: many images, nothing lost."""

import contextlib
import csv
import json

import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, Stub, checkpoint, fails
from PIL import Image
from shard_tools import Bright, write_images

from frcnn.cli import detect, detections, run_report
from frcnn.data import slides
from frcnn.shards import local, ray_engine
from frcnn.shards.store import Store

pytest.importorskip("pyarrow")


@pytest.fixture
def stub(monkeypatch):
    made = []

    def make(path, config, logs):
        made.append(Bright(config))
        return made[-1]

    monkeypatch.setattr(run_report, "inference_model", make)
    return made


@pytest.fixture
def weights(tmp_path):
    return checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS)


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 7)


def run(*arguments):
    return detect.main(list(map(str, arguments)))


def test_detect_into_a_folder_then_into_a_file(stub, weights, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(tmp_path / "images", "--model", weights, "--output", f"{out}/",
               "--images-per-shard", "3") == 0
    assert f"7 objects in 7 images, in {out}: 3 of 3 shards\n" in capsys.readouterr().out
    assert detections.main([str(out), "--to", str(tmp_path / "found.json")]) == 0
    rows = json.loads((tmp_path / "found.json").read_text())
    assert [row["image_id"] for row in rows] == images
    for number, row in enumerate(rows, start=1):
        class_id = 1 + number % 2
        assert row["bbox"] == [0, 0, number, number] and row["score"] == 0.5
        assert (row["category_id"], row["category_name"]) == (CATEGORY_IDS[class_id],
                                                              NAMES[class_id])
    assert detections.main([str(out), "--to", str(tmp_path / "found.csv")]) == 0
    with open(tmp_path / "found.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["file_name"] for row in table] == images
    assert [float(row["width"]) for row in table] == list(range(1, 8))


def test_ids_come_from_annotations(stub, weights, images, tmp_path):
    annotations = tmp_path / "ann.json"
    annotations.write_text(json.dumps({"images": [
        {"id": 10 * number, "file_name": f"{number:03d}.png"} for number in range(1, 8)]}))
    assert run(tmp_path / "images", "--model", weights, "--output", tmp_path / "out",
               "--annotations", annotations) == 0
    assert detections.main([str(tmp_path / "out"), "--to", str(tmp_path / "found.json")]) == 0
    rows = json.loads((tmp_path / "found.json").read_text())
    assert [row["image_id"] for row in rows] == list(range(10, 80, 10))


def test_large_images_in_tiles_a_shard_each(stub, weights, tmp_path, capsys, monkeypatch):
    """The stub finds an object in each tile, as large as the tile's first value says."""
    (tmp_path / "slides").mkdir()
    for number in (1, 2):
        pixels = np.full((64, 128, 3), 20 * number, np.uint8)
        pixels[30:34] = 90
        Image.fromarray(pixels).save(tmp_path / f"slides/{number}.png")
    (tmp_path / "slides/3.png").write_text("text")
    arguments = (tmp_path / "slides", "--model", weights, "--output", tmp_path / "out", "--tile",
                 "64", "--overlap", "0")
    assert run(*arguments) == 1
    assert "4 objects in 2 images" in capsys.readouterr().out
    store = Store(tmp_path / "out")
    assert len(store.shards()) == 3
    first, second, third = store.rows()
    assert sorted(first["boxes"]) == [[0, 0, 20, 20], [0, 64, 20, 84]]
    assert sorted(second["boxes"]) == [[0, 0, 40, 40], [0, 64, 40, 104]]
    assert (first["height"], first["width"]) == (64, 128) and "ImageError" in third["error"]
    assert "another tile" in fails(capsys, detect.main, *arguments[:-4], "--tile", "32",
                                   "--overlap", "0", "--resume")


def test_what_cannot_be_read_is_counted_and_kept_with_its_reason(stub, weights, images, tmp_path,
                                                                 capsys):
    with open(images[3], "w") as file:
        file.write("text")
    assert run(tmp_path / "images", "--model", weights, "--output", tmp_path / "out") == 1
    out = capsys.readouterr().out
    assert "6 objects in 6 images" in out and "1 images of shard-00000-of-00001.parquet" in out
    (row,) = [row for row in Store(tmp_path / "out").rows() if row["error"]]
    assert images[3] in row["error"]
    assert detections.main([str(tmp_path / "out"), "--to", str(tmp_path / "found.json")]) == 1
    assert "1 images could not be read" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "found.json").read_text())) == 6


def test_resume_does_what_is_left_and_nothing_else(stub, weights, images, tmp_path, capsys):
    arguments = (tmp_path / "images", "--model", weights, "--output", tmp_path / "out",
                 "--images-per-shard", "3")
    assert run(*arguments) == 0
    (tmp_path / "out/shard-00001-of-00003.parquet").unlink()
    assert detections.main([str(tmp_path / "out"), "--to", str(tmp_path / "found.json")]) == 1
    assert "1 of 3 shards are missing; frcnn detect --resume makes" in capsys.readouterr().out
    assert "go on with --resume" in fails(capsys, detect.main, *arguments)
    assert run(*arguments, "--resume") == 0
    out = capsys.readouterr().out
    assert "finished      2 of 3 shards, in" in out and "3 objects in 3 images" in out
    assert len(list(Store(tmp_path / "out").rows())) == 7
    models = len(stub)
    assert run(*arguments, "--resume") == 0 and len(stub) == models
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"finished      3 of 3 shards, in {tmp_path / 'out'}"]
    line = fails(capsys, detect.main, *arguments, "--resume", "--min-confidence", "0.1")
    assert "another configuration" in line


@pytest.mark.parametrize("unfinished", [(), (0,), (1,), (0, 1, 2)])
def test_a_resumed_detection_ends_with_the_code_of_the_whole(stub, weights, images, tmp_path,
                                                             capsys, unfinished):
    """1, if any image could not be read, in whichever call."""
    with open(images[1], "w") as file:
        file.write("text")
    arguments = (tmp_path / "images", "--model", weights, "--output", tmp_path / "out",
                 "--images-per-shard", "3")
    assert run(*arguments) == 1
    for number in unfinished:
        (tmp_path / f"out/shard-{number:05d}-of-00003.parquet").unlink()
    capsys.readouterr()
    assert run(*arguments, "--resume") == 1
    out = capsys.readouterr().out
    assert out.count("1 images of shard-00000-of-00003.parquet could not be read") == 1
    assert out.count("could not be read") == 1


def test_resuming_with_other_images(stub, weights, images, tmp_path, capsys):
    arguments = ("--model", weights, "--output", tmp_path / "out", "--resume")
    assert run(tmp_path / "images", *arguments) == 0
    write_images(tmp_path / "others", 2)
    line = fails(capsys, detect.main, tmp_path / "others", *arguments)
    assert f"such as {images[0]}; 2 of the 2 that are given are others, such as " in line
    assert run(tmp_path / "images", tmp_path / "others", *arguments) == 1
    out = capsys.readouterr().out
    assert f"2 of the 9 images, such as {tmp_path / 'others/001.png'}, are not among" in out
    assert "give them and another folder as --output" in out
    assert run(images[0], *arguments) == 0
    assert len(list(Store(tmp_path / "out").rows())) == 7


def test_an_image_too_large_for_the_file_is_a_row_with_the_reason(images, tmp_path):
    """Each `--resume` would end at it else."""
    from types import SimpleNamespace

    from frcnn.config import Config
    from frcnn.runtime.detector import Detector
    from frcnn.runtime.metadata import FileMetadata, settings_of
    from frcnn.shards.inputs import find_items
    from frcnn.shards.worker import Task

    config = Config(NUM_CLASSES=2, IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=128)

    class Engine(SimpleNamespace):
        metadata = FileMetadata("litert", ["BG", "a"], settings_of(config), shape=(128, 128))

        def __call__(self, inputs):
            return {"detections": np.zeros((len(inputs["image"]), 3, 6), np.float32)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frcnn.runtime.detector.open_engine", lambda *_: Engine())
        detector = Detector("a.tflite")
    Image.new("RGB", (200, 300)).save(images[1])
    store = Store(tmp_path / "out")
    shards = store.begin(find_items([str(tmp_path / "images")]), 3, {})
    results = list(local.run(Task(str(store.folder), "", ""), shards, model=detector))
    assert [done.errors for _, done in results] == [1, 0, 0]
    errors = [row["error"] for row in store.rows()]
    assert len(errors) == 7 and [error is None for error in errors].count(False) == 1
    assert "320 x 256 pixels, as it is molded, is larger" in errors[1]


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_resuming_from_another_folder_finds_the_same_images(stub, weights, images, tmp_path,
                                                            monkeypatch, engine):
    """Also workers that run elsewhere: the stand-in for Ray is in another folder."""
    (tmp_path / "elsewhere").mkdir()
    if engine == "ray":
        def elsewhere(task, shards, cluster):
            with contextlib.chdir(tmp_path / "elsewhere"):
                seen = Store(task.folder).shards()  # as an actor does
                return list(local.run(task, [seen[shard.number] for shard in shards],
                                      model=Bright()))

        monkeypatch.setattr(ray_engine, "run", elsewhere)
    monkeypatch.chdir(tmp_path)
    weights = weights.relative_to(tmp_path)
    arguments = ("--images-per-shard", "3", "--engine", engine)
    assert run("images", "--model", weights, "--output", "out", *arguments) == 0
    (tmp_path / "out/shard-00001-of-00003.parquet").unlink()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("../images", "--model", f"../{weights}", "--output", "../out", *arguments,
               "--resume") == 0
    rows = list(Store(tmp_path / "out").rows())
    assert [row["path"] for row in rows] == images
    assert [row["error"] for row in rows] == [None] * 7


@pytest.mark.parametrize(("arguments", "message"), [
    (["--output", "r.json", "--resume"], "--resume is for results in a folder; name one with"),
    (["--output", "r.json", "--engine", "local"], "--engine is for results in a folder"),
    (["--output", "out", "--pictures", "shown"], "--pictures is for results in one file"),
    (["--output", "out", "--level", "1"], "--level is for images in tiles; give --tile SIZE"),
    (["--output", "out", "--workers", "2"], "--workers is for a cluster; give --engine ray, too"),
    (["--output", "r.txt"], "the ending means no format; name a file that ends in .json, .csv"),
])
def test_options_that_do_not_fit(stub, weights, images, tmp_path, capsys, monkeypatch, arguments,
                                 message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, detect.main, images[0], "--model", weights, *arguments)


def test_a_folder_that_is_no_result(capsys, tmp_path):
    line = fails(capsys, detections.main, tmp_path, "--to", tmp_path / "r.json")
    assert "has no manifest.json" in line
    assert not (tmp_path / "r.json").exists()
    line = fails(capsys, detections.main, tmp_path, "--to", tmp_path / "r.txt")
    assert "r.txt: the ending means no format; name a file that ends in .json, .csv" in line


def test_other_programs_formats(stub, weights, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(tmp_path / "images", "--model", weights, "--output", out) == 0
    assert detections.main([str(out), "--to", str(tmp_path / "qupath"), "--format", "geojson"]) == 0
    assert sorted(path.name for path in (tmp_path / "qupath").iterdir()) == [
        f"{number:03d}.geojson" for number in range(1, 8)]
    assert detections.main([str(out), "--to", str(tmp_path / "t.json"), "--format",
                            "labelstudio"]) == 0
    (first, *others) = json.loads((tmp_path / "t.json").read_text())
    assert first["data"] == {"image": "001.png"} and len(others) == 6
    region = first["predictions"][0]["result"][0]
    assert (region["original_width"], region["original_height"]) == (4, 3)
    capsys.readouterr()
    for arguments, message in (
            (["--to", tmp_path / "qupath", "--format", "voc"], "is a folder with files in it"),
            (["--to", tmp_path / "t.json"], "has no detections in it, but something else"),
            (["--to", out], "the ending means no format"),
            (["--to", images[0]], "the ending means no format"),
            (["--to", tmp_path / "a.zip"], "several images, and this format has a file for each")):
        assert message in fails(capsys, detections.main, out, *arguments)


def test_detect_writes_the_format_that_the_ending_means(weights, images, tmp_path, monkeypatch,
                                                         capsys):
    monkeypatch.setattr(run_report, "inference_model", Stub)
    for name in ("r.jsonl", "r.parquet"):
        assert run(tmp_path / "images", "--model", weights, "--output", tmp_path / name) == 0
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [row["image_id"] for row in lines] == list(range(1, 8))
    assert run(images[0], "--model", weights, "--output", tmp_path / "one.geojson") == 0
    assert run(tmp_path / "images", "--model", weights, "--output", tmp_path / "xml", "--format",
               "voc") == 0
    assert len(list((tmp_path / "xml").iterdir())) == 7
    text = (tmp_path / "xml/001.xml").read_text()
    assert "<width>4</width>" in text and "<height>3</height>" in text
    capsys.readouterr()
    for arguments, message in (
            (["--output", tmp_path / "r.parquet"], "is there already; delete it or name another"),
            (["--output", tmp_path / "s.zip"], "this format has a file for each of 7 images"),
            (["--output", tmp_path / "xml", "--format", "voc"], "a folder with files in it")):
        assert message in fails(capsys, detect.main, tmp_path / "images", "--model", weights,
                                *arguments)


def test_nothing_found_is_an_empty_list(stub, weights, images, tmp_path, monkeypatch):
    monkeypatch.setattr("frcnn.shards.worker.as_row", lambda item, size, result: {
        "path": item.path, "boxes": [], "class_ids": [], "scores": [], "error": None})
    assert run(images[0], "--model", weights, "--output", tmp_path / "out") == 0
    assert detections.main([str(tmp_path / "out"), "--to", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text()) == []


def test_a_slide_of_an_unsupported_kind_is_one_error_among_the_others(
        stub, weights, tmp_path, monkeypatch, capsys):
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("tiffslide")
    monkeypatch.setattr(slides, "WHOLE_PIXELS", 1000)
    (tmp_path / "images").mkdir()
    pixels = np.full((60, 50, 3), 7, np.uint8)
    pixels[20:40, 20:40] = 200
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.moveaxis(pixels, -1, 0), photometric="rgb",
                     planarconfig="separate")
    tifffile.imwrite(tmp_path / "images" / "b.tif", pixels, photometric="rgb")
    assert run(tmp_path / "images", "--model", weights, "--output", tmp_path / "out",
               "--tile", "64") == 1
    out = capsys.readouterr().out
    assert "1 objects in 1 images" in out and "2 of 2 shards" in out  # nothing is left to resume
    assert detections.main([str(tmp_path / "out"), "--to", str(tmp_path / "found.json")]) == 1
    (row,) = json.loads((tmp_path / "found.json").read_text())
    assert row["image_id"].endswith("b.tif")
