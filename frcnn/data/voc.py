"""Data sets in Pascal VOC's layout; what is read from the folder is in `voc_folder`."""

import os
from collections.abc import Sequence
from os import PathLike
from typing import Any

from frcnn.data.annotated import AnnotatedDataset
from frcnn.data.layouts import list_path
from frcnn.data.voc_folder import read_voc
from frcnn.files import expanded


class VocDataset(AnnotatedDataset):
    """A data set in Pascal VOC's layout; see `load_voc`. Several sets are merged by loading each
    under a `source` of its own, then `prepare(class_map)`.
    """

    def load_voc(self, dataset_dir: str | PathLike[str], subset: str,
                 class_names: Sequence[str] | None = None, *, source: str = "voc",
                 skip_bad: bool = False, first_pixel: int = 1) -> None:
        """Adds one subset in Pascal VOC's layout: image names in
        `DIR/ImageSets/Main/<subset>.txt`, `DIR/JPEGImages/<name>.jpg` (or .png, .bmp, .tif),
        `DIR/Annotations/<name>.xml`; or XML files without lists, in a layout that
        `frcnn.data.layouts` recognises. Call `prepare()` after loading all subsets.

        The format counts pixels from 1 and includes the last one. As in the usual converters to
        COCO's format, (xmin, ymin, xmax, ymax) becomes the box (ymin − 1, xmin − 1, ymax, xmax). An
        object marked `difficult` becomes a crowd region.

        Args:
            dataset_dir: the data set's folder.
            subset: the name of the subset, such as "train" or "val".
            class_names: the classes in the order in which they are numbered; an object of another
                class cannot be used. Default: the names in all subsets of the data set, sorted, so
                that all subsets have the same classes.
            source: name that distinguishes these classes and images from those of other data sets.
            skip_bad: leave out what cannot be used, with a warning that says how much, instead of
                raising an error.
            first_pixel: the value of xmin at the image's left edge: 1 as the format defines it, 0
                for annotation tools that count from 0.

        Raises:
            FileNotFoundError: the folder, one of its parts or the subset's list is missing.
            DatasetError: the list or an annotation is not usable; the message names the first few
                items that are wrong, and what to do.
        """
        categories, images, findings = read_voc(dataset_dir, subset, class_names, first_pixel)
        listed = list_path(expanded(dataset_dir), subset)
        where = os.fspath(listed if listed.is_file() else dataset_dir)
        self._take_findings(findings, where, skip_bad)
        self._add(source, categories, images, where)

    def _load_subset(self, dataset_dir: str | PathLike[str], subset: str, **options: Any) -> None:
        self.load_voc(dataset_dir, subset, **options)
