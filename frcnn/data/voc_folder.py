"""Reading a data set in Pascal VOC's layout, and finding everything that is wrong in it.

    DIR/ImageSets/Main/<subset>.txt     the names of a subset's images, one a line
    DIR/Annotations/<name>.xml          their sizes and objects
    DIR/JPEGImages/<name>.jpg           the images

No pixels are decoded here, and files outside the folder are never opened.
"""

import os
from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from frcnn.data.annotated import AnnotatedImage, annotated_image
from frcnn.data.clipping import clip_box
from frcnn.data.doubts import are_fractions
from frcnn.data.file_names import spelling
from frcnn.data.findings import (
    MAX_SIDE,
    Finding,
    leaves_folder,
    shortened,
    shown,
    size_from_header,
)
from frcnn.data.layouts import divided, warn_divided
from frcnn.data.voc_lists import VocFiles, find_files, names_elsewhere
from frcnn.data.voc_lists import voc_subsets as voc_subsets
from frcnn.data.voc_xml import XmlError, names_of_objects, number, parse, text_of
from frcnn.errors import DatasetError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
CORNERS = ("ymin", "xmin", "ymax", "xmax")
# Other fields of an object, kept as text for conversion.
EXTRAS = ("pose", "truncated", "occluded")


class VocObject(NamedTuple):
    """One object.

    Attributes:
        name: of its class.
        box: `[y1, x1, y2, x2]` in pixels, clipped to the image.
        difficult: as marked.
        extras: those of the fields EXTRAS that it has, as text.
    """

    name: str
    box: list[float]
    difficult: bool
    extras: dict[str, str]


class VocImage(NamedTuple):
    """One image.

    Attributes:
        name: in the subset's list.
        path: of the image file.
        width: pixels.
        height: pixels.
        objects: those that are usable.
    """

    name: str
    path: str
    width: int
    height: int
    objects: list[VocObject]


def read_voc(dataset_dir: str | PathLike[str], subset: str,
             class_names: Sequence[str] | None = None, first_pixel: int = 1,
             ) -> tuple[dict[int, str], list[AnnotatedImage], list[Finding]]:
    """Reads one subset; see `VocDataset.load_voc` for the arguments.

    Returns:
        categories: `{1 …: name}` in the order of `class_names`, or sorted by name.
        images: list of `AnnotatedImage` in the list's order; only those that are usable.
        findings: list of `Finding`; an object's annotation_id is its number in its file, from 1.

    Raises:
        FileNotFoundError, DatasetError: the folder or the subset's list cannot be used.
    """
    names, images, findings = read_voc_images(dataset_dir, subset, class_names, first_pixel)
    numbers = {name: place for place, name in enumerate(names, start=1)}
    annotated = [annotated_image(image.name, image.path, image.width, image.height,
                                 ((found.box, numbers[found.name], found.difficult)
                                  for found in image.objects))
                 for image in images]
    return dict(enumerate(names, start=1)), annotated, findings


def read_voc_images(dataset_dir: str | PathLike[str], subset: str,
                    class_names: Sequence[str] | None = None, first_pixel: int = 1,
                    ) -> tuple[list[str], list[VocImage], list[Finding]]:
    """As `read_voc`, but returns the class names as a list, and images as `VocImage`s."""
    findings: list[Finding] = []
    files = find_files(dataset_dir, subset, findings)
    reader = _Reader(files, class_names, first_pixel, findings)
    images = [image for image in map(reader.read, files.names) if image is not None]
    if class_names is not None:
        names = list(dict.fromkeys(class_names))
    else:
        names = sorted(reader.names | names_elsewhere(dataset_dir, subset, files))
    if not names:
        raise DatasetError(_without_classes(files, findings))
    if files.share:
        images = divided(images, [image.name for image in images], files.share)
        warn_divided(dataset_dir, stacklevel=4)
    return names, images, findings


def _without_classes(files: VocFiles, findings: list[Finding]) -> str:
    """Why there is not one object: what is wrong with the annotations, if anything is."""
    serious = [finding.brief for finding in findings if not finding.repairable]
    if not serious:
        return (f"No annotation of {files.annotations} that {files.where.name} or another subset "
                "names has an object: there are no classes.")
    more = f" There are {len(serious) - 1} more such problems." * (len(serious) > 1)
    return (f"{files.where}: no annotation can be used, so there are no classes. The first "
            f"problem: {serious[0]}{more}")


# --- one image ------------------------------------------------------------------------------


class _UnusableError(Exception):
    """Why an image or an object cannot be used: the kind and the text of a serious finding."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


class _Reader:
    """Reads images one by one, and collects what is wrong with them and all names of objects."""

    def __init__(self, files: VocFiles, class_names: Sequence[str] | None, first_pixel: int,
                 findings: list[Finding]) -> None:
        self.files, self.class_names, self.first_pixel = files, class_names, first_pixel
        self.findings = findings
        self.names: set[str] = set()

    def read(self, name: str) -> VocImage | None:
        """The VocImage of a name in the list, or None when it is not usable."""
        try:
            return self._read_image(name)
        except _UnusableError as error:
            self.findings.append(Finding(error.kind, error.text, image_id=name))
            return None

    def _read_image(self, name: str) -> VocImage | None:
        if leaves_folder(name):
            raise _UnusableError("bad image name", f"Image {shown(name)} leaves the data set's "
                                 "folder; it is not opened. List names as they are in "
                                 "Annotations/, without the ending.")
        path = self.files.annotation(name)
        if not os.path.isfile(path):
            stem = os.path.splitext(name)[0]
            advice = f" There is {stem}.xml: list names without their endings." \
                if stem != name and os.path.isfile(self.files.annotation(stem)) else ""
            raise _UnusableError("annotation missing",
                                 f"Image {shortened(name)}: there is no file "
                                 f"{self.files.annotation(shortened(name))}.{advice}")
        try:
            root = parse(path)
        except XmlError as error:
            raise _UnusableError("bad annotation file", f"Image {name}: {path} {error}") from None
        self.names |= names_of_objects(root)
        image_path = self._find_image(name, text_of(root, "filename") or "")
        size: tuple[int, int] | None = _declared_size(root, f"Image {name}: {path}")
        if size is None:
            size = size_from_header(image_path, name, self.findings)
            if size is None:
                return None
        image = VocImage(name, image_path, *size, [])
        for place, entry in enumerate(root.findall("object"), start=1):
            self._read_object(entry, place, image)
        return image

    def _find_image(self, name: str, stated: str) -> str:
        """The path of an image: by its name in the list, or else by its annotation's filename.

        Of several with that name the one of the filename; the filename's own, if there is another
        image of that name, contradicts the list.
        """
        foreign = leaves_folder(stated)
        by_name = self._paths(name)
        by_file = None if foreign or not stated else self.files.images.find(stated).path
        if by_file is not None and (by_file in by_name or not by_name):
            return by_file
        if by_name:
            self._look_at_filename(name, stated, foreign, by_name[0], by_file)
            return by_name[0]
        if foreign:
            raise _UnusableError(
                "file name leaves the folder", f"Image {name} has the filename {shown(stated)}, "
                "which leaves the data set's folder; it is not opened. Put the image into "
                f"{self._folder()}/ under its name in the list.")
        raise _UnusableError("image missing", f"Image {name}: there is no file "
                             f"{os.path.join(self.files.images.folders[0], name)}.jpg, nor .png, "
                             ".bmp, .tif.")

    def _folder(self) -> str:
        return os.path.basename(self.files.images.folders[0])

    def _paths(self, name: str) -> list[str]:
        """The images of a name with any ending, those of the very name first."""
        found = [self.files.images.find(name + extension)
                 for extension in (*EXTENSIONS, *map(str.upper, EXTENSIONS))]
        exact = [image.path for image in found if image.path is not None and not image.how]
        if exact:
            return exact
        paths = dict.fromkeys(image.path for image in found if image.path is not None)
        if len(paths) != 1:
            return []
        image = next(image for image in found if image.path is not None)
        finding = image.finding(name, name)
        if finding is not None:
            self.findings.append(finding)
        return [str(path) for path in paths]

    def _look_at_filename(self, name: str, stated: str, foreign: bool, used: str,
                          other: str | None) -> None:
        """Adds a finding where an annotation's filename is not the image that is used.

        Raises:
            _UnusableError: it is another image of the data set.
        """
        if foreign:
            self.findings.append(Finding(
                "file name leaves the folder", f"Image {name}: its annotation's filename "
                f"{shown(stated)} leaves the data set's folder; {used} is used instead.",
                repairable=True, image_id=name))
        elif other is not None:
            raise _UnusableError(
                "annotation of another image", f"Image {name}: its annotation has the filename "
                f"{shown(stated)}, which is another image of the data set, and {used} is there, "
                "too. Correct the filename or the annotation.")
        elif stated and spelling(os.path.splitext(stated)[0]) != spelling(name) \
                and spelling(stated) != spelling(name):
            self.findings.append(Finding(
                "annotation names another file", f"Image {name}: its annotation has the filename "
                f"{shown(stated)}, which does not exist; {used} is used.", repairable=True,
                image_id=name, doubtful=True))

    def _read_object(self, entry: Element, place: int, image: VocImage) -> None:
        """Adds an <object> to its image, unless it is not usable."""
        what, ids = f"Object {place} of image {image.name}", (image.name, place)
        try:
            name, corners, texts = _parsed_object(entry, self.class_names)
        except _UnusableError as error:
            self.findings.append(Finding(error.kind, f"{what} {error.text}", False, *ids))
            return
        if are_fractions(np.array([corners]), image.height, image.width):
            self.findings.append(Finding("boxes as fractions", f"{what} has the box {texts}, which "
                                         "lies between 0 and 1, as fractions of the image do; "
                                         "Pascal VOC has pixels.", False, *ids))
            return
        y1, x1, y2, x2 = corners
        box = clip_box((y1 - self.first_pixel, x1 - self.first_pixel, y2, x2), image.width,
                       image.height, f"{what}: the box {texts}", self.findings,
                       image_id=image.name, annotation_id=place)
        if box is not None and any((name, box) == (other.name, other.box)
                                   for other in image.objects):
            self.findings.append(Finding("object listed twice", f"{what} is the same as an earlier "
                                         "one; used once.", True, *ids))
        elif box is not None:
            extras = {key: text for key in EXTRAS if (text := text_of(entry, key)) is not None}
            image.objects.append(VocObject(name, box, text_of(entry, "difficult") == "1", extras))


def _declared_size(root: Element, where: str) -> tuple[int, int] | None:
    """(width, height) as declared; None where they are missing or one is 0.

    Some tools write 0 for a side that is unknown to them.

    Raises:
        _UnusableError: what is declared is not a size.
    """
    sizes = root.findall("size")
    if len(sizes) > 1:
        raise _UnusableError("bad image size", f"{where} has {len(sizes)} <size>; give it one.")
    size = sizes[0] if sizes else None
    texts = (None, None) if size is None else (text_of(size, "width"), text_of(size, "height"))
    if texts == (None, None):
        return None
    sides = [int(side) for side in map(number, texts)
             if side is not None and 0 <= side <= MAX_SIDE and side == int(side)]
    if len(sides) < 2:
        raise _UnusableError("bad image size", f"{where} declares the size {texts}; give whole "
                             f"numbers of pixels up to {MAX_SIDE:,}, or leave <size> out.")
    return None if 0 in sides else (sides[0], sides[1])


def _parsed_object(entry: Element,
                   class_names: Sequence[str] | None) -> tuple[str, list[float], str]:
    """The name of an <object>, its corners in the order of CORNERS, and their text for messages.

    Raises:
        _UnusableError: a part of it is not usable; the text continues after the object's name.
    """
    name, boxes = text_of(entry, "name"), entry.findall("bndbox")
    if not name:
        raise _UnusableError("bad object name", "has no <name>, or several; give it one.")
    if class_names is not None and name not in class_names:
        raise _UnusableError("unknown category", f"is a {shown(name)}, which is not among the "
                             f"classes {', '.join(class_names)}.")
    if len(boxes) != 1:
        raise _UnusableError("bad box", f"has {len(boxes)} <bndbox>; give it one.")
    texts = [text_of(boxes[0], corner) for corner in CORNERS]
    named = ", ".join(f"{corner} {shown(text)}" for corner, text in zip(CORNERS, texts))
    corners = [value for value in map(number, texts) if value is not None]
    if len(corners) < 4:
        raise _UnusableError("bad box", f"has the box {named}; give four finite numbers.")
    difficult = text_of(entry, "difficult")
    if difficult not in ("0", "1", "") and entry.find("difficult") is not None:
        raise _UnusableError("bad difficult", f"has difficult {shown(difficult)}; allowed are 0 "
                             "and 1.")
    return name, corners, named
