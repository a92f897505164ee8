"""Detection from several threads on one model gives what one thread gives."""

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from model_tools import noise, prefer_objects, small_config

from frcnn.errors import PickleError
from frcnn.geometry import anchors
from frcnn.inference.folding import FoldedModel
from frcnn.model.mask_rcnn import MaskRCNN

THREADS = 8
IMAGES = noise([(100, 128), (64, 64), (40, 200), (128, 90)])


def made(folder):
    model = MaskRCNN("inference", small_config(TRAIN_BN=False, IMAGE_RESIZE_MODE="pad64",
                                               IMAGE_MIN_DIM=64), folder, seed=1)
    prefer_objects(model)
    return model


def at_once(function):
    """The results of a function called by all threads at the same time."""
    barrier = threading.Barrier(THREADS)

    def call(number):
        barrier.wait()
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(THREADS)))


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert len(theirs["scores"])
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-2, err_msg=name)


def test_eight_threads_find_what_one_finds(tmp_path):
    expected = made(tmp_path).detect(IMAGES)
    model = made(tmp_path)  # not compiled yet
    order = np.random.default_rng(0).permuted(np.tile(np.arange(4), (THREADS, 1)), axis=1)
    for _ in range(2):
        for places, found in zip(order, at_once(
                lambda number: model.detect([IMAGES[place] for place in order[number]])),
                strict=True):
            assert_same(found, [expected[place] for place in places])
    streams = at_once(lambda number: list(model.detect_stream(iter(IMAGES), batch_size=2)))
    for found in streams:
        assert_same(found, expected)


def test_new_weights_are_taken_over_once_and_whole(tmp_path, monkeypatch):
    """While one thread folds the new weights, slowly, the others must not compute with half."""
    model, other = made(tmp_path), made(tmp_path)
    model.detect(IMAGES[:1])
    for changed in (model, other):
        for layer in changed.keras_model.layers:
            if layer.name.endswith("_conv") and layer.name.startswith("small"):
                layer.set_weights([-weight for weight in layer.get_weights()])
    expected = other.detect(IMAGES[:1])
    fold = FoldedModel._fold

    def slowly(self):
        folds.append(threading.get_ident())
        time.sleep(1)
        fold(self)

    folds = []
    monkeypatch.setattr(FoldedModel, "_fold", slowly)
    for found in at_once(lambda number: model.detect(IMAGES[:1])):
        assert_same(found, expected)
    assert len(folds) == 1


def test_weights_that_stay_are_not_taken_over_again(tmp_path, monkeypatch):
    model = made(tmp_path)
    values = [variable.value for variable in model.keras_model.variables]
    model.detect(IMAGES[:1])
    monkeypatch.setattr(FoldedModel, "_fold", lambda self: pytest.fail("folded again"))
    model.detect(IMAGES[:1])
    model.detect(IMAGES[:2])
    if keras.backend.backend() == "jax":  # what another thread assigns would be undone
        assert all(variable.value is value
                   for variable, value in zip(model.keras_model.variables, values))


@pytest.mark.parametrize("function", [anchors.pyramid_anchors, anchors.normalized_pyramid_anchors])
def test_anchors_are_made_by_one_thread_for_all(monkeypatch, function):
    def slowly(*arguments):
        calls.append(arguments)
        time.sleep(0.2)
        return make(*arguments)

    calls, make = [], anchors.generate_pyramid_anchors
    monkeypatch.setattr(anchors, "generate_pyramid_anchors", slowly)
    config = small_config(RPN_ANCHOR_SCALES=(11, 22, 44, 88, 99 + len(function.__name__)))
    found = at_once(lambda number: function(config, (320, 192, 3)))
    assert len(calls) == 1 and all(array is found[0] for array in found)


@pytest.mark.parametrize("attempt", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_model_that_is_pickled_or_copied_says_what_to_do(detecting, attempt):
    with pytest.raises(PickleError, match="checkpoint's path, and call MaskRCNN") as caught:
        attempt(detecting)
    assert isinstance(caught.value, TypeError)  # as pickle's own


def test_what_another_process_needs_can_be_pickled(coco_folder):
    from frcnn.config import Config
    from frcnn.data.coco import CocoDataset

    config = Config(NUM_CLASSES=4, MEAN_PIXEL=(1, 2, 3))
    assert pickle.loads(pickle.dumps(config)).to_json() == config.to_json()
    dataset = CocoDataset.from_folder(coco_folder, "val")
    copied = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copied.load_image(0), dataset.load_image(0))
    np.testing.assert_array_equal(copied.load_boxes(0)[0], dataset.load_boxes(0)[0])
