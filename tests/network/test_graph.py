"""The graph as a whole: its interface, its losses, its regularization."""

import keras
import numpy as np
import pytest
from keras import ops
from model_tools import Rectangles, array, one_batch, small_config

from frcnn.config import LOSS_NAMES
from frcnn.network.graph import build_detector
from frcnn.network.layers import NormBoxes
from frcnn.network.losses import LossSettings
from frcnn.training.layer_selection import layer_pattern, set_trainable

ANCHORS = 32**2 + 16**2 + 8**2 + 4**2 + 2**2  # one ratio
TRAINING_OUTPUTS = {
    "rpn_class_logits": (ANCHORS, 2), "rpn_class": (ANCHORS, 2), "rpn_bbox": (ANCHORS, 4),
    "rpn_sampled_match": (64, 1), "rpn_sampled_logits": (64, 2), "rpn_sampled_bbox": (64, 4),
    "rpn_rois": (900, 4), "output_rois": (24, 4), "target_class_ids": (24,), "target_bbox": (24, 4),
    "mrcnn_class_logits": (24, 4), "mrcnn_class": (24, 4), "mrcnn_bbox": (24, 4, 4),
}


@pytest.fixture(scope="module")
def config():
    return small_config(
        # So many proposals that some are positive even with random weights.
        RPN_ANCHOR_RATIOS=[1], PRE_NMS_LIMIT=1364, POST_NMS_ROIS_TRAINING=900, WEIGHT_DECAY=0.01,
        LOSS_WEIGHTS={"rpn_class_loss": 2.0, "rpn_bbox_loss": 0.5, "mrcnn_class_loss": 3.0})


@pytest.fixture(scope="module")
def model(config):
    keras.utils.set_random_seed(0)
    return build_detector("training", config, seed=0)


@pytest.fixture(scope="module")
def batch(config):
    return one_batch(config)


@pytest.fixture(scope="module")
def outputs(model, batch):
    return {name: array(value) for name, value in model(batch, training=False).items()}


def test_what_training_takes_and_gives(model, batch, outputs):
    assert {tensor.name for tensor in model.inputs} == set(batch)
    assert {name: value.shape[1:] for name, value in outputs.items()} == TRAINING_OUTPUTS


def test_the_losses_are_those_of_the_outputs(model, batch, outputs):
    found = {name: float(value) for name, value in model.loss_values(batch, outputs).items()}
    assert tuple(found) == LOSS_NAMES
    match = batch["input_rpn_match"][..., 0]
    log_probabilities = np.log(outputs["rpn_class"])
    positive, negative = match == 1, match == -1
    expected = -np.append(log_probabilities[positive, 1], log_probabilities[negative, 0])
    np.testing.assert_allclose(found["rpn_class_loss"], expected.mean(), rtol=1e-3)
    targets = np.concatenate([batch["input_rpn_bbox"][i, :positive[i].sum()] for i in range(2)])
    expected = smooth_l1(targets - outputs["rpn_bbox"][positive]).mean()
    np.testing.assert_allclose(found["rpn_bbox_loss"], expected, rtol=1e-4)

    labels = outputs["target_class_ids"]
    probabilities = np.take_along_axis(outputs["mrcnn_class"], labels[..., None], axis=2)
    np.testing.assert_allclose(found["mrcnn_class_loss"], -np.log(probabilities).mean(), rtol=1e-3)
    image, row = np.nonzero(labels)
    assert len(image)
    difference = outputs["target_bbox"][image, row] \
        - outputs["mrcnn_bbox"][image, row, labels[image, row]]
    np.testing.assert_allclose(found["mrcnn_bbox_loss"], smooth_l1(difference).mean(), rtol=1e-4)


def smooth_l1(difference):
    size = np.abs(difference)
    return np.where(size < 1, size**2 / 2, size - 0.5)


def penalty(model, decay):
    """The reference's: L2 over each weight's size, none on gamma and beta."""
    return decay * sum((array(weight) ** 2).mean() for weight in model.trainable_variables
                       if "gamma" not in weight.path and "beta" not in weight.path)


def test_the_total_is_weighted_and_regularized(model, batch, outputs, config):
    values = [float(value) for value in model.loss_values(batch, outputs).values()]
    weighted = np.dot(values, [2.0, 0.5, 3.0, 1.0])  # a loss without a weight counts once
    total = float(model.compute_loss(x=batch, y_pred=outputs))
    np.testing.assert_allclose(total, weighted + penalty(model, config.WEIGHT_DECAY), rtol=1e-5)
    assert [mean.name for mean in model.loss_means] == list(LOSS_NAMES)
    np.testing.assert_allclose([float(mean.result()) for mean in model.loss_means], values,
                               rtol=1e-5)


def test_only_trained_weights_are_regularized(model, config):
    everything = float(model.regularization())
    try:
        set_trainable(model, layer_pattern("heads"))
        heads = float(model.regularization())
        np.testing.assert_allclose(heads, penalty(model, config.WEIGHT_DECAY), rtol=1e-5)
        assert 0 < heads < everything
    finally:
        set_trainable(model, layer_pattern("all"))
    np.testing.assert_allclose(float(model.regularization()), everything)


def test_rois_come_from_proposals_and_objects_from_the_batch(outputs, batch):
    proposals, rois = outputs["rpn_rois"], outputs["output_rois"]
    for image in range(2):
        for roi in rois[image][rois[image].any(axis=1)]:
            assert (np.abs(proposals[image] - roi).max(axis=1) < 1e-6).any()
    assert set(outputs["target_class_ids"].ravel()) <= {0, *batch["input_gt_class_ids"].ravel()}


def test_label_smoothing_reaches_the_loss(model, batch, outputs, config, monkeypatch):
    plain = float(model.loss_values(batch, outputs)["mrcnn_class_loss"])
    settings = LossSettings.from_settings(config.replaced(LABEL_SMOOTHING=0.2))
    monkeypatch.setattr(model, "loss_settings", settings)
    smoothed = float(model.loss_values(batch, outputs)["mrcnn_class_loss"])
    uniform = -np.log(outputs["mrcnn_class"]).mean()
    np.testing.assert_allclose(smoothed, 0.8 * plain + 0.2 * uniform, rtol=1e-3)


def test_inactive_classes_do_not_count(model, batch, outputs):
    inactive = {**batch, "input_image_meta": batch["input_image_meta"].copy()}
    inactive["input_image_meta"][:, 12:] = 0
    assert float(model.loss_values(inactive, outputs)["mrcnn_class_loss"]) == 0


def test_detection_gives_its_outputs_in_order(detecting):
    model = detecting.keras_model
    assert [tensor.name for tensor in model.inputs] == ["input_image", "input_image_meta"]
    names = ["mrcnn_detection", "mrcnn_class", "mrcnn_bbox", "ROI", "rpn_class", "rpn_bbox"]
    assert [tensor._keras_history.operation.name for tensor in model.outputs] == names
    shapes = [tuple(tensor.shape[1:]) for tensor in model.outputs]
    assert shapes[:4] == [(20, 6), (40, 4), (40, 4, 4), (40, 4)]
    for name in ("fpn_p2", "fpn_p3", "fpn_p4", "fpn_p5", "fpn_p6", "rpn_class_logits"):
        assert model.get_layer(name).output.shape[0] is None


def test_an_unknown_mode_is_an_error(config):
    with pytest.raises(ValueError, match="mode is 'train'; allowed are"):
        build_detector("train", config)


def test_boxes_drawn_on_the_host_in_place_of_proposals():
    config = small_config(USE_RPN_ROIS=False)
    model = build_detector("training", config)
    batch = one_batch(config, random_rois=config.POST_NMS_ROIS_TRAINING)
    outputs = model(batch)
    rois = batch["input_rois"]
    expected = np.where(rois.any(-1, keepdims=True), (rois - np.array([0, 0, 1, 1])) / 127, 0)
    np.testing.assert_allclose(array(outputs["rpn_rois"]), expected, atol=1e-6)


def test_half_precision_inside_single_outside():
    config = small_config(PRECISION="mixed_bfloat16")
    model = build_detector("training", config)
    outputs = model(one_batch(config), training=True)
    for name, value in outputs.items():
        is_int = name in ("target_class_ids", "rpn_sampled_match")
        expected = "int32" if is_int else "float32"
        assert array(value).dtype == expected, name
        assert np.isfinite(array(value)).all()
    assert model.get_layer("fpn_p2").compute_dtype == "bfloat16"
    assert model.get_layer("rpn_model").get_layer("rpn_conv_shared").compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_sides_that_are_not_known_beforehand():
    config = small_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64)
    model = build_detector("training", config)
    batch = one_batch(config, Rectangles([(64, 128), (64, 192)]))
    assert batch["input_image"].shape == (2, 64, 192, 3)
    outputs = model(batch)
    cells = 16 * 48 + 8 * 24 + 4 * 12 + 2 * 6 + 1 * 3
    assert outputs["rpn_class"].shape == (2, 3 * cells, 2)
    assert np.isfinite(float(model.compute_loss(x=batch, y_pred=outputs)))


def test_norm_boxes_leaves_padding_zero():
    boxes = np.array([[[0, 0, 0, 0], [0, 0, 33, 65], [32, 64, 33, 65]]], np.float32)
    image = np.zeros((1, 33, 65, 3), np.float32)
    found = array(NormBoxes()([ops.convert_to_tensor(boxes), image]))
    np.testing.assert_allclose(found, [[[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]])
