"""An exported file detects what the model detects, in every format, and says what it is."""

import io
import json
import shutil
import warnings
import zipfile

import keras
import numpy as np
import pytest
from export_tools import (
    CATEGORY_IDS,
    ENDINGS,
    IMAGES,
    NAMES,
    OPTIONS,
    RECIPE,
    assert_same,
    small_detector,
)
from model_tools import noise
from PIL import Image

from frcnn.errors import ArgumentError, ExportError, OutputError
from frcnn.runtime import Detector
from frcnn.runtime.openvino_core import openvino_core

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow",
                                reason="TensorFlow traces what is exported")
OF_ONE_SIZE = [image for image in IMAGES if image.shape[:2] == (128, 128)]


@pytest.mark.parametrize("format", ENDINGS)
def test_the_default_recipe(exports, format):
    path, exported = exports(format)
    assert exported.comparison.detections > 20
    detector = Detector(path)
    images = OF_ONE_SIZE if format == "litert" else IMAGES
    expected = exports.model.detect(images)
    assert min(len(result["scores"]) for result in expected) > 3
    assert_same(detector.detect(images), expected)


@pytest.mark.parametrize("format", ENDINGS)
def test_what_a_file_says_of_itself(exports, format):
    path, exported = exports(format)
    metadata = Detector(path).metadata
    assert metadata == exported.metadata
    assert (metadata.format, metadata.class_names) == (format, NAMES)
    assert metadata.source_class_ids == CATEGORY_IDS
    assert metadata.settings["IMAGE_RESIZE_MODE"] == "pad64"
    assert metadata.settings["MEAN_PIXEL"] == [123.7, 116.8, 103.9]
    assert metadata.settings["DETECTION_MIN_CONFIDENCE"] == RECIPE["DETECTION_MIN_CONFIDENCE"]
    assert "BACKBONE" not in metadata.settings  # a function: code is not named
    assert len(metadata.weights_sha256) == 64 and metadata.precision == "float32"
    assert metadata.shape == ((128, 128) if format == "litert" else None)


def test_where_the_metadata_is(exports):
    import onnx

    models = {name: onnx.load(str(exports(name)[0])) for name in ("onnx",)}
    found = {entry.key: entry.value for entry in models["onnx"].metadata_props}["frcnn"]
    texts = [found, (exports("savedmodel")[0] / "assets" / "frcnn.json").read_text()]
    texts.append(openvino_core().read_model(exports("openvino")[0]).get_rt_info(["frcnn"])
                 .astype(str))
    with zipfile.ZipFile(exports("litert")[0]) as archive:
        texts.append(archive.read("frcnn.json").decode())
    assert [json.loads(text)["format_version"] for text in texts] == [1] * 4


def test_any_batch_and_any_multiples_of_64(exports):
    images = noise([(64, 192), (64, 192), (192, 64), (64, 192)])
    for format in ("savedmodel", "onnx", "openvino"):
        detector = Detector(exports(format)[0])
        assert_same(detector.detect(images, batch_size=3), exports.model.detect(images))


@pytest.mark.slow
def test_every_other_option_of_the_graph_in_the_mode_square(tmp_path):
    pytest.importorskip("openvino")
    model = small_detector(tmp_path / "logs", **OPTIONS, IMAGE_RESIZE_MODE="square",
                           IMAGE_MIN_DIM=128)
    path = tmp_path / "detector.xml"
    exported = model.export(path, "openvino", class_names=NAMES)
    assert exported.metadata.shape == (128, 128)
    assert_same(Detector(path).detect(IMAGES), model.detect(IMAGES))


def test_a_model_of_lower_precision_is_exported_in_float32(tmp_path):
    from frcnn.export.api import in_float32

    rough = small_detector(tmp_path, PRECISION="mixed_bfloat16")
    model, config = in_float32(rough.keras_model, rough.config)
    assert config.PRECISION == "float32" and rough.config.PRECISION == "mixed_bfloat16"
    assert {str(layer.compute_dtype) for layer in model.layers} == {"float32"}
    for one, other in zip(model.get_weights(), rough.keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert in_float32(model, config)[0] is model


@pytest.mark.parametrize("settings", [
    {"IMAGE_RESIZE_MODE": mode, "IMAGE_MIN_DIM": least, "IMAGE_MIN_SCALE": scale}
    for mode in ("pad64", "fit64", "crop", "none") for least in (64, 128) for scale in (0, 1, 2)])
@pytest.mark.parametrize("shape", [None, (128, 128), (128, 256), (320, 192)])
def test_the_drawn_images_fit_a_file_of_one_size(settings, shape):
    """Whatever the settings of the resizing are, unless no image at all is molded to the size."""
    from model_tools import small_config

    from frcnn.data.resize import ResizePlan
    from frcnn.export.api import shape_for
    from frcnn.export.images import drawn_images, images_of_shape, sides_molded_to

    config = small_config(**settings)
    only = shape_for("litert", config, shape)
    images = drawn_images(config, sides_molded_to(only, config))
    is_possible = any(
        ResizePlan.for_detection((height, width, 3), config).molded_shape == only
        for height in range(8, only[0] + 1, 8) for width in range(8, only[1] + 1, 8))
    assert len(images) == 3
    assert images_of_shape(images, only, config) == (images if is_possible else [])


def test_the_model_is_compared_in_float32_and_not_in_tf32(tmp_path, exports, monkeypatch):
    import tensorflow as tf

    from frcnn.export import api, verification

    is_rough = tf.config.experimental.tensor_float_32_execution_enabled
    seen, expected = [], exports.model.detect(IMAGES)
    monkeypatch.setattr(api, "_write", lambda graph, draft, metadata: draft.write_bytes(b""))
    monkeypatch.setattr(verification, "detect_in_new_process",
                        lambda path, images: expected)
    monkeypatch.setattr(api.DetectionRunner, "detect", lambda self, images: seen.append(
        is_rough()) or expected)
    for before in (True, False):
        tf.config.experimental.enable_tensor_float_32_execution(before)
        try:
            exports.model.export(tmp_path / "a.onnx", "onnx", class_names=NAMES, images=IMAGES)
            assert is_rough() == before
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(True)
    assert seen == [False, False]


def test_the_file_is_run_in_float32_and_not_in_tf32(tmp_path, monkeypatch):
    from frcnn.export import verification

    def run(command, *, env, **options):
        assert env["NVIDIA_TF32_OVERRIDE"] == "0" and env["PATH"]
        raise KeyboardInterrupt

    monkeypatch.setattr(verification.subprocess, "run", run)
    with pytest.raises(KeyboardInterrupt):
        verification.detect_in_new_process(tmp_path, IMAGES)


# --- images in the graph --------------------------------------------------------------------------


def as_results(found):
    """The results of `detect` from a graph's outputs for images."""
    results = []
    for boxes, class_ids, scores, count in zip(
            *(np.asarray(found[name]) for name in ("boxes", "class_ids", "scores", "count"))):
        assert not boxes[count:].any() and not scores[count:].any()
        results.append({"rois": np.rint(boxes[:count]).astype(np.int32), "boxes": boxes[:count],
                        "class_ids": class_ids[:count], "scores": scores[:count]})
    return results


def test_serving_default_takes_images_as_they_are(exports):
    import tensorflow as tf

    serve = tf.saved_model.load(str(exports("savedmodel")[0])).signatures["serving_default"]
    for image in (*IMAGES, *noise([(31, 45), (200, 90)])):
        batch = np.stack([image, image[::-1]])
        found = serve(image=tf.constant(batch))
        assert_same(as_results(found), exports.model.detect(list(batch)))


def test_encoded_takes_files_of_different_sizes(exports):
    import tensorflow as tf

    serve = tf.saved_model.load(str(exports("savedmodel")[0])).signatures["encoded"]
    files, images = [], []
    for number, image in enumerate(noise([(90, 120), (64, 64), (50, 130)])):
        file = io.BytesIO()
        Image.fromarray(image).resize(image.shape[1::-1]).save(file, ("png", "jpeg")[number % 2])
        files.append(file.getvalue())
        images.append(np.asarray(Image.open(file).convert("RGB")))
    found = serve(image_bytes=tf.constant(files))
    assert_same(as_results(found), exports.model.detect(images))


@pytest.mark.parametrize("limits", [
    None, (0, 4095), (100, 4000), (100, 4000, "clip"), (0, 65535), (-5, 300.5, "clip"), (0, 1e6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_files_become_8_bits_as_read_image_makes_them(tmp_path, limits, channels):
    """Gray and color PNG files of 8 and 16 bits, whatever range the detector was trained with."""
    import tensorflow as tf

    from frcnn.data.image_io import read_image
    from frcnn.data.intensity import as_range
    from frcnn.errors import ImageError
    from frcnn.export.savedmodel import decoded_png

    decode = tf.function(lambda data: decoded_png(data, channels, as_range(limits)))
    rng = np.random.default_rng(0)
    for largest, kind in ((255, np.uint8), (4095, np.uint16), (65535, np.uint16)):
        shape = (40, 50) if channels == 1 else (40, 50, 3)
        values = rng.integers(0, largest + 1, shape).astype(kind)
        values.flat[:2] = 0, largest
        path = tmp_path / "a.png"
        path.write_bytes(tf.io.encode_png(values.reshape(40, 50, channels)).numpy())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a range should be declared
                expected = read_image(path, channels, limits)
        except ImageError:
            with pytest.raises(tf.errors.InvalidArgumentError, match="values outside of its rang"):
                decode(path.read_bytes())
            continue
        np.testing.assert_array_equal(decode(path.read_bytes()).numpy(), expected)


@pytest.mark.slow
def test_encoded_detects_in_12_bits(tmp_path):
    import tensorflow as tf

    model = small_detector(tmp_path / "logs", **RECIPE, IMAGE_INTENSITY_RANGE=(0, 4095))
    model.export(tmp_path / "detector", "savedmodel", class_names=NAMES)
    serve = tf.saved_model.load(str(tmp_path / "detector")).signatures["encoded"]
    deep, shallow = (IMAGES[1].astype(np.uint16) << 4) + 7, IMAGES[0]
    files = [tf.io.encode_png(image).numpy() for image in (deep, shallow)]
    found = serve(image_bytes=tf.constant(files))
    assert_same(as_results(found), model.detect([deep, shallow]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside of its range 0 to 4095"):
        serve(image_bytes=tf.constant([tf.io.encode_png(deep << 1).numpy()]))


def test_each_weight_is_stored_once(exports):
    path, _ = exports("savedmodel")
    weights = sum(np.asarray(weight).nbytes for weight in exports.model.keras_model.get_weights())
    stored = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert stored < 1.1 * weights


def test_an_onnx_graph_that_molds(exports):
    path, exported = exports("onnx", image_in_graph=True)
    assert exported.metadata.image_in_graph
    images = [*IMAGES, *noise([(31, 45), (200, 90)])]
    detector = Detector(path)
    assert_same(detector.detect(images), exports.model.detect(images))
    results = list(detector.detect_stream([images[0], np.zeros((4, 4), np.uint8)],
                                          return_exceptions=True))
    assert isinstance(results[1], ValueError) and len(results[0]["scores"])


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "format", "options", "message"), [
    ({}, "pb", {}, "format is 'pb'; allowed is one of savedmodel, onnx, openvino, litert"),
    ({}, "onnx", {"path": "detector.tflite"}, "ends in .onnx"),
    ({}, "onnx", {"class_names": NAMES[:3]}, "There are 3 class names, but NUM_CLASSES is 4"),
    ({}, "onnx", {"shape": (64, 64)}, "takes any; leave it out"),
    ({}, "litert", {"shape": (64, 100)}, "two multiples of 64"),
    ({"IMAGE_RESIZE_MODE": "square"}, "litert", {"shape": (64, 64)}, "128 x 128"),
    ({}, "openvino", {"image_in_graph": True}, "is for the format 'onnx', not 'openvino'"),
    ({"DETECTION_FLIPS": ("both",)}, "savedmodel", {}, r"DETECTION_FLIPS is \('both',\)"),
])
def test_arguments_that_do_not_fit(tmp_path, settings, format, options, message):
    model = small_detector(tmp_path / "logs", **settings)
    path = tmp_path / options.pop("path", f"detector{ENDINGS.get(format, '')}")
    with pytest.raises(ArgumentError, match=message):
        model.export(path, format, **{"class_names": NAMES, **options})
    assert not list(tmp_path.iterdir())


def test_a_model_in_training_or_without_names(tmp_path, exports):
    from model_tools import small_config

    from frcnn.model.mask_rcnn import MaskRCNN

    with pytest.raises(ArgumentError, match="mode=\"inference\""):
        MaskRCNN("training", small_config(), tmp_path).export(tmp_path / "a.onnx", "onnx")
    with pytest.raises(ArgumentError, match="pass class_names"):
        exports.model.export(tmp_path / "a.onnx", "onnx")


def test_a_folder_with_content_is_not_replaced(tmp_path, exports):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        exports.model.export(tmp_path, "savedmodel", class_names=NAMES)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_that_detects_something_else_is_not_left(tmp_path, exports, monkeypatch):
    from frcnn.export import api

    other, _ = exports("onnx")
    older = tmp_path / "detector.onnx"
    older.write_bytes(b"older")
    # Another detector's file takes the place of the one that is converted.
    monkeypatch.setattr(api, "_write", lambda graph, draft, metadata: shutil.copy(other, draft))
    weights = exports.model.keras_model.get_layer("mrcnn_bbox_fc")
    before = weights.get_weights()
    weights.set_weights([1.01 * value + 0.01 for value in before])
    try:
        with pytest.raises(ExportError, match="does not detect what the model detects: image 0"):
            exports.model.export(older, "onnx", class_names=NAMES)
        monkeypatch.setattr(api, "_write", lambda graph, draft, metadata: draft.write_bytes(b"?"))
        with pytest.raises(ExportError, match=r"does not run in its engine: .*detector\.onnx "
                                              "cannot be read by its engine"):
            exports.model.export(older, "onnx", class_names=NAMES)
    finally:
        weights.set_weights(before)
    assert older.read_bytes() == b"older" and list(tmp_path.iterdir()) == [older]


def test_no_room_on_the_disk(tmp_path, exports, monkeypatch):
    import errno

    from frcnn.export import api

    def fill(graph, draft, metadata):
        draft.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(api, "_write", fill)
    with pytest.raises(OutputError, match=r"detector\.onnx cannot be written: No space left"):
        exports.model.export(tmp_path / "detector.onnx", "onnx", class_names=NAMES)
    assert not list(tmp_path.iterdir())


def test_no_room_on_the_disk_for_tensorflow(tmp_path, exports, monkeypatch):
    import tensorflow as tf

    def fill(module, folder, signatures):
        raise tf.errors.ResourceExhaustedError(
            None, None, f"{folder}/variables/variables.data; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fill)
    with pytest.raises(OutputError, match=r"detector cannot be written: No space left on device"):
        exports.model.export(tmp_path / "detector", "savedmodel", class_names=NAMES)
    assert not list(tmp_path.iterdir())
