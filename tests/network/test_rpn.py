"""The RPN's outputs and the anchors: one order, for every stride and map."""

import keras
import numpy as np
import pytest
from model_tools import array, small_config

from frcnn.geometry.boxes import norm_boxes
from frcnn.network.rpn import Anchors, build_rpn_model, rpn_graph


@pytest.mark.parametrize(("stride", "shape", "cells"), [
    (1, (6, 4), 24), (2, (6, 4), 6), (2, (5, 7), 12),
])  # fmt: skip
def test_outputs_go_by_row_column_and_ratio(stride, shape, cells):
    model = build_rpn_model(stride, 3, 8)
    assert model.name == "rpn_model"
    maps = np.random.default_rng(0).normal(size=(2, *shape, 8)).astype(np.float32)
    logits, probabilities, deltas = map(array, model(maps))
    assert logits.shape == probabilities.shape == (2, 3 * cells, 2)
    assert deltas.shape == (2, 3 * cells, 4)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    odds = np.log(probabilities[..., 1] / probabilities[..., 0])
    np.testing.assert_allclose(odds, logits[..., 1] - logits[..., 0], atol=1e-4)

    inner = keras.Model(model.input, [model.get_layer(name).output
                                      for name in ("rpn_class_raw", "rpn_bbox_pred")])
    raw_class, raw_bbox = map(array, inner(maps))
    rows, columns = raw_class.shape[1:3]
    place = 0
    for row in range(rows):
        for column in range(columns):
            for ratio in range(3):
                np.testing.assert_allclose(
                    logits[:, place], raw_class[:, row, column, 2 * ratio:2 * ratio + 2], atol=1e-5)
                np.testing.assert_allclose(
                    deltas[:, place], raw_bbox[:, row, column, 4 * ratio:4 * ratio + 4], atol=1e-5)
                place += 1


def test_layers_have_the_references_names_and_shapes():
    model = build_rpn_model(1, 3, 256)
    shapes = {layer.name: [tuple(weight.shape) for weight in layer.weights]
              for layer in model.layers if layer.weights}
    assert shapes == {"rpn_conv_shared": [(3, 3, 256, 512), (512,)],
                      "rpn_class_raw": [(1, 1, 512, 6), (6,)],
                      "rpn_bbox_pred": [(1, 1, 512, 12), (12,)]}


def test_half_precision_inside_single_outside():
    feature_map = keras.Input((4, 4, 8))
    outputs = rpn_graph(feature_map, 3, 1, keras.DTypePolicy("mixed_bfloat16"))
    assert [tensor.dtype for tensor in outputs] == ["float32"] * 3


# --- anchors ------------------------------------------------------------------------------------


def anchors_of(config, image_shape, level_shapes):
    image = np.zeros((1, *image_shape, 3), np.float32)
    levels = [np.zeros((1, *shape, 2), np.float32) for shape in level_shapes]
    return Anchors.from_settings(config), [image, *levels]


@pytest.mark.parametrize("case", ["anchors0", "anchors1", "anchors2"])
def test_the_references_anchors(functions, case):
    golden = {name: functions[f"{case}_{name}"] for name in (
        "scales", "ratios", "strides", "anchor_stride", "feature_shapes", "image_shape", "index",
        "value", "count")}
    config = small_config(
        RPN_ANCHOR_SCALES=golden["scales"].tolist(), RPN_ANCHOR_RATIOS=golden["ratios"].tolist(),
        BACKBONE_STRIDES=golden["strides"].tolist(), RPN_ANCHOR_STRIDE=int(golden["anchor_stride"]))
    shape = tuple(golden["image_shape"].tolist())
    layer, inputs = anchors_of(config, shape, golden["feature_shapes"].tolist())
    anchors = array(layer(inputs))
    assert anchors.shape == (1, golden["count"], 4)
    expected = norm_boxes(golden["value"], shape)
    np.testing.assert_allclose(anchors[0][golden["index"]], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX knows every shape")
@pytest.mark.parametrize("stride", [1, 2])
def test_shapes_that_are_not_known_when_traced_give_the_same(stride):
    import tensorflow as tf

    config = small_config(RPN_ANCHOR_STRIDE=stride)
    layer, inputs = anchors_of(config, (192, 128), [(48, 32), (24, 16), (12, 8), (6, 4), (3, 2)])
    signature = [[tf.TensorSpec((None, None, None, x.shape[-1])) for x in inputs]]
    traced = tf.function(layer, input_signature=signature)
    np.testing.assert_allclose(array(traced(inputs)), array(layer(inputs)), atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_there_is_an_anchor_for_each_output(stride):
    config = small_config(RPN_ANCHOR_STRIDE=stride)
    shapes = [(33, 17), (17, 9), (9, 5), (5, 3), (3, 2)]  # odd sides too
    layer, inputs = anchors_of(config, (130, 66), shapes)
    model = build_rpn_model(stride, 3, 2)
    count = sum(model(x)[0].shape[1] for x in inputs[1:])
    assert layer(inputs).shape == (1, count, 4)


def test_one_anchor_by_hand():
    config = small_config(RPN_ANCHOR_RATIOS=[4], RPN_ANCHOR_SCALES=(32, 64, 128, 256, 512))
    layer, inputs = anchors_of(config, (128, 128), [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)])
    anchors = array(layer(inputs))[0]
    # The second cell of the first row of P3: center (0, 8); 64 px, four times as wide as high.
    pixels = np.array([-16, 8 - 64, 16, 8 + 64])
    np.testing.assert_allclose(anchors[32 * 32 + 1], (pixels - [0, 0, 1, 1]) / 127, atol=1e-6)
    assert anchors.shape == (32**2 + 16**2 + 8**2 + 4**2 + 2**2, 4)
