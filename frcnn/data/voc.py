"""Reading a data set in Pascal VOC's layout, and finding everything that is wrong in it.

    DIR/ImageSets/Main/<subset>.txt     the names of a subset's images, one a line
    DIR/Annotations/<name>.xml          their sizes and objects
    DIR/JPEGImages/<name>.jpg           the images

Nothing here opens an image's pixels. Names that lead out of the folder are never opened.
"""

import collections
import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from frcnn.data.annotated import AnnotatedDataset, annotated_image
from frcnn.data.clipping import clip_box
from frcnn.data.findings import Finding, header_size, leaves_folder, shown
from frcnn.data.voc_xml import XmlError, number, parse, text_of
from frcnn.errors import DatasetError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
CORNERS = ("ymin", "xmin", "ymax", "xmax")
# What an object may say besides, kept as text for conversion.
EXTRAS = ("pose", "truncated", "occluded")


class VocObject(NamedTuple):
    """One object: `box` (y1, x1, y2, x2) in pixels, clipped; `extras` are other fields, as text."""

    name: str
    box: list
    difficult: bool
    extras: dict


class VocImage(NamedTuple):
    """One image: its name in the subset's list, `path` on disk, size in pixels, and objects."""

    name: str
    path: str
    width: int
    height: int
    objects: list


def read_voc(dataset_dir, subset, class_names=None, first_pixel=1):
    """Reads one subset; see `FolderDataset.load_voc` for the arguments.

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
                                 ((each.box, numbers[each.name], each.difficult)
                                  for each in image.objects))
                 for image in images]
    return dict(enumerate(names, start=1)), annotated, findings


def read_voc_images(dataset_dir, subset, class_names=None, first_pixel=1):
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


def voc_subsets(dataset_dir):
    """Names of the subsets, sorted; lists for one class, as `cat_train.txt`, are left out."""
    folder = Path(dataset_dir)
    return sorted(path.stem for path in _list_path(folder, "*").parent.glob("*.txt")
                  if not _is_class_list(folder, path))


def _list_path(folder, subset):
    return folder / "ImageSets" / "Main" / f"{subset}.txt"


def _is_class_list(folder, path):
    """Whether a list says of each image if it has a class: `000005 -1`."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            line = next((line.strip() for line in file if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(re.fullmatch(r"\S+\s+(-1|0|1)", line)) \
        and not os.path.isfile(_annotation_path(folder, line))


def _read_list(folder, subset, findings):
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
                                    f"in {subset}.txt; taken once.", True, image_id=name))
    return list(counts)


def _names_elsewhere(folder, subset, listed):
    """The names of all objects in the images of other subsets, usable or not."""
    images = set()
    for other in voc_subsets(folder):
        if other != subset:
            # What is wrong with it is told when it is loaded itself.
            with contextlib.suppress(DatasetError):
                images.update(_read_list(folder, other, []))
    names = set()
    for image in images.difference(listed):
        if not leaves_folder(image):
            with contextlib.suppress(XmlError):
                names |= _names_in(parse(_annotation_path(folder, image)))
    return names


def _names_in(root):
    return {text_of(entry, "name") for entry in root.findall("object")} - {None, ""}


def _annotation_path(folder, name):
    return os.path.join(folder, "Annotations", f"{name}.xml")


# --- one image ------------------------------------------------------------------------------


class _Reader:
    """Reads images one by one, and gathers what is wrong with them and all names of objects."""

    def __init__(self, folder, class_names, first_pixel):
        self.folder, self.class_names, self.first_pixel = folder, class_names, first_pixel
        self.findings, self.names = [], set()

    def read(self, name):
        """The VocImage of a name in the list, or None when it is not usable."""
        if leaves_folder(name):
            return self._bad(name, "bad image name", f"Image {shown(name)} leaves the data set's "
                             "folder; it is not opened. List names as they are in Annotations/, "
                             "without the ending.")
        path = _annotation_path(self.folder, name)
        if not os.path.isfile(path):
            return self._bad(name, "annotation missing", f"Image {name}: there is no file {path}.")
        try:
            root = parse(path)
        except XmlError as error:
            return self._bad(name, "bad annotation file", f"Image {name}: {path} {error}")
        self.names |= _names_in(root)
        image_path = self._find_image(name, text_of(root, "filename") or "")
        if image_path is None:
            return None
        size = _declared_size(root)
        if size is None:
            return self._bad(name, "bad image size", f"Image {name}: {path} declares the size "
                             f"{_size_texts(root)}; give whole numbers of pixels, or leave <size> "
                             "out.")
        size = size if 0 not in size else header_size(image_path, name, self.findings)
        if size is None:
            return None
        image = VocImage(name, image_path, *size, [])
        found = (self._read_object(entry, place, image)
                 for place, entry in enumerate(root.findall("object"), start=1))
        image.objects.extend(each for each in found if each is not None)
        return image

    def _bad(self, name, kind, text):
        self.findings.append(Finding(kind, text, image_id=name))

    def _find_image(self, name, stated):
        """The path of an image: by its name in the list, or else as its annotation names it."""
        images, foreign = os.path.join(self.folder, "JPEGImages"), leaves_folder(stated)
        for extension in (*EXTENSIONS, *map(str.upper, EXTENSIONS)):
            path = os.path.join(images, name + extension)
            if os.path.isfile(path):
                if foreign:
                    self.findings.append(Finding(
                        "file name leaves the folder", f"Image {name}: its annotation's filename "
                        f"{shown(stated)} leaves the data set's folder; {path} is taken instead.",
                        repairable=True, image_id=name))
                return path
        if foreign:
            return self._bad(name, "file name leaves the folder", f"Image {name} has the filename "
                             f"{shown(stated)}, which leaves the data set's folder; it is not "
                             "opened. Put the image into JPEGImages/ under its name in the list.")
        if stated and os.path.isfile(os.path.join(images, stated)):
            return os.path.join(images, stated)
        return self._bad(name, "image missing", f"Image {name}: there is no file "
                         f"{os.path.join(images, name)}.jpg, nor .png, .bmp, .tif.")

    def _read_object(self, entry, place, image):
        """The VocObject of an <object>, or None when nothing of it is usable."""
        ids = {"image_id": image.name, "annotation_id": place}
        what = f"Object {place} of image {image.name}"
        problem = _object_problem(entry, self.class_names)
        if problem:
            kind, text = problem
            self.findings.append(Finding(kind, f"{what} {text}", **ids))
            return None
        texts = _corner_texts(entry)
        y, x, bottom, right = map(number, texts)
        box = clip_box((y - self.first_pixel, x - self.first_pixel, bottom, right), image.width,
                       image.height, f"{what}: the box {_in_words(texts)}", self.findings, **ids)
        extras = {key: text_of(entry, key) for key in EXTRAS}
        return box and VocObject(text_of(entry, "name"), box, text_of(entry, "difficult") == "1",
                                 {key: text for key, text in extras.items() if text is not None})


def _size_texts(root):
    """The texts of <width> and <height>; None for one that is missing."""
    size = root.find("size")
    return (None, None) if size is None else (text_of(size, "width"), text_of(size, "height"))


def _declared_size(root):
    """(width, height) as declared, (0, 0) where nothing is, None where it is no size.

    Some tools write 0 for what they do not know.
    """
    texts = _size_texts(root)
    if texts == (None, None):
        return 0, 0
    values = [number(text) for text in texts]
    if any(value is None or value < 0 or value != int(value) for value in values):
        return None
    return int(values[0]), int(values[1])


# --- one object -----------------------------------------------------------------------------


def _object_problem(entry, class_names):
    """(kind, rest of the message) of what makes an object unusable, or None."""
    name, texts = text_of(entry, "name"), _corner_texts(entry)
    difficult = text_of(entry, "difficult")
    if not name:
        return "bad object name", "has no <name>, or several; give it one."
    if class_names is not None and name not in class_names:
        return "unknown category", f"is a {shown(name)}, which is not among the classes " \
                                   f"{', '.join(class_names)}."
    if texts is None:
        return "bad box", f"has {len(entry.findall('bndbox'))} <bndbox>; give it one."
    if None in map(number, texts):
        return "bad box", f"has the box {_in_words(texts)}; give four finite numbers."
    if difficult not in ("0", "1", "") and entry.find("difficult") is not None:
        return "bad difficult", f"has difficult {shown(difficult)}; allowed are 0 and 1."
    return None


def _corner_texts(entry):
    """The texts of an object's corners in the order of CORNERS; None without just one <bndbox>."""
    boxes = entry.findall("bndbox")
    return [text_of(boxes[0], corner) for corner in CORNERS] if len(boxes) == 1 else None


def _in_words(texts):
    return ", ".join(f"{corner} {shown(text)}" for corner, text in zip(CORNERS, texts))


# --- the data set ---------------------------------------------------------------------------


class VocDataset(AnnotatedDataset):
    """A data set in Pascal VOC's layout; see `load_voc`."""

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

    @classmethod
    def from_folder(cls, dataset_dir, subset, **options):
        """A data set with one subset loaded and prepared; options and errors as in `load_voc`."""
        dataset = cls()
        dataset.load_voc(dataset_dir, subset, **options)
        dataset.prepare()
        return dataset
