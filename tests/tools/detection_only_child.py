"""A program for test_detection_only.py: detects with several sets of weights, one after another.

    python detection_only_child.py RESULTS LOGS PRECISION [only]

With `only`, the process calls `frcnn.startup.detection_only` first.
"""

import sys

import numpy as np
from model_tools import prefer_objects, small_config

from frcnn.errors import DetectionOnlyError
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.startup import detection_only

SIZES = ((64, 96), (150, 128), (64, 200), (300, 310))
IMAGES = [np.random.default_rng(i).integers(0, 255, (*size, 3), np.uint8)
          for i, size in enumerate(SIZES)]


def numbered(values):
    """The results of one set of weights as arrays that a file can hold."""
    return [row for result in values
            for row in np.concatenate([result["boxes"], result["scores"][:, None]], axis=1)]


def main(results, logs, precision, *words):
    """Writes the detections of every set of weights."""
    if words:
        detection_only()
    config = small_config(TRAIN_BN=False, PRE_NMS_LIMIT=100_000, IMAGE_RESIZE_MODE="pad64",
                          IMAGE_MIN_DIM=64, PRECISION=precision)
    model = MaskRCNN("inference", config, logs, seed=1)
    prefer_objects(model)
    found = {"first": numbered(model.detect(IMAGES))}
    weights = model.keras_model.get_weights()
    # All of them; then one that is no part of a convolution with a BatchNorm.
    model.keras_model.set_weights([0.9 * weight for weight in weights])
    found["all changed"] = numbered(model.detect(IMAGES))
    found["nothing changed"] = numbered(model.detect(IMAGES))
    kernel = model.keras_model.get_layer("fpn_p2").kernel
    kernel.assign(-np.asarray(kernel))
    found["one changed"] = numbered(model.detect(IMAGES))
    found["inside"] = model.run_graph(IMAGES[:1], [
        ("P2", model.keras_model.get_layer("fpn_p2").output)])["P2"]
    kernel.assign(np.zeros_like(np.asarray(kernel)))
    found["inside, then zero"] = model.run_graph(IMAGES[:1], [
        ("P2", model.keras_model.get_layer("fpn_p2").output)])["P2"]
    np.savez(results, **found)
    if words:
        try:
            MaskRCNN("training", config, logs)
        except DetectionOnlyError as error:
            print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
