"""Reading image files of any format that Pillow reads, with EXIF orientation applied, as 8 bits."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from frcnn.arrays import Image as Pixels
from frcnn.data import channel_files, deep_images, tiff
from frcnn.data.image_source import ImageBytes, ImageFile, readable
from frcnn.data.intensity import DeclaredRange, Intensity
from frcnn.errors import ImageError, SeveralPagesError

# 20,000 x 20,000; a file that declares more counts as a decompression bomb.
MAX_PIXELS = 400_000_000
_NO_LIMIT = 2**62  # pixels
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


def read_image(path: ImageFile, channels: int = 3,
               intensity: Intensity | DeclaredRange | None = None) -> Pixels:
    """Reads an image file as 8 bits, with its EXIF orientation applied.

    Grayscale, palette, RGBA and CMYK images are converted, transparency is dropped unless
    `channels` is 4. Of an animation the first frame is read; a TIFF has one image in its pages.
    Files with 8 bits are read as they are. Values of more bits become 8 bits by the range that all
    images of the data set share, which is `intensity`, or what a TIFF states (BitsPerSample,
    MaxSampleValue, SMaxSampleValue, SignificantBits of OME), or, for unsigned integers of 16 bits,
    0 to 65535: of these the upper 8 bits are kept, with a warning where they are nearly all 0.

    Args:
        path: the file, or its content.
        channels: 1 (gray), 3 (red, green, blue) or 4 (and alpha). Of a TIFF that states so many
            channels, as microscopes write them in pages or planes, or in samples that are neither
            color nor alpha, these; see `frcnn.data.channel_files`. Other numbers are those of such
            a TIFF.
        intensity: the lowest and the highest possible value of images deeper than 8 bits, or the
            `Intensity` that a data set's images share, which warns only once.

    Returns:
        `[H, W, channels]` uint8.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is not an image, is damaged, or has more than `MAX_PIXELS` pixels; its
            values are outside of their range, or are floats or 32-bit integers without a declared
            one; or it has several pages, which may be channels or a stack, or another number of
            channels.
        MissingExtraError: it has channels that Pillow does not read, and tifffile is not installed.
    """
    if not isinstance(intensity, Intensity):
        intensity = Intensity(intensity)
    if channels not in _PILLOW_MODES:
        _check_channels(path, channels)
        return channel_files.read_channels(path, channels, intensity, MAX_PIXELS)
    try:
        picture = _read_picture(path, channels, intensity)
    except ImageError as error:
        if not _has_channels(path, channels, error):
            raise
        picture = None
    if picture is None:
        picture = channel_files.read_channels(path, channels, intensity, MAX_PIXELS)
    return picture


def _check_channels(path: ImageFile, channels: object) -> None:
    is_count = isinstance(channels, int) and not isinstance(channels, bool) and channels > 0
    if not is_count or not channel_files.is_tiff(path):
        raise ImageError(f"{path}: cannot be read with {channels!r} channels; image files are read "
                         "with 1, 3 or 4, and TIFFs (.tif, .tiff) with as many as they have. "
                         "Override Dataset.load_image for other data.")


def _has_channels(path: ImageFile, channels: int, error: ImageError) -> bool:
    """Whether a file that Pillow does not read as one picture states that it has the channels."""
    if channels == 1 or not channel_files.is_tiff(path):
        return False
    if isinstance(error, SeveralPagesError):  # a page's own channels are one of several pictures
        return channel_files.states_channels(path, channels, "C")
    # What Pillow raised is the cause.
    return error.__cause__ is not None and channel_files.states_channels(path, channels)


def _read_picture(path: ImageFile, channels: int, intensity: Intensity) -> Pixels | None:
    """The pixels; None for a TIFF whose samples are channels, see `tiff.has_unnamed`."""
    with _opened(path) as image:
        turn = _TURNS.get(_orientation(image))
        tiff.refuse_pages(image, path)
        if tiff.is_of_channels(image, path, channels):
            return None
        image = deep_images.as_8_bits(image, path, intensity, _open_any_size)
        if turn is not None:
            image = image.transpose(turn)
        return _to_array(image, channels)


def read_deep_values(path: ImageFile, channels: int = 3
                     ) -> deep_images.DeepValues | None:
    """The values of an image file of more than 8 bits as they are; None for one of 8 bits or fewer.

    Args:
        path: the file.
        channels: that `read_image` reads it with.

    Raises:
        FileNotFoundError, ImageError: as `read_image`, but not for the range of the values.
    """
    try:
        if channels in _PILLOW_MODES:
            with _opened(path) as image:
                if not deep_images.is_deep(image):
                    return None
                tiff.refuse_pages(image, path)
                if not tiff.is_of_channels(image, path, channels):
                    return deep_images.deep_values(image, path, _open_any_size)
        else:
            _check_channels(path, channels)
    except ImageError as error:
        if not _has_channels(path, channels, error):
            raise
    values, stated, _ = channel_files.read_values(path, channels, MAX_PIXELS)
    return None if values.dtype == np.uint8 else deep_images.DeepValues(values, stated)


def read_image_size(path: ImageFile, channels: int = 3) -> tuple[int, int]:
    """The size of the image that `read_image` would return, from the file's header alone.

    Args:
        path: the file.
        channels: see `read_image`.

    Returns:
        `(height, width)` in pixels, with the EXIF orientation applied.

    Raises:
        FileNotFoundError, ImageError: as `read_image`, but not for damage after the header.
    """
    if channels not in _PILLOW_MODES:
        _check_channels(path, channels)
        return channel_files.size_of(path)
    try:
        return _picture_size(path)
    except ImageError as error:
        # A TIFF of several channels, which Pillow does not open, has a size, too.
        found = channel_files.size_or_none(path) if error.reason != "size" else None
        if found is None:
            raise
        return found


def _picture_size(path: ImageFile) -> tuple[int, int]:
    with _opened(path) as image:
        width, height = image.size
        turned = _orientation(image) >= 5
    return (width, height) if turned else (height, width)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (none) to 8, that is still to be applied."""
    if image.format == "TIFF":  # Pillow applies it to these
        return 1
    # Not image.getexif(): for a PNG it decodes all pixels in search of a late chunk.
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else 1  # as one that is unknown


@contextmanager
def _opened(path: ImageFile) -> Iterator[Image.Image]:
    """An image opened with Pillow; an error here or inside the block is raised with its path."""
    try:
        with _open_any_size(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(f"{path}: claims {width} x {height} pixels, more than the "
                                 f"{MAX_PIXELS:,} that are decoded (a decompression bomb?); cut "
                                 "it into smaller images.", "size")
            yield image
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such image file.") from error
    except (ImageError, UserWarning):
        raise
    # A damaged file makes Pillow's readers raise nearly anything: OSError, SyntaxError,
    # ValueError, struct.error, zlib.error, IndexError, ...
    except Exception as error:
        foreign = isinstance(error, UnidentifiedImageError)
        reason = "not an image of a known format" if foreign else str(error) or repr(error)
        raise ImageError(f"{path}: the image cannot be read ({reason}); replace the file or leave "
                         "it out.", "format" if foreign else "") from error


def _open_any_size(path: ImageFile) -> Image.Image:
    """Image.open without Pillow's own size limit, which is global and lower than MAX_PIXELS.

    Other threads may be comparing with the limit at any moment, so that it stays a number: after
    they have seen that it is not None it must not become None.
    """
    formats = path.formats if isinstance(path, ImageBytes) else None
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        if before is None:
            return Image.open(readable(path), formats=formats)
        Image.MAX_IMAGE_PIXELS = _NO_LIMIT
        try:
            return Image.open(readable(path), formats=formats)
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
