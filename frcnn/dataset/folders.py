"""Data sets that lie in folders, in COCO's layout or in Pascal VOC's."""

import os
from pathlib import Path

import numpy as np

from frcnn.annotations import read_coco
from frcnn.dataset.base import Dataset
from frcnn.errors import DatasetError
from frcnn.findings import report
from frcnn.voc import read_voc, voc_subsets


class FolderDataset(Dataset):
    """A data set whose annotations are read from folders, of one format or several.

    Load what is to be merged with `load_coco` and `load_voc`, each set under a `source` of its
    own, then `prepare(class_map)`. `image_info` also has `width` and `height` in pixels, `boxes`
    float32 `[N, 4]`, `category_ids` int64 `[N]` and `crowds` bool `[N]`.
    """

    def load_coco(self, dataset_dir, subset, class_ids=None, *, source="coco", skip_bad=False):
        """Adds one subset in COCO's layout: `DIR/annotations/instances_<subset>.json`, images in
        `DIR/<subset>/`. Several can be loaded, then `prepare()`.

        Category ids may be any whole numbers; classes are added in their ascending order. Boxes
        are clipped to the image, empty ones are dropped, both with a warning that counts them.

        Args:
            dataset_dir: the data set's folder.
            subset: such as "train" or "val".
            class_ids: optional list of category ids; then only these classes are loaded, and only
                images with at least one of them.
            source: name under which classes and images are kept apart from those of other sets.
            skip_bad: leave out what cannot be used, with a warning that counts it, instead of
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

    def load_voc(self, dataset_dir, subset, class_names=None, *, source="voc", skip_bad=False,
                 first_pixel=1):
        """Adds one subset in Pascal VOC's layout: image names in
        `DIR/ImageSets/Main/<subset>.txt`, `DIR/JPEGImages/<name>.jpg` (or .png, .bmp, .tif),
        `DIR/Annotations/<name>.xml`. Several can be loaded, then `prepare()`.

        The format's corners are pixels counted from 1, the last one included: as in the usual
        converters to COCO's format, (xmin, ymin, xmax, ymax) becomes the box (ymin − 1, xmin − 1,
        ymax, xmax). An object marked `difficult` becomes a crowd region.

        Args:
            dataset_dir, subset, source, skip_bad: as for `load_coco`.
            class_names: the classes in the order in which they are numbered; an object of any
                other cannot be used. Default: all names in any of the data set's subsets, sorted,
                so that its subsets agree.
            first_pixel: what xmin is at the image's left edge; 0 for sets whose tool counts from
                there.

        Raises:
            FileNotFoundError, DatasetError: as `load_coco`.
        """
        categories, images, findings = read_voc(dataset_dir, subset, class_names, first_pixel)
        where = os.path.join(dataset_dir, "ImageSets", "Main", f"{subset}.txt")
        self._take_findings(findings, where, skip_bad)
        self._add(source, categories, images, where)

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


class CocoDataset(FolderDataset):
    """A data set in COCO's layout; see `FolderDataset.load_coco`."""

    @classmethod
    def from_folder(cls, dataset_dir, subset, **options):
        """A data set with one subset loaded and prepared; options and errors as in `load_coco`."""
        dataset = cls()
        dataset.load_coco(dataset_dir, subset, **options)
        dataset.prepare()
        return dataset


class VocDataset(FolderDataset):
    """A data set in Pascal VOC's layout; see `FolderDataset.load_voc`."""

    @classmethod
    def from_folder(cls, dataset_dir, subset, **options):
        """A data set with one subset loaded and prepared; options and errors as in `load_voc`."""
        dataset = cls()
        dataset.load_voc(dataset_dir, subset, **options)
        dataset.prepare()
        return dataset


# --- recognising a folder -------------------------------------------------------------------


def find_layout(dataset_dir):
    """The class that reads a folder, and the subsets that it has.

    Returns:
        `CocoDataset` or `VocDataset`, and a sorted list of names. A folder in both layouts is read
        as COCO's.

    Raises:
        FileNotFoundError: there is no such folder.
        DatasetError: it is in neither layout.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds annotations/ (COCO) or ImageSets/ (Pascal VOC).")
    subsets = _coco_subsets(folder)
    if subsets:
        return CocoDataset, subsets
    subsets = voc_subsets(folder)
    if subsets:
        return VocDataset, subsets
    raise DatasetError(f"{folder} is in neither layout that is read: it has no "
                       "annotations/instances_<subset>.json (COCO), nor "
                       "ImageSets/Main/<subset>.txt (Pascal VOC). Name the folder that holds one "
                       "of them.")


def open_folder(dataset_dir, subset, *, skip_bad=False):
    """One subset of a folder in either layout, prepared; raises as `find_layout`, `load_coco`."""
    return find_layout(dataset_dir)[0].from_folder(dataset_dir, subset, skip_bad=skip_bad)


def _coco_subsets(folder):
    return sorted(path.stem[len("instances_"):]
                  for path in (folder / "annotations").glob("instances_*.json"))


def _coco_paths(dataset_dir, subset):
    """Paths of the annotation file and the images' folder, both there."""
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds annotations/ and one folder of images a subset.")
    annotation_path = folder / "annotations" / f"instances_{subset}.json"
    if not annotation_path.is_file():
        subsets = _coco_subsets(folder)
        there = "the subsets there are " + ", ".join(subsets) if subsets \
            else "it has no annotations/instances_<subset>.json at all"
        raise FileNotFoundError(f"There is no annotation file {annotation_path}; {there}.")
    if not (folder / subset).is_dir():
        raise FileNotFoundError(f"There is no folder {folder / subset}; the images of the subset "
                                f"{subset!r} belong there.")
    return os.fspath(annotation_path), os.fspath(folder / subset)


def _select(categories, class_ids, path):
    unknown = [class_id for class_id in class_ids if class_id not in categories]
    if unknown:
        raise DatasetError(f"{path} has no category {unknown[0]!r}; its categories are "
                           f"{categories}.")
    return {category_id: name for category_id, name in categories.items()
            if category_id in class_ids}
