"""Reading image files of any format that Pillow reads, with EXIF orientation applied, as 8 bits."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from frcnn.arrays import Array
from frcnn.arrays import Image as Pixels
from frcnn.errors import ImageError

# 20,000 x 20,000; a file that declares more counts as a decompression bomb.
MAX_PIXELS = 400_000_000
_STRIP_PIXELS = 2**17  # converted at a time: allocating a whole image each time is slow

_PILLOW_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_pillow_limit = threading.Lock()


def _renew_lock() -> None:
    """A process forked while another thread holds the lock would wait for it forever."""
    global _pillow_limit
    _pillow_limit = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def read_image(path: str | PathLike[str], channels: int = 3) -> Pixels:
    """Reads an image file as 8 bits, with its EXIF orientation applied.

    Grayscale, palette, RGBA and CMYK images are converted, transparency is dropped unless
    `channels` is 4. Of 16 bits the upper 8 are kept; values from 0 to 1 are scaled to 0 to 255. Of
    several frames the first is read.

    Args:
        path: the file.
        channels: 1 (gray), 3 (red, green, blue) or 4 (and alpha).

    Returns:
        `[H, W, channels]` uint8.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is not an image, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    if channels not in _PILLOW_MODES:
        raise ImageError(f"{path}: cannot be read with {channels} channels; image files are read "
                         "with 1, 3 or 4. Override Dataset.load_image for other data.")
    with _opened(path) as image:
        turn = _TURNS.get(_orientation(image))
        if turn is not None:
            image = image.transpose(turn)
        if image.mode.startswith("I") or image.mode == "F":
            image = Image.fromarray(_to_bytes(np.asarray(image)))
        return _to_array(image, channels)


def read_image_size(path: str | PathLike[str]) -> tuple[int, int]:
    """The size of the image that `read_image` would return, from the file's header alone.

    Returns:
        `(height, width)` in pixels, with the EXIF orientation applied.

    Raises:
        FileNotFoundError, ImageError: as `read_image`, but not for damage after the header.
    """
    with _opened(path) as image:
        width, height = image.size
        turned = _orientation(image) >= 5
    return (width, height) if turned else (height, width)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (none) to 8, that is still to be applied."""
    if image.format == "TIFF":  # Pillow applies it to these
        return 1
    # Not image.getexif(): for a PNG it decodes all pixels in search of a late chunk.
    orientation: int = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return orientation


@contextmanager
def _opened(path: str | PathLike[str]) -> Iterator[Image.Image]:
    """An image opened with Pillow; an error here or inside the block is raised with its path."""
    try:
        with _open_any_size(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(f"{path}: claims {width} x {height} pixels, more than the "
                                 f"{MAX_PIXELS:,} that are decoded (a decompression bomb?); cut "
                                 "it into smaller images.")
            yield image
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such image file.") from error
    except ImageError:
        raise
    # A damaged file makes Pillow's readers raise nearly anything: OSError, SyntaxError,
    # ValueError, struct.error, zlib.error, IndexError, ...
    except Exception as error:
        foreign = isinstance(error, UnidentifiedImageError)
        reason = "not an image of a known format" if foreign else str(error) or repr(error)
        raise ImageError(f"{path}: the image cannot be read ({reason}); replace the file or leave "
                         "it out.") from error


def _open_any_size(path: str | PathLike[str]) -> Image.Image:
    """Image.open without Pillow's own size limit, which is global and lower than MAX_PIXELS."""
    with _pillow_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _to_array(image: Image.Image, channels: int) -> Pixels:
    """`[H, W, channels]` uint8, in strips: Pillow converts a whole image through several copies."""
    mode, (width, height) = _PILLOW_MODES[channels], image.size
    pixels = np.empty((height, width, channels), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image if rows >= height else image.crop((0, top, width, bottom))
        strip = strip if strip.mode == mode else strip.convert(mode)
        pixels[top:bottom] = np.asarray(strip).reshape(-1, width, channels)
    return pixels


def _to_bytes(values: Array) -> Array:
    """One-channel integers or floats as uint8; see `read_image` for the ranges."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    values = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    largest = values.max(initial=0)
    if largest > 255:
        values = values / 256
    elif largest <= 1:
        values = values * 255
    return np.clip(values, 0, 255).astype(np.uint8)
