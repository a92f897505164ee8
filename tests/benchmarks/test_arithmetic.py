"""Multiply-adds are counted as by hand."""

import keras
import pytest
from keras import layers

from benchmarks import arithmetic
from frcnn.network.fpn import fpn_graph
from frcnn.network.layers import RoiConv
from frcnn.network.resnet import resnet_graph
from frcnn.network.rpn import build_rpn_model
from frcnn.network.sampled_rpn import SampledRPN

# ResNet-50 at 224²: conv1, then the stages, whose first block has a shortcut of its own and halves
# the map before its first product. A bottleneck's kernels are 1×1, 3×3 and 1×1.
CONV1 = 112**2 * 7 * 7 * 3 * 64
STAGE2 = 56**2 * ((64 * 64 + 9 * 64 * 64 + 64 * 256 + 64 * 256)
                  + 2 * (256 * 64 + 9 * 64 * 64 + 64 * 256))
STAGE3 = 28**2 * ((256 * 128 + 9 * 128 * 128 + 128 * 512 + 256 * 512)
                  + 3 * (512 * 128 + 9 * 128 * 128 + 128 * 512))
STAGE4 = 14**2 * ((512 * 256 + 9 * 256 * 256 + 256 * 1024 + 512 * 1024)
                  + 5 * (1024 * 256 + 9 * 256 * 256 + 256 * 1024))
STAGE5 = 7**2 * ((1024 * 512 + 9 * 512 * 512 + 512 * 2048 + 1024 * 2048)
                 + 2 * (2048 * 512 + 9 * 512 * 512 + 512 * 2048))


def test_a_convolution():
    image = keras.Input((8, 10, 3))
    model = keras.Model(image, layers.Conv2D(5, 3, strides=2, name="a")(image))
    # valid padding: 3 × 4 places, each 3 × 3 × 3 numbers for each of 5 channels
    assert arithmetic.multiply_adds(model, batch=2) == [("a", 2 * 3 * 4 * 27 * 5)]


def test_other_layers_with_kernels():
    image = keras.Input((8, 8, 6))
    x = layers.DepthwiseConv2D(3, padding="same", name="a")(image)
    x = layers.Conv2D(4, 1, groups=2, name="b")(layers.BatchNormalization()(x))
    x = layers.Dense(7, name="c")(layers.Activation("relu")(layers.Flatten()(x)))
    model = keras.Model(image, x)
    assert dict(arithmetic.multiply_adds(model)) == {
        "a": 64 * 9 * 6, "b": 64 * 3 * 4, "c": 8 * 8 * 4 * 7}


def test_rois_are_counted_one_by_one():
    patches = keras.Input((1000, 7, 7, 16))
    model = keras.Model(patches, RoiConv(32, name="mrcnn_class_conv1")(patches))
    assert arithmetic.total(arithmetic.multiply_adds(model, 2)) == 2 * 1000 * 7 * 7 * 16 * 32


def test_resnet50():
    image = keras.Input((224, 224, 3))
    model = keras.Model(image, resnet_graph(image, "resnet50", stage5=True)[1:])
    works = arithmetic.multiply_adds(model)
    assert works[0] == ("conv1", CONV1)
    for stage, expected in zip((2, 3, 4, 5), (STAGE2, STAGE3, STAGE4, STAGE5)):
        assert sum(work.multiply_adds for work in works
                   if work.name.startswith(f"res{stage}")) == expected
    # He et al. 2015, table 1: 3.8 · 10⁹, with this position of the strides
    assert arithmetic.total(works) == 3_855_925_248


def test_a_shared_layer_counts_on_each_level():
    levels = [keras.Input((side, side, 8)) for side in (16, 8, 4)]
    rpn = build_rpn_model(1, 3, 8)
    model = keras.Model(levels, [rpn(level) for level in levels])
    works = arithmetic.multiply_adds(model)
    places = 16**2 + 8**2 + 4**2
    assert sum(work.name == "rpn_conv_shared" for work in works) == 3
    assert arithmetic.by_stage(works) == {"RPN": places * (9 * 8 * 512 + 512 * (6 + 12))}


def test_stages():
    maps = [keras.Input((side, side, 4)) for side in (32, 16, 8, 4)]
    works = arithmetic.multiply_adds(keras.Model(maps, fpn_graph(maps, 8)))
    places = 32**2 + 16**2 + 8**2 + 4**2
    assert arithmetic.by_stage(works) == {"FPN": places * (4 * 8 + 9 * 8 * 8)}
    made = [arithmetic.LayerWork(name, 1) for name in (
        "conv1", "res2a_branch1", "conv4_block1_1_conv", "fpn_p2", "rpn_class_raw",
        "mrcnn_bbox_fc", "mrcnn_class_logits")]
    assert arithmetic.by_stage(made) == {"backbone": 3, "FPN": 1, "RPN": 1, "head": 2}


def test_a_training_step_does_thrice_the_work_but_for_the_images_gradient():
    works = [arithmetic.LayerWork("conv1", 10), arithmetic.LayerWork("fpn_p2", 100)]
    assert arithmetic.total(works) == 110
    assert arithmetic.total(works, training=True) == 3 * 110 - 10


def test_a_training_step_of_the_rpn_goes_back_from_the_sampled_anchors_alone():
    levels = [keras.Input((side, side, 8)) for side in (16, 8, 4, 2, 1)]
    match = keras.Input((341 * 3, 1), dtype="int32")
    rpn = build_rpn_model(1, 3, 8)
    sampled = SampledRPN(rpn, 3, 1, 40)([match, *levels])
    model = keras.Model([match, *levels], [*sampled, *(rpn(level)[0] for level in levels)])
    works = [arithmetic.LayerWork("conv1", 10), *arithmetic.multiply_adds(model, 2)]
    kernels = 9 * 8 * 512 + 512 * (6 + 12)
    assert dict(works)["rpn_sampled"] == 2 * 40 * kernels
    assert arithmetic.by_stage(works)["RPN"] == 2 * (341 + 40) * kernels
    assert arithmetic.by_stage(arithmetic.of_training_step(works)) == {
        "backbone": 20, "RPN": 2 * (341 + 3 * 40) * kernels}


def test_what_cannot_be_counted_is_named():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2DTranspose(4, 2, name="upwards")(image))
    with pytest.raises(ValueError, match="'upwards' is a transposed convolution"):
        arithmetic.multiply_adds(model)
    image = keras.Input((None, 8, 3))
    model = keras.Model(image, layers.Conv2D(4, 2, name="any")(image))
    with pytest.raises(ValueError, match="layer 'any' is not fixed"):
        arithmetic.multiply_adds(model)
