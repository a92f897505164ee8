"""What the programs do with a data set before they load Keras: check it and describe it."""

from collections.abc import Sequence

from frcnn.cli.program import shows_progress
from frcnn.data.check import settle_images
from frcnn.data.dataset import Dataset
from frcnn.errors import DatasetError

# This many images of a subset are decoded before training, which takes some seconds on a laptop.
MOST_DECODED = 2000


def check_images(dataset: Dataset, decode: bool = True, skip_bad: bool = False) -> None:
    """Reads the images once, so that a bad one is reported now and not in the middle of the work.

    Args:
        dataset: a prepared Dataset; bad images are removed from it with `skip_bad`.
        decode: whether to decode them, which finds truncated ones; of more than MOST_DECODED
            images the rest is checked by the header alone.
        skip_bad: whether to remove bad images from the data set, with a warning.

    Raises:
        DatasetError: naming the first few bad images and what is wrong with them.
    """
    settle_images(dataset, skip_bad=skip_bad, decode=MOST_DECODED if decode else 0,
                  progress=shows_progress())


def check_same_classes(names: Sequence[str], dataset: Dataset, where: str, advice: str) -> None:
    """Raises DatasetError unless `names` (background first) are the data set's classes."""
    if list(names) != list(dataset.class_names):
        raise DatasetError(f"{where} has the classes {', '.join(names[1:])}, but the data set has "
                           f"{', '.join(dataset.class_names[1:])}. {advice}")


def describe(dataset: Dataset) -> str:
    """The numbers of images and objects of a subset, as text."""
    objects = sum(len(dataset.load_boxes(image_id)[1]) for image_id in dataset.image_ids)
    return f"{dataset.num_images} images with {objects} objects"
