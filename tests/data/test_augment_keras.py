"""Keras's preprocessing layers as augmentation."""

import threading

import keras
import numpy as np
import pytest
from augment_tools import drawn_scenes, found
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from loader_tools import config_for

from frcnn.data.augment import compose, resolve
from frcnn.data.augment_keras import KerasLayer
from frcnn.data.coco import CocoDataset
from frcnn.data.loader import DetectionSequence
from frcnn.errors import ConfigError

XYXY = {"bounding_box_format": "xyxy"}
FLIP = resolve(layers.RandomFlip("horizontal", **XYXY))


@given(scene=drawn_scenes(), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_a_flip_keeps_boxes_on_their_pixels(scene, seed):
    image, boxes = scene
    class_ids = np.where(np.arange(len(boxes)) % 2, 1, -2).astype(np.int32)
    before = image.copy(), boxes.copy()
    moved, moved_boxes, moved_ids = FLIP(image, boxes, class_ids, np.random.default_rng(seed))
    assert moved.dtype == np.uint8 and moved_boxes.dtype == np.float32
    assert np.array_equal(moved, image) or np.array_equal(moved, image[:, ::-1])
    np.testing.assert_array_equal(moved_ids, class_ids)
    np.testing.assert_allclose(moved_boxes, found(moved, 20 * np.arange(1, len(boxes) + 1)),
                               atol=1e-3)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(boxes, before[1])


def test_chance_comes_from_the_seed_alone_whatever_was_called_before():
    augmentation = resolve(layers.Pipeline([
        layers.RandomFlip(**XYXY), layers.RandomTranslation(0.2, 0.2, **XYXY)]))
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    boxes, class_ids = np.float32([[5, 5, 30, 30]]), np.array([-2])
    first = [augmentation(image, boxes, class_ids, np.random.default_rng(seed))
             for seed in range(4)]
    results = {}
    threads = [threading.Thread(target=lambda seed=seed: results.update({seed: augmentation(
        image, boxes, class_ids, np.random.default_rng(seed))})) for seed in (3, 1, 0, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        for one, other in zip(first[seed], results[seed]):
            np.testing.assert_array_equal(one, other)
        assert first[seed][2].tolist() == [-2]
    assert not np.array_equal(first[0][0], first[1][0])


def test_objects_that_leave_the_frame_are_left_out():
    augmentation = resolve(layers.RandomTranslation((0.5, 0.5), 0, fill_mode="constant", **XYXY))
    boxes = np.float32([[60, 0, 80, 20], [10, 30, 30, 50], [40, 0, 60, 9]])
    image, boxes, class_ids = augmentation(np.full((100, 60, 3), 9, np.uint8), boxes,
                                           np.array([1, -2, 3]), np.random.default_rng(0))
    assert class_ids.tolist() == [-2, 3]
    np.testing.assert_allclose(boxes, [[60, 30, 80, 50], [90, 0, 100, 9]], atol=1e-3)
    assert not image[:50].any() and (image[50:] == 9).all()


def test_images_without_boxes_pass():
    augmentation = resolve(layers.RandomRotation(0.2, **XYXY))
    image, boxes, class_ids = augmentation(
        np.zeros((30, 20, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int32),
        np.random.default_rng(0))
    assert image.shape == (30, 20, 3) and boxes.shape == (0, 4) and len(class_ids) == 0


@pytest.mark.parametrize("layer", [
    layers.RandomFlip(),  # no format
    layers.Pipeline([layers.RandomFlip(**XYXY), layers.RandomRotation(0.1)]),
    layers.Dense(3),
])
def test_layers_that_cannot_move_boxes_are_refused_at_once(layer):
    with pytest.raises(ConfigError, match=r'Keras layer .* cannot serve.*_box_format="xyxy"'):
        resolve(layer)


def test_they_compose():
    both = compose("microscopy", layers.RandomBrightness(0.1, **XYXY))
    image, _, _ = both(np.full((20, 30, 3), 90, np.uint8), np.zeros((0, 4), np.float32),
                       np.zeros(0, np.int32), np.random.default_rng(0))
    assert image.dtype == np.uint8 and both.turns
    assert isinstance(resolve(keras.layers.AutoContrast(**XYXY)), KerasLayer)


def test_in_the_loader_with_several_threads(coco_folder):
    dataset = CocoDataset.from_folder(coco_folder, "train")
    layer = layers.Pipeline([layers.RandomFlip(**XYXY), layers.RandomContrast(0.3, **XYXY)])
    batches = []
    for workers in (1, 3):
        sequence = DetectionSequence(dataset, config_for(), batch_size=1, augmentation=layer,
                                     seed=3, workers=workers)
        batches.append([sequence[index][0] for index in range(len(sequence))])
    for one, other in zip(*batches):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
