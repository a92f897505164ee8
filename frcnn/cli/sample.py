"""What the programs need for one kind of data: its settings, its data set, its help texts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.folders import open_folder
from frcnn.files import expanded

# Share of the epochs that first train only "heads", from pretrained weights or with a new head.
HEAD_SHARE = 0.2
# Detections with a lower score do not count in the evaluation. A higher threshold would cut off the
# precision-recall curves.
EVALUATION_MIN_CONFIDENCE = 0.05


class SmallObjectsConfig(Config):
    """Settings for images with many small objects: those that differ from the defaults."""

    NAME = "frcnn"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 2
    # Camera images are wider than high: padded to squares, a third of the area would be padding.
    IMAGE_RESIZE_MODE = "fit64"
    IMAGE_MIN_DIM = 640
    IMAGE_MAX_DIM = 640
    # Cells are small compared with the objects of everyday photographs.
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
class Pretraining:
    """Synthetic data that detectors are trained on once, for `--model synthetic`.

    Attributes:
        name: of the data, as part of file names.
        text: what the data are, for messages.
        config: the Config to train with; those of its settings that describe the network are
            replaced by the ones of the run that begins with it, see `frcnn.cli.pretraining`.
        epochs: number of epochs.
        duration: about how long that takes, for messages.
        version: function without arguments: text that differs for other images or boxes.
        folder: function without arguments: the data set's folder; it makes the data if missing.
        load: as of `Sample`.
        recipe: name in `frcnn.cli.recipes.RECIPES`; of its settings, too, those that describe the
            network are replaced.
        augmentation, schedule: as of `MaskRCNN.train`.
    """

    name: str
    text: str
    config: Config
    epochs: int
    duration: str
    version: Callable[[], str]
    folder: Callable[[], Any]
    load: Callable[..., Dataset] = open_folder
    recipe: str = "default"
    augmentation: str | None = "flips"
    schedule: str = "warmup_cosine"


@dataclass(frozen=True)
class Sample:
    """One kind of data, as the training and evaluation programs use it.

    Attributes:
        config: the Config to train with, unless a JSON file beside the weights has their own.
        epochs: number of epochs when the command line does not give one.
        load: `load(folder, subset, skip_bad=...)` → a prepared Dataset of the subset "train" or
            "val", or, in the evaluation, of any other.
        folder: function that turns the value of `--dataset` into the data set's folder.
        description, epilog: texts of the training program's help.
        data_help: help text of the option `--dataset`; None: the sample generates its own data and
            has no such option.
        data_required: whether `--dataset` must be given.
        from_scratch: settings that replace those of `config` when training from random weights.
        recipe: name in `frcnn.cli.recipes.RECIPES`, for runs without `--recipe`.
        without_data: the Sample to use when `--dataset` is not given; None: this one.
        pretraining: what `--model synthetic` begins with; None: there is no such choice.
    """

    config: Config
    epochs: int
    load: Callable[..., Dataset] = open_folder
    folder: Callable[[Any], Any] = expanded
    description: str | None = None
    epilog: str | None = None
    data_help: str | None = ("data set in COCO's or Pascal VOC's layout, or as Roboflow, CVAT, "
                             "Label Studio and LabelImg write it")
    data_required: bool = False
    from_scratch: dict[str, Any] = field(default_factory=dict)
    recipe: str = "default"
    without_data: "Sample | None" = None
    pretraining: Pretraining | None = None

    def chosen(self, dataset: str | None) -> "Sample":
        """This sample, or `without_data` where `dataset`, the option's value, is None."""
        return self if dataset is not None or self.without_data is None else self.without_data


# Any folder in COCO's layout or Pascal VOC's.
ANY_FOLDER = Sample(SmallObjectsConfig(), epochs=20, data_required=True)
