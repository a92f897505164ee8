"""The parts and the variants that are timed compute what the detector computes."""

import keras
import numpy as np
import pytest
from keras import layers

from benchmarks import network
from frcnn.network.layers import BatchNorm

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the parts are TensorFlow functions", allow_module_level=True)

from benchmarks import stage_parts, variant_parts  # noqa: E402

SETTINGS = {
    "TOP_DOWN_PYRAMID_SIZE": 16, "FPN_CLASSIF_FC_LAYERS_SIZE": 32, "PRE_NMS_LIMIT": 100,
    "POST_NMS_ROIS_INFERENCE": 30, "POST_NMS_ROIS_TRAINING": 40, "TRAIN_ROIS_PER_IMAGE": 16,
    "RPN_TRAIN_ANCHORS_PER_IMAGE": 32, "RPN_ANCHOR_SCALES": (8, 16, 32, 48, 64),
    "DETECTION_MIN_CONFIDENCE": 0.0,
}


def tiny_backbone(input_image, stage5=True, train_bn=True):
    x, stages = layers.Rescaling(1 / 64)(input_image), []
    for stage in range(1, 6):
        x = layers.Conv2D(8, 3, strides=2, padding="same", name=f"tiny{stage}_conv")(x)
        x = layers.Activation("relu")(BatchNorm(train_bn=train_bn, name=f"tiny{stage}_bn")(x))
        stages.append(x)
    return stages


def tiny_shapes(image_shape):
    return np.array([[-(-side // stride) for side in image_shape[:2]]
                     for stride in (4, 8, 16, 32, 64)])


@pytest.fixture
def config():
    return network.make_config(64, 2, BACKBONE=tiny_backbone, COMPUTE_BACKBONE_SHAPE=tiny_shapes,
                               **SETTINGS)


def test_parts_in_sequence_give_the_detections(config):
    model = network.make_detector("inference", config)
    molded, metas, _ = model.mold_inputs([network.make_image(64, seed=i) for i in range(2)])
    compiled = model._detection.compiled()
    parts = stage_parts.inference_parts(compiled.model, molded, metas,
                                        model.get_anchors((64, 64, 3))[None])
    assert list(parts) == ["backbone", "FPN", "RPN", "proposals", "RoI align", "head", "detection"]
    (detections,) = parts["detection"]()
    assert np.any(detections[..., 5] > 0)
    np.testing.assert_allclose(detections, compiled(molded, metas), atol=1e-4)


def test_parts_of_a_training_step(config):
    model = network.make_detector("training", config)
    parts = stage_parts.training_parts(model.keras_model, network.make_batch(config))
    assert list(parts) == ["backbone", "FPN", "RPN", "proposals", "targets", "RoI align", "head",
                           "losses", "weights' update"]
    # gradients: of 5 convolutions with BatchNorm 4 each; of P2 to P5 by RoI align
    assert len(parts["backbone"]()) == 20
    maps = parts["RoI align"]()
    assert [map_.shape[1] for map_ in maps] == [16, 8, 4, 2]
    # of ones, bilinear weights add up to one for each sample and channel
    assert sum(float(tf.reduce_sum(map_)) for map_ in maps) == pytest.approx(
        2 * 16 * 7 * 7 * 16, rel=1e-4)
    for name, part in parts.items():
        for value in tf.nest.flatten(part()):
            assert np.isfinite(value).all(), name


def test_a_whole_row_in_this_process(config, monkeypatch):
    monkeypatch.setattr(network, "make_config", lambda *arguments, **settings: config)
    found = network.measure_row("train", 64, 2, runs=2, warmup=1, product=32)
    assert len(found["seconds"]) == 2 and min(found["seconds"]) > 0
    assert found["multiply_adds"] > 0 and found["half_products"] == []
    # The kernel adds up pages with a delay, in portions of some hundred kilobytes.
    assert found["memory_peak"] is None or found["memory_peak"] >= found["memory_built"] - 2**20


def test_many_images(config, monkeypatch):
    monkeypatch.setattr(network, "make_config", lambda *arguments, **settings: config)
    found = network.measure_many(6, 3, 64, "float32", "square")
    assert len(found["shapes"]) == 1 and found["seconds"] > 0


def test_all_variants_of_roi_align_agree():
    found = variant_parts.measure_align("float32", runs=1, warmup=0, shrink=8)
    assert list(found) == list(variant_parts.align_cases(8))
    for variants in found.values():
        assert list(variants) == list(variant_parts.ALIGN)
        assert max(data["difference"] for data in variants.values()) < 1e-4


def test_boxes_of_the_variants():
    rng = np.random.default_rng(0)
    for draw in (variant_parts.random_boxes, variant_parts.clustered_boxes):
        boxes = draw(rng, (2, 50))
        assert boxes.shape == (2, 50, 4) and boxes.dtype == np.float32
    boxes = variant_parts.random_boxes(rng, (2, 50))
    assert boxes.min() >= 0 and boxes.max() <= 1 and (boxes[..., 2:] > boxes[..., :2]).all()
