"""Training and detection with every resize mode, other channels, tiny, many and no objects."""

import warnings

import numpy as np
import pytest
from model_tools import small_config

from frcnn.data.augment import resolve
from frcnn.data.dataset import Dataset
from frcnn.model.mask_rcnn import MaskRCNN


class Drawn(Dataset):
    """Bright squares on gray, as many channels as asked for.

    Args:
        shapes: (height, width) of each image.
        boxes: of each image, `[N, 4]` pixels.
        channels: of the images.
    """

    def __init__(self, shapes, boxes, channels=3):
        super().__init__()
        self.boxes, self.image_channels = boxes, channels
        for class_id in (1, 2, 3):
            self.add_class("drawn", class_id, f"class {class_id}")
        for number, (height, width) in enumerate(shapes):
            self.add_image("drawn", number, None, height=height, width=width)
        self.prepare()

    def load_image(self, image_id):
        info = self.image_info[image_id]
        image = np.full((info["height"], info["width"], self.image_channels), 90, np.uint8)
        for y1, x1, y2, x2 in self.boxes[image_id]:
            image[y1:y2, x1:x2] = 220
        return image

    def load_boxes(self, image_id):
        boxes = np.float32(self.boxes[image_id]).reshape(-1, 4)
        return boxes, np.arange(len(boxes), dtype=np.int32) % 3 + 1


def tiny_config(**settings):
    return small_config(**{"IMAGE_MIN_DIM": 64, "TOP_DOWN_PYRAMID_SIZE": 8,
                           "FPN_CLASSIF_FC_LAYERS_SIZE": 8, **settings})


def train_once(dataset, config, folder, val_dataset=None, **options):
    """Trains an epoch; returns the model. Every loss and every weight must stay finite."""
    model = MaskRCNN("training", config, str(folder), seed=1)
    before = [np.array(weight) for weight in model.keras_model.trainable_weights]
    model.train(dataset, val_dataset, learning_rate=0.01, epochs=1, layers="all", verbose=0,
                workers=1, **options)
    assert np.isfinite([values[0] for values in model.history.values()]).all()
    after = [np.array(weight) for weight in model.keras_model.trainable_weights]
    assert all(np.isfinite(weight).all() for weight in after)
    assert any((one != other).any() for one, other in zip(before, after))
    return model


def detect(trained, images):
    """Detects with a trained model's weights; boxes must lie in each image's own pixels."""
    model = MaskRCNN("inference", trained.config, trained.model_dir)
    model.load_weights(trained.last_checkpoint)
    results = model.detect(images)
    assert len(results) == len(images)
    for image, result in zip(images, results):
        boxes = result["boxes"]
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= image.shape[:2]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert len(boxes) == len(result["scores"]) == len(result["class_ids"])
    return results


SQUARES = [[20, 30, 50, 60], [5, 70, 30, 90]]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "sizes", "min_scale"), [
    ("none", [(70, 101), (64, 128)], 0),
    ("square", [(70, 100), (100, 50)], 1.2),
    ("pad64", [(70, 150), (70, 100)], 1.5),
    ("fit64", [(70, 150), (70, 100)], 1.5),
    ("crop", [(70, 150), (90, 100)], 1.5),
])
def test_every_resize_mode_trains_and_detects(mode, sizes, min_scale, tmp_path):
    config = tiny_config(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_SCALE=min_scale)
    dataset = Drawn(sizes, [SQUARES, SQUARES[:1]])
    trained = train_once(dataset, config, tmp_path, augmentation="microscopy", seed=0)
    detect(trained, [dataset.load_image(0), dataset.load_image(1)])


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_train_and_detect(channels, tmp_path):
    """And on the way: what is augmented is the training's images, never the validation's."""
    config = tiny_config(IMAGE_CHANNEL_COUNT=channels, MEAN_PIXEL=[100.0] * channels)
    dataset = Drawn([(70, 100), (100, 50)], [SQUARES, SQUARES[:1]], channels)
    validation = Drawn([(80, 90)], [SQUARES[1:]], channels)
    seen = []

    def noted(image, boxes, class_ids, rng):
        seen.append(image.shape[:2])
        return resolve("microscopy")(image, boxes, class_ids, rng)

    trained = train_once(dataset, config, tmp_path, validation, augmentation=noted, seed=0)
    assert set(seen) == {(70, 100), (100, 50)} and "val_loss" in trained.history
    assert trained.keras_model.get_layer("small1_conv").kernel.shape[2] == channels
    detect(trained, [dataset.load_image(0)])


def test_a_thousand_objects_of_four_pixels_and_none_at_all_train(tmp_path):
    """One image has 1,000 objects, of which MAX_GT_INSTANCES are drawn; the other has none."""
    grid = [[y, x, y + 4, x + 4] for y in range(0, 125, 5) for x in range(0, 200, 5)]
    assert len(grid) == 1000
    config = tiny_config(IMAGE_RESIZE_MODE="pad64", RPN_ANCHOR_SCALES=(4, 8, 16, 32, 64),
                         MAX_GT_INSTANCES=300)
    dataset = Drawn([(128, 200), (128, 200)], [grid, []])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = train_once(dataset, config, tmp_path)
    messages = [str(warning.message) for warning in caught]
    assert any("drawn.0 has 1000 objects, more than MAX_GT_INSTANCES; 300 of them" in message
               for message in messages)
    assert all(trained.history[name][0] > 0 for name in ("rpn_class_loss", "rpn_bbox_loss"))
