"""Data sets: images on disk, their boxes in pixels, and the classes of one or several sources."""

import collections
import os
import warnings
from pathlib import Path

import numpy as np

from frcnn.annotations import read_coco
from frcnn.boxes import extract_bboxes
from frcnn.errors import DatasetError
from frcnn.images import read_image

_MAX_NAMED = 5  # how many bad items a message names before it only counts them


class Dataset:
    """Base class of data sets; subclass it, call `add_class` and `add_image`, then `prepare()`.

    A subclass tells its boxes by overriding `load_boxes`, or, when written for the reference, by
    `load_mask`; it may override `load_image` to draw or decode images itself.

    Attributes, complete after `prepare()`:

    | name | type | content |
    |---|---|---|
    | `class_info` | list of dict | `source`, `id` (the source's own), `name`; background first |
    | `class_ids` | int array `[num_classes]` | 0 … num_classes − 1, as the model counts them |
    | `class_names` | list of str | by class id; `"BG"` first |
    | `num_classes`, `num_images` | int | background included |
    | `image_info` | list of dict | `id` (the source's own), `source`, `path` and what was added |
    | `image_ids` | int array `[num_images]` | 0 … num_images − 1 |
    | `sources` | list of str | in order of appearance; background's `""` first |
    | `source_class_ids` | dict | source → class ids it has labels for, background included |
    | `image_channels` | int | channels that `load_image` converts to, 3 |
    """

    image_channels = 3

    def __init__(self, class_map=None):
        self._class_map = class_map
        self._image_ids = np.zeros(0, int)
        self.image_info = []
        self.class_info = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids = {}
        self.sources = [""]
        self.num_images = 0
        self.num_classes = 1
        self.class_ids = np.zeros(1, int)
        self.class_names = ["BG"]
        self.class_from_source_map = {".0": 0}
        self.image_from_source_map = {}

    # --- building ---------------------------------------------------------------------------

    def add_class(self, source, class_id, class_name):
        """Adds a class, under the id that `source` gives it; one already added is left alone.

        Raises:
            DatasetError: the source's name has a dot, or the class is known by another name.
        """
        if "." in source:
            raise DatasetError(f"The source name {source!r} contains a dot; choose one without.")
        for info in self.class_info:
            if info["source"] == source and info["id"] == class_id:
                if info["name"] != class_name:
                    raise DatasetError(
                        f"Class {class_id} of source {source!r} is named {info['name']!r} in one "
                        f"place and {class_name!r} in another; load one of them under another "
                        "source name.")
                return
        self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source, image_id, path, **kwargs):
        """Adds an image; further keywords (such as width and height) go into its `image_info`."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def prepare(self, class_map=None):
        """Numbers the classes and images; call it once all are added, and again after adding more.

        Args:
            class_map: optional dict that joins classes of several sources: its keys are class
                names or `"source.id"`, its values the names that they get. Classes with equal
                names after this become one class. Without a map every class stays its own.

        Raises:
            DatasetError: an image is of a source that has no classes, or a key of the map is not
                a class.
        """
        class_map = self._class_map if class_map is None else class_map
        if class_map:
            self._join_classes(class_map)
        else:
            self.class_from_source_map = {
                f"{info['source']}.{info['id']}": i for i, info in enumerate(self.class_info)}
            self.class_names = [info["name"] for info in self.class_info]
        self.num_classes = len(self.class_names)
        self.class_ids = np.arange(self.num_classes)
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)
        self.image_from_source_map = {
            f"{info['source']}.{info['id']}": i for i, info in enumerate(self.image_info)}
        self.sources = list(dict.fromkeys(info["source"] for info in self.class_info))
        self.source_class_ids = {source: self._classes_of(source) for source in self.sources}
        for info in self.image_info:
            if info["source"] not in self.source_class_ids:
                raise DatasetError(
                    f"Image {info['id']} is of the source {info['source']!r}, which has no "
                    f"classes; the sources with classes are {self.sources[1:]}. Call add_class "
                    "with the same source name.")

    def _join_classes(self, class_map):
        """Numbers classes so that those of equal names under the map share a number."""
        known = {info["name"] for info in self.class_info}
        known |= {f"{info['source']}.{info['id']}" for info in self.class_info}
        unknown = [key for key in class_map if key not in known]
        if unknown:
            raise DatasetError(f"The class map names {unknown[0]!r}, which is no class; the "
                               f"classes are {sorted(known - {'BG', '.0'})}.")
        numbers = {}
        self.class_from_source_map = {}
        for info in self.class_info:
            key = f"{info['source']}.{info['id']}"
            name = class_map.get(key, class_map.get(info["name"], info["name"]))
            self.class_from_source_map[key] = numbers.setdefault(name, len(numbers))
        self.class_names = list(numbers)

    def _classes_of(self, source):
        return sorted({0} | {self.class_from_source_map[f"{source}.{info['id']}"]
                             for info in self.class_info if info["source"] == source})

    # --- looking up -------------------------------------------------------------------------

    @property
    def image_ids(self):
        """Ids of the images, 0 … num_images − 1; empty before `prepare()`."""
        return self._image_ids

    def map_source_class_id(self, source_class_id):
        """The class id of `"source.id"`, such as `"coco.12"`.

        Raises:
            DatasetError: there is no such class.
        """
        try:
            return self.class_from_source_map[source_class_id]
        except KeyError:
            raise DatasetError(f"There is no class {source_class_id!r}; after prepare() there are "
                               f"{sorted(self.class_from_source_map)}.") from None

    def get_source_class_id(self, class_id, source):
        """The id that `source` gives a class.

        Raises:
            DatasetError: the source has no such class.
        """
        for info in self.class_info:
            key = f"{info['source']}.{info['id']}"
            if info["source"] == source and self.class_from_source_map.get(key) == class_id:
                return info["id"]
        raise DatasetError(f"The source {source!r} has no class {class_id}.")

    def source_image_link(self, image_id):
        """Path or URL of an image, for people."""
        return self.image_info[image_id]["path"]

    def image_reference(self, image_id):
        """A text by which a person finds the image again: its path; subclasses may say more."""
        info = self.image_info[image_id]
        return str(info["path"]) if info["path"] else f"{info['source']}.{info['id']}"

    # --- loading ----------------------------------------------------------------------------

    def load_image(self, image_id):
        """The image's pixels, uint8 `[H, W, image_channels]`.

        Raises:
            ImageError: the file is unreadable; the message names it.
        """
        return read_image(self.image_info[image_id]["path"], self.image_channels)

    def load_boxes(self, image_id):
        """The objects in an image; overridden by subclasses.

        Returns:
            boxes: float32 `[N, 4]`, (y1, x1, y2, x2) in pixels of the image, (y2, x2) outside.
            class_ids: int32 `[N]`, negative for a crowd region, which is neither object nor
                background.

        Raises:
            NotImplementedError: the subclass has neither `load_boxes` nor `load_mask`.
        """
        if not hasattr(self, "load_mask"):
            raise NotImplementedError(
                f"{type(self).__name__} needs a method load_boxes(image_id) that returns boxes "
                "[N, 4] in pixels (y1, x1, y2, x2) and class ids [N].")
        masks, class_ids = self.load_mask(image_id)
        masks, class_ids = np.asarray(masks), np.asarray(class_ids, np.int32).reshape(-1)
        if len(class_ids) == 0:
            return np.zeros((0, 4), np.float32), class_ids
        if masks.ndim != 3 or masks.shape[2] != len(class_ids):
            raise DatasetError(
                f"load_mask returned masks of the shape {masks.shape} and {len(class_ids)} class "
                f"ids for {self.image_reference(image_id)}; masks are [height, width, N].")
        present = masks.any(axis=(0, 1))
        return extract_bboxes(masks[..., present]).astype(np.float32), class_ids[present]


class CocoDataset(Dataset):
    """A data set in COCO's format: `DIR/annotations/instances_<subset>.json`, images in
    `DIR/<subset>/`.

    `image_info` also has `width` and `height` in pixels, `boxes` float32 `[N, 4]`, `category_ids`
    int64 `[N]` and `crowds` bool `[N]`.
    """

    @classmethod
    def from_folder(cls, dataset_dir, subset):
        """A data set with one subset loaded and prepared; see `load_coco` for what it raises."""
        dataset = cls()
        dataset.load_coco(dataset_dir, subset)
        dataset.prepare()
        return dataset

    def load_coco(self, dataset_dir, subset, class_ids=None, *, source="coco"):
        """Adds the classes and images of one subset. Several can be loaded, then `prepare()`.

        Category ids may be any whole numbers; classes are added in their ascending order. Boxes
        are clipped to the image, empty ones are dropped, both with a warning that counts them.

        Args:
            dataset_dir: the data set's folder.
            subset: such as "train" or "val".
            class_ids: optional list of category ids; then only these classes are loaded, and only
                images with at least one of them.
            source: name under which classes and images are kept apart from those of other sets.

        Raises:
            FileNotFoundError: the folder, its images' folder or the annotation file is missing.
            DatasetError: the annotation file is not usable; the message names the file, the first
                few items that are wrong, and what to do.
        """
        annotation_path, image_dir = _coco_paths(dataset_dir, subset)
        categories, images, findings = read_coco(annotation_path, image_dir)
        _report(findings, annotation_path)
        if class_ids is not None:
            categories = _select(categories, class_ids, annotation_path)
        for category_id, name in categories.items():
            self.add_class(source, category_id, name)
        known = {info["id"] for info in self.image_info if info["source"] == source}
        for image in images:
            wanted = np.isin(image.category_ids, list(categories))
            if class_ids is not None and not wanted.any():
                continue
            if image.id in known:
                raise DatasetError(f"Image id {image.id} of {annotation_path} is already loaded; "
                                   "load this subset under another name, load_coco(source=…).")
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


def _coco_paths(dataset_dir, subset):
    """Paths of the annotation file and the images' folder, both there."""
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds annotations/ and one folder of images a subset.")
    annotation_path = folder / "annotations" / f"instances_{subset}.json"
    if not annotation_path.is_file():
        subsets = sorted(path.stem[len("instances_"):]
                         for path in (folder / "annotations").glob("instances_*.json"))
        there = "the subsets there are " + ", ".join(subsets) if subsets \
            else "it has no annotations/instances_<subset>.json at all"
        raise FileNotFoundError(f"There is no annotation file {annotation_path}; {there}.")
    if not (folder / subset).is_dir():
        raise FileNotFoundError(f"There is no folder {folder / subset}; the images of the subset "
                                f"{subset!r} belong there.")
    return os.fspath(annotation_path), os.fspath(folder / subset)


def _report(findings, path):
    """Raises for what cannot be repaired, warns about what was."""
    serious = [finding for finding in findings if not finding.repairable]
    if serious:
        named = [finding.message for finding in serious[:_MAX_NAMED]]
        more = len(serious) - len(named)
        raise DatasetError(f"{path}: " + " ".join(named)
                           + (f" And {more} more such problems." if more else "")
                           + " Correct the file, or put right what it names.")
    counts = collections.Counter(finding.kind for finding in findings)
    for kind, count in counts.items():
        first = next(finding for finding in findings if finding.kind == kind)
        warnings.warn(f"{path}: {kind}, {count} in all. The first: {first.message}", stacklevel=4)


def _select(categories, class_ids, path):
    unknown = [class_id for class_id in class_ids if class_id not in categories]
    if unknown:
        raise DatasetError(f"{path} has no category {unknown[0]!r}; its categories are "
                           f"{categories}.")
    return {category_id: name for category_id, name in categories.items()
            if category_id in class_ids}
