"""Resizing as in the reference: how an image becomes a molded one, and where its boxes go.

`ResizePlan` is the one definition of the resize modes: scale, window, padding, crop and the way of
boxes there and back all come from it. The modes' names are `frcnn.config.RESIZE_MODES`; what
happens to pixels is in `frcnn.data.resample`.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from frcnn.arrays import Boxes, FloatArray, Image, IntArray, Seed, Shape, Window
from frcnn.config import RESIZE_MODES, Config
from frcnn.data.resample import resample
from frcnn.errors import ArgumentError, ConfigError, ImageError

MULTIPLE = 64  # pixels; the network halves a side six times, from the image to P6


class _Mode(NamedTuple):
    """What a resize mode does, and the argument that it cannot do without."""

    scales: bool = True  # up to min_dim for the shorter side, by min_scale at least
    fits: bool = False  # then down until the longer side is within max_dim
    pads: str = ""  # "square": to max_dim by max_dim; "multiple": each side to one of 64
    crops: bool = False  # keeps a random min_dim by min_dim
    needs: str = ""


_MODES = {
    None: _Mode(fits=True),  # the classic arguments, without padding
    "none": _Mode(scales=False),
    "square": _Mode(fits=True, pads="square", needs="max_dim"),
    "pad64": _Mode(pads="multiple"),
    "fit64": _Mode(fits=True, pads="multiple", needs="max_dim"),
    "crop": _Mode(crops=True, needs="min_dim"),
}


def resize(image: Image, output_shape: Shape, order: int = 1, mode: str = "constant",
           cval: float = 0, clip: bool = True, preserve_range: bool = False,
           anti_aliasing: bool = False, anti_aliasing_sigma: float | None = None) -> FloatArray:
    """`skimage.transform.resize`, without anti-aliasing unless it is asked for.

    Args: as of `skimage.transform.resize`. `resize_image` keeps the proportions and the type.

    Returns:
        float array of `output_shape`, from 0 to 1 unless `preserve_range` is set.
    """
    from skimage.transform import resize as resized  # slow to import, and rarely needed

    result: FloatArray = resized(
        image, output_shape, order=order, mode=mode, cval=cval, clip=clip,
        preserve_range=preserve_range, anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma)
    return result


def resize_image(image: Image, min_dim: int | None = None, max_dim: int | None = None,
                 padding: bool = False, *, min_scale: float | None = None, mode: str | None = None,
                 rng: Seed = None) -> tuple[Any, ...]:
    """Resizes an image without changing its proportions, and pads or crops it.

    Bilinear, without anti-aliasing, truncated to the image's dtype, to the bit as in the
    reference. The scale is `min_dim` over the shorter side, never below 1, and at least
    `min_scale`; with the classic arguments and in the modes "square" and "fit64" it is lowered
    until the longer side fits `max_dim`.

    Args:
        image: `[H, W, C]` (or `[H, W]`), of any dtype.
        min_dim: the shorter side is enlarged to this many pixels.
        max_dim: the longer side is at most this many pixels.
        padding: pad with zeros to `max_dim` by `max_dim`. Without effect when `mode` is given.
        min_scale: the least scale, also where `min_dim` is reached already.
        mode: "none" leaves the image as it is; "square" pads with zeros to `max_dim` by `max_dim`;
            "pad64" pads both sides to multiples of 64, whatever `max_dim` is; "crop" cuts a random
            `min_dim` by `min_dim` out. "fit64", which the reference does not have, scales as
            "square" and pads as "pad64", so that a wide image is not padded to a square.
        rng: for the crop: a `numpy.random.Generator`, a seed, or None.

    Returns:
        image: resized, a new array of the same dtype.
        window: `(y1, x1, y2, x2)` pixels: where in it the picture is.
        scale: its size over that of the original.
        padding: `[(top, bottom), (left, right), (0, 0)]` pixels.
        crop: only when `mode` is given: `(y, x, height, width)` in the resized image, or None.

    Raises:
        ImageError: the image has no pixels.
        ConfigError: the mode is unknown, or lacks the dimension it needs.
    """
    kind = "square" if mode is None and padding else mode
    plan = ResizePlan.for_mode(image.shape, kind, min_dim=min_dim, max_dim=max_dim,
                               min_scale=min_scale, rng=rng)
    result = plan.apply(image), plan.window, plan.scale, [*plan.border, (0, 0)]
    return result if mode is None else (*result, plan.crop)


@dataclass(frozen=True)
class ResizePlan:
    """How one image becomes a molded one: scaled, then cropped, then padded with zeros.

    Attributes:
        shape: `(height, width)` of the image, pixels.
        scale: the factor, before the scaled sides are rounded to whole pixels.
        scaled_shape: `(height, width)` after scaling, one pixel at least each.
        crop: `(y, x, height, width)`, the part of the scaled image that is kept; None for all.
        border: `((top, bottom), (left, right))`, rows and columns of zeros around that.
    """

    shape: tuple[int, int]
    scale: float
    scaled_shape: tuple[int, int]
    crop: tuple[int, int, int, int] | None = None
    border: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    # --- making one -------------------------------------------------------------------------

    @classmethod
    def for_mode(cls, shape: Shape, mode: str | None, *, min_dim: int | None = None,
                 max_dim: int | None = None, min_scale: float | None = None,
                 rng: Seed = None) -> Self:
        """The plan of a resize mode; see `resize_image` for the modes and the arguments.

        Args:
            shape: `(height, width, ...)` of the image.
            mode: one of `RESIZE_MODES`, or None, which scales as "square" and does not pad.

        Raises:
            ImageError: the image has no pixels.
            ConfigError: the mode is unknown, or lacks the dimension it needs.
        """
        rule = _rule(mode, min_dim=min_dim, max_dim=max_dim)
        height, width = int(shape[0]), int(shape[1])
        if height == 0 or width == 0:
            raise ImageError(f"an image of shape {tuple(shape)} has no pixels to resize")
        if not rule.scales:
            return cls((height, width), 1, (height, width))
        scale = resize_scale(height, width, min_dim, max_dim if rule.fits else None, min_scale)
        # One pixel at least, for images far longer than wide.
        scaled = max(1, round(height * scale)), max(1, round(width * scale))
        crop = _random_crop(scaled, min_dim, rng) if rule.crops and min_dim else None
        targets = scaled
        if rule.pads == "square" and max_dim:
            targets = max_dim, max_dim
        elif rule.pads == "multiple":
            targets = next_multiple(scaled[0]), next_multiple(scaled[1])
        border = _centered(scaled[0], targets[0]), _centered(scaled[1], targets[1])
        return cls((height, width), scale, scaled, crop, border)

    @classmethod
    def for_training(cls, shape: Shape, config: Config, rng: Seed = None) -> Self:
        """The plan of the config's mode for an image `(height, width, ...)`; raises `for_mode`'s.

        In the mode "none" the molded image is as large as the image, of any sides.
        """
        return cls.for_mode(shape, config.IMAGE_RESIZE_MODE, min_dim=config.IMAGE_MIN_DIM,
                            max_dim=config.IMAGE_MAX_DIM, min_scale=config.IMAGE_MIN_SCALE, rng=rng)

    @classmethod
    def for_detection(cls, shape: Shape, config: Config) -> Self:
        """As `for_training`, but never cropped, and both sides multiples of 64.

        In the mode "crop" training sees random parts at the same scale as "pad64" gives the whole.
        In the mode "none" zeros are added at the bottom and on the right, as the loader does.
        """
        mode = "pad64" if config.IMAGE_RESIZE_MODE == "crop" else config.IMAGE_RESIZE_MODE
        plan = cls.for_mode(shape, mode, min_dim=config.IMAGE_MIN_DIM,
                            max_dim=config.IMAGE_MAX_DIM, min_scale=config.IMAGE_MIN_SCALE)
        height, width = plan.molded_shape
        return plan.padded_to(next_multiple(height), next_multiple(width))

    def padded_to(self, height: int, width: int) -> Self:
        """This plan with more zeros at the bottom and on the right; the window stays.

        Raises:
            ValueError: the molded image is larger than that.
        """
        (top, bottom), (left, right) = self.border
        more = height - self.molded_shape[0], width - self.molded_shape[1]
        if min(more) < 0:
            raise ArgumentError(f"a molded image of {self.molded_shape} (height, width) cannot be "
                                f"padded to {(height, width)}.")
        return replace(self, border=((top, bottom + more[0]), (left, right + more[1])))

    def zoomed(self, factor: float, canvas: Shape, rng: np.random.Generator,
               target: Boxes | None = None) -> Self:
        """The whole image scaled by another factor more, cropped or padded to a canvas.

        A side that is longer than the canvas is cut at a random place, a shorter one is padded
        with zeros on both ends.

        Args:
            factor: multiplies the scale of this plan.
            canvas: `(height, width)` of the molded image.
            rng: of the crop's place.
            target: optional box `[4]` in pixels of the image: the crop contains it, or, where it is
                larger than the canvas, lies within it.
        """
        height, width = (max(1, round(side * self.scale * factor)) for side in self.shape)
        near: list[float | None] = [None] * 4
        if target is not None:
            ratio = np.array([height / self.shape[0], width / self.shape[1]] * 2)
            near = (np.asarray(target) * ratio).tolist()
        top, rows = _random_part(height, int(canvas[0]), near[0], near[2], rng)
        left, columns = _random_part(width, int(canvas[1]), near[1], near[3], rng)
        crop = None if (rows, columns) == (height, width) else (top, left, rows, columns)
        border = _centered(rows, int(canvas[0])), _centered(columns, int(canvas[1]))
        return replace(self, scale=self.scale * factor, scaled_shape=(height, width), crop=crop,
                       border=border)

    # --- where things go --------------------------------------------------------------------

    @property
    def window(self) -> Window:
        """`(y1, x1, y2, x2)`, the picture's part of the molded image, pixels."""
        (top, _), (left, _) = self.border
        height, width = self.scaled_shape if self.crop is None else self.crop[2:]
        return top, left, top + height, left + width

    @property
    def molded_shape(self) -> tuple[int, int]:
        """`(height, width)` of the molded image, pixels."""
        (_, bottom), (_, right) = self.border
        return self.window[2] + bottom, self.window[3] + right

    @property
    def _extent(self) -> Window:
        """Where the whole scaled image is in the molded one; with a crop, beyond its edges."""
        top, left = self.window[:2]
        if self.crop is not None:
            top, left = top - self.crop[0], left - self.crop[1]
        return top, left, top + self.scaled_shape[0], left + self.scaled_shape[1]

    def boxes_to_molded(self, boxes: Boxes) -> Boxes:
        """Boxes `[N, 4]` in pixels of the image → float32 in pixels of the molded image.

        They are scaled by what was really done to each side, and not cut at a crop's edge.
        """
        top, left, bottom, right = self._extent
        height, width = self.shape
        factor = np.array([(bottom - top) / height, (right - left) / width] * 2)
        moved = np.asarray(boxes) * factor + np.array([top, left, top, left])
        return moved.astype(np.float32)

    def boxes_from_molded(self, boxes: Boxes) -> Boxes:
        """The inverse of `boxes_to_molded`; boxes are not cut at the image's edge."""
        return boxes_from_window(np.asarray(boxes), self._extent, self.shape).astype(np.float32)

    # --- pixels -----------------------------------------------------------------------------

    def apply(self, image: Image) -> Image:
        """The molded image, a new array of the dtype of `image`, `[H, W, C]` or `[H, W]`.

        Raises:
            ImageError: the image is not of the plan's shape.
        """
        if image.shape[:2] != self.shape:
            raise ImageError(f"the plan is for an image of {self.shape} (height, width), not "
                             f"{image.shape[:2]}.")
        scales = self.scaled_shape != self.shape
        if scales:
            picture = resample(image, *self.scaled_shape, part=self.crop)
        else:
            top, left, height, width = self.crop or (0, 0, *self.shape)
            picture = image[top:top + height, left:left + width]
        if any(map(any, self.border)):
            return _padded(picture, self.border)
        return picture if scales else picture.copy()


def resize_scale(height: int, width: int, min_dim: int | None, max_dim: int | None,
                 min_scale: float | None) -> float:
    """The factor by which `resize_image` scales an image; see there. Any limit may be None."""
    scale: float = max(1, min_dim / min(height, width)) if min_dim else 1
    if min_scale and scale < min_scale:
        scale = min_scale
    if max_dim and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    return scale


def boxes_from_window(boxes: Boxes, window: Window | IntArray, shape: Shape) -> FloatArray:
    """Boxes of a molded image in the pixels of the image that fills a window of it.

    Args:
        boxes: `[N, 4]` pixels of the molded image.
        window: `(y1, x1, y2, x2)` pixels of the molded image.
        shape: `(height, width, ...)` of the image before resizing.

    Returns:
        `[N, 4]` floats, not cut at the image's edge.
    """
    height, width = shape[:2]
    y1, x1, y2, x2 = window
    scale = np.array([height / (y2 - y1), width / (x2 - x1)] * 2)
    return (boxes - [y1, x1, y1, x1]) * scale


def next_multiple(side: int) -> int:
    """The least multiple of 64 that is not below a side."""
    return -(-side // MULTIPLE) * MULTIPLE


def _rule(mode: str | None, **dimensions: int | None) -> _Mode:
    if mode not in _MODES:
        raise ConfigError(f"IMAGE_RESIZE_MODE is {mode!r}; allowed is one of "
                          f"{', '.join(RESIZE_MODES)}.")
    rule = _MODES[mode]
    if rule.needs and not dimensions[rule.needs]:
        raise ConfigError(f"The resize mode {mode!r} needs {rule.needs} "
                          f"(IMAGE_{rule.needs.upper()}).")
    return rule


def _centered(size: int, target: int) -> tuple[int, int]:
    before = (target - size) // 2
    return before, target - size - before


def _random_crop(shape: tuple[int, int], side: int, rng: Seed) -> tuple[int, int, int, int]:
    rng = np.random.default_rng(rng)
    top = int(rng.integers(0, shape[0] - side, endpoint=True))
    left = int(rng.integers(0, shape[1] - side, endpoint=True))
    return top, left, side, side


def _random_part(side: int, room: int, start: float | None, end: float | None,
                 rng: np.random.Generator) -> tuple[int, int]:
    """(first pixel, length) of the part of a side that fits; from `start` to `end` is inside it."""
    last = max(0, side - room)
    first = 0
    if start is not None and end is not None:
        limits = sorted((math.floor(start), math.ceil(end) - room))
        first, last = (min(max(0, limit), last) for limit in limits)
    return int(rng.integers(first, last, endpoint=True)), min(side, room)


def _padded(image: Image, border: tuple[tuple[int, int], tuple[int, int]]) -> Image:
    (top, bottom), (left, right) = border
    height, width = image.shape[:2]
    padded = np.zeros((top + height + bottom, left + width + right, *image.shape[2:]), image.dtype)
    padded[top:top + height, left:left + width] = image
    return padded
