"""Gradients of traced functions: right, and gone with their graphs."""

import gc
import weakref

import keras
import numpy as np
import pytest
from model_tools import array, gradient, one_batch, small_config

from frcnn.network.graph import build_detector
from frcnn.network.ops import custom_gradient
from frcnn.training.trainer import compile_detector

tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow",
                                     reason="only TensorFlow registers gradients")


def tripled(x):
    """2x, with a gradient of 3, so that it is seen whose gradient is taken."""
    def slopes(*args, upstream=None):
        return 3.0 * (args[0] if upstream is None else upstream)

    return 2.0 * x, slopes


def test_the_gradient_is_the_functions_own():
    x = np.array([1.0, 2.0], np.float32)
    slope = gradient(lambda x: keras.ops.sum(custom_gradient(tripled)(x)), x)
    np.testing.assert_array_equal(array(slope), [3.0, 3.0])


@tensorflow_only
def test_the_gradient_of_a_traced_function_is_taken_from_outside_too():
    import tensorflow as tf

    traced = tf.function(custom_gradient(tripled))
    x = tf.constant([1.0, 2.0])
    gc.collect()
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = traced(x)
    np.testing.assert_array_equal(array(y), [2.0, 4.0])
    np.testing.assert_array_equal(array(tape.gradient(y, x)), [3.0, 3.0])


@tensorflow_only
def test_nothing_is_left_of_a_graph():
    import tensorflow as tf
    from tensorflow.python.framework.ops import gradient_registry

    def trace():
        weight = tf.Variable([1.0, 2.0])
        traced = tf.function(lambda: custom_gradient(tripled)(weight * 1.0))
        traced()
        return weakref.ref(traced.get_concrete_function().graph)

    gc.collect()  # of other tests
    before = len(gradient_registry._registry)
    graph = trace()
    gc.collect()
    assert graph() is None and len(gradient_registry._registry) == before


@tensorflow_only
def test_a_trained_detector_can_be_deleted():
    def train():
        config = small_config()
        model = build_detector("training", config, seed=0)
        compile_detector(model, config, 0.001)
        model.train_on_batch(one_batch(config))
        return weakref.ref(model.trainable_variables[0])

    weight = train()
    gc.collect()
    assert weight() is None
