"""Transforms of other libraries as augmentation.

The libraries need not be installed: stand-ins with their names are used where they are not.
"""

import random
import sys
import types

import numpy as np
import pytest

from frcnn.data.augment import compose, resolve
from frcnn.data.augment_foreign import AlbumentationsTransform
from frcnn.errors import ConfigError

IMAGE = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
BOXES = np.array([[4, 10, 20, 30], [8, 30, 36, 58]], np.float32)
CLASS_IDS = np.array([2, -1], np.int32)
MIRRORED = np.array([[4, 30, 20, 50], [8, 2, 36, 30]], np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


# --- imgaug -------------------------------------------------------------------------------------


def augmenter(name, children=None, **attributes):
    """An instance of a class of imgaug."""
    kind = type(name, (list,) if children is not None else (), {
        "__module__": "imgaug.augmenters.meta", "__call__": lambda self, **_: None})
    made = kind(children) if children is not None else kind()
    vars(made).update(attributes)
    return made


@pytest.mark.parametrize("given, told", [
    (augmenter("Fliplr"), "(Fliplr), which is no longer maintained and fails with NumPy 2. Write "
     "augmentation='flip', one of the presets, or augmentation=keras.layers.RandomFlip("
     '"horizontal", bounding_box_format="xyxy").'),
    (augmenter("SomeOf", [augmenter("Fliplr"), augmenter("Flipud")]), "augmentation='flips'"),
    (augmenter("Sequential", [augmenter("Sometimes", then_list=[augmenter("Affine")]),
                              augmenter("OneOf", [augmenter("Multiply"), augmenter("Affine")])]),
     "(Affine, Multiply), which"),
    (augmenter("Sequential", [augmenter("Affine"), augmenter("GaussianBlur")]),
     'or augmentation=keras.layers.Pipeline([keras.layers.RandomRotation(0.1, bounding_box_format='
     '"xyxy"), keras.layers.RandomGaussianBlur(factor=0.5, bounding_box_format="xyxy")]).'),
    ([augmenter("Fliplr")], "(Fliplr), which is no longer maintained"),
    ([augmenter("Fliplr"), augmenter("SomeOf", [augmenter("Flipud")])], "augmentation='flips'"),
    ((augmenter("Affine"), [augmenter("Flipud")]), "(Affine, Flipud), which"),
    (augmenter("Sequential", []), "(empty), which"),
    (augmenter("Cartoon"), "augmentation='microscopy', one of the presets."),
])
def test_imgaug_is_recognized_before_training(given, told):
    with pytest.raises(ConfigError, match="augmentation is an augmenter of imgaug") as caught:
        resolve(given)
    assert told in str(caught.value)


def test_other_lists_are_no_augmenters_of_imgaug():
    for given in ([], [np.fliplr], ["flip"], ()):
        with pytest.raises(ConfigError, match="allowed are None, one of the presets"):
            resolve(given)


def test_the_keras_layers_it_names_exist():
    import keras

    from frcnn.data.augment_foreign import _KERAS_LAYERS

    for text in set(_KERAS_LAYERS.values()):
        layer = eval(f'keras.layers.{text}, bounding_box_format="xyxy")', {"keras": keras})
        _, boxes, class_ids = resolve(layer)(IMAGE, BOXES, CLASS_IDS, rng())
        assert len(boxes) == len(class_ids)


# --- Albumentations -----------------------------------------------------------------------------


class Flip:
    """As a transform of Albumentations, on what its Compose passes on."""

    __module__ = "albumentations.augmentations.flips"
    p = 0.5

    def apply(self, image, boxes):
        width = image.shape[1]
        return image[:, ::-1], [[width - x2, y1, width - x1, y2] for x1, y1, x2, y2 in boxes]


class Transpose(Flip):
    def apply(self, image, boxes):
        return image.transpose(1, 0, 2), [[y1, x1, y2, x2] for x1, y1, x2, y2 in boxes]


class BboxParams:
    def __init__(self, format, label_fields, min_area=0.0, min_visibility=0.0):
        self.format, self.label_fields = format, label_fields
        self.min_area, self.min_visibility = min_area, min_visibility


class OldCompose:
    """Albumentations' Compose of before 1.4.19: random numbers are Python's."""

    __module__ = "albumentations.core.composition"

    def __init__(self, transforms, bbox_params=None, p=1.0):
        self.transforms, self.bbox_params, self.p = transforms, bbox_params, p
        self.processors = {"bboxes": types.SimpleNamespace(params=bbox_params)} \
            if bbox_params else {}

    def chance(self):
        return random.random()

    def __call__(self, image, bboxes, numbers):
        assert self.bbox_params.format == "pascal_voc" and isinstance(bboxes, list)
        for transform in self.transforms:
            if self.chance() < transform.p:
                image, bboxes = transform.apply(image, bboxes)
        kept = [i for i, (x1, y1, x2, y2) in enumerate(bboxes)
                if (x2 - x1) * (y2 - y1) >= self.bbox_params.min_area]
        bboxes, numbers = [bboxes[i] for i in kept], [numbers[i] for i in kept]
        return {"image": image, "bboxes": bboxes, "numbers": numbers}


class Compose(OldCompose):
    def set_random_seed(self, seed):
        self.chance = np.random.default_rng(seed).random


@pytest.fixture(params=[Compose, OldCompose], ids=["seeded", "global"])
def albumentations(request, monkeypatch):
    module = types.ModuleType("albumentations")
    module.Compose, module.BboxParams = request.param, BboxParams
    monkeypatch.setitem(sys.modules, "albumentations", module)
    return module


def test_a_transform_of_albumentations(albumentations):
    for given in (Flip(), albumentations.Compose([Flip()])):
        augmentation = resolve(given)
        assert isinstance(augmentation, AlbumentationsTransform) and not augmentation.turns
        flipped = 0
        for seed in range(20):
            state = random.getstate()
            image, boxes, class_ids = augmentation(IMAGE, BOXES, CLASS_IDS, rng(seed))
            again = augmentation(IMAGE, BOXES, CLASS_IDS, rng(seed))
            assert (image == again[0]).all() and (boxes == again[1]).all()
            assert random.getstate() == state
            is_mirrored = (image == IMAGE[:, ::-1]).all()
            flipped += is_mirrored
            np.testing.assert_array_equal(boxes, MIRRORED if is_mirrored else BOXES)
            assert boxes.dtype == np.float32 and (class_ids == CLASS_IDS).all()
        assert 3 < flipped < 17


def test_limits_of_albumentations(albumentations):
    """Of the user's own bbox_params; BOXES have 320 and 784 pixels."""
    for least, left in ((0, 2), (320, 2), (321, 1), (785, 0)):
        params = BboxParams("coco", ["labels"], min_area=least, min_visibility=0.25)
        augmentation = resolve(albumentations.Compose([Flip()], bbox_params=params))
        _, boxes, class_ids = augmentation(IMAGE, BOXES, CLASS_IDS, rng())
        assert len(boxes) == left and class_ids.tolist() == CLASS_IDS[2 - left:].tolist()
        assert augmentation.compose.bbox_params.min_visibility == 0.25
    assert resolve(albumentations.Compose([Flip()])).compose.bbox_params.min_area == 0


def test_turns_of_albumentations(albumentations):
    augmentation = compose(albumentations.Compose([Flip(), Transpose()]))
    assert augmentation.turns
    image, boxes, _ = resolve(Transpose())(IMAGE, BOXES, CLASS_IDS, rng(1))
    assert image.shape in ((40, 60, 3), (60, 40, 3)) and boxes.shape == (2, 4)


def test_boxes_at_the_edge_and_none(albumentations):
    augmentation = resolve(Flip())
    wide = np.array([[-3, 50, 44, 70]], np.float32)
    assert augmentation(IMAGE, wide, CLASS_IDS[:1], rng())[1].tolist() in (
        [[0, 50, 40, 60]], [[0, 0, 40, 10]])
    image, boxes, class_ids = augmentation(IMAGE, BOXES[:0], CLASS_IDS[:0], rng())
    assert image.shape == IMAGE.shape and boxes.shape == (0, 4) and class_ids.shape == (0,)


def test_the_real_albumentations():
    real = pytest.importorskip("albumentations")
    flip, flipped = resolve(real.HorizontalFlip(p=0.5)), 0
    for seed in range(20):
        image, boxes, class_ids = flip(IMAGE, BOXES, CLASS_IDS, rng(seed))
        is_mirrored = (image == IMAGE[:, ::-1]).all()
        flipped += is_mirrored
        np.testing.assert_allclose(boxes, MIRRORED if is_mirrored else BOXES, atol=1e-4)
        assert (class_ids == CLASS_IDS).all()
    assert 3 < flipped < 17
    # of BOXES 90 of 320 and 10 of 784 pixels are inside of it
    crop = real.Crop(x_min=15, y_min=0, x_max=35, y_max=10)
    for least, left in ((0, 2), (0.1, 1), (0.5, 0)):
        params = real.BboxParams("coco", ["labels"], min_visibility=least)
        augmentation = resolve(real.Compose([crop], bbox_params=params))
        _, boxes, class_ids = augmentation(IMAGE, BOXES, CLASS_IDS, rng())
        assert len(boxes) == left and class_ids.tolist() == CLASS_IDS[:left].tolist()
    augmentation = resolve(real.Compose([real.RandomCrop(30, 20), real.RandomBrightnessContrast()]))
    image, boxes, class_ids = augmentation(IMAGE, BOXES, CLASS_IDS, rng())
    assert image.shape == (30, 20, 3) and len(boxes) == len(class_ids)
    same = augmentation(IMAGE, BOXES, CLASS_IDS, rng())
    assert (image == same[0]).all() and (boxes == same[1]).all()


# --- torchvision --------------------------------------------------------------------------------


def test_the_first_version_of_torchvision():
    flip = type("RandomHorizontalFlip", (), {"__module__": "torchvision.transforms.transforms",
                                             "__call__": lambda self, image: image})
    with pytest.raises(ConfigError, match=r"RandomHorizontalFlip of torchvision\.transforms, which "
                                          r"transforms no boxes; take that of .*\.v2"):
        resolve(flip())


def test_the_real_torchvision():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    augmentation = resolve(v2.RandomHorizontalFlip(0.5))
    flipped = 0
    for seed in range(20):
        image, boxes, class_ids = augmentation(IMAGE, BOXES, CLASS_IDS, rng(seed))
        is_mirrored = (image == IMAGE[:, ::-1]).all()
        flipped += is_mirrored
        np.testing.assert_array_equal(boxes, MIRRORED if is_mirrored else BOXES)
        assert (class_ids == CLASS_IDS).all() and image.dtype == np.uint8
    assert 3 < flipped < 17
    cropped = resolve(v2.Compose([v2.RandomCrop((20, 20)), v2.ColorJitter(0.5),
                                  v2.SanitizeBoundingBoxes()]))
    image, boxes, class_ids = cropped(IMAGE, BOXES, CLASS_IDS, rng())
    assert image.shape == (20, 20, 3) and len(boxes) == len(class_ids)
    again = cropped(IMAGE, BOXES, CLASS_IDS, rng())
    assert (image == again[0]).all() and (boxes == again[1]).all()
