"""Large images cut into tiles: a data set to train on, in COCO's layout."""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from tqdm import tqdm

from frcnn.arrays import BoolArray, Boxes, ClassIds, FloatArray, Image, IntArray
from frcnn.data.dataset import Dataset
from frcnn.data.folders import find_layout, open_folder
from frcnn.data.intensity import DeclaredRange
from frcnn.data.slides import LargeImage, WholeImage, is_slide, open_large_image
from frcnn.errors import ArgumentError, DatasetError
from frcnn.files import MAX_NAME, expanded, filling, shortened
from frcnn.geometry.tiles import TileGrid


@dataclass(frozen=True)
class Cut:
    """How images are cut.

    Attributes:
        size: side of a tile, pixels.
        overlap: share of a tile's side that the next tile covers, too.
        min_visible: objects of whose area a smaller share is in a tile become ignore regions
            (crowd regions) there: their rest may look like nothing, and must not count as
            background either.
        keep_empty: share of the tiles without objects that is kept.
        seed: of the choice among them.

    Raises:
        ArgumentError: a share is not from 0 to 1.
    """

    size: int
    overlap: float = 0.2
    min_visible: float = 0.3
    keep_empty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("min_visible", "keep_empty"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ArgumentError(f"{name} is {value}; it must be from 0 to 1.")
        TileGrid.covering(1, 1, self.size, self.overlap)


@dataclass
class Counts:
    """How much was written: tiles, objects, ignore regions, and tiles that were left out."""

    tiles: int = 0
    objects: int = 0
    ignored: int = 0
    left_out: int = 0


def cut_dataset(source_dir: str | PathLike[str], target_dir: str | PathLike[str], cut: Cut,
                subsets: Iterable[str] | None = None, *, skip_bad: bool = False,
                progress: bool = False, intensity_range: DeclaredRange | None = None,
                ) -> dict[str, Counts]:
    """Writes a data set of tiles, as PNG files with annotations in COCO's layout.

    Each image's entry has `source`: the file that it is a part of, and its window there (x, y,
    width, height). The folder is complete or is not written.

    Args:
        source_dir: the data set, in COCO's or Pascal VOC's layout; its images may be slides.
        target_dir: the folder to write; it must not exist, or be empty.
        cut: how.
        subsets: names, None for all.
        skip_bad: as for `open_folder`.
        progress: whether to show a progress bar.
        intensity_range: of images of more than 8 bits; see `frcnn.data.intensity`.

    Returns:
        Counts by subset.

    Raises:
        FileNotFoundError, DatasetError, ImageError: the data set cannot be read.
        OutputError: the folder to write to is not empty.
    """
    names = list(dict.fromkeys(subsets)) if subsets else find_layout(source_dir)[1]
    counts: dict[str, Counts] = {}
    with filling(expanded(target_dir)) as draft:
        (draft / "annotations").mkdir()
        for subset in names:
            dataset = open_folder(source_dir, subset, skip_bad=skip_bad)
            if intensity_range is not None:
                dataset.intensity_range = intensity_range
            writer = _Writer(dataset, cut, draft / subset)
            for image_id in tqdm(dataset.image_ids, desc=subset, unit="image", leave=False,
                                 disable=not progress):
                writer.add(int(image_id))
            if not writer.counts.tiles:
                raise DatasetError(f"No tile of {subset} is left; raise the share of tiles without "
                                   "objects that is kept.")
            path = draft / "annotations" / f"instances_{subset}.json"
            path.write_text(json.dumps(writer.content, ensure_ascii=False), encoding="utf-8")
            counts[subset] = writer.counts
    return counts


def objects_in(window: Sequence[int] | IntArray, boxes: Boxes, min_visible: float
               ) -> tuple[FloatArray, IntArray, BoolArray]:
    """The objects in a tile.

    Args:
        window: (y1, x1, y2, x2) of the tile.
        boxes: `[N, 4]`, pixels of the image.
        min_visible: share of an object's area.

    Returns:
        The parts of the boxes in the tile, in its pixels, float64 `[K, 4]`; the rows in `boxes`
        that they come from, `[K]`; whether so little of them is visible, bool `[K]`.
    """
    y1, x1, y2, x2 = window
    exact = np.asarray(boxes, np.float64)
    parts = np.clip(exact, [y1, x1, y1, x1], [y2, x2, y2, x2])
    sides = parts[:, 2:] - parts[:, :2]
    visible = np.prod(sides, axis=1)
    # A part thinner than a pixel is nothing to see, unless the whole object is.
    least = np.minimum(exact[:, 2:] - exact[:, :2], 1.0)
    rows = np.flatnonzero((sides >= least).all(axis=1) & (visible > 0))
    areas = np.prod(exact[rows, 2:] - exact[rows, :2], axis=1)
    return parts[rows] - [y1, x1, y1, x1], rows, visible[rows] < min_visible * areas


@dataclass
class _Writer:
    """Writes the tiles of one subset's images, and collects their annotations."""

    dataset: Dataset
    cut: Cut
    folder: Path
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.content: dict[str, list[dict[str, Any]]] = {
            "images": [], "annotations": [],
            "categories": [{"id": _category_id(info, number), "name": info["name"]}
                           for number, info in enumerate(self.dataset.class_info) if number]}
        self._categories = [0, *(entry["id"] for entry in self.content["categories"])]
        self._names: set[str] = set()

    def add(self, image_id: int) -> None:
        """Cuts one image."""
        boxes, class_ids = self.dataset.load_boxes(image_id)
        random = np.random.default_rng((self.cut.seed, image_id))
        with closing(self._open(image_id)) as image:
            grid = TileGrid.covering(image.height, image.width, self.cut.size, self.cut.overlap)
            for window, chance in zip(grid.windows, random.random(len(grid))):
                parts, rows, ignored = objects_in(window, boxes, self.cut.min_visible)
                if not len(rows) and chance >= self.cut.keep_empty:
                    self.counts.left_out += 1
                    continue
                self._write(image_id, image.read(window), window)
                self._annotate(parts, class_ids[rows], ignored)

    def _open(self, image_id: int) -> LargeImage:
        path = self.dataset.image_info[image_id].get("path")
        if path is not None and is_slide(path):
            return open_large_image(path)
        return WholeImage(self.dataset.load_image(image_id))

    def _write(self, image_id: int, tile: Image, window: IntArray) -> None:
        info = self.dataset.image_info[image_id]
        name = self._free_name(Path(str(info.get("path") or info["id"])).stem, window)
        pixels = tile[..., 0] if tile.shape[2] == 1 else tile
        PillowImage.fromarray(np.ascontiguousarray(pixels)).save(self.folder / name)
        y1, x1, y2, x2 = map(int, window)
        self.content["images"].append({
            "id": len(self.content["images"]) + 1, "file_name": name, "width": x2 - x1,
            "height": y2 - y1, "source": {
                "image_id": info["id"], "file_name": Path(str(info.get("path") or "")).name,
                "window": [x1, y1, x2 - x1, y2 - y1]}})
        self.counts.tiles += 1

    def _free_name(self, stem: str, window: IntArray) -> str:
        """A name that says where the tile lies; images of one name in two folders get a number."""
        ending = f"_x{window[1]}_y{window[0]}.png"
        number = 1
        while True:
            more = f"-{number}" * (number > 1)
            name = shortened(stem, MAX_NAME - len(more + ending)) + more + ending
            if name.casefold() not in self._names:
                self._names.add(name.casefold())
                return name
            number += 1

    def _annotate(self, parts: FloatArray, class_ids: ClassIds, ignored: BoolArray) -> None:
        """Adds the objects of the newest tile; crowd regions have negative class ids."""
        for (y1, x1, y2, x2), class_id, is_ignored in zip(parts, class_ids, ignored):
            is_crowd = bool(class_id < 0 or is_ignored)
            self.content["annotations"].append({
                "id": len(self.content["annotations"]) + 1,
                "image_id": len(self.content["images"]),
                "category_id": self._categories[abs(class_id)], "iscrowd": int(is_crowd),
                "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                "area": float((x2 - x1) * (y2 - y1))})
            self.counts.ignored += is_crowd
            self.counts.objects += not is_crowd


def _category_id(info: dict[str, Any], number: int) -> int:
    """The source's id of a class if that is a number, as in COCO's layout; else ours."""
    return info["id"] if isinstance(info["id"], int) else number
