"""The pyramid: shapes, names, and every level by hand."""

import keras
import numpy as np
import pytest
from model_tools import array

from frcnn.network.fpn import fpn_graph

CHANNELS = {2: 3, 3: 4, 4: 5, 5: 6}


@pytest.fixture(scope="module")
def pyramid():
    """The pyramid of a 128 × 64 image, and its input."""
    inputs = [keras.Input((128 >> level, 64 >> level, CHANNELS[level])) for level in (2, 3, 4, 5)]
    model = keras.Model(inputs, fpn_graph(inputs, channels=8))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.weights])
    maps = [rng.normal(size=(2, *x.shape[1:])).astype(np.float32) for x in inputs]
    return model, maps, [array(level) for level in model(maps)]


def test_five_levels_of_equal_depth(pyramid):
    assert [level.shape for level in pyramid[2]] == [
        (2, 32, 16, 8), (2, 16, 8, 8), (2, 8, 4, 8), (2, 4, 2, 8), (2, 2, 1, 8)]


def test_layers_have_the_references_names(pyramid):
    names = {layer.name for layer in pyramid[0].layers if layer.weights}
    assert names == {"fpn_c5p5", "fpn_c4p4", "fpn_c3p3", "fpn_c2p2",
                     "fpn_p2", "fpn_p3", "fpn_p4", "fpn_p5"}
    assert pyramid[0].get_layer("fpn_p6").output.shape == (None, 2, 1, 8)
    assert [pyramid[0].get_layer(f"fpn_c{n}p{n}").kernel.shape for n in (2, 5)] == [
        (1, 1, 3, 8), (1, 1, 6, 8)]
    assert pyramid[0].get_layer("fpn_p4").kernel.shape == (3, 3, 8, 8)


def test_the_top_down_pathway_by_hand(pyramid):
    model, maps, levels = pyramid
    merged = None
    for level in (5, 4, 3, 2):
        kernel, bias = model.get_layer(f"fpn_c{level}p{level}").get_weights()
        lateral = maps[level - 2] @ kernel[0, 0] + bias
        if merged is not None:  # every cell of the coarser level covers four of the finer one
            lateral = lateral + merged.repeat(2, axis=1).repeat(2, axis=2)
        merged = lateral
        kernel, bias = model.get_layer(f"fpn_p{level}").get_weights()
        np.testing.assert_allclose(levels[level - 2], convolved(merged, kernel) + bias,
                                   rtol=1e-3, atol=1e-3)


def convolved(maps, kernel):
    """A 3 × 3 convolution, zeros around."""
    height, width = maps.shape[1:3]
    padded = np.pad(maps, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return sum(padded[:, i:i + height, j:j + width] @ kernel[i, j]
               for i in range(3) for j in range(3))


def test_p6_is_every_other_cell_of_p5(pyramid):
    np.testing.assert_array_equal(pyramid[2][4], pyramid[2][3][:, ::2, ::2])


def test_every_convolution_may_have_a_batch_norm_behind_it(pyramid):
    inputs = pyramid[0].inputs
    model = keras.Model(inputs, fpn_graph(inputs, channels=8, train_bn=True))
    convolutions = ["fpn_c5p5", "fpn_c4p4", "fpn_c3p3", "fpn_c2p2",
                    "fpn_p5", "fpn_p4", "fpn_p3", "fpn_p2"]
    assert {layer.name for layer in model.layers if layer.weights} == {
        *convolutions, *(f"{name}_bn" for name in convolutions)}
    for name in convolutions:
        model.get_layer(name).set_weights(pyramid[0].get_layer(name).get_weights())
    levels = [array(level) for level in model(pyramid[1], training=True)]
    for level, plain in zip(levels[:4], model(pyramid[1], training=False)):
        assert level.shape == plain.shape
        np.testing.assert_allclose(level.mean(axis=(0, 1, 2)), 0, atol=1e-4)
        np.testing.assert_allclose(level.std(axis=(0, 1, 2)), 1, atol=0.01)
    # Statistics at their initial values leave all as it is, but for epsilon.
    plain = keras.Model(inputs, fpn_graph(inputs, channels=8, train_bn=False))
    for name in convolutions:
        plain.get_layer(name).set_weights(pyramid[0].get_layer(name).get_weights())
    for level, expected in zip(plain(pyramid[1], training=False), pyramid[2]):
        np.testing.assert_allclose(array(level), expected, rtol=0.01, atol=0.05)
