"""Data sets in COCO's layout: `annotations/instances_<subset>.json`, images in `<subset>/`."""

import os
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import Any

from frcnn.data.annotated import AnnotatedDataset
from frcnn.data.coco_json import read_coco
from frcnn.errors import DatasetError


class CocoDataset(AnnotatedDataset):
    """A data set in COCO's layout; see `load_coco`. Several sets are merged by loading each under a
    `source` of its own, then `prepare(class_map)`.
    """

    def load_coco(self, dataset_dir: str | PathLike[str], subset: str,
                  class_ids: Collection[int] | None = None, *, source: str = "coco",
                  skip_bad: bool = False) -> None:
        """Adds one subset in COCO's layout: `DIR/annotations/instances_<subset>.json`, images in
        `DIR/<subset>/`. Call `prepare()` after loading all subsets.

        Category ids may be any whole numbers; classes are added by ascending id. Boxes are clipped
        to the image and empty ones dropped; a warning says how many.

        Args:
            dataset_dir: the data set's folder.
            subset: the name of the subset, such as "train" or "val".
            class_ids: optional list of category ids; then only these classes are loaded, and only
                images with at least one of them.
            source: name that distinguishes these classes and images from those of other data sets.
            skip_bad: leave out what cannot be used, with a warning that says how much, instead of
                raising an error.

        Raises:
            FileNotFoundError: the folder, its images' folder or the annotation file is missing.
            DatasetError: the annotation file is not usable; the message names the file, the first
                few items that are wrong, and what to do.
        """
        annotation_path, image_dir = _coco_paths(dataset_dir, subset)
        categories, images, findings = read_coco(annotation_path, image_dir)
        self._take_findings(findings, annotation_path, skip_bad)
        if class_ids is not None:
            categories = _select(categories, class_ids, annotation_path)
        self._add(source, categories, images, annotation_path, class_ids is not None)

    def _load_subset(self, dataset_dir: str | PathLike[str], subset: str, **options: Any) -> None:
        self.load_coco(dataset_dir, subset, **options)


def coco_subsets(dataset_dir: str | PathLike[str]) -> list[str]:
    """Names of the subsets of a folder in COCO's layout, sorted; none in another layout."""
    return sorted(path.stem[len("instances_"):]
                  for path in (Path(dataset_dir) / "annotations").glob("instances_*.json"))


def _coco_paths(dataset_dir: str | PathLike[str], subset: str) -> tuple[str, str]:
    """Paths of the annotation file and of the images' folder, which both exist."""
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds annotations/ and one folder of images a subset.")
    annotation_path = folder / "annotations" / f"instances_{subset}.json"
    if not annotation_path.is_file():
        subsets = coco_subsets(folder)
        there = "the subsets there are " + ", ".join(subsets) if subsets \
            else "it has no annotations/instances_<subset>.json at all"
        raise FileNotFoundError(f"There is no annotation file {annotation_path}; {there}.")
    if not (folder / subset).is_dir():
        raise FileNotFoundError(f"There is no folder {folder / subset}; the images of the subset "
                                f"{subset!r} belong there.")
    return os.fspath(annotation_path), os.fspath(folder / subset)


def _select(categories: dict[int, str], class_ids: Collection[int], path: str) -> dict[int, str]:
    """The categories with these ids; raises DatasetError for an id that is not among them."""
    unknown = [class_id for class_id in class_ids if class_id not in categories]
    if unknown:
        raise DatasetError(f"{path} has no category {unknown[0]!r}; its categories are "
                           f"{categories}.")
    return {category_id: name for category_id, name in categories.items()
            if category_id in class_ids}
