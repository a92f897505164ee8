"""Detection in an image that is larger than the network takes: in overlapping tiles."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from frcnn.arrays import DetectionResult, Image
from frcnn.config import Config
from frcnn.data.content import is_empty
from frcnn.data.slides import LargeImage, open_large_image
from frcnn.geometry.tiles import Found, TileGrid, join_tiles
from frcnn.inference.transform import as_result, check_image

OVERLAP = 0.2
NOTHING = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))

Stream = Callable[[Iterable[Image]], Iterator[DetectionResult]]
OnTile = Callable[[int, Found], None]


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into tiles.

    Attributes:
        size: side of a tile, in pixels of the image as it is read. A tile is resized as any other
            image is, so objects have the size that they had in training if tiles are as large as
            the images of the training data.
        overlap: share of its side that a tile has in common with the next one; objects up to this
            size are whole in some tile.
        all_tiles: whether tiles with nothing on them (`frcnn.data.content`) are detected in, too.
    """

    size: int
    overlap: float = OVERLAP
    all_tiles: bool = False

    def grid(self, image: LargeImage) -> TileGrid:
        """The tiles of an image; raises ArgumentError if size or overlap is not possible."""
        return TileGrid.covering(image.height, image.width, self.size, self.overlap)


@dataclass
class TiledDetection:
    """Detection in the tiles of one image.

    Args:
        image: LargeImage.
        tiling: Tiling.
        config: Config.

    Attributes:
        found: what was found, by the tile's number; boxes in pixels of the image as it is read.
        empty: number of tiles so far that were not detected in, since nothing is on them.
    """

    image: LargeImage
    tiling: Tiling
    config: Config
    found: dict[int, Found] = field(default_factory=dict)
    empty: int = 0

    def __post_init__(self) -> None:
        self.grid = self.tiling.grid(self.image)
        # Numbers of tiles, which threads of the stream add: detected in, and with nothing on them.
        self._sent: list[int] = []
        self._empty: list[int] = []

    def run(self, stream: Stream, done: Mapping[int, Found] | None = None,
            on_tile: OnTile = lambda number, found: None) -> DetectionResult:
        """Detects in all tiles.

        Args:
            stream: a function from images to their results, such as `MaskRCNN.detect_stream`.
            done: tiles of an earlier, interrupted call.
            on_tile: called with the number and what was found, for each tile in turn.

        Returns:
            As `MaskRCNN.detect`, in pixels of the original image (level 0).
        """
        self.found.update(done or {})
        for result in stream(self._tiles()):
            self._take(self._sent.pop(0), result, on_tile)
        self._pass_empty(on_tile)
        parts = [self.found.get(number, NOTHING) for number in range(len(self.grid))]
        joined = join_tiles(self.grid, parts, self.config.DETECTION_NMS_THRESHOLD)
        boxes = joined.boxes * np.float32(self.image.scale)
        return as_result(boxes, joined.class_ids, joined.scores)

    def _tiles(self) -> Iterator[Image]:
        """The images of the tiles that are to be detected in."""
        for number, window in enumerate(self.grid.windows):
            if number in self.found:
                continue
            tile = self.image.read(window)
            if not self.tiling.all_tiles and is_empty(tile):
                self._empty.append(number)
                continue
            self._sent.append(number)
            yield self._padded(tile)

    def _padded(self, tile: Image) -> Image:
        """A tile of an image that is smaller than tiles are, filled up with the mean pixel.

        So it is scaled as the others are.
        """
        rest = [self.tiling.size - side for side in tile.shape[:2]]
        if not any(rest):
            return tile
        padded = np.empty((self.tiling.size, self.tiling.size, tile.shape[2]), np.uint8)
        padded[:] = np.rint(self.config.MEAN_PIXEL).astype(np.uint8)
        padded[:tile.shape[0], :tile.shape[1]] = tile
        return padded

    def _take(self, number: int, result: DetectionResult, on_tile: OnTile) -> None:
        """Takes over the result of a tile, moved to the image's pixels."""
        top, left, _, _ = self.grid.windows[number]
        limits = np.array([self.grid.tile_height, self.grid.tile_width] * 2, np.float32)
        boxes = np.clip(result["boxes"], 0, limits)
        real = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)  # not in what was filled up
        corner = np.array([top, left, top, left], np.float32)
        self.found[number] = Found(boxes[real] + corner, result["class_ids"][real],
                                   result["scores"][real])
        self._pass_empty(on_tile)
        on_tile(number, self.found[number])

    def _pass_empty(self, on_tile: OnTile) -> None:
        while self._empty:
            number = self._empty.pop(0)
            self.empty += 1
            self.found[number] = NOTHING
            on_tile(number, NOTHING)


class StreamingModel(Protocol):
    """What TiledModel needs of a model: a MaskRCNN, or a Detector of an exported file."""

    config: Config
    class_names: list[str] | None

    def detect_stream(self, images: Iterable[Any], /) -> Iterator[DetectionResult | Exception]:
        """See `MaskRCNN.detect_stream`."""
        ...


class TiledModel:
    """A model that detects in tiles, for `frcnn.evaluate`, which then scores whole images.

    Args:
        model: a MaskRCNN in inference mode, or a `frcnn.runtime.Detector`.
        tiling: Tiling.
        level, mpp: see `frcnn.data.slides.Slide`.

    Attributes:
        config, class_names: the model's.
    """

    def __init__(self, model: StreamingModel, tiling: Tiling, level: int | None = None,
                 mpp: float | None = None) -> None:
        self.model, self.tiling, self.level, self.mpp = model, tiling, level, mpp
        self.config, self.class_names = model.config, model.class_names

    def detect(self, images: Iterable[Any], verbose: int = 0) -> list[DetectionResult]:
        """See `MaskRCNN.detect`."""
        return list(self.detect_stream(images))

    def detect_stream(self, images: Iterable[Any]) -> Iterator[DetectionResult]:
        """The result of each image, path or function; see `MaskRCNN.detect_tiled`."""
        for image in images:
            is_path = isinstance(image, (str, os.PathLike))
            with as_large_image(image, self.model.config, self.level if is_path else None,
                                self.mpp if is_path else None) as large:
                task = TiledDetection(large, self.tiling, self.model.config)
                # Exceptions are raised, not returned.
                result = task.run(cast(Stream, self.model.detect_stream))
            yield result


@contextlib.contextmanager
def as_large_image(source: Any, config: Config, level: int | None = None,
                   mpp: float | None = None) -> Iterator[LargeImage]:
    """The LargeImage of an array, a path or a function that returns one; closed at the end.

    Raises:
        ValueError: the array does not fit the model; see `open_large_image`.
    """
    if callable(source):
        source = source()
    if hasattr(source, "read"):
        yield source
        return
    if not isinstance(source, (str, os.PathLike)):
        source = check_image(source, 0, config)
    image = open_large_image(source, level, mpp, config.IMAGE_CHANNEL_COUNT,
                             config.IMAGE_INTENSITY_RANGE)
    try:
        yield image
    finally:
        image.close()
