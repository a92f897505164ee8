"""A whole ResNet-50 detector as an ONNX file and in OpenVINO, which takes minutes and gigabytes."""

import keras
import pytest
from export_tools import NAMES, RECIPE, assert_same
from model_tools import noise, prefer_objects

from frcnn.config import Config
from frcnn.runtime import Detector


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow",
                    reason="TensorFlow traces what is exported")
def test_a_resnet50_in_openvino(tmp_path):
    pytest.importorskip("openvino")
    from frcnn.model.mask_rcnn import MaskRCNN

    config = Config(**{**RECIPE, "NAME": "whole", "BACKBONE": "resnet50", "NUM_CLASSES": 4,
                       "IMAGE_RESIZE_MODE": "fit64", "IMAGE_MIN_DIM": 256, "IMAGE_MAX_DIM": 256,
                       "PROPOSALS_PER_LEVEL": 200, "POST_NMS_ROIS_INFERENCE": 200})
    model = MaskRCNN("inference", config, tmp_path / "logs", seed=1)
    prefer_objects(model)
    _part_scores(model)
    path = tmp_path / "detector.xml"
    exported = model.export(path, "openvino", class_names=NAMES)
    assert exported.comparison.detections > 100
    assert 150e6 < exported.size < 200e6
    images = noise([(200, 300), (256, 100)])
    assert_same(Detector(path).detect(images), model.detect(images))


def _part_scores(model):
    """A head with many features and random weights gives scores of 1, whose order is open."""
    layer = model.keras_model.get_layer("mrcnn_class_logits")
    kernel, bias = layer.get_weights()
    layer.set_weights([0.05 * kernel, bias])
