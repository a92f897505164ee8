"""Everyday photographs: COCO 2017, 80 classes."""

import os
from typing import Any, Self

from frcnn.cli.sample import Sample
from frcnn.config import Config
from frcnn.data.coco import CocoDataset

DESCRIPTION = """\
Trains Faster R-CNN with a feature pyramid on COCO 2017, as its archives unpack, then evaluates it:

  DIR/annotations/instances_train2017.json, instances_val2017.json
  DIR/train2017/, DIR/val2017/

All files of a run are in one folder, LOGS/coco<date>T<time>. Training needs a GPU; --steps and
--val-images shorten it for a test.
"""

EPOCHS = 12
YEAR = 2017


class CocoConfig(Config):
    """The defaults, which are the reference's for COCO, with newer values for some."""

    NAME = "coco"
    NUM_CLASSES = 1 + 80  # background, and the categories
    DETECTION_MIN_CONFIDENCE = 0.5
    DETECTION_NMS_THRESHOLD = 0.5
    LEARNING_RATE = 0.005
    PRECISION = "auto"


class Coco2017Dataset(CocoDataset):
    """COCO's own folder: `annotations/instances_train2017.json`, `train2017/`, and so for val."""

    @classmethod
    def from_folder(cls, dataset_dir: str | os.PathLike[str], subset: str,
                    **options: Any) -> Self:
        """A data set with the subset "train" or "val" of 2017 loaded and prepared."""
        return super().from_folder(dataset_dir, f"{subset}{YEAR}", **options)

    def source_image_link(self, image_id: int) -> str:
        """The image's page in COCO's explorer."""
        return f"https://cocodataset.org/#explore?id={self.image_info[image_id]['id']}"


SAMPLE = Sample(CocoConfig(), EPOCHS, Coco2017Dataset.from_folder, description=DESCRIPTION,
                data_help="folder of COCO 2017", data_required=True, recipe="reference")
