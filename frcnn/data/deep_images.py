"""Image files with more than 8 bits a channel, or signed ones, which Pillow reads in part.

Pillow has 16 and 32 bits for one channel only. Of 16-bit colors it keeps the upper byte, which
hides what 12 bits leave there; here the lower byte is read as well, where it matters.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from frcnn.arrays import Array
from frcnn.data import tiff
from frcnn.data.image_source import ImageFile
from frcnn.data.intensity import FULL_16_BITS, Intensity, IntensityRange
from frcnn.errors import ImageError

Opener: TypeAlias = Callable[[ImageFile], Image.Image]

# Above this upper byte, a 16-bit image is not suspected to have fewer bits.
_BRIGHT = 2**6


class DeepValues(NamedTuple):
    """The values of an image that `is_deep`, without alpha, and the range that it states."""

    values: Array
    stated: IntensityRange | None


def is_deep(image: Image.Image) -> bool:
    """Whether an image, opened and not read yet, has more than 8 bits a channel, or signed ones."""
    return _has_deep_gray(image) or _has_deep_colors(image)


def deep_values(image: Image.Image, path: ImageFile, open_file: Opener) -> DeepValues:
    """The values of an image that `is_deep`, as they are in the file; see `as_8_bits`."""
    stated = _stated_range(image)
    if _has_deep_gray(image):
        values = _gray(image)
        return DeepValues(values.astype(values.dtype.newbyteorder("="), copy=False), stated)
    _read_planes_whole(image)
    return DeepValues(_without_alpha(image, _whole_colors(image, path, open_file)), stated)


def as_8_bits(image: Image.Image, path: ImageFile, intensity: Intensity,
              open_file: Opener) -> Image.Image:
    """The image with unsigned 8 bits a channel; one that has these is returned as it is.

    Args:
        image: opened, its pixels not read yet.
        path: of the file.
        intensity: of the data set.
        open_file: opens the file once more.

    Raises:
        ImageError: the values do not fit their range; see `Intensity.to_bytes`.
    """
    name = str(path)
    if _has_deep_gray(image):
        stated, inverted = _stated_range(image), tiff.tag(image, "PhotometricInterpretation")
        return Image.fromarray(intensity.to_bytes(
            _gray(image), name, stated, inverted=inverted == tiff.WHITE_IS_ZERO))
    if not _has_deep_colors(image):
        return image
    _read_planes_whole(image)
    limits = intensity.declared or _stated_range(image)
    upper = np.asarray(image)
    colors = _without_alpha(image, upper)
    if limits is None and colors.max(initial=0) >= _BRIGHT:
        return image
    values = _whole_colors(image, path, open_file)
    if limits is None:
        intensity.look_for_doubt(int(_without_alpha(image, values).max(initial=0)), name)
        return image
    alpha = [upper[..., 3:]] if image.mode == "RGBA" else []
    pixels = intensity.to_bytes(_without_alpha(image, values), name, limits)
    pixels = np.concatenate([pixels, *alpha], axis=-1)
    # Pillow takes four channels for RGBA.
    return Image.frombytes(image.mode, image.size, np.ascontiguousarray(pixels).tobytes())


def _stated_range(image: Image.Image) -> IntensityRange | None:
    """The range of possible values that the file states, or None."""
    if image.format == "PPM":  # its largest value is in the header, and Pillow scales by it
        return FULL_16_BITS
    return tiff.range_of_tags(lambda name: tiff.tag(image, name))


# --- 16-bit colors ----------------------------------------------------------------------------


def _raw_mode(image: Image.Image) -> str:
    """How the decoder unpacks the pixels, such as "RGB;16B"; empty where Pillow does not say."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    args = args[0] if isinstance(args, tuple) and args else args
    return args if isinstance(args, str) else ""


def _has_deep_gray(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F" or _is_signed(image)


def _is_signed(image: Image.Image) -> bool:
    """Whether an image has signed integers of 8 bits, which Pillow takes for unsigned ones."""
    return image.mode == "L" and tiff.tag(image, "SampleFormat") == tiff.SIGNED


def _gray(image: Image.Image) -> Array:
    values = np.asarray(image)
    return values.view(np.int8) if _is_signed(image) else values


def _without_alpha(image: Image.Image, values: Array) -> Array:
    return values if image.mode == "CMYK" else values[..., :3]


def _has_deep_colors(image: Image.Image) -> bool:
    return ";16" in _raw_mode(image) or (
        getattr(image, "tile", None) != [] and tiff.tag(image, "BitsPerSample") == 16
        and image.mode in ("RGB", "RGBA"))


def _unpack_as(image: Image.Image, change: Callable[[str], str]) -> None:
    """Has the decoder unpack the pixels otherwise than Pillow chose."""
    tiles = []
    for tile in image.tile:  # type: ignore[attr-defined]  # of every image from a file
        args = tile[3]
        args = (change(args[0]), *args[1:]) if isinstance(args, tuple) else change(args)
        parts = (*tile[:3], args)
        tiles.append(tile._make(parts) if hasattr(tile, "_make") else parts)
    image.tile = tiles  # type: ignore[attr-defined]  # as above


def _read_planes_whole(image: Image.Image) -> None:
    """Corrects how Pillow reads uncompressed 16-bit TIFFs of separate planes: as 8 bits."""
    planes = tiff.tag(image, "PlanarConfiguration") == tiff.SEPARATE_PLANES
    if planes and len(_raw_mode(image)) == 1:
        order = "L" if image.tag_v2.prefix == b"II" else "B"  # type: ignore[attr-defined]  # a TIFF
        _unpack_as(image, lambda band: f"{band};16{order}")


def _whole_colors(image: Image.Image, path: ImageFile, open_file: Opener) -> Array:
    """16-bit colors `[H, W, C]`, uint16."""
    return (np.asarray(image).astype(np.uint16) << 8) | _lower_bytes(image, path, open_file)


def _lower_bytes(image: Image.Image, path: ImageFile, open_file: Opener) -> Array:
    """The lower bytes of 16-bit colors, as uint8: read with the order of the bytes exchanged."""
    native = "L" if np.little_endian else "B"

    def exchanged(raw: str) -> str:
        start, order = raw[:-1], raw[-1].replace("N", native)
        return start + ("B" if order == "L" else "L")

    with open_file(path) as again:
        _read_planes_whole(again)
        raw = _raw_mode(again)
        bands, _, order = raw.partition(";")
        planes = tiff.tag(again, "PlanarConfiguration") == tiff.SEPARATE_PLANES
        # Pillow's decoder of compressed planes has only the native order, and it divides colors by
        # an associated alpha ("a") as it reads them.
        if order[:2] != "16" or bands == "LA" or bands.endswith("a") or (planes and len(bands) > 1):
            raise _unreadable_depth(path)
        _unpack_as(again, exchanged)
        try:
            lower = np.asarray(again)
        except ValueError as error:  # no such unpacker
            raise _unreadable_depth(path) from error
    if lower.shape != np.asarray(image).shape:
        raise _unreadable_depth(path)
    return lower


def _unreadable_depth(path: ImageFile) -> ImageError:
    return ImageError(f"{path}: its colors have 16 bits in an arrangement of which only the upper "
                      "8 can be read, and these do not suffice; save it as 16-bit RGB or with 8 "
                      "bits.")
