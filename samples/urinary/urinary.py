"""Urine sediment for the programs: a user's own micrographs, or synthetic ones."""

from pathlib import Path

from frcnn.cli.sample import Pretraining, Sample
from frcnn.files import expanded
from samples.urinary.config import (
    EPOCHS,
    PRETRAINING_EPOCHS,
    SLIM_NETWORK,
    SYNTHETIC_EPOCHS,
    SyntheticConfig,
    UrinaryConfig,
)

DESCRIPTION = """\
Trains Faster R-CNN with a feature pyramid on micrographs, then evaluates it on the subset 'val'.

Without arguments it trains from random weights on synthetic urine sediment, which it draws once.
With --dataset it trains on your own images:

  DIR/annotations/instances_train.json   boxes and classes in COCO's format
  DIR/annotations/instances_val.json
  DIR/train/                             the images that the first file names
  DIR/val/                               the images that the second names

or, in Pascal VOC's layout:

  DIR/ImageSets/Main/train.txt, val.txt  the names of the images
  DIR/Annotations/, DIR/JPEGImages/      their boxes and classes, and the images

The classes are those of the annotations. All files of a run are in one folder,
LOGS/ury<date>T<time>: a checkpoint for each epoch, the configuration as JSON, TensorBoard's logs,
and at the end report.html, metrics.json, losses.png and detections.png.

A run that continues (--model last, or the path of its checkpoint) keeps all its options, the data
set included, unless they are given again.
"""

EPILOG = """\
examples:
  train.py --dataset ~/sediment --model imagenet --epochs 40
  train.py --model last --epochs 60                          continue the newest run, up to 60
  train.py --dataset ~/sediment --model synthetic            begin with drawn sediment
  train.py --dataset ~/sediment --model old/mask_rcnn_ury_0050.h5
  train.py --dataset ~/sediment --backbone densenet121 --image-size 768 --batch-size 1
"""


def dataset_folder(folder: str | Path | None = None) -> Path:
    """The folder given, or that of the synthetic micrographs, which are drawn once."""
    if folder is not None:
        return expanded(folder)
    from samples.urinary import synthetic

    return Path(synthetic.ensure())


def data_version() -> str:
    """A text that differs for other synthetic micrographs."""
    from samples.urinary import synthetic

    return synthetic.name_of()


PRETRAINING = Pretraining(
    "urinary", "the synthetic micrographs", SyntheticConfig(), PRETRAINING_EPOCHS,
    duration="half an hour on two processor cores", version=data_version, folder=dataset_folder)
SYNTHETIC = Sample(SyntheticConfig(), SYNTHETIC_EPOCHS, folder=dataset_folder,
                   from_scratch=SLIM_NETWORK, recipe="reference")
SAMPLE = Sample(UrinaryConfig(), EPOCHS, description=DESCRIPTION, epilog=EPILOG,
                data_help="data set in COCO's or Pascal VOC's layout (default: synthetic "
                          "micrographs)", without_data=SYNTHETIC, pretraining=PRETRAINING)
