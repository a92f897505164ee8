"""Data sets that mean something else by a class or a gray level are refused where they are used."""

import numpy as np
import pytest
from model_tools import Rectangles, prefer_objects, small_config

from frcnn import runs
from frcnn.data.agreement import check_fits, check_same_classes
from frcnn.data.examples import load_image_gt
from frcnn.data.loader import DetectionSequence
from frcnn.errors import ConfigError, DatasetError
from frcnn.evaluate import detect_dataset, evaluate_model
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.training.trainer import make_sequences
from frcnn.weights.checkpoint import save_weights

SHAPES = [(128, 128), (96, 128), (120, 104)]
OPTIONS = {"learning_rate": 0.01, "epochs": 1, "layers": "all", "workers": 1, "verbose": 0}


class Renumbered(Rectangles):
    """The same pictures; red and green have exchanged their numbers."""

    def __init__(self, shapes):
        super().__init__(shapes)
        names = ["green", "red", "blue"]
        for info, name in zip(self.class_info[1:], names):
            info["name"] = name
        self.prepare()

    def load_boxes(self, image_id):
        boxes, class_ids = super().load_boxes(image_id)
        return boxes, np.array([0, 2, 1, 3], np.int32)[class_ids]


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return MaskRCNN("training", small_config(), tmp_path_factory.mktemp("logs"), seed=1)


def test_train_refuses_a_validation_set_with_other_numbers(training):
    with pytest.raises(DatasetError, match="training data set has the classes red, green, blue, "
                                           "but the data set has green, red, blue, in another ord"):
        training.train(Rectangles(SHAPES), Renumbered(SHAPES), **OPTIONS)
    assert training.epoch == 0


def test_a_trained_head_keeps_its_classes(training, tmp_path):
    path = tmp_path / "mask_rcnn_small_0000.h5"
    names = ["BG", "red", "green", "blue"]
    save_weights(training.keras_model, path)
    runs.save_metadata(path, training.config, names, [None, 1, 2, 3])
    training.load_weights(path)
    assert training.class_names == names
    with pytest.raises(DatasetError, match="The loaded checkpoint has the classes red, green"):
        training.train(Renumbered(SHAPES), None, **OPTIONS)
    training.load_weights(path, exclude=["mrcnn_class_logits", "mrcnn_bbox_fc"])
    assert training.class_names is None  # a new head may learn any classes

    detector = MaskRCNN("inference", training.config, tmp_path)
    detector.load_weights(path)
    prefer_objects(detector)
    for use in (detect_dataset, evaluate_model):
        with pytest.raises(DatasetError, match="The model has the classes red, green, blue"):
            use(detector, Renumbered(SHAPES), progress=False)
    assert len(detect_dataset(detector, Rectangles(SHAPES), progress=False)) == len(SHAPES)


def test_the_message_says_whether_it_is_the_order(training):
    data = Rectangles(SHAPES)
    check_same_classes(["BG", "red", "green", "blue"], data, "X", "")
    with pytest.raises(DatasetError, match=r"blue\. Y") as error:
        check_same_classes(["BG", "red"], data, "X", "Y")
    assert "order" not in str(error.value)


@pytest.mark.parametrize(("ours", "models"), [((0, 4095), None), (None, (0, 4095)),
                                              ((0, 1), (0, 2))])
def test_a_data_set_and_a_model_share_the_range_of_their_images(ours, models):
    data, config = Rectangles(SHAPES), small_config(IMAGE_INTENSITY_RANGE=models)
    data.intensity_range = ours
    for use in (check_fits, DetectionSequence, lambda *both: load_image_gt(*both, 0)):
        with pytest.raises(DatasetError, match="Set both to the same"):
            use(data, config)
    data.intensity_range = [float(side) for side in models or ()] or None
    check_fits(data, config)


@pytest.mark.parametrize("image", [np.zeros((64, 64, 3)), np.ones((64, 64, 3), bool),
                                   np.full((64, 64, 3), 9, np.uint16),
                                   np.full((64, 64, 3), np.nan, np.float32)],
                         ids=lambda image: str(image.dtype))
def test_detect_takes_8_bits(detecting, image):
    good = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=rf"Image 1 is an array of {image.dtype}.*uint8, 0 to 255"):
        detecting.detect([good, image])
    with pytest.raises(ValueError, match=rf"Image 0 is an array of {image.dtype}"):
        detecting.mold_inputs([image])
    (_, error) = detecting.detect_stream([good, lambda: image], return_exceptions=True)
    assert f"Image 1 is an array of {image.dtype}" in str(error)


def test_detect_converts_what_is_declared(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    detector = MaskRCNN("inference", small_config(IMAGE_INTENSITY_RANGE=(0, 1)), tmp_path, seed=1)
    prefer_objects(detector)
    as_bytes, as_floats = detector.detect([image, image / 255])
    assert len(as_bytes["scores"])
    np.testing.assert_array_equal(as_bytes["boxes"], as_floats["boxes"])
    with pytest.raises(ValueError, match=r"outside of its range 0 to 1"):
        detector.detect([image / 200])


def test_an_augmentation_must_return_8_bits():
    def to_floats(image, boxes, class_ids, rng):
        return image / 255, boxes, class_ids

    with pytest.raises(ConfigError, match=r"to_floats.* returned an image of float64; .* uint8"):
        load_image_gt(Rectangles(SHAPES), small_config(), 0, augmentation=to_floats)


# --- validation -----------------------------------------------------------------------------


def epochs(sequence, count):
    """The batches of some epochs, as Keras goes through them."""
    found = []
    for _ in range(count):
        sequence.on_epoch_begin()
        found.append([sequence[index][0] for index in range(len(sequence))])
        sequence.on_epoch_end()
    return found


def same(first, second):
    return all(np.array_equal(a[name], b[name]) for a, b in zip(first, second) for name in a)


@pytest.mark.parametrize("settings", [{}, {"VALIDATION_STEPS": 1}, {"USE_RPN_ROIS": False},
                                      {"MAX_GT_INSTANCES": 1}], ids=str)
@pytest.mark.filterwarnings("ignore:.*more than MAX_GT_INSTANCES")
def test_validation_is_the_same_in_each_epoch_and_each_run(settings):
    config = small_config(**settings)
    for seed in (3, None):
        batches, val = make_sequences(config, Rectangles(SHAPES), Rectangles(SHAPES), workers=1,
                                      seed=seed)
        first, second = epochs(val, 2)
        assert same(first, second)
        _, resumed = make_sequences(config, Rectangles(SHAPES), Rectangles(SHAPES), workers=2,
                                    seed=seed, first_epoch=7)
        assert same(first, epochs(resumed, 1)[0])
    first, second = epochs(batches, 2)
    assert not same(first, second)


def test_val_loss_depends_on_the_weights_alone(tmp_path):
    """With a learning rate near 0 the figures of validation stay as they are."""
    model = MaskRCNN("training", small_config(TRAIN_BN=False, TRAIN_ROIS_PER_IMAGE=6), tmp_path,
                     seed=1)
    model._weights_are_random = False
    data = Rectangles(SHAPES)
    model.train(data, data, 1e-30, 3, "heads", workers=1, verbose=0)
    assert len({round(value, 5) for value in model.history["val_loss"]}) == 1
    assert len({round(value, 5) for value in model.history["loss"]}) > 1  # training draws anew
