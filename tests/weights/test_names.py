"""Names of layers and weights."""

import json

import pytest
from places import GOLDEN

from frcnn.weights.names import (
    backbone_block,
    in_reference_order,
    is_backbone_layer,
    parse_weight_name,
    reference_resnet_name,
)


@pytest.mark.parametrize(("name", "parts"), [
    ("conv1/kernel:0", ("conv1", "kernel")),
    ("conv1/kernel", ("conv1", "kernel")),
    ("tower_0/mask_rcnn/conv1_1/bias:0", ("tower_0", "mask_rcnn", "conv1_1", "bias")),
    ("bn_conv1_running_std_1:0", ("bn_conv1", "moving_variance")),
    ("bn_conv1/running_mean:0", ("bn_conv1", "moving_mean")),
    ("res2a_branch2a_W_1:0", ("res2a_branch2a", "kernel")),
    ("res2a_branch2a_b:0", ("res2a_branch2a", "bias")),
    ("bn2a_branch2a/beta_3:0", ("bn2a_branch2a", "beta")),
    ("param_0", ("param_0",)),
])  # fmt: skip
def test_weight_names_of_all_times_are_split(name, parts):
    assert parse_weight_name(name) == parts


@pytest.mark.parametrize(("theirs", "ours"), [
    ("conv1_conv", "conv1"),
    ("conv1/bn", "bn_conv1"),
    ("conv2_block1_0_conv", "res2a_branch1"),
    ("conv2_block1_0_bn", "bn2a_branch1"),
    ("conv3_block4_1_conv", "res3d_branch2a"),
    ("conv4_block23_2_bn", "bn4w_branch2b"),
    ("conv5_block3_3_conv", "res5c_branch2c"),
    ("conv4_block36_1_conv", None),  # ResNet-152: past the letters
    ("pool2_bn", None),
    ("res2a_branch1", None),
])  # fmt: skip
def test_layers_of_keras_resnets_get_the_references_names(theirs, ours):
    assert reference_resnet_name(theirs) == ours


def test_backbone_blocks_are_told_from_other_layers():
    assert backbone_block("bn4w_branch2b") == ("resnet", 4, 23)
    assert backbone_block("conv4_block23_2_bn") == ("applications", 4, 23)
    assert backbone_block("bn_conv1") is None
    assert backbone_block("mrcnn_class_bn1") is None
    assert is_backbone_layer("bn_conv1") and is_backbone_layer("conv4_block23_2_bn")
    heads = ["fpn_p2", "rpn_model", "rpn_conv_shared", "mrcnn_bbox_fc"]
    assert not any(map(is_backbone_layer, heads))


@pytest.mark.parametrize("layout", ["layout_resnet50.json", "layout_resnet101.json"])
def test_order_is_that_of_the_references_files(layout):
    names = [entry["layer"] for entry in json.loads((GOLDEN / layout).read_text())
             if entry["weights"] and "mask" not in entry["layer"] and entry["layer"] != "anchors"]
    assert in_reference_order(sorted(names)) == names


def test_order_of_unknown_layers_is_kept_between_backbone_and_heads():
    names = ["fpn_c5p5", "zebra", "mrcnn_class_logits", "attention", "bn_conv1", "conv1"]
    assert in_reference_order(names) == [
        "conv1", "bn_conv1", "zebra", "attention", "fpn_c5p5", "mrcnn_class_logits"]
