"""One image of a data set as the model gets it: read, augmented, resized, with boxes and meta."""

import warnings
from typing import NamedTuple

import numpy as np

from frcnn.arrays import Boxes, ClassIds, Image, ImageMeta, Seed, Shape
from frcnn.config import SQUARE_MODES, Config
from frcnn.data.augment import Augmentation, AugmentationLike, resolve
from frcnn.data.clipping import clip_to_image, has_area, keep_visible
from frcnn.data.dataset import Dataset
from frcnn.data.image_meta import compose_image_meta
from frcnn.data.resize import ResizePlan
from frcnn.errors import ConfigError, DatasetError


class Example(NamedTuple):
    """One image as the model gets it, and its objects; see `load_image_gt`."""

    image: Image
    image_meta: ImageMeta
    class_ids: ClassIds
    boxes: Boxes


def load_image_gt(dataset: Dataset, config: Config, image_id: int, augment: bool = False, *,
                  augmentation: AugmentationLike = None, rng: Seed = None,
                  canvas: Shape | None = None) -> Example:
    """Reads, augments and resizes one image and its boxes.

    Args:
        dataset: a prepared `Dataset`.
        config: for the resize settings and NUM_CLASSES.
        image_id: 0 … num_images − 1.
        augment: whether to mirror at random horizontally; `augmentation` overrides it.
        augmentation: None, a preset's name, or a callable; see `frcnn.data.augment`.
        rng: `numpy.random.Generator`, a seed, or None, which draws one.
        canvas: optional `(height, width)`; the resized image is padded to it with zeros at the
            bottom and on the right.

    Returns:
        image: uint8 `[H, W, C]`, resized; the mean pixel is not subtracted.
        image_meta: float `[12 + NUM_CLASSES]`, see `compose_image_meta`. Its original shape is the
            augmented image's; its active classes are those that the image's source has labels for.
        class_ids: int32 `[N]`, negative for crowd regions.
        boxes: float32 `[N, 4]`, (y1, x1, y2, x2) in pixels of the resized image. Those that an
            augmentation or a crop moves beyond the edge are cut or dropped, see `keep_visible`.

    Raises:
        ImageError: the image is unreadable.
        ConfigError: the augmentation is unknown or returns arrays of wrong shapes.
        DatasetError: the image does not have IMAGE_CHANNEL_COUNT channels, its boxes cannot be
            used, the data set has more classes than NUM_CLASSES, or the resized image is larger
            than the canvas.
    """
    check_classes(dataset, config)
    rng = np.random.default_rng(rng)
    augmented = resolve("flip" if augmentation is None and augment else augmentation)
    image = _load_pixels(dataset, config, image_id)
    boxes, class_ids = _load_objects(dataset, config, image_id, image.shape)
    if augmented is not None:
        image, boxes, class_ids = _augmented(augmented, image, boxes, class_ids, rng)
    plan = ResizePlan.for_training(image.shape, config, rng)
    boxes, class_ids = _move_boxes(boxes, class_ids, plan)
    if canvas is not None:
        plan = _padded_to_canvas(plan, canvas, dataset.image_reference(image_id))
    molded = plan.apply(image)
    active = np.zeros(config.NUM_CLASSES, np.int32)
    active[dataset.source_class_ids[dataset.image_info[image_id]["source"]]] = 1
    meta = compose_image_meta(image_id, image.shape, molded.shape, plan.window, plan.scale, active)
    return Example(molded, meta, class_ids, boxes)


def check_classes(dataset: Dataset, config: Config) -> None:
    """Raises DatasetError when a data set has more classes than the model is built for."""
    if dataset.num_classes > config.NUM_CLASSES:
        raise DatasetError(
            f"The data set has {dataset.num_classes} classes, background included, but NUM_CLASSES "
            f"is {config.NUM_CLASSES}; set it to {dataset.num_classes}.")


def _load_pixels(dataset: Dataset, config: Config, image_id: int) -> Image:
    """The image `[H, W, IMAGE_CHANNEL_COUNT]`; warns when its size is not the declared one."""
    image = np.asarray(dataset.load_image(image_id))
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] != config.IMAGE_CHANNEL_COUNT:
        raise DatasetError(
            f"{dataset.image_reference(image_id)} is loaded with the shape {image.shape}, but "
            f"IMAGE_CHANNEL_COUNT is {config.IMAGE_CHANNEL_COUNT}. Set the data set's "
            "image_channels to the same number, or convert in load_image.")
    declared = tuple(dataset.image_info[image_id].get(key) for key in ("height", "width"))
    if None not in declared and declared != image.shape[:2]:
        warnings.warn(f"{dataset.image_reference(image_id)} has {image.shape[1]}x{image.shape[0]} "
                      f"pixels, but {declared[1]}x{declared[0]} are declared: its boxes may be "
                      "off. Correct the declared size.", stacklevel=3)
    return image


def _load_objects(dataset: Dataset, config: Config, image_id: int,
                  image_shape: Shape) -> tuple[Boxes, ClassIds]:
    """Boxes and class ids of an image, checked, clipped to it, without empty ones."""
    boxes, class_ids = dataset.load_boxes(image_id)
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    class_ids = np.asarray(class_ids, np.int32).reshape(-1)
    name = dataset.image_reference(image_id)
    if len(boxes) != len(class_ids):
        raise DatasetError(f"{name} has {len(boxes)} boxes and {len(class_ids)} class ids.")
    if not np.isfinite(boxes).all():
        raise DatasetError(f"{name} has a box that is not finite: {boxes.tolist()}.")
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


def _augmented(augmentation: Augmentation, image: Image, boxes: Boxes, class_ids: ClassIds,
               rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
    image, boxes, class_ids = augmentation(image, boxes, class_ids, rng)
    boxes, class_ids = np.asarray(boxes, np.float32), np.asarray(class_ids, np.int32)
    if boxes.shape != (len(class_ids), 4) or np.ndim(image) != 3:
        raise ConfigError(f"The augmentation {augmentation!r} returned an image of the shape "
                          f"{np.shape(image)}, boxes of {boxes.shape} and {len(class_ids)} class "
                          "ids; they must be [H, W, C], [N, 4] and [N].")
    return _contiguous(np.asarray(image)), *keep_visible(boxes, class_ids, image.shape)


def _contiguous(image: Image) -> Image:
    """The image in C order; a flipped view is copied by pixels, in half the time of by bytes."""
    height, width, channels = image.shape
    if image.flags.c_contiguous or image.strides[2] != image.itemsize:
        return np.ascontiguousarray(image)
    pixels = np.ascontiguousarray(image.view(f"V{channels * image.itemsize}"))
    return pixels.view(image.dtype).reshape(height, width, channels)


def _move_boxes(boxes: Boxes, class_ids: ClassIds, plan: ResizePlan) -> tuple[Boxes, ClassIds]:
    """Boxes and class ids in the molded image, cut where the plan crops."""
    moved = plan.boxes_to_molded(boxes)
    if plan.crop is not None:
        return keep_visible(moved, class_ids, plan.molded_shape)
    filled = has_area(moved)  # a sliver of a box can be lost to rounding
    return moved[filled], class_ids[filled]


def _padded_to_canvas(plan: ResizePlan, canvas: Shape, name: str) -> ResizePlan:
    height, width = plan.molded_shape
    if height > canvas[0] or width > canvas[1]:
        raise DatasetError(
            f"{name} is {height}x{width} (height x width) after resizing, larger than the canvas "
            f"{canvas[0]}x{canvas[1]} that all images of the data set share. Its declared size is "
            "wrong, or an augmentation enlarges it; with the latter use the mode 'square'.")
    return plan.padded_to(int(canvas[0]), int(canvas[1]))


# --- the canvas of a whole data set ---------------------------------------------------------


def common_canvas(dataset: Dataset, config: Config, turns: bool = False) -> tuple[int, int]:
    """(height, width) of the molded images of a data set: one for all, so that they form batches.

    In the modes "square" and "crop" that is the config's IMAGE_SHAPE; in "pad64", "fit64" and
    "none" the largest height and width over the data set, a multiple of 64; with `turns`, for
    images that an augmentation may turn by 90°, the larger of the two for both. Where no size is
    declared, it is read from the image's header, or, for a subclass that overrides `load_image`,
    from the whole image.
    """
    if config.IMAGE_RESIZE_MODE in SQUARE_MODES:
        return int(config.IMAGE_SHAPE[0]), int(config.IMAGE_SHAPE[1])
    sizes = {_image_size(dataset, image_id) for image_id in dataset.image_ids}
    shapes = [ResizePlan.for_detection(size, config).molded_shape for size in sizes]
    height, width = (max((shape[axis] for shape in shapes), default=0) for axis in (0, 1))
    return (max(height, width),) * 2 if turns else (height, width)


def _image_size(dataset: Dataset, image_id: int) -> tuple[int, int]:
    """(height, width) as declared, or from the file's header, or else from the loaded image."""
    info = dataset.image_info[image_id]
    if info.get("height") and info.get("width"):
        return int(info["height"]), int(info["width"])
    height, width = dataset.header_size(image_id) or dataset.load_image(image_id).shape[:2]
    return height, width
