"""BatchNorm: whose statistics it uses, when it changes the stored ones, and what counts."""

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import array, dtype_of

from frcnn.network.layers import BatchNorm

EPSILON = 1e-3


def make(shape, **options):
    layer = BatchNorm(epsilon=EPSILON, **options)
    layer.build(shape)
    size = shape[-1]
    layer.set_weights([np.linspace(0.5, 2, size), np.linspace(-1, 1, size),
                       np.linspace(-2, 3, size), np.linspace(0.2, 5, size)])
    return layer


def normalized(x, mean, variance, layer):
    gamma, beta = (array(weight) for weight in (layer.gamma, layer.beta))
    return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta


@pytest.fixture(params=[(4, 5, 6, 3), (4, 7, 3)], ids=["maps", "rows"])
def x(request):
    return np.random.default_rng(0).normal(2, 3, request.param).astype(np.float32)


@pytest.mark.parametrize(("train_bn", "trainable", "training"), [
    (True, True, False), (False, True, True), (False, True, False), (True, False, True),
])  # fmt: skip
def test_stored_statistics_are_used_and_stay(x, train_bn, trainable, training):
    layer = make(x.shape, train_bn=train_bn)
    layer.trainable = trainable
    before = layer.get_weights()
    y = layer(x, training=training)
    mean, variance = (array(v) for v in (layer.moving_mean, layer.moving_variance))
    np.testing.assert_allclose(array(y), normalized(x, mean, variance, layer), rtol=1e-4, atol=1e-4)
    for old, new in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_the_batchs_statistics_are_used_and_remembered(x):
    layer = make(x.shape, train_bn=True)
    stored = array(layer.moving_mean), array(layer.moving_variance)
    axes = tuple(range(x.ndim - 1))
    found = x.mean(axes), x.var(axes)
    y = layer(x, training=True)
    np.testing.assert_allclose(array(y), normalized(x, *found, layer), rtol=1e-4, atol=1e-4)
    for new, old, batch in zip((layer.moving_mean, layer.moving_variance), stored, found):
        np.testing.assert_allclose(array(new), 0.9 * old + 0.1 * batch, rtol=1e-4)


def test_padding_rows_do_not_count():
    rng = np.random.default_rng(1)
    x = rng.normal(2, 3, (2, 6, 3)).astype(np.float32)
    is_row = np.array([[True] * 4 + [False] * 2, [True] * 3 + [False] * 3])
    layer, other = (make(x.shape, train_bn=True) for _ in range(2))
    stored = array(layer.moving_variance)
    y = array(layer(x, is_row=ops.convert_to_tensor(is_row), training=True))
    rows = x[is_row]
    expected = normalized(rows, rows.mean(0), rows.var(0), layer)
    np.testing.assert_allclose(y[is_row], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(array(layer.moving_variance), 0.9 * stored + 0.1 * rows.var(0),
                               rtol=1e-4)
    # whatever the padding holds
    x[~is_row] = 1000.0
    again = array(other(x, is_row=ops.convert_to_tensor(is_row), training=True))
    np.testing.assert_allclose(again[is_row], y[is_row], rtol=1e-4, atol=1e-4)


def test_gamma_and_beta_train_while_the_statistics_are_frozen():
    layer = make((2, 4, 4, 3), train_bn=False)
    assert [weight.name for weight in layer.trainable_variables] == ["gamma", "beta"]
    layer.trainable = False
    assert layer.trainable_variables == []


def test_half_precision_computes_in_half_and_stores_in_single():
    x = np.random.default_rng(0).normal(2, 3, (4, 5, 6, 3)).astype(np.float32)
    layer = make(x.shape, train_bn=True, dtype="mixed_bfloat16")
    y = layer(x, training=True)
    assert dtype_of(y) == "bfloat16" and dtype_of(layer.moving_mean) == "float32"
    expected = normalized(x, x.mean((0, 1, 2)), x.var((0, 1, 2)), layer)
    np.testing.assert_allclose(array(ops.cast(y, "float32")), expected, atol=0.05)


def test_it_is_made_again_from_its_config():
    layer = make((2, 4, 4, 3), train_bn=True, momentum=0.7, name="bn_conv1")
    again = BatchNorm.from_config(layer.get_config())
    assert (again.train_bn, again.momentum, again.name) == (True, 0.7, "bn_conv1")
    assert BatchNorm().momentum == 0.9 and not BatchNorm().train_bn


def test_sides_that_are_not_known_stay_so():
    maps = keras.Input((None, None, 3))
    assert BatchNorm()(maps).shape == (None, None, None, 3)
    rows = keras.Input((None, 3))
    assert BatchNorm()(rows).shape == (None, None, 3)
