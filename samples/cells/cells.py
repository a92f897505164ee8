"""Blood smears at 640×480: red and white cells, and platelets a third of their size."""

import os
from typing import Any, Self

from frcnn.cli.sample import Sample
from frcnn.config import Config
from frcnn.data.coco import CocoDataset

DESCRIPTION = """\
Trains Faster R-CNN with a feature pyramid on blood smears in COCO's layout, then evaluates it:

  DIR/annotations/instances_train.json, instances_val.json     boxes and classes
  DIR/train/, DIR/val/                                         the images

All files of a run are in one folder, LOGS/cells<date>T<time>.
"""

EPOCHS = 10


class CellsConfig(Config):
    """Settings for blood smears: what differs from the defaults."""

    NAME = "cells"
    BACKBONE = "resnet50"
    NUM_CLASSES = 1 + 3  # background, and the cells; the program reads the number from the data
    IMAGE_MIN_DIM = 448
    IMAGE_MAX_DIM = 448
    # Platelets are some 25 pixels across at this size, white cells up to 150.
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    TRAIN_ROIS_PER_IMAGE = 100
    POST_NMS_ROIS_TRAINING = 1000
    POST_NMS_ROIS_INFERENCE = 500
    DETECTION_MIN_CONFIDENCE = 0.5
    DETECTION_NMS_THRESHOLD = 0.5
    LEARNING_RATE = 0.01
    PRECISION = "auto"


class CellsDataset(CocoDataset):
    """Blood cells in COCO's layout: RBC, WBC and Platelets."""

    def load_cells(self, dataset_dir: str | os.PathLike[str], subset: str, **options: Any) -> None:
        """Adds a subset, "train" or "val"; options and errors as in `load_coco`."""
        self.load_coco(dataset_dir, subset, source=CellsConfig.NAME, **options)

    @classmethod
    def from_folder(cls, dataset_dir: str | os.PathLike[str], subset: str,
                    **options: Any) -> Self:
        """A data set with one subset loaded and prepared."""
        dataset = cls()
        dataset.load_cells(dataset_dir, subset, **options)
        dataset.prepare()
        return dataset


SAMPLE = Sample(CellsConfig(), EPOCHS, CellsDataset.from_folder, description=DESCRIPTION,
                data_help="folder of the blood smears", data_required=True)
