"""`samples/shapes/train.py` with the small network of `model_tools`."""

import sys
from dataclasses import replace

from model_tools import small_backbone, small_shapes

from frcnn.cli import train
from samples.shapes.shapes import SAMPLE

SMALL = replace(SAMPLE, config=SAMPLE.config.replaced(
    BACKBONE=small_backbone, COMPUTE_BACKBONE_SHAPE=small_shapes, TOP_DOWN_PYRAMID_SIZE=32,
    FPN_CLASSIF_FC_LAYERS_SIZE=32, POST_NMS_ROIS_TRAINING=50, TRAIN_ROIS_PER_IMAGE=20))

if __name__ == "__main__":
    sys.exit(train.main(prog="small_train.py", sample=SMALL))
