"""From the samples of a slide's pixels to colors: those that `read_image` makes of the same file.

tiffslide returns the samples as they are stored. What they mean is in the file's tags.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from PIL import Image as PillowImage

from frcnn.arrays import Array, Image
from frcnn.data import tiff
from frcnn.errors import ImageError

ToColors: TypeAlias = Callable[[Array], Image]

# Compressions that tifffile decodes from YCbCr to RGB: those of JPEG.
_JPEG = (6, 7, 33007, 34892)
# JPEG 2000 of Aperio, whose tiles hold YCbCr or RGB whatever PhotometricInterpretation says
# (https://openslide.org/formats/aperio/).
_APERIO_YCBCR, _APERIO_RGB = 33003, 33005
_NAMES = {tiff.PALETTE: "of a palette", tiff.CMYK: "CMYK", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB",
          tiff.YCBCR: "YCbCr, not compressed as JPEG"}
_MODES = {1: "L", 3: "RGB"}  # of Pillow, by the number of colors
_BITS = 8
_PICTURE = (1, 3, 4)  # channels that a picture can be read with


class _Samples(NamedTuple):
    """What the samples of a pixel are."""

    number: int
    photometric: int
    colors: int  # 1 or 3 of these
    extra: tuple[int, ...] | None  # ExtraSamples; None without the tag
    is_stack: bool  # pages that the file states to be channels


def colors_of(slide: Any, name: str, channels: int) -> ToColors:
    """The function that makes colors of the regions of a slide.

    Args:
        slide: a TiffSlide or OpenSlide.
        name: of the file, for messages.
        channels: of the images that are wanted.

    Returns:
        Function from a region `[h, w, S]` uint8 to `[h, w, channels]` uint8; for one channel, to
        three, of which gray is to be made.

    Raises:
        ImageError: the file holds colors that cannot be converted, is rotated or mirrored, or has
            another number of channels.
    """
    if not is_tiffslide(slide):
        tiff.check_count(name, 3, channels, _PICTURE)
        return partial(_on_white, channels=channels)
    series = _series_of(slide)
    _refuse(name, series)
    if slide.properties.get("tiffslide.vendor") is None:
        _check_other_pictures(name, slide.ts_tifffile.series)
    samples = _samples_of(name, series)
    inverted = samples.photometric == tiff.WHITE_IS_ZERO
    if samples.is_stack or tiff.has_unnamed(
            name, samples.photometric, samples.number, samples.extra, channels):
        tiff.check_count(name, samples.number, channels)
        return partial(_as_they_are, is_inverted=inverted)
    tiff.check_count(name, samples.colors, channels, _PICTURE)
    mode = raw = _MODES[samples.colors]
    if samples.number > samples.colors:
        is_associated = samples.extra is not None and samples.extra[0] == tiff.ASSOCIATED_ALPHA
        mode, raw = f"{mode}A", mode + ("a" if is_associated else "A")
    return partial(_converted, mode=mode, raw=raw, is_inverted=inverted, channels=channels)


def is_tiffslide(slide: Any) -> bool:
    """Whether a slide is a TiffSlide, and not an OpenSlide."""
    return hasattr(slide, "ts_tifffile")


def refuse_compression(slide: Any) -> None:
    """Raises ImageError for tiles whose colors tiffslide does not convert, and OpenSlide does."""
    if is_tiffslide(slide) and _series_of(slide)[0].compression == _APERIO_YCBCR:
        raise ImageError(f"its JPEG 2000 tiles hold YCbCr (compression {_APERIO_YCBCR}), which "
                         "tiffslide returns as it is")


def _series_of(slide: Any) -> Any:
    return slide.ts_tifffile.series[slide.properties["tiffslide.series-index"]]


# --- what the tags say ------------------------------------------------------------------------


def _refuse(name: str, series: Any) -> None:
    """Raises ImageError for what cannot be read by regions."""
    page = series[0]
    values = f"{series.dtype} values" if series.dtype != np.uint8 else (
        f"values of {page.bitspersample} bits" if page.bitspersample != _BITS else None)
    if values:
        raise ImageError(f"{name} holds {values}, and slides are read with 8 bits; convert it.")
    orientation = int(page.tags.valueof("Orientation", 1))
    if orientation != 1:
        raise ImageError(f"{name} is stored rotated or mirrored (Orientation {orientation}), of "
                         "which no regions can be read; convert it to Orientation 1.")
    photometric = int(page.photometric)
    is_decoded = photometric == tiff.YCBCR and (
        page.compression in (*_JPEG, _APERIO_RGB) and page.samplesperpixel == 3)
    if photometric not in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO, tiff.RGB) and not is_decoded:
        colors = _NAMES.get(photometric, "of another kind")
        raise ImageError(f"{name} has colors {colors} (PhotometricInterpretation {photometric}), "
                         "of which no regions can be read; convert it to RGB.")


def _check_other_pictures(name: str, all_series: Sequence[Any]) -> None:
    """Raises ImageError where the first picture of a TIFF may be a preview, or one of several."""
    first, *others = all_series
    height, width = _size_of(first)
    for series in others:
        if int(series[0].tags.valueof("NewSubfileType", 0)) & tiff.NO_PICTURE:
            continue
        rows, columns = _size_of(series)
        if rows * columns > height * width:
            raise ImageError(f"{name}: its first image, of {width} x {height} pixels, is a preview "
                             f"of a later one of {columns} x {rows} pixels, or another; "
                             f"{tiff.HOW_TO_SPLIT}.")
        if (rows, columns) == (height, width):
            raise ImageError(f"{name}: has several images of one size; {tiff.HOW_TO_SPLIT}.")


def _size_of(series: Any) -> tuple[int, int]:
    sizes = _sizes_of(series)
    return sizes.get("Y", 0), sizes.get("X", 0)


def _sizes_of(series: Any) -> dict[str, int]:
    return dict(zip(series.axes, series.shape))


def _samples_of(name: str, series: Any) -> _Samples:
    page, sizes = series[0], _sizes_of(series)
    value: Any = page.tags.valueof("ExtraSamples")
    extra = None if value is None else tuple(
        int(part) for part in (value if isinstance(value, tuple) else (value,)))
    colors = 1 if page.photometric in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO) else 3
    samples = _Samples(sizes.get("S", sizes.get("C", 1)), int(page.photometric), colors, extra,
                       "C" in sizes)
    if samples.number < colors and not samples.is_stack:
        raise ImageError(f"{name} has {samples.number} channels where {colors} colors are stated; "
                         "convert it to RGB.")
    return samples


# --- conversions ------------------------------------------------------------------------------


def _as_they_are(region: Array, is_inverted: bool) -> Image:
    return 255 - region if is_inverted else region


def _converted(region: Array, mode: str, raw: str, is_inverted: bool, channels: int) -> Image:
    """Colors as Pillow converts them: gray repeated, alpha removed or, of 4 channels, the last."""
    if is_inverted:
        region = np.concatenate([255 - region[..., :1], region[..., 1:]], axis=-1)
    size = region.shape[1], region.shape[0]
    image = PillowImage.frombytes(mode, size, np.ascontiguousarray(region).tobytes(), "raw", raw)
    return np.asarray(image.convert("RGBA" if channels == 4 else "RGB"))


def _on_white(region: Array, channels: int) -> Image:
    """OpenSlide's RGBA: what was not scanned is transparent, and becomes white."""
    image = PillowImage.fromarray(region)
    if image.mode == "RGBA":
        image = PillowImage.alpha_composite(PillowImage.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGBA" if channels == 4 else "RGB"))
