"""Images that are too large to be read whole: their regions, at a chosen level or resolution.

Whole-slide formats and large TIFFs are read by tiffslide (the extra `slides`), and where it cannot
read one, by OpenSlide if that is installed. Other images are read whole, by `read_image`.
"""

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image as PillowImage

from frcnn.arrays import Array, Image, IntArray
from frcnn.data import slide_colors
from frcnn.data.image_io import read_image, read_image_size
from frcnn.data.intensity import DeclaredRange, Intensity
from frcnn.errors import ArgumentError, ImageError, MissingExtraError
from frcnn.files import expanded

# Formats that hold an image at several levels; Pillow reads none of them, or only a part.
SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif", ".vms", ".vmu", ".mrxs")
TIFF_SUFFIXES = (".tif", ".tiff")
# A TIFF with more pixels is read by regions.
WHOLE_PIXELS = 100_000_000
_CONVERT = ("replace the file, convert it to a TIFF of RGB, or install OpenSlide, which reads more "
            "formats (pip install openslide-python openslide-bin)")
# Levels this close to the resolution asked for are taken as they are.
_SAME_RESOLUTION = 0.02


class LargeImage(Protocol):
    """An image of which regions are read.

    Attributes:
        name: for messages.
        height, width: pixels of the resolution that is read.
        scale: pixels of the original image (level 0) for one of these.
    """

    name: str
    height: int
    width: int
    scale: float

    def read(self, window: Sequence[int] | IntArray) -> Image:
        """The pixels `[h, w, C]` uint8 of (y1, x1, y2, x2), inside the image."""
        ...

    def close(self) -> None:
        """Closes the file."""
        ...


class WholeImage:
    """A LargeImage that is in memory."""

    def __init__(self, pixels: Image, name: str = "the image") -> None:
        self.pixels, self.name, self.scale = pixels, name, 1.0
        self.height, self.width = pixels.shape[:2]

    def read(self, window: Sequence[int] | IntArray) -> Image:
        """See LargeImage."""
        y1, x1, y2, x2 = window
        return self.pixels[y1:y2, x1:x2]

    def close(self) -> None:
        """Does nothing."""


class Slide:
    """A LargeImage in a file of several levels, or a TIFF, of which only regions are decoded.

    Args:
        path: the file.
        level: of the file, 0 is the original; None chooses by `mpp`, or takes 0.
        mpp: microns per pixel to read at: the finest level that is coarse enough is read, and
            scaled down where none has this resolution.
        channels: 1, 3, 4 (and alpha), or as many as the file has; see `read_image`, of which the
            pixels are those of the same file.

    Raises:
        MissingExtraError: no library that reads slides is installed.
        ImageError: the file cannot be read, has no such level, or does not say its resolution; or
            has more than 8 bits, other channels than are read, another Orientation than 1, or
            other colors than gray, RGB, and YCbCr in JPEG.
        ArgumentError: `level` and `mpp` are both given, or not possible.
    """

    def __init__(self, path: str | os.PathLike[str], level: int | None = None,
                 mpp: float | None = None, channels: int = 3) -> None:
        self.name, self.channels = str(path), channels
        check_choice(level, mpp)
        self._slide = _open(expanded(path))
        try:
            with _errors_of(f"{path} cannot be read as a slide", _CONVERT):
                self._to_colors = slide_colors.colors_of(self._slide, self.name, channels)
                self.level, factor = self._choose(level, mpp)
                width, height = self._slide.level_dimensions[self.level]
                self._downsample = float(self._slide.level_downsamples[self.level])
        except BaseException:
            self.close()
            raise
        self.height, self.width = max(1, int(height / factor)), max(1, int(width / factor))
        self._factor = factor  # pixels of the level for one that is returned
        self.scale = self._downsample * factor

    def _choose(self, level: int | None, mpp: float | None) -> tuple[int, float]:
        """The level to read, and how many of its pixels one returned pixel stands for."""
        count = self._slide.level_count
        if mpp is None:
            level = level or 0
            if level >= count:
                raise ImageError(f"{self.name} has the levels 0 to {count - 1}, and not {level}.")
            return level, 1.0
        finest = _resolution(self._slide)
        if finest is None:
            raise ImageError(f"{self.name} does not say how many microns a pixel has; choose a "
                             f"level, 0 to {count - 1}, instead of the resolution.")
        if mpp < finest * (1 - _SAME_RESOLUTION):
            raise ImageError(f"{self.name} has {finest:.4g} microns per pixel at best, and "
                             f"{mpp:.4g} were asked for; ask for {finest:.4g} or more.")
        resolutions = [finest * downsample for downsample in self._slide.level_downsamples]
        best = max(number for number, value in enumerate(resolutions)
                   if value <= mpp * (1 + _SAME_RESOLUTION))
        factor = mpp / resolutions[best]
        return best, factor if abs(factor - 1) > _SAME_RESOLUTION else 1.0

    def read(self, window: Sequence[int] | IntArray) -> Image:
        """See LargeImage.

        Raises:
            ImageError: the region cannot be decoded.
        """
        y1, x1, y2, x2 = (int(side) for side in window)
        top, left = round(y1 * self._factor), round(x1 * self._factor)
        height, width = round((y2 - y1) * self._factor), round((x2 - x1) * self._factor)
        corner = round(left * self._downsample), round(top * self._downsample)
        with _errors_of(f"{self.name}: a region cannot be read", "the file may end early"):
            region = self._to_colors(self._read_region(corner, (width, height)))
        if region.shape[:2] != (y2 - y1, x2 - x1):
            region = _resized(region, (x2 - x1, y2 - y1))
        if self.channels == 1 and region.shape[2] == 3:
            region = np.asarray(PillowImage.fromarray(region).convert("L"))[..., None]
        return region

    def _read_region(self, corner: tuple[int, int], size: tuple[int, int]) -> Array:
        options = {"as_array": True} if slide_colors.is_tiffslide(self._slide) else {}
        return np.asarray(self._slide.read_region(corner, self.level, size, **options))

    def close(self) -> None:
        """Closes the file."""
        self._slide.close()


def open_large_image(
    source: str | os.PathLike[str] | Array, level: int | None = None, mpp: float | None = None,
    channels: int = 3, intensity: Intensity | DeclaredRange | None = None,
) -> LargeImage:
    """An image of any size, of which regions are read.

    Args:
        source: a path, or uint8 `[h, w, C]`.
        level, mpp: see `Slide`; only for files with levels.
        channels, intensity: see `read_image`.

    Raises:
        FileNotFoundError, ImageError, MissingExtraError, ArgumentError: see `Slide` and
            `read_image`.
    """
    check_choice(level, mpp)
    if not isinstance(source, (str, os.PathLike)):
        if level or mpp is not None:
            raise ArgumentError("level and mpp are for files with several levels, not for arrays.")
        return WholeImage(source)
    path = expanded(source)
    if not path.is_file():
        raise FileNotFoundError(f"{source}: there is no such image file.")
    if (channels in (1, 3, 4) and is_slide(path)) or level or mpp is not None:
        return Slide(path, level, mpp, channels)
    return WholeImage(read_image(path, channels, intensity), str(source))


def original_size(image: LargeImage) -> tuple[int, int]:
    """(height, width) of the original image, in pixels of level 0."""
    return round(image.height * image.scale), round(image.width * image.scale)


def is_slide(path: str | os.PathLike[str]) -> bool:
    """Whether a file is read by regions: a slide's format, or a TIFF of over WHOLE_PIXELS."""
    suffix = Path(path).suffix.lower()
    if suffix in SLIDE_SUFFIXES:
        return True
    if suffix not in TIFF_SUFFIXES:
        return False
    try:
        height, width = read_image_size(path)
    except ImageError:  # more pixels than are decoded at once, or nothing that Pillow knows
        return True
    return height * width > WHOLE_PIXELS


def microns_per_pixel(path: str | os.PathLike[str]) -> float | None:
    """The resolution of level 0 that a slide's file states; None if it states none.

    Raises:
        ImageError, MissingExtraError: see `Slide`.
    """
    slide = _open(expanded(path))
    try:
        with _errors_of(f"{path} cannot be read as a slide", _CONVERT):
            return _resolution(slide)
    finally:
        slide.close()


def check_choice(level: int | None, mpp: float | None) -> None:
    """Raises ArgumentError for a level or resolution that no file has, or for both."""
    if level is not None and mpp is not None:
        raise ArgumentError("level and mpp both choose the resolution; give one of them.")
    if level is not None and level < 0:
        raise ArgumentError(f"level is {level}; it must be 0 or more.")
    if mpp is not None and not 0 < mpp < float("inf"):
        raise ArgumentError(f"mpp is {mpp}; it must be a number of microns above 0.")


def _open(path: Path) -> Any:
    """The file, opened by the first library that reads it."""
    libraries = [library for name in ("tiffslide", "openslide")
                 if (library := _library(name)) is not None]
    if not libraries:
        raise MissingExtraError("Slides and large TIFFs", "slides")
    reasons = []
    for library in libraries:
        opener = getattr(library, "TiffSlide", None) or library.OpenSlide
        try:
            return _readable(opener(str(path)))
        except Exception as error:  # of a damaged file, of any kind
            reasons.append(f"{library.__name__}: {error}")
    raise ImageError(f"{path} cannot be read as a slide ({'; '.join(reasons)}); {_CONVERT}.")


def _readable(slide: Any) -> Any:
    """The slide; raises any error, and closes it, for a kind of file that the library lacks.

    tiffslide finds that out when it is asked for the levels, not when it opens the file.
    """
    try:
        _ = slide.level_count, slide.level_dimensions, slide.level_downsamples
        slide_colors.refuse_compression(slide)
    except BaseException:
        slide.close()
        raise
    return slide


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OpenSlide's own library may be missing
        return None


def _resized(region: Image, size: tuple[int, int]) -> Image:
    """Scaled to (width, height), the channels by themselves: Pillow takes a fourth for alpha."""
    planes = [region] if region.shape[2] == 3 else np.moveaxis(region, -1, 0)
    scaled = [np.asarray(PillowImage.fromarray(plane).resize(
        size, PillowImage.Resampling.BILINEAR)) for plane in planes]
    return scaled[0] if region.shape[2] == 3 else np.stack(scaled, axis=-1)


def _resolution(slide: Any) -> float | None:
    """Microns per pixel of level 0: the mean of both axes; None if the file does not say."""
    for prefix in ("tiffslide", "openslide"):
        values = [slide.properties.get(f"{prefix}.mpp-{axis}") for axis in "xy"]
        if all(value is not None for value in values):
            return sum(float(value) for value in values) / 2
    return None


@contextlib.contextmanager
def _errors_of(problem: str, advice: str) -> Iterator[None]:
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # of a damaged file, of any kind
        raise ImageError(f"{problem} ({error}); {advice}.") from error
