"""The reference's generator of batches."""


import numpy as np
import pytest
from loader_tools import (
    config_for,
)

from frcnn.data.coco import CocoDataset
from frcnn.data.generator import data_generator
from frcnn.errors import ConfigError
from frcnn.geometry.boxes import compute_overlaps


@pytest.fixture
def train(coco_folder):
    return CocoDataset.from_folder(coco_folder, "train")


def test_the_generator_goes_on_for_ever(train):
    generator = data_generator(train, config_for(), shuffle=False, augment=False)
    seen = []
    for _ in range(12):
        inputs, outputs = next(generator)
        assert len(inputs) == 6 and outputs == []
        assert inputs[0].shape == (1, 128, 128, 3)
        seen.append(int(inputs[1][0, 0]))
    assert seen == [0, 1, 2, 3, 4] * 2 + [0, 1]


def test_the_generator_mirrors_unless_told_not_to(train):
    def images(**settings):
        generator = data_generator(train, config_for(), shuffle=False, seed=1, **settings)
        return [next(generator)[0][0] for _ in range(20)]

    plain, mirrored = images(augment=False), images()
    flipped = [not np.array_equal(a, b) for a, b in zip(plain, mirrored)]
    assert 3 < sum(flipped) < 17
    for a, b, flip in zip(plain, mirrored, flipped):
        np.testing.assert_array_equal(b, a[:, :, ::-1] if flip else a)


def test_the_generators_detection_targets(train):
    config = config_for(TRAIN_ROIS_PER_IMAGE=30)
    generator = data_generator(train, config, shuffle=False, augment=False, random_rois=200,
                               batch_size=2, detection_targets=True, seed=2)
    inputs, (class_ids, deltas) = next(generator)
    assert [array.shape for array in inputs[6:]] == [(2, 200, 4), (2, 30, 4)]
    assert class_ids.shape == (2, 30, 1) and deltas.shape == (2, 30, 4, 4)
    for slot in range(2):
        objects = inputs[5][slot][inputs[4][slot] > 0].astype(float)
        kinds = inputs[4][slot][inputs[4][slot] > 0]
        overlaps = compute_overlaps(inputs[7][slot].astype(float), objects)
        positive = class_ids[slot, :, 0] > 0
        assert 0 < positive.sum() <= 9
        np.testing.assert_array_equal(class_ids[slot, positive, 0],
                                      kinds[overlaps[positive].argmax(axis=1)])
        assert (overlaps[positive].max(axis=1) >= 0.5).all()
        real = inputs[7][slot].any(axis=1)
        assert (overlaps[~positive & real].max(axis=1) < 0.5).all()
    with pytest.raises(ConfigError, match="needs random_rois"):
        data_generator(train, config, detection_targets=True)
