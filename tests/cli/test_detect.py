"""samples/urinary/detect.py: what goes in, what comes out. The model is mostly a stub."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, TINY, Stub, checkpoint, fails
from PIL import Image
from pycocotools.coco import COCO

from frcnn import runs
from frcnn.cli import results, run_report
from samples.urinary import detect


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


def deepen(path):
    """Replaces an image by one of 12 bits in 16; returns it as 8 bits, `[H, W, 3]`."""
    gray = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(gray.astype(np.uint16) * 16).save(path)
    return np.dstack([gray] * 3)


@pytest.mark.filterwarnings("default:.*nearly black")  # printed by the program
@pytest.mark.parametrize("declared", [(0, 4095), None])
def test_images_of_12_bits_are_read_by_the_checkpoints_range(
        stub, images, tmp_path, monkeypatch, capsys, declared):
    weights = checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS,
                         IMAGE_INTENSITY_RANGE=declared)
    expected, seen = deepen(images / "a.png"), []
    monkeypatch.setattr(Stub, "detect", lambda self, found: seen.extend(found) or [
        {"boxes": np.zeros((0, 4)), "rois": np.zeros((0, 4)), "class_ids": [], "scores": []}])
    assert run(images / "a.png", "--model", weights, "--output", tmp_path / "r.json") == 0
    np.testing.assert_array_equal(seen[0], expected if declared else expected // 16)
    assert ("fit into 12 bits" in capsys.readouterr().err) == (declared is None)


def run(*arguments):
    return detect.main(list(map(str, arguments)))


def test_ids_by_folder_from_a_file_with_a_byte_order_mark(stub, weights, images, tmp_path):
    annotations, output = tmp_path / "ann.json", tmp_path / "r.json"
    content = {"images": [{"id": 11, "file_name": "images/a.png"},
                          {"id": 21, "file_name": "more/a.png"}]}
    annotations.write_text(json.dumps(content), encoding="utf-8-sig")
    assert run(images / "more/a.png", images / "a.png", "--model", weights, "--output", output,
               "--annotations", annotations) == 0
    assert [row["image_id"] for row in json.loads(output.read_text())] == [21, 11]


def test_json_in_the_images_own_pixels(stub, weights, images, tmp_path, capsys):
    output = tmp_path / "out" / "results.json"
    assert run(images, "--model", weights, "--output", output) == 0
    first, second, third = json.loads(output.read_text())
    assert first == {"image_id": 1, "category_id": 2, "category_name": "bar", "score": 0.875,
                     "bbox": [0.5, 0.25, 29.5, 19.75], "file_name": str(images / "a.png")}
    assert (second["image_id"], second["category_id"]) == (2, 7)
    assert (third["image_id"], third["file_name"]) == (3, str(images / "more/a.png"))
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
    assert "Traceback" not in told and "2 of 5" in told
    assert len(json.loads(output.read_text())) == 3


def test_pictures(stub, weights, images, tmp_path):
    shown = tmp_path / "shown"
    assert run(images / "**" / "*", "--model", weights, "--output", tmp_path / "r.json",
               "--pictures", shown) == 0
    assert sorted(str(path.relative_to(shown)) for path in shown.rglob("*.*")) == [
        "a.png", "b.png", "more/a.png"]
    assert np.asarray(Image.open(shown / "b.png")).std() > 0


def test_hidden_folders_are_left_out(stub, weights, images, tmp_path):
    (images / ".thumbnails").mkdir()
    shutil.copy(images / "a.png", images / ".thumbnails/a.png")
    assert run(images, "--model", weights, "--output", tmp_path / "r.json") == 0
    names = [row["file_name"] for row in json.loads((tmp_path / "r.json").read_text())]
    assert len(names) == 3 and not any(".thumbnails" in name for name in names)
    assert run(images / ".thumbnails", "--model", weights, "--output", tmp_path / "r.json") == 0
    assert len(json.loads((tmp_path / "r.json").read_text())) == 1


@pytest.mark.parametrize("link", [False, True])
def test_pictures_do_not_become_images_of_the_next_run(weights, images, tmp_path, link, capsys):
    shown = images / "more" / "shown"
    if link:
        (tmp_path / "link").symlink_to(images)
        shown = tmp_path / "link" / "shown"
    assert "this folder is in the input" in fails(
        capsys, detect.main, images, "--model", weights, "--output", tmp_path / "r.json",
        "--pictures", shown)
    assert not shown.exists() and not (tmp_path / "r.json").exists()


def test_pictures_go_into_no_folder_of_images(weights, images, tmp_path, capsys):
    """Those of more/a.png and x/a.png go into more/ and x/ of the folder that is named."""
    (images / "x").mkdir()
    shutil.copy(images / "a.png", images / "x/a.png")
    assert "more/a.png is in this folder" in fails(
        capsys, detect.main, images / "more", images / "x", "--model", weights, "--output",
        tmp_path / "r.json", "--pictures", images)
    assert len(list((images / "more").iterdir())) == 1


def test_the_options_reach_the_model(stub, weights, images, tmp_path):
    assert run(images, "--model", weights, "--output", tmp_path / "r.json",
               "--min-confidence", 0.15, "--batch-size", 3, "--precision", "mixed_bfloat16") == 0
    assert stub[0].config.DETECTION_MIN_CONFIDENCE == 0.15
    assert stub[0].config.PRECISION == "mixed_bfloat16"
    assert stub[0].batch_size == 3
    run(images, "--model", weights, "--output", tmp_path / "r.json")
    assert stub[1].batch_size is None


def test_flips_for_one_call(stub, weights, images, tmp_path, capsys):
    beside = runs.metadata_path(weights)
    content = json.loads(beside.read_text())
    content["config"]["DETECTION_FLIPS"] = ["both"]
    call = (images, "--model", weights, "--output", tmp_path / "r.json")
    for stored, given, expected in (
        (False, (), []), (False, ("--flips", "horizontal,vertical"), ["horizontal", "vertical"]),
        (True, (), ["both"]), (True, ("--flips", "none"), []),
        (True, ("--flips", "horizontal"), ["horizontal"]),
    ):
        if stored:
            beside.write_text(json.dumps(content))
        assert run(*call, *given) == 0
        assert list(stub[-1].config.DETECTION_FLIPS) == expected
    assert json.loads(beside.read_text()) == content
    for wrong in ("diagonal", "", "both,both", "none,both", "horizontal vertical"):
        line = fails(capsys, detect.main, *call, "--flips", wrong)
        assert f"--flips: {wrong!r} is neither 'none' nor some of horizontal, vertical, " in line


def test_image_ids_of_an_annotation_file(stub, weights, coco_folder, tmp_path):
    annotations, output = coco_folder / "annotations/instances_val.json", tmp_path / "r.json"
    assert run(coco_folder / "val", "--model", weights, "--output", output,
               "--annotations", annotations) == 0
    coco = COCO(str(annotations))
    assert len(coco.loadRes(str(output)).getAnnIds()) == 3
    assert {row["image_id"] for row in json.loads(output.read_text())} == set(coco.getImgIds())


def test_without_class_names(stub, images, tmp_path):
    path = checkpoint(tmp_path / "run", 4, names=NAMES)
    settings = json.loads(runs.metadata_path(path).read_text())["config"]
    runs.metadata_path(path).unlink()
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

    owner = Stub if culprit == "detect" else results.Artist
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
    assert f"{found} of 3 images" in out and str(output) in out
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
    assert seen == [1, 1, 1, 1]
    assert len(list((tmp_path / "shown").rglob("*.png"))) == 4


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


def test_a_network_that_the_configuration_names_is_imported_only_on_trust(
        stub, weights, images, tmp_path, monkeypatch, capsys):
    (tmp_path / "stranger.py").write_text("def build(image): ...\ndef shapes(image): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    beside = runs.metadata_path(weights)
    content = json.loads(beside.read_text())
    content["config"] |= {"BACKBONE": "stranger:build", "COMPUTE_BACKBONE_SHAPE": "stranger:shapes"}
    beside.write_text(json.dumps(content))
    arguments = images / "a.png", "--model", weights, "--output", tmp_path / "r.json"
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert "BACKBONE names 'stranger:build': the module stranger would be imported" in message
    assert str(beside) in message and "--trust" in message and "stranger" not in sys.modules
    assert run(*arguments, "--trust") == 0
    assert sys.modules.pop("stranger").build.__name__ == "build"
