"""Folding BatchNorm: the same outputs, fewer layers, and never stale weights."""

import keras
import numpy as np
import pytest
from keras import layers
from model_tools import array, prefer_objects, set_random_statistics, small_config

from frcnn.inference.folding import FoldedModel, foldable_pairs
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.network.layers import BatchNorm


def conv_and_norm(**norm):
    image = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, name="conv")(image)
    x = BatchNorm(name="norm", epsilon=0.001, **norm)(x)
    return keras.Model(image, layers.Activation("relu")(x))


def test_one_convolution_by_hand():
    model = conv_and_norm()
    model.get_layer("conv").set_weights([np.ones((3, 3, 2, 3)), np.array([1.0, 2.0, 3.0])])
    # gamma, beta, mean, variance; the square root of 3.999 + 0.001 is 2
    model.get_layer("norm").set_weights(
        list(np.array([[2.0, 4.0, 6.0], [0.5] * 3, [1.0] * 3, [3.999] * 3])))
    folded = FoldedModel(model)
    kernel, bias = folded.model.get_layer("conv").get_weights()
    np.testing.assert_allclose(kernel[1, 1, 0], [1.0, 2.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(bias, [0.5, 2.5, 6.5], rtol=1e-6)
    assert folded.folded == ["norm"]
    assert not any(isinstance(layer, BatchNorm) for layer in folded.model.layers)


@pytest.mark.parametrize("fixture, count, left", [("resnet", 53, 0), ("densenet", 59, 62)])
def test_every_backbone_gives_the_same_maps(fixture, count, left, request):
    model = keras.models.clone_model(request.getfixturevalue(fixture))
    set_random_statistics(model)
    folded = FoldedModel(model)
    assert len(folded.folded) == count
    assert sum(isinstance(layer, BatchNorm) for layer in folded.model.layers) == left
    image = np.random.default_rng(0).normal(0, 60, (1, 64, 96, 3)).astype(np.float32)
    for found, expected in zip(folded.model(image), model(image)):
        expected = array(expected)
        np.testing.assert_allclose(array(found), expected, rtol=1e-3,
                                   atol=1e-5 * np.abs(expected).max())


def test_what_must_stay():
    image = keras.Input((8, 8, 2))
    active = layers.Conv2D(2, 1, activation="relu", name="active")(image)
    after_relu = BatchNorm(name="after_relu")(active)
    shared = layers.Conv2D(2, 1, name="read_twice")(after_relu)
    beside = BatchNorm(name="beside")(shared)
    shown = layers.Conv2D(2, 1, name="shown")(beside)
    model = keras.Model(image, [layers.Add()([shared, beside]), shown, BatchNorm()(shown)])
    assert foldable_pairs(model) == {}


@pytest.fixture
def detector(tmp_path):
    model = MaskRCNN("inference", small_config(), tmp_path, seed=1)
    set_random_statistics(model.keras_model)
    return model


def test_the_head_is_folded_and_the_detector_gives_the_same(detector):
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    folded = FoldedModel(detector.keras_model)
    assert {"mrcnn_class_bn1", "mrcnn_class_bn2", "small1_bn"} <= set(folded.folded)
    molded, metas, _ = detector.mold_inputs([image])
    expected = detector.keras_model.predict_on_batch([molded, metas])
    for found, wanted in zip(folded.model.predict_on_batch([molded, metas])[3:], expected[3:]):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_bfloat16_weights_are_kept_as_such(tmp_path):
    detector = MaskRCNN("inference", small_config(PRECISION="mixed_bfloat16"), tmp_path, seed=1)
    folded = FoldedModel(detector.keras_model)
    kernel = folded.model.get_layer("mrcnn_class_conv1").kernel
    assert keras.backend.standardize_dtype(kernel.dtype) == "bfloat16"
    source = detector.keras_model.get_layer("mrcnn_class_conv1").kernel
    assert keras.backend.standardize_dtype(source.dtype) == "float32"


def test_changed_weights_are_folded_anew(detector):
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    for change in (lambda: set_random_statistics(detector.keras_model, seed=1),
                   lambda: detector.keras_model.get_layer("small1_bn").gamma.assign(np.ones(8)),
                   lambda: detector.keras_model.get_layer("mrcnn_class_conv1").kernel.assign(
                       np.zeros((7, 7, 32, 64)))):
        before = detector.detect([image])[0]
        change()
        after = detector.detect([image])[0]
        assert not np.array_equal(before["scores"], after["scores"])
        fresh = FoldedModel(detector.keras_model, detector.keras_model.outputs[0])
        molded, metas, _ = detector.mold_inputs([image])
        expected = fresh.model.predict_on_batch([molded, metas])[0]
        found = len(after["scores"])
        np.testing.assert_allclose(after["scores"], expected[:found, 5], rtol=1e-5)


def quantized(tmp_path, weights):
    """A detector with these weights whose dense layers were quantized before anything else."""
    other = MaskRCNN("inference", small_config(), tmp_path, seed=3)
    other.keras_model.set_weights(weights)
    other.keras_model.quantize("int8")
    return other


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
@pytest.mark.skipif(not hasattr(layers.Dense, "quantize"), reason="this Keras cannot quantize")
def test_a_quantized_model_detects_as_such_also_if_it_had_detected_before(detector, tmp_path):
    prefer_objects(detector)
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    before = detector.detect([image])[0]
    fresh = quantized(tmp_path, detector.keras_model.get_weights())
    detector.keras_model.quantize("int8")
    found, expected = (model.detect([image])[0] for model in (detector, fresh))
    assert len(expected["scores"])
    np.testing.assert_array_equal(found["class_ids"], expected["class_ids"])
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-3)
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-6)
    assert not np.allclose(before["scores"], found["scores"], atol=1e-4)
