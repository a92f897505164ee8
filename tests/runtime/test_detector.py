"""The runtime: without Keras and TensorFlow, in threads and processes, and what it refuses."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from export_tools import IMAGES, NAMES, assert_same, small_detector
from PIL import Image
from places import PROJECT

from frcnn.config import Config
from frcnn.errors import ArgumentError, BackendError, ConfigError, ExportError, ImageError
from frcnn.runtime import Detector, engines
from frcnn.runtime.metadata import FileMetadata, settings_of
from frcnn.runtime.openvino_core import openvino_core
from frcnn.runtime.parts import split

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow",
                                reason="TensorFlow traces what is exported")

LIGHT = """
import sys
from pathlib import Path
import numpy as np
from frcnn.runtime import Detector

for path in sys.argv[1:]:
    images = [np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)] * 2
    results = Detector(path).detect(images)
    assert len(results) == 2 and set(results[0]) == {"rois", "boxes", "class_ids", "scores"}
heavy = {"keras", "tensorflow", "jax", "torch", "h5py", "scipy", "skimage", "matplotlib",
         "pycocotools", "jinja2", "pooch"} & sys.modules.keys()
assert not heavy, sorted(heavy)
print("light")
"""


def test_it_loads_neither_keras_nor_tensorflow(exports):
    paths = [str(exports(format)[0]) for format in ("onnx", "openvino", "litert")]
    done = subprocess.run([sys.executable, "-c", LIGHT, *paths], cwd=PROJECT, capture_output=True,
                          text=True)
    assert done.stdout.strip() == "light", done.stderr


@pytest.mark.parametrize("format", ["onnx", "openvino", "litert"])
def test_eight_threads_use_one_detector(exports, format):
    detector = Detector(exports(format)[0])
    image = IMAGES[1]
    images = [image, image[::-1].copy(), image[:, ::-1].copy(), 255 - image]
    expected = [detector.detect([one]) for one in images]
    failures = []

    def hammer(number):
        try:
            for turn in range(6):
                place = (number + turn) % len(images)
                assert_same(detector.detect([images[place]]), expected[place], exact=True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_copy_in_another_process_opens_the_file_again(exports):
    detector = Detector(exports("onnx")[0], threads=1, min_confidence=0.3)
    copy = pickle.loads(pickle.dumps(detector))
    assert_same(copy.detect(IMAGES), detector.detect(IMAGES), exact=True)


FORKED = """
import gc, multiprocessing, os, pickle, sys
import numpy as np
from frcnn.errors import BackendError
from frcnn.runtime import Detector, engines

context = multiprocessing.get_context("fork")
images = list(np.random.default_rng(0).integers(0, 255, (2, 100, 128, 3), np.uint8))
inherited = {}


def fork_and_detect():
    process = os.fork()
    if not process:
        code = 1
        try:
            code = len(inherited["detector"].detect(images)) - len(images)
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1]


def detected(pickled):
    # Pickled, or inherited; then another one; then the parent's is freed here.
    try:
        detector = pickle.loads(pickled) if pickled else inherited["detector"]
        found = detector.detect(images)
        again = Detector(sys.argv[1]).detect(images)
        code = fork_and_detect()
        del inherited["detector"], detector
        gc.collect()
    except BackendError as error:
        return str(error)
    return os.getpid(), found, again, code


if __name__ == "__main__":
    inherited["detector"] = Detector(sys.argv[1])
    expected = inherited["detector"].detect(images)
    for given in (pickle.dumps(inherited["detector"]), None):
        with context.Pool(2, maxtasksperchild=1) as pool:
            for result in pool.map(detected, [given] * 3, chunksize=1):
                if isinstance(result, str):
                    print(result)
                    continue
                process, found, again, code = result
                assert process != os.getpid() and code == 0
                for one, other, third in zip(found, expected, again, strict=True):
                    for name in one:
                        np.testing.assert_array_equal(one[name], other[name])
                        np.testing.assert_array_equal(third[name], other[name])
    np.testing.assert_array_equal(inherited["detector"].detect(images)[0]["boxes"],
                                  expected[0]["boxes"])
    print("done", sum(len(result["scores"]) for result in expected))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked there")
@pytest.mark.parametrize("format", ["onnx", "openvino", "litert", "savedmodel"])
def test_forked_processes_open_the_file_again(exports, format):
    """Several of them and one forked from these; with the parent's engine they would hang."""
    done = subprocess.run([sys.executable, "-c", FORKED, str(exports(format)[0])], cwd=PROJECT,
                          env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *errors, last = done.stdout.splitlines()
    assert last.startswith("done ") and int(last.split()[1]) > 5
    assert len(errors) == (6 if format == "savedmodel" else 0)
    assert all("cannot be opened in a forked process" in error for error in errors)


def test_paths_streams_and_the_least_score(exports, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(IMAGES[0]).save(path)
    detector = Detector(exports("onnx")[0])
    (expected,) = detector.detect([IMAGES[0]])
    assert_same(detector.detect([path]), [expected], exact=True)
    sources = iter([path, tmp_path / "missing.png", lambda: IMAGES[0], IMAGES[0][..., 0]])
    first, missing, third, gray = detector.detect_stream(sources, return_exceptions=True)
    assert_same([first, third], [expected, expected])
    assert isinstance(missing, FileNotFoundError) and isinstance(gray, ValueError)
    least = float(np.median(expected["scores"]))
    (few,) = Detector(exports("onnx")[0], min_confidence=least).detect([IMAGES[0]])
    is_kept = expected["scores"] >= np.float32(least)
    assert 0 < is_kept.sum() < len(is_kept)
    assert_same([few], [{name: values[is_kept] for name, values in expected.items()}], exact=True)


def test_litert_pads_smaller_images_and_refuses_larger_ones(exports):
    detector = Detector(exports("litert")[0])
    (result,) = detector.detect([IMAGES[1][:64, :100]])
    assert (result["boxes"] <= [64, 100, 64, 100]).all()
    with pytest.raises(ArgumentError, match="192 x 128 pixels, as it is molded, is larger than the "
                                            "128 x 128"):
        detector.detect([np.zeros((150, 100, 3), np.uint8)])


class OneSize:
    """An engine of molded images of 128 x 128: finds one object, as large as the window."""

    def __init__(self, **settings):
        config = Config(NAME="x", NUM_CLASSES=2, IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=128,
                        **{"IMAGE_RESIZE_MODE": "pad64", **settings})
        self.metadata = FileMetadata("litert", ["BG", "a"], settings_of(config), shape=(128, 128))

    def __call__(self, inputs):
        assert inputs["image"].shape[1:3] == (128, 128)
        return {"detections": np.stack([np.float32([[*window, 1, 1]])
                                        for window in inputs["window"]])}


@pytest.mark.parametrize("settings", [{}, {"DETECTION_FLIPS": ("both",)}])
@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_an_image_that_is_too_large_costs_only_itself(monkeypatch, tmp_path, settings, batch_size):
    """Wherever it is among the others, whatever it comes as, and in batches of any size."""
    monkeypatch.setattr("frcnn.runtime.detector.open_engine", lambda *_: OneSize(**settings))
    detector = Detector("a.tflite")
    sides = [(100, 90), (300, 100), (64, 128), (100, 90), (129, 64), (100, 90), (64, 129),
             (128, 64)]
    arrays = [np.zeros((*side, 3), np.uint8) for side in sides]
    paths = [tmp_path / f"{number}.png" for number in range(len(sides))]
    for path, pixels in zip(paths, arrays):
        Image.fromarray(pixels).save(path)
    functions = [lambda pixels=pixels: pixels for pixels in arrays]
    for sources in (arrays, paths, functions):
        results = list(detector.detect_stream(iter(sources), batch_size=batch_size,
                                              return_exceptions=True))
        for (height, width), result in zip(sides, results, strict=True):
            if height > 128 or width > 128:
                molded = f"{-(-height // 64) * 64} x {-(-width // 64) * 64}"
                assert isinstance(result, ArgumentError) and f"{molded} pixels" in str(result)
            else:
                np.testing.assert_allclose(result["boxes"], [[0, 0, height, width]], atol=1e-4)
        with pytest.raises(ArgumentError, match="320 x 128 pixels, as it is molded, is larger"):
            list(detector.detect_stream(sources, batch_size=batch_size))
        stream = detector.detect_stream(sources, batch_size=batch_size)
        np.testing.assert_allclose(next(stream)["boxes"], [[0, 0, 100, 90]], atol=1e-4)
    bad = [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), tmp_path / "none.png", arrays[0]]
    *errors, result = detector.detect_stream(bad, return_exceptions=True)
    assert [type(error) for error in errors] == [ArgumentError, ImageError, FileNotFoundError]
    assert len(result["boxes"]) == 1


# --- bfloat16 -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["recipe", "reference and cascade"])
def any_openvino(request, exports, tmp_path_factory):
    """The path of an OpenVINO file, of graphs that differ around RoI align."""
    if request.param == "recipe":
        return exports("openvino")[0]
    folder = tmp_path_factory.mktemp("parts")
    model = small_detector(folder / "logs", CASCADE_IOUS=(0.5, 0.6), PYRAMID_ATTENTION=True)
    model.export(folder / "cascade.xml", "openvino", class_names=NAMES)
    return folder / "cascade.xml"


def test_the_two_parts_of_a_graph_are_the_whole(any_openvino):
    """In float32 both parts together give the file's own detections, to rounding."""
    core = openvino_core()
    model = core.read_model(any_openvino)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    whole = core.compile_model(model, "CPU", settings)
    network, rest = (core.compile_model(part, "CPU", settings) for part in split(model, "file"))
    rng = np.random.default_rng(0)
    for batch, height, width in ((1, 128, 64), (2, 64, 192)):
        inputs = {"image": rng.normal(0, 50, (batch, height, width, 3)).astype(np.float32),
                  "window": np.tile(np.float32([0, 0, height, width]), (batch, 1))}
        between = network({"image": inputs["image"]})
        inputs_of_rest = {entry.any_name for entry in rest.inputs}
        named = {**inputs, **{name: between[name] for name in inputs_of_rest - inputs.keys()}}
        found = rest({name: named[name] for name in inputs_of_rest})["detections"]
        expected = whole(inputs)["detections"]
        assert (expected[..., 4] > 0).any()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_rounds_the_network_and_not_the_boxes(any_openvino):
    exact, rounded = (Detector(any_openvino, precision=precision)
                      for precision in ("float32", "mixed_bfloat16"))
    assert exact.config.PRECISION == "float32" and rounded.config.PRECISION == "mixed_bfloat16"
    (expected,), (found,) = (detector.detect([IMAGES[1]]) for detector in (exact, rounded))
    assert len(found["scores"]) and abs(found["scores"][0] - expected["scores"][0]) < 0.1
    distances = np.abs(expected["boxes"] - found["boxes"][0]).max(axis=1)
    assert distances.min() < 2
    # Multiples of an eighth, as bfloat16 has above 16 pixels, would be boxes rounded to it.
    coordinates = found["boxes"][found["boxes"] > 16]
    assert not (coordinates * 8 == np.round(coordinates * 8)).all()
    copy = pickle.loads(pickle.dumps(rounded))
    assert_same(copy.detect([IMAGES[1]]), [found], exact=True)


def test_eight_threads_in_bfloat16(exports):
    detector = Detector(exports("openvino")[0], precision="auto")
    images = [IMAGES[1], 255 - IMAGES[1]]
    expected = [detector.detect([image]) for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: detector.detect([images[number % 2]]), range(24)))
    for number, results in enumerate(found):
        assert_same(results, expected[number % 2], exact=True)


SIGNAL = """
import os, signal, sys
from frcnn.runtime import Detector

first, second = (Detector(sys.argv[1], precision=precision)
                 for precision in ("float32", "mixed_bfloat16"))
del first
del second
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_signals_are_handled_after_openvino_was_used(exports):
    """The place that signals are handled in is not freed with the first of two detectors."""
    done = subprocess.run([sys.executable, "-c", SIGNAL, str(exports("openvino")[0])],
                          cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "handled"), done.stderr


def test_precisions_that_an_engine_does_not_have(exports):
    path = exports("onnx")[0]
    assert Detector(path, precision="auto").detect(IMAGES[:1])
    for format, precision, known in (
            ("onnx", "mixed_bfloat16", "float32"), ("litert", "mixed_bfloat16", "float32"),
            ("savedmodel", "mixed_bfloat16", "float32"), ("onnx", "bfloat16", "float32"),
            ("openvino", "mixed_float16", "float32 or mixed_bfloat16")):
        name = exports(format)[0]
        with pytest.raises(ArgumentError, match=f"{name.name} does not run in '{precision}': "
                                                f"its engine computes in {known}[.]"):
            Detector(name, precision=precision)


def test_a_graph_without_a_place_to_part_it(exports):
    model = openvino_core().read_model(exports("openvino")[0])
    for operation in model.get_ordered_ops():
        if operation.get_friendly_name().startswith("rpn_bbox"):
            operation.set_friendly_name("other")
    with pytest.raises(ExportError, match=r"a\.xml: the graph has no place between"):
        split(model, "a.xml")


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["onnx", "openvino", "litert"])
def test_images_that_do_not_fit(exports, format):
    detector = Detector(exports(format)[0])
    with pytest.raises(ArgumentError, match=r"Image 0 has the shape \(9, 9, 4\)"):
        detector.detect([np.zeros((9, 9, 4), np.uint8)])
    with pytest.raises(ImageError, match="array of float64"):
        detector.detect([np.zeros((9, 9, 3))])
    with pytest.raises(ArgumentError, match=r"put 'a\.png' into"):
        detector.detect("a.png")
    assert detector.detect([]) == []


@pytest.mark.parametrize(("name", "content", "error", "message"), [
    ("missing.onnx", None, FileNotFoundError, "there is no such file"),
    ("notes.txt", b"notes", ExportError, "is no exported detector; name an .onnx"),
    ("a.onnx", b"no model", ExportError, "a.onnx cannot be read by its engine"),
    ("a.onnx", b"", ExportError, "a.onnx"),
    ("a.tflite", b"no model", ExportError, "a.tflite has no metadata of frcnn's"),
    ("a.xml", b"<net/>", ExportError, "a.bin, are not beside it"),
])
def test_files_that_are_no_exports(tmp_path, name, content, error, message):
    for module in ("onnxruntime", "openvino"):
        pytest.importorskip(module)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        Detector(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_no_savedmodel(tmp_path):
    with pytest.raises(ExportError, match=r"without saved_model\.pb"):
        Detector(tmp_path)


@pytest.mark.parametrize("format", ["onnx", "openvino", "litert", "savedmodel"])
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_files_that_are_cut_off(exports, tmp_path, format, share):
    path, _ = exports(format)
    copy = tmp_path / path.name
    (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
    cut = copy
    if format == "openvino":
        cut = copy.with_suffix(".bin")
        shutil.copy(path.with_suffix(".bin"), cut)
    if format == "savedmodel":
        (cut,) = (copy / "variables").glob("*.data*")
    cut.write_bytes(cut.read_bytes()[:int(share * cut.stat().st_size)])
    with pytest.raises(ExportError) as raised:
        Detector(copy).detect(IMAGES[1:2])
    assert str(copy) in str(raised.value) and "\n" not in str(raised.value)


def test_a_model_of_another_program(tmp_path, exports):
    import onnx

    model = onnx.load(str(exports("onnx")[0]))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ExportError, match="has no metadata of frcnn's; write such a file with"):
        Detector(tmp_path / "other.onnx")


def rewritten(source, target, **changes):
    """A copy of a LiteRT file with other metadata."""
    with zipfile.ZipFile(source) as archive:
        content = json.loads(archive.read("frcnn.json"))
    shutil.copy(source, target)
    with zipfile.ZipFile(target, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("frcnn.json", json.dumps({**content, **changes}))
    return target


@pytest.mark.parametrize(("changes", "message"), [
    ({"format_version": 99}, "format version 99, and this frcnn reads up to 1; update frcnn"),
    ({"class_names": ["BG"]}, "damaged: source_class_ids do not fit"),
    ({"settings": {}}, "damaged: the settings lack IMAGE_CHANNEL_COUNT"),
    ({"format_version": "one"}, "no metadata of frcnn's"),
])
def test_other_metadata(exports, tmp_path, changes, message):
    path = rewritten(exports("litert")[0], tmp_path / "a.tflite", **changes)
    with pytest.raises(ExportError, match=message):
        Detector(path)


def test_what_a_newer_version_adds_is_ignored(exports, tmp_path):
    path = rewritten(exports("litert")[0], tmp_path / "a.tflite", author="somebody")
    assert Detector(path).class_names == NAMES


@pytest.mark.parametrize(("format", "module", "package"), [
    ("onnx", "onnxruntime", "onnxruntime"), ("openvino", "openvino", "openvino"),
    ("litert", "ai_edge_litert.interpreter", "ai-edge-litert")])
def test_an_engine_that_is_not_installed(exports, monkeypatch, format, module, package):
    path, _ = exports(format)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendError, match=f"pip install {package}$"):
        Detector(path)


def test_the_least_score_is_checked():
    with pytest.raises(ArgumentError, match="min_confidence is 2"):
        Detector("a.onnx", min_confidence=2)


def test_the_intensity_range_may_be_given(exports):
    path, image = exports("onnx")[0], IMAGES[1]
    expected = Detector(path).detect([image])
    with pytest.raises(ValueError, match="give uint8"):
        Detector(path).detect([image.astype(np.uint16) << 4])
    detector = pickle.loads(pickle.dumps(Detector(path, intensity_range=(0, 4095))))
    assert_same(detector.detect([image.astype(np.uint16) << 4]), expected)
    with pytest.raises(ConfigError, match="IMAGE_INTENSITY_RANGE"):
        Detector(path, intensity_range=(4095, 0))


def test_metadata_survives_json():
    config = Config(NUM_CLASSES=3, IMAGE_INTENSITY_RANGE=(0, 4095), MEAN_PIXEL=[1.5, 2, 3])
    metadata = FileMetadata("onnx", ["BG", "a", "ü"], settings_of(config), [None, 4, "x"])
    again = FileMetadata.from_json(metadata.to_json(), "a")
    assert again == metadata and metadata.to_json().isascii()
    assert json.loads(again.config().to_json()) == json.loads(config.to_json())


def test_is_exported(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    assert engines.is_exported(tmp_path) and engines.is_exported("a/b.ONNX")
    assert not engines.is_exported("mask_rcnn_0001.h5") and not engines.is_exported("last")
