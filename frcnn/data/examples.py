"""One image of a data set as the model gets it: read, augmented, resized, with boxes and meta."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from frcnn.arrays import Boxes, ClassIds, Image, ImageMeta, Seed, Shape
from frcnn.compatibility import explained
from frcnn.config import SQUARE_MODES, Config
from frcnn.data.agreement import check_fits
from frcnn.data.augment import Augmentation, AugmentationLike, resolve
from frcnn.data.clipping import has_area, keep_visible
from frcnn.data.dataset import Dataset
from frcnn.data.image_meta import compose_image_meta
from frcnn.data.image_name import ImageName
from frcnn.data.pasting import ObjectPaster
from frcnn.data.reading import image_size, load_objects, load_pixels
from frcnn.data.resize import ResizePlan
from frcnn.data.zoom import draws_zoom, zoomed_plan
from frcnn.errors import ConfigError, DatasetError, NoMasksError

_NO_MASKS = ("load_image_gt returns no masks, since frcnn detects boxes: write image, image_meta, "
             "class_ids, boxes = load_image_gt(dataset, config, image_id), without use_mini_mask.")


class Example(NamedTuple):
    """One image as the model gets it, and its objects; see `load_image_gt`."""

    image: Image
    image_meta: ImageMeta
    class_ids: ClassIds
    boxes: Boxes

    def __iter__(self) -> Iterator[Any]:
        return explained(tuple.__iter__(self), len(self), _NO_MASKS)

    def __getitem__(self, index: Any) -> Any:
        if index == len(self):  # what would be the masks
            raise NoMasksError(_NO_MASKS)
        return tuple.__getitem__(self, index)


def load_image_gt(dataset: Dataset, config: Config, image_id: int, augment: bool = False, *,
                  augmentation: AugmentationLike = None, rng: Seed = None,
                  canvas: Shape | None = None, zoom: bool = False,
                  paster: ObjectPaster | None = None,
                  use_mini_mask: bool | None = None) -> Example:
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
        zoom: whether MULTI_SCALE and CROP_OBJECTS apply; see `frcnn.data.zoom`.
        paster: adds objects of other images before the augmentation; None: none are added.
        use_mini_mask: of the reference; any value but None raises NoMasksError.

    Returns:
        image: uint8 `[H, W, C]`, resized; the mean pixel is not subtracted.
        image_meta: float `[12 + NUM_CLASSES]`, see `compose_image_meta`. Its original shape is the
            augmented image's; its active classes are those that the image's source has labels for.
        class_ids: int32 `[N]`, negative for crowd regions.
        boxes: float32 `[N, 4]`, (y1, x1, y2, x2) in pixels of the resized image. Those that an
            augmentation or a crop moves beyond the edge are cut or dropped, see `keep_visible`.

    Raises:
        ImageError: the image is unreadable.
        ConfigError: the augmentation is unknown or returns arrays of wrong shapes or types.
        DatasetError: the image does not have IMAGE_CHANNEL_COUNT channels or not 8 bits, its boxes
            cannot be used, the data set has more classes than NUM_CLASSES or another intensity
            range than the config, or the resized image is larger than the canvas.
        NoMasksError: `use_mini_mask` is given, or the result is unpacked into five values, or into
            names of which one is for masks.
    """
    if use_mini_mask is not None:
        raise NoMasksError(_NO_MASKS)
    check_fits(dataset, config)
    rng = np.random.default_rng(rng)
    augmented = resolve("flip" if augmentation is None and augment else augmentation)
    image = load_pixels(dataset, config, image_id)
    boxes, class_ids = load_objects(dataset, config, image_id, image.shape)
    if paster is not None:
        image, boxes, class_ids = paster.paste(image, boxes, class_ids, image_id, rng)
    if augmented is not None:
        image, boxes, class_ids = _augmented(augmented, image, boxes, class_ids, rng)
        _check_classes(augmented, class_ids, config)
    if zoom and draws_zoom(config):
        plan = zoomed_plan(image.shape, boxes, class_ids, config, rng, canvas)
    else:
        plan = ResizePlan.for_training(image.shape, config, rng)
    boxes, class_ids = _move_boxes(boxes, class_ids, plan)
    if canvas is not None:
        plan = _padded_to_canvas(plan, canvas, ImageName(dataset, image_id))
    molded = plan.apply(image)
    active = np.zeros(config.NUM_CLASSES, np.int32)
    active[dataset.source_class_ids[dataset.image_info[image_id]["source"]]] = 1
    meta = compose_image_meta(image_id, image.shape, molded.shape, plan.window, plan.scale, active)
    return Example(molded, meta, class_ids, boxes)


def _augmented(augmentation: Augmentation, image: Image, boxes: Boxes, class_ids: ClassIds,
               rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
    result = augmentation(image, boxes, class_ids, rng)
    if not isinstance(result, (tuple, list)) or len(result) != 3:
        raise ConfigError(f"The augmentation {augmentation!r} returned {type(result).__name__}; it "
                          "must return image, boxes and class ids.")
    channels = image.shape[2]
    image, boxes, class_ids = result
    boxes, class_ids = np.asarray(boxes, np.float32), np.asarray(class_ids, np.int32)
    if boxes.shape != (len(class_ids), 4) or np.ndim(image) != 3:
        raise ConfigError(f"The augmentation {augmentation!r} returned an image of the shape "
                          f"{np.shape(image)}, boxes of {boxes.shape} and {len(class_ids)} class "
                          "ids; they must be [H, W, C], [N, 4] and [N].")
    if np.shape(image)[2] != channels or 0 in np.shape(image):
        hint = ("; it seems to be [C, H, W]: leave out the step that makes it so, such as "
                "ToTensorV2") if np.shape(image)[0] == channels else ""
        raise ConfigError(f"The augmentation {augmentation!r} returned an image of the shape "
                          f"{np.shape(image)}; it must be [H, W, {channels}], with the channels "
                          f"last{hint}.")
    if np.asarray(image).dtype != np.uint8:
        raise ConfigError(f"The augmentation {augmentation!r} returned an image of "
                          f"{np.asarray(image).dtype}; it must be uint8, 0 to 255.")
    if not np.isfinite(boxes).all():
        raise ConfigError(f"The augmentation {augmentation!r} returned a box that is NaN or "
                          f"infinite: {boxes.tolist()}.")
    return _contiguous(np.asarray(image)), *keep_visible(boxes, class_ids, image.shape)


def _check_classes(augmentation: Augmentation, class_ids: ClassIds, config: Config) -> None:
    unknown = class_ids[(class_ids == 0) | (np.abs(class_ids) >= config.NUM_CLASSES)]
    if len(unknown):
        raise ConfigError(f"The augmentation {augmentation!r} returned an object of the class "
                          f"{unknown[0]}; allowed are 1 to {config.NUM_CLASSES - 1}, negative for "
                          "crowds.")


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


def _padded_to_canvas(plan: ResizePlan, canvas: Shape, name: ImageName) -> ResizePlan:
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
    sizes = {image_size(dataset, image_id) for image_id in dataset.image_ids}
    shapes = [ResizePlan.for_detection(size, config).molded_shape for size in sizes]
    height, width = (max((shape[axis] for shape in shapes), default=0) for axis in (0, 1))
    return (max(height, width),) * 2 if turns else (height, width)
