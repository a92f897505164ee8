"""Layouts of folders of annotated images: which files are a subset, and where its images are.

Besides COCO's and Pascal VOC's own layouts these are the exports of Roboflow, CVAT and Label
Studio, the XML files that LabelImg writes beside the images, and single files in COCO's format.
No annotations are read here, only names of files and what tells their formats apart.
"""

import mmap
import os
import re
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple, TypeVar

from frcnn.data.file_names import has_images
from frcnn.errors import DatasetError
from frcnn.files import expanded

T = TypeVar("T")

COCO, VOC = "COCO", "Pascal VOC"
ALL = "all"  # the name of the one subset of a folder without subsets
VAL_SHARE = 5  # of such a folder, one image in so many is "val"

_ALIASES = {"train": ("train", "training"), "val": ("val", "valid", "validation"),
            "test": ("test", "testing")}  # fmt: skip
_TOKEN = re.compile(r"(?<![a-z])(train|training|val|valid|validation|test|testing)(\d{4})?"
                    r"(?![a-z])")
_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')
# Files that COCO has beside instances_<subset>.json, of the same images: of its other tasks.
_OTHER_TASKS = re.compile(r"(person_keypoints|captions|stuff|panoptic|image_info)_")
_XML_FOLDERS = ("annotations", "annotation", "labels", "xml", "xmls")
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs")
_MAX_NAMED = 5  # files in a message


class Subset(NamedTuple):
    """The files of one subset.

    Attributes:
        annotations: COCO's JSON file, or the folder of the XML files.
        images: folders to look for its images in, the first one first.
        names: a text file that lists its images; None: all that have annotations.
        share: "train" or "val", if it is only this share of the annotations; else "".
        others: further files or folders of annotations, which may be of the same subset; only one
            is read, so that the subset cannot be used.
    """

    annotations: Path
    images: tuple[Path, ...]
    names: Path | None = None
    share: str = ""
    others: tuple[Path, ...] = ()


class Layout(NamedTuple):
    """What a folder was recognised as.

    Attributes:
        folder: the data set's folder.
        format: COCO or VOC.
        title: what it looks like, for messages.
        subsets: by name, sorted.
        is_standard: whether it is COCO's or Pascal VOC's own.
    """

    folder: Path
    format: str
    title: str
    subsets: dict[str, Subset]
    is_standard: bool = False

    def find(self, name: str) -> Subset | None:
        """The subset of a name, or of another name for the same, such as "valid" for "val".

        A folder that has one subset, which is neither for training nor for validation, is divided:
        one image in VAL_SHARE, chosen by its name, is "val", the others are "train".

        Raises:
            DatasetError: several files or folders have annotations of the subset.
        """
        if name in self.subsets:
            return self._only(name)
        fitting = [found for found in self.subsets if _role(found) == _role(name) is not None]
        if len(fitting) == 1:
            return self._only(fitting[0])
        if len(self.subsets) == 1 and name in ("train", "val"):
            (only,) = self.subsets
            if _role(only) is None:
                return self._only(only)._replace(share=name)
        return None

    def _only(self, name: str) -> Subset:
        """The subset of that very name, whose annotations are in one place."""
        subset = self.subsets[name]
        if subset.others:
            where, advice = ("files", "join them into one file") if self.format == COCO else (
                "folders", "put them into one folder")
            found = (subset.annotations, *subset.others)
            raise DatasetError(
                f"{self.folder} has annotations of the subset {name!r} in {len(found)} {where}: "
                f"{self.named(found)}. Only one can be read: {advice}, or move what does not "
                "belong to the data set out of the folder.")
        return subset

    def named(self, paths: Sequence[Path]) -> str:
        """Files of the folder for a message, the first few by name."""
        names = [os.path.relpath(path, self.folder) for path in paths[:_MAX_NAMED]]
        more = f" and {len(paths) - _MAX_NAMED} more" * (len(paths) > _MAX_NAMED)
        return ", ".join("the folder itself" if name == "." else name for name in names) + more

    def unread(self, subset: Subset) -> list[Path]:
        """Files beside those of COCO's own layout that seem to be further annotations of a subset.

        Each names the subset, or none of the folder's, and is in COCO's format; those that COCO has
        for its other tasks are left out.
        """
        if not self.is_standard or self.format != COCO:
            return []
        read = [known.annotations for known in self.subsets.values()]
        bases = dict.fromkeys((self.folder, self.folder / "annotations", *subset.images))
        return [path for base in bases for path in sorted(base.glob("*.json"))
                if path not in read and not _OTHER_TASKS.match(path.name)
                and self._concerned(path) in (None, subset.annotations) and _is_coco(path)]

    def _concerned(self, path: Path) -> Path | None:
        """The annotations of the subset that a file's name names, if the folder has it."""
        named = _named(path)
        fitting = [name for name in self.subsets if named and _role(name) == _role(named)]
        name = named if named in self.subsets else min(fitting, default=None)
        return None if name is None else self.subsets[name].annotations


def recognise(dataset_dir: str | PathLike[str]) -> Layout | None:
    """What a folder is, or None where it is nothing that can be read."""
    folder = expanded(dataset_dir)
    for found in (_coco, _voc, _other_coco, _other_voc):
        layout = found(folder)
        if layout is not None and layout.subsets:
            return layout._replace(subsets=dict(sorted(layout.subsets.items())))
    return None


def divided(items: Iterable[T], names: Iterable[str], share: str) -> list[T]:
    """The items of "train" or of "val", by the names of their images; all of them for "".

    An image stays where it is when others are added or removed; but there is always one in each.
    """
    items, sums = list(items), [zlib.crc32(name.encode("utf-8", "replace")) for name in names]
    if not share or len(items) < 2:
        return items
    is_val = [number % VAL_SHARE == 0 for number in sums]
    if all(is_val) or not any(is_val):
        is_val[sums.index(min(sums))] ^= True
    return [item for item, val in zip(items, is_val) if val == (share == "val")]


def warn_divided(folder: str | PathLike[str], stacklevel: int = 1) -> None:
    """Warns that a folder's images were divided, by the same text for both shares."""
    warnings.warn(f"{folder} has no subsets: one image in {VAL_SHARE}, chosen by its name, is "
                  "'val', and the others are 'train'. If several images are of one sample or "
                  "patient, divide them yourself.", stacklevel=stacklevel + 1)


def _role(name: str) -> str | None:
    """What a subset's name means: "train", "val" or "test", as "Valid" and "val2017" mean "val"."""
    match = _TOKEN.fullmatch(name.lower())
    return next((role for role, names in _ALIASES.items() if match and match[1] in names), None)


# --- COCO -----------------------------------------------------------------------------------


def _coco(folder: Path) -> Layout:
    """`annotations/instances_<subset>.json`, as COCO has it and CVAT exports it."""
    files = {path.stem[len("instances_"):]: path
             for path in (folder / "annotations").glob("instances_*.json")}
    return Layout(folder, COCO, "COCO's layout", {
        name: Subset(path, _image_folders(folder, name)) for name, path in files.items()}, True)


def _other_coco(folder: Path) -> Layout:
    """Files in COCO's format under other names: beside the images, at the top, in annotations/."""
    found: dict[str, list[Subset]] = defaultdict(list)
    unnamed: list[Subset] = []
    title = "files in COCO's format"
    for base in (folder, *_sub_folders(folder)):
        inside = base not in (folder, folder / "annotations")
        for path in filter(_is_coco, sorted(base.glob("*.json"))):
            if path.name == "_annotations.coco.json":
                title = "Roboflow's export in COCO's format"
            name = base.name if inside else _named(path)
            if name is None:
                unnamed.append(Subset(path, _image_folders(folder, None)))
            else:
                images = _image_folders(base, None) if inside else _image_folders(folder, name)
                found[name].append(Subset(path, images))
    is_whole = len(unnamed) == 1 and not found
    for subset in unnamed:
        found[ALL if is_whole else subset.annotations.stem].append(subset)
    return Layout(folder, COCO, title, {name: _joined(same) for name, same in found.items()})


def _joined(same: Sequence[Subset]) -> Subset:
    """One subset of those of one name; files of COCO's other tasks do not count beside another."""
    first, *others = [subset for subset in same
                      if not _OTHER_TASKS.match(subset.annotations.name)] or same
    return first._replace(others=tuple(other.annotations for other in others))


def _image_folders(folder: Path, subset: str | None) -> tuple[Path, ...]:
    """Where the images of a JSON file may lie; the folder of its subset's name, if there is one."""
    if subset is not None:
        for own in (folder / subset, folder / "images" / subset):
            if own.is_dir():
                return (own,)
    shared = [folder / name for name in _IMAGE_FOLDERS if (folder / name).is_dir()]
    return (*shared, folder)


def _named(path: Path) -> str | None:
    """The subset that a file's name names, such as "val" of coco_val.json."""
    match = _TOKEN.search(path.stem.lower())
    return match[0] if match else None


def _is_coco(path: Path) -> bool:
    """Whether a file looks like one in COCO's format, however large it is."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return all(text.find(key) >= 0 for key in _COCO_KEYS)
    except (OSError, ValueError):  # unreadable, or empty
        return False


# --- Pascal VOC -----------------------------------------------------------------------------


def list_path(folder: Path, subset: str) -> Path:
    """The list of a subset's images in Pascal VOC's own layout."""
    return folder / "ImageSets" / "Main" / f"{subset}.txt"


def _voc(folder: Path) -> Layout:
    """`ImageSets/Main/<subset>.txt`, `Annotations/`, `JPEGImages/`."""
    annotations, images = folder / "Annotations", (folder / "JPEGImages",)
    return Layout(folder, VOC, "Pascal VOC's layout", {
        path.stem: Subset(annotations, images, path)
        for path in list_path(folder, "*").parent.glob("*.txt")
        if not _is_class_list(annotations, path)}, True)


def _is_class_list(annotations: Path, path: Path) -> bool:
    """Whether a list is of one class, with -1, 0 or 1 after the name of an image: `000005 -1`."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            line = next((line.strip() for line in file if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(re.fullmatch(r"\S+\s+(-1|0|1)", line)) \
        and not os.path.isfile(annotations / f"{line}.xml")


def _other_voc(folder: Path) -> Layout:
    """XML files without lists: beside the images, or in a folder of their own."""
    title = "XML files in Pascal VOC's format, without lists"
    whole = _xml_files_of(folder)
    # A whole data set in a folder of it is no subset.
    found = {base.name: _xml_files_of(base) for base in _sub_folders(folder)
             if whole is None or base != whole.annotations
             if _has_annotations(base) or _role(base.name) is not None}
    subsets = {name: subset for name, subset in found.items() if subset is not None}
    if whole is not None:
        others = (*whole.others, *(subset.annotations for subset in subsets.values()))
        return Layout(folder, VOC, title, {
            ALL: whole._replace(others=tuple(dict.fromkeys(others)))})
    return Layout(folder, VOC, title, subsets)


def _xml_files_of(base: Path) -> Subset | None:
    """The annotations and images directly in a folder, or in folders of it with usual names."""
    shared = tuple(base / name for name in _IMAGE_FOLDERS if (base / name).is_dir())
    own = [inner for inner in _sub_folders(base)
           if inner.name.lower() in _XML_FOLDERS and _has_annotations(inner)]
    if _has_annotations(base):
        return Subset(base, (base, *shared), others=tuple(own))
    if not own:
        return None
    first, *others = own
    below = filter(_has_annotations, _sub_folders(first))
    images = shared or ((base,) if has_images(base) else (first,))
    return Subset(first, images, others=(*others, *below))


def _has_annotations(folder: Path) -> bool:
    """Whether the first of the XML files directly in a folder is an annotation."""
    path = min(folder.glob("*.xml"), default=None)
    if path is None:
        return False
    try:
        with open(path, "rb") as file:
            return b"<annotation" in file.read(4096).replace(b"\0", b"")
    except OSError:
        return False


def _sub_folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries
                          if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []
