"""Shared by the tests of the interface: tables of public names, and a small detector with data.

A row is `@row(namespace, name, parameters)` over a function that calls the named one;
`TABLE.test()` makes a test of all rows.
"""

import contextlib
import inspect
import io

import numpy as np
import pytest
from keras import ops
from model_tools import small_config

from frcnn import utils

NAMES = ["BG", "red", "green", "blue"]
GRAY = np.full((64, 64, 3), 170, np.uint8)
BOXES = np.array([[8, 4, 28, 30], [30, 34, 60, 50]], np.float32)
CLASS_IDS = np.array([1, 3], np.int32)
FOUND = (BOXES, CLASS_IDS, np.array([0.9, 0.8]))
PAIR = np.array([[0, 0, 10, 10]], np.float32), np.array([[0, 5, 10, 15]], np.float32)  # IoU 1/3


class Table:
    """Public names of namespaces, each with its parameters and a small call of it."""

    def __init__(self):
        self.rows = {}

    def row(self, namespace, name, parameters):
        def enter(call):
            assert (namespace, name) not in self.rows
            self.rows[namespace, name] = parameters, call
            return call
        return enter

    def test(self):
        """A test function, parametrized by the rows."""
        @pytest.mark.parametrize(("namespace", "name"), self.rows, ids=[
            f"{namespace.__name__.split('.')[1]}-{name}" for namespace, name in self.rows])
        def check(namespace, name, tmp_path, monkeypatch):
            parameters, call = self.rows[namespace, name]
            function = getattr(namespace, name)
            check_parameters(function, parameters)
            fixtures = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
            call(function, **{key: value for key, value in fixtures.items()
                              if key in inspect.signature(call).parameters})
        return check


CONFIG = small_config(
    NAME="names", IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=64, IMAGES_PER_GPU=1, TOP_DOWN_PYRAMID_SIZE=16,
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
