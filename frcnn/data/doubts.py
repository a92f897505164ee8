"""What may be wrong with a data set although every image and box can be used alone."""

import collections
import hashlib
import os
import unicodedata
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from frcnn.arrays import Array, Boxes, ClassIds, Image
from frcnn.data.findings import Finding
from frcnn.data.intensity import Intensity
from frcnn.errors import FrcnnError
from frcnn.geometry.boxes import compute_overlaps

# Two boxes with a higher IoU are taken for one object that is annotated twice.
_SAME_OBJECT_IOU = 0.9
_MOST_COMPARED = 3000  # objects in an image; comparing takes their square
# Boxes are of one size where this share of at least so many are.
_ONE_SIZE_SHARE, _FEWEST_OF_ONE_SIZE = 0.95, 8
_SMALLEST_SIDE = 8  # pixels: in a smaller image, boxes below 1 may be meant
_BLOCK = 2**20


class DescribedDataset(Protocol):
    """What is needed of a `Dataset`."""

    num_images: int
    class_names: list[str]
    image_info: list[dict[str, Any]]

    def image_reference(self, image_id: int) -> str: ...
    def load_boxes(self, image_id: int) -> tuple[Array, Array]: ...


def are_fractions(boxes: Array, height: float, width: float) -> bool:
    """Whether boxes `[N, 4]` look like fractions of their image and not like pixels."""
    return bool(len(boxes) and min(height, width) > _SMALLEST_SIDE and (boxes >= 0).all()
                and (boxes <= 1).all() and (boxes != np.rint(boxes)).any())


# --- one image ------------------------------------------------------------------------------


def doubt_pixels(image: Image, name: str, source_id: object, objects: int) -> list[Finding]:
    """The finding on an image whose pixels are all alike.

    Args:
        image: `[H, W]` or `[H, W, C]`.
        name: for the message.
        source_id: the data set's own id of the image.
        objects: how many it has.
    """
    if (image[::16, ::16] != image[0, 0]).any() or (image != image[0, 0]).any():
        return []
    value = image[0, 0].tolist()
    if objects:
        return [Finding("image of one value", f"{name} is all one value, {value}, but has "
                        f"{objects} objects: the file is damaged, or its values are of another "
                        "range. Replace it.", image_id=source_id)]
    if image.min() in (0, 255):
        return [Finding("image of one value", f"{name} is all one value, {value}.", True,
                        image_id=source_id, doubtful=True)]
    return []


def doubt_boxes(boxes: Boxes, class_ids: ClassIds, name: str, source_id: object) -> list[Finding]:
    """Findings on boxes of one image that are nearly the same: of one class, or of two."""
    if not 1 < len(boxes) <= _MOST_COMPARED:
        return []
    alike = np.triu(compute_overlaps(boxes, boxes) >= _SAME_OBJECT_IOU, 1)
    same_class = np.abs(class_ids)[:, None] == np.abs(class_ids)
    findings = []
    for kind, pairs, what in (("object annotated twice", alike & same_class, "the same class"),
                              ("object of two classes", alike & ~same_class, "two classes")):
        found = np.argwhere(pairs)
        if len(found):
            more = f", as {len(found) - 1} other pairs are" * (len(found) > 1)
            findings.append(Finding(kind, f"{name}: objects {found[0][0]} and {found[0][1]} are "
                                    f"nearly the same box, of {what}{more}.", True,
                                    image_id=source_id, annotation_id=int(found[0][1]),
                                    doubtful=True))
    return findings


# --- a data set, and several ----------------------------------------------------------------


def doubt_sizes(dataset: DescribedDataset) -> list[Finding]:
    """The finding on boxes that are all of one size, as those made of points are."""
    sizes: collections.Counter[tuple[float, float]] = collections.Counter()
    for image_id in range(dataset.num_images):
        for box in _boxes(dataset, image_id)[0]:
            sizes[round(float(box[3] - box[1]), 2), round(float(box[2] - box[0]), 2)] += 1
    total = sizes.total()
    if total < _FEWEST_OF_ONE_SIZE:
        return []
    (width, height), count = sizes.most_common(1)[0]
    if count < _ONE_SIZE_SHARE * total:
        return []
    return [Finding("boxes of one size", f"{count} of {total} boxes have the same size, "
                    f"{width:g}x{height:g} pixels; are they made of points? A detector learns the "
                    "size, too.", True, doubtful=True)]


def doubt_intensity(intensity: Intensity) -> list[Finding]:
    """The finding on images of more than 8 bits that are nearly black, after they were read."""
    if not intensity.doubtful:
        return []
    more = f" So are {intensity.doubtful - 1} other images." * (intensity.doubtful > 1)
    return [Finding("image nearly black", intensity.first_doubt + more, True, doubtful=True)]


def doubt_classes(datasets: Mapping[str, DescribedDataset]) -> list[tuple[str, Finding]]:
    """(subset, `Finding`) on each class that some subset has no objects of, while others have."""
    counts = {subset: _count_classes(dataset) for subset, dataset in datasets.items()}
    counts = {subset: counted for subset, counted in counts.items() if counted}
    found = []
    for name in sorted(set().union(*counts.values())):
        having = [subset for subset, counted in counts.items() if name in counted]
        number = counts[having[0]][name]
        if len(having) == 1 < len(counts) and number > 1:  # one object can be in one subset only
            others = ", ".join(subset for subset in counts if subset != having[0])
            found.append((having[0], Finding(
                "class in one subset only", f"The class {name!r} has {number} objects here and "
                f"none in {others}: it can be learned or evaluated, but not both.", True,
                doubtful=True)))
    return found


def doubt_class_names(datasets: Mapping[str, DescribedDataset]) -> list[tuple[str, Finding]]:
    """(subset, `Finding`) on classes whose names differ only in letter case or spaces.

    The first subset with them is named; what is Unicode's compatible form counts as the same, too.
    """
    names: dict[str, str] = {}  # with the first subset that has it
    for subset, dataset in datasets.items():
        for name in dataset.class_names[1:]:
            names.setdefault(str(name), subset)
    alike: dict[str, list[str]] = collections.defaultdict(list)
    for name in names:
        alike["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    return [(names[same[0]], Finding(
        "class names alike", f"The classes {', '.join(map(repr, sorted(same)))} have names that "
        "differ only in letter case or spaces, and are learned and evaluated as different ones. "
        "If they are the same, give them one name.", True, doubtful=True))
        for same in alike.values() if len(same) > 1]


def doubt_copies(datasets: Mapping[str, DescribedDataset]) -> list[tuple[str, Finding]]:
    """(subset, `Finding`) on each image with objects whose file is a copy of another one's."""
    by_size: dict[int, list[tuple[str, object, str]]] = collections.defaultdict(list)
    for subset, dataset in datasets.items():
        for image_id, info in enumerate(dataset.image_info):
            path = info["path"]
            if path and os.path.isfile(path) and len(_boxes(dataset, image_id)[0]):
                by_size[os.path.getsize(path)].append((subset, info["id"], str(path)))
    found = []
    for same_size in by_size.values():
        first: dict[bytes, tuple[str, object, str]] = {}
        for image in same_size if len(same_size) > 1 else ():
            other = first.setdefault(_digest(image[2]), image)
            if other is not image:
                found.append((image[0], Finding(
                    "image twice", f"Image {image[1]} ({image[2]}) is the same picture as image "
                    f"{other[1]} of {other[0]} ({other[2]}).", True, image_id=image[1],
                    doubtful=True)))
    return found


def _boxes(dataset: DescribedDataset, image_id: int) -> tuple[Array, Array]:
    """Boxes `[N, 4]` and class ids `[N]`, without crowd regions; none where they are unusable."""
    nothing = np.zeros((0, 4)), np.zeros(0, int)
    try:
        boxes, class_ids = dataset.load_boxes(image_id)
        boxes, class_ids = np.asarray(boxes, float).reshape(-1, 4), np.asarray(class_ids, int)
    except (FrcnnError, OSError, ValueError, TypeError):  # among the findings
        return nothing
    if class_ids.shape != (len(boxes),):
        return nothing
    return boxes[class_ids > 0], class_ids[class_ids > 0]


def _count_classes(dataset: DescribedDataset) -> collections.Counter[str]:
    counts: collections.Counter[str] = collections.Counter()
    for image_id in range(dataset.num_images):
        counts.update(dataset.class_names[class_id] for class_id in _boxes(dataset, image_id)[1]
                      if class_id < len(dataset.class_names))
    return counts


def _digest(path: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.digest()
