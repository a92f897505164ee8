"""`frcnn detect --tile`: large images in, boxes in their pixels out, and nothing lost between."""

import argparse
import json

import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, checkpoint, fails
from PIL import Image

from frcnn.cli import detect, evaluate, run_report, tiles
from frcnn.cli.results import Artist
from frcnn.data import image_io, slides
from frcnn.data.check import settle_images
from frcnn.data.dataset import Dataset
from frcnn.data.folders import open_folder
from frcnn.data.slides import WholeImage
from frcnn.errors import CheckpointError, DatasetError
from frcnn.inference.tiled import Tiling
from frcnn.inference.transform import as_result


class Rectangles:
    """Finds the dark rectangles in an image, and stops after some tiles if told to."""

    class_names = None

    def __init__(self, path, config, logs):
        self.config, self.seen = config, 0

    def detect_stream(self, images, batch_size=None):
        from scipy import ndimage

        for image in images:
            self.seen += 1
            if Rectangles.stop_after is not None and self.seen > Rectangles.stop_after:
                raise KeyboardInterrupt
            boxes = [[rows.start, columns.start, rows.stop, columns.stop] for rows, columns in
                     ndimage.find_objects(ndimage.label(image[..., 0] < 100)[0])]
            yield as_result(np.array(boxes, np.float32).reshape(-1, 4),
                            np.ones(len(boxes), np.int32), np.full(len(boxes), 0.5, np.float32))


@pytest.fixture
def made(monkeypatch):
    models = []
    Rectangles.stop_after = None
    monkeypatch.setattr(run_report, "inference_model",
                        lambda *given: models.append(Rectangles(*given)) or models[-1])
    return models


@pytest.fixture
def weights(tmp_path):
    return checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS)


BOXES = [[20, 30, 60, 90], [100, 240, 130, 270], [200, 30, 220, 500], [300, 400, 330, 420]]


@pytest.fixture
def picture(tmp_path):
    pixels = np.full((400, 600, 3), 220, np.uint8)
    for y1, x1, y2, x2 in BOXES:
        pixels[y1:y2, x1:x2] = 30
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return path


def run(*arguments):
    return detect.main(list(map(str, arguments)))


def boxes_in(path):
    return sorted([y, x, y + h, x + w] for x, y, w, h in (
        row["bbox"] for row in json.loads(path.read_text())))


def test_objects_are_found_once_in_the_pixels_of_the_image(made, weights, picture, tmp_path):
    output = tmp_path / "found.json"
    assert run(picture, "--model", weights, "--output", output, "--tile", "256") == 0
    assert boxes_in(output) == sorted(BOXES)
    assert not list(tmp_path.glob("*.tiles"))
    assert {row["image_id"] for row in json.loads(output.read_text())} == {1}


def test_an_interrupted_call_goes_on(made, weights, picture, tmp_path, capsys):
    output = tmp_path / "found.json"
    arguments = [picture, "--model", weights, "--output", output, "--tile", "128", "--all-tiles"]
    Rectangles.stop_after = 7
    assert run(*arguments) == 130
    err = capsys.readouterr().err
    assert "finished tiles are kept in" in err and str(tmp_path / "found.json.tiles") in err
    journal = tmp_path / "found.json.tiles"
    assert len(journal.read_text().splitlines()) == 1 + 7
    with open(journal, "a") as file:
        file.write('{"image": "half a li')  # as a killed process leaves it
    Rectangles.stop_after = None
    assert run(*arguments) == 0
    assert "7 of 24 tiles are done" in capsys.readouterr().err
    assert made[-1].seen == 24 - 7 and boxes_in(output) == sorted(BOXES)
    assert not journal.exists()


def test_what_was_kept_is_not_taken_for_another_image_or_call(made, weights, picture, tmp_path,
                                                              capsys):
    output = tmp_path / "found.json"
    arguments = [picture, "--model", weights, "--output", output, "--all-tiles", "--tile"]
    Rectangles.stop_after = 7
    assert run(*arguments, "128") == 130
    capsys.readouterr()
    Rectangles.stop_after = None
    line = fails(capsys, detect.main, *arguments, "256")
    assert "with another tile (128, now 256); delete it to begin anew, or repeat that call" in line
    line = fails(capsys, detect.main, *arguments, "128", "--min-confidence", "0.1")
    assert "with another configuration" in line
    Image.fromarray(np.full((400, 600, 3), 220, np.uint8)).save(picture)
    assert run(*arguments, "128") == 0
    assert boxes_in(output) == [] and made[-1].seen == 24


@pytest.mark.parametrize("content", [b"[]\n", b"text\n", b"\xff\n", b'{"format": 1}\nx\n'])
def test_another_file_in_the_journals_place_is_kept(made, weights, picture, tmp_path, capsys,
                                                    content):
    (tmp_path / "found.json.tiles").write_bytes(content)
    line = fails(capsys, detect.main, picture, "--model", weights, "--output",
                 tmp_path / "found.json", "--tile", "128")
    assert "found.json.tiles" in line
    assert (tmp_path / "found.json.tiles").read_bytes() == content


def test_weights_that_cannot_be_loaded_leave_no_journal(weights, picture, tmp_path, monkeypatch):
    def fail(*given):
        raise CheckpointError("the weights are damaged")

    monkeypatch.setattr(run_report, "inference_model", fail)
    output = tmp_path / "found.json"
    assert run(picture, "--model", weights, "--tile", 256, "--output", output) == 2
    assert not list(tmp_path.glob("found.json*"))


@pytest.mark.parametrize(("arguments", "message"), [
    (["--overlap", "0.3"], "--overlap is for images in tiles; give --tile SIZE, too"),
    (["--mpp", "0.5"], "--mpp is for images in tiles; give --tile SIZE, too"),
    (["--level", "0"], "--level is for images in tiles"),
    (["--all-tiles"], "--all-tiles is for images in tiles"),
    (["--tile", "64", "--overlap", "1"], "--overlap 1: tiles must differ"),
    (["--tile", "64", "--level", "0", "--mpp", "1"], "level and mpp both choose"),
    (["--tile", "64", "--level", "-1"], "level is -1; it must be 0 or more"),
])
def test_options_that_do_not_fit(made, weights, picture, tmp_path, capsys, arguments, message):
    line = fails(capsys, detect.main, picture, "--model", weights, "--output",
                 tmp_path / "found.json", *arguments)
    assert message in line


def test_a_file_that_is_no_image_is_skipped(made, weights, picture, tmp_path, capsys):
    (picture.parent / "b.png").write_text("text")
    assert run(picture.parent, "--model", weights, "--output", tmp_path / "found.json", "--tile",
               "256") == 1
    assert "skipped: " in capsys.readouterr().err
    assert boxes_in(tmp_path / "found.json") == sorted(BOXES)


def test_pictures_of_large_images_are_reduced(made, weights, picture, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "PREVIEW_SIDE", 150)
    drawn = []
    monkeypatch.setattr(Artist, "draw",
                        lambda self, path, preview, result: drawn.append((preview, result)))
    assert run(picture, "--model", weights, "--output", tmp_path / "found.json", "--tile", "256",
               "--pictures", tmp_path / "shown") == 0
    (preview, result), = drawn
    assert preview.image.shape == (100, 150, 3) and preview.factor == 4
    y1, x1, y2, x2 = (result["boxes"][0] / 4).round().astype(int)
    assert preview.image[(y1 + y2) // 2, (x1 + x2) // 2].max() < 60


def test_an_evaluation_in_tiles_says_so_and_scores_whole_images(made, weights, coco_folder,
                                                                tmp_path):
    assert evaluate.main(["--dataset", str(coco_folder), "--model", str(weights), "--output",
                          str(tmp_path / "out"), "--tile", "64", "--overlap", "0.5"]) == 0
    settings = json.loads((tmp_path / "out/metrics.json").read_text())["settings"]
    assert (settings["tile"], settings["overlap"]) == (64, 0.5)
    assert settings["detections"] > 0


# --- data sets of slides ------------------------------------------------------------------------


@pytest.fixture
def slides_folder(tmp_path, monkeypatch):
    """A data set of TIFFs with more pixels than are decoded, or than are read whole."""
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("tiffslide")
    monkeypatch.setattr(slides, "WHOLE_PIXELS", 150_000)
    monkeypatch.setattr(image_io, "MAX_PIXELS", 200_000)
    folder = tmp_path / "slides"
    (folder / "val").mkdir(parents=True)
    (folder / "annotations").mkdir()
    content = {"images": [], "annotations": [], "categories": [
        {"id": number, "name": name} for number, name in zip(CATEGORY_IDS[1:], NAMES[1:])]}
    for number, (height, width) in enumerate([(400, 600), (400, 450), (330, 300)], start=1):
        boxes = [box for box in BOXES if box[2] < height and box[3] < width]
        pixels = np.full((height, width, 3), 220, np.uint8)
        for y1, x1, y2, x2 in boxes:
            pixels[y1:y2, x1:x2] = 30
            content["annotations"].append({
                "id": len(content["annotations"]) + 1, "image_id": number, "iscrowd": 0,
                "category_id": CATEGORY_IDS[1], "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (y2 - y1) * (x2 - x1)})
        with tifffile.TiffWriter(folder / f"val/{number}.ome.tif") as file:
            options = {"photometric": "rgb", "tile": (128, 128)}
            file.write(pixels, subifds=1, **options)
            file.write(pixels[::2, ::2], subfiletype=1, **options)
        content["images"].append({"id": number, "file_name": f"{number}.ome.tif", "height": height,
                                  "width": width})
    write_annotations(folder, content)
    return folder


def write_annotations(folder, content):
    (folder / "annotations/instances_val.json").write_text(json.dumps(content))


def annotations_of(folder):
    return json.loads((folder / "annotations/instances_val.json").read_text())


def evaluate_slides(folder, weights, tmp_path, *options):
    return evaluate.main(["--dataset", str(folder), "--model", str(weights), "--output",
                          str(tmp_path / "out"), "--tile", "256", *options])


def score_of(tmp_path):
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    return metrics["settings"]["images"], metrics["per_class"]["bar"]["AP50"]


@pytest.mark.filterwarnings("default:.*is left out of the")  # a slide is not drawn
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("options", [[], ["--skip-bad"]])
def test_slides_are_scored_and_not_decoded_whole(made, weights, slides_folder, tmp_path,
                                                 monkeypatch, declared, options):
    content = annotations_of(slides_folder)
    if not declared:
        for image in content["images"]:
            del image["width"], image["height"]
        write_annotations(slides_folder, content)
    decoded = []
    decode = Dataset.load_image
    monkeypatch.setattr(Dataset, "load_image", lambda self, image_id: decoded.append(
        self.image_info[image_id]["id"]) or decode(self, image_id))
    monkeypatch.setattr(run_report, "draw_detections", lambda *arguments: None)
    monkeypatch.setattr(run_report, "write_report", lambda *arguments, **options: None)
    evaluate_slides(slides_folder, weights, tmp_path, *options)
    assert score_of(tmp_path) == (3, pytest.approx(1))
    assert set(decoded) == {3}


@pytest.mark.filterwarnings("default:.*is left out of the")
@pytest.mark.parametrize("count", [1, 3])
def test_an_evaluation_of_slides_writes_its_files(made, weights, slides_folder, tmp_path, count):
    content = annotations_of(slides_folder)
    content["images"][count:] = []
    content["annotations"] = [entry for entry in content["annotations"]
                              if entry["image_id"] <= count]
    write_annotations(slides_folder, content)
    assert evaluate_slides(slides_folder, weights, tmp_path) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "metrics.json", "detections.png", "report.html"}


@pytest.mark.filterwarnings("default:.*is left out of the")
def test_slides_are_scored_at_another_level(made, weights, slides_folder, tmp_path):
    """Sides that are not even are no other size: boxes are in pixels of level 0."""
    content = annotations_of(slides_folder)
    content["images"][2:] = []
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] < 3]
    write_annotations(slides_folder, content)
    assert evaluate_slides(slides_folder, weights, tmp_path, "--level", "1") == 0
    assert score_of(tmp_path) == (2, pytest.approx(1))
    assert evaluate_slides(slides_folder, weights, tmp_path, "--level", "7") == 2
    with pytest.raises(DatasetError, match="has the levels 0 to 1, and not 7"):
        settle_images(open_folder(slides_folder, "val"), large_size=tiles.large_size(
            Tiling(64), argparse.Namespace(level=7, mpp=None)))


def test_slides_that_no_library_reads_are_not_skipped_as_bad(made, weights, slides_folder, tmp_path,
                                                             monkeypatch, capsys):
    monkeypatch.setattr(slides, "_library", lambda name: None)
    assert evaluate_slides(slides_folder, weights, tmp_path, "--skip-bad") == 2
    assert 'pip install "frcnn[slides]"' in capsys.readouterr().err
    assert not made


def test_bad_slides_are_found_before_the_work_begins(made, weights, slides_folder, tmp_path,
                                                     capsys):
    content = annotations_of(slides_folder)
    content["images"][0]["width"] = 599
    write_annotations(slides_folder, content)
    assert evaluate_slides(slides_folder, weights, tmp_path) == 2
    assert "has 600x400 pixels" in capsys.readouterr().err
    assert not made


def test_a_preview_is_the_mean_of_blocks(monkeypatch):
    monkeypatch.setattr(tiles, "PREVIEW_SIDE", 40)
    pixels = np.random.default_rng(0).integers(0, 255, (101, 90, 3), np.uint8)
    preview = tiles.preview_of(WholeImage(pixels))
    assert preview.image.shape == (34, 30, 3) and preview.factor == 3
    np.testing.assert_allclose(preview.image[33, 29], pixels[99:, 87:].mean(axis=(0, 1)), atol=0.51)
    np.testing.assert_allclose(preview.image[5, 7], pixels[15:18, 21:24].mean(axis=(0, 1)),
                               atol=0.51)
