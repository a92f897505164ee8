"""The check of a whole data set before training: unusable images, and boxes that do not fit them.

What is wrong in an annotation file is found when it is read; see `coco_json` and `voc_folder`.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

import numpy as np
from tqdm import tqdm

from frcnn.arrays import Array
from frcnn.data.clipping import clip_box
from frcnn.data.doubts import are_fractions, doubt_boxes, doubt_pixels
from frcnn.data.findings import Finding, report
from frcnn.data.image_name import ImageName
from frcnn.data.intensity import DeclaredRange, pixels_of_array
from frcnn.data.slides import is_slide
from frcnn.errors import DatasetError, FrcnnError, MissingExtraError

# The (height, width) of an image that is read by regions, of its path; an error where it cannot be.
LargeSize: TypeAlias = Callable[[str], tuple[int, int]]

_MOST_THREADS = 8  # each holds an image


class CheckedDataset(Protocol):
    """What the check needs of a `Dataset`, which imports this module."""

    num_images: int
    num_classes: int
    image_info: list[dict[str, Any]]
    intensity_range: DeclaredRange | None

    def header_size(self, image_id: int) -> tuple[int, int] | None: ...
    def image_reference(self, image_id: int) -> str: ...
    def leave_out(self, image_ids: Iterable[int]) -> None: ...
    def load_boxes(self, image_id: int) -> tuple[Array, Array]: ...
    def load_image(self, image_id: int) -> Array: ...


def check_images(dataset: CheckedDataset, *, decode: bool | int = True, progress: bool = False,
                 large_size: LargeSize | None = None) -> list[tuple[int, Finding]]:
    """Checks every image of a data set, and the boxes that the data set has for it.

    Args:
        dataset: a prepared `Dataset`.
        decode: see `Dataset.check`.
        progress: see `Dataset.check`.
        large_size: for detection in tiles: slides and large TIFFs (`frcnn.data.slides.is_slide`)
            are not read whole, and may be of any size; this says which. None: as other images.

    Returns:
        list of (internal image id, `Finding`), in the order of the images.
    """
    count = dataset.num_images
    whole = decode if type(decode) is int else count if decode else 0

    def check(image_id: int) -> list[tuple[int, Finding]]:
        return [(image_id, finding)
                for finding in _check_image(dataset, image_id, image_id < whole, large_size)]

    found: list[tuple[int, Finding]] = []
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        bar = tqdm(pool.map(check, range(count)), total=count, desc="check", unit="image",
                   leave=False, delay=2, disable=not progress)
        try:
            for findings in bar:
                found.extend(findings)
        except BaseException:  # Ctrl-C among them: do not check the rest first
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def settle_images(dataset: CheckedDataset, *, skip_bad: bool = False, decode: bool | int = True,
                  progress: bool = False, large_size: LargeSize | None = None) -> None:
    """Checks the images before training: raises for the bad ones, or leaves them out.

    Args:
        dataset: a prepared `Dataset`; with `skip_bad` its images are renumbered where some are
            left out.
        skip_bad: whether to leave bad images out, with a warning that counts them.
        decode: see `Dataset.check`.
        progress: see `Dataset.check`.
        large_size: see `check_images`.

    Raises:
        DatasetError: an image cannot be used, or, with `skip_bad`, none is left.
        MissingExtraError: a slide needs the extra `slides`.
    """
    found = check_images(dataset, decode=decode, progress=progress, large_size=large_size)
    report([finding for _, finding in found], "Data set", skip_bad, stacklevel=2)
    bad = {image_id for image_id, finding in found if not finding.repairable}
    if bad:
        dataset.leave_out(bad)
    if dataset.num_images == 0:
        raise DatasetError("No image is left of the data set to train on or to evaluate.")


# --- one image ------------------------------------------------------------------------------


def _check_image(dataset: CheckedDataset, image_id: int, decode: bool,
                 large_size: LargeSize | None) -> list[Finding]:
    """The findings on one image and its boxes."""
    info = dataset.image_info[image_id]
    source_id, name = info["id"], f"Image {info['id']}"
    image: Array | None = None
    try:
        shape: tuple[int, int] | None
        if large_size is not None and info["path"] and is_slide(info["path"]):
            shape = large_size(info["path"])
        elif decode:
            image = _decoded(dataset, image_id)
            shape = image.shape[:2]
        else:
            shape = dataset.header_size(image_id)
    except MissingExtraError:  # not of this image
        raise
    except FileNotFoundError as error:
        return [Finding("image missing", f"{name}: {error}", image_id=source_id)]
    except (FrcnnError, OSError) as error:
        return [Finding("image unreadable", f"{name}: {error}", image_id=source_id)]
    declared = (info.get("height"), info.get("width"))
    name = f"{name} ({ImageName(dataset, image_id)})"
    if shape is not None and None not in declared and shape != declared:
        return [Finding("image of another size", f"{name} has {shape[1]}x{shape[0]} pixels (width "
                        "x height, EXIF orientation applied), but "
                        f"{declared[1]}x{declared[0]} are declared: its boxes may be off. Correct "
                        "the declared size and the boxes, or put the right image there.",
                        image_id=source_id)]
    findings = _check_boxes(dataset, image_id, name, shape or declared)
    if image is not None and info["path"]:  # others are drawn or decoded by a subclass's own rules
        findings += doubt_pixels(image, name, source_id, _count_objects(dataset, image_id))
    return findings


def _count_objects(dataset: CheckedDataset, image_id: int) -> int:
    try:
        return len(dataset.load_boxes(image_id)[1])
    except FrcnnError:  # among the findings
        return 0


def _decoded(dataset: CheckedDataset, image_id: int) -> Array:
    """The pixels of an image `[H, W]` or `[H, W, C]`, uint8."""
    image = np.asarray(dataset.load_image(image_id))
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise DatasetError(f"it is loaded with the shape {image.shape}; images are [height, width, "
                           "channels].")
    return pixels_of_array(image, dataset.intensity_range, ImageName(dataset, image_id))


def _check_boxes(dataset: CheckedDataset, image_id: int, name: str,
                 shape: tuple[int | None, int | None]) -> list[Finding]:
    """The findings on the boxes of one image of that (height, width), None where unknown."""
    source_id = dataset.image_info[image_id]["id"]
    try:
        boxes, class_ids = dataset.load_boxes(image_id)
        boxes, class_ids = as_numbers(boxes, (4,)), as_numbers(class_ids, ())
        if len(boxes) != len(class_ids):
            raise DatasetError(f"there are {len(boxes)} boxes and {len(class_ids)} class ids.")
    except FrcnnError as error:
        return [Finding("bad boxes", f"{name}: {error}", image_id=source_id)]
    findings: list[Finding] = []
    height, width = (np.inf if side is None else side for side in shape)
    for place, (box, class_id) in enumerate(zip(boxes.tolist(), class_ids.tolist())):
        ids: dict[str, Any] = {"image_id": source_id, "annotation_id": place}
        what = f"{name}, object {place}: the box {box} (y1, x1, y2, x2)"
        if not 0 < abs(class_id) < dataset.num_classes:
            findings.append(Finding("unknown class", f"{name}, object {place} is of the class "
                                    f"{class_id}; allowed are 1 to {dataset.num_classes - 1}, "
                                    "negative for crowds.", **ids))
        elif not np.isfinite(box).all():
            findings.append(Finding("bad box", f"{what} is not finite.", **ids))
        else:
            clip_box(box, width, height, what, findings, **ids)
    if are_fractions(boxes, height, width):
        return [Finding("boxes as fractions", f"{name}: the boxes lie between 0 and 1, as "
                        "fractions of the image do; boxes are in pixels. Multiply them by its "
                        "height and width.", image_id=source_id)]
    return findings + doubt_boxes(boxes, class_ids, name, source_id)


def as_numbers(values: Any, shape: tuple[int, ...]) -> Array:
    """An array `[N, *shape]` of numbers; `[0, *shape]` of anything empty.

    Raises:
        DatasetError: it is anything else; the message continues after the image's name.
    """
    try:
        values = np.asarray(values)
    except ValueError:  # lists of different lengths
        raise DatasetError("its boxes or class ids are lists of different lengths.") from None
    if values.size == 0:
        return np.zeros((0, *shape))
    if values.dtype.kind not in "iuf" or values.shape[1:] != shape:
        raise DatasetError(f"its boxes or class ids are {values.dtype} of the shape "
                           f"{values.shape}; boxes are numbers [N, 4], class ids [N].")
    return values
