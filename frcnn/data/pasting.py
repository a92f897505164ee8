"""Objects copied from images of a data set into others, to train on more of the rare ones.

After Dwibedi, Misra, Hebert, "Cut, Paste and Learn", 2017, and Ghiasi et al., "Simple Copy-Paste is
a Strong Data Augmentation Method for Instance Segmentation", 2021, but without masks: what is
copied is an object's box with a margin, which is blended into the other image. So it suits an even
ground, as in microscopy.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Collection, Sequence

import numpy as np

from frcnn.arrays import Boxes, ClassIds, Image
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.image_name import ImageName
from frcnn.data.patches import Frame, Patch, blend, find_frames, find_place
from frcnn.data.reading import load_pixels
from frcnn.data.resize import ResizePlan
from frcnn.errors import ImageError

# Objects keep their size in pixels; the factors by which the two images are resized for the network
# may differ by this factor.
MAX_RESCALED = 1.25
# Objects on a ground that is more uneven than this are used only if PICKS tries found no other: the
# seam around them would be visible.
MAX_UNEVENNESS = 0.03
PICKS = 5
MAX_PATCHES, MAX_BYTES = 5000, 2**28  # limits of the patches kept in memory


class ObjectPaster:
    """Puts objects of a data set's images into others; may be used by several threads.

    Which objects can be copied is found from the boxes alone, once, see `find_frames`; pixels are
    read when they are needed, and kept up to a limit.

    Args:
        dataset: a prepared `Dataset`.
        config: for PASTE_OBJECTS, MAX_GT_INSTANCES and the resize mode.
        objects: boxes and class ids of each image, of `load_all_objects`.
        excluded_sources: names of sources whose objects are not copied.
    """

    def __init__(self, dataset: Dataset, config: Config,
                 objects: Sequence[tuple[Boxes, ClassIds]],
                 excluded_sources: Collection[str] = ()) -> None:
        self.dataset, self.config = dataset, config
        self._frames: dict[int, list[Frame]] = {}
        rows: dict[int, list[tuple[int, int]]] = {}
        counts, present = np.zeros(dataset.num_classes, int), set[int]()
        for image_id, (boxes, class_ids) in enumerate(objects):
            info = dataset.image_info[image_id]
            counts += np.bincount(class_ids[class_ids > 0], minlength=len(counts))
            if info["source"] in excluded_sources:
                continue
            present.update(class_ids[class_ids > 0].tolist())
            shape = info.get("height") or np.inf, info.get("width") or np.inf
            self._frames[image_id] = find_frames(boxes, class_ids, shape)
            for number, frame in enumerate(self._frames[image_id]):
                rows.setdefault(frame.class_id, []).append((image_id, number))
        # By class: [N, 2], the image id and the number of its frame.
        self._objects = {class_id: np.array(rows[class_id]) for class_id in sorted(rows)}
        self._weights = 1 / np.sqrt(np.maximum(counts, 1))
        self._patches = PatchCache()
        if missing := sorted(present - self._objects.keys()):
            names = ", ".join(repr(dataset.class_names[class_id]) for class_id in missing)
            warnings.warn(f"PASTE_OBJECTS copies no objects of the classes {names}: all of them "
                          "are at the edge of their image or too close to other objects.",
                          stacklevel=2)

    def paste(self, image: Image, boxes: Boxes, class_ids: ClassIds, image_id: int,
              rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
        """An image with some objects more: their number is Poisson with the mean PASTE_OBJECTS.

        A class is drawn with a probability proportional to 1 / √(number of its objects), out of
        those that the image's source has labels for, then one of its objects. One that finds no
        place in some tries is left out, see `find_place`, as are those beyond MAX_GT_INSTANCES.

        Args:
            image: `[H, W, C]`, not written into.
            boxes: float32 `[N, 4]` pixels.
            class_ids: int32 `[N]`.
            image_id: of the image; its own objects are not copied.
            rng: the only source of randomness.

        Returns:
            image, a new one if anything was added, and boxes and class ids with the new ones last.
        """
        count = int(rng.poisson(self.config.PASTE_OBJECTS))
        count = min(count, self.config.MAX_GT_INSTANCES - len(boxes))
        scale = ResizePlan.for_detection(image.shape, self.config).scale
        target = image
        for _ in range(count):
            patch = self._pick(image_id, scale, rng)
            corner = None if patch is None else find_place(patch, target, boxes, class_ids, rng)
            if patch is None or corner is None:
                continue
            if target is image:
                target = image.copy()
            blend(patch, target, corner)
            moved = patch.box + np.array([*corner, *corner], np.float32)
            boxes = np.concatenate([boxes, moved[None]])
            class_ids = np.append(class_ids, np.int32(patch.class_id))
        return target, boxes, class_ids

    def _pick(self, image_id: int, scale: float, rng: np.random.Generator) -> Patch | None:
        """A random object of another image on an even ground, mirrored at random, or None.

        Args:
            image_id: of the image it is for.
            scale: the factor by which that image is resized.
            rng: the only source of randomness.
        """
        source = self.dataset.image_info[image_id]["source"]
        classes = [class_id for class_id in self.dataset.source_class_ids[source]
                   if class_id in self._objects]
        if not classes:
            return None
        weights = self._weights[classes]
        rows = self._objects[int(rng.choice(classes, p=weights / weights.sum()))]
        best = None
        for _ in range(PICKS):
            other, number = rows[rng.integers(len(rows))].tolist()
            patch = self._patch(other, number) if other != image_id else None
            if patch is None or not 1 / MAX_RESCALED <= patch.scale / scale <= MAX_RESCALED:
                continue
            if best is None or patch.unevenness < best.unevenness:
                best = patch
            if best.unevenness <= MAX_UNEVENNESS:
                break
        mirrors = rng.random(2) < 0.5
        return None if best is None else best.mirrored(bool(mirrors[0]), bool(mirrors[1]))

    def _patch(self, image_id: int, number: int) -> Patch | None:
        """An object with its pixels; None where its image cannot be read or is too small."""
        patch = self._patches.get((image_id, number))
        if patch is not None:
            return patch
        try:
            image = load_pixels(self.dataset, self.config, image_id)
        except (ImageError, OSError) as error:
            warnings.warn(f"{ImageName(self.dataset, image_id)} cannot be read, so none of "
                          f"its objects are copied: {error}", stacklevel=2)
            return None
        scale = ResizePlan.for_detection(image.shape, self.config).scale
        # The image's other objects will be needed, too, and reading it takes longest.
        patches = [Patch.cut(image, frame, scale) for frame in self._frames[image_id]]
        for place, made in enumerate(patches):
            if made is not None:
                self._patches.put((image_id, place), made)
        return patches[number]


class PatchCache:
    """The patches used last, limited in number and bytes; may be used by several threads.

    Args:
        patches: limit of their number.
        size: limit of their pixels' bytes.
    """

    def __init__(self, patches: int = MAX_PATCHES, size: int = MAX_BYTES) -> None:
        self._limits = patches, size
        self._lock = threading.Lock()
        self._patches: OrderedDict[tuple[int, int], Patch] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._patches)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return self._bytes

    def get(self, key: tuple[int, int]) -> Patch | None:
        """The patch of a key, or None."""
        with self._lock:
            if key not in self._patches:
                return None
            self._patches.move_to_end(key)
            return self._patches[key]

    def put(self, key: tuple[int, int], patch: Patch) -> None:
        """Keeps a patch, and drops those that were not used for longest."""
        with self._lock:
            if key in self._patches:
                return
            self._patches[key] = patch
            self._bytes += patch.pixels.nbytes
            while len(self._patches) > self._limits[0] or self._bytes > self._limits[1]:
                _, dropped = self._patches.popitem(last=False)
                self._bytes -= dropped.pixels.nbytes
