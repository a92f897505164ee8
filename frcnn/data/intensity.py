"""From image values of any depth to 8 bits: which range they have, and what does not fit it.

The range of the values belongs to a data set, never to a single image: two images of one camera
must not be scaled differently. It is declared (`Dataset.intensity_range`, and
`IMAGE_INTENSITY_RANGE` of the Config, which is stored with the checkpoint), or measured over the
training images once and then declared (`frcnn.data.measure`), or stated by the file, or, for
unsigned 16-bit integers alone, the whole range of the type. Values outside of it are an error,
unless the range itself says that they are clipped: (low, high, "clip").
"""

import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from frcnn.arrays import Array, Image
from frcnn.data.image_name import ImageName
from frcnn.errors import ConfigError, ImageError

CLIP = "clip"
# The lowest and the highest possible value; with CLIP, values beyond them become one of the two.
IntensityRange: TypeAlias = tuple[float, float] | tuple[float, float, str]
DeclaredRange: TypeAlias = Sequence[float | str]  # what `as_range` accepts

FULL_16_BITS: IntensityRange = (0.0, 65535.0)
# A 16-bit image whose largest value has at most this many bits may be of a camera with fewer bits.
_DOUBTFUL_BITS = 14
CAMERA_BITS = (8, 10, 12, 14)
# An image of whose values more than this share is clipped may be of another range.
_MOST_CLIPPED = 0.05
# Floats may exceed the range by this part of it: what rounding does, and no more.
_TOLERANCE = 1e-6

HOW_TO_DECLARE = ("intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of the Config (--range "
                  "LOW HIGH)")


def as_range(value: DeclaredRange | None) -> IntensityRange | None:
    """A declared range as two floats, and CLIP if it has that; None for none.

    Raises:
        ConfigError: it is not two finite numbers, the lower one first, with or without CLIP.
    """
    if value is None:
        return None
    try:
        sides = list(value)
        clips = len(sides) == 3 and sides[2] == CLIP
        low, high = (np.nan if isinstance(side, str) else float(side)
                     for side in (sides[:2] if clips else sides))
    except (TypeError, ValueError):
        low, high, clips = np.nan, np.nan, False
    if not (np.isfinite([low, high]).all() and low < high):
        raise ConfigError(f"The intensity range is {value!r}; allowed are None or two numbers, the "
                          "lowest and the highest possible value of the images, such as (0, 4095).")
    return (low, high, CLIP) if clips else (low, high)


def describe_range(limits: IntensityRange | None) -> str:
    """A range as text, such as "0 to 4095"."""
    if limits is None:
        return "that of each file"
    clipped = ", values beyond clipped" * (len(limits) == 3)
    return f"{limits[0]:.6g} to {limits[1]:.6g}{clipped}"


class Intensity:
    """How the image files of one data set become 8 bits; warns once where that is doubtful.

    Args:
        declared: the lowest and the highest possible value of images that are deeper than 8 bits,
            and CLIP where values beyond them are clipped; None: what a file states, or the whole
            range of 16 bits.
        warns: whether the first doubt is a warning; it is kept in any case.

    Attributes:
        declared: the same, as floats.
        doubtful: number of images so far that use a small part of 16 bits, and so may have fewer,
            or of which much is clipped.
        first_doubt: the message on the first of these; empty without one.
    """

    def __init__(self, declared: DeclaredRange | None = None, *, warns: bool = True) -> None:
        self.declared = as_range(declared)
        self.warns = warns
        self.doubtful = 0
        self.first_doubt = ""

    def to_bytes(self, values: Array, name: str, stated: IntensityRange | None = None, *,
                 inverted: bool = False) -> Image:
        """The values of one image file, deeper than 8 bits, as uint8.

        Args:
            values: integers or floats of any shape.
            name: of the image, for messages.
            stated: the range that the file itself states, if it does.
            inverted: whether the lowest value is white.

        Raises:
            ImageError: a value is NaN or outside the range, or the range is not known.
        """
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        limits = self.declared or stated
        if limits is None and values.dtype == np.uint16:
            self.look_for_doubt(int(values.max(initial=0)), name)
            limits = FULL_16_BITS
        pixels = scaled_to_bytes(values, limits, name, inverted=inverted)
        if pixels.size and pixels.min() == pixels.max() and values.min() < values.max():
            self._doubt(f"{name}: its values from {values.min():.6g} to {values.max():.6g} are all "
                        f"one in its range {limits}, so the picture is empty. Declare the range "
                        f"that the images of this data set have as {HOW_TO_DECLARE}.")
        elif limits is not None and len(limits) == 3:
            share = _share_beyond(values, limits)
            if share > _MOST_CLIPPED:
                self._doubt(f"{name}: {share:.0%} of its values, from {values.min():.6g} to "
                            f"{values.max():.6g}, lie beyond the range "
                            f"{limits[0]:.6g} to {limits[1]:.6g} and are clipped: is the image of "
                            "another camera or exposure?")
        return pixels

    def look_for_doubt(self, largest: int, name: str) -> None:
        """Counts a 16-bit image whose largest value suggests fewer bits, and warns at the first."""
        if not 0 < largest < 2**_DOUBTFUL_BITS:
            return
        bits = next(bits for bits in CAMERA_BITS if largest < 2**bits)
        self._doubt(
            f"{name}: its 16-bit values end at {largest}, so the picture is nearly black; they fit "
            f"into {bits} bits. If the images of this data set have {bits} bits, declare that: "
            f"(0, {2**bits - 1}) as {HOW_TO_DECLARE}. If they have 16, declare (0, 65535), which "
            "also ends this warning.")

    def _doubt(self, message: str) -> None:
        self.doubtful += 1
        if self.doubtful == 1:
            self.first_doubt = message
            if self.warns:
                warnings.warn(message, stacklevel=5)


def scaled_to_bytes(values: Array, limits: IntensityRange | None, name: str, *,
                    inverted: bool = False) -> Image:
    """Values as uint8, low as 0 and high as 255: integers in 256 equal bins, floats rounded.

    Raises:
        ImageError: a value is NaN or infinite, or outside a range without CLIP, or the range is
            None.
    """
    if values.dtype.kind not in "uif":
        raise ImageError(f"{name}: holds {values.dtype} values; images are integers or floats.")
    lowest, highest = (values.min(), values.max()) if values.size else (0, 0)  # NaN stays NaN
    what = f"{name}: holds {values.dtype} values from {lowest:.6g} to {highest:.6g}"
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise ImageError(f"{what}, NaN or infinity among them; replace these in the file.",
                         "range")
    if limits is None:
        raise ImageError(f"{what}, whose range is not known. Declare it as {HOW_TO_DECLARE}: the "
                         "lowest and the highest value that images of this data set can have, such "
                         "as (0, 1).", "range")
    low, high = limits[:2]
    slack = _TOLERANCE * (high - low) if values.dtype.kind == "f" else 0
    if len(limits) == 2 and (lowest < low - slack or highest > high + slack):
        raise ImageError(f"{what}, outside of its range {low:.6g} to {high:.6g}. Declare the range "
                         f"that all images of the data set have as {HOW_TO_DECLARE}, or correct "
                         "the file.", "range")
    if values.dtype == np.uint16:  # by a table: whole images as floats would take much memory
        pixels = _scaled(np.arange(2**16), low, high)[values]
    else:
        pixels = _scaled(values, low, high)
    return 255 - pixels if inverted else pixels


def _scaled(values: Array, low: float, high: float) -> Image:
    if values.dtype.kind == "f":
        part: Array = np.rint((values.astype(np.float64) - low) * (255 / (high - low)))
    else:  # equal bins: of the whole range of 16 bits, the upper 8 bits
        part = np.floor((values.astype(np.float64) - low) * (256 / (high - low + 1)))
    return np.clip(part, 0, 255).astype(np.uint8)


def _share_beyond(values: Array, limits: IntensityRange) -> float:
    beyond = np.count_nonzero(values < limits[0]) + np.count_nonzero(values > limits[1])
    return beyond / max(values.size, 1)


def pixels_of_array(image: Array, declared: DeclaredRange | None, name: str | ImageName) -> Image:
    """An image that came as an array and not from a file, as uint8.

    Only uint8 arrays mean the same to everybody. Others are converted where their range is
    declared.

    Raises:
        ImageError: the array is of another type and its range is not declared, or a value is
            outside of it.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind not in "uif":
        raise ImageError(f"{name} is an array of {image.dtype}; give uint8, 0 to 255.")
    limits = as_range(declared)
    if limits is None:
        spread = f" with values from {image.min():.6g} to {image.max():.6g}" if image.size else ""
        molded = (" Values below 0 are those of an image whose mean pixel is already subtracted, "
                  "as mold_image does; detection and training do it themselves, so give the image "
                  "before that.") if image.dtype.kind == "f" and (image < 0).any() else ""
        raise ImageError(
            f"{name} is an array of {image.dtype}{spread}; give uint8, 0 to 255 (for floats from 0 "
            "to 1: (255 * image).round().astype(\"uint8\")), or declare the range of the data as "
            f"{HOW_TO_DECLARE}.{molded}")
    return scaled_to_bytes(image, limits, str(name))
