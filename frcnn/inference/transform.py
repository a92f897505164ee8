"""Around the detection model: images to molded batches, detections back to image pixels."""

import os
from collections.abc import Iterable, Sized
from typing import Any, TypeVar, cast

import numpy as np

from frcnn.arrays import (
    ArrayLike,
    Boxes,
    ClassIds,
    DetectionResult,
    FloatArray,
    Image,
    ImageMeta,
    IntArray,
    Scores,
    Shape,
    Window,
)
from frcnn.compatibility import Detections
from frcnn.config import Config
from frcnn.data.image_meta import compose_image_meta
from frcnn.data.intensity import pixels_of_array
from frcnn.data.molding import mold_image
from frcnn.data.resize import ResizePlan, boxes_from_window
from frcnn.errors import ArgumentError

T = TypeVar("T")


def mold_inputs(
    images: Iterable[Image], config: Config,
) -> tuple[list[FloatArray], list[ImageMeta], list[Window]]:
    """Resizes, pads and molds images.

    Args:
        images: uint8 `[h, w, C]`, of any sizes.
        config: Config.

    Returns:
        Three lists with one entry an image: molded images float32 `[H, W, C]`, image metas
        `[META]`, windows (y1, x1, y2, x2) in pixels of the molded image.
    """
    molded, metas, windows = [], [], []
    for image in images:
        plan = ResizePlan.for_detection(image.shape, config)
        resized = plan.apply(image)
        active = np.zeros(config.NUM_CLASSES, np.int32)
        metas.append(compose_image_meta(0, image.shape, resized.shape, plan.window, plan.scale,
                                        active))
        molded.append(mold_image(resized, config))
        windows.append(plan.window)
    return molded, metas, windows


def unmold_detections(
    detections: ArrayLike, original_image_shape: Shape, image_shape: Shape,
    window: Window | IntArray,
) -> tuple[Boxes, ClassIds, Scores]:
    """Converts detections of a molded image to the original image's pixels.

    Args:
        detections: `[N, 6]`: y1, x1, y2, x2 in pixels of the molded image, class id, score; rows
            of class 0 are padding.
        original_image_shape: (height, width, …) before resizing.
        image_shape: of the molded image; unused, kept from the reference, whose detections are
            normalized.
        window: (y1, x1, y2, x2) pixels, the image's part of the molded one.

    Returns:
        boxes float32 `[K, 4]` (sub-pixel, clipped to the image), class_ids int32 `[K]`, scores
        float32 `[K]`. Boxes without area are left out.
    """
    detections = np.asarray(detections, np.float32)
    detections = detections[detections[:, 4] > 0]
    height, width = original_image_shape[:2]
    y1, x1, y2, x2 = window
    boxes = boxes_from_window(detections[:, :4], (y1, x1, y2, x2), original_image_shape)
    boxes = np.clip(boxes, 0, [height, width, height, width]).astype(np.float32)
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return boxes[has_area], detections[has_area, 4].astype(np.int32), detections[has_area, 5]


def as_result(boxes: Boxes, class_ids: ClassIds, scores: Scores) -> DetectionResult:
    """One image's result as `MaskRCNN.detect` returns it."""
    return cast("DetectionResult", Detections(
        rois=np.rint(boxes).astype(np.int32), boxes=boxes, class_ids=class_ids, scores=scores))


def check_image(image: ArrayLike, index: int, config: Config) -> Image:
    """Checks that an image has the type and as many channels as the model takes.

    Args:
        image: uint8 `[h, w, C]`, or `[h, w]` where the model takes one channel; other types with
            a declared range.
        index: of the image, for the message.
        config: Config, for `IMAGE_CHANNEL_COUNT` and `IMAGE_INTENSITY_RANGE`.

    Returns:
        The image as an array, uint8 `[h, w, C]`.

    Raises:
        ValueError: the shape does not fit, a side is 0, or it is of another type without an
            IMAGE_INTENSITY_RANGE that it fits.
    """
    try:
        image = np.asarray(image)
    except ValueError:  # lists of different lengths
        raise ArgumentError(f"Image {index} consists of lists of different lengths; give an "
                            "array.") from None
    channels = config.IMAGE_CHANNEL_COUNT
    if image.ndim == 2 and channels == 1:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] != channels or 0 in image.shape:
        raise ArgumentError(f"Image {index} has the shape {image.shape}; detect takes (height, "
                            f"width, {channels}). frcnn.data.image_io.read_image reads any file "
                            "that way.")
    return pixels_of_array(image, config.IMAGE_INTENSITY_RANGE, f"Image {index}")


def check_arrays(images: Any, config: Config) -> Any:
    """Checks the arrays in a list of images at once; paths and functions are checked when read.

    Args:
        images: a list, tuple or array of images, paths and functions; any other iterable is
            returned as it is.
        config: Config.

    Raises:
        ValueError: as `check_image`; or `images` is a single path.
    """
    if isinstance(images, (str, os.PathLike)):
        raise ArgumentError(f"detect takes a list of images or paths; put {str(images)!r} into "
                            "one.")
    if not isinstance(images, (list, tuple, np.ndarray)):
        return images
    return [image if callable(image) or isinstance(image, (str, os.PathLike))
            else check_image(image, number, config) for number, image in enumerate(images)]


def progress(results: Iterable[T], images: Iterable[Any], verbose: int) -> Iterable[T]:
    """The results, with a progress bar unless `verbose` is 0."""
    if not verbose:
        return results
    from tqdm import tqdm

    total = len(images) if isinstance(images, Sized) else None
    return tqdm(results, desc="detect", unit="image", total=total)
