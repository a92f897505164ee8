"""The trainings of the accuracy table detect as detectors with their settings do."""

import numpy as np
import pytest

from benchmarks import training_run
from frcnn.cli.sample import SmallObjectsConfig
from frcnn.model.mask_rcnn import MaskRCNN

CONFIG = SmallObjectsConfig(
    NUM_CLASSES=3, IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128, DETECTION_MIN_CONFIDENCE=0.0,
    POST_NMS_ROIS_INFERENCE=50)


@pytest.mark.nightly
@pytest.mark.parametrize("names", [("soft",), tuple(training_run.DETECTIONS)])
def test_each_way_of_detection_is_that_of_a_detector(names, tmp_path):
    shared = MaskRCNN("inference", CONFIG, str(tmp_path))
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    molded, metas, _ = shared.mold_inputs([image])
    found = training_run.with_detections(shared, names).predict_on_batch([molded, metas])
    assert set(found) == set(names)
    for name in names:
        detector = MaskRCNN("inference", CONFIG.replaced(**training_run.DETECTIONS[name]),
                            str(tmp_path))
        training_run.copy_weights(shared, detector)
        expected = detector.keras_model.predict_on_batch([molded, metas])[0]
        assert expected[0, 0, 5] > 0  # something is found
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
