"""The backbones' stages: names, shapes, and the little that is not in the weights.

That their values are right is shown in test_weight_matching.py, against keras.applications.
"""

import keras
import numpy as np
import pytest
from keras import layers
from model_tools import array, dtype_of, small_backbone, small_config

from frcnn.network.backbone import backbone_graph
from frcnn.network.densenet import DENSENET_BLOCKS, densenet_graph
from frcnn.network.layers import BatchNorm
from frcnn.network.resnet import BASIC_RESNETS, RESNET_BLOCKS, resnet_graph

IMAGE = (64, 96, 3)


def channels_and_strides(model):
    return [(stage.shape[3], IMAGE[0] // stage.shape[1], IMAGE[1] // stage.shape[2])
            for stage in model.outputs]


def test_the_stages_of_a_resnet(resnet):
    assert channels_and_strides(resnet) == [
        (64, 4, 4), (256, 4, 4), (512, 8, 8), (1024, 16, 16), (2048, 32, 32)]
    names = [layer.name for layer in resnet.layers if layer.weights]
    assert names[:2] == ["conv1", "bn_conv1"]
    blocks = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}
    expected = {"conv1", "bn_conv1"}
    for stage, letters in blocks.items():
        for kind in ("res", "bn"):
            expected |= {f"{kind}{stage}{letter}_branch{part}"
                         for letter in letters for part in ("2a", "2b", "2c")}
            expected.add(f"{kind}{stage}a_branch1")
    assert set(names) == expected


def test_a_resnet_halves_the_map_on_the_first_convolution_of_a_stage(resnet):
    for stage in (3, 4, 5):
        assert resnet.get_layer(f"res{stage}a_branch2a").strides == (2, 2)
        assert resnet.get_layer(f"res{stage}a_branch2b").strides == (1, 1)
        assert resnet.get_layer(f"res{stage}a_branch1").strides == (2, 2)
    assert resnet.get_layer("res2a_branch2a").strides == (1, 1)
    assert resnet.get_layer("bn4c_branch2b").epsilon == 1e-3
    assert resnet.get_layer("res4c_branch2b").use_bias


def test_the_stages_of_a_densenet(densenet):
    assert channels_and_strides(densenet) == [
        (64, 4, 4), (256, 4, 4), (512, 8, 8), (1024, 16, 16), (1024, 32, 32)]
    assert [stage._keras_history.operation.name for stage in densenet.outputs] == [
        "pool1", "pool2_relu", "pool3_relu", "pool4_relu", "relu"]
    assert densenet.get_layer("conv2_block1_0_bn").epsilon == 1.001e-5


def test_a_densenet_divides_by_imagenets_spread_and_nothing_more(densenet):
    image = np.random.default_rng(0).uniform(-120, 140, (1, *IMAGE)).astype(np.float32)
    first = keras.Model(densenet.input, densenet.get_layer("imagenet_scale").output)
    expected = image / (255 * np.array([0.229, 0.224, 0.225]))
    np.testing.assert_allclose(array(first(image)), expected, rtol=1e-5)


@pytest.fixture
def tiny(monkeypatch):
    """Both families with a block a stage, which build quickly: graph by name."""
    monkeypatch.setitem(RESNET_BLOCKS, "tiny_resnet", (1, 1, 1, 1))
    monkeypatch.setitem(DENSENET_BLOCKS, "tiny_densenet", (1, 1, 1, 1))
    return {"tiny_resnet": resnet_graph, "tiny_densenet": densenet_graph}


def test_images_of_other_channels_and_sides_that_are_not_known(tiny):
    for name, graph in tiny.items():
        stages = graph(keras.Input((None, None, 1)), name, stage5=False)
        assert stages[4] is None and len(stages) == 5
        assert stages[3].shape[:3] == (None, None, None)


def test_the_larger_ones_have_the_layers_that_their_names_count():
    for name, blocks in RESNET_BLOCKS.items():  # two or three a block, the first, the classifier
        in_block = 2 if name in BASIC_RESNETS else 3
        assert in_block * sum(blocks) + 2 == int(name.removeprefix("resnet"))
    for name, blocks in DENSENET_BLOCKS.items():  # two a block, three transitions and the same
        assert 2 * sum(blocks) + 5 == int(name.removeprefix("densenet"))


@pytest.mark.parametrize("graph", [resnet_graph, densenet_graph])
def test_an_unknown_architecture_is_an_error(graph):
    with pytest.raises(ValueError, match="'vgg16'; allowed are"):
        graph(keras.Input(IMAGE), "vgg16")


def config_of(name, **settings):
    config = small_config(**settings)
    config.BACKBONE = name
    return config


@pytest.mark.parametrize("train_bn", [True, False])
def test_batch_norm_trains_where_the_config_says(tiny, train_bn):
    for name in tiny:
        image = keras.Input(IMAGE)
        model = keras.Model(image, backbone_graph(image, config_of(name, TRAIN_BN=train_bn)))
        found = {layer.train_bn for layer in model.layers if isinstance(layer, BatchNorm)}
        assert found == {train_bn}


def test_half_precision(tiny):
    for name in tiny:
        policy = keras.DTypePolicy("mixed_bfloat16")
        stages = backbone_graph(keras.Input(IMAGE), config_of(name), policy)
        assert [dtype_of(stage) for stage in stages] == ["bfloat16"] * 5


def test_a_callable_is_called_with_what_the_config_says():
    asked = {}

    def backbone(input_image, stage5, train_bn):
        asked.update(stage5=stage5, train_bn=train_bn)
        return small_backbone(input_image, stage5, train_bn)

    stages = backbone_graph(keras.Input(IMAGE), small_config(BACKBONE=backbone, TRAIN_BN=False))
    assert asked == {"stage5": True, "train_bn": False}
    assert [stage.shape[3] for stage in stages] == [8, 16, 16, 24, 32]
    assert isinstance(stages[0]._keras_history.operation, layers.Activation)
