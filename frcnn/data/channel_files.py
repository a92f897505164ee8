"""TIFFs of any number of channels, as microscopes write them, read by tifffile (extra `slides`).

The channels are the samples of a pixel, or planes or pages of the file, in their order. Formats of
pictures, which Pillow reads, have one, three or four.
"""

import enum
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frcnn.arrays import Array, Image
from frcnn.data import tiff
from frcnn.data.image_source import ImageBytes, ImageFile, readable
from frcnn.data.intensity import Intensity, IntensityRange
from frcnn.errors import FrcnnError, ImageError, MissingExtraError

SUFFIXES = (".tif", ".tiff")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STATED, _UNKNOWN = "CS", "QI"  # axes of channels, and axes that a file does not name
_WORDS = {"Z": "planes in depth", "T": "points in time"}


def is_tiff(path: ImageFile) -> bool:
    """Whether a file's name ends as a TIFF's, or its content begins as one's."""
    if isinstance(path, ImageBytes):
        return path.content.startswith(_MAGIC)
    return Path(path).suffix.lower() in SUFFIXES


def read_channels(path: ImageFile, channels: int, intensity: Intensity,
                  most_pixels: int) -> Image:
    """Reads a TIFF of that many channels as 8 bits, by the range that `read_image` uses.

    Args:
        path: the file.
        channels: how many it must have; pages whose meaning the file does not state are taken for
            channels if there are so many.
        intensity: of the data set.
        most_pixels: of a channel.

    Returns:
        `[H, W, channels]` uint8.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: it is no TIFF, has another number of channels, or its values do not fit.
        MissingExtraError: tifffile is not installed.
    """
    found = read_values(path, channels, most_pixels)
    if found.values.dtype == np.uint8:
        return 255 - found.values if found.is_inverted else found.values
    return intensity.to_bytes(found.values, str(path), found.stated, inverted=found.is_inverted)


class ChannelValues(NamedTuple):
    """The values of a TIFF `[H, W, C]`, the range that it states, and whether 0 is white."""

    values: Array
    stated: IntensityRange | None
    is_inverted: bool


def read_values(path: ImageFile, channels: int, most_pixels: int) -> ChannelValues:
    """The values of a TIFF of that many channels as they are in the file; see `read_channels`."""
    with _opened(path) as file:
        series = file.series[0]
        _check_size(path, series, most_pixels)
        axis = _channel_axis(path, series, channels)
        page = series.pages[0]
        values = _as_channels_last(series.asarray(), series.axes, axis)
        values = _turned(values, int(_tag(page, "Orientation") or 1))
        return ChannelValues(
            np.ascontiguousarray(values), tiff.range_of_tags(lambda name: _tag(page, name)),
            _tag(page, "PhotometricInterpretation") == tiff.WHITE_IS_ZERO)


def size_of(path: ImageFile) -> tuple[int, int]:
    """(height, width) of a TIFF's first image, its orientation applied; raises as `read_channels`.
    """
    with _opened(path) as file:
        series = file.series[0]
        height, width = (series.shape[series.axes.index(axis)] for axis in "YX")
        turned = int(_tag(series.pages[0], "Orientation") or 1) >= 5
    return (width, height) if turned else (height, width)


def size_or_none(path: ImageFile) -> tuple[int, int] | None:
    """As `size_of`; None for what is no readable TIFF."""
    try:
        return size_of(path) if is_tiff(path) else None
    except (FrcnnError, OSError):
        return None


def states_channels(path: ImageFile, channels: int, axes: str = "CS") -> bool:
    """Whether a TIFF says of itself that it has that many channels; False where that is unknown.

    Args:
        path: the file.
        channels: how many.
        axes: the axis that they may be, as tifffile names it: "C" of pages, "S" of samples.
    """
    try:
        with _opened(path) as file:
            series = file.series[0]
            long = [(axis, size) for axis, size in zip(series.axes, series.shape)
                    if axis not in "YX" and size > 1]
            return len(long) == 1 and long[0][0] in axes and long[0][1] == channels
    except (FrcnnError, OSError):
        return False


@contextmanager
def _opened(path: ImageFile) -> Iterator[Any]:
    try:
        library = importlib.import_module("tifffile")
    except ImportError:
        raise MissingExtraError("Images of other than 1, 3 or 4 channels", "slides") from None
    try:
        with library.TiffFile(readable(path)) as file:
            yield file
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such image file.") from error
    except (FrcnnError, UserWarning, MemoryError):
        raise
    except Exception as error:  # of a damaged file, of any kind
        raise ImageError(f"{path}: the image cannot be read as a TIFF ({error}); replace the file "
                         "or leave it out.") from error


def _check_size(path: ImageFile, series: Any, most_pixels: int) -> None:
    if not {*"YX"} <= {*series.axes}:
        raise ImageError(f"{path}: has the axes {series.axes}, which are no image's.")
    height, width = (series.shape[series.axes.index(axis)] for axis in "YX")
    if height * width > most_pixels:
        raise ImageError(f"{path}: claims {width} x {height} pixels, more than the "
                         f"{most_pixels:,} that are decoded (a decompression bomb?); cut it into "
                         "smaller images.", "size")


def _channel_axis(path: ImageFile, series: Any, channels: int) -> int:
    """The place of the axis of the channels among those of a series."""
    long = [place for place, (axis, size) in enumerate(zip(series.axes, series.shape))
            if axis not in "YX" and size > 1]
    others = [f"{series.shape[place]} {_WORDS.get(series.axes[place], 'pages')}" for place in long
              if series.axes[place] not in _STATED + _UNKNOWN]
    if others:
        raise ImageError(f"{path}: has {' and '.join(others)}; {tiff.HOW_TO_SPLIT}.")
    if len(long) > 1:
        raise ImageError(f"{path}: has the axes {series.axes} of {series.shape}, more than those "
                         f"of one image of {channels} channels; {tiff.HOW_TO_SPLIT}.")
    count = series.shape[long[0]] if long else 1
    tiff.check_count(str(path), count, channels)
    return long[0]


def _as_channels_last(values: Array, axes: str, channel_axis: int) -> Array:
    order = [axes.index("Y"), axes.index("X"), channel_axis]
    rest = [place for place in range(len(axes)) if place not in order]
    return np.transpose(values, [*rest, *order]).reshape(
        *(values.shape[place] for place in order))


def _turned(values: Array, orientation: int) -> Array:
    """The image with its orientation, 1 to 8 of TIFF's tag, applied."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def _tag(page: Any, name: str) -> Any:
    """The value of a tag, as `frcnn.data.tiff.tag` gives it."""
    found = page.tags.get(name)
    value: Any = found.value if found is not None else None
    if isinstance(value, tuple):
        value = value[0] if value else None
    return value.value if isinstance(value, enum.Enum) else value
