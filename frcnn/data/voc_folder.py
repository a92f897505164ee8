"""Reading a data set in Pascal VOC's layout, and finding everything that is wrong in it.

    DIR/ImageSets/Main/<subset>.txt     the names of a subset's images, one a line
    DIR/Annotations/<name>.xml          their sizes and objects
    DIR/JPEGImages/<name>.jpg           the images

No pixels are decoded here, and files outside the folder are never opened.
"""

import collections
import contextlib
import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from frcnn.data.annotated import AnnotatedImage, annotated_image
from frcnn.data.clipping import clip_box
from frcnn.data.findings import Finding, leaves_folder, shown, size_from_header
from frcnn.data.voc_xml import XmlError, number, parse, text_of
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
    folder = Path(dataset_dir)
    reader = _Reader(folder, class_names, first_pixel)
    listed = _read_list(folder, subset, reader.findings)
    images = [image for image in map(reader.read, listed) if image is not None]
    if class_names is not None:
        names = list(dict.fromkeys(class_names))
    else:
        names = sorted(reader.names | _names_elsewhere(folder, subset, listed))
    if not names:
        raise DatasetError(f"No annotation of {folder / 'Annotations'} that {subset}.txt or "
                           "another subset names has an object: there are no classes.")
    return names, images, reader.findings


# --- subsets and their lists ----------------------------------------------------------------


def voc_subsets(dataset_dir: str | PathLike[str]) -> list[str]:
    """Names of the subsets, sorted; lists for one class, as `cat_train.txt`, are left out."""
    folder = Path(dataset_dir)
    return sorted(path.stem for path in _list_path(folder, "*").parent.glob("*.txt")
                  if not _is_class_list(folder, path))


def _list_path(folder: Path, subset: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{subset}.txt"


def _is_class_list(folder: Path, path: Path) -> bool:
    """Whether a list is of one class, with -1, 0 or 1 after the name of an image: `000005 -1`."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            line = next((line.strip() for line in file if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(re.fullmatch(r"\S+\s+(-1|0|1)", line)) \
        and not os.path.isfile(_annotation_path(folder, line))


def _read_list(folder: Path, subset: str, findings: list[Finding]) -> list[str]:
    """The image names of a subset, each once."""
    path = _list_path(folder, subset)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds ImageSets/, Annotations/ and JPEGImages/.")
    if not path.is_file():
        subsets = voc_subsets(folder)
        there = "the subsets there are " + ", ".join(subsets) if subsets \
            else "it has no ImageSets/Main/<subset>.txt at all"
        raise FileNotFoundError(f"There is no list of images {path}; {there}.")
    for part in ("Annotations", "JPEGImages"):
        if not (folder / part).is_dir():
            raise FileNotFoundError(f"There is no folder {folder / part}.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as UTF-8 text: {error}.") from None
    counts = collections.Counter(line.strip() for line in lines if line.strip())
    if not counts:
        raise DatasetError(f"{path} is empty: there is nothing to load.")
    for name, count in counts.items():
        if count > 1:
            findings.append(Finding("image listed twice", f"Image {name} is listed {count} times "
                                    f"in {subset}.txt; used once.", True, image_id=name))
    return list(counts)


def _names_elsewhere(folder: Path, subset: str, listed: list[str]) -> set[str]:
    """The names of all objects in the images of other subsets, usable or not."""
    images: set[str] = set()
    for other in voc_subsets(folder):
        if other != subset:
            # What is wrong with it is reported when it is loaded itself.
            with contextlib.suppress(DatasetError):
                images.update(_read_list(folder, other, []))
    names: set[str] = set()
    for image in images.difference(listed):
        if not leaves_folder(image):
            with contextlib.suppress(XmlError):
                names |= _names_in(parse(_annotation_path(folder, image)))
    return names


def _names_in(root: Element) -> set[str]:
    names = (text_of(entry, "name") for entry in root.findall("object"))
    return {name for name in names if name}


def _annotation_path(folder: Path, name: str) -> str:
    return os.path.join(folder, "Annotations", f"{name}.xml")


# --- one image ------------------------------------------------------------------------------


class _UnusableError(Exception):
    """Why an image or an object cannot be used: the kind and the text of a serious finding."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


class _Reader:
    """Reads images one by one, and collects what is wrong with them and all names of objects."""

    def __init__(self, folder: Path, class_names: Sequence[str] | None, first_pixel: int) -> None:
        self.folder, self.class_names, self.first_pixel = folder, class_names, first_pixel
        self.findings: list[Finding] = []
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
        path = _annotation_path(self.folder, name)
        if not os.path.isfile(path):
            raise _UnusableError("annotation missing", f"Image {name}: there is no file {path}.")
        try:
            root = parse(path)
        except XmlError as error:
            raise _UnusableError("bad annotation file", f"Image {name}: {path} {error}") from None
        self.names |= _names_in(root)
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
        """The path of an image: by its name in the list, or else by its annotation's filename."""
        images, foreign = os.path.join(self.folder, "JPEGImages"), leaves_folder(stated)
        for extension in (*EXTENSIONS, *map(str.upper, EXTENSIONS)):
            path = os.path.join(images, name + extension)
            if os.path.isfile(path):
                if foreign:
                    self.findings.append(Finding(
                        "file name leaves the folder", f"Image {name}: its annotation's filename "
                        f"{shown(stated)} leaves the data set's folder; {path} is used instead.",
                        repairable=True, image_id=name))
                return path
        if foreign:
            raise _UnusableError(
                "file name leaves the folder", f"Image {name} has the filename {shown(stated)}, "
                "which leaves the data set's folder; it is not opened. Put the image into "
                "JPEGImages/ under its name in the list.")
        if stated and os.path.isfile(os.path.join(images, stated)):
            return os.path.join(images, stated)
        raise _UnusableError("image missing", f"Image {name}: there is no file "
                             f"{os.path.join(images, name)}.jpg, nor .png, .bmp, .tif.")

    def _read_object(self, entry: Element, place: int, image: VocImage) -> None:
        """Adds an <object> to its image, unless it is not usable."""
        what, ids = f"Object {place} of image {image.name}", (image.name, place)
        try:
            name, corners, texts = _parsed_object(entry, self.class_names)
        except _UnusableError as error:
            self.findings.append(Finding(error.kind, f"{what} {error.text}", False, *ids))
            return
        y1, x1, y2, x2 = corners
        box = clip_box((y1 - self.first_pixel, x1 - self.first_pixel, y2, x2), image.width,
                       image.height, f"{what}: the box {texts}", self.findings,
                       image_id=image.name, annotation_id=place)
        if box is not None:
            extras = {key: text for key in EXTRAS if (text := text_of(entry, key)) is not None}
            image.objects.append(VocObject(name, box, text_of(entry, "difficult") == "1", extras))


def _declared_size(root: Element, where: str) -> tuple[int, int] | None:
    """(width, height) as declared; None where they are missing or one is 0.

    Some tools write 0 for a side that is unknown to them.

    Raises:
        _UnusableError: what is declared is not a size.
    """
    size = root.find("size")
    texts = (None, None) if size is None else (text_of(size, "width"), text_of(size, "height"))
    if texts == (None, None):
        return None
    sides = [int(side) for side in map(number, texts)
             if side is not None and side >= 0 and side == int(side)]
    if len(sides) < 2:
        raise _UnusableError("bad image size", f"{where} declares the size {texts}; give whole "
                             "numbers of pixels, or leave <size> out.")
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
