"""What the tests of the interface share: tables of names, and a small detector with its data.

A row is `@row(face, name, parameters)` over a function that calls it; `TABLE.test()` walks them.
"""

import contextlib
import inspect
import io

import numpy as np
import pytest
from keras import layers, ops

from frcnn import utils
from frcnn.config import Config

NAMES = ["BG", "red", "green", "blue"]
GRAY = np.full((64, 64, 3), 170, np.uint8)
BOXES = np.array([[8, 4, 28, 30], [30, 34, 60, 50]], np.float32)
CLASS_IDS = np.array([1, 3], np.int32)
FOUND = (BOXES, CLASS_IDS, np.array([0.9, 0.8]))
PAIR = np.array([[0, 0, 10, 10]], np.float32), np.array([[0, 5, 10, 15]], np.float32)  # IoU 1/3


class Table:
    """Names of the faces, each with its parameters and a small call that shows what it does."""

    def __init__(self):
        self.rows = {}

    def row(self, face, name, parameters):
        def enter(call):
            assert (face, name) not in self.rows
            self.rows[face, name] = parameters, call
            return call
        return enter

    def test(self):
        """A test function, parametrized by the rows."""
        @pytest.mark.parametrize(("face", "name"), self.rows, ids=[
            f"{face.__name__.split('.')[1]}-{name}" for face, name in self.rows])
        def walk(face, name, tmp_path, monkeypatch):
            parameters, call = self.rows[face, name]
            function = getattr(face, name)
            check_parameters(function, parameters)
            fixtures = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
            call(function, **{key: value for key, value in fixtures.items()
                              if key in inspect.signature(call).parameters})
        return walk


def small_backbone(input_image, stage5=True, train_bn=True):
    x, stages = layers.Rescaling(1 / 64, name="small_scale")(input_image), []
    for stage in range(1, 6):
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu",
                          name=f"small{stage}")(x)
        stages.append(x)
    return stages


def small_shapes(image_shape):
    return np.array([[-(-side // stride) for side in image_shape[:2]]
                     for stride in (4, 8, 16, 32, 64)])


CONFIG = Config(
    NAME="names", BACKBONE=small_backbone, COMPUTE_BACKBONE_SHAPE=small_shapes, NUM_CLASSES=4,
    IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=64, IMAGES_PER_GPU=1, TOP_DOWN_PYRAMID_SIZE=16, TRAIN_BN=True,
    FPN_CLASSIF_FC_LAYERS_SIZE=8, RPN_ANCHOR_SCALES=(8, 12, 24, 36, 48), PRE_NMS_LIMIT=100,
    RPN_TRAIN_ANCHORS_PER_IMAGE=32, POST_NMS_ROIS_TRAINING=20, POST_NMS_ROIS_INFERENCE=20,
    TRAIN_ROIS_PER_IMAGE=12, MAX_GT_INSTANCES=5, DETECTION_MAX_INSTANCES=7,
    DETECTION_MIN_CONFIDENCE=0.5, STEPS_PER_EPOCH=1, VALIDATION_STEPS=1)
ANCHOR_COUNT = 3 * (16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1)


class Drawn(utils.Dataset):
    """Two gray images with the same two objects; the second object of the second is a crowd."""

    def __init__(self):
        super().__init__()
        for class_id, name in enumerate(NAMES[1:], start=1):
            self.add_class("drawn", class_id, name)
        for image_id in ("a", "b"):
            self.add_image("drawn", image_id, f"{image_id}.png", width=64, height=64)
        self.prepare()

    def load_image(self, image_id):
        return GRAY

    def load_boxes(self, image_id):
        return BOXES, CLASS_IDS * np.array([1, -1 if image_id else 1], np.int32)


def same(actual, expected, atol=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(actual), expected, atol=atol)


def shapes(arrays):
    return [tuple(array.shape) for array in arrays]


def printed(function, *args):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        function(*args)
    return text.getvalue()


def check_parameters(function, text):
    """Those of the table, in order, with the table's defaults; what else there is has defaults."""
    expected = inspect.signature(eval(f"lambda {text}: None")).parameters
    actual = inspect.signature(function).parameters
    assert list(actual)[:len(expected)] == list(expected)
    for name, parameter in actual.items():
        if name not in expected:
            assert parameter.default is not parameter.empty or parameter.kind in (
                parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            continue
        assert parameter.kind == expected[name].kind
        if expected[name].default is not parameter.empty:
            assert parameter.default == expected[name].default
