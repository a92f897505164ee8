"""A small detector to export, the same in every test, and what it detects."""

import numpy as np
from model_tools import noise, prefer_objects, set_random_statistics, small_config

NAMES = ["BG", "red", "green", "blue"]
CATEGORY_IDS = [None, 7, 2, 11]
ENDINGS = {"savedmodel": "", "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}
# What the default recipe of training sets, and what else changes the graph.
RECIPE = {"ROI_ALIGN_SAMPLES": 2, "PROPOSALS_PER_LEVEL": 40, "DETECTION_ALL_CLASSES": True,
          "DETECTION_SOFT_NMS_SIGMA": 0.5, "PYRAMID_BATCH_NORM": True,
          "DETECTION_MIN_CONFIDENCE": 0.05}
OPTIONS = {"CASCADE_IOUS": (0.5, 0.6), "PYRAMID_ATTENTION": True, "DETECTION_BOX_VOTING": 0.8,
           "DETECTION_FLIPS": ("horizontal",)}
IMAGES = noise([(100, 130), (128, 128), (60, 128)])


def small_detector(folder, **settings):
    """A MaskRCNN for detection with random weights that find something anywhere."""
    from frcnn.model.mask_rcnn import MaskRCNN

    config = small_config(**{"TRAIN_BN": False, "IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 64,
                             **settings})
    model = MaskRCNN("inference", config, folder, seed=1)
    set_random_statistics(model.keras_model)
    prefer_objects(model)
    return model


class Exports:
    """A detector with the default recipe's settings, and its files, written when first asked for.

    Args:
        folder: for the files.

    Attributes:
        model: the MaskRCNN.
    """

    SETTINGS = RECIPE

    def __init__(self, folder):
        self.folder, self.written = folder, {}
        self.model = small_detector(folder / "logs", **self.SETTINGS)

    def __call__(self, format, **options):
        """The path of a file of a format, and what `export` returned."""
        key = (format, *sorted(options.items()))
        if key not in self.written:
            path = self.folder / f"detector{len(self.written)}{ENDINGS[format]}"
            self.written[key] = path, self.model.export(
                path, format, class_names=NAMES, source_class_ids=CATEGORY_IDS, **options)
        return self.written[key]


def assert_same(found, expected, exact=False):
    """Whether the results of `detect` are the same, to what is promised of float32."""
    boxes, scores = (0, 0) if exact else (0.01, 1e-4)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert set(one) == set(other) == {"rois", "boxes", "class_ids", "scores"}
        np.testing.assert_array_equal(one["class_ids"], other["class_ids"])
        np.testing.assert_allclose(one["boxes"], other["boxes"], rtol=0, atol=boxes)
        np.testing.assert_allclose(one["scores"], other["scores"], rtol=0, atol=scores)
        for name in one:
            assert one[name].dtype == other[name].dtype and len(one[name]) == len(other["scores"])
