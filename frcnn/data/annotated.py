"""Data sets whose boxes are read from annotation files: what the readers of any format share."""

from typing import NamedTuple

import numpy as np

from frcnn.data.dataset import Dataset
from frcnn.data.findings import report
from frcnn.errors import DatasetError


class AnnotatedImage(NamedTuple):
    """One image: `path` on disk, size in pixels, and its objects.

    `boxes` is float32 `[N, 4]` (y1, x1, y2, x2) in pixels, clipped to the image; `category_ids`
    int64 `[N]` as the data set has them; `crowds` bool `[N]`.
    """

    id: object
    path: str
    width: int
    height: int
    boxes: np.ndarray
    category_ids: np.ndarray
    crowds: np.ndarray


def annotated_image(image_id, path, width, height, objects):
    """The AnnotatedImage of `objects`, an iterable of (box, category id, crowd)."""
    objects = list(objects)
    return AnnotatedImage(
        image_id, path, width, height,
        np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4),
        np.array([category for _, category, _ in objects], np.int64),
        np.array([crowd for _, _, crowd in objects], bool),
    )  # fmt: skip


class AnnotatedDataset(Dataset):
    """A data set whose images come with their boxes, as a reader of annotation files gives them.

    `image_info` also has `width` and `height` in pixels, `boxes` float32 `[N, 4]`, `category_ids`
    int64 `[N]` and `crowds` bool `[N]`.
    """

    def _take_findings(self, findings, where, skip_bad):
        report(findings, where, skip_bad, stacklevel=3)
        self.findings.extend(findings)

    def _add(self, source, categories, images, where, only_with_objects=False):
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

    def load_boxes(self, image_id):
        """See `Dataset.load_boxes`; a crowd region has its class's id, negative."""
        info = self.image_info[image_id]
        if "category_ids" not in info:
            return super().load_boxes(image_id)
        class_ids = np.array([self.map_source_class_id(f"{info['source']}.{category_id}")
                              for category_id in info["category_ids"]], np.int32)
        return info["boxes"].copy(), np.where(info["crowds"], -class_ids, class_ids)
