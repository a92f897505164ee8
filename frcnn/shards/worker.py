"""What detects in one shard, whoever calls it: a loop, an actor of Ray, a Spark task."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from frcnn.config import Config
from frcnn.data.intensity import Intensity
from frcnn.data.slides import open_large_image, original_size
from frcnn.errors import ImageError
from frcnn.inference.tiled import TiledDetection, Tiling
from frcnn.runtime.detector import Detector
from frcnn.runtime.engines import is_exported
from frcnn.shards.inputs import Item, local_copy, read_item
from frcnn.shards.store import Row, Shard, Store

OnImage = Callable[[], None]


@dataclass(frozen=True)
class Task:
    """What a worker needs to know; it can be pickled.

    Attributes:
        folder: of the results.
        weights: path of the checkpoint.
        config_json: its configuration, as `Config.to_json` gives it.
        batch_size: images in a batch; None: as `MaskRCNN.detect_stream` chooses.
        allow_custom: see `Config.from_json`.
        tiling: how large images are cut into tiles; None: each is detected in as a whole.
        level, mpp: see `frcnn.data.slides.Slide`; with tiles alone.
    """

    folder: str
    weights: str
    config_json: str
    batch_size: int | None = None
    allow_custom: bool = False
    tiling: Tiling | None = None
    level: int | None = None
    mpp: float | None = None


@dataclass(frozen=True)
class Done:
    """What became of a shard: how many images, objects, and images that could not be read."""

    images: int
    objects: int
    errors: int


class Worker:
    """Detects in shards with one detector, which it builds.

    Args:
        task: Task.
        model: a detector to use instead.

    Raises:
        FrcnnError, FileNotFoundError: the checkpoint cannot be loaded.
    """

    def __init__(self, task: Task, model: Any = None) -> None:
        self.task, self.store = task, Store(task.folder)
        self.model = model or self._load()
        self._intensity = Intensity(self.model.config.IMAGE_INTENSITY_RANGE)

    def _load(self) -> Any:
        if is_exported(self.task.weights):
            return Detector.configured(self.task.weights, Config.from_json(self.task.config_json))

        from frcnn.model.mask_rcnn import MaskRCNN

        config = Config.from_json(self.task.config_json, self.task.allow_custom)
        model = MaskRCNN(mode="inference", config=config, model_dir=self.task.folder)
        model.load_weights(self.task.weights, by_name=True)
        return model

    def run(self, shard: Shard, on_image: OnImage = lambda: None) -> Done:
        """Detects in the images of a shard and writes its results."""
        rows = []
        for row in self._rows(shard):
            rows.append(row)
            on_image()
        self.store.write(shard, rows)
        return Done(len(rows), sum(len(row["scores"]) for row in rows),
                    sum(row["error"] is not None for row in rows))

    def _rows(self, shard: Shard) -> Iterator[Row]:
        if self.task.tiling is not None:
            for item in shard.items:
                yield self._tiled(item, self.task.tiling)
            return
        sizes: dict[str, tuple[int, int]] = {}
        sources = (partial(self._read, item, sizes) for item in shard.items)
        results = self.model.detect_stream(sources, batch_size=self.task.batch_size,
                                           return_exceptions=True)
        for item, result in zip(shard.items, results, strict=True):
            yield as_row(item, sizes.pop(item.path, None), result)

    def _tiled(self, item: Item, tiling: Tiling) -> Row:
        """The row of a large image."""
        config = self.model.config
        stream = partial(self.model.detect_stream, batch_size=self.task.batch_size)
        try:
            with local_copy(item.path) as path, closing(open_large_image(
                    path, self.task.level, self.task.mpp, config.IMAGE_CHANNEL_COUNT,
                    self._intensity)) as image:
                result = TiledDetection(image, tiling, config).run(stream)
                size = original_size(image)
        except (ImageError, OSError, MemoryError) as error:
            return as_row(item, None, error)
        return as_row(item, size, result)

    def _read(self, item: Item, sizes: dict[str, tuple[int, int]]) -> Any:
        """The pixels, read in a thread while the network computes."""
        pixels = read_item(item, self.model.config.IMAGE_CHANNEL_COUNT, self._intensity)
        sizes[item.path] = pixels.shape[:2]
        return pixels


def as_row(item: Item, size: tuple[int, int] | None, result: Any) -> Row:
    """A row of a shard; `result` is a dict of `MaskRCNN.detect`, or the error of the image."""
    height, width = size or (None, None)
    row: Row = {"path": item.path, "height": height, "width": width,
                "image_id": None if item.image_id is None else json.dumps(item.image_id),
                "boxes": [], "class_ids": [], "scores": [], "error": None}
    if isinstance(result, Exception):
        return {**row, "error": f"{type(result).__name__}: {result}"}
    return {**row, **{name: result[name].tolist() for name in ("boxes", "class_ids", "scores")}}
