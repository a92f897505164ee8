"""A convolution joined with a frozen BatchNorm: the same maps and gradients, with less work."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from model_tools import array, dtype_of, set_random_statistics

from frcnn.network.layers import BatchNorm, Conv2D, conv_norm

IMAGE = np.random.default_rng(0).normal(0, 1, (2, 8, 8, 3)).astype(np.float32)


def network(joined, train_bn=False, dtype=None, **settings):
    """Convolution, BatchNorm and ReLU, joined or not, with the same weights."""
    image = keras.Input((8, 8, 3))
    conv = Conv2D(4, 3, padding="same", name="conv", dtype=dtype, **settings)
    norm = BatchNorm(train_bn=train_bn, name="norm", dtype=dtype)
    x = conv_norm(image, conv, norm) if joined else norm(conv(image))
    model = keras.Model(image, layers.Activation("relu", dtype=dtype)(x))
    rng = np.random.default_rng(1)
    conv.set_weights([rng.normal(0, 0.5, w.shape) for w in conv.get_weights()])
    set_random_statistics(model, seed=2)
    return model


def slopes(model):
    """Gradients of a weighted sum of the output, by every trained weight."""
    weight = np.random.default_rng(3).normal(0, 1, (2, 8, 8, 4)).astype(np.float32)
    if keras.backend.backend() == "jax":
        import jax

        def total(values):
            y, _ = model.stateless_call(
                values, [v.value for v in model.non_trainable_variables], IMAGE, training=True)
            return (y * weight).sum()

        return [array(g) for g in jax.grad(total)([v.value for v in model.trainable_variables])]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        total = ops.sum(model(IMAGE, training=True) * weight)
    return [array(g) for g in tape.gradient(total, [v.value for v in model.trainable_variables])]


@pytest.mark.parametrize("settings", [{}, {"use_bias": False}, {"strides": 1, "groups": 1}])
def test_the_same_maps_and_gradients_as_apart(settings):
    joined, apart = network(True, **settings), network(False, **settings)
    for training in (False, True):
        np.testing.assert_allclose(array(joined(IMAGE, training=training)),
                                   array(apart(IMAGE, training=training)), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(slopes(joined), slopes(apart)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_in_training_the_convolution_does_both():
    model = network(True)
    conv, norm = model.get_layer("conv"), model.get_layer("norm")
    done = conv(IMAGE, training=True)
    np.testing.assert_array_equal(array(norm(done, training=True)), array(done))
    raw = conv(IMAGE)
    np.testing.assert_allclose(array(norm(raw)), array(done), rtol=1e-4, atol=1e-5)
    assert [w.name for w in conv.weights] == ["kernel", "bias"]


@pytest.mark.parametrize("trainable", [True, False])
def test_a_batch_norm_that_trains_works_by_itself(trainable):
    model = network(True, train_bn=True)
    norm = model.get_layer("norm")
    norm.trainable = trainable
    before = array(norm.moving_mean)
    y = array(model(IMAGE, training=True))
    assert np.array_equal(before, array(norm.moving_mean)) == (not trainable)
    stored = array(model(IMAGE, training=False))
    assert np.allclose(y, stored, atol=1e-4) == (not trainable)


def test_kernel_and_scale_meet_in_float32():
    model = network(True, dtype="mixed_bfloat16")
    exact = network(True)
    y = model(IMAGE, training=True)
    assert dtype_of(y) == "bfloat16"
    y = array(ops.cast(y, "float32"))
    np.testing.assert_allclose(y, array(exact(IMAGE, training=True)), rtol=0.02, atol=0.05)
    assert dtype_of(model.get_layer("conv").kernel) == "float32"


# --- models cut out between the two, or around them ------------------------------------------


def parts(joined, train_bn=False):
    """The network's convolution, its BatchNorm, and the whole model, joined or not."""
    model = network(joined, train_bn)
    return model.get_layer("conv"), model.get_layer("norm"), model




CUTS = {
    "before the BatchNorm": lambda conv, norm, model: keras.Model(model.input, conv.output),
    "after the convolution": lambda conv, norm, model: keras.Model(conv.output, model.output),
    "both outputs": lambda conv, norm, model: keras.Model(model.input, [conv.output, norm.output]),
    "another reader": lambda conv, norm, model: keras.Model(
        model.input, norm.output + layers.Activation("tanh")(conv.output)),
    "a new BatchNorm input": lambda conv, norm, model: keras.Model(
        model.input, norm(layers.Conv2D(4, 1, kernel_initializer="ones")(model.input))),
    "whole": lambda conv, norm, model: keras.Model(model.input, norm.output),
    "nested": lambda conv, norm, model: keras.Model(model.input, model(model.input) * 2.0),
    "cut and nested": lambda conv, norm, model: keras.Model(
        model.input, keras.Model(conv.output, norm.output)(
            keras.Model(model.input, conv.output)(model.input))),
    "whole and cut": lambda conv, norm, model: keras.Model(
        model.input, [model(model.input), keras.Model(model.input, conv.output)(model.input)]),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("trained", [True, False])
def test_a_model_cut_out_computes_the_same_as_with_layers_apart(cut, trained):
    models = [CUTS[cut](*parts(joined)) for joined in (True, False)]
    x = np.random.default_rng(5).normal(
        0, 1, (2, *models[0].inputs[0].shape[1:])).astype(np.float32)
    found, expected = (keras.tree.flatten(model(x, training=trained)) for model in models)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-4, atol=1e-5)


def test_a_whole_model_leaves_the_work_to_the_convolution():
    """Else joining them would save nothing: the BatchNorm passes its input on as it is."""
    _, norm, model = parts(True)
    seen = []
    norm._is_done_by_conv = lambda x, ask=norm._is_done_by_conv: seen.append(ask(x)) or seen[-1]
    model(IMAGE, training=True)
    keras.Model(model.input, model(model.input))(IMAGE, training=True)
    assert seen == [True, True]


def test_a_joined_batch_norm_by_itself_does_not_pass_in_training():
    conv, norm, _ = parts(True)
    x = np.ones((2, 8, 8, 4), np.float32)
    with pytest.raises(ValueError, match=r"'norm' is joined with the convolution 'conv'"):
        norm(x, training=True)
    first, second = conv(IMAGE, training=True), conv(2 * IMAGE, training=True)
    for done in (first, second):  # both are known, not only the last one
        np.testing.assert_array_equal(array(norm(done, training=True)), array(done))
    with pytest.raises(ValueError, match="is joined with"):
        norm(ops.abs(first), training=True)
    np.testing.assert_allclose(array(norm(x)), array(parts(False)[1](x)), rtol=1e-5)


def test_a_batch_norm_is_joined_with_one_convolution():
    norm = BatchNorm(name="norm")
    first, second = Conv2D(4, 3, name="first"), Conv2D(4, 3, name="second")
    first.join(norm)
    with pytest.raises(ValueError, match=r"'second' cannot be joined with 'norm'.*'first'"):
        second.join(norm)
    assert second.joined_norm is None
