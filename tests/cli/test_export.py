"""`frcnn export`, and detection and evaluation with what it wrote."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from cli_tools import CATEGORY_IDS, NAMES, fails
from export_tools import ENDINGS, IMAGES, Exports, assert_same, small_detector
from export_tools import NAMES as EXPORTED_NAMES
from PIL import Image
from places import PROJECT

from frcnn.cli import main as cli
from frcnn.cli import run_options, starts
from frcnn.errors import FrcnnError
from frcnn.files import sha256_of
from frcnn.inference.tiled import TiledModel, Tiling
from frcnn.runs import metadata_path, save_metadata
from frcnn.runtime import Detector, engines
from frcnn.weights.checkpoint import save_weights

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow",
                                reason="TensorFlow traces what is exported")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of the small detector."""
    model = small_detector(tmp_path_factory.mktemp("logs"), **Exports.SETTINGS)
    path = tmp_path_factory.mktemp("run") / "mask_rcnn_small_0003.h5"
    save_weights(model.keras_model, path)
    save_metadata(path, model.config, NAMES, CATEGORY_IDS)
    return path


def run(*arguments):
    return cli.main(list(map(str, arguments)))


@pytest.mark.filterwarnings("default:.*was exported with")  # printed by the program
def test_export_then_detect_and_evaluate(weights, tmp_path, coco_folder, capsys):
    pytest.importorskip("ai_edge_litert")
    path = tmp_path / "detector.tflite"
    picture = next((coco_folder / "val").iterdir())
    assert run("export", "--model", weights, "--trust", "--format", "litert", "--output", path,
               "--min-confidence", 0.1) == 0
    told = capsys.readouterr().out
    assert f"file          {path} (1." in told and "image float32 [1, 128, 128, 3]" in told
    assert "detections in 3 images agree to" in told
    assert f"frcnn detect --model {path} IMAGES" in told
    assert Detector(path).metadata.settings["DETECTION_MIN_CONFIDENCE"] == 0.1

    results = tmp_path / "found.json"
    assert run("detect", picture, "--model", path, "--output", results) == 0
    found = json.loads(results.read_text())
    assert found and {entry["category_id"] for entry in found} <= set(CATEGORY_IDS)
    assert min(entry["score"] for entry in found) >= 0.1
    assert run("detect", picture, "--model", path, "--output", results,
               "--min-confidence", (found[0]["score"] + found[1]["score"]) / 2) == 0
    assert len(json.loads(results.read_text())) == 1

    capsys.readouterr()
    assert run("evaluate", "--dataset", coco_folder, "--model", path, "--output",
               tmp_path / "evaluation") == 0
    assert "was exported with --min-confidence 0.1" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["settings"]["score_threshold"] == 0.1


def loaded(weights, folder):
    """The checkpoint in a MaskRCNN, as docs/export.md loads it."""
    model = small_detector(folder, **Exports.SETTINGS)
    noise = [value + 0.01 for value in model.keras_model.get_weights()]
    model.keras_model.set_weights(noise)
    model.load_weights(weights)
    return model


@pytest.mark.slow
def test_a_model_exports_what_the_program_exports(weights, tmp_path, coco_folder, format="onnx"):
    """Its file says all that the program's says, so that results have the data's category ids."""
    model = loaded(weights, tmp_path / "logs")
    by_hand, by_program = (tmp_path / f"{name}{ENDINGS[format]}" for name in ("hand", "program"))
    exported = model.export(by_hand, format)
    assert run("export", "--model", weights, "--trust", "--format", format, "--output",
               by_program) == 0
    assert Detector(by_hand).metadata == exported.metadata == Detector(by_program).metadata
    assert exported.metadata.source_class_ids == CATEGORY_IDS
    assert exported.metadata.checkpoint_sha256 == sha256_of(weights)
    found = {}
    for source in (weights, by_hand):
        results = tmp_path / "found.json"
        assert run("detect", coco_folder / "val", "--model", source, "--output", results,
                   *(["--trust"] if source == weights else [])) == 0
        found[source] = [(entry["image_id"], entry["category_id"], entry["category_name"])
                         for entry in json.loads(results.read_text())]
    assert found[weights] == found[by_hand] and len(found[weights]) > 10


def test_what_a_model_says_of_where_its_weights_are_from(weights, tmp_path, monkeypatch):
    from frcnn import export as package

    told = []
    monkeypatch.setattr(package, "export", lambda *_, **options: told.append(
        (options["class_names"], list(options["source_class_ids"]), options["checkpoint"])))
    copy = tmp_path / weights.name
    copy.write_bytes(weights.read_bytes())
    metadata_path(copy).write_bytes(metadata_path(weights).read_bytes())
    model = loaded(copy, tmp_path / "logs")
    model.export("a.onnx", "onnx")
    assert told[-1] == (NAMES, CATEGORY_IDS, copy)
    model.export("a.onnx", "onnx", class_names=list("abcd"))  # as in another language
    assert told[-1] == (list("abcd"), CATEGORY_IDS, copy)
    model.export("a.onnx", "onnx", source_class_ids=())
    assert told[-1] == (NAMES, [], copy)
    copy.write_bytes(b"another file")
    model.export("a.onnx", "onnx")
    assert told[-1] == (NAMES, CATEGORY_IDS, None)
    model.load_weights(weights, exclude=["mrcnn_bbox_fc"])  # whose weights are of the other file
    model.export("a.onnx", "onnx")
    assert told[-1] == (NAMES, CATEGORY_IDS, None)
    model.load_weights(weights, exclude=["mrcnn_class_logits"])
    model.export("a.onnx", "onnx", class_names=NAMES)
    assert told[-1] == (NAMES, [], None)
    metadata_path(copy).unlink()
    copy.write_bytes(weights.read_bytes())
    model.load_weights(copy)
    model.export("a.onnx", "onnx", class_names=NAMES)
    assert told[-1] == (NAMES, [], copy)


@pytest.mark.parametrize(("precision", "expected"), [
    (None, "float32"), ("float32", "float32"), ("mixed_bfloat16", "mixed_bfloat16")])
def test_the_arithmetic_of_an_openvino_file(exports, tmp_path, monkeypatch, precision, expected):
    """Not that of the training, which the file's settings have."""
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(tmp_path / "a.png")
    opened, open_engine = [], engines._open
    monkeypatch.setattr(engines, "_open", lambda path, threads, precision: opened.append(
        precision) or open_engine(path, threads, precision))
    monkeypatch.setattr(engines, "_opened", {})
    assert run("detect", tmp_path / "a.png", "--model", exports("openvino")[0], "--output",
               tmp_path / "r.json", *(["--precision", precision] if precision else [])) == 0
    assert opened == [expected]
    start = starts.find_trained(str(exports("openvino")[0]), "logs", precision=precision)
    assert expected == start.config.PRECISION


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_shards_and_tiles_with_a_file(exports, tmp_path, format):
    """The same detections as into one file, of whole images and in tiles."""
    path, rng = exports(format)[0], np.random.default_rng(3)
    (tmp_path / "images").mkdir()
    for number in range(3):
        pixels = rng.integers(0, 255, (100, 128, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png")
    for tiling in ([], ["--tile", "64"]):
        single, shards = tmp_path / "single.json", tmp_path / f"shards{len(tiling)}"
        arguments = (tmp_path / "images", "--model", path, *tiling, "--output")
        assert run("detect", *arguments, single) == 0
        assert run("detect", *arguments, f"{shards}/", "--images-per-shard", "2") == 0
        assert run("detections", shards, "--to", tmp_path / "shards.json") == 0
        found, expected = (json.loads(file.read_text())
                           for file in (tmp_path / "shards.json", single))
        assert len(found) == len(expected) > 3
        for one, other in zip(found, expected):
            assert one["category_id"] == other["category_id"]
            np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.01)


@pytest.fixture
def fitting_folder(coco_folder):
    """`coco_folder` with the classes of the exported detector."""
    for path in (coco_folder / "annotations").iterdir():
        content = json.loads(path.read_text())
        categories = sorted(content["categories"], key=lambda entry: entry["id"])
        for entry, name in zip(categories, EXPORTED_NAMES[1:], strict=True):
            entry["name"] = name
        path.write_text(json.dumps(content))
    return coco_folder


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_file_finds_in_tiles_what_its_model_does(exports, format):
    (found,) = TiledModel(Detector(exports(format)[0]), Tiling(64, 0.5)).detect([IMAGES[0]])
    expected = exports.model.detect_tiled(IMAGES[0], size=64, overlap=0.5)
    assert len(expected["scores"]) > 3
    assert_same([found], [expected])


@pytest.mark.parametrize("format", ["onnx", "openvino", "litert"])
def test_evaluation_and_calibration_in_tiles_with_a_file(exports, tmp_path, fitting_folder, format,
                                                         capsys):
    path, output = exports(format)[0], tmp_path / "evaluation"
    assert run("evaluate", "--dataset", fitting_folder, "--model", path, "--output", output,
               "--tile", 64) == 0
    settings = json.loads((output / "metrics.json").read_text())["settings"]
    assert settings["tile"] == 64 and settings["detections"] > 3
    capsys.readouterr()
    assert run("count", "--calibrate", fitting_folder, "--model", path, "--tile", 64) == 2
    assert "No class has enough objects" in capsys.readouterr().err  # after the detection


def test_detecting_with_a_file_loads_no_keras(exports, tmp_path):
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(tmp_path / "a.png")
    code = ("import sys; from frcnn.cli import main; sys.argv[1:] = sys.argv[1:]; "
            "code = main.main(sys.argv[1:]); "
            "assert not {'keras', 'tensorflow', 'h5py.keras'} & sys.modules.keys(); sys.exit(code)")
    done = subprocess.run(
        [sys.executable, "-c", code, "detect", str(tmp_path / "a.png"), "--model",
         str(exports("onnx")[0]), "--output", str(tmp_path / "r.json")],
        cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("sides", "size", "fitting"), [
    ([(96, 128), (128, 192), (60, 100)], None, [(96, 128)]),
    ([(96, 128), (128, 192), (60, 100)], (128, 192), [(128, 192)]),
    ([(400, 300), (128, 192), (60, 100)], None, None),
    ([(96, 128), (96, 128), (128, 128)], None, [(96, 128), (96, 128), (128, 128)]),
])
def test_by_default_only_images_that_fit_are_compared(weights, coco_folder, tmp_path, monkeypatch,
                                                      sides, size, fitting):
    """A data set of several sizes: the user has named none of its images."""
    from frcnn import export as package

    path = tmp_path / "run" / weights.name
    path.parent.mkdir()
    path.write_bytes(weights.read_bytes())
    metadata_path(path).write_bytes(metadata_path(weights).read_bytes())
    run_options.save(run_options.RunOptions(dataset=str(coco_folder)), path.parent)
    listed = coco_folder / "annotations/instances_val.json"
    content = json.loads(listed.read_text())
    for entry, (height, width) in zip(content["images"], sides, strict=True):
        Image.new("RGB", (width, height)).save(coco_folder / "val" / entry["file_name"])
        entry.update(height=height, width=width)
    content["annotations"] = []
    listed.write_text(json.dumps(content))
    taken = []

    class Ended(FrcnnError):
        pass

    def export(*arguments, images, **options):
        taken.append(images and [image.shape[:2] for image in images])
        raise Ended("as far as this")

    monkeypatch.setattr(package, "export", export)
    assert run("export", "--model", path, "--trust", "--format", "litert",
               *(["--size", *size] if size else [])) == 2
    assert run("export", "--model", path, "--trust", "--format", "onnx") == 2
    assert taken == [fitting, sides]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--format", "onnx", "--output", "a.xml"], "a.xml: the name of a file of the format 'onnx' "
                                                "ends in .onnx"),
    (["--format", "onnx", "--precision", "int8"], "--precision int8 and --calibrate DIR belong"),
    (["--format", "onnx", "--calibrate", "."], "--precision int8 and --calibrate DIR belong"),
    (["--format", "onnx", "--images", "nowhere"], "nowhere"),
    (["--format", "savedmodel", "--output", "."], ". is there already; name a new folder."),
])
def test_mistakes_are_one_line(weights, tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "here").write_text("")
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, cli.main, "export", "--model", weights, "--trust", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize(("name", "content", "output", "told"), [
    ("a.xml", "<annotation><folder/></annotation>", "a.xml", "a.xml is there already and is no Op"),
    ("a.xml", '<?xml version="1.0"?>\n<annotation/>', "a.xml", "a.xml is there already and is no"),
    ("a.xml", "", "a.xml", "a.xml is there already"),
    ("a.xml", "<network/>", "a.xml", "a.xml is there already"),
    ("a.bin", "firmware", "a.xml", "a.bin, which the weights of a.xml would replace, is there al"),
    ("mask_rcnn_small_0003.xml", "<annotation/>", None, "small_0003.xml is there already"),
    ("mask_rcnn_small_0003.bin", "x", None, "mask_rcnn_small_0003.bin, which the weights of"),
    ("a.tflite", "an image", "a.tflite", "a.tflite is one of the inputs"),
    ("a.onnx", "an image", "link.onnx", "link.onnx is one of the inputs"),
    ("a.bin", "an image", "a.xml", "a.bin"),
])
def test_an_export_replaces_no_input_and_no_annotations(weights, tmp_path, capsys, name, content,
                                                        output, told):
    """Neither in the file that is named, nor in the one beside it, nor by default."""
    path = tmp_path / weights.name
    path.write_bytes(weights.read_bytes())
    save_metadata(path, starts.find_trained(str(weights), "", None, True).config, NAMES)
    (tmp_path / name).write_text(content)
    if output == "link.onnx":
        (tmp_path / output).symlink_to(tmp_path / name)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    suffix = (output or ".xml").partition(".")[2]
    format = {"xml": "openvino", "onnx": "onnx", "tflite": "litert"}[suffix]
    line = fails(capsys, cli.main, "export", "--model", path, "--trust", "--format", format,
                 *(["--output", tmp_path / output] if output else []),
                 *(["--images", tmp_path / name] if content == "an image" else []))
    assert told in line
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_export_replaces_no_image_that_it_is_calibrated_on(weights, coco_folder, tmp_path,
                                                              capsys):
    (tmp_path / "a.xml").write_text('<net name="older"/>')
    image = coco_folder / "train/train_0.png"
    image.replace(tmp_path / "a.bin")
    image.symlink_to(tmp_path / "a.bin")
    line = fails(capsys, cli.main, "export", "--model", weights, "--trust", "--format", "openvino",
                 "--precision", "int8", "--calibrate", coco_folder, "--output", tmp_path / "a.xml")
    assert "a.bin is one of the inputs" in line


def test_an_older_openvino_model_may_be_replaced(exports):
    from frcnn.runtime.places import check_target

    path = exports("openvino")[0]
    assert check_target("openvino", path) == path


def test_calibration_data_of_other_classes(weights, coco_folder, capsys):
    path = coco_folder / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "other"
    path.write_text(json.dumps(content))
    assert "Calibrate on the data that it was trained for." in fails(
        capsys, cli.main, "export", "--model", weights, "--trust", "--format", "openvino",
        "--precision", "int8", "--calibrate", coco_folder)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--precision", "mixed_bfloat16"], "does not run in 'mixed_bfloat16'"),
    (["--flips", "both"], "--flips has no effect on"),
    (["--config", "a.json"], "--config has no effect on"),
])
def test_what_is_fixed_in_a_file(exports, tmp_path, capsys, arguments, message):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    assert message in fails(capsys, cli.main, "detect", tmp_path / "a.png", "--model",
                            exports("litert")[0], "--output", tmp_path / "r.json", *arguments)
