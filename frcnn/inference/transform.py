"""Around the detection model: images into molded batches, detections back into their pixels."""

import os

import numpy as np

from frcnn.data.image_meta import compose_image_meta
from frcnn.data.molding import mold_image
from frcnn.data.resize import ResizePlan, boxes_from_window


def mold_inputs(images, config):
    """Resizes, pads and molds images of any sizes.

    Args:
        images: list of uint8 `[h, w, C]`.

    Returns:
        Three lists, an entry an image: molded images float32 `[H, W, C]`, image metas
        `[META]`, windows `[4]` in pixels of the molded image.
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


def unmold_detections(detections, original_image_shape, image_shape, window):
    """Detections of a molded image, in the original image's pixels.

    Args:
        detections: `[N, 6]`: y1, x1, y2, x2 in pixels of the molded image, class id, score; rows
            of class 0 are padding.
        original_image_shape: (height, width, …) before resizing.
        image_shape: of the molded image; kept from the reference, whose boxes are normalized.
        window: (y1, x1, y2, x2), the image's part of the molded one.

    Returns:
        boxes float32 `[K, 4]` (sub-pixel, clipped to the image), class_ids int32 `[K]`, scores
        float32 `[K]`. Boxes of no area are left out.
    """
    detections = np.asarray(detections, np.float32)
    detections = detections[detections[:, 4] > 0]
    height, width = original_image_shape[:2]
    boxes = boxes_from_window(detections[:, :4], window, original_image_shape)
    boxes = np.clip(boxes, 0, [height, width, height, width]).astype(np.float32)
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return boxes[has_area], detections[has_area, 4].astype(np.int32), detections[has_area, 5]


def as_result(boxes, class_ids, scores):
    """One image's result as `detect` returns it."""
    return {"rois": np.rint(boxes).astype(np.int32), "boxes": boxes, "class_ids": class_ids,
            "scores": scores}


def check_image(image, index, config):
    """The image as an array, or a ValueError that says which one is unfit and why."""
    image = np.asarray(image)
    channels = config.IMAGE_CHANNEL_COUNT
    if image.ndim == 2 and channels == 1:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] != channels or 0 in image.shape:
        raise ValueError(f"Image {index} has the shape {image.shape}; detect takes (height, width, "
                         f"{channels}). frcnn.data.image_io.read_image reads any file that way.")
    return image


def check_arrays(images, config):
    """Several images, checked as far as they are arrays in a list; others are left for later.

    Raises:
        ValueError: as `check_image`; or it is one path, not several.
    """
    if isinstance(images, (str, os.PathLike)):
        raise ValueError(f"detect takes a list of images or paths; put {str(images)!r} into one.")
    if not isinstance(images, (list, tuple, np.ndarray)):
        return images
    return [image if callable(image) or isinstance(image, (str, os.PathLike))
            else check_image(image, number, config) for number, image in enumerate(images)]


def progress(results, images, verbose):
    """The results, with a progress bar if `verbose` is not 0."""
    if not verbose:
        return results
    from tqdm import tqdm

    total = len(images) if hasattr(images, "__len__") else None
    return tqdm(results, desc="detect", unit="image", total=total)
