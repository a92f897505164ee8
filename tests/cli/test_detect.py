"""samples/urinary/detect.py: what goes in, what comes out. The model is mostly a stub."""

import csv
import json
import shutil

import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, TINY, checkpoint, fails
from PIL import Image
from pycocotools.coco import COCO

from frcnn.cli import detections, run_report
from frcnn.errors import ImageError
from samples.urinary import detect


class Stub:
    """Finds one object in each image: the whole of it, of class 1 + (width mod 3)."""

    def __init__(self, path, config, logs):
        self.config = config
        self.batches, self.batch_size = [], None

    def detect_stream(self, images, batch_size=None, return_exceptions=False):
        self.batch_size = batch_size
        for image in images:
            try:
                image = image()
            except (ImageError, OSError) as error:
                assert return_exceptions
                yield error
            else:
                yield from self.detect([image])

    def detect(self, images):
        self.batches.append(len(images))
        results = []
        for image in images:
            height, width = image.shape[:2]
            box = np.array([[0.25, 0.5, height, width]], np.float32)
            results.append({"rois": box.round().astype(np.int32), "boxes": box,
                            "class_ids": np.array([1 + width % 3], np.int32),
                            "scores": np.array([0.875], np.float32)})
        return results


@pytest.fixture
def stub(monkeypatch):
    made = []

    def make(*arguments):
        made.append(Stub(*arguments))
        return made[-1]

    monkeypatch.setattr(run_report, "inference_model", make)
    return made


@pytest.fixture
def weights(tmp_path):
    return checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS,
                      IMAGES_PER_GPU=1)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for name, size in (("a.png", (30, 20)), ("b.jpg", (61, 40)), ("more/a.png", (1, 1))):
        Image.new("RGB", size, (200, 190, 180)).save(folder / name)
    return folder


def run(*arguments):
    return detect.main(list(map(str, arguments)))


def test_json_in_the_images_own_pixels(stub, weights, images, tmp_path, capsys):
    output = tmp_path / "out" / "results.json"
    assert run(images, "--model", weights, "--output", output) == 0
    first, second = json.loads(output.read_text())
    assert first == {"image_id": 1, "category_id": 2, "category_name": "bar", "score": 0.875,
                     "bbox": [0.5, 0.25, 29.5, 19.75], "file_name": str(images / "a.png")}
    assert (second["image_id"], second["category_id"]) == (2, 7)
    assert str(output) in capsys.readouterr().out


def test_csv(stub, weights, images, tmp_path):
    output = tmp_path / "results.csv"
    assert run(images / "a.png", "--model", weights, "--output", output) == 0
    with open(output, newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["file_name"] == str(images / "a.png") and row["category_name"] == "bar"
    assert [float(row[name]) for name in ("x", "y", "width", "height", "score")] == [
        0.5, 0.25, 29.5, 19.75, 0.875]


def test_patterns_and_repeated_files(stub, weights, images, tmp_path):
    output = tmp_path / "results.json"
    assert run(images / "**" / "*.png", images / "a.png", "--model", weights,
               "--output", output) == 0
    names = [row["file_name"] for row in json.loads(output.read_text())]
    assert names == [str(images / "a.png"), str(images / "more" / "a.png")]


def test_many_images_in_order(stub, weights, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(19):
        Image.new("L", (20 + number, 30)).save(folder / f"{number:02d}.png")
    output = tmp_path / "results.json"
    assert run(folder, "--model", weights, "--output", output) == 0
    rows = json.loads(output.read_text())
    assert [row["image_id"] for row in rows] == list(range(1, 20))
    assert [row["bbox"][2] for row in rows] == [19.5 + number for number in range(19)]


def test_files_that_are_no_images_are_told_and_skipped(stub, weights, images, tmp_path, capsys):
    (images / "notes.txt").write_text("not an image")
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:40])
    (images / ".hidden").write_text("left alone")
    output = tmp_path / "results.json"
    assert run(images, "--model", weights, "--output", output) == 1
    told = capsys.readouterr().err
    assert "notes.txt" in told and "broken.png" in told and ".hidden" not in told
    assert "Traceback" not in told and "2 of 4" in told
    assert len(json.loads(output.read_text())) == 2


def test_pictures(stub, weights, images, tmp_path):
    shown = tmp_path / "shown"
    assert run(images / "**" / "*", "--model", weights, "--output", tmp_path / "r.json",
               "--pictures", shown) == 0
    assert sorted(path.name for path in shown.iterdir()) == ["a-2.png", "a.png", "b.png"]
    assert np.asarray(Image.open(shown / "b.png")).std() > 0


def test_the_options_reach_the_model(stub, weights, images, tmp_path):
    assert run(images, "--model", weights, "--output", tmp_path / "r.json",
               "--min-confidence", 0.15, "--batch-size", 3, "--precision", "mixed_bfloat16") == 0
    assert stub[0].config.DETECTION_MIN_CONFIDENCE == 0.15
    assert stub[0].config.PRECISION == "mixed_bfloat16"
    assert stub[0].batch_size == 3
    run(images, "--model", weights, "--output", tmp_path / "r.json")
    assert stub[1].batch_size is None


def test_image_ids_of_an_annotation_file(stub, weights, coco_folder, tmp_path):
    annotations, output = coco_folder / "annotations/instances_val.json", tmp_path / "r.json"
    assert run(coco_folder / "val", "--model", weights, "--output", output,
               "--annotations", annotations) == 0
    coco = COCO(str(annotations))
    assert len(coco.loadRes(str(output)).getAnnIds()) == 3
    assert {row["image_id"] for row in json.loads(output.read_text())} == set(coco.getImgIds())


def test_without_class_names(stub, images, tmp_path):
    path = checkpoint(tmp_path / "run", 4, names=NAMES)
    settings = json.loads(path.with_suffix(".json").read_text())["config"]
    path.with_suffix(".json").unlink()
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    output = tmp_path / "r.json"
    assert run(images / "a.png", "--model", path, "--output", output,
               "--config", tmp_path / "settings.json") == 0
    (row,) = json.loads(output.read_text())
    assert (row["category_id"], row["category_name"]) == (1, "class 1")


def test_ctrl_c_keeps_what_was_found(stub, weights, tmp_path, monkeypatch, images):
    def detect_once(self, images):
        if self.batches:
            raise KeyboardInterrupt
        return once(self, images)

    once = Stub.detect
    monkeypatch.setattr(Stub, "detect", detect_once)
    output = tmp_path / "r.json"
    assert run(images, "--model", weights, "--output", output) == 130
    assert len(json.loads(output.read_text())) == 1


@pytest.mark.parametrize("culprit", ["detect", "draw"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ZeroDivisionError()])
def test_an_error_keeps_what_was_found(stub, weights, tmp_path, monkeypatch, images, capsys,
                                       culprit, error):
    def second_fails(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return once(self, *arguments, **options)

    owner = Stub if culprit == "detect" else detections.Artist
    once, calls, output = getattr(owner, culprit), [], tmp_path / "r.json"
    monkeypatch.setattr(owner, culprit, second_fails)
    arguments = (images, "--model", weights, "--output", output, "--pictures", tmp_path / "shown")
    if isinstance(error, OSError):
        assert run(*arguments) == 2
    else:
        with pytest.raises(ZeroDivisionError):
            run(*arguments)
    found = len(json.loads(output.read_text()))
    assert found == (1 if culprit == "detect" else 2)
    out, err = capsys.readouterr()
    assert f"{found} of 2 images" in out and str(output) in out
    assert "stopped before all images" in err
    assert ("No space left" in err) is isinstance(error, OSError)


def test_an_error_at_the_first_image_spares_an_older_file(stub, weights, tmp_path, monkeypatch,
                                                          images):
    def fail(*arguments, **options):
        raise OSError("gone")

    monkeypatch.setattr(Stub, "detect", fail)
    output = tmp_path / "r.json"
    output.write_text("older")
    assert run(images, "--model", weights, "--output", output) == 2
    assert output.read_text() == "older"


@pytest.mark.parametrize("option, place", [
    ("--output", "file/r.json"), ("--output", "file/more/r.json"),
    ("--output", "x" * 250 + ".json"), ("--pictures", "file/shown")])
def test_what_cannot_be_written_shows_before_detection(stub, weights, images, tmp_path, capsys,
                                                       option, place):
    (tmp_path / "file").touch()
    line = fails(capsys, detect.main, images, "--model", weights, "--output", tmp_path / "r.json",
                 option, tmp_path / place)
    assert f"{option}: " in line and str(tmp_path / place) in line and stub == []


def test_a_grayscale_model_gets_grayscale_images(stub, images, tmp_path, monkeypatch):
    def channels(self, images):
        seen.extend(image.shape[2] for image in images)
        return once(self, images)

    once, seen = Stub.detect, []
    monkeypatch.setattr(Stub, "detect", channels)
    path = checkpoint(tmp_path / "gray", 4, names=NAMES, IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=[120])
    Image.new("L", (9, 8), 5).save(images / "gray.png")
    assert run(images, "--model", path, "--output", tmp_path / "r.json",
               "--pictures", tmp_path / "shown") == 0
    assert seen == [1, 1, 1]
    assert len(list((tmp_path / "shown").iterdir())) == 3


def test_names_that_begin_with_a_tilde(stub, weights, images, tmp_path, monkeypatch):
    monkeypatch.chdir(images)
    shutil.copy("a.png", "~backup.png")
    for given in ("~backup.png", "~back*.png"):
        assert run(given, "--model", weights, "--output", "~results.json") == 0
        (row,) = json.loads((images / "~results.json").read_text())
        assert row["file_name"] == "~backup.png"


@pytest.mark.parametrize("arguments, told", [
    (["{images}/absent.png"], "absent.png"),
    (["{images}/*.tif"], "*.tif"),
    (["{images}", "--output", "results.txt"], "results.txt"),
    (["{images}", "--min-confidence", "2"], "--min-confidence"),
    (["{images}", "--model", "absent.h5"], "absent.h5"),
    (["{images}", "--model", "imagenet"], "imagenet"),
    (["{images}", "--annotations", "{images}/a.png"], "a.png"),
    ([], "INPUT"),
])
def test_commands_that_are_refused(capsys, images, weights, arguments, told):
    arguments = [argument.format(images=images) for argument in arguments]
    line = fails(capsys, detect.main, "--model", weights, *arguments)
    assert line.startswith("detect.py: error: ") and told in line


@pytest.mark.slow
def test_with_a_trained_model(coco_folder, tmp_path, capsys):
    from samples.urinary import train

    logs, output = tmp_path / "logs", tmp_path / "results.json"
    assert train.main(["--dataset", str(coco_folder), "--logs", str(logs), "--epochs", "1",
                       "--steps", "2", *TINY]) == 0
    shutil.copy(coco_folder / "val/val_0.png", tmp_path / "one.png")
    Image.new("L", (333, 40), 170).save(tmp_path / "two.png")
    (tmp_path / "three.png").write_text("no image")
    assert run(tmp_path / "*.png", "--logs", logs, "--output", output, "--min-confidence", 0,
               "--pictures", tmp_path / "shown") == 1
    rows = json.loads(output.read_text())
    assert rows and {row["category_id"] for row in rows} <= {2, 7, 11}
    widths = {str(tmp_path / "one.png"): 128, str(tmp_path / "two.png"): 333}
    assert {row["file_name"] for row in rows} <= set(widths)
    for row in rows:
        x, _, width, _ = row["bbox"]
        assert x >= 0 and x + width <= widths[row["file_name"]] + 1e-3
    assert len(list((tmp_path / "shown").iterdir())) == 2
