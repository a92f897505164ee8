"""What sets the training on one kind of data apart: its settings, its data set, its help texts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.folders import open_folder

# Share of the epochs that train only the new layers, when the others start from pretrained weights.
HEAD_SHARE = 0.2
# Below this score a detection does not count in the evaluation; higher ones would cut off the
# precision-recall curves.
EVALUATION_MIN_CONFIDENCE = 0.05


class SmallObjectsConfig(Config):
    """Settings for small objects, many of them in an image: what differs from the defaults."""

    NAME = "frcnn"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 2
    # A camera's pictures are wider than high: padding them to squares would waste a third.
    IMAGE_RESIZE_MODE = "fit64"
    IMAGE_MIN_DIM = 640
    IMAGE_MAX_DIM = 640
    # Cells are small beside the objects of everyday photographs.
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    RPN_ANCHOR_STRIDE = 2
    POST_NMS_ROIS_TRAINING = 1000
    POST_NMS_ROIS_INFERENCE = 500
    # Rare classes: the head learns them before the RPN finds them.
    PROPOSAL_APPEND_GT = True
    MAX_GT_INSTANCES = 200
    DETECTION_MIN_CONFIDENCE = 0.5
    DETECTION_NMS_THRESHOLD = 0.5
    LEARNING_RATE = 0.01
    PRECISION = "auto"


@dataclass(frozen=True)
class Sample:
    """What the programs need to know of one kind of data.

    Attributes:
        config: the Config to train with, unless the weights bring their own.
        epochs: of a training, when the command line names no number.
        load: `load(folder, subset, skip_bad=...)` → a prepared Dataset of the subset "train" or
            "val", or, in the evaluation, of any other.
        folder: from the option `--dataset` to the folder that it stands for.
        description, epilog: of the training program's help.
        data_help: of the option `--dataset`; None: there is no such option, the sample makes its
            data itself.
        data_required: whether the option must be given.
        from_scratch: settings that replace those of `config` in a training from random weights.
        without_data: the Sample that stands in where `--dataset` is not given; None: this one.
    """

    config: Config
    epochs: int
    load: Callable[..., Dataset] = open_folder
    folder: Callable = Path
    description: str | None = None
    epilog: str | None = None
    data_help: str | None = "data set in COCO's or Pascal VOC's layout"
    data_required: bool = False
    from_scratch: dict = field(default_factory=dict)
    without_data: "Sample | None" = None

    def chosen(self, dataset):
        """This sample, or the one that stands in where `dataset`, the option, is None."""
        return self if dataset is not None or self.without_data is None else self.without_data


# Any folder in COCO's layout or Pascal VOC's.
ANY_FOLDER = Sample(SmallObjectsConfig(), epochs=20, data_required=True)
