"""To COCO's layout: from Pascal VOC's, without loss, and from single files with their images."""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from frcnn.data.annotated import AnnotatedImage, annotated_image
from frcnn.data.coco_json import read_coco
from frcnn.data.file_names import FileFinder
from frcnn.data.findings import leaves_folder, report
from frcnn.data.label_studio import content_of, read_tasks
from frcnn.data.layouts import ALL
from frcnn.data.voc_folder import VocObject, read_voc_images, voc_subsets
from frcnn.errors import DatasetError
from frcnn.files import expanded, filling

_EXPORT_AGAIN = ("Correct that and export again, or leave these images out with skip_bad "
                 "(--skip-bad).")
# By subset: the content of its annotation file, and the paths of its images in the same order.
_Contents: TypeAlias = dict[str, tuple[dict[str, list[dict[str, Any]]], list[str]]]


def convert_voc(voc_dir: str | PathLike[str], coco_dir: str | PathLike[str],
                subsets: Iterable[str] | None = None, *, skip_bad: bool = False,
                first_pixel: int = 1, progress: bool = False) -> dict[str, tuple[int, int]]:
    """Writes a copy of a data set in Pascal VOC's layout in COCO's: annotations and images.

    Boxes become [x, y, width, height] with the left upper corner at 0, as `load_voc` reads them;
    `difficult` objects become crowd regions, as in `load_voc`. Class and image names stay, and so
    do `difficult`, `pose`, `truncated` and `occluded`, as fields that other readers of COCO's
    format ignore. One image has one id in all subsets. The folder is complete or is not written.

    Args:
        voc_dir: the data set's folder.
        coco_dir: the folder to write; it must not exist, or be empty. One that exists is filled:
            it may be a link, a mounted volume or the current folder.
        subsets: names, None for all.
        skip_bad: as for `VocDataset.load_voc`.
        first_pixel: as for `VocDataset.load_voc`.
        progress: whether to show a progress bar.

    Returns:
        dict, subset → (number of images, number of objects).

    Raises:
        FileNotFoundError, DatasetError: as `load_voc`; or the folder to write to is not empty.
    """
    source, target = expanded(voc_dir), expanded(coco_dir)
    if not source.is_dir():
        raise FileNotFoundError(f"There is no data set folder {source}.")
    _check_empty(target)
    subsets = list(dict.fromkeys(subsets)) if subsets else voc_subsets(voc_dir)
    if not subsets:
        raise DatasetError(f"{voc_dir} is not in Pascal VOC's layout: it has no "
                           "ImageSets/Main/<subset>.txt.")
    contents = _read(voc_dir, subsets, skip_bad, first_pixel)
    return _filled(target, contents, progress)


def convert_file(path: str | PathLike[str], image_dir: str | PathLike[str],
                 coco_dir: str | PathLike[str], subset: str = ALL,
                 class_names: Sequence[str] | None = None, *, skip_bad: bool = False,
                 progress: bool = False) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Writes a data set in COCO's layout from a file of annotations, and copies of its images.

    The file is Label Studio's export "JSON" (see `frcnn.data.label_studio`), or one in COCO's
    format, of which boxes, classes and crowds are taken. Images keep their folders.

    Args:
        path: the file.
        image_dir: the folder of its images, which may be in folders there.
        coco_dir: as for `convert_voc`.
        subset: the name of the one subset that is written. "all" is divided when it is loaded.
        class_names: of tasks: the classes in the order in which they are numbered. Default: those
            that occur, sorted.
        skip_bad: leave out images that cannot be used, with a warning, instead of raising.
        progress: whether to show a progress bar.

    Returns:
        counts: as of `convert_voc`.
        notes: sentences on tasks that were left out, or that nobody corrected.

    Raises:
        FileNotFoundError, DatasetError: a file or folder is missing or cannot be used.
    """
    target, folder = expanded(coco_dir), expanded(image_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder of images {folder}.")
    if not subset or leaves_folder(subset) or "/" in subset:
        raise DatasetError(f"The subset {subset!r} is no name of a folder; give one such as train.")
    _check_empty(target)
    notes: list[str] = []
    if isinstance(content_of(path), dict):
        if class_names is not None:
            raise DatasetError(f"{path} is in COCO's format, and numbers its classes itself.")
        categories, images, findings = read_coco(expanded(path), FileFinder([folder]))
        report(findings, path, skip_bad)
    else:
        tasks = read_tasks(path, folder, class_names)
        notes = tasks.notes
        report(tasks.findings, path, skip_bad, advice=_EXPORT_AGAIN)
        names = class_names or sorted({name for image in tasks.images for name, _ in image.objects})
        numbers = {name: number for number, name in enumerate(names, start=1)}
        categories = {number: name for name, number in numbers.items()}
        images = [annotated_image(image.id, image.path, image.width, image.height,
                                  ((box, numbers[name], False) for name, box in image.objects))
                  for image in tasks.images]
    if not images or not categories:
        raise DatasetError(f"{path}: there is no {'image' if not images else 'object'} to write. "
                           + " ".join(notes))
    contents = {subset: (_content(categories, images, folder), [image.path for image in images])}
    return _filled(target, contents, progress), notes


def _check_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(f"{target} is there already and not empty; name a new folder.")


def _filled(target: Path, contents: _Contents, progress: bool) -> dict[str, tuple[int, int]]:
    """Writes everything or nothing; returns the numbers of images and objects by subset."""
    with filling(target) as draft:
        _write(draft, contents, progress)
    return {subset: (len(content["images"]), len(content["annotations"]))
            for subset, (content, _) in contents.items()}


def _content(categories: dict[int, str], images: list[AnnotatedImage], folder: Path
             ) -> dict[str, list[dict[str, Any]]]:
    """The content of an annotation file; names are relative to the folder of the images."""
    content: dict[str, list[dict[str, Any]]] = {
        "images": [], "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in categories.items()]}
    for image in images:
        name = os.path.relpath(image.path, folder).replace(os.sep, "/")
        content["images"].append({"id": image.id, "file_name": name, "width": image.width,
                                  "height": image.height})
        for (y1, x1, y2, x2), category_id, crowd in zip(
                image.boxes.tolist(), image.category_ids.tolist(), image.crowds.tolist()):
            content["annotations"].append({
                "id": len(content["annotations"]) + 1, "image_id": image.id,
                "category_id": category_id, "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1), "iscrowd": int(crowd)})
    return content


def _read(voc_dir: str | PathLike[str], subsets: list[str], skip_bad: bool,
          first_pixel: int) -> _Contents:
    """What is to be written."""
    contents: _Contents = {}
    image_ids: dict[str, int] = {}
    annotation_id = 1
    for subset in subsets:
        names, images, findings = read_voc_images(voc_dir, subset, first_pixel=first_pixel)
        report(findings, f"{subset}.txt", skip_bad, stacklevel=3)
        if not images:
            raise DatasetError(f"No image of {subset}.txt can be used; nothing is written.")
        numbers = {name: place for place, name in enumerate(names, start=1)}
        content: dict[str, list[dict[str, Any]]] = {
            "images": [], "annotations": [],
            "categories": [{"id": number, "name": name} for name, number in numbers.items()]}
        for image in images:
            image_id = image_ids.setdefault(image.name, len(image_ids) + 1)
            file_name = image.name + os.path.splitext(image.path)[1]
            content["images"].append({"id": image_id, "file_name": file_name,
                                      "width": image.width, "height": image.height})
            for found in image.objects:
                content["annotations"].append(
                    {"id": annotation_id, "image_id": image_id,
                     "category_id": numbers[found.name], **_to_coco(found)})
                annotation_id += 1
        contents[subset] = content, [image.path for image in images]
    return contents


def _to_coco(found: VocObject) -> dict[str, Any]:
    """The fields of an object in COCO's notation."""
    y1, x1, y2, x2 = found.box
    width, height = x2 - x1, y2 - y1
    return {"bbox": [x1, y1, width, height], "area": width * height,
            "iscrowd": int(found.difficult), "difficult": int(found.difficult), **found.extras}


def _as_bytes(content: dict[str, list[dict[str, Any]]]) -> bytes:
    """JSON in UTF-8; of names that are no Unicode, as files may have, with their bytes escaped."""
    try:
        return json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(content).encode()


def _write(folder: Path, contents: _Contents, progress: bool) -> None:
    (folder / "annotations").mkdir()
    total = sum(len(paths) for _, paths in contents.values())
    with tqdm(total=total, desc="convert", unit="image", leave=False, delay=2,
              disable=not progress) as bar:
        for subset, (content, paths) in contents.items():
            path = folder / "annotations" / f"instances_{subset}.json"
            path.write_bytes(_as_bytes(content))
            for entry, source in zip(content["images"], paths):
                copy = folder / subset / entry["file_name"]
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
                bar.update()
            (folder / subset).mkdir(exist_ok=True)
