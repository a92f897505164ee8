"""Pixels and objects of one image as a data set has them, checked for use by the model."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from frcnn.arrays import Boxes, ClassIds, Image, Shape
from frcnn.config import Config
from frcnn.data.check import as_numbers
from frcnn.data.clipping import clip_to_image, has_area
from frcnn.data.dataset import Dataset
from frcnn.data.doubts import are_fractions
from frcnn.data.image_name import ImageName
from frcnn.data.intensity import pixels_of_array
from frcnn.errors import DatasetError, ImageError


def load_pixels(dataset: Dataset, config: Config, image_id: int) -> Image:
    """The image `[H, W, IMAGE_CHANNEL_COUNT]`; warns when its size is not the declared one.

    Raises:
        ImageError: the image is unreadable.
        DatasetError: it has another number of channels, or is an array of another type than uint8
            without an IMAGE_INTENSITY_RANGE that it fits.
    """
    image = np.asarray(dataset.load_image(image_id))
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] != config.IMAGE_CHANNEL_COUNT:
        raise DatasetError(
            f"{ImageName(dataset, image_id)} is loaded with the shape {image.shape}, but "
            f"IMAGE_CHANNEL_COUNT is {config.IMAGE_CHANNEL_COUNT}. Set the data set's "
            "image_channels to the same number, or convert in load_image.")
    try:
        image = pixels_of_array(image, config.IMAGE_INTENSITY_RANGE,
                                ImageName(dataset, image_id))
    except ImageError as error:  # of load_image, not of the file
        raise DatasetError(f"load_image does not return 8 bits: {error}") from None
    declared = tuple(dataset.image_info[image_id].get(key) for key in ("height", "width"))
    if None not in declared and declared != image.shape[:2]:
        warnings.warn(f"{ImageName(dataset, image_id)} has {image.shape[1]}x{image.shape[0]} "
                      f"pixels, but {declared[1]}x{declared[0]} are declared: its boxes may be "
                      "off. Correct the declared size.", stacklevel=3)
    return image


def load_objects(dataset: Dataset, config: Config, image_id: int,
                  image_shape: Shape | Sequence[float]) -> tuple[Boxes, ClassIds]:
    """Boxes `[N, 4]` and class ids `[N]` of an image, checked, clipped to it, without empty ones.

    Raises:
        DatasetError: they cannot be used; the message names the image.
    """
    name = ImageName(dataset, image_id)
    boxes, class_ids = _numbers(dataset.load_boxes(image_id), name)
    if len(boxes) != len(class_ids):
        raise DatasetError(f"{name} has {len(boxes)} boxes and {len(class_ids)} class ids.")
    if not np.isfinite(boxes).all():
        raise DatasetError(f"{name} has a box that is not finite: {boxes.tolist()}.")
    if are_fractions(boxes, *image_shape[:2]):
        raise DatasetError(f"{name} has boxes that lie between 0 and 1, as fractions of the image "
                           f"do: {boxes.tolist()}; load_boxes returns pixels.")
    known = (class_ids != 0) & (np.abs(class_ids) < config.NUM_CLASSES)
    if not known.all():
        raise DatasetError(f"{name} has an object of the class {class_ids[~known][0]}; allowed are "
                           f"1 to {config.NUM_CLASSES - 1} (NUM_CLASSES less the background), "
                           "negative for crowds.")
    clipped = clip_to_image(boxes, image_shape)
    filled = has_area(clipped)
    if not filled.all():
        warnings.warn(f"{name}: {(~filled).sum()} boxes are empty or outside the image; dropped.",
                      stacklevel=3)
    return clipped[filled], class_ids[filled]


def _numbers(loaded: Any, name: ImageName) -> tuple[Boxes, ClassIds]:
    """What `load_boxes` returned as arrays `[N, 4]` and `[M]`."""
    try:
        boxes, class_ids = loaded
    except (TypeError, ValueError):
        raise DatasetError(f"{name}: load_boxes returned {type(loaded).__name__}, not boxes and "
                           "class ids.") from None
    try:
        boxes, class_ids = as_numbers(boxes, (4,)), as_numbers(class_ids, ())
    except DatasetError as error:
        raise DatasetError(f"{name}: {error}") from None
    if (class_ids != np.floor(class_ids)).any():  # NaN, too
        raise DatasetError(f"{name} has class ids that are not whole numbers: "
                           f"{class_ids.tolist()}.")
    return boxes.astype(np.float32), class_ids.astype(np.int32)


def image_size(dataset: Dataset, image_id: int) -> tuple[int, int]:
    """(height, width) as declared, or from the file's header, or else from the loaded image."""
    info = dataset.image_info[image_id]
    if info.get("height") and info.get("width"):
        return int(info["height"]), int(info["width"])
    height, width = dataset.header_size(image_id) or dataset.load_image(image_id).shape[:2]
    return height, width


def load_all_objects(dataset: Dataset, config: Config) -> list[tuple[Boxes, ClassIds]]:
    """What `load_objects` returns for every image, clipped to its declared size; without warnings.

    An image whose annotation cannot be read has none.

    Raises:
        DatasetError: the objects of an image cannot be used.
    """
    objects = []
    with warnings.catch_warnings():  # they come again whenever an image is loaded
        warnings.simplefilter("ignore")
        for image_id in dataset.image_ids:
            info = dataset.image_info[image_id]
            shape = [info.get(side) or np.inf for side in ("height", "width")]
            try:
                objects.append(load_objects(dataset, config, image_id, shape))
            except (ImageError, OSError):
                objects.append((np.zeros((0, 4), np.float32), np.zeros(0, np.int32)))
    return objects
