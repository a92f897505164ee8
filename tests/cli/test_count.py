"""frcnn count: from calibration to the table, and what is refused. The model is mostly a stub."""

import csv
import json
import re
import shlex

import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, Stub, checkpoint, fails
from counts_tools import calibration, drawn, whole_images
from model_tools import noise
from PIL import Image
from places import PROJECT
from readme_tools import blocks

from frcnn.cli import count, run_options, run_report
from frcnn.cli import detect as detecting
from frcnn.cli.run_options import RunOptions
from frcnn.data import open_folder
from frcnn.evaluate.calibration_file import Calibration, calibration_path
from frcnn.evaluate.sample_counts import COLUMNS


@pytest.fixture(autouse=True)
def stub(monkeypatch, tmp_path):
    """A detector that finds one object in each image: the whole of it, with a score of 0.875."""
    made = []

    def make(*arguments):
        made.append(Stub(*arguments))
        return made[-1]

    monkeypatch.setattr(run_report, "inference_model", make)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def weights(tmp_path):
    return checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS,
                      IMAGES_PER_GPU=1)


@pytest.fixture
def data(tmp_path):
    """24 of 30 images have an object of the class that the stub finds: 4 of 5 are right."""
    return whole_images(tmp_path / "data", 30, empty=6)


@pytest.fixture
def calibrated(weights, data, capsys):
    assert run("--calibrate", data, "--model", weights) == 1  # two classes have no objects
    capsys.readouterr()
    return weights


@pytest.fixture
def images(tmp_path):
    for patient, number in (("ann", 6), ("bo", 4)):
        (tmp_path / "scans" / patient).mkdir(parents=True)
        for place in range(number):
            Image.new("RGB", (30, 20)).save(tmp_path / "scans" / patient / f"{place}.png")
    return tmp_path / "scans"


def run(*arguments):
    return count.main(list(map(str, arguments)))


def rows_of(path="counts.csv", **wanted):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


# --- calibrate ----------------------------------------------------------------------------------


def test_a_calibration_lies_beside_the_weights(weights, data, capsys):
    assert run("--calibrate", data, "--model", weights) == 1
    path = calibration_path(weights)
    captured = capsys.readouterr()
    assert f"calibration   {path}\n" in captured.out
    assert "bar: 24 objects, 100.0% of them found" in captured.out
    assert "square has 0 objects in 30 images; calibration needs at least 20" in captured.out
    made = Calibration.load(path)
    assert made.checkpoint == weights.name and made.class_names == NAMES
    assert (made.min_score, made.score_limit) == (0.05, 0.7)
    calibration, *others = made.calibrations()[0]
    assert calibration.expected([0.875]) == pytest.approx(0.8) and others == [None, None]
    assert run("--calibrate", data, "--model", weights) == 1  # it is made anew


@pytest.mark.parametrize("case", ["the same", "a link", "another folder", "all", "shared in part"])
def test_a_calibration_on_the_images_of_the_training_is_told(weights, tmp_path, capsys, case):
    """Intervals from it would be too narrow."""
    trained = data = whole_images(tmp_path / "data", 30, empty=6, subset="train")
    subset, seen = "train", 30
    if case == "a link":
        (tmp_path / "link").symlink_to(trained)
        data = tmp_path / "link"
    elif case == "another folder":  # of the same names, with images of its own
        data, seen = whole_images(tmp_path / "other", 30, empty=6, subset="train"), 0
    elif case == "all":  # a folder without subsets, of which the training had its share
        for path in (trained / "annotations").iterdir():
            path.rename(trained / "annotations" / "instances_all.json")
        (trained / "train").rename(trained / "all")
        subset, seen = "all", open_folder_quietly(trained)
    elif case == "shared in part":
        content = json.loads((trained / "annotations/instances_train.json").read_text())
        content["images"] = content["images"][:12]
        content["annotations"] = [found for found in content["annotations"]
                                  if found["image_id"] <= 12]
        (trained / "annotations/instances_train.json").write_text(json.dumps(content))
        data, seen = tmp_path / "more", 12
        whole_images(data, 30, empty=6)
        for path in (trained / "train").iterdir():
            (data / "val" / path.name).unlink()
            (data / "val" / path.name).symlink_to(path)
        subset = "val"
    run_options.save(RunOptions(dataset=str(trained)), weights.parent)
    assert run("--calibrate", data, "--model", weights, "--subset", subset) == 1
    told = f"the detector was trained on {seen} of these 30 images"
    out = capsys.readouterr().out
    assert out.count("the detector was trained on") == (seen > 0)
    assert not seen or (told in out and "intervals will be too narrow" in out)


def open_folder_quietly(folder):
    with pytest.warns(UserWarning, match="has no subsets"):
        return open_folder(folder, "train").num_images


@pytest.mark.parametrize("content", [None, "{", '{"dataset": null}', '{"dataset": "/gone"}'])
def test_a_run_that_says_nothing_of_its_images(weights, data, capsys, content):
    if content is not None:
        (weights.parent / "options.json").write_text(content)
    assert run("--calibrate", data, "--model", weights) == 1
    assert "was trained on" not in capsys.readouterr().out


def test_a_calibration_elsewhere(weights, data, tmp_path, capsys):
    other = tmp_path / "other.json"
    assert run("--calibrate", data, "--model", weights, "--calibration", other) == 1
    assert other.is_file() and not calibration_path(weights).exists()
    other.write_text('{"images": []}')
    assert "is there already and no calibration" in fails(
        capsys, count.main, "--calibrate", data, "--model", weights, "--calibration", other)
    annotations = data / "annotations" / "instances_val.json"
    before = annotations.read_bytes()
    assert "is there already and no calibration" in fails(
        capsys, count.main, "--calibrate", data, "--model", weights, "--calibration", annotations)
    assert annotations.read_bytes() == before


def test_too_few_objects_to_calibrate(weights, coco_folder, capsys):
    line = fails(capsys, count.main, "--calibrate", coco_folder, "--model", weights)
    assert "No class has enough objects: bar has 2 objects in 3 images; calibration needs" in line
    assert "Use a larger subset." in line and not calibration_path(weights).exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["a.png", "--calibrate", "data"], "does not count in a.png; count with a second command"),
    (["--calibrate", "data", "--mpp", "1"], "--mpp is for counting; leave it out of --calibrate"),
    (["--calibrate", "data", "--samples", "folder"], "--samples is for counting"),
    (["a.png", "--subset", "val"], "--subset is for calibration; give --calibrate DATA, too"),
    (["a.png", "--skip-bad"], "--skip-bad is for calibration"),
    ([], "Name the images to count in, or --calibrate DATA"),
    (["a.png", "--mpp", "0"], "--mpp: '0' is not a number above 0"),
    (["a.png", "--depth", "-10"], "--depth: '-10' is not a number above 0"),
    (["a.png", "--field-area", "0"], "--field-area: '0' is not a number above 0"),
    (["a.png", "--field-area", "nan"], "--field-area: 'nan' is not a number above 0"),
    (["a.png", "--level", "1"], "--level 1: no interval has this share; give one between 0 and 1"),
    (["a.png", "--level", "90"], "'90' is not a number from 0 to 1"),
    (["a.png", "--read-level", "1"], "--read-level is for images in tiles; give --tile SIZE, too"),
    (["a.png", "--images", "b.png"], "--images is for a file of results"),
    (["a.json", "b.json"], "A file of results is counted alone"),
    (["none.png"], "none.png: no such file"),
])
def test_options_that_do_not_fit(capsys, arguments, message, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    assert message in fails(capsys, count.main, *arguments)


# --- count --------------------------------------------------------------------------------------


def test_numbers_of_images_and_samples(calibrated, images, capsys):
    assert run(images, "--model", calibrated, "--samples", "folder") == 0
    assert list(rows_of()[0]) == list(COLUMNS)
    ann, bo = rows_of(kind="sample", **{"class": "bar"})
    assert (ann["name"], ann["images"], ann["counted"], bo["counted"]) == ("ann", "6", "6", "4")
    assert float(ann["expected"]) == pytest.approx(4.8)
    assert 0 <= int(ann["low"]) <= 5 <= int(ann["high"]) <= 7
    assert len(rows_of(kind="image", **{"class": "bar"})) == 10
    square, = rows_of(kind="sample", name="bo", **{"class": "square"})
    assert (square["counted"], square["expected"], square["low"]) == ("0", "", "")
    assert square["area_mm2"] == square["per_mm2"] == ""
    out = capsys.readouterr().out
    assert f"calibration   {calibration_path(calibrated)}" in out
    assert "10 images, written to counts.csv" in out and "4.8" in out


def test_areas_and_volumes(calibrated, images):
    """An image of 30 × 20 pixels of 100 µm has 6 mm², and 0.6 µl below it."""
    assert run(images / "bo", "--model", calibrated, "--mpp", "100", "--depth", "100",
               "--field-area", "2", "--output", "c.json") == 0
    content = json.loads((images.parent / "c.json").read_text())
    assert (content["level"], content["mpp"], content["depth"], content["field_area"]) == (
        0.9, 100, 100, 2)
    assert content["calibration"] == str(calibration_path(calibrated))
    row = content["counts"][0]
    assert (row["kind"], row["name"], row["images"], row["class"]) == ("all", "", 4, "bar")
    assert row["area_mm2"] == pytest.approx(24) and row["expected"] == pytest.approx(3.2)
    assert row["per_mm2"] == pytest.approx(3.2 / 24)
    assert row["per_ul"] == pytest.approx(3.2 / 2.4)
    assert row["per_hpf"] == pytest.approx(3.2 / 12)
    assert row["per_ul_high"] == pytest.approx(row["high"] / 2.4)


def test_without_a_calibration_the_detections_are_counted(weights, images, capsys):
    assert run(images, "--model", weights, "--mpp", "100") == 0
    out = capsys.readouterr().out
    assert ("frcnn count: there is no calibration of this detector, so that detections from a "
            f"score of 0.7 are counted, without intervals; frcnn count --calibrate DATA --model "
            f"{weights} makes one.") in out
    row, = rows_of(kind="all", **{"class": "bar"})
    assert (row["counted"], row["expected"], row["high"]) == ("10", "", "")
    assert float(row["per_mm2"]) == pytest.approx(1 / 6, abs=1e-5) and row["per_mm2_low"] == ""
    assert run(images, "--model", weights, "--min-confidence", "0.9") == 0
    assert rows_of(kind="all", **{"class": "bar"})[0]["counted"] == "0"


def test_detection_goes_down_to_the_score_of_the_calibration(calibrated, images, stub):
    assert run(images, "--model", calibrated, "--min-confidence", "0.9") == 0
    assert stub[-1].config.DETECTION_MIN_CONFIDENCE == 0.05
    row, = rows_of(kind="all", **{"class": "bar"})
    assert row["counted"] == "0" and float(row["expected"]) == pytest.approx(8)


def test_wider_intervals_for_higher_levels(calibrated, images):
    ends = []
    for level in ("0.5", "0.9", "0.99"):
        assert run(images, "--model", calibrated, "--level", level) == 0
        row, = rows_of(kind="all", **{"class": "bar"})
        ends.append((int(row["low"]), int(row["high"])))
    (low, high), (lower, higher), (lowest, highest) = ends
    assert lowest <= lower <= low < high <= higher <= highest and lowest < low


def test_a_table_of_samples(calibrated, images, tmp_path, capsys):
    table = tmp_path / "samples.csv"
    lines = [f"ann/{place}.png,{'x' if place < 2 else 'y'}" for place in range(6)]
    lines += [f"bo/{place}.png,y" for place in range(4)]
    table.write_text("\n".join(["file,sample", *lines]))
    assert run(images, "--model", calibrated, "--samples", table) == 0
    assert [(row["name"], row["images"]) for row in rows_of(kind="sample", **{"class": "bar"})] \
        == [("x", "2"), ("y", "8")]
    table.write_text("\n".join(["file,sample", *lines, lines[0]]))
    assert "twice, in the lines 2 and 12; delete one" in fails(
        capsys, count.main, images, "--model", calibrated, "--samples", table)
    table.write_text("\n".join(["file,sample", *lines]))
    assert "is one of the inputs, and would be replaced" in fails(
        capsys, count.main, images, "--model", calibrated, "--samples", table, "--output", table)


def test_files_that_are_no_images_are_left_out_of_their_sample(calibrated, images, capsys):
    (images / "bo" / "0.png").write_bytes(b"no image")
    (images / "cy").mkdir()
    (images / "cy" / "0.png").write_bytes(b"no image")
    assert run(images, "--model", calibrated, "--samples", "folder") == 1
    assert [(row["name"], row["images"]) for row in rows_of(kind="sample", **{"class": "bar"})] \
        == [("ann", "6"), ("bo", "3")]
    assert "2 of 11 files are no readable images" in capsys.readouterr().err


def test_a_slide_that_cannot_be_read_is_left_out_too(calibrated, images, capsys):
    pytest.importorskip("tiffslide")
    (images / "bo" / "b.svs").write_bytes(b"no slide")
    assert run(images, "--model", calibrated, "--depth", "10", "--mpp", "0.5") == 1
    assert "1 of 11 files are no readable images" in capsys.readouterr().err
    message = fails(capsys, count.main, images, "--model", calibrated, "--depth", "10")
    assert "0.png does not state how many microns" in message and "b.svs" not in message


def test_a_full_image_is_told(weights, images, monkeypatch, capsys):
    monkeypatch.setattr(Stub, "detect", lambda self, found: [
        {"boxes": np.zeros((100, 4)), "class_ids": np.ones(100, int), "scores": np.full(100, 0.9)}
        for _ in found])
    assert run(images, "--model", weights) == 0
    assert ("10 images have as many detections as DETECTION_MAX_INSTANCES allows (100)"
            in capsys.readouterr().err)


def test_calibrations_of_others_are_refused(calibrated, images, tmp_path, capsys):
    path = calibration_path(calibrated)
    other = checkpoint(tmp_path / "other", 4, names=NAMES, category_ids=CATEGORY_IDS,
                       IMAGES_PER_GPU=1)
    with open(other, "ab") as file:
        file.write(b" ")
    assert "is a calibration of other weights (mask_rcnn_ury_0003.h5" in fails(
        capsys, count.main, images, "--model", other, "--calibration", path)
    assert "was made with DETECTION_FLIPS []" in fails(
        capsys, count.main, images, "--model", calibrated, "--flips", "horizontal")
    path.write_text(path.read_text()[:100])
    assert "cannot be read as a calibration" in fails(capsys, count.main, images, "--model",
                                                      calibrated)
    content = path.with_name("gone.json")
    assert "there is no such calibration" in fails(
        capsys, count.main, images, "--model", calibrated, "--calibration", content)


def test_the_range_of_the_images_is_used(stub, weights, data, tmp_path, capsys):
    Image.fromarray(np.full((20, 31), 4095, np.uint16)).save(tmp_path / "12.tif")
    span = ["--range", "0", "4095"]
    assert run("--calibrate", data, "--model", weights, *span) == 1
    assert run("12.tif", "--model", weights, *span) == 0
    assert stub[-1].config.IMAGE_INTENSITY_RANGE == (0, 4095)
    assert "instead of the checkpoint's" in capsys.readouterr().out
    assert "was made with IMAGE_INTENSITY_RANGE [0.0, 4095.0]" in fails(
        capsys, count.main, "12.tif", "--model", weights)


def test_other_class_names_are_refused(calibrated, images, capsys):
    path = calibration_path(calibrated)
    path.write_text(path.read_text().replace('"slab"', '"slub"'))
    assert "has the classes bar, square, slub, and the detector has bar, square, slab" in fails(
        capsys, count.main, images, "--model", calibrated)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("c.txt", None, "name a file that ends in .csv or .json"),
    ("c.csv", "file_name,x\n", "is there already and has no counts in it"),
    ("c.json", '{"images": []}', "is there already and has no counts in it"),
    ("c.json", "{", "is there already and has no counts in it"),
])
def test_outputs_that_are_something_else(weights, images, tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    assert message in fails(capsys, count.main, images, "--model", weights, "--output",
                            tmp_path / name)
    if content is not None:
        assert (tmp_path / name).read_text() == content


def test_earlier_counts_are_replaced(weights, images):
    for name in ("c.csv", "c.json"):
        assert run(images, "--model", weights, "--output", name) == 0
        assert run(images / "bo", "--model", weights, "--output", name) == 0
    assert rows_of("c.csv")[0]["images"] == "4"


@pytest.mark.parametrize("option", ["--depth", "--field-area"])
def test_an_area_must_be_known(weights, images, capsys, option):
    assert f"{option} needs the area of the images, and " in fails(
        capsys, count.main, images, "--model", weights, option, "10")


# --- results that are there already -----------------------------------------------------------


def detected(weights, images, output, *more):
    assert detecting.main(list(map(str, [images / "ann" / "*.png", "--model", weights, "--output",
                                         output, *more]))) == 0


def test_a_file_of_results(calibrated, images, capsys):
    detected(calibrated, images, "found.json")
    assert run("found.json", "--model", calibrated, "--mpp", "100") == 0
    assert "found.json names only images with detections; --images names all" in \
        capsys.readouterr().out
    row, = rows_of(kind="all", **{"class": "bar"})
    assert row["counted"] == "6" and float(row["expected"]) == pytest.approx(4.8)
    assert float(row["area_mm2"]) == pytest.approx(36)

    assert run("found.json", "--model", calibrated, "--images", images, "--samples", "folder") == 0
    assert [(row["name"], row["images"], row["counted"])
            for row in rows_of(kind="sample", **{"class": "bar"})] == [("ann", "6", "6"),
                                                                       ("bo", "4", "0")]
    assert "names only" not in capsys.readouterr().out
    assert "found.json has detections of" in fails(
        capsys, count.main, "found.json", "--images", images / "bo")


@pytest.mark.parametrize("output", ["found.json", "found/"])
def test_results_of_a_folder_are_those_of_the_images_that_are_counted(calibrated, images, output):
    """A folder is read with its folders, whoever reads it: no image counts as one without objects.
    """
    pytest.importorskip("pyarrow")
    (images / "bo" / "day 2").mkdir()
    for place in ("0.png", "bo/day 2/0.png", "bo/day 2/9.png"):
        Image.new("RGB", (30, 20)).save(images / place)
    assert run(images, "--model", calibrated, "--mpp", "100", "--samples", "folder") == 0
    expected = rows_of()
    assert detecting.main([str(images), "--model", str(calibrated), "--output", output,
                           "--min-confidence", "0.05"]) == 0
    named = ["--images", images, "--min-confidence", "0.05"] if output.endswith(".json") else []
    assert run(output, "--model", calibrated, "--mpp", "100", "--samples", "folder", *named) == 0
    assert rows_of() == expected and len(expected) == (13 + 4) * 3


def test_results_without_a_detector(weights, images, capsys):
    detected(weights, images, "found.json")
    assert run("found.json") == 0
    assert "there is no calibration of this detector" in capsys.readouterr().out
    assert [row["class"] for row in rows_of(kind="all")] == ["bar"]


def test_results_with_lower_scores_than_by_default(calibrated, images, capsys, tmp_path):
    rows = [{"file_name": "a.png", "category_name": "bar", "score": score} for score in (0.9, 0.2)]
    (tmp_path / "r.json").write_text(json.dumps(rows))
    assert "r.json has scores down to 0.2, and so was not made with the default --min-confidence " \
           "of 0.7; give the value" in fails(capsys, count.main, "r.json", "--model", calibrated)
    assert run("r.json", "--model", calibrated, "--min-confidence", "0.1") == 0
    assert rows_of(kind="all", **{"class": "bar"})[0]["counted"] == "2"
    rows[0]["category_name"] = "yeast"
    (tmp_path / "r.json").write_text(json.dumps(rows))
    assert "has the classes bar, square, slab, and r.json has yeast" in fails(
        capsys, count.main, "r.json", "--model", calibrated, "--min-confidence", "0.1")


def test_results_without_their_lower_scores_are_refused(tmp_path, capsys):
    """They would give confident numbers that are far too low."""
    random = np.random.default_rng(0)
    calibration().save("cal.json")
    images = drawn(random, 60, 8)
    rows = [{"file_name": f"{place}.png", "category_name": "bar", "score": float(score)}
            for place, image in enumerate(images) for score in image.scores]
    true = sum(image.objects for image in images)

    def interval(least, *arguments):
        (tmp_path / "r.json").write_text(json.dumps([row for row in rows if row["score"] >= least]))
        assert run("r.json", "--calibration", "cal.json", *arguments) == 0
        row, = rows_of(kind="all")
        return int(row["low"]), int(row["high"])

    for least, arguments in ((0.7, ()), (0.05, ("--min-confidence", "0.05"))):
        low, high = interval(least, *arguments)
        assert low <= true <= high
    for least, arguments in ((0.95, ()), (0.95, ("--min-confidence", "0.05")),
                             (0.7, ("--min-confidence", "0.05"))):
        (tmp_path / "r.json").write_text(json.dumps([row for row in rows if row["score"] >= least]))
        line = fails(capsys, count.main, "r.json", "--calibration", "cal.json", *arguments)
        assert "r.json has no detections with scores from" in line and "by cal.json" in line
        advised = re.search(r"give --min-confidence ([0-9.]+);", line)[1]
        assert least <= float(advised) < least + 0.02
        low, high = interval(least, "--min-confidence", advised)
        assert low <= true <= high


@pytest.mark.parametrize(("content", "message"), [
    ("{", "cannot be read as results"), ("{}", "is no list of detections"),
    ("[3]", "detection 0 has no file_name, category_name or finite score (3)"),
    ('[{"image_id": 1, "category_id": 2, "score": 0.5}]', "detection 0 has no file_name"),
    ('[{"file_name": "a", "category_name": "b", "score": "0.5"}]', "detection 0 has no"),
    ('[{"file_name": "a", "category_name": "b", "score": NaN}]', "detection 0 has no"),
])
def test_files_that_are_no_results(tmp_path, capsys, content, message):
    (tmp_path / "r.json").write_text(content)
    assert message in fails(capsys, count.main, "r.json")


def test_options_for_detection_with_results(tmp_path, capsys):
    (tmp_path / "r.json").write_text("[]")
    assert "--tile is for detection, and r.json has results already; leave it out" in fails(
        capsys, count.main, "r.json", "--tile", "64")
    assert "--range is for detection, and r.json has results already; leave it out" in fails(
        capsys, count.main, "r.json", "--range", "0", "4095")
    assert run("r.json") == 0


def test_a_folder_of_shards(calibrated, images, capsys, tmp_path):
    pytest.importorskip("pyarrow")
    detected(calibrated, images, "found/", "--min-confidence", "0.05")
    assert run("found", "--model", calibrated, "--samples", "folder", "--mpp", "100") == 0
    row, = rows_of(kind="sample", **{"class": "bar"})
    assert (row["name"], row["images"]) == ("ann", "6")
    assert float(row["expected"]) == pytest.approx(4.8) and float(row["area_mm2"]) == \
        pytest.approx(36)
    path = calibration_path(calibrated)
    path.write_text(path.read_text().replace(Calibration.load(path).sha256, "0" * 64))
    assert "is a calibration of other weights" in fails(
        capsys, count.main, "found", "--model", calibrated)
    assert "has no detections below 0.05; give that or more" in fails(
        capsys, count.main, "found", "--min-confidence", "0.01")
    (images / "ann" / "0.png").write_bytes(b"")
    detected_with_errors = detecting.main([str(images / "ann"), "--model", str(calibrated),
                                           "--output", "more/"])
    assert detected_with_errors == 1 and run("more") == 1
    assert "1 images could not be read" in capsys.readouterr().out
    next((tmp_path / "found").glob("shard-*")).unlink()
    assert run("found", "--output", "none.csv") == 1
    assert "1 of 1 shards are missing" in capsys.readouterr().out


def test_with_tiles(weights, images):
    """In tiles 16 pixels wide the stub finds squares, and in whole images it finds bars. Those of
    neighbouring tiles are one object. The journal is gone at the end."""
    assert run(images / "bo", "--model", weights, "--tile", "16", "--overlap", "0",
               "--all-tiles") == 0
    assert [row["counted"] for row in rows_of(kind="all")] == ["0", "4", "0"]
    assert not list(images.parent.glob("*.tiles"))


def test_commands_of_the_page_are_understood():
    content = (PROJECT / "docs" / "laboratory.md").read_text(encoding="utf-8")
    commands = [line for language, block in blocks(content) if language == "bash"
                for line in block.splitlines() if line.startswith("frcnn count ")]
    assert len(commands) >= 5
    for command in commands:
        options = count.build_parser().parse_args(shlex.split(command)[2:])
        assert bool(options.calibrate) != bool(options.inputs)
    columns = re.search(r"\| `kind`.*?(?=\n\n)", content, re.DOTALL)[0]
    for name in COLUMNS:
        assert f"`{name}`" in columns or name.endswith(("_low", "_high"))


def test_a_real_network(detecting, monkeypatch, weights, tmp_path, capsys):
    """Objects are three of four detections of a small network. On the images of the calibration,
    the expected numbers of what the command detects again sum to the objects."""
    monkeypatch.setattr(run_report, "inference_model", lambda *arguments: detecting)
    images, content = noise([(96, 128)] * 12), {
        "images": [], "annotations": [],
        "categories": [{"id": number, "name": name}
                       for number, name in zip(CATEGORY_IDS[1:], NAMES[1:])]}
    (tmp_path / "data" / "val").mkdir(parents=True)
    for number, (image, found) in enumerate(zip(images, detecting.detect(images)), start=1):
        name = f"{number}.png"
        Image.fromarray(image).save(tmp_path / "data" / "val" / name)
        content["images"].append({"id": number, "file_name": name, "width": 128, "height": 96})
        for place, ((y1, x1, y2, x2), class_id) in enumerate(zip(found["boxes"].tolist(),
                                                                 found["class_ids"])):
            if place % 4:
                content["annotations"].append({
                    "id": len(content["annotations"]) + 1, "image_id": number, "iscrowd": 0,
                    "category_id": CATEGORY_IDS[class_id], "area": (x2 - x1) * (y2 - y1),
                    "bbox": [x1, y1, x2 - x1, y2 - y1]})
    (tmp_path / "data" / "annotations").mkdir()
    path = tmp_path / "data" / "annotations" / "instances_val.json"
    path.write_text(json.dumps(content))

    assert run("--calibrate", tmp_path / "data", "--model", weights, "--min-confidence", "0") < 2
    calibrated = [name for name, made in zip(NAMES[1:], Calibration.load(
        calibration_path(weights)).calibrations()[0]) if made is not None]
    assert calibrated
    assert run(tmp_path / "data" / "val", "--model", weights, "--samples", r"\d") == 0
    for name in calibrated:
        objects = sum(row["category_id"] == CATEGORY_IDS[NAMES.index(name)]
                      for row in content["annotations"])
        rows = rows_of(kind="image", **{"class": name})
        assert len(rows) == 12 and objects >= 20
        assert sum(float(row["expected"]) for row in rows) == pytest.approx(objects, abs=1e-3)
