"""Which images a subset in Pascal VOC's format has: those of a list, or those with an XML file."""

import collections
import contextlib
import os
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from frcnn.data.file_names import FileFinder, is_image_name
from frcnn.data.findings import Finding, leaves_folder
from frcnn.data.layouts import VOC, Subset, list_path, recognise
from frcnn.data.voc_xml import XmlError, names_of_objects, parse
from frcnn.errors import DatasetError
from frcnn.files import expanded


class VocFiles(NamedTuple):
    """The files of one subset.

    Attributes:
        names: of the images, as in the list, or those of the XML files; without an ending.
        annotations: the folder of the XML files.
        images: finds the images.
        where: the list or the folder, for messages.
        share: "train" or "val", if the subset is this share of them; else "".
    """

    names: list[str]
    annotations: Path
    images: FileFinder
    where: Path
    share: str = ""

    def annotation(self, name: str) -> str:
        """The path of an image's annotation."""
        return os.path.join(self.annotations, f"{name}.xml")


def voc_subsets(dataset_dir: str | PathLike[str]) -> list[str]:
    """Names of the subsets, sorted; lists for one class, as `cat_train.txt`, are left out."""
    layout = recognise(dataset_dir)
    return list(layout.subsets) if layout is not None and layout.format == VOC else []


def find_files(dataset_dir: str | PathLike[str], subset: str,
               findings: list[Finding]) -> VocFiles:
    """The files of a subset; what is wrong with its list is added to the findings.

    Raises:
        FileNotFoundError: the data set, the subset or one of its folders is missing.
        DatasetError: the list is empty or is no text.
    """
    folder = expanded(dataset_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}. Give the folder that "
                                "holds ImageSets/, Annotations/ and JPEGImages/.")
    files = _subset(folder, subset)
    for part in (files.annotations, files.images[0]):
        if not part.is_dir():
            raise FileNotFoundError(f"There is no folder {part}.")
    finder = FileFinder(files.images)
    if files.names is None:
        names = sorted(path.stem for path in files.annotations.glob("*.xml"))
        _look_for_others(files, set(names), findings)
        return VocFiles(names, files.annotations, finder, files.annotations, files.share)
    return VocFiles(_read_list(files.names, findings), files.annotations, finder, files.names)


def names_elsewhere(dataset_dir: str | PathLike[str], subset: str, files: VocFiles) -> set[str]:
    """The class names of all objects in the images of other subsets, usable or not."""
    annotations: set[str] = set()
    for other in voc_subsets(dataset_dir):
        if other != subset:
            # What is wrong with it is reported when it is loaded itself.
            with contextlib.suppress(DatasetError, FileNotFoundError):
                found = find_files(dataset_dir, other, [])
                annotations |= {found.annotation(name) for name in found.names
                                if not leaves_folder(name)}
    names: set[str] = set()
    for path in annotations - {files.annotation(name) for name in files.names}:
        with contextlib.suppress(XmlError):
            names |= names_of_objects(parse(path))
    return names


def _subset(folder: Path, subset: str) -> Subset:
    path = list_path(folder, subset)
    if path.is_file():
        return Subset(folder / "Annotations", (folder / "JPEGImages",), path)
    layout = recognise(folder)
    files = layout.find(subset) if layout is not None and layout.format == VOC else None
    if files is not None:
        return files
    subsets = voc_subsets(folder)
    there = "the subsets there are " + ", ".join(subsets) if subsets \
        else "it has no ImageSets/Main/<subset>.txt at all"
    raise FileNotFoundError(f"There is no list of images {path}; {there}.")


def names_in(path: Path) -> collections.Counter[str]:
    """How often each image is named in a list.

    Raises:
        DatasetError: the list cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as UTF-8 text: {error}.") from None
    return collections.Counter(line.strip() for line in lines if line.strip())


def _read_list(path: Path, findings: list[Finding]) -> list[str]:
    """The image names in a list, each once."""
    counts = names_in(path)
    if not counts:
        raise DatasetError(f"{path} is empty: there is nothing to load.")
    for name, count in counts.items():
        if count > 1:
            findings.append(Finding("image listed twice", f"Image {name} is listed {count} times "
                                    f"in {path.name}; used once.", True, image_id=name))
    return list(counts)


def _look_for_others(files: Subset, names: set[str], findings: list[Finding]) -> None:
    """Adds a finding on images beside the annotations that have none."""
    others = sorted(entry.name for folder in files.images for entry in os.scandir(folder)
                    if is_image_name(entry.name) and os.path.splitext(entry.name)[0] not in names)
    if others:
        findings.append(Finding(
            "image without annotation", f"{len(others)} images have no XML file and are left out, "
            f"the first is {others[0]}. Where they have no objects, give them files without "
            "<object>.", repairable=True))
