"""Patches of images, each an object with its surroundings, and how they are blended into others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from frcnn.arrays import Boxes, ClassIds, FloatArray, Image, Shape, Window
from frcnn.data.clipping import MIN_VISIBLE, has_area

# Widths of the margin on every side of an object, as parts of the mean of its sides; the first that
# can be used is, so that objects with near neighbors have a narrow one.
MARGINS = (0.15, 0.1)
MIN_MARGIN = 3  # pixels
# Most of a patch that other objects and crowds may take up: they would be copied unlabeled.
MAX_FOREIGN = 0.05
# Most of a patch, and of an object in the image it is put into, that the two may share.
MAX_COVERED = 0.05
# Most that the brightness of a patch is changed, as a part of the range of gray levels.
MAX_SHIFT = 0.15
PLACES = 40  # tries
COMPARED = 8  # of the places found


class Frame(NamedTuple):
    """Where a patch is in its image.

    Attributes:
        window: `(y1, x1, y2, x2)` of the patch, whole pixels of the image.
        box: float32 `[4]`, the object in pixels of the image.
        class_id: of the object.
    """

    window: Window
    box: Boxes
    class_id: int


@dataclass(frozen=True)
class Patch:
    """An object with its surroundings.

    Attributes:
        pixels: `[h, w, C]`.
        box: float32 `[4]`, the object in pixels of the patch.
        class_id: of the object.
        scale: the factor by which its image is resized for the network.
        unevenness: of the ground around it, 0 to 1; see the function of that name.
    """

    pixels: Image
    box: Boxes
    class_id: int
    scale: float
    unevenness: float

    @classmethod
    def cut(cls, image: Image, frame: Frame, scale: float) -> "Patch | None":
        """The patch of a frame; None where the image is smaller than it was said to be."""
        top, left, bottom, right = frame.window
        if bottom > image.shape[0] or right > image.shape[1]:
            return None
        pixels = image[top:bottom, left:right].copy()
        box = frame.box - np.array([top, left] * 2, np.float32)
        return cls(pixels, box, frame.class_id, scale, unevenness(pixels) / _range(image))

    def mirrored(self, horizontally: bool, vertically: bool) -> "Patch":
        """The patch and its box mirrored; the pixels are a view."""
        pixels, (y1, x1, y2, x2) = self.pixels, self.box
        height, width = pixels.shape[:2]
        if horizontally:
            pixels, x1, x2 = pixels[:, ::-1], width - x2, width - x1
        if vertically:
            pixels, y1, y2 = pixels[::-1], height - y2, height - y1
        return replace(self, pixels=pixels, box=np.array([y1, x1, y2, x2], np.float32))


def find_frames(boxes: Boxes, class_ids: ClassIds, shape: Shape | Sequence[float]
                ) -> list[Frame]:
    """The objects of an image that can be copied, with a margin around them.

    An object qualifies if its whole margin is inside the image, all other objects and crowd regions
    take up at most `MAX_FOREIGN` of its patch, and none of them is inside it for a fourth
    (`MIN_VISIBLE`) of its own area or more.

    Args:
        boxes: `[N, 4]` pixels of the image.
        class_ids: int `[N]`, negative for crowd regions.
        shape: `(height, width)` of the image; infinite where it is unknown.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    frames = []
    for place in np.flatnonzero((np.asarray(class_ids) > 0) & has_area(boxes)):
        window = _window(boxes[place], np.delete(boxes, place, axis=0), shape)
        if window is not None:
            frames.append(Frame(window, boxes[place].copy(), int(class_ids[place])))
    return frames


def _window(box: Boxes, others: Boxes, shape: Shape | Sequence[float]) -> Window | None:
    """The widest window around a box that can be copied, or None; see `find_frames`."""
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    for part in MARGINS:
        margin = max(MIN_MARGIN, round(part * float((box[2:] - box[:2]).mean())))
        top, left = (math.floor(edge) - margin for edge in box[:2])
        bottom, right = (math.ceil(edge) + margin for edge in box[2:])
        shared = shared_areas((top, left, bottom, right), others)
        if min(top, left) >= 0 and bottom <= shape[0] and right <= shape[1] \
                and shared.sum() <= MAX_FOREIGN * (bottom - top) * (right - left) \
                and (shared <= MIN_VISIBLE * areas).all():
            return top, left, bottom, right
    return None


def shared_areas(window: tuple[float, ...] | FloatArray, boxes: Boxes) -> FloatArray:
    """Areas `[..., N]` that windows `[..., 4]` share with boxes `[N, 4]`."""
    windows = np.asarray(window, float)[..., None, :]
    sides = np.minimum(windows[..., 2:], boxes[:, 2:]) - np.maximum(windows[..., :2], boxes[:, :2])
    areas: FloatArray = np.clip(sides, 0, None).prod(axis=-1)
    return areas


def find_place(patch: Patch, image: Image, boxes: Boxes, class_ids: ClassIds,
               rng: np.random.Generator) -> tuple[int, int] | None:
    """A random place for a patch where it neither covers an object nor touches a crowd region.

    Patch and object may share at most `MAX_COVERED` of either. Of some such places it is the one
    whose ground is most even and most like the patch's own; brightness may differ by at most
    `MAX_SHIFT`.

    Args:
        patch: what is to be put there.
        image: `[H, W, C]`.
        boxes: `[N, 4]`, its objects.
        class_ids: `[N]`, negative for crowd regions.
        rng: the only source of randomness.

    Returns:
        (top, left) of the patch in the image, or None if no place was found in `PLACES` tries.
    """
    height, width = patch.pixels.shape[:2]
    rooms = image.shape[0] - height, image.shape[1] - width
    if min(rooms) < 0:
        return None
    corners = np.stack([rng.integers(0, room, PLACES, endpoint=True) for room in rooms], axis=1)
    shared = shared_areas(np.concatenate([corners, corners + [height, width]], axis=1), boxes)
    limits = MAX_COVERED * np.minimum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), height * width)
    limits[class_ids < 0] = 0
    free = corners[(shared <= limits).all(axis=1)][:COMPARED].tolist()
    own, limit = ground_of(patch.pixels), MAX_SHIFT * _range(image)
    costs = []
    for top, left in free:
        pixels = image[top:top + height, left:left + width]
        shift = np.abs(ground_of(pixels) - own)
        costs.append(shift.mean() + unevenness(pixels) if shift.max() <= limit else np.inf)
    if min(costs, default=np.inf) == np.inf:
        return None
    top, left = free[int(np.argmin(costs))]
    return top, left


def blend(patch: Patch, image: Image, corner: tuple[int, int]) -> None:
    """Writes a patch into an image, faded out over the margin around its object.

    A constant is added to each channel first, so that the patch's ground has the color of the
    ground that it covers.

    Args:
        patch: the object.
        image: `[H, W, C]` of the patch's type, written into.
        corner: (top, left) of the patch in it.
    """
    height, width = patch.pixels.shape[:2]
    ground = image[corner[0]:corner[0] + height, corner[1]:corner[1] + width]
    shift = ground_of(ground) - ground_of(patch.pixels)
    y1, x1, y2, x2 = patch.box
    rows, columns = _fade(height, y1, height - y2), _fade(width, x1, width - x2)
    share = (rows[:, None] * columns)[..., None]
    mixed = ground + share * (patch.pixels + shift - ground)
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        mixed = np.clip(np.rint(mixed), limits.min, limits.max)
    ground[...] = mixed


def _fade(length: int, before: float, after: float) -> FloatArray:
    """`[length]`, from 0 at both ends to 1 from the distances `before` and `after` on."""
    places = np.arange(length) + 0.5
    parts = np.minimum(places / max(before, 1), (length - places) / max(after, 1))
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(parts, 0, 1))


def ground_of(pixels: Image) -> FloatArray:
    """`[C]`: the color of the ground, the median of the outermost ring of pixels.

    Other than the mean it hardly depends on a neighbor that reaches into the ring.
    """
    median: FloatArray = np.median(_ring(pixels), axis=0)
    return median


def unevenness(pixels: Image) -> float:
    """Mean distance of the outermost ring's pixels from their median, gray levels."""
    ring = _ring(pixels)
    return float(np.abs(ring - np.median(ring, axis=0)).mean())


def _ring(pixels: Image) -> FloatArray:
    """`[N, C]`, the outermost pixels."""
    edges = [pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]
    return np.concatenate(edges).astype(float)


def _range(image: Image) -> float:
    """The range of gray levels: that of bytes, or for other types the image's own."""
    return 255.0 if image.dtype == np.uint8 else max(float(np.ptp(image)), 1e-6)
