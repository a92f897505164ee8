"""One example: boxes stay on their pixels through augmentation, every resize mode and padding."""

import numpy as np
import pytest
from PIL import Image

from frcnn.config import Config
from frcnn.data.augment_ops import to_array, to_planes, turn
from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.data.examples import common_canvas, load_image_gt
from frcnn.data.image_meta import parse_image_meta
from frcnn.data.resize import resize_image
from frcnn.errors import ConfigError, DatasetError, ImageError


class Drawn(Dataset):
    """Images drawn on the fly: black, with up to three objects in channels of their own."""

    def __init__(self, shape, boxes, class_ids=None, classes=3, **info):
        super().__init__()
        self.shape, self.boxes = shape, np.float32(boxes).reshape(-1, 4)
        self.ids = np.ones(len(self.boxes), np.int32) if class_ids is None else class_ids
        for number in range(1, classes + 1):
            self.add_class("drawn", number, f"class {number}")
        self.add_image("drawn", 0, "drawn.png", **info)
        self.prepare()

    def load_image(self, image_id):
        image = np.zeros((*self.shape, 3), np.uint8)
        for channel, (y1, x1, y2, x2) in enumerate(np.nan_to_num(self.boxes[:3]).astype(int)):
            image[y1:y2, x1:x2, channel] = 200
        return image

    def load_boxes(self, image_id):
        return self.boxes, self.ids


def config_for(mode="square", low=64, high=128, **settings):
    return Config(NUM_CLASSES=4, IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=low, IMAGE_MAX_DIM=high,
                  **settings)


BOXES = [[10, 20, 40, 60], [45, 5, 75, 35], [50, 70, 78, 118]]


def assert_on_pixels(image, boxes):
    """Each box covers what is bright in its object's channel."""
    for channel, box in enumerate(boxes):
        rows, columns = np.nonzero(image[..., channel] > 100)
        seen = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        np.testing.assert_allclose(box, seen, atol=0.75)


# --- what is returned -----------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "low", "high", "scale", "shape"), [
    ("square", 64, 128, 1, (128, 128)),
    ("square", 64, 64, 64 / 120, (64, 64)),
    ("square", 160, 192, 192 / 120, (192, 192)),
    ("none", 64, 128, 1, (80, 120)),
    ("pad64", 64, 128, 1, (128, 128)),
    ("pad64", 128, 128, 1.6, (128, 192)),
])
@pytest.mark.parametrize("augmentation", [None, "flip", "turns"])
def test_boxes_lie_on_their_pixels(mode, low, high, scale, shape, augmentation):
    dataset = Drawn((80, 120), BOXES)
    config = config_for(mode, low, high)
    augmentation = exact_turns if augmentation == "turns" else augmentation
    for seed in range(4):
        image, meta, class_ids, boxes = load_image_gt(dataset, config, 0,
                                                      augmentation=augmentation, rng=seed)
        assert_on_pixels(image, boxes)
        assert image.dtype == np.uint8 and boxes.dtype == np.float32
        assert class_ids.tolist() == [1, 1, 1] and class_ids.dtype == np.int32
        parts = {name: value[0] for name, value in parse_image_meta(meta[None]).items()}
        assert image.shape == tuple(parts["image_shape"])
        assert sorted(image.shape[:2]) == sorted(shape)
        assert parts["scale"] == pytest.approx(scale)
        top, left, bottom, right = parts["window"]
        assert not image[:top].any() and not image[bottom:].any()
        assert not image[:, :left].any() and not image[:, right:].any()


def exact_turns(image, boxes, class_ids, rng):
    """The eight positions of the microscopy preset, and nothing else of it."""
    planes, boxes = turn(to_planes(image), boxes, rng.random() < 0.5, rng.integers(4))
    return to_array(planes), boxes, class_ids


def test_the_microscopy_preset_keeps_boxes_on_objects_and_crowds_crowds():
    """Objects are large pure colors, which the change of hue leaves apart."""
    dataset = Drawn((80, 120), BOXES, np.array([1, -2, 3], np.int32))
    counts = set()
    for seed in range(30):
        image, _, class_ids, boxes = load_image_gt(dataset, config_for(), 0,
                                                   augmentation="microscopy", rng=seed)
        assert image.shape == (128, 128, 3) and set(class_ids) <= {1, -2, 3}
        assert (boxes >= 0).all() and (boxes <= 128).all()
        counts.add(len(boxes))
        for class_id, box in zip(class_ids, boxes):
            own = image[..., abs(class_id) - 1].astype(int)
            seen = own - np.delete(image, abs(class_id) - 1, axis=2).max(axis=2) > 60
            rows, columns = np.nonzero(seen)
            np.testing.assert_allclose(box, [rows.min(), columns.min(), rows.max() + 1,
                                             columns.max() + 1], atol=2)
    assert counts >= {3}


def test_boxes_are_scaled_by_what_each_side_really_was():
    """101x33 pixels shrink to 64x21: 33 * 64 / 101 is 20.9, rounded, so the sides differ."""
    dataset = Drawn((101, 33), [[0, 0, 101, 33], [50.5, 0, 101, 16.5]])
    _, meta, _, boxes = load_image_gt(dataset, config_for(low=64, high=64), 0)
    window = parse_image_meta(meta[None])["window"][0]
    assert (window[2] - window[0], window[3] - window[1]) == (64, 21)
    np.testing.assert_allclose(boxes[0], window)
    np.testing.assert_allclose(boxes[1], [32, window[1], 64, window[1] + 10.5])


def test_the_image_is_what_resize_image_makes_of_it():
    dataset = Drawn((80, 120), BOXES)
    image = load_image_gt(dataset, config_for(low=160, high=192), 0)[0]
    expected = resize_image(dataset.load_image(0), 160, 192, padding=True)[0]
    np.testing.assert_array_equal(image, expected)


def test_the_flip_of_augment_is_by_chance_and_by_seed():
    dataset, config = Drawn((80, 120), BOXES), config_for()
    plain = load_image_gt(dataset, config, 0)
    flips = 0
    for seed in range(40):
        image, _, _, boxes = load_image_gt(dataset, config, 0, augment=True, rng=seed)
        again = load_image_gt(dataset, config, 0, True, rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(image, again[0])
        flipped = not np.array_equal(image, plain[0])
        flips += flipped
        np.testing.assert_array_equal(image, plain[0][:, ::-1] if flipped else plain[0])
        x1, x2 = boxes[:, 1], boxes[:, 3]
        mirrored = np.stack([boxes[:, 0], 128 - x2, boxes[:, 2], 128 - x1], 1)
        np.testing.assert_allclose(mirrored if flipped else boxes, plain[3])
    assert 10 < flips < 30


# --- the mode "crop" ------------------------------------------------------------------------


def test_a_crop_moves_cuts_and_drops_boxes():
    dataset = Drawn((80, 120), BOXES, np.array([1, -2, 3], np.int32))
    config = config_for("crop", 64, 128)
    counts = set()
    for seed in range(30):
        image, meta, class_ids, boxes = load_image_gt(dataset, config, 0, rng=seed)
        assert image.shape == (64, 64, 3)
        assert parse_image_meta(meta[None])["window"][0].tolist() == [0, 0, 64, 64]
        counts.add(len(boxes))
        for channel, class_id in enumerate((1, -2, 3)):
            seen = image[..., channel] > 0
            if class_id in class_ids:
                y1, x1, y2, x2 = boxes[class_ids.tolist().index(class_id)].astype(int)
                assert seen[y1:y2, x1:x2].all() and seen.sum() == (y2 - y1) * (x2 - x1)
            else:  # gone, but for less than a quarter; of a crowd nothing may be left
                whole = {1: 30 * 40, -2: 0, 3: 28 * 48}[class_id]
                assert seen.sum() <= 0.25 * whole
    assert len(counts) > 1


def test_a_crop_is_the_same_for_the_same_seed():
    dataset, config = Drawn((80, 120), BOXES), config_for("crop", 64, 128)
    images = [load_image_gt(dataset, config, 0, rng=5)[0] for _ in range(2)]
    np.testing.assert_array_equal(*images)


# --- meta -----------------------------------------------------------------------------------


def test_active_classes_are_those_of_the_images_source(coco_folder):
    dataset = CocoDataset()
    dataset.load_coco(coco_folder, "val")
    dataset.load_coco(coco_folder, "train", source="other")
    dataset.prepare()
    config = Config(NUM_CLASSES=9, IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=128)
    for image_id, active in ((0, [1, 1, 1, 1, 0, 0, 0, 0, 0]), (5, [1, 0, 0, 0, 1, 1, 1, 0, 0])):
        meta = load_image_gt(dataset, config, image_id)[1]
        assert meta.shape == (config.IMAGE_META_SIZE,)
        parts = parse_image_meta(meta[None])
        assert parts["active_class_ids"][0].tolist() == active
        assert parts["image_id"][0] == image_id
        assert parts["original_image_shape"][0].tolist() == [96, 128, 3]


# --- images and boxes that are odd ----------------------------------------------------------


def test_no_objects():
    _, _, class_ids, boxes = load_image_gt(Drawn((80, 120), []), config_for(), 0, augment=True)
    assert boxes.shape == (0, 4) and boxes.dtype == np.float32
    assert class_ids.shape == (0,) and class_ids.dtype == np.int32


def test_boxes_beyond_the_image_are_cut_and_empty_ones_dropped():
    dataset = Drawn((80, 120), [[-5, -5, 20, 200], [9, 9, 9, 30], [90, 0, 99, 9], [1, 2, 3, 4]])
    with pytest.warns(UserWarning, match=r"drawn\.png: 2 boxes are empty or outside"):
        boxes = load_image_gt(dataset, config_for("none"), 0)[3]
    assert boxes.tolist() == [[0, 0, 20, 120], [1, 2, 3, 4]]


def test_a_declared_size_that_is_wrong_is_a_warning():
    dataset = Drawn((80, 120), BOXES, width=80, height=120)
    with pytest.warns(UserWarning, match=r"drawn\.png has 120x80 pixels, but 80x120 are declared"):
        load_image_gt(dataset, config_for(), 0)


def test_gray_images_for_one_channel(tmp_path):
    Image.new("L", (100, 80), 7).save(tmp_path / "gray.png")
    dataset = Dataset()
    dataset.add_class("s", 1, "a")
    dataset.add_image("s", 0, tmp_path / "gray.png")
    dataset.prepare()
    dataset.load_boxes = lambda image_id: (np.zeros((0, 4)), np.zeros(0))
    config = config_for(IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=np.array([100.0]))
    with pytest.raises(DatasetError, match=r"gray\.png is loaded with the shape \(80, 100, 3\), "
                                           "but IMAGE_CHANNEL_COUNT is 1"):
        load_image_gt(dataset, config, 0)
    dataset.image_channels = 1
    assert load_image_gt(dataset, config, 0)[0].shape == (128, 128, 1)


@pytest.mark.parametrize(("boxes", "class_ids", "message"), [
    ([[1, 2, 3, 4]], [1, 2], r"drawn\.png has 1 boxes and 2 class ids"),
    ([[1, 2, np.nan, 4]], [1], r"drawn\.png has a box that is not finite"),
    ([[1, 2, 3, 4]], [0], r"drawn\.png has an object of the class 0; allowed are 1 to 3"),
    ([[1, 2, 3, 4]], [-4], "object of the class -4"),
])
def test_boxes_that_cannot_be_used_are_errors(boxes, class_ids, message):
    dataset = Drawn((80, 120), [])
    dataset.boxes, dataset.ids = np.float32(boxes), np.array(class_ids)
    with pytest.raises(DatasetError, match=message):
        load_image_gt(dataset, config_for(), 0)


def test_more_classes_than_the_model_has():
    with pytest.raises(DatasetError, match=r"has 6 classes, .* NUM_CLASSES is 4; set it to 6"):
        load_image_gt(Drawn((80, 120), [], classes=5), config_for(), 0)


def test_an_unreadable_image_is_named(coco_folder):
    dataset = CocoDataset.from_folder(coco_folder, "val")
    (coco_folder / "val" / "val_1.png").write_bytes(b"rubbish")
    with pytest.raises(ImageError, match=r"val_1\.png"):
        load_image_gt(dataset, config_for(), 1)


def test_augmentations_of_ones_own():
    dataset = Drawn((80, 120), BOXES)

    def shift(image, boxes, class_ids, rng):
        return np.roll(image, 30, axis=1), boxes + np.float32([0, 30, 0, 30]), class_ids

    boxes = load_image_gt(dataset, config_for("none"), 0, augmentation=shift)[3]
    # The third box has 20 of its 48 columns left; it is cut at the edge.
    assert boxes.tolist() == [[10, 50, 40, 90], [45, 35, 75, 65], [50, 100, 78, 120]]

    def wrong(image, boxes, class_ids, rng):
        return image, boxes[:1], class_ids

    with pytest.raises(ConfigError, match=r"boxes of \(1, 4\) and 3 class ids"):
        load_image_gt(dataset, config_for(), 0, augmentation=wrong)
    with pytest.raises(ConfigError, match="augmentation is 'flop'"):
        load_image_gt(dataset, config_for(), 0, augmentation="flop")


@pytest.mark.parametrize(("change", "told"), [
    # as of Albumentations' ToTensorV2
    (lambda image: image.transpose(2, 0, 1), r"\(3, 80, 120\); it must be \[H, W, 3\], with the "
     r"channels last; it seems to be \[C, H, W\]: leave out .* ToTensorV2"),
    (lambda image: image[..., :1], r"\(80, 120, 1\); it must be \[H, W, 3\], with the channels "
     r"last\."),
    (lambda image: np.dstack([image, image[..., :1]]), r"\(80, 120, 4\); it must be \[H, W, 3\]"),
    (lambda image: image.transpose(1, 2, 0), r"\(120, 3, 80\); it must be \[H, W, 3\]"),
    (lambda image: image[:0], r"\(0, 120, 3\); it must be \[H, W, 3\]"),
    (lambda image: image[..., 0], r"\(80, 120\), boxes of .*; they must be \[H, W, C\]"),
])
def test_an_augmentation_that_returns_an_image_of_another_layout(change, told):
    """Its boxes would all be lost, since they are beyond the image."""
    def changed(image, boxes, class_ids, rng):
        return change(image), boxes, class_ids

    with pytest.raises(ConfigError, match=f"changed .* returned an image of the shape {told}"):
        load_image_gt(Drawn((80, 120), BOXES), config_for(), 0, augmentation=changed)


# --- the canvas -----------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[(80, 120)], [(80, 120), (200, 50)], [(1, 1)], [(64, 64)]])
@pytest.mark.parametrize(("low", "min_scale"), [(64, 0), (128, 0), (64, 2.3)])
@pytest.mark.parametrize("mode", ["pad64", "none"])
def test_the_canvas_holds_every_resized_image(mode, sizes, low, min_scale):
    """Checked against what resize_image really returns."""
    config = config_for(mode, low, 128, IMAGE_MIN_SCALE=min_scale)
    dataset = Dataset()
    dataset.add_class("s", 1, "a")
    for number, (height, width) in enumerate(sizes):
        dataset.add_image("s", number, None, height=height, width=width)
    dataset.prepare()
    shapes = [resize_image(np.zeros((*size, 3), np.uint8), low, 128, min_scale=min_scale,
                           mode=mode)[0].shape[:2] for size in sizes]
    expected = tuple(-(-max(sides) // 64) * 64 for sides in zip(*shapes))
    assert common_canvas(dataset, config) == expected
    assert common_canvas(dataset, config, turns=True) == (max(expected),) * 2


def test_the_canvas_of_square_and_crop_is_the_configs():
    dataset = Drawn((80, 120), [])
    assert common_canvas(dataset, config_for("square", 64, 192)) == (192, 192)
    assert common_canvas(dataset, config_for("crop", 64, 192)) == (64, 64)


def test_the_canvas_of_images_without_declared_size(coco_folder):
    dataset = CocoDataset.from_folder(coco_folder, "val")
    for info in dataset.image_info:
        del info["width"]
    assert common_canvas(dataset, config_for("none")) == (128, 128)
    drawn = Drawn((130, 20), [])  # its path is of no file, since it overrides load_image
    assert common_canvas(drawn, config_for("none")) == (192, 64)


def test_the_canvas_of_a_data_set_that_loads_images_of_another_size(coco_folder):
    class Halved(CocoDataset):
        def load_image(self, image_id):
            return super().load_image(image_id)[:48, :64]

    dataset = Halved.from_folder(coco_folder, "val")
    for info in dataset.image_info:
        del info["width"]
    assert dataset.header_size(0) is None
    assert CocoDataset.from_folder(coco_folder, "val").header_size(0) == (96, 128)
    assert common_canvas(dataset, config_for("none")) == (64, 64)


def test_padding_to_a_canvas_leaves_boxes_where_they_are():
    dataset, config = Drawn((80, 120), BOXES), config_for("none")
    image, meta, _, boxes = load_image_gt(dataset, config, 0, canvas=(128, 192))
    plain = load_image_gt(dataset, config, 0)
    np.testing.assert_array_equal(image[:80, :120], plain[0])
    assert image.shape == (128, 192, 3) and not image[80:].any() and not image[:, 120:].any()
    np.testing.assert_array_equal(boxes, plain[3])
    parts = parse_image_meta(meta[None])
    assert parts["image_shape"][0].tolist() == [128, 192, 3]
    assert parts["window"][0].tolist() == [0, 0, 80, 120]
    with pytest.raises(DatasetError, match=r"drawn\.png is 80x120 .* larger than the canvas 64x64"):
        load_image_gt(dataset, config, 0, canvas=(64, 64))
