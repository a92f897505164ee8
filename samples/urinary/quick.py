"""A small detector for the notebooks, trained in about three minutes on two cores.

Keras is loaded only when it has to train.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from frcnn import runs
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.errors import DatasetError
from frcnn.startup import start_backend
from samples.urinary.config import SLIM_NETWORK, SyntheticConfig, UrinaryConfig


class QuickConfig(SyntheticConfig):
    """A DenseNet on small images: from random weights it learns sooner than a ResNet."""

    NAME = "quick"
    BACKBONE = "densenet121"
    TOP_DOWN_PYRAMID_SIZE = SLIM_NETWORK["TOP_DOWN_PYRAMID_SIZE"]
    FPN_CLASSIF_FC_LAYERS_SIZE = SLIM_NETWORK["FPN_CLASSIF_FC_LAYERS_SIZE"]
    IMAGE_MIN_DIM = 256
    IMAGE_MAX_DIM = 256
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    STEPS_PER_EPOCH = 120
    PRE_NMS_LIMIT = 1000
    POST_NMS_ROIS_TRAINING = 300
    POST_NMS_ROIS_INFERENCE = 200
    TRAIN_BN = True


EPOCHS = 5


def find_or_train(train: Dataset, logs: str | Path, model: str | Path | None = None) -> Path:
    """A trained detector for a data set: a given one, the newest there is, or a new one.

    Args:
        train: prepared Dataset to train on, and whose classes the detector must have.
        logs: folder of all runs.
        model: path of a checkpoint with its JSON beside it; None takes the newest run in `logs`,
            of train.py or of this function, that has these classes, or trains one.

    Returns:
        Path of the checkpoint.

    Raises:
        DatasetError: the classes of `model` are others.
        FileNotFoundError: there is no such `model`, or no JSON beside it.
    """
    if model is None:
        return _newest(logs, train.class_names) or train_quickly(train, logs)
    names = runs.load_metadata(model).class_names
    if names != list(train.class_names):
        raise DatasetError(f"{model} has the classes {', '.join(names[1:])}, but the data set has "
                           f"{', '.join(train.class_names[1:])}. Name a checkpoint that was "
                           "trained on this data set, or None.")
    return Path(model)


def _newest(logs: str | Path, class_names: Sequence[str]) -> Path | None:
    """The last checkpoint of the newest run with these classes, or None."""
    folders = [folder for folder in Path(logs).glob("*T*") if folder.is_dir() and any(
        runs.is_run_folder(folder, config.NAME) for config in (UrinaryConfig, QuickConfig))]
    for folder in sorted(folders, key=lambda path: path.name[-len("yyyymmddThhmm"):], reverse=True):
        path = runs.last_checkpoint(folder)
        try:
            if path and runs.load_metadata(path).class_names == list(class_names):
                return Path(path)
        except (FileNotFoundError, runs.CheckpointError):
            continue  # not one of ours, or incomplete
    return None


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in a run's folder, by epoch."""
    return sorted((path for path in Path(folder).glob("mask_rcnn_*.h5") if runs.epoch_of(path)),
                  key=runs.epoch_of)


def train_quickly(train: Dataset, logs: str | Path, config: Config | None = None,
                  epochs: int = EPOCHS) -> Path:
    """Trains QuickConfig from random weights; returns the Path of the last checkpoint.

    Prints what it does, a line an epoch.
    """
    start_backend()
    from frcnn.model import MaskRCNN

    config = config or QuickConfig(NUM_CLASSES=train.num_classes)
    print(f"No trained detector for these classes yet: training a small one, {epochs} epochs of "
          f"{config.STEPS_PER_EPOCH} steps, into {os.path.basename(os.path.abspath(logs))}/. This "
          "takes about three minutes on two idle cores, once.", flush=True)
    model = MaskRCNN(mode="training", config=config, model_dir=str(logs), seed=0)
    model.train(train, None, config.LEARNING_RATE, epochs=epochs, layers="all",
                augmentation="flip", schedule="warmup_cosine", verbose=2)
    assert model.last_checkpoint is not None
    return Path(model.last_checkpoint)
