"""Whether data sets, configurations and checkpoints mean the same by classes and gray levels.

These checks are made where the data are used, so that a program and a script are refused alike.
"""

from collections.abc import Sequence

from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.intensity import as_range
from frcnn.errors import DatasetError


def check_fits(dataset: Dataset, config: Config) -> None:
    """Raises DatasetError unless a data set and a configuration can be used together."""
    check_classes(dataset, config)
    check_intensity(dataset, config)


def check_classes(dataset: Dataset, config: Config) -> None:
    """Raises DatasetError when a data set has more classes than the model is built for."""
    if dataset.num_classes > config.NUM_CLASSES:
        raise DatasetError(
            f"The data set has {dataset.num_classes} classes, background included, but NUM_CLASSES "
            f"is {config.NUM_CLASSES}; set it to {dataset.num_classes}.")


def check_intensity(dataset: Dataset, config: Config) -> None:
    """Raises DatasetError when a data set reads its files by another range than the model's."""
    ours, models = as_range(dataset.intensity_range), as_range(config.IMAGE_INTENSITY_RANGE)
    if ours != models:
        raise DatasetError(
            f"The data set has the intensity_range {ours}, but IMAGE_INTENSITY_RANGE of the "
            f"configuration is {models}: images would be read otherwise in training than in "
            "detection. Set both to the same.")


def check_same_classes(names: Sequence[str], dataset: Dataset, where: str, advice: str) -> None:
    """Raises DatasetError unless `names` (background first) are the data set's classes."""
    if list(names) != list(dataset.class_names):
        same = sorted(names) == sorted(dataset.class_names)
        order = ", in another order, so that the same number means another class" * same
        raise DatasetError(f"{where} has the classes {', '.join(names[1:])}, but the data set has "
                           f"{', '.join(dataset.class_names[1:])}{order}. {advice}")
