"""The optimizer: the same step as with a penalty in the loss, clipped by the global norm."""

import keras
import numpy as np
import pytest
from keras import layers
from model_tools import array, one_batch, small_config

from frcnn.network.detector import optimizer_adds_decay
from frcnn.network.graph import build_detector
from frcnn.network.losses import is_decayed
from frcnn.training.optimizer import DecayingSGD, make_optimizer
from frcnn.training.trainer import compile_detector

DECAY = 0.5


def dense_and_norm():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3), layers.BatchNormalization()])
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("clip", [None, 0.7])
def test_a_step_by_hand(clip):
    model = dense_and_norm()
    variables = model.trainable_variables
    before = [array(variable) for variable in variables]
    gradients = [np.full(variable.shape, 0.25, np.float32) for variable in variables]
    # The penalty is DECAY times the mean square: its slope at w is 2 · DECAY · w / size.
    total = [g + (2 * DECAY * w / w.size if v.name not in ("gamma", "beta") else 0)
             for g, w, v in zip(gradients, before, variables)]
    norm = np.sqrt(sum((g**2).sum() for g in total))
    factor = 0.1 * (1.0 if clip is None else min(1.0, clip / norm))
    optimizer = DecayingSGD(0.1, decay=DECAY, clip_norm=clip)
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    for variable, old, slope in zip(variables, before, total):
        np.testing.assert_allclose(array(variable), old - factor * slope, rtol=1e-5)


@pytest.mark.parametrize("name", DecayingSGD.REFUSED)
def test_what_would_come_after_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}.*clip_norm"):
        DecayingSGD(0.1, **{name: 2})
    again = DecayingSGD.from_config(DecayingSGD(0.1, clip_norm=3.0, decay=0.5).get_config())
    assert (again.clip_norm, again.decay) == (3.0, 0.5)


@pytest.mark.parametrize("clip", [None, 0.7])
def test_weights_without_a_gradient_stay(clip):
    model = dense_and_norm()
    kernel, *others = model.trainable_variables
    before = array(kernel)
    gradients = [None, *map(np.ones_like, map(array, others))]
    with pytest.warns(UserWarning, match="Gradients do not exist"):  # Keras says so
        DecayingSGD(0.1, decay=DECAY, clip_norm=clip).apply(gradients, model.trainable_variables)
    np.testing.assert_array_equal(array(kernel), before)


def test_the_detector_decays_alike_with_any_optimizer():
    """Ours adds the penalty's slope to the gradients; with Keras's it is a part of the loss."""
    config = small_config(WEIGHT_DECAY=10.0, GRADIENT_CLIP_NORM=None, LEARNING_MOMENTUM=0.0)
    batch, moved = one_batch(config), []
    for ours in (True, False):
        keras.utils.set_random_seed(5)
        model = build_detector("training", config, seed=5)
        if ours:
            compile_detector(model, config, 0.01)
        else:
            model.compile(optimizer=keras.optimizers.SGD(0.01))
        assert optimizer_adds_decay(model.optimizer) == ours
        before = [array(weight) for weight in model.trainable_variables]
        model.train_on_batch(batch)
        moved.append([array(w) - old for w, old in zip(model.trainable_variables, before)])
    for variable, (one, other) in zip(model.trainable_variables, zip(*moved)):
        assert is_decayed(variable) == (variable.name not in ("gamma", "beta"))
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def test_it_can_be_stored():
    again = DecayingSGD.from_config(DecayingSGD(0.1, momentum=0.9, decay=DECAY).get_config())
    assert again.decay == DECAY and again.momentum == 0.9
    assert optimizer_adds_decay(keras.optimizers.LossScaleOptimizer(again))
    assert not optimizer_adds_decay(None)


def test_an_infinite_norm_does_not_pass_unseen():
    model = dense_and_norm()
    gradients = [np.full(weight.shape, 1e30, np.float32) for weight in model.trainable_variables]
    DecayingSGD(0.1, clip_norm=1.0).apply(
        [keras.ops.convert_to_tensor(g) for g in gradients], model.trainable_variables)
    assert all(np.isnan(array(variable)).all() for variable in model.trainable_variables)


def test_a_step_with_plain_weight_decay_by_hand():
    model = dense_and_norm()
    variables = model.trainable_variables
    before = [array(variable) for variable in variables]
    gradients = [np.full(variable.shape, 0.25, np.float32) for variable in variables]
    DecayingSGD(0.1, decay=DECAY, decay_of_mean=False).apply(
        [keras.ops.convert_to_tensor(g) for g in gradients], variables)
    for variable, old in zip(variables, before):
        slope = 0.25 + (DECAY * old if variable.name not in ("gamma", "beta") else 0)
        np.testing.assert_allclose(array(variable), old - 0.1 * slope, rtol=1e-5)


def test_adamw_by_hand():
    """Loshchilov & Hutter 2019, algorithm 2: of the first step, the ratio of moments is ±1."""
    model = dense_and_norm()
    variables = model.trainable_variables
    before = [array(variable) for variable in variables]
    config = small_config(OPTIMIZER="adamw", WEIGHT_DECAY=DECAY, GRADIENT_CLIP_NORM=None)
    optimizer = make_optimizer(config, 0.1)
    optimizer.build(variables)
    optimizer.apply([keras.ops.convert_to_tensor(np.full(v.shape, -0.25, np.float32))
                     for v in variables], variables)
    for variable, old in zip(variables, before):
        kept = 1 - 0.1 * DECAY if variable.name == "kernel" else 1.0
        np.testing.assert_allclose(array(variable), old * kept + 0.1, rtol=1e-5)


def test_the_detector_leaves_the_decay_to_adamw():
    model = build_detector("training", small_config(OPTIMIZER="adamw"))
    compile_detector(model, small_config(OPTIMIZER="adamw"), 1e-4)
    assert optimizer_adds_decay(model.optimizer)


def test_the_average_of_the_weights_by_hand():
    model = dense_and_norm()
    optimizer = make_optimizer(small_config(EMA_MOMENTUM=0.75), 0.1)
    optimizer.build(model.trainable_variables)
    kernel, average = model.trainable_variables[0], None
    for _ in range(3):
        optimizer.apply([keras.ops.ones(v.shape) for v in model.trainable_variables],
                        model.trainable_variables)
        # It begins at the weights after the first step.
        average = array(kernel) if average is None else 0.75 * average + 0.25 * array(kernel)
    optimizer.finalize_variable_values(model.trainable_variables)
    np.testing.assert_allclose(array(kernel), average, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"OPTIMIZER": "adamw"}, {"EMA_MOMENTUM": 0.9},
                                      {"PRECISION": "mixed_float16"}])
def test_every_training_names_its_variables_alike(settings):
    """TensorFlow keeps something for each name that it has ever seen."""
    def names():
        config = small_config(**settings)
        model = build_detector("training", config, seed=0)
        compile_detector(model, config, 0.001)
        return [v.path for v in (*model.variables, *model.optimizer.variables)]

    assert names() == names()
