"""The operations of augmentation: turns, scale and shift, brightness and color, blur, noise.

Geometric operations take an image with its boxes and return both; boxes are float32 `[N, 4]`,
(y1, x1, y2, x2) in pixels with (y2, x2) outside. Most of them work on "planes", Pillow images:
`to_planes` converts once from an array and `to_array` once back, with any number of operations
between the two. No function writes into its arguments.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageFilter

from frcnn.arrays import Array, Boxes, FloatArray
from frcnn.arrays import Image as Pixels
from frcnn.errors import ConfigError

# One Pillow image of three bands, or one of one band for each channel; see `to_planes`.
Planes: TypeAlias = list[Image.Image]

_STRIP = 2**15  # values at a time, as many as fit the processor's cache

# --- planes ---------------------------------------------------------------------------------


def to_planes(image: Pixels) -> Planes:
    """A list of Pillow images: one of three bands, or else one of one band for each channel.

    Pillow would treat the last one of four channels as transparency or black.

    Args:
        image: uint8 `[H, W, C]`.

    Raises:
        ConfigError: the image is of another type.
    """
    if image.dtype != np.uint8:
        raise ConfigError(f"This augmentation is for images of the type uint8, but this one is "
                          f"{image.dtype}; convert it in load_image, or write an augmentation of "
                          "your own.")
    if image.shape[2] == 3:
        return [Image.fromarray(image)]
    return [Image.fromarray(image[..., channel]) for channel in range(image.shape[2])]


def to_array(planes: Planes) -> Pixels:
    """The image of planes, uint8 `[H, W, C]`, read-only."""
    if len(planes) == 1:
        pixels = np.asarray(planes[0])
        return pixels.reshape(*pixels.shape[:2], -1)
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


# --- geometry -------------------------------------------------------------------------------


def flip_left_right(image: Pixels, boxes: Boxes) -> tuple[Pixels, Boxes]:
    """Mirrors an image `[H, W, C]` and its boxes horizontally.

    Returns:
        image, a view, and boxes.
    """
    return image[:, ::-1], _mirrored(boxes, image.shape[1])


def flip_up_down(image: Pixels, boxes: Boxes) -> tuple[Pixels, Boxes]:
    """Mirrors an image `[H, W, C]` and its boxes vertically.

    Returns:
        image, a view, and boxes.
    """
    y1, x1, y2, x2 = boxes.T
    height = np.float32(image.shape[0])
    return image[::-1], np.stack([height - y2, x1, height - y1, x2], axis=1)


def _mirrored(boxes: Boxes, width: int) -> Boxes:
    y1, x1, y2, x2 = boxes.T
    return np.stack([y1, np.float32(width) - x2, y2, np.float32(width) - x1], axis=1)


def _quarter_turned(boxes: Boxes, width: int) -> Boxes:
    """Rotated by 90° counter-clockwise, with an image of that width."""
    y1, x1, y2, x2 = boxes.T
    return np.stack([np.float32(width) - x2, y1, np.float32(width) - x1, y2], axis=1)


_TURNS = {  # by (whether mirrored left-right first, quarter turns counter-clockwise)
    (False, 1): Image.Transpose.ROTATE_90, (False, 2): Image.Transpose.ROTATE_180,
    (False, 3): Image.Transpose.ROTATE_270, (True, 0): Image.Transpose.FLIP_LEFT_RIGHT,
    (True, 1): Image.Transpose.TRANSPOSE, (True, 2): Image.Transpose.FLIP_TOP_BOTTOM,
    (True, 3): Image.Transpose.TRANSVERSE,
}  # fmt: skip


def turn(planes: Planes, boxes: Boxes, mirror: bool, quarters: int) -> tuple[Planes, Boxes]:
    """Mirrors and rotates an image into one of the eight positions of a rectangle.

    Args:
        planes: of `to_planes`.
        boxes: float32 `[N, 4]` pixels.
        mirror: whether to mirror horizontally, before the rotation.
        quarters: turns of 90° counter-clockwise, 0 to 3.

    Returns:
        planes and boxes.
    """
    width, height = planes[0].size
    if mirror:
        boxes = _mirrored(boxes, width)
    for number in range(quarters):
        boxes = _quarter_turned(boxes, height if number % 2 else width)
    move = _TURNS.get((bool(mirror), int(quarters)))
    return [plane.transpose(move) for plane in planes] if move is not None else planes, boxes


def place(planes: Planes, boxes: Boxes, scale: float,
          shift: Sequence[float] | FloatArray = (0, 0)) -> tuple[Planes, Boxes]:
    """Scales an image about the center of its frame and shifts it; the frame's size stays.

    The scaled sides and the shift are whole pixels, so that boxes move exactly as the pixels do.
    What is outside the frame is lost; boxes are not cut, see `augment`. The rest of the frame is
    filled with the median color, in a micrograph that of the background.

    Args:
        planes: of `to_planes`.
        boxes: float32 `[N, 4]` pixels.
        scale: the new size over the old.
        shift: (down, right), as fractions of the frame's height and width.

    Returns:
        planes and boxes.
    """
    frame = planes[0].size[::-1]
    sides = [max(1, round(side * scale)) for side in frame]
    corner = [round((side - new) / 2 + part * side)
              for side, new, part in zip(frame, sides, shift)]
    factor = np.array([new / side for new, side in zip(sides, frame)] * 2)
    boxes = (boxes * factor + np.array(corner * 2)).astype(np.float32)
    starts = [max(0, first) for first in corner]
    stops = [min(side, first + new) for side, first, new in zip(frame, corner, sides)]
    # The part of the old image that stays inside, (y1, x1, y2, x2).
    part = [(edge - first) * side / new for edges in (starts, stops)
            for edge, first, side, new in zip(edges, corner, frame, sides)]
    return [_placed(plane, starts, stops, part) for plane in planes], boxes


def _placed(plane: Image.Image, starts: list[int], stops: list[int],
            part: list[float]) -> Image.Image:
    """A plane whose `part` is resized to fill the frame from `starts` to `stops`."""
    height, width = stops[0] - starts[0], stops[1] - starts[1]
    small = np.asarray(plane.resize((50, 50), Image.Resampling.NEAREST)).reshape(2500, -1)
    if height <= 0 or width <= 0:
        return Image.new(plane.mode, plane.size, _median_color(small))
    y1, x1, y2, x2 = part
    picture = plane.resize((width, height), Image.Resampling.BILINEAR, box=(x1, y1, x2, y2))
    if picture.size == plane.size:
        return picture
    placed = Image.new(plane.mode, plane.size, _median_color(small))
    placed.paste(picture, (starts[1], starts[0]))
    return placed


def _median_color(pixels: Array) -> tuple[int, ...]:
    """The median of pixels `[N, bands]`, as a color for Pillow."""
    return tuple(int(value) for value in np.median(pixels, axis=0))


# --- brightness, color, focus, noise --------------------------------------------------------


def recolor(planes: Planes, brightness: float = 0, contrast: float = 1, hue: float = 0) -> Planes:
    """Rotates the hue, scales gray levels about the middle by `contrast`, adds `brightness`.

    Hue is rotated about the axis of grays (Haeberli, "Matrix Operations for Image Processing",
    1993, without its correction of luminance): grays stay, a third of a turn makes red green.
    Results are rounded and clipped to 0 to 255.

    Args:
        planes: of `to_planes`.
        brightness: gray levels, 0 for no change.
        contrast: factor, 1 for no change.
        hue: in turns, -0.5 to 0.5; without effect unless there are three channels.

    Returns:
        planes.
    """
    offset = 127.5 * (1 - contrast) + brightness
    if hue and planes[0].mode == "RGB":
        rows = np.concatenate([contrast * _hue_matrix(hue), np.full((3, 1), offset)], axis=1)
        return [planes[0].convert("RGB", tuple(rows.ravel()))]
    levels = np.clip(np.rint(np.arange(256) * contrast + offset), 0, 255).astype(int).tolist()
    return [plane.point(levels * len(plane.getbands())) for plane in planes]


def _hue_matrix(turns: float) -> FloatArray:
    """`[3, 3]`, a rotation about (1, 1, 1)."""
    cosine, sine = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns) / np.sqrt(3)
    around = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return cosine * np.eye(3) + (1 - cosine) / 3 + sine * around


def blur(planes: Planes, radius: float) -> Planes:
    """The mean over squares of `2 * radius + 1` pixels, which resembles an image out of focus.

    Args:
        planes: of `to_planes`.
        radius: pixels, fractions too; pixels that a square covers in part count in part.

    Returns:
        planes.
    """
    return [plane.filter(ImageFilter.BoxBlur(radius)) for plane in planes]


def add_noise(image: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Adds a normal random number to every value.

    They come from an array of a hundred thousand, in strips that start at random positions: distant
    values repeat, at a tenth of the cost of new ones.

    Args:
        image: uint8 `[H, W, C]`.
        deviation: standard deviation in gray levels.
        rng: `numpy.random.Generator`.

    Returns:
        A new uint8 image, rounded and clipped to 0 to 255.
    """
    store = np.rint(deviation * rng.standard_normal(4 * _STRIP, np.float32)).astype(np.int16)
    noisy = np.empty_like(image)
    values, results = image.reshape(-1), noisy.reshape(-1)
    for start in range(0, values.size, _STRIP):
        part = values[start:start + _STRIP]
        first = rng.integers(0, store.size - part.size, endpoint=True)
        sums = store[first:first + part.size] + part
        results[start:start + _STRIP] = np.clip(sums, 0, 255, out=sums)
    return noisy
