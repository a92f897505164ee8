"""Data sets whose boxes are read from annotation files: what all formats share.

A reader makes `AnnotatedImage`s of the files; `AnnotatedDataset` takes them in. The formats are in
`coco` and `voc`.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np

from frcnn.arrays import BoolArray, Boxes, ClassIds, IntArray
from frcnn.data.dataset import Dataset
from frcnn.data.findings import Finding, report
from frcnn.errors import DatasetError

# One object as a reader finds it: box (y1, x1, y2, x2) in pixels, category id, whether a crowd.
AnnotatedObject: TypeAlias = tuple[list[float], int, bool]


class AnnotatedDataset(Dataset):
    """A data set whose images come with their boxes, as a reader of annotation files gives them.

    `image_info` also has `width` and `height` in pixels, `boxes` float32 `[N, 4]`, `category_ids`
    int64 `[N]` and `crowds` bool `[N]`.
    """

    @classmethod
    def from_folder(cls, dataset_dir: str | PathLike[str], subset: str, **options: Any) -> Self:
        """A data set of this class with one subset loaded and prepared.

        Args:
            dataset_dir: the data set's folder.
            subset: such as "train" or "val".
            **options: of the format's own method, `load_coco` or `load_voc`, whose errors it raises
                too.
        """
        dataset = cls()
        dataset._load_subset(dataset_dir, subset, **options)
        dataset.prepare()
        return dataset

    def _load_subset(self, dataset_dir: str | PathLike[str], subset: str, **options: Any) -> None:
        """Adds one subset of a folder in the class's format."""
        raise NotImplementedError

    def _take_findings(self, findings: list[Finding], where: str, skip_bad: bool) -> None:
        report(findings, where, skip_bad, stacklevel=3)
        self.findings.extend(findings)

    def _add(self, source: str, categories: Mapping[int, str], images: "Iterable[AnnotatedImage]",
             where: str, only_with_objects: bool = False) -> None:
        """Adds classes and `AnnotatedImage`s, less the objects of other classes."""
        for category_id, name in categories.items():
            self.add_class(source, category_id, name)
        known = {info["id"] for info in self.image_info if info["source"] == source}
        for image in images:
            wanted = np.isin(image.category_ids, list(categories))
            if only_with_objects and not wanted.any():
                continue
            if image.id in known:
                raise DatasetError(f"Image id {image.id} of {where} is already loaded; load this "
                                   "subset under another name (source=…).")
            self.add_image(source, image.id, image.path, width=image.width, height=image.height,
                           boxes=image.boxes[wanted], category_ids=image.category_ids[wanted],
                           crowds=image.crowds[wanted])

    def load_boxes(self, image_id: int) -> tuple[Boxes, ClassIds]:
        """See `Dataset.load_boxes`; a crowd region has its class's id, negative."""
        info = self.image_info[image_id]
        if "category_ids" not in info:
            return super().load_boxes(image_id)
        class_ids = np.array([self.map_source_class_id(f"{info['source']}.{category_id}")
                              for category_id in info["category_ids"]], np.int32)
        return info["boxes"].copy(), np.where(info["crowds"], -class_ids, class_ids)


class AnnotatedImage(NamedTuple):
    """One image and its objects, as a reader gives them.

    Attributes:
        id: the data set's own.
        path: of the image file.
        width: pixels.
        height: pixels.
        boxes: float32 `[N, 4]`, (y1, x1, y2, x2) in pixels, clipped to the image.
        category_ids: int64 `[N]`, the data set's own.
        crowds: bool `[N]`, whether a box is a crowd region.
    """

    id: int | str
    path: str
    width: int
    height: int
    boxes: Boxes
    category_ids: IntArray
    crowds: BoolArray


def annotated_image(image_id: int | str, path: str, width: int, height: int,
                    objects: Iterable[AnnotatedObject]) -> AnnotatedImage:
    """The `AnnotatedImage` of an image with these objects."""
    objects = list(objects)
    return AnnotatedImage(
        image_id, path, width, height,
        np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4),
        np.array([category for _, category, _ in objects], np.int64),
        np.array([crowd for _, _, crowd in objects], bool),
    )  # fmt: skip
