"""The base class of data sets: numbering of images and classes, loading, checking."""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import numpy as np

from frcnn.arrays import Array, Boxes, ClassIds, Image, IntArray
from frcnn.data.check import check_images
from frcnn.data.doubts import doubt_intensity, doubt_sizes
from frcnn.data.findings import Finding
from frcnn.data.image_io import read_image, read_image_size
from frcnn.data.image_name import ImageName
from frcnn.data.intensity import DeclaredRange, Intensity, as_range
from frcnn.data.measure import MEASURE, MeasuredRange, measure_files
from frcnn.errors import DatasetError, NoMasksError
from frcnn.geometry.boxes import extract_bboxes


class Dataset:
    """Base class of data sets; subclass it, call `add_class` and `add_image`, then `prepare()`.

    A subclass gives its boxes by overriding `load_boxes`, or, when written for the reference,
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
    | `intensity_range` | None, (low, high) or (low, high, "clip") | see `frcnn.data.intensity` |
    | `findings` | list of `Finding` | what was wrong with the annotations that were loaded |
    """

    image_channels: int = 3
    intensity_range: DeclaredRange | None = None
    _intensity: Intensity | None = None

    def __init__(self, class_map: Mapping[str, str] | None = None) -> None:
        # Some subclasses for the reference call super().__init__(self).
        self._class_map = None if class_map is self else class_map
        self._image_ids: IntArray = np.zeros(0, int)
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}
        self.sources: list[str] = [""]
        self.num_images = 0
        self.num_classes = 1
        self.class_ids: IntArray = np.zeros(1, int)
        self.class_names: list[str] = ["BG"]
        self.class_from_source_map: dict[str, int] = {".0": 0}
        self.image_from_source_map: dict[str, int] = {}
        self.findings: list[Finding] = []

    # --- building ---------------------------------------------------------------------------

    def add_class(self, source: str, class_id: Any, class_name: str) -> None:
        """Adds a class; one that was already added under this name is ignored.

        Args:
            source: name of the source of the data, such as "coco"; without a dot.
            class_id: the source's own id of the class. `prepare` numbers the classes anew, from 1.
            class_name: its name.

        Raises:
            DatasetError: the source's name has a dot, or the class was added under another name.
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

    def add_image(self, source: str, image_id: Any, path: str | PathLike[str] | None,
                  **kwargs: Any) -> None:
        """Adds an image.

        Args:
            source: name of the source, as in `add_class`.
            image_id: the source's own id of the image.
            path: the image file; None for images that `load_image` makes itself.
            **kwargs: further entries of its `image_info`, such as `width` and `height` in pixels.
        """
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def prepare(self, class_map: Mapping[str, str] | None = None) -> None:
        """Numbers the classes and images; call it once all are added, and again after adding more.

        Args:
            class_map: optional dict that joins classes of several sources: its keys are class
                names or `"source.id"`, its values the names that they get. Classes with equal
                names after this become one class; `{}` joins classes that already have equal names.
                None uses the map of an earlier call or of the constructor, if there was one;
                otherwise no classes are joined.

        Raises:
            DatasetError: an image is of a source that has no classes, or a key of the map is not
                a class.
        """
        if class_map is not None:
            self._class_map = class_map
        if self._class_map is not None:
            self._join_classes(self._class_map)
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

    def _join_classes(self, class_map: Mapping[str, str]) -> None:
        """Numbers classes so that those of equal names under the map share a number."""
        known = {info["name"] for info in self.class_info}
        known |= {f"{info['source']}.{info['id']}" for info in self.class_info}
        unknown = [key for key in class_map if key not in known]
        if unknown:
            raise DatasetError(f"The class map names {unknown[0]!r}, which is no class; the "
                               f"classes are {sorted(known - {'BG', '.0'})}.")
        numbers: dict[str, int] = {}
        self.class_from_source_map = {}
        for info in self.class_info:
            key = f"{info['source']}.{info['id']}"
            name = class_map.get(key, class_map.get(info["name"], info["name"]))
            self.class_from_source_map[key] = numbers.setdefault(name, len(numbers))
        self.class_names = list(numbers)

    def _classes_of(self, source: str) -> list[int]:
        return sorted({0} | {self.class_from_source_map[f"{source}.{info['id']}"]
                             for info in self.class_info if info["source"] == source})

    def leave_out(self, image_ids: Iterable[int]) -> None:
        """Removes images, given by their internal ids, and renumbers the rest."""
        unwanted = {int(image_id) for image_id in image_ids}
        self.image_info = [info for image_id, info in enumerate(self.image_info)
                           if image_id not in unwanted]
        self.prepare()

    # --- looking up -------------------------------------------------------------------------

    @property
    def image_ids(self) -> IntArray:
        """Ids of the images, 0 … num_images − 1; empty before `prepare()`."""
        return self._image_ids

    def map_source_class_id(self, source_class_id: str) -> int:
        """The class id of `"source.id"`, such as `"coco.12"`.

        Raises:
            DatasetError: there is no such class.
        """
        try:
            return self.class_from_source_map[source_class_id]
        except KeyError:
            raise DatasetError(f"There is no class {source_class_id!r}; after prepare() there are "
                               f"{sorted(self.class_from_source_map)}.") from None

    def get_source_class_id(self, class_id: int, source: str) -> Any:
        """The id that `source` gives a class.

        Raises:
            DatasetError: the source has no such class.
        """
        for info in self.class_info:
            key = f"{info['source']}.{info['id']}"
            if info["source"] == source and self.class_from_source_map.get(key) == class_id:
                return info["id"]
        raise DatasetError(f"The source {source!r} has no class {class_id}.")

    def source_image_link(self, image_id: int) -> Any:
        """Path or URL of an image."""
        return self.image_info[image_id]["path"]

    def image_reference(self, image_id: int) -> str:
        """What messages name the image by: its path, or `source.id`; subclasses may add to it."""
        info = self.image_info[image_id]
        return str(info["path"]) if info["path"] else f"{info['source']}.{info['id']}"

    # --- loading ----------------------------------------------------------------------------

    def load_image(self, image_id: int) -> Image:
        """The image's pixels, uint8 `[H, W, image_channels]`.

        Raises:
            ImageError: the file is unreadable, or its values do not fit `intensity_range`; the
                message names it.
        """
        return read_image(self.image_info[image_id]["path"], self.image_channels, self.intensity)

    @property
    def intensity(self) -> Intensity:
        """How the values of image files become 8 bits, by `intensity_range`."""
        if self._intensity is None or self._intensity.declared != as_range(self.intensity_range):
            self._intensity = Intensity(self.intensity_range)
        return self._intensity

    def measure_intensity_range(self, way: str = MEASURE) -> MeasuredRange:
        """Measures the range of the image files of more than 8 bits, and sets `intensity_range`.

        Call it on the training data, and give the same range to the validation data
        (`intensity_range`) and to the configuration (`IMAGE_INTENSITY_RANGE`), which stores it with
        the checkpoint. Where there is nothing to declare, `intensity_range` stays as it is.

        Args:
            way: "measure", "percentiles" or "auto"; see `frcnn.data.measure.measure_files`.

        Returns:
            MeasuredRange; its text says what was measured.
        """
        measured = measure_files(self.image_files(), way, self.image_channels)
        if measured.limits is not None:
            self.intensity_range = measured.limits
        return measured

    def image_files(self) -> list[str | PathLike[str]]:
        """The paths that `load_image` reads; none of a subclass that overrides it."""
        if type(self).load_image is not Dataset.load_image:
            return []
        return [info["path"] for info in self.image_info if info["path"]]

    def header_size(self, image_id: int) -> tuple[int, int] | None:
        """`(height, width)` in pixels of what `load_image` returns, from the file's header alone.

        None for a subclass that overrides `load_image`: its file may be of any format, or its image
        of another size.

        Raises:
            ImageError: the file is unreadable; the message names it.
        """
        if type(self).load_image is not Dataset.load_image:
            return None
        return read_image_size(self.image_info[image_id]["path"], self.image_channels)

    def load_boxes(self, image_id: int) -> tuple[Boxes, ClassIds]:
        """The objects in an image; overridden by subclasses.

        If a subclass instead has the reference's `load_mask(image_id)`, which returns masks
        `[H, W, N]` and class ids `[N]`, the boxes are computed from the masks; empty masks are
        dropped.

        Returns:
            boxes: float32 `[N, 4]`, (y1, x1, y2, x2) in pixels of the image, (y2, x2) exclusive.
            class_ids: int32 `[N]`, internal class ids; negative for a crowd region, which counts
                neither as an object nor as background.

        Raises:
            NotImplementedError: the subclass has neither `load_boxes` nor `load_mask`.
            DatasetError: the arrays that `load_mask` returned do not fit each other.
        """
        if getattr(self.load_mask, "__func__", None) is Dataset.load_mask:
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
                f"ids for {ImageName(self, image_id)}; masks are [height, width, N].")
        present = masks.any(axis=(0, 1))
        return extract_bboxes(masks[..., present]).astype(np.float32), class_ids[present]

    def load_mask(self, image_id: int) -> tuple[Array, ClassIds]:
        """No masks and no class ids, for subclasses with masks that call it for an empty image.

        Returns:
            bool `[0, 0, 0]` and int32 `[0]`.

        Raises:
            NoMasksError: the data set has `load_boxes` of its own.
        """
        if type(self).load_boxes is not Dataset.load_boxes \
                and type(self).load_mask is Dataset.load_mask:
            raise NoMasksError(f"{type(self).__name__} has boxes instead of masks: write boxes, "
                               "class_ids = dataset.load_boxes(image_id).")
        return np.zeros((0, 0, 0), bool), np.zeros(0, np.int32)

    # --- checking ---------------------------------------------------------------------------

    def check(self, *, decode: bool | int = True, progress: bool = False) -> list[Finding]:
        """Finds everything that is wrong with the data set, after `prepare()`.

        Besides what loading found in the annotations these are: images that are missing,
        unreadable, or of another size than declared; boxes that are not numeric, NaN or infinite,
        empty, inverted, outside or partly outside their image, or of an unknown class. What may be
        right is marked `doubtful`: objects annotated twice, boxes that are all of one size, images
        of one value, 16-bit images that are nearly black. To get all
        findings in this list, instead of an error from loading, load with `skip_bad=True`.

        Args:
            decode: whether to read the images in full, which finds truncated ones; False reads
                their headers only, a number reads that many in full.
            progress: whether to show a progress bar.

        Returns:
            list of `frcnn.data.findings.Finding`, those of loading first. The ones that are not
            `repairable` must be corrected, or left out, before training.
        """
        self._intensity = None  # counts anew
        found = check_images(self, decode=decode, progress=progress)
        return [*self.findings, *(finding for _, finding in found), *doubt_sizes(self),
                *doubt_intensity(self.intensity)]
