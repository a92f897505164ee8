"""The head by hand, and what padding must not change."""

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import array, set_random_statistics

from frcnn.network.layers import RoiConv
from frcnn.network.roi_align import PyramidROIAlign
from frcnn.network.roi_head import RowMask, fpn_classifier_graph

CHANNELS, CLASSES, HIDDEN = 6, 4, 16


def build(train_bn=True, dtype=None):
    rois = keras.Input((12, 4))
    maps = [keras.Input((32 >> n, 32 >> n, CHANNELS)) for n in range(4)]
    outputs = fpn_classifier_graph(rois, maps, None, 5, CLASSES, train_bn, HIDDEN, dtype)
    model = keras.Model([rois, *maps], list(outputs))
    set_random_statistics(model)
    return model


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 0.5, (2, 12, 2))
    rois = np.concatenate([corner, corner + rng.uniform(0.05, 0.5, (2, 12, 2))], axis=2)
    rois[1, 8:] = 0  # padding
    return [rois.astype(np.float32)] + [
        rng.normal(size=(2, 32 >> n, 32 >> n, CHANNELS)).astype(np.float32) for n in range(4)]


def test_the_head_by_hand(inputs):
    model = build()
    weights = {layer.name: [array(weight) for weight in layer.weights] for layer in model.layers}
    x = array(PyramidROIAlign((5, 5))(inputs))
    kernel, bias = weights["mrcnn_class_conv1"]
    x = np.einsum("bnhwc,hwcd->bnd", x, kernel) + bias
    x = np.maximum(normalized(x, weights["mrcnn_class_bn1"]), 0)
    kernel, bias = weights["mrcnn_class_conv2"]
    x = np.maximum(normalized(x @ kernel[0, 0] + bias, weights["mrcnn_class_bn2"]), 0)
    kernel, bias = weights["mrcnn_class_logits"]
    logits = x @ kernel + bias
    kernel, bias = weights["mrcnn_bbox_fc"]
    deltas = (x @ kernel + bias).reshape(2, 12, CLASSES, 4)
    odds = np.exp(logits - logits.max(-1, keepdims=True))

    found = [array(y) for y in model(inputs)]
    for ours, expected in zip(found, (logits, odds / odds.sum(-1, keepdims=True), deltas)):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)


def normalized(x, weights):
    gamma, beta, mean, variance = weights
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def test_weights_have_the_references_names_and_shapes():
    shapes = {layer.name: [tuple(weight.shape) for weight in layer.weights]
              for layer in build().layers if layer.weights}
    assert shapes == {
        "mrcnn_class_conv1": [(5, 5, CHANNELS, HIDDEN), (HIDDEN,)],
        "mrcnn_class_bn1": [(HIDDEN,)] * 4,
        "mrcnn_class_conv2": [(1, 1, HIDDEN, HIDDEN), (HIDDEN,)],
        "mrcnn_class_bn2": [(HIDDEN,)] * 4,
        "mrcnn_class_logits": [(HIDDEN, CLASSES), (CLASSES,)],
        "mrcnn_bbox_fc": [(HIDDEN, 4 * CLASSES), (4 * CLASSES,)],
    }


def test_a_roi_conv_is_a_convolution_that_covers_the_patch():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4, 6)).astype(np.float32)
    layer, convolution = RoiConv(7), keras.layers.Conv2D(7, (5, 4))
    y = array(layer(x))
    convolution.build((None, 5, 4, 6))
    bias = np.arange(7, dtype=np.float32)
    for either in (layer, convolution):
        either.set_weights([array(layer.kernel), bias])
    expected = array(convolution(x.reshape(6, 5, 4, 6))).reshape(2, 3, 7)
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-4, atol=1e-4)
    assert y.shape == (2, 3, 7)
    # the spread of fresh weights is that of a convolution
    limit = np.sqrt(6 / (5 * 4 * (6 + 7)))
    assert 0.9 * limit < np.abs(array(layer.kernel)).max() <= limit


def test_the_mask_is_false_for_padding():
    rois = np.array([[[0, 0, 0, 0], [0, 0, 0.5, 0.5], [0.1, 0, 0, 0]]], np.float32)
    np.testing.assert_array_equal(array(RowMask()(rois)), [[False, True, True]])
    assert RowMask()(keras.Input((7, 4))).dtype == "bool"


def test_padding_changes_nothing_for_the_others_in_training(inputs):
    """Padding samples the pyramid's corner; its values must not matter."""
    others = [x.copy() for x in inputs]
    others[1][1, 0, 0] = 50.0
    is_roi = inputs[0].any(axis=2)
    is_roi[1] &= (inputs[0][1, :, :2] > 1 / 31).all(axis=1)  # samples another cell of P2
    model = build()
    logits, changed = (array(model(x, training=True)[0]) for x in (inputs, others))
    np.testing.assert_allclose(logits[is_roi], changed[is_roi], rtol=1e-3, atol=1e-3)
    padding = ~inputs[0].any(axis=2)
    assert np.abs(logits[padding] - changed[padding]).max() > 0.1


def test_frozen_statistics_do_not_move(inputs):
    model = build(train_bn=False)
    before = array(model.get_layer("mrcnn_class_bn1").moving_mean)
    np.testing.assert_allclose(array(model(inputs, training=True)[0]),
                               array(model(inputs, training=False)[0]), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(array(model.get_layer("mrcnn_class_bn1").moving_mean), before)


def test_half_precision_inside_single_outside(inputs):
    exact, half = build(), build(dtype=keras.DTypePolicy("mixed_bfloat16"))
    half.set_weights(exact.get_weights())
    for ours, expected in zip(half(inputs), exact(inputs)):
        ours = ops.convert_to_numpy(ours)
        assert ours.dtype == np.float32
        assert np.abs(ours - array(expected)).mean() < 0.05 * array(expected).std()
