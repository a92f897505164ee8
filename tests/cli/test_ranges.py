"""--range: images of more than 8 bits are seen as those of 8 bits, in each program."""

import json
import shutil
import warnings
from argparse import Namespace

import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, TINY, Reached, Stub, checkpoint, fails
from deep_tools import rgb_png
from model_tools import small_config
from PIL import Image
from tiff_tools import write_tiff

from frcnn import runs
from frcnn.cli import detect, evaluate, plan, ranges, run_options, run_report, train
from frcnn.cli import main as cli
from frcnn.cli.options import join_range
from frcnn.cli.run_options import RunOptions
from frcnn.data.coco import CocoDataset
from frcnn.data.loader import DetectionSequence
from frcnn.errors import ArgumentError


@pytest.fixture
def introduced(monkeypatch, capsys):
    """Function: runs `frcnn train` up to Keras; returns the lines, the Config and both subsets."""
    def look(folder, train_data, val_data, *_):
        seen[:] = train_data, val_data

    def stop(config, *_):
        seen.append(config)
        raise Reached

    def run(*arguments):
        with warnings.catch_warnings(), pytest.raises(Reached):
            train.main(list(map(str, arguments)))
        train_data, val_data, config = seen
        return capsys.readouterr(), config, train_data, val_data

    seen = []
    monkeypatch.setattr(train, "_introduce", look)
    monkeypatch.setattr(train, "_build", stop)
    return run


def deep_gray_png(path, gray, values):
    Image.fromarray(values).save(path, "PNG")


def deep_tiff(path, gray, values, **options):
    write_tiff(path, values, **options)


def deep_rgb_png(path, gray, values):
    rgb_png(path, np.dstack([values] * 3))


def sixteen(gray, bits):
    return gray.astype(np.uint16) << bits - 8


# How the gray levels of an image are written, and what `--range` is needed to read them.
KINDS = {
    "12-bit PNG": (lambda path, gray: deep_gray_png(path, gray, sixteen(gray, 12)), ()),
    "12-bit color PNG": (lambda path, gray: deep_rgb_png(path, gray, sixteen(gray, 12)), ()),
    "12-bit TIFF": (lambda path, gray: deep_tiff(path, gray, sixteen(gray, 12)), ()),
    "big endian": (lambda path, gray: deep_tiff(path, gray, sixteen(gray, 12), order=">"), ()),
    "10-bit PNG": (lambda path, gray: deep_gray_png(path, gray, sixteen(gray, 10)), ()),
    "14-bit PNG": (lambda path, gray: deep_gray_png(path, gray, sixteen(gray, 14)), ()),
    "8 bits in 16": (lambda path, gray: deep_gray_png(path, gray, sixteen(gray, 8)), ()),
    "inverted": (lambda path, gray: deep_tiff(
        path, gray, sixteen(255 - gray, 12), photometric=0), ()),
    "16-bit PNG": (lambda path, gray: deep_gray_png(path, gray, gray.astype(np.uint16) * 257), ()),
    "stated": (lambda path, gray: deep_tiff(path, gray, sixteen(gray, 12),
                                            tags=[(281, 3, 4095)]), ()),
    "int16": (lambda path, gray: deep_tiff(
        path, gray, sixteen(gray, 12).astype(np.int16)), ("--range", "measure")),
    "signed": (lambda path, gray: deep_tiff(
        path, gray, gray.astype(np.int16) - 100), ("--range", "-100", "155")),
    "floats to 1": (lambda path, gray: deep_tiff(
        path, gray, gray / np.float32(255)), ("--range", "measure")),
    "floats to 4095": (lambda path, gray: deep_tiff(
        path, gray, gray / np.float32(255) * np.float32(4095)), ("--range", "0", "4095")),
    "12 bits in 16, declared": (lambda path, gray: deep_gray_png(
        path, gray, sixteen(gray, 12)), ("--range", "0", "4095")),
}


def redraw(folder, write, subsets=("train", "val")):
    """Replaces all images of a folder by gray ones."""
    for subset in subsets:
        for path in sorted((folder / subset).iterdir()):
            gray = _textured(path)
            path.unlink()
            write(path, gray)


def _textured(path):
    """The image as gray with a texture of all levels, so that every level is compared."""
    gray = np.asarray(Image.open(path).convert("L")).astype(int)
    rng = np.random.default_rng(gray.sum())
    textured = np.clip(gray + rng.integers(-90, 90, gray.shape), 0, 255).astype(np.uint8)
    textured[0, :2] = 0, 255
    return textured


def batch_of(dataset, config):
    sequence = DetectionSequence(dataset, small_config(
        NUM_CLASSES=4, IMAGE_INTENSITY_RANGE=config.IMAGE_INTENSITY_RANGE), shuffle=False, seed=0)
    return sequence[0][0]


@pytest.mark.filterwarnings("ignore:unclosed file")
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_sees_the_picture_of_8_bits(introduced, coco_folder, tmp_path, kind):
    write, options = KINDS[kind]
    shallow = shutil.copytree(coco_folder, tmp_path / "shallow")
    redraw(shallow, lambda path, gray: Image.fromarray(gray).save(path))
    redraw(coco_folder, write)
    captured, config, train_data, val_data = introduced("--dataset", coco_folder, *options)
    assert "warning" not in captured.err
    for subset, dataset in (("train", train_data), ("val", val_data)):
        expected = CocoDataset.from_folder(shallow, subset)
        for image_id in expected.image_ids:
            difference = dataset.load_image(image_id).astype(int) - expected.load_image(image_id)
            assert abs(difference).max() <= 1
    ours = batch_of(train_data, config)
    theirs = batch_of(CocoDataset.from_folder(shallow, "train"), small_config())
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1.0 if "image" in name else 0)


# --- what is said, and what is kept ---------------------------------------------------------


def twelve_bits(folder, subsets=("train", "val")):
    redraw(folder, KINDS["12-bit PNG"][0], subsets)


def intensity_lines(captured):
    return [line for line in captured.out.splitlines() if line.startswith("intensity ")]


@pytest.mark.smoke
def test_a_measured_range_is_said_in_one_line_and_kept_in_the_configuration(
        introduced, coco_folder):
    twelve_bits(coco_folder)
    captured, config, *_ = introduced("--dataset", coco_folder)
    assert intensity_lines(captured) == [
        "intensity     the images' values go from 0 to 4080: range 0 to 4095, 12 bits (measured "
        "over 5 images); stored with the checkpoint; --range LOW HIGH changes it"]
    assert list(config.IMAGE_INTENSITY_RANGE) == [0, 4095] and "warning" not in captured.err


def test_images_of_8_bits_are_not_spoken_of(introduced, coco_folder):
    captured, config, *_ = introduced("--dataset", coco_folder)
    assert intensity_lines(captured) == [] and config.IMAGE_INTENSITY_RANGE is None


@pytest.mark.parametrize(("options", "limits"), [
    (["--range", "0", "65535"], (0, 65535)), (["--range=0,65535"], (0, 65535)),
    (["--range", "0", "4080", "clip"], (0, 4080, "clip")),
    (["--set", "IMAGE_INTENSITY_RANGE=0,65535"], (0, 65535))])
def test_a_given_range_is_not_measured(introduced, coco_folder, options, limits):
    twelve_bits(coco_folder)
    captured, config, *_ = introduced("--dataset", coco_folder, *options)
    assert tuple(config.IMAGE_INTENSITY_RANGE) == limits
    assert "measured" not in captured.out
    assert config.replaced() and tuple(
        type(config).from_json(config.to_json()).IMAGE_INTENSITY_RANGE) == limits


def test_percentiles_clip(introduced, coco_folder):
    twelve_bits(coco_folder)
    captured, config, *_ = introduced("--dataset", coco_folder, "--range", "percentiles")
    assert config.IMAGE_INTENSITY_RANGE[2] == "clip"
    (line,) = intensity_lines(captured)
    assert "values beyond clipped, the percentiles 0.1 and 99.9" in line


def test_floats_need_a_range(capsys, coco_folder):
    redraw(coco_folder, KINDS["floats to 1"][0])
    line = fails(capsys, train.main, "--dataset", coco_folder)
    assert "whose range is not known" in line and "--range LOW HIGH" in line


def test_a_brighter_image_of_val_is_an_error(capsys, coco_folder):
    twelve_bits(coco_folder, ["train"])
    redraw(coco_folder, KINDS["16-bit PNG"][0], ["val"])
    assert "outside of its range 0 to 4095" in fails(capsys, train.main, "--dataset", coco_folder)


def test_two_ranges_are_refused(capsys, coco_folder):
    assert "--range and --set IMAGE_INTENSITY_RANGE=… set the same" in fails(
        capsys, train.main, "--dataset", coco_folder, "--range", "0", "1",
        "--set", "IMAGE_INTENSITY_RANGE=0,1")


@pytest.mark.filterwarnings("ignore:.*nearly black")  # as before: nothing was declared
def test_a_run_that_continues_keeps_its_range(introduced, coco_folder, tmp_path):
    twelve_bits(coco_folder)
    for limits in ((0, 16383), None):
        folder = tmp_path / str(limits) / "frcnn20200101T0000"
        checkpoint(folder, 4, names=NAMES, IMAGE_INTENSITY_RANGE=limits)
        for path in folder.iterdir():
            path.rename(folder / path.name.replace("_ury_", "_frcnn_"))
        plan.save([plan.Stage("all", 0, 10)], folder)
        run_options.save(RunOptions(dataset=str(coco_folder)), folder)
        _, config, *_ = introduced("--model", "last", "--logs", folder.parent)
        assert (None if limits is None else list(limits)) == config.IMAGE_INTENSITY_RANGE
        captured, config, *_ = introduced("--model", "last", "--logs", folder.parent,
                                          "--range", "0", "4095")
        assert "IMAGE_INTENSITY_RANGE  [0.0, 4095.0] (was" in captured.out


# --- detection ------------------------------------------------------------------------------


@pytest.fixture
def seen(monkeypatch):
    """The images that a stub detects in."""
    images = []
    monkeypatch.setattr(run_report, "inference_model", Stub)
    monkeypatch.setattr(Stub, "detect", lambda self, found: images.extend(found) or [
        {"boxes": np.zeros((0, 4)), "rois": np.zeros((0, 4)), "class_ids": [], "scores": []}])
    return images


def weights(tmp_path, limits=None):
    return checkpoint(tmp_path / "run", 4, names=NAMES, category_ids=CATEGORY_IDS,
                      IMAGE_INTENSITY_RANGE=limits)


@pytest.mark.parametrize(("options", "line"), [
    (["--range", "0", "4095"], "range 0 to 4095, instead of the checkpoint's, that of each file"),
    (["--range", "measure"], "the images' values go from 0 to 4080: range 0 to 4095, 12 bits "
                             "(measured over 1 image), instead of the checkpoint's, that of each "
                             "file")])
def test_detection_takes_the_given_range_and_says_so(seen, tmp_path, capsys, options, line):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep_gray_png(tmp_path / "a.png", gray, sixteen(gray, 12))
    arguments = ["--model", str(weights(tmp_path)), "--output", str(tmp_path / "r.json"),
                 *options, str(tmp_path / "a.png")]
    assert detect.main(arguments) == 0
    np.testing.assert_array_equal(seen[0], np.dstack([gray] * 3))
    captured = capsys.readouterr()
    assert intensity_lines(captured) == [f"intensity     {line}"] and "warning" not in captured.err


def test_the_checkpoints_own_range_is_not_spoken_of(seen, tmp_path, capsys):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep_gray_png(tmp_path / "a.png", gray, sixteen(gray, 12))
    for options in ([], ["--range", "0", "4095"]):
        assert detect.main([str(tmp_path / "a.png"), "--model",
                            str(weights(tmp_path, (0, 4095))), "--output",
                            str(tmp_path / "r.json"), *options]) == 0
        assert intensity_lines(capsys.readouterr()) == []
        np.testing.assert_array_equal(seen.pop(), np.dstack([gray] * 3))


def test_files_elsewhere_are_not_measured():
    config, options = small_config(), Namespace(intensity_range="measure")
    with pytest.raises(ArgumentError, match="--range measure measures image files on this machine"):
        ranges.for_detection(config, options, None)
    options = Namespace(intensity_range=(0.0, 4095.0))
    assert ranges.for_detection(config, options, None).IMAGE_INTENSITY_RANGE == (0, 4095)


@pytest.mark.filterwarnings("default:.*measured nothing")  # printed by the program
def test_nothing_to_measure_is_said(seen, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert detect.main([str(tmp_path / "a.png"), "--model", str(weights(tmp_path, (0, 4095))),
                        "--output", str(tmp_path / "r.json"), "--range", "measure"]) == 0
    captured = capsys.readouterr()
    assert "--range measure measured nothing: no image has more than 8 bits" in captured.err
    assert intensity_lines(captured) == []  # the checkpoint's stays


def test_an_evaluation_takes_the_given_range(coco_folder, tmp_path, monkeypatch, capsys):
    def look(path, config, dataset, *others):
        found.append((tuple(config.IMAGE_INTENSITY_RANGE), dataset.load_image(0)))
        raise Reached

    found = []
    expected = _textured(coco_folder / "val/val_0.png")
    twelve_bits(coco_folder)
    monkeypatch.setattr(run_report, "evaluate_checkpoint", look)
    with pytest.raises(Reached):
        evaluate.main(["--dataset", str(coco_folder), "--model", str(weights(tmp_path)),
                       "--range", "measure"])
    ((limits, image),) = found
    assert limits == (0, 4095) and (image[..., 0] == expected).all()
    assert "measured over 3 images" in capsys.readouterr().out


# --- frcnn check, frcnn tile ----------------------------------------------------------------


def findings(capsys, *arguments):
    code = cli.main(["check", "--json", *map(str, arguments)])
    return code, {finding["kind"]: finding["message"]
                  for finding in json.loads(capsys.readouterr().out)["findings"]}


def test_check_says_which_range_it_measured(capsys, coco_folder):
    twelve_bits(coco_folder)
    code, kinds = findings(capsys, coco_folder)
    assert (code, list(kinds)) == (1, ["intensity range measured"])
    assert "range 0 to 4095, 12 bits (measured over 5 images)" in kinds["intensity range measured"]
    assert "--range 0 4095 declares it" in kinds["intensity range measured"]
    assert findings(capsys, coco_folder, "--range", "0", "4095") == (0, {})
    code, kinds = findings(capsys, coco_folder, "--range", "0", "1023")
    assert code == 2 and "outside of its range 0 to 1023" in kinds["image unreadable"]


def test_check_reads_all_subsets_by_the_range_of_train(capsys, coco_folder):
    twelve_bits(coco_folder, ["train"])
    redraw(coco_folder, KINDS["16-bit PNG"][0], ["val"])
    code, kinds = findings(capsys, coco_folder)
    assert code == 2 and "outside of its range 0 to 4095" in kinds["image unreadable"]


def test_tiles_show_the_picture_and_the_range_is_said(capsys, coco_folder, tmp_path):
    expected = _textured(coco_folder / "train/train_0.png")
    twelve_bits(coco_folder)
    assert cli.main(["tile", str(coco_folder), str(tmp_path / "tiles"), "--size", "512"]) == 0
    (line,) = intensity_lines(capsys.readouterr())
    assert "range 0 to 4095, 12 bits" in line
    assert line.endswith("detect in images of this kind with --range 0 4095")
    with Image.open(next((tmp_path / "tiles/train").glob("train_0*"))) as tile:
        np.testing.assert_array_equal(np.asarray(tile.convert("L")), expected)


# --- the option -----------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "joined"), [
    (["--range", "0", "4095", "a.png"], ["--range=0,4095", "a.png"]),
    (["--range", "-1e3", "+1.5", "clip", "a"], ["--range=-1e3,+1.5,clip", "a"]),
    (["--range", "measure", "a"], ["--range", "measure", "a"]),
    (["--range", "0"], ["--range=0"]), (["--range"], ["--range"]),
    (["--", "--range", "0", "1"], ["--", "--range", "0", "1"]),
    (["a", "--range=0,1", "7", "8"], ["a", "--range=0,1", "7", "8"])])
def test_two_numbers_are_one_value(arguments, joined):
    assert join_range(arguments) == joined


@pytest.mark.parametrize("words", [["0"], ["5", "5"], ["9", "1"], ["guess"], ["0", "x"],
                                   ["0", "nan"]])
def test_what_is_no_range_is_refused(capsys, tmp_path, words):
    line = fails(capsys, detect.main, "--range", *words, tmp_path / "a.png")
    assert "--range" in line and "LOW HIGH" in line


# --- in full --------------------------------------------------------------------------------


@pytest.mark.nightly
def test_train_and_detect_with_12_bits_are_those_with_8(coco_folder, tmp_path, capsys):
    found = {}
    for depth in ("8-bit", "12-bit PNG"):
        if depth == "8-bit":
            redraw(coco_folder, lambda path, gray: Image.fromarray(gray).save(path))
            textured = {path: np.asarray(Image.open(path)).copy()
                        for subset in ("train", "val") for path in (coco_folder / subset).iterdir()}
        else:
            for path, gray in textured.items():
                deep_gray_png(path, gray, sixteen(gray, 12))
        logs = tmp_path / depth
        assert train.main(["--dataset", str(coco_folder), "--logs", str(logs), "--epochs", "1",
                           "--steps", "1", "--deterministic", *TINY]) == 0
        output = tmp_path / f"{depth}.json"
        assert detect.main([str(coco_folder / "val"), "--logs", str(logs), "--min-confidence", "0",
                            "--output", str(output)]) == 0
        (run,) = logs.iterdir()
        history = json.loads((run / "history.json").read_text())
        found[depth] = {name: history[name] for name in history if "loss" in name}, \
            json.loads(output.read_text())
    assert found["8-bit"][1] and found["8-bit"] == found["12-bit PNG"]
    assert runs.load_metadata(
        runs.metadata_path(runs.find_last(logs))).config().IMAGE_INTENSITY_RANGE == [0, 4095]
    captured = capsys.readouterr()
    assert len(intensity_lines(captured)) == 1 and "nearly black" not in captured.err
