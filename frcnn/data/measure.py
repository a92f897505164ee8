"""The intensity range of a data set's image files, measured over all of them at once.

What a camera can give is rounded up from what the images hold: to 8, 10, 12, 14 or 16 bits for
whole numbers, to 0 to 1 for others. Where that is not possible, or where percentiles are asked for,
values beyond them are clipped, which the range itself says.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from os import PathLike

import numpy as np

from frcnn.arrays import Array
from frcnn.data.image_io import read_deep_values
from frcnn.data.intensity import (
    CAMERA_BITS,
    CLIP,
    FULL_16_BITS,
    IntensityRange,
    as_range,
    describe_range,
)
from frcnn.errors import ArgumentError, FrcnnError

# How a range is found: "auto" is what a training does unasked.
MEASURE, PERCENTILES, AUTO = "measure", "percentiles", "auto"
WAYS = (MEASURE, PERCENTILES, AUTO)
MOST_FILES = 2000  # that are looked at, spread over all
_MOST_VALUES = 20_000  # of one image, for the percentiles
_SHARES = (0.1, 99.9)  # percentiles
_MOST_THREADS = 8  # each holds an image


@dataclass(frozen=True)
class MeasuredRange:
    """The intensity range of some image files.

    Attributes:
        limits: to be declared, as `IMAGE_INTENSITY_RANGE` or `Dataset.intensity_range`; None where
            there is nothing to declare.
        images: number of files of more than 8 bits that were measured.
        lowest, highest: their values.
        reason: why `limits` is None, or how it came about.
    """

    limits: IntensityRange | None
    images: int = 0
    lowest: float = 0.0
    highest: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if self.limits is None:
            return self.reason
        return (f"the images' values go from {self.lowest:.6g} to {self.highest:.6g}: range "
                f"{describe_range(self.limits)}, {self.reason} (measured over {self.images} "
                f"image{'s' * (self.images != 1)})")


@dataclass(frozen=True)
class _Values:
    """What is kept of one file's values."""

    lowest: float
    highest: float
    is_whole: bool
    is_float: bool
    is_16_bits: bool
    stated: IntensityRange | None
    some: Array


def measure_files(paths: Iterable[str | PathLike[str]], way: str = MEASURE,
                  channels: int = 3) -> MeasuredRange:
    """The intensity range of image files that have more than 8 bits; others have no part in it.

    Files that cannot be read are left out here; whoever reads them later reports them.

    Args:
        paths: of the files; of more than MOST_FILES, as many are measured.
        way: "measure" rounds the highest value up to what a camera or program can give, and takes
            percentiles where that is not possible; "percentiles" takes the 0.1 and 99.9 percentiles
            of all values, and clips what lies beyond; "auto" only rounds up, where all files are of
            unsigned integers of 16 bits, and has nothing to declare where these use all of 16 bits
            or the files state their range.
        channels: that the files are read with.

    Raises:
        ArgumentError: there is no such way.
    """
    if way not in WAYS:
        raise ArgumentError(f"way is {way!r}; allowed are {', '.join(WAYS)}.")
    chosen = _spread(list(paths))
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        found = [values for values in pool.map(partial(_values_of, channels=channels), chosen)
                 if values is not None]
    if not found:
        return MeasuredRange(None, reason="no image has more than 8 bits")
    return _automatic(found) if way == AUTO else _measured(found, way)


def _spread(paths: Sequence[str | PathLike[str]]) -> list[str | PathLike[str]]:
    if len(paths) <= MOST_FILES:
        return list(paths)
    return [paths[place] for place in np.linspace(0, len(paths) - 1, MOST_FILES).astype(int)]


def _values_of(path: str | PathLike[str], channels: int) -> _Values | None:
    try:
        deep = read_deep_values(path, channels)
    except (FrcnnError, OSError, MemoryError):
        return None
    if deep is None or not deep.values.size or deep.values.dtype.kind not in "uif":
        return None
    values = deep.values.ravel()
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite([lowest, highest]).all():
        return None
    is_float = values.dtype.kind == "f"
    return _Values(lowest, highest, not is_float or bool((values == np.floor(values)).all()),
                   is_float, values.dtype == np.uint16, as_range(deep.stated),
                   _some(values))


def _some(values: Array) -> Array:
    if values.size > _MOST_VALUES:
        values = values[np.random.default_rng(0).integers(0, values.size, _MOST_VALUES)]
    return values.astype(np.float64)


def _automatic(found: Sequence[_Values]) -> MeasuredRange:
    """The range where rounding up gives one and the files do not state another."""
    unstated = [values for values in found if values.stated is None]
    if not unstated:
        return MeasuredRange(None, reason="the files state their range")
    if not all(values.is_16_bits for values in unstated):
        return MeasuredRange(None, reason="not all images are of unsigned integers of 16 bits")
    limits, reason = _rounded(unstated) or _percentiles(unstated)
    if limits == FULL_16_BITS:
        return MeasuredRange(None, reason="the images use all of 16 bits")
    if any(values.stated not in (None, limits) for values in found):
        return MeasuredRange(None, reason="some files state another range than the others have")
    return _described(unstated, limits, reason)


def _measured(found: Sequence[_Values], way: str) -> MeasuredRange:
    rounded = _rounded(found) if way == MEASURE else None
    return _described(found, *(rounded or _percentiles(found)))


def _described(found: Sequence[_Values], limits: IntensityRange, reason: str) -> MeasuredRange:
    return MeasuredRange(limits, len(found), min(values.lowest for values in found),
                         max(values.highest for values in found), reason)


def _rounded(found: Sequence[_Values]) -> tuple[IntensityRange, str] | None:
    """The least range of a camera or program that holds all values, and its name; None without."""
    lowest = min(values.lowest for values in found)
    highest = max(values.highest for values in found)
    if lowest < 0:
        return None
    if all(values.is_float for values in found) and highest <= 1:
        return (0.0, 1.0), "of fractions"
    if not all(values.is_whole for values in found):
        return None
    for bits in (*CAMERA_BITS, 16):
        if highest < 2**bits:
            return (0.0, 2.0**bits - 1), f"{bits} bits"
    return None


def _percentiles(found: Sequence[_Values]) -> tuple[IntensityRange, str]:
    """The percentiles of all values, widened to four significant digits."""
    low, high = np.percentile(np.concatenate([values.some for values in found]), _SHARES)
    step = 10.0 ** (np.floor(np.log10(max(abs(low), abs(high), 1e-30))) - 3)
    if all(values.is_whole for values in found):
        step = max(step, 1.0)
    low, high = float(np.floor(low / step) * step), float(np.ceil(high / step) * step)
    # Multiples of a power of ten have errors of rounding, which nobody wants to read or type.
    low, high = float(f"{low:.6g}"), float(f"{high:.6g}")
    return (low, high if high > low else low + step, CLIP), \
        f"the percentiles {_SHARES[0]:g} and {_SHARES[1]:g}"
