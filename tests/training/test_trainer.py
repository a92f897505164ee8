"""How a detector is compiled for training."""

import keras
import numpy as np
from keras import layers
from model_tools import array, small_config

from frcnn.training.trainer import compile_detector


def test_gradients_are_clipped_by_their_global_norm():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1), layers.Dense(1)])
    config = small_config(GRADIENT_CLIP_NORM=2.0, WEIGHT_DECAY=0.0)
    compile_detector(model, config, learning_rate=1.0, momentum=0.0)
    before = [array(weight) for weight in model.trainable_variables]
    gradients = [np.full(weight.shape, 3.0, np.float32) for weight in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    for old, weight, gradient in zip(before, model.trainable_variables, gradients):
        np.testing.assert_allclose(old - array(weight), gradient * 2.0 / norm, rtol=1e-5)


def test_small_gradients_are_left_as_they_are_and_momentum_carries_on():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    config = small_config(LEARNING_MOMENTUM=0.5, WEIGHT_DECAY=0.0)
    compile_detector(model, config, learning_rate=1.0)
    (weight,) = model.trainable_variables
    start = array(weight)
    for moved in (1.0, 2.5):  # 1, then 1 + 0.5
        model.optimizer.apply([np.ones((1, 1), np.float32)], [weight])
        np.testing.assert_allclose(array(weight), start - moved, rtol=1e-5)


def test_half_floats_scale_their_loss():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    compile_detector(model, small_config(PRECISION="mixed_float16"), 0.1)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    compile_detector(model, small_config(GRADIENT_CLIP_NORM=None), 0.1)
    assert model.optimizer.clip_norm is None
