"""What the programs do with a data set before the slow parts: check it and describe it."""

from frcnn.data.check import settle_images
from frcnn.errors import DatasetError

# So many images of a subset are read in full before training, some seconds on a laptop.
MOST_DECODED = 2000


def check_images(dataset, decode=True, skip_bad=False):
    """Reads the images once, so that a bad one shows now and not in the middle of the work.

    Args:
        decode: whether to read them in full, which finds those that break off; of more than
            MOST_DECODED images the rest is checked by the header alone.
        skip_bad: whether to leave bad images out of the data set, with a warning.

    Raises:
        DatasetError: naming the first few bad images and what is wrong with them.
    """
    settle_images(dataset, skip_bad=skip_bad, decode=MOST_DECODED if decode else 0, progress=True)


def check_same_classes(names, dataset, where, advice):
    """Raises DatasetError unless `names` (background first) are the data set's classes."""
    if list(names) != list(dataset.class_names):
        raise DatasetError(f"{where} has the classes {', '.join(names[1:])}, but the data set has "
                           f"{', '.join(dataset.class_names[1:])}. {advice}")


def describe(dataset):
    """One line on a subset: how many images and objects."""
    objects = sum(len(dataset.load_boxes(image_id)[1]) for image_id in dataset.image_ids)
    return f"{dataset.num_images} images with {objects} objects"
