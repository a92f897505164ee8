"""What the programs do with a data set before they load Keras: check it and describe it."""

from frcnn.cli.program import shows_progress
from frcnn.config import Config
from frcnn.data.agreement import check_intensity
from frcnn.data.check import LargeSize, settle_images
from frcnn.data.dataset import Dataset

# This many images of a subset are decoded before training, which takes some seconds on a laptop.
MOST_DECODED = 2000


def check_images(dataset: Dataset, decode: bool = True, skip_bad: bool = False,
                 large_size: LargeSize | None = None) -> None:
    """Reads the images once, so that a bad one is reported now and not in the middle of the work.

    Args:
        dataset: a prepared Dataset; bad images are removed from it with `skip_bad`.
        decode: whether to decode them, which finds truncated ones; of more than MOST_DECODED
            images the rest is checked by the header alone.
        skip_bad: whether to remove bad images from the data set, with a warning.
        large_size: of images that are read by regions; see `frcnn.data.check.check_images`.

    Raises:
        DatasetError: naming the first few bad images and what is wrong with them.
    """
    settle_images(dataset, skip_bad=skip_bad, decode=MOST_DECODED if decode else 0,
                  progress=shows_progress(), large_size=large_size)


def adapt(dataset: Dataset, config: Config) -> None:
    """Has a data set read its images as a configuration says."""
    dataset.image_channels = config.IMAGE_CHANNEL_COUNT
    if config.IMAGE_INTENSITY_RANGE is not None:
        dataset.intensity_range = config.IMAGE_INTENSITY_RANGE
    check_intensity(dataset, config)


def describe(dataset: Dataset) -> str:
    """The numbers of images and objects of a subset, as text."""
    objects = sum(len(dataset.load_boxes(image_id)[1]) for image_id in dataset.image_ids)
    return f"{dataset.num_images} images with {objects} objects"
