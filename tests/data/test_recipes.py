"""The data recipes in the loader: off by default, for training only, functions of the seed."""

import numpy as np
import pytest
from loader_tools import Blank, config_for, flat, image_ids, run_epoch

from frcnn.config import Config
from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.data.generator import data_generator
from frcnn.data.loader import DetectionSequence
from frcnn.data.repeat import repeat_factors
from frcnn.training.trainer import make_sequences

ON = {"REPEAT_THRESHOLD": 1.0, "PASTE_OBJECTS": 2.0, "MULTI_SCALE": (0.6, 1.4),
      "CROP_OBJECTS": 0.3}
CHANGING = {name: value for name, value in ON.items() if name != "REPEAT_THRESHOLD"}


@pytest.fixture
def train(coco_folder):
    return CocoDataset.from_folder(coco_folder, "train")


def batches(sequence):
    return [sequence[index][0] for index in range(len(sequence))]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected):
        assert batch.keys() == other.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


def differ(found, expected):
    return any(not np.array_equal(one["input_image"], other["input_image"])
               for one, other in zip(found, expected))


# --- off ------------------------------------------------------------------------------------


def test_all_are_off_by_default():
    off = Config()
    assert (off.REPEAT_THRESHOLD, off.PASTE_OBJECTS, off.MULTI_SCALE, off.CROP_OBJECTS) \
        == (0.0, 0.0, None, 0.0)


@pytest.mark.parametrize("mode", ["square", "fit64", "crop"])
def test_with_all_off_training_has_the_batches_it_always_had(train, mode):
    """Those of a sequence that knows of no recipes, whose batches other tests fix."""
    config = config_for(IMAGE_RESIZE_MODE=mode)
    settings = {"seed": 3, "augmentation": "microscopy", "random_rois": 4}
    with_them = DetectionSequence(train, config, recipes=True, **settings)
    without = DetectionSequence(train, config, **settings)
    for _ in range(2):
        assert_same(batches(with_them), batches(without))
        run_epoch(with_them)
        run_epoch(without)


def test_what_is_not_training_is_not_changed(train):
    plain = batches(DetectionSequence(train, config_for(), shuffle=False, seed=1))
    assert_same(batches(DetectionSequence(train, config_for(**ON), shuffle=False, seed=1)), plain)
    _, val = make_sequences(config_for(**ON), train, train, seed=1, workers=1)
    assert_same(batches(val), plain)
    for (inputs, _), (other, _), _ in zip(
            data_generator(train, config_for(), seed=2, augment=False),
            data_generator(train, config_for(**ON), seed=2, augment=False), range(5)):
        np.testing.assert_array_equal(inputs[0], other[0])


@pytest.mark.parametrize(("name", "value"), ON.items())
def test_training_applies_every_one_of_them(train, name, value):
    config = config_for(**{name: value})
    changed, _ = make_sequences(config, train, None, seed=1, workers=1)
    usual, _ = make_sequences(config_for(), train, None, seed=1, workers=1)
    assert differ(batches(changed), batches(usual))
    generated = [inputs[0] for (inputs, _), _ in zip(
        data_generator(train, config, seed=1, augment=False, recipes=True), range(5))]
    plain = [inputs[0] for (inputs, _), _ in zip(
        data_generator(train, config_for(), seed=1, augment=False), range(5))]
    assert any(not np.array_equal(one, other) for one, other in zip(generated, plain))


# --- order ----------------------------------------------------------------------------------


class Rare(Dataset):
    """Twenty images with class 1, of which the first also has class 2."""

    def __init__(self):
        super().__init__()
        for number in (1, 2):
            self.add_class("rare", number, str(number))
        for number in range(20):
            self.add_image("rare", number, None, height=64, width=64)
        self.prepare()

    def load_image(self, image_id):
        return np.full((64, 64, 3), image_id, np.uint8)

    def load_boxes(self, image_id):
        boxes = np.float32([[5, 5, 20, 20], [30, 30, 50, 50]])
        return (boxes, np.int32([1, 2])) if image_id == 0 else (boxes[:1], np.int32([1]))


@pytest.mark.parametrize("steps", [None, 3])
def test_epochs_are_as_long_as_ever_with_rare_images_more_often(steps):
    dataset = Rare()
    settings = {"seed": 5, "batch_size": 4, "steps": steps}
    sequence = DetectionSequence(dataset, config_for(REPEAT_THRESHOLD=0.8), recipes=True,
                                 **settings)
    plain = DetectionSequence(dataset, config_for(), **settings)
    seen, epochs = [], 60
    for _ in range(epochs):
        assert len(sequence) == len(plain)
        seen += flat(run_epoch(sequence))
    # √(0.8 / 0.05) = 4, and the other 19 have 1: 4 · 20 / 23 in every 20 images.
    share = seen.count(0) / len(seen)
    assert share == pytest.approx(4 / 23, abs=0.02)
    assert set(seen) == set(range(20))


def test_the_order_is_a_function_of_seed_and_epoch():
    config = config_for(REPEAT_THRESHOLD=0.8)
    one = DetectionSequence(Rare(), config, seed=5, recipes=True)
    orders = [one.image_order(epoch).tolist() for epoch in range(4)]
    other = DetectionSequence(Rare(), config, seed=5, recipes=True)
    assert [other.image_order(epoch).tolist() for epoch in (3, 0, 2, 1)] \
        == [orders[epoch] for epoch in (3, 0, 2, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert DetectionSequence(Rare(), config, seed=6,
                             recipes=True).image_order(0).tolist() != orders[0]


def test_without_shuffling_nothing_is_repeated():
    sequence = DetectionSequence(Rare(), config_for(REPEAT_THRESHOLD=1.0), shuffle=False,
                                 recipes=True, batch_size=4)
    assert flat(image_ids(sequence)) == list(range(20))


def test_a_threshold_below_all_shares_changes_no_factor():
    factors = repeat_factors([Rare().load_boxes(number)[1] for number in range(20)], 0.05)
    np.testing.assert_array_equal(factors, 1)


# --- images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["square", "pad64", "fit64", "none", "crop"])
def test_shapes_are_the_same_in_every_batch(mode):
    """Images of several sizes, as large and as small as the recipes make them."""
    shapes = [(100, 128), (64, 80), (128, 90), (128, 128)]
    dataset = Blank(shapes, [np.float32([[20, 20, 40, 50]])] * 4)
    plain = DetectionSequence(dataset, config_for(IMAGE_RESIZE_MODE=mode))
    for settings in ({"MULTI_SCALE": (0.3, 3.0)}, {"CROP_OBJECTS": 1.0}, ON):
        sequence = DetectionSequence(dataset, config_for(IMAGE_RESIZE_MODE=mode, **settings),
                                     seed=2, recipes=True, augmentation="flips")
        assert sequence.image_shape == plain.image_shape
        for _ in range(4):
            for batch in batches(sequence):
                assert {name: array.shape for name, array in batch.items()} \
                    == {name: array.shape for name, array in plain[0][0].items()}
                boxes = batch["input_gt_boxes"]
                assert boxes.min() >= 0 and (boxes <= [*plain.image_shape[:2]] * 2).all()
                window = batch["input_image_meta"][:, 7:11]
                assert (window[:, 2:] <= plain.image_shape[:2]).all() and (window >= 0).all()
            run_epoch(sequence)


@pytest.mark.parametrize(("steps", "augmentation"), [(None, "flips"), (2, "microscopy")])
def test_equal_seeds_give_equal_batches_in_any_order_and_number_of_threads(
        train, steps, augmentation):
    settings = {"seed": 21, "augmentation": augmentation, "steps": steps, "recipes": True}
    first = DetectionSequence(train, config_for(**ON), **settings)
    run_epoch(first)
    expected = batches(first)
    resumed = DetectionSequence(train, config_for(**ON), initial_epoch=1, **settings)
    for index in reversed(range(len(resumed))):
        assert_same([resumed[index][0]], [expected[index]])
    threaded = DetectionSequence(train, config_for(**ON), initial_epoch=1, workers=3, **settings)
    assert_same(batches(threaded), expected)
    assert differ(batches(DetectionSequence(train, config_for(**ON), initial_epoch=1,
                                            **{**settings, "seed": 22})), expected)


def test_sources_without_augmentation_are_repeated_but_not_changed(train):
    settings = {"seed": 4, "recipes": True, "no_augmentation_sources": ["coco"]}
    assert train.sources == ["", "coco"]
    plain = DetectionSequence(train, config_for(), seed=4)
    assert_same(batches(DetectionSequence(train, config_for(**CHANGING), **settings)),
                batches(plain))
    repeated = DetectionSequence(train, config_for(**ON), **settings)
    assert (repeated.image_order(0) != plain.image_order(0)).any()


def test_boxes_of_a_batch_are_on_the_objects(train):
    """The pixel in the middle of each box has the color of its class, whatever was done."""
    colors = np.array([[220, 40, 40], [40, 200, 60], [50, 80, 230]])  # square, bar, slab
    names = ["square", "bar", "slab"]
    order = [names.index(name) for name in train.class_names[1:]]
    config = config_for(**ON)
    sequence = DetectionSequence(train, config, seed=9, recipes=True, augmentation="flips")
    checked = 0
    for _ in range(10):
        for batch in batches(sequence):
            for image, class_ids, boxes in zip(batch["input_image"], batch["input_gt_class_ids"],
                                               batch["input_gt_boxes"]):
                for class_id, box in zip(class_ids, boxes):
                    if class_id > 0:
                        y, x = ((box[:2] + box[2:]) / 2).astype(int)
                        np.testing.assert_allclose(image[y, x] + config.MEAN_PIXEL,
                                                   colors[order[class_id - 1]], atol=2)
                        checked += 1
        run_epoch(sequence)
    assert checked > 100
