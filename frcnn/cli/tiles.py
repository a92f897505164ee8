"""`frcnn detect --tile`: the options, and detection in one large image after the other."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from frcnn.arrays import Image
from frcnn.cli import options as opts
from frcnn.cli.detection_progress import Progress
from frcnn.cli.program import Parser, shows_progress
from frcnn.cli.results import Artist, Detections, Preview
from frcnn.cli.tile_journal import TileJournal
from frcnn.data.check import LargeSize
from frcnn.data.slides import LargeImage, check_choice, open_large_image, original_size
from frcnn.errors import ArgumentError, ImageError
from frcnn.files import sha256_of
from frcnn.inference.tiled import OVERLAP, Stream, TiledDetection, TiledModel, Tiling

if TYPE_CHECKING:  # loads Keras
    from frcnn.config import Config
    from frcnn.model.mask_rcnn import MaskRCNN
    from frcnn.runtime.detector import Detector

PREVIEW_SIDE = 2000
_NEED_TILE = {"overlap": None, "all_tiles": False, "level": None, "mpp": None}


def add_options(parser: Parser, level: str = "--level", mpp: str = "--mpp") -> None:
    """Adds the options for images that are larger than the network takes.

    Args:
        level, mpp: names of the options that choose the resolution.
    """
    group = parser.add_argument_group(
        "large images", "Images of any size, whole slides among them, in overlapping tiles.")
    group.add_argument("--tile", type=opts.positive_integer, metavar="SIZE",
                       help="cut images into tiles of this side, in pixels of the resolution that "
                            "is read; take the size of the images of the training data")
    group.add_argument("--overlap", type=opts.fraction, metavar="SHARE",
                       help="share of a tile's side that the next tile covers, too; objects up to "
                            f"this size are whole in some tile (default: {OVERLAP})")
    group.add_argument("--all-tiles", action="store_true",
                       help="detect also in tiles that are all of one brightness")
    group.add_argument(level, type=int, metavar="N", dest="level",
                       help="level of a slide to read, 0 (default) is the finest")
    group.add_argument(mpp, type=float, metavar="MICRONS", dest="mpp",
                       help="resolution to read a slide at, in microns per pixel, instead of a "
                            "level; boxes are in pixels of level 0 in any case")


def tiling_of(options: argparse.Namespace, prefix: str = "--") -> Tiling | None:
    """How images are cut into tiles; None without `--tile`.

    Args:
        options: parsed ones.
        prefix: of the names of the options that choose the resolution.

    Raises:
        ArgumentError: an option needs `--tile`, or a value is not possible.
    """
    if options.tile is None:
        for name, default in _NEED_TILE.items():
            if getattr(options, name) != default:
                option = (prefix if name in ("level", "mpp") else "--") + name.replace("_", "-")
                raise ArgumentError(f"{option} is for images in tiles; give --tile SIZE, too.")
        return None
    if options.overlap == 1:
        raise ArgumentError("--overlap 1: tiles must differ; give a share below 1.")
    check_choice(options.level, options.mpp)

    overlap = OVERLAP if options.overlap is None else options.overlap
    return Tiling(options.tile, overlap, options.all_tiles)


def tiled_models(tiling: Tiling, options: argparse.Namespace
                 ) -> Callable[["MaskRCNN | Detector"], TiledModel]:
    """What makes a model that detects in tiles of a detector."""
    return partial(TiledModel, tiling=tiling, level=options.level, mpp=options.mpp)


def large_size(tiling: Tiling | None, options: argparse.Namespace) -> LargeSize | None:
    """The size of a slide, opened as for detection in tiles; None where images are read whole."""
    if tiling is None:
        return None

    def size(path: str) -> tuple[int, int]:
        with closing(open_large_image(path, options.level, options.mpp)) as image:
            if image.scale == 1:
                return image.height, image.width
        with closing(open_large_image(path)) as image:  # other levels are rounded
            return image.height, image.width

    return size


def open_journal(output: Path, weights: str | Path, config: "Config", tiling: Tiling,
                 options: argparse.Namespace) -> TileJournal:
    """The journal beside the output; raises OutputError where it is of another call."""
    return TileJournal(output, {
        "weights": sha256_of(weights), "configuration": config.to_json(),
        **describe(tiling, options)})


def describe(tiling: Tiling, options: argparse.Namespace) -> dict[str, Any]:
    """The tiles that results depend on, in JSON's types."""
    return {"tile": tiling.size, "overlap": tiling.overlap, "all tiles": tiling.all_tiles,
            "level": options.level, "mpp": options.mpp}


class TiledImages:
    """Detects in large images, one after the other.

    Args:
        model: the detector.
        tiling: how images are cut.
        journal: of the finished tiles.
        options: of `frcnn detect`.
        progress: of the program; it gets the images' sizes, and prints.
    """

    def __init__(self, model: "MaskRCNN | Detector", tiling: Tiling, journal: TileJournal,
                 options: argparse.Namespace, progress: Progress) -> None:
        self.model, self.tiling, self.journal, self.options = model, tiling, journal, options
        self.progress = progress

    def run(self, paths: Sequence[Path], artist: Artist | None = None
            ) -> Iterator[tuple[Path, Preview | None, Detections | Exception]]:
        """Yields (path, preview, result or error) of each file."""
        for path in paths:
            try:
                image = open_large_image(path, self.options.level, self.options.mpp,
                                         self.model.config.IMAGE_CHANNEL_COUNT,
                                         self.model.config.IMAGE_INTENSITY_RANGE)
                try:
                    self.progress.sizes[path] = original_size(image)
                    result = self._detect(path, image)
                    preview = preview_of(image) if artist is not None else None
                finally:
                    image.close()
            except (ImageError, OSError, MemoryError) as error:
                yield path, None, error
            else:
                yield path, preview, result

    def _detect(self, path: Path, image: LargeImage) -> Detections:
        from tqdm import tqdm

        task = TiledDetection(image, self.tiling, self.model.config)
        stream = cast(Stream, partial(self.model.detect_stream,
                                        batch_size=self.options.batch_size))
        done = self.journal.done(path)
        if done:
            self.progress.say(f"{path}: {len(done)} of {len(task.grid)} tiles are done.")
        with tqdm(total=len(task.grid), initial=len(done), desc=path.name, unit="tile",
                  disable=not shows_progress()) as bar:

            def keep(tile: int, found: Any) -> None:
                self.journal.add(path, tile, found)
                bar.update()

            return task.run(stream, done, keep)


def preview_of(image: LargeImage) -> Preview:
    """A large image as a picture shows it, read strip by strip."""
    factor = max(1, -(-max(image.height, image.width) // PREVIEW_SIDE))
    rows = [_reduced(image.read((top, 0, min(top + 8 * factor, image.height), image.width)),
                     factor) for top in range(0, image.height, 8 * factor)]
    return Preview(np.concatenate(rows), factor * image.scale)


def _reduced(strip: Image, factor: int) -> Image:
    """The mean of each block of factor × factor pixels; the last ones may be smaller."""
    if factor == 1:
        return strip
    rows = np.add.reduceat(strip.astype(np.uint32), range(0, strip.shape[0], factor), axis=0)
    sums = np.add.reduceat(rows, range(0, strip.shape[1], factor), axis=1)
    heights, widths = (np.diff([*range(0, side, factor), side]) for side in strip.shape[:2])
    mean: Image = (sums / np.outer(heights, widths)[..., None]).round().astype(np.uint8)
    return mean
