"""What scripts written for the reference do with data and settings, in their words."""

import re

import numpy as np
import pytest
from interface_tools import CONFIG, Drawn
from model_tools import small_config

import frcnn.model as modellib
from frcnn import utils
from frcnn.config import Config
from frcnn.data.image_name import ImageName
from frcnn.errors import ConfigError, DatasetError, LeftOutError, NoMasksError


class Masks(utils.Dataset):
    """One image with an object, one without, as kernels for RSNA and Airbus write it."""

    def __init__(self):
        super().__init__(self)
        self.add_class("lungs", 1, "opacity")
        for image_id in range(2):
            self.add_image("lungs", image_id=image_id, path=None)

    def load_image(self, image_id):
        return np.full((64, 64, 3), 170, np.uint8)

    def load_mask(self, image_id):
        if image_id == 1:
            return super().load_mask(image_id)
        mask = np.zeros((64, 64, 1), bool)
        mask[10:30, 20:50] = True
        return mask, np.array([1], np.int32)


# --- data sets ----------------------------------------------------------------------------------


def test_a_dataset_that_passes_itself_on():
    dataset = Masks()
    dataset.prepare()
    assert dataset.class_names == ["BG", "opacity"] and dataset.num_images == 2
    assert dataset.load_boxes(0)[0].tolist() == [[10, 20, 30, 50]]


def test_no_objects_by_the_mask_of_the_base_class():
    dataset = Masks()
    dataset.prepare()
    mask, class_ids = dataset.load_mask(1)
    assert mask.shape == (0, 0, 0) and class_ids.shape == (0,) and class_ids.dtype == np.int32
    boxes, class_ids = dataset.load_boxes(1)
    assert boxes.shape == (0, 4) and len(class_ids) == 0
    assert utils.Dataset().load_mask(0)[0].shape == (0, 0, 0)
    with pytest.raises(NotImplementedError, match="needs a method load_boxes"):
        utils.Dataset().load_boxes(0)


def test_masks_of_a_dataset_of_boxes():
    with pytest.raises(NoMasksError, match=r"Drawn has boxes.* = dataset\.load_boxes\(image_id\)"):
        mask, class_ids = Drawn().load_mask(0)


class Misnamed(Drawn):
    """A data set whose `image_reference`, which the reference calls in notebooks only, fails."""

    asked = 0

    def image_reference(self, image_id):
        self.asked += 1
        return self.image_info[image_id]["no such key"]


def test_a_data_set_whose_image_reference_fails():
    dataset = Misnamed()
    image, _, _, boxes = modellib.load_image_gt(dataset, CONFIG, 0)
    next(modellib.data_generator(dataset, CONFIG, shuffle=False))
    assert image.shape == (64, 64, 3) and len(boxes) == 2 and dataset.asked == 0
    dataset.load_boxes = lambda image_id: (np.zeros((1, 4)), [99])
    info = dataset.image_info[0]
    name = info["path"] or f"{info['source']}.{info['id']}"
    with pytest.raises(DatasetError, match=f"^{re.escape(name)} has an object of the class 99"):
        modellib.load_image_gt(dataset, CONFIG, 0)


@pytest.mark.parametrize("returned, named", [(None, "drawn.3"), ("", "drawn.3"),
                                             ("slide 3", "slide 3")])
def test_what_messages_call_an_image(returned, named):
    dataset = utils.Dataset()
    dataset.add_image("drawn", 3, None)
    dataset.image_reference = lambda image_id: returned
    assert str(ImageName(dataset, 0)) == named
    dataset.image_info[0]["path"] = "a.png"
    assert str(ImageName(dataset, 0)) == (returned or "a.png")


# --- images -------------------------------------------------------------------------------------


def test_five_values_of_an_image():
    dataset = Drawn()
    with pytest.raises(NoMasksError, match="write image, image_meta, class_ids, boxes ="):
        image, image_meta, class_ids, bbox, mask = modellib.load_image_gt(dataset, CONFIG, 0)
    with pytest.raises(NoMasksError, match=r"load_image_gt\(dataset, config, image_id\)"):
        modellib.load_image_gt(dataset, CONFIG, 0, use_mini_mask=False)
    image, image_meta, class_ids, bbox = modellib.load_image_gt(dataset, CONFIG, 0)
    assert image.shape == (64, 64, 3) and bbox.shape == (2, 4)
    image, *_ = modellib.load_image_gt(dataset, CONFIG, 0)
    with pytest.raises(ValueError, match="too many values to unpack"):
        image, image_meta = modellib.load_image_gt(dataset, CONFIG, 0)
    example = modellib.load_image_gt(dataset, CONFIG, 0)
    assert next(iter(example)) is example.image and len(tuple(example)) == 4
    assert example._replace(boxes=None).boxes is None


def test_masks_of_the_generator():
    generator = modellib.data_generator(Drawn(), CONFIG, shuffle=False)
    with pytest.raises(NoMasksError, match=r"write \[images, image_meta, rpn_match, rpn_bbox, "
                                           r"gt_class_ids, gt_boxes\], _ = next\(generator\)"):
        [images, meta, rpn_match, rpn_bbox, gt_class_ids, gt_boxes, gt_masks], _ = next(generator)
    [images, meta, rpn_match, rpn_bbox, gt_class_ids, gt_boxes], _ = next(generator)
    assert images.shape == (1, 64, 64, 3) and gt_boxes.shape == (1, 5, 4)
    generator = modellib.data_generator(Drawn(), CONFIG, random_rois=9, detection_targets=True)
    with pytest.raises(NoMasksError, match=r"gt_boxes, rpn_rois, rois\], \[class_ids, bbox\] ="):
        [*_], [mrcnn_class_ids, mrcnn_bbox, mrcnn_mask] = next(generator)
    inputs, [mrcnn_class_ids, mrcnn_bbox] = next(generator)
    assert len(inputs) == 8 and mrcnn_bbox.shape == (1, 12, 4, 4)


def bound_locally(example, generator):
    """Functions that bind as many names as there are values, one of them for masks."""
    def early():  # the first release
        image, image_meta, bbox, mask = example
        return mask

    def starred():
        *rest, mask = example
        return mask

    def starred_first():
        image, *rest, gt_masks = example
        return gt_masks

    def listed():
        return [masks for _, _, _, masks in [example]]

    def generated():
        [images, image_meta, rpn_match, rpn_bbox, gt_boxes, gt_masks], _ = next(generator)
        return gt_masks

    def loop():
        for [images, image_meta, match, bbox, gt_boxes, gt_masks], _ in generator:
            return images, image_meta, match, bbox, gt_boxes, gt_masks

    def later():
        inputs, _ = next(generator)
        [images, image_meta, rpn_match, rpn_bbox, gt_boxes, gt_mask] = inputs
        return gt_mask

    def index():
        return example[4]

    def input_index():
        return next(generator)[0][6]

    def enclosed():
        image, image_meta, bbox, mask = example
        return lambda: mask

    return (early, starred, starred_first, listed, generated, loop, later, index, input_index,
            enclosed)


def test_a_name_for_masks_is_bound_to_nothing_else():
    """As many names as values, of the first release: without an error masks would be boxes."""
    example = modellib.load_image_gt(Drawn(), CONFIG, 0)
    generator = modellib.data_generator(Drawn(), CONFIG, shuffle=False)
    for function in bound_locally(example, generator):
        with pytest.raises(NoMasksError, match="no masks, since frcnn detects boxes: write"):
            function()
    for line in ("image, meta, bbox, gt_mask = example", "*rest, masks = example"):
        in_function = f"def f():\n    global masks, gt_mask\n    {line}\nf()"
        for text in (line, in_function):
            with pytest.raises(NoMasksError):
                exec(text, {"example": example})


def test_names_that_are_not_for_masks_are_bound():
    example = modellib.load_image_gt(Drawn(), CONFIG, 0)
    image, meta, unmasked, masked_boxes = example
    [(image, meta, class_ids, boxes), mask] = example, 1
    *rest, boxes = example
    (image, *others), gt_masks = example, 2
    assert others[-1] is boxes and example[-1] is boxes and example[:2] == (image, meta)
    assert (mask, gt_masks) == (1, 2) and len(rest) == 3
    assert masked_boxes is boxes and unmasked is class_ids
    with pytest.raises(IndexError):
        example[5]


def test_an_unpacking_in_a_loop_says_the_same_every_time():
    """Python rewrites an instruction that runs often."""
    example = modellib.load_image_gt(Drawn(), CONFIG, 0)
    for _ in range(100):
        a, b, c, d = example
        with pytest.raises(NoMasksError):
            a, b, c, d, e = example


def test_unmold_image():
    image = np.full((8, 8, 3), 60, np.uint8)
    molded = modellib.mold_image(image, CONFIG)
    assert (modellib.unmold_image(normalized_images=molded, config=CONFIG) == image).all()


def test_resize():
    image = np.full((8, 10, 3), 51, np.uint8)
    resized = utils.resize(image, (4, 5))
    assert resized.shape == (4, 5, 3) and resized[1:3, 1:3] == pytest.approx(0.2)
    assert utils.resize(image, (16, 20), preserve_range=True)[5, 5, 0] == pytest.approx(51)


@pytest.mark.parametrize("name, told", {
    "minimize_mask": "use_mini_mask", "expand_mask": "leave it out",
    "resize_mask": "resize_bbox(boxes, scale, padding)", "unmold_mask": "model.detect",
    "compute_overlaps_masks": "compute_overlaps(boxes1, boxes2)"}.items())
def test_functions_for_masks_say_what_to_write(name, told):
    with pytest.raises(NoMasksError) as caught:
        getattr(utils, name)(np.zeros((4, 4, 1), bool), 2, [(0, 0)])
    assert told in str(caught.value) and f"There is no {name} here" in str(caught.value)
    assert name in utils.__all__


def test_the_mask_head_says_what_to_write():
    with pytest.raises(NoMasksError, match="fpn_classifier_graph"):
        modellib.build_fpn_mask_graph(None, None, None, 14, 81)
    with pytest.raises(NoMasksError, match="mrcnn_bbox_loss_graph"):
        modellib.mrcnn_mask_loss_graph(None, None, None)


def test_parallel_model():
    from frcnn.parallel_model import ParallelModel

    with pytest.raises(LeftOutError, match=r"Leave ParallelModel out and set IMAGES_PER_GPU"):
        ParallelModel(None, 2)


# --- settings -----------------------------------------------------------------------------------


def test_values_that_mean_something_in_the_reference():
    class Kernel(Config):
        TRAIN_BN = None
        IMAGE_MIN_SCALE = False
        IMAGE_RESIZE_MODE = "pad64"
        IMAGE_MAX_DIM = False
        IMAGE_MIN_DIM = 64

    config = Kernel()
    assert config.TRAIN_BN is True and config.IMAGE_MIN_SCALE == 0
    assert Config.from_json(config.to_json()).IMAGE_MAX_DIM is False
    image = modellib.load_image_gt(Drawn(), config.replaced(NUM_CLASSES=4), 0)[0]
    assert image.shape == (64, 64, 3)
    with pytest.raises(ConfigError, match=r"IMAGE_MAX_DIM is False; allowed is a whole number in "
                                          r"the mode 'square'; False is for the modes none, pad64"):
        Config(IMAGE_MAX_DIM=False)


def test_steps_that_were_divided():
    class Kernel(Config):
        STEPS_PER_EPOCH = 100 / 2
        VALIDATION_STEPS = np.float64(4)

    config = Kernel()
    assert (config.STEPS_PER_EPOCH, config.VALIDATION_STEPS) == (50, 4)
    assert isinstance(config.STEPS_PER_EPOCH, int) and isinstance(config.VALIDATION_STEPS, int)
    with pytest.raises(ConfigError, match=r"STEPS_PER_EPOCH is 33\.5"):
        config.replaced(STEPS_PER_EPOCH=33.5)


def test_settings_of_masks_are_explained():
    class Kernel(Config):
        MINI_MASK_SHAPE = (56, 56)

    assert Kernel().MINI_MASK_SHAPE == (56, 56)
    with pytest.raises(AttributeError, match="USE_MINI_MASK is a setting of the reference's masks"):
        Kernel().USE_MINI_MASK  # noqa: B018
    with pytest.raises(AttributeError, match="'Kernel' object has no attribute 'IMAGE_SIZE'"):
        Kernel().IMAGE_SIZE  # noqa: B018


@pytest.mark.parametrize("levels", [3, 4, 6])
def test_other_numbers_of_anchor_scales(tmp_path, levels):
    config = small_config(
        BACKBONE_STRIDES=[4, 8, 16, 32, 64, 128][:levels],
        RPN_ANCHOR_SCALES=(12, 24, 48, 72, 96, 120)[:levels],
        COMPUTE_BACKBONE_SHAPE=lambda shape: np.array(
            [[-(-side // 2**level) for side in shape[:2]] for level in range(2, 2 + levels)]))
    training = modellib.MaskRCNN("training", config, tmp_path)
    anchors = training.get_anchors(config.IMAGE_SHAPE)
    sides = [128 // 2**level for level in range(2, 2 + levels)]
    assert len(anchors) == 3 * sum(side**2 for side in sides)
    assert training.keras_model.output["rpn_class"].shape[1] == len(anchors)
    names = {layer.name for layer in training.keras_model.layers}
    assert ("fpn_p6" in names, "fpn_p7" in names, "fpn_p5" in names) == (levels > 4, levels > 5,
                                                                         True)
    data = Drawn()
    inputs, _ = next(modellib.data_generator(data, config))
    outputs = training.keras_model(inputs)
    assert outputs["rpn_sampled_bbox"].shape == (1, 64, 4)
    detector = modellib.MaskRCNN("inference", config, tmp_path)
    training.save_weights(tmp_path / "a.h5")
    detector.load_weights(tmp_path / "a.h5")
    assert detector.detect([data.load_image(0)])[0]["boxes"].shape[1] == 4


def test_scales_need_as_many_strides():
    assert Config(RPN_ANCHOR_SCALES=(8, 16, 32), BACKBONE_STRIDES=[4, 8, 16])
    with pytest.raises(ConfigError, match="allowed is one number for each of BACKBONE_STRIDES, so "
                                          "5 of them; for another number of levels set both"):
        Config(RPN_ANCHOR_SCALES=(8, 16, 32, 64))


@pytest.mark.parametrize("name, depth", [("resnet18", 20), ("resnet34", 36)])
def test_small_resnets_of_the_forks(tmp_path, name, depth):
    """Of 18 and 34 layers: with the dense one at the end, less the shortcuts (He et al. 2015)."""
    import keras

    image = keras.Input((64, 96, 3))
    stages = modellib.resnet_graph(image, name, stage5=True)
    assert [stage.shape[1:] for stage in stages] == [
        (16, 24, 64), (16, 24, 64), (8, 12, 128), (4, 6, 256), (2, 3, 512)]
    backbone = keras.Model(image, stages)
    kernels = [layer for layer in backbone.layers if hasattr(layer, "kernel")]
    assert len(kernels) == depth  # 17 or 33 and three shortcuts
    Config(BACKBONE=name)


def test_blocks_of_a_resnet():
    import keras

    x = keras.Input((8, 8, 3))
    y = modellib.conv_block(x, 3, [4, 4, 16], stage=3, block="a", train_bn=False)
    y = modellib.identity_block(y, 3, [4, 4, 16], stage=3, block="b", use_bias=False)
    model = keras.Model(x, y)
    assert y.shape == (None, 4, 4, 16)
    assert model.get_layer("res3a_branch1").kernel.shape == (1, 1, 3, 16)
    assert model.get_layer("res3b_branch2b").kernel.shape == (3, 3, 4, 4)
    assert model.get_layer("res3a_branch2a").use_bias
    assert not model.get_layer("res3b_branch2c").use_bias
    assert isinstance(model.get_layer("bn3b_branch2c"), modellib.BatchNorm)
