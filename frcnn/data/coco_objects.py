"""The objects of a COCO annotation file: their boxes, and everything that is wrong with them."""

import collections
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from frcnn.data.annotated import AnnotatedObject
from frcnn.data.clipping import clip_box
from frcnn.data.coco_values import Entry, as_id, entries, is_number
from frcnn.data.findings import Finding, shown
from frcnn.data.outlines import outline_box

ImageEntry: TypeAlias = tuple[int, str, int, int]  # id, path, width, height

# A box is taken for fractions of its image only where that has more pixels than this a side.
_SMALLEST_SIDE = 8
# Boxes are suspected to be corners where at least so many, and this share of them, overshoot.
_FEWEST_CORNERS, _OVERSHOOTING = 4, 0.25


class _Box(NamedTuple):
    """One annotation that is usable as far as it goes alone."""

    place: int
    label: str
    annotation_id: Any
    image_id: int
    category_id: int
    is_crowd: bool
    bbox: list[float]  # x, y, width, height
    from_outline: bool


def read_objects(section: list[Any], images: dict[int, ImageEntry], categories: dict[int, str],
                 known_bad: tuple[set[Any], set[Any]], findings: list[Finding],
                 ) -> Mapping[int, list[AnnotatedObject]]:
    """Reads the list 'annotations'.

    Args:
        section: the list.
        images: `{image id: (id, path, width, height)}`.
        categories: `{category id: name}`.
        known_bad: ids of images and of categories that were reported already, as they stand in
            the file; what uses them is left out without a further finding.
        findings: list that findings are added to.

    Returns:
        `{image id: [(box, category id, crowd), ...]}`; boxes clipped to their images.
    """
    unusable = {finding.image_id for finding in findings} - images.keys() - {None}
    placed: list[tuple[int, Finding]] = []  # by the annotation's place in the file
    boxes: list[_Box] = []
    seen: set[int | float | str] = set()
    for place, entry in entries(section, "annotations", findings):
        annotation_id, image_id = entry.get("id"), as_id(entry.get("image_id"))
        label = shown(annotation_id) if "id" in entry else f"number {place}"
        problem = _problem(entry, image_id, images, categories, seen)
        if isinstance(annotation_id, (int, float, str)):
            seen.add(annotation_id)
        if problem:
            kind, text = problem
            if image_id not in unusable and not _was_reported(entry, known_bad):
                placed.append((place, Finding(kind, f"Annotation {label} {text}",
                                              image_id=image_id, annotation_id=annotation_id)))
            continue
        assert image_id is not None  # or there had been a problem
        outlined = None if entry.get("bbox") else _outlined(entry, images[image_id])
        boxes.append(_Box(place, label, annotation_id, image_id, int(entry["category_id"]),
                          bool(entry.get("iscrowd")), outlined or entry["bbox"],
                          outlined is not None))
    boxes = _without_fractions(boxes, images, findings)
    _suspect_corners(boxes, images, findings)
    objects = _clipped(boxes, images, placed)
    findings.extend(finding for _, finding in sorted(placed, key=lambda pair: pair[0]))
    return objects


def _clipped(boxes: list[_Box], images: dict[int, ImageEntry],
             placed: list[tuple[int, Finding]]) -> Mapping[int, list[AnnotatedObject]]:
    """The objects by image, clipped to it, each once."""
    objects: dict[int, list[AnnotatedObject]] = collections.defaultdict(list)
    known: dict[tuple[Any, ...], str] = {}
    for found in boxes:
        _, _, width, height = images[found.image_id]
        what = f"Annotation {found.label} (image {found.image_id})"
        findings: list[Finding] = []
        ids = {"image_id": found.image_id, "annotation_id": found.annotation_id}
        key = (found.image_id, found.category_id, found.is_crowd, *found.bbox)
        if key in known:
            placed.append((found.place, Finding(
                "object listed twice", f"{what} is the same as annotation {known[key]}; used once.",
                repairable=True, **ids)))
            continue
        known[key] = found.label
        if found.from_outline:
            findings.append(Finding("box from an outline", f"{what} has no bbox; it is taken from "
                                    "its segmentation.", repairable=True, **ids))
        x, y, w, h = found.bbox
        box = clip_box((y, x, y + h, x + w), width, height, f"{what}: the box {found.bbox}",
                       findings, **ids)
        placed.extend((found.place, finding) for finding in findings)
        if box:
            objects[found.image_id].append((box, found.category_id, found.is_crowd))
    return objects


# --- one annotation -------------------------------------------------------------------------


def _was_reported(entry: Entry, known_bad: tuple[set[Any], set[Any]]) -> bool:
    return any(isinstance(value, (str, int, float)) and value in known for value, known in zip(
        (entry.get("image_id"), entry.get("category_id")), known_bad))


def _problem(entry: Entry, image_id: int | None, images: dict[int, ImageEntry],
             categories: dict[int, str],
             seen: set[int | float | str]) -> tuple[str, str] | None:
    """(kind, rest of the message) of what makes an annotation unusable, or None."""
    annotation_id = entry.get("id")
    if isinstance(annotation_id, (int, float, str)) and annotation_id in seen:
        return "duplicate annotation id", f"(image {shown(entry.get('image_id'))}) occurs twice " \
                                          "in 'annotations'; ids must differ."
    if image_id is None or image_id not in images:
        return "unknown image", f"is of image {shown(entry.get('image_id'))}, which is not in " \
                                "'images'."
    where = f"(image {image_id}, {os.path.basename(images[image_id][1])})"
    category_id = as_id(entry.get("category_id"))
    if category_id not in categories:
        return "unknown category", f"{where} is of category {shown(entry.get('category_id'))}, " \
                                   "which is not in 'categories'."
    if entry.get("iscrowd") not in (None, 0, 1):
        return "bad iscrowd", f"{where} has iscrowd {shown(entry['iscrowd'])}; allowed are 0 and 1."
    box = entry.get("bbox")
    if not box and _outlined(entry, images[image_id]) is not None:
        return None
    if box is None and entry.get("segmentation") is not None:
        return "bad box", f"{where} has no bbox, and a segmentation that is no outline of " \
                          "anything in this image; give [x, y, width, height]."
    if not isinstance(box, list) or len(box) != 4:
        return "bad box", f"{where} has the bbox {shown(box)}; give [x, y, width, height]."
    if not all(is_number(value) for value in box):
        return "bad box", f"{where} has the bbox {shown(box)}; give four finite numbers, " \
                          "[x, y, width, height]."
    return None


def _outlined(entry: Entry, image: ImageEntry) -> list[float] | None:
    """The box of an annotation's segmentation, where it has one."""
    return outline_box(entry.get("segmentation"), image[2], image[3])


# --- all annotations ------------------------------------------------------------------------


def _without_fractions(boxes: list[_Box], images: dict[int, ImageEntry],
                       findings: list[Finding]) -> list[_Box]:
    """Removes boxes that are fractions of the image, with one finding for all of them."""
    within = [found for found in boxes if min(images[found.image_id][2:]) > _SMALLEST_SIDE
              and looks_like_fractions(found.bbox)]
    if all(value == int(value) for found in within for value in found.bbox):
        return boxes  # objects of one pixel in the upper left corner
    first = within[0]
    findings.append(Finding(
        "boxes as fractions", f"{len(within)} of {len(boxes)} boxes lie between 0 and 1, as "
        f"fractions of the image do; the first is annotation {first.label} (image "
        f"{first.image_id}), {first.bbox}. COCO has pixels: multiply x and width by the image's "
        "width, y and height by its height.", image_id=first.image_id,
        annotation_id=first.annotation_id))
    left_out = set(map(id, within))
    return [found for found in boxes if id(found) not in left_out]


def looks_like_fractions(numbers: list[float]) -> bool:
    """Whether the numbers of a box lie between 0 and 1."""
    return all(0 <= value <= 1 for value in numbers)


def _suspect_corners(boxes: list[_Box], images: dict[int, ImageEntry],
                     findings: list[Finding]) -> None:
    """Adds a finding where [x, y, width, height] would fit better as two corners."""
    overshooting = 0
    for found in boxes:
        _, _, width, height = images[found.image_id]
        x, y, w, h = found.bbox
        if not (0 <= x < w <= width + 1 and 0 <= y < h <= height + 1):
            return
        overshooting += x + w > width + 1 or y + h > height + 1
    if len(boxes) >= _FEWEST_CORNERS and overshooting >= _OVERSHOOTING * len(boxes):
        findings.append(Finding(
            "boxes may be corners", f"{overshooting} of {len(boxes)} boxes reach beyond their "
            "images, and all would fit if they were [x1, y1, x2, y2]; COCO has [x, y, width, "
            "height]. Look at some of them.", repairable=True))
