"""Data sets in COCO's format: `annotations/instances_<subset>.json`, images in `<subset>/`.

Other layouts with files in COCO's format are read, too; see `frcnn.data.layouts`.
"""

import os
from collections.abc import Collection
from os import PathLike
from typing import Any

from frcnn.data.annotated import AnnotatedDataset
from frcnn.data.coco_json import read_coco
from frcnn.data.file_names import FileFinder, has_images
from frcnn.data.findings import Finding
from frcnn.data.layouts import COCO, Layout, Subset, divided, recognise, warn_divided
from frcnn.errors import DatasetError
from frcnn.files import expanded


class CocoDataset(AnnotatedDataset):
    """A data set in COCO's layout; see `load_coco`. Several sets are merged by loading each under a
    `source` of its own, then `prepare(class_map)`.
    """

    def load_coco(self, dataset_dir: str | PathLike[str], subset: str,
                  class_ids: Collection[int] | None = None, *, source: str = "coco",
                  skip_bad: bool = False) -> None:
        """Adds one subset in COCO's layout: `DIR/annotations/instances_<subset>.json`, images in
        `DIR/<subset>/`, or in another layout that `frcnn.data.layouts` recognises. Call
        `prepare()` after loading all subsets.

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
                few items that are wrong, and what to do; or there are several such files.
        """
        layout, files = _coco_files(dataset_dir, subset)
        where, folder = os.fspath(files.annotations), os.fspath(layout.folder)
        finder = FileFinder(files.images, also=(folder, os.path.join(folder, "images")))
        categories, images, findings = read_coco(where, finder)
        unread = layout.unread(files)
        if unread:
            findings.append(Finding(
                "annotation file not read", "Beside it are annotations in COCO's format that are "
                f"not read: {layout.named(unread)}. Join those of this subset into one file; move "
                "others out of the folder.", repairable=True))
        self._take_findings(findings, where, skip_bad)
        if files.share:
            names = [os.path.relpath(image.path, folder).replace(os.sep, "/") for image in images]
            images = divided(images, names, files.share)
            warn_divided(folder, stacklevel=2)
        if class_ids is not None:
            categories = _select(categories, class_ids, where)
        self._add(source, categories, images, where, class_ids is not None)

    def _load_subset(self, dataset_dir: str | PathLike[str], subset: str, **options: Any) -> None:
        self.load_coco(dataset_dir, subset, **options)


def coco_subsets(dataset_dir: str | PathLike[str]) -> list[str]:
    """Names of the subsets of a folder in COCO's format, sorted; none in another format."""
    layout = recognise(dataset_dir)
    return list(layout.subsets) if layout is not None and layout.format == COCO else []


def _coco_files(dataset_dir: str | PathLike[str], subset: str) -> tuple[Layout, Subset]:
    """The layout, and a subset's annotation file and folders of images, which all exist."""
    folder = expanded(dataset_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds annotations/ and one folder of images a subset.")
    layout = recognise(folder)
    files = layout.find(subset) if layout is not None and layout.format == COCO else None
    if layout is None or files is None:
        subsets = coco_subsets(folder)
        there = "the subsets there are " + ", ".join(subsets) if subsets \
            else "it has no annotations/instances_<subset>.json at all"
        raise FileNotFoundError("There is no annotation file "
                                f"{folder / 'annotations' / f'instances_{subset}.json'}; {there}.")
    is_standard = files.annotations.name == f"instances_{subset}.json"
    if is_standard and files.images == (folder,) and not has_images(folder):
        raise FileNotFoundError(f"There is no folder {folder / subset}; the images of the subset "
                                f"{subset!r} belong there.")
    return layout, files


def _select(categories: dict[int, str], class_ids: Collection[int], path: str) -> dict[int, str]:
    """The categories with these ids; raises DatasetError for an id that is not among them."""
    unknown = [class_id for class_id in class_ids if class_id not in categories]
    if unknown:
        raise DatasetError(f"{path} has no category {unknown[0]!r}; its categories are "
                           f"{categories}.")
    return {category_id: name for category_id, name in categories.items()
            if category_id in class_ids}
